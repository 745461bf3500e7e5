"""Features of random declarations over random streams equal the naive reading of the contract."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.window_oracle import Event, Oracle
from support.windows import DAY, HOUR, MINUTE, SCHEMA, START_MS, expected_words, feature_set, result_of, run

from fraudstream.rules.bundle import Agg, Feature, FeatureSet, TimeSettings
from fraudstream.stream.outcome import Flag
from fraudstream.stream.windows import layout
from fraudstream.stream.windows.store import WindowStore

KEYS: tuple[tuple[str, ...], ...] = (
    ("account.id",),
    ("merchant.id",),
    ("account.id", "merchant.id"),
    ("device.country",),
    ("txn.count", "txn.domestic"),
    ("txn.geo", "device.country"),
)
NUMBERS = ("txn.amount", "txn.count", "txn.rate", "txn.age")
VALUES = ("merchant.id", "device.country", "txn.geo", "txn.amount", "event.time")
PAYLOADS = (
    ("event.time",),
    ("event.time", "txn.geo", "device.country"),
    ("merchant.id",),
    ("txn.rate", "txn.amount"),
)
WINDOWS = (1_000, MINUTE, 10 * MINUTE, HOUR, 6 * HOUR, DAY, 30 * DAY, 400 * DAY)
PANES = (0, 0, HOUR, DAY, 90_000)
AMOUNTS = (1, 0, -1, 100, 99_999, 2**40 - 1, 2**40, -(2**41), 10**13, 123_456_789)
RATES = (0.0, 1.23, -0.07, 99.99, 12_345_678_901.23)
POINTS = ((31.2, 121.4), (39.9, 116.4), (31.2, 116.4))
STEPS = (
    0,
    1,
    500,
    999,
    1_000,
    30_000,
    MINUTE,
    10 * MINUTE,
    HOUR - 1,
    HOUR,
    6 * HOUR,
    DAY,
    5 * DAY,
    401 * DAY,
)


def digits(code: int, *bases: int) -> Iterator[int]:
    """Split one integer into mixed-radix digits: one draw is many choices, and shrinks towards 0."""
    for base in bases:
        yield code % base
        code //= base


@st.composite
def declarations(draw: st.DrawFn) -> list[Feature]:
    """Draw 1 to 12 features over a few kinds of key."""
    kinds = draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=3, unique=True))
    aggs = list(Agg)
    result = []
    for number, code in enumerate(draw(st.lists(st.integers(0, 2**40), min_size=1, max_size=12))):
        agg_code, kind, window, where, exclude, least, of, cap, pane = digits(
            code, len(aggs), 3, 9, 5, 2, 6, 5, 5, 5
        )
        agg = aggs[agg_code]
        chosen: tuple[str, ...] = ()
        if agg in (Agg.SUM, Agg.MEAN, Agg.STD, Agg.MIN, Agg.MAX, Agg.EWMA):
            chosen = (NUMBERS[of % len(NUMBERS)],)
        elif agg is Agg.DISTINCT:
            chosen = (VALUES[of % len(VALUES)],)
        elif agg in (Agg.FIRST, Agg.LAST):
            chosen = PAYLOADS[of % len(PAYLOADS)]
        may_be_windowless = agg in (Agg.FIRST, Agg.LAST, Agg.SINCE_FIRST, Agg.SINCE_LAST)
        length: int | None = WINDOWS[window % len(WINDOWS)]
        if agg is Agg.EWMA or (may_be_windowless and window % 2):
            length = None
        resolution = 0 if length is None else PANES[pane]
        result.append(
            Feature(
                name=f"f{number}",
                agg=agg,
                key=kinds[kind % len(kinds)],
                of=chosen,
                window_ms=length,
                resolution_ms=resolution if length is not None and resolution <= length else 0,
                half_life_ms=WINDOWS[window % len(WINDOWS)] if agg is Agg.EWMA else 0,
                where=where if where < 3 else None,
                exclude_current=bool(exclude),
                min_count=(0, 0, 0, 1, 2, 5)[least],
                max_distinct=(100, 1, 2, 5, 3)[cap] if agg is Agg.DISTINCT else 0,
            )
        )
    return result


def stream(
    codes: Sequence[int], keys: int, longest: int = len(STEPS), *, varied: bool = False
) -> list[Event]:
    """Turn integers into events: mostly forward in time, some behind, ahead, repeated or with reused ids.

    ``longest``: how many of the steps are used; few make streams dense. ``varied``: amounts hardly repeat.
    """
    events: list[Event] = []
    now = START_MS
    for offset, code in enumerate(codes):
        step, turn, account, merchant, country, amount, rate, point, mask, absent, again, skew = digits(
            code, longest * 2, 8, keys, 3, 3, len(AMOUNTS), len(RATES), 3, 8, 1 << 7, 16, 12
        )
        jump = STEPS[step // 2]
        # Days are rare: a stream that outruns every window tests little.
        now += jump if jump < DAY or turn == 0 else jump % 997
        time = now
        if turn in (6, 7):
            time = max(START_MS, now - (jump if turn == 6 else jump % MINUTE))
        if turn == 5 and events:
            # The time of an earlier event again: ties behind later ones.
            time = events[-1 - amount % min(len(events), 7)].values["event.time"]
        record = {0: -1, 1: time - 61_000, 2: time - 60_000, 3: time - 400_000}.get(skew, time)
        if again == 1 and events:
            twin = events[-1 - code % min(len(events), 7)]
            events.append(Event(offset, twin.record_time_ms, twin.body, twin.values, twin.filters))
            continue
        values: dict[str, Any] = {
            "event.id": f"t{offset}",
            "event.time": time,
            "account.id": f"a{account}",
            "merchant.id": f"m{merchant}",
            "device.country": ("CN", "US", "DE")[country],
            "txn.amount": code % 1_000_003 - 500_000 if varied else AMOUNTS[amount],
            "txn.count": amount - 3,
            "txn.rate": RATES[rate],
            "txn.geo": POINTS[point],
            "txn.age": amount * 1_000,
            "txn.domestic": country == 0,
        }
        if again in (2, 3) and events:
            values["event.id"] = events[-1 - code % min(len(events), 7)].values["event.id"]
        if absent % 3 == 2:
            for bit, name in enumerate(
                (
                    "account.id",
                    "merchant.id",
                    "device.country",
                    "txn.amount",
                    "txn.count",
                    "txn.rate",
                    "txn.geo",
                )
            ):
                if absent >> bit & 1:
                    del values[name]
        filters = tuple(bool(mask >> bit & 1) for bit in range(3))
        events.append(Event(offset, record, f"b{offset}", values, filters))
    return events


@dataclass(frozen=True)
class Run:
    """A stream over declarations with borders of batches."""

    features: FeatureSet
    events: list[Event]
    borders: list[int]
    restart: int
    start_from: int


@st.composite
def runs(draw: st.DrawFn) -> Run:
    """Draw declarations, time settings and a stream."""
    lateness, dedup, limit, skew = digits(draw(st.integers(0, 2**12)), 4, 3, 6, 2)
    allowed = (HOUR, 0, 10 * MINUTE, DAY)[lateness]
    time = TimeSettings(
        allowed_lateness_ms=allowed,
        max_skew_ms=(60_000, 0)[skew],
        dedup_ms=(DAY, allowed, allowed + MINUTE)[dedup] if allowed < DAY else DAY,
        max_events_per_key=(100_000, 100_000, 1, 3, 5, 9)[limit],
    )
    features = feature_set(draw(declarations()), time)
    codes = draw(st.lists(st.integers(0, 2**48), min_size=5, max_size=60))
    events = stream(codes, draw(st.sampled_from((2, 1, 4))), draw(st.sampled_from((len(STEPS), 7))))
    borders = draw(st.lists(st.integers(1, len(events)), max_size=6, unique=True))
    start_from = draw(st.sampled_from((0, 0, 0, len(events) // 3)))
    return Run(
        features, events, sorted({*borders, len(events)}), draw(st.integers(0, len(events))), start_from
    )


def compare(run_: Run, *, every: int = 1) -> None:
    """Run engine and oracle side by side; only every so many rows are evaluated by the oracle."""
    oracle = Oracle(run_.features, SCHEMA)
    store = WindowStore(run_.features, SCHEMA)
    decided: dict[int, tuple[int, int]] = {}
    begin = 0
    for end in run_.borders:
        if begin <= run_.restart < end:
            saved = store.snapshot()
            before = store.state_hash()
            store = WindowStore.restore(run_.features, SCHEMA, saved)
            assert store.state_hash() == before
            assert store.snapshot() == saved
        answers = run(store, run_.events[begin:end], run_.features, run_.start_from)
        for event, answer in zip(run_.events[begin:end], answers, strict=True):
            sampled = event.offset % every == 0
            judged = oracle.judge(event, run_.start_from, evaluate=sampled)
            assert answer.as_of_ms == judged.as_of_ms
            assert answer.duplicate_of == judged.duplicate_of
            if judged.flags & Flag.DUPLICATE:
                assert (answer.decision, answer.score) == decided[judged.duplicate_of]
            else:
                decided[event.offset] = result_of(event.offset)
            if sampled:
                assert Flag(answer.flags) == Flag(judged.flags)
                for item in run_.features.features:
                    if item.agg is Agg.EWMA:
                        close(
                            answer.features[item.name],
                            judged.features[item.name],
                            judged.size.get(item.name, 0.0),
                        )
                        continue
                    expected = expected_words(item, judged.features[item.name])
                    assert answer.features[item.name] == expected, (
                        f"{item} at offset {event.offset}: {judged.features[item.name]}"
                    )
        begin = end
    once = WindowStore(run_.features, SCHEMA)
    run(once, run_.events, run_.features, run_.start_from)
    assert once.state_hash() == store.state_hash()
    assert once.watermark_ms == store.watermark_ms
    assert once.history_ms == store.history_ms


def close(words: tuple[tuple[int, ...], ...] | None, values: tuple[Any, ...] | None, size: float) -> None:
    """A moving average is within 1e-9 of the closed sum, relative to the size of what is averaged."""
    assert (words is None) == (values is None)
    if words is not None and values is not None:
        found = struct.unpack("<d", struct.pack("<q", words[0][0]))[0]
        assert math.isclose(found, values[0], rel_tol=1e-9, abs_tol=1e-9 * size)


FEW = settings(
    max_examples=1_250,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@FEW
@given(runs())
def test_features_equal_the_oracle(drawn: Run) -> None:
    """Values, flags, duplicates and state hashes are those of the contract, whatever the batch borders."""
    compare(drawn)


@FEW
@given(runs())
def test_features_equal_the_oracle_with_summaries(drawn: Run) -> None:
    """The same with block summaries in use from 16 events on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "CAPACITY_LARGE", 16)
        patch.setattr(layout, "SCAN_MAX", 16)
        patch.setattr(layout, "FOLD_MIN", 4)
        patch.setattr(layout, "PANE_GAIN", 0)
        compare(drawn)


