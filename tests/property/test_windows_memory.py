"""What gives memory back does not show, and what late rows of a hot key read is bounded."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest
from numba import njit
from support.window_oracle import Event, Oracle
from support.windows import (
    DAY,
    EARLY,
    HOUR,
    MINUTE,
    SCHEMA,
    START_MS,
    expected_words,
    feature_set,
    run,
    sizes,
)

from fraudstream.rules.bundle import Agg, Feature, FeatureSet, TimeSettings
from fraudstream.stream.windows import kernel_arena, layout
from fraudstream.stream.windows.kernel_bits import pointer
from fraudstream.stream.windows.store import WindowStore

pytestmark = pytest.mark.timeout(1_800)
"""On a machine that others use too."""
TIME = TimeSettings(allowed_lateness_ms=10 * MINUTE, dedup_ms=HOUR)
NEVER_HOLLOW = 1 << 50
FEATURES = [
    Feature("count", Agg.COUNT, ("account.id",), window_ms=HOUR),
    Feature(
        "sum", Agg.SUM, ("account.id",), of=("txn.amount",), window_ms=2 * HOUR, resolution_ms=15 * MINUTE
    ),
    Feature("most", Agg.MAX, ("account.id",), of=("txn.amount",), window_ms=HOUR),
    Feature("shops", Agg.DISTINCT, ("account.id",), of=("merchant.id",), window_ms=HOUR, max_distinct=5),
    Feature(
        "shops_long", Agg.DISTINCT, ("account.id",), of=("merchant.id",), window_ms=2 * HOUR, max_distinct=9
    ),
    Feature("usual", Agg.EWMA, ("merchant.id",), of=("txn.amount",), half_life_ms=DAY),
    Feature("last", Agg.LAST, ("merchant.id",), of=("txn.amount",), exclude_current=True),
]


def event(offset: int, account: int, merchant: int, time: int, amount: int) -> Event:
    """Return an event of an account at a merchant."""
    values = {
        "event.id": f"t{offset}",
        "event.time": time,
        "account.id": f"a{account}",
        "merchant.id": f"m{merchant}",
        "txn.amount": amount,
    }
    return Event(offset, -1, f"b{offset}", values, (False, False, False))


def waves(choose: random.Random) -> list[list[Event]]:
    """Return batches: many accounts, some of them busy, a long quiet time, and again."""
    events: list[Event] = []
    now = START_MS
    for _ in range(2):
        for accounts, count, step in ((700, 2_000, 1_000), (40, 1_500, 1_000), (8, 900, 12_000)):
            for _ in range(count):
                now += choose.randrange(2 * step)
                late = choose.randrange(9 * MINUTE) if choose.random() < 0.1 else 0
                account = choose.randrange(accounts) if choose.random() < 0.8 else choose.randrange(3)
                events.append(
                    event(len(events), account, choose.randrange(40), now - late, choose.randrange(10_000))
                )
    cuts = sorted({choose.randrange(len(events)) for _ in range(150)} | {0, len(events)})
    return [events[begin:end] for begin, end in pairwise(cuts)]


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_an_evacuation_does_not_show(seed: int, early: bool) -> None:
    """Answers, state and snapshots are those of a store that keeps its memory, several times as much."""
    choose = random.Random(seed)
    features = feature_set(FEATURES, TIME)
    tuned = EARLY if early else {}
    with sizes(**tuned | {"HOLLOW_MIN": 1 << 10}):
        store = WindowStore(features, SCHEMA)
    with sizes(**tuned | {"HOLLOW_MIN": NEVER_HOLLOW}):
        still = WindowStore(features, SCHEMA)
    moved = 0
    for batch in waves(choose):
        assert run(store, batch, features) == run(still, batch, features)
        moving = store._arena.moving
        moved += moving
        if moving and choose.random() < 0.5:
            copy = store.begin_snapshot()
            copy.step(choose.choice((1, 200)))
            copy.close()
            saved = store.snapshot()
            with sizes(**tuned | {"HOLLOW_MIN": 1 << 10}):
                restored = WindowStore.restore(features, SCHEMA, saved)
            assert restored.state_hash() == still.state_hash()
            if choose.random() < 0.5:
                store = restored
    assert moved
    assert store.state_hash() == still.state_hash()
    assert store._arena.words * 3 < still._arena.words


def test_memory_comes_back_when_keys_are_gone() -> None:
    """Arena, index and remembered ids: what is left is a small part of what there was."""
    features = feature_set(FEATURES[:3], TIME)
    with sizes(HOLLOW_MIN=1 << 10):
        store = WindowStore(features, SCHEMA)
    events = [event(i, i, i % 40, START_MS + i * 10, 5) for i in range(40_000)]
    for begin in range(0, len(events), 1_000):
        run(store, events[begin : begin + 1_000], features)
    most, keys = store.state_bytes, sum(store.keys.values())
    later = START_MS + 6 * HOUR
    quiet = [event(len(events) + i, i % 5, i % 40, later + i * 2_500, 5) for i in range(60_000)]
    for begin in range(0, len(quiet), 500):
        run(store, quiet[begin : begin + 500], features)
    assert keys == 40_000
    assert sum(store.keys.values()) == 5
    assert store._index.slots <= 1 << 13
    assert store._arena.words < 40_000
    # Headers of the most keys there were stay: 64 bytes each.
    assert store.state_bytes - store._dedup.allocated_bytes - 64 * keys < most / 20


def test_who_was_busy_once_keeps_no_room_for_it() -> None:
    """Accounts that take turns at being busy need what the busy ones of a turn need, not the sum of all."""
    features = feature_set(FEATURES[:3], TIME)
    with sizes(HOLLOW_MIN=NEVER_HOLLOW):
        store = WindowStore(features, SCHEMA)
    words, offset = [], 0
    for turn in range(24):
        begin = START_MS + turn * 90 * MINUTE
        busy = [turn * 10 + i % 10 for i in range(500)]
        batch = []
        for account in [*busy, *range(240)]:
            batch.append(event(offset, account, 1, begin + len(batch) * 1_000, 5))
            offset += 1
        run(store, batch, features)
        words.append(store._arena.words)
    assert sum(store.keys.values()) == 240
    assert words[-1] < 1.25 * words[2]


@njit
def taken(memory, sizes):  # type: ignore[no-untyped-def]
    """Take words one after the other; return where each begins."""
    m = pointer(memory)
    free = layout.CONTROL
    return [kernel_arena.take_words(m, free, size) for size in sizes]


def test_words_before_the_old_ones_are_used_and_then_those_behind() -> None:
    """An arena of 1,000 words: 100 in use behind 600 that are free, then more than 600 are asked for."""
    m = np.zeros(3_000, np.int64)
    m[layout.C_ARENA_BEGIN], m[layout.C_ARENA] = 1_600, 1_700
    m[layout.C_ARENA_END] = m[layout.C_ARENA_LAST] = 2_000
    kernel_arena.begin_evacuation(m, 1_000, 1)
    assert list(taken(m, np.array([500, 90]))) == [1_000, 1_500]
    assert list(taken(m, np.array([11, 280, 20]))) == [1_700, 1_711, -1]
    assert m[layout.C_FREE_WORDS] == 1_700 - 1_590


def hot(choose: random.Random, count: int, features: FeatureSet) -> list[Event]:
    """Return the events of one account, one in three of them late, in lumps that come between two marks."""
    events: list[Event] = []
    now = START_MS
    lump = 0
    for offset in range(count):
        now += choose.randrange(2_000)
        if offset % 97 == 0:
            lump = now - choose.randrange(9 * MINUTE)
        time = lump + choose.randrange(2_000) if offset % 3 == 0 else now
        merchant = min(choose.randrange(60), choose.randrange(60), offset // 20 % 60)
        events.append(event(offset, 0, merchant, min(time, now), choose.randrange(100)))
    return events


@pytest.mark.parametrize("marks", [8, 64, 256])
@pytest.mark.parametrize("limit", [100_000, 200])
def test_late_rows_of_a_hot_key_see_the_values_there_were(marks: int, limit: int) -> None:
    """`distinct` equals the oracle under lumps of late events, whatever is folded meanwhile."""
    choose = random.Random(marks + limit)
    time = TimeSettings(allowed_lateness_ms=10 * MINUTE, dedup_ms=HOUR, max_events_per_key=limit)
    key, of = ("account.id",), ("merchant.id",)
    declared = [
        Feature("d1", Agg.DISTINCT, key, of=of, window_ms=5 * MINUTE, max_distinct=30),
        Feature("d2", Agg.DISTINCT, key, of=of, window_ms=20 * MINUTE, max_distinct=12, min_count=3),
        Feature("d3", Agg.DISTINCT, key, of=of, window_ms=HOUR, max_distinct=4),
    ]
    features = feature_set(declared, time)
    oracle = Oracle(features, SCHEMA)
    with sizes(MARK_EVENTS=marks):
        store = WindowStore(features, SCHEMA)
    events = hot(choose, 2_500, features)
    for begin in range(0, len(events), 250):
        batch = events[begin : begin + 250]
        for one, answer in zip(batch, run(store, batch, features), strict=True):
            judged = oracle.judge(one, 0, evaluate=one.offset % 7 == 0)
            for item in features.features if one.offset % 7 == 0 else ():
                assert answer.features[item.name] == expected_words(item, judged.features[item.name]), one


def test_a_late_row_reads_a_bounded_part_of_a_hot_key() -> None:
    """What lies further back than two marks may be destroyed: the answer is the same."""
    declared = [
        Feature("d", Agg.DISTINCT, ("account.id",), of=("merchant.id",), window_ms=DAY, max_distinct=50)
    ]
    features = feature_set(declared, TimeSettings(allowed_lateness_ms=HOUR, dedup_ms=HOUR))
    store = WindowStore(features, SCHEMA)
    count, marks = 20_000, layout.MARK_EVENTS
    events = [event(i, 0, i * i % 40, START_MS + i * 1_000, 1) for i in range(count)]
    for begin in range(0, count, 1_000):
        run(store, events[begin : begin + 1_000], features)
    m, q = store._m, layout.P_RECORDS
    plan = store._plan.table
    header = int(m[layout.C_HEADERS])
    capacity = layout.CAPACITY_MIN << int(m[header + layout.H_META] & 0xFF)
    assert m[header + layout.H_SPAN] == count
    column = int(m[header + layout.H_BASE] + plan[q + layout.K_FROZEN_WORDS]) + capacity
    late = count - 900
    m[column : column + late - 2 * marks] = np.arange(late - 2 * marks)
    (answer,) = run(store, [event(count, 0, 41, START_MS + late * 1_000, 1)], features)
    expected = len({i * i % 40 for i in range(count)} | {41})
    assert answer.features["d"] == ((expected,),)