@st.composite
def hot_runs(draw: st.DrawFn) -> Run:
    """Draw a long dense stream of one or two keys: prefix sums, upper levels, full value lists."""
    seed = draw(st.integers(0, 2**32))
    choose = random.Random(seed)
    limit = choose.choice((100_000, 100_000, 40, 300))
    time = TimeSettings(
        allowed_lateness_ms=choose.choice((HOUR, MINUTE)), dedup_ms=DAY, max_events_per_key=limit
    )
    features = feature_set(draw(declarations()), time)
    length = choose.choice((150, 400, 900))
    events = stream(
        [choose.randrange(2**48) for _ in range(length)],
        choose.choice((1, 2)),
        choose.choice((3, 5, 7)),
        varied=True,
    )
    borders = sorted({choose.randrange(1, length) for _ in range(5)} | {length})
    return Run(features, events, borders, choose.randrange(length), 0)


@settings(FEW, max_examples=150)
@given(hot_runs())
def test_hot_keys_equal_the_oracle(drawn: Run) -> None:
    """Keys with hundreds of events in their windows, by the default sizes of summaries."""
    compare(drawn, every=17)


@settings(FEW, max_examples=100)
@given(hot_runs())
def test_hot_keys_equal_the_oracle_with_early_summaries(drawn: Run) -> None:
    """The same with block summaries in use from 16 events on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "CAPACITY_LARGE", 16)
        patch.setattr(layout, "SCAN_MAX", 16)
        patch.setattr(layout, "FOLD_MIN", 4)
        patch.setattr(layout, "PANE_GAIN", 0)
        compare(drawn, every=7)


@st.composite
def paned_runs(draw: st.DrawFn) -> Run:
    """Draw weeks of one or two keys under windows with panes: old events are folded, joined and forgotten."""
    choose = random.Random(draw(st.integers(0, 2**32)))
    time = TimeSettings(
        allowed_lateness_ms=choose.choice((HOUR, 10 * MINUTE)),
        dedup_ms=DAY,
        max_events_per_key=choose.choice((100_000, 100_000, 20)),
    )
    declared = []
    for item in draw(declarations()):
        length = choose.choice((6 * HOUR, DAY, 2 * DAY, 7 * DAY, 30 * DAY))
        pane = choose.choice((HOUR, HOUR, 6 * HOUR, DAY, 15 * MINUTE, 90_000, 0))
        paned = item.window_ms is not None and pane <= length
        declared.append(replace(item, window_ms=length, resolution_ms=pane) if paned else item)
    features = feature_set(declared, time)
    longest = choose.choice((5, 8, 9, 10))
    length = choose.choice((200, 500))
    events = stream(
        [choose.randrange(2**48) for _ in range(length)], choose.choice((1, 2)), longest, varied=True
    )
    borders = sorted({choose.randrange(1, length) for _ in range(5)} | {length})
    return Run(features, events, borders, choose.randrange(length), 0)


@settings(FEW, max_examples=200)
@given(paned_runs())
def test_paned_windows_equal_the_oracle(drawn: Run) -> None:
    """Windows with panes, whose old events are folded as soon as they may be."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "CAPACITY_LARGE", 16)
        patch.setattr(layout, "SCAN_MAX", 16)
        patch.setattr(layout, "FOLD_MIN", 16)
        patch.setattr(layout, "PANE_GAIN", 0)
        compare(drawn, every=5)
