"""``max_state_bytes``: which keys go, when, and how rows show it."""

from __future__ import annotations

import pytest
from support.window_oracle import Event
from support.windows import HOUR, MINUTE, SCHEMA, START_MS, Answer, feature_set, run

from fraudstream.rules.bundle import Agg, Feature, FeatureSet, TimeSettings
from fraudstream.stream.outcome import Flag
from fraudstream.stream.windows.store import WindowStore

BORDER = 1 << 10
"""The bound is looked at where the offset passes a multiple of this."""
COUNT = Feature("count", Agg.COUNT, ("account.id",), window_ms=6 * HOUR)


def features_with(bound: int) -> FeatureSet:
    """Return one count over six hours under a bound."""
    return feature_set([COUNT], TimeSettings(max_state_bytes=bound, allowed_lateness_ms=0))


def event(offset: int, account: int, time: int) -> Event:
    """Return an event of an account."""
    values = {"event.id": f"t{offset}", "event.time": time, "account.id": f"a{account}"}
    return Event(offset, -1, f"b{offset}", values, (False, False, False))


def one_each(count: int, step: int = 1_000) -> list[Event]:
    """Return an event each of so many accounts, one after the other."""
    return [event(offset, offset, START_MS + offset * step) for offset in range(count)]


def sent(store: WindowStore, features: FeatureSet, events: list[Event], size: int = 1_000) -> list[Answer]:
    """Send events in batches."""
    answers: list[Answer] = []
    for begin in range(0, len(events), size):
        answers += run(store, events[begin : begin + size], features)
    return answers


def test_counted_bytes_are_those_of_the_contract() -> None:
    """100 bytes a key and 64 an event and key."""
    features = features_with(0)
    store = WindowStore(features, SCHEMA)
    sent(store, features, [*one_each(10), event(10, 3, START_MS + 20_000)])
    assert store.counted_bytes == 10 * 100 + 11 * 64


def test_the_longest_idle_keys_go_first() -> None:
    """1,023 keys of 164 bytes and one of 228: a bound of 800 leaves 800 less a sixteenth, the newest ones.

    Account 0 was there before the keys that went and stays, so nothing of it can be missing.
    """
    bound = 800 * 164
    features = features_with(bound)
    store = WindowStore(features, SCHEMA)
    events = [*one_each(BORDER - 1), event(BORDER - 1, 0, START_MS + BORDER * 1_000)]
    sent(store, features, [*events, event(BORDER, BORDER, START_MS + BORDER * 1_000)])
    gone = -(-((BORDER - 1) * 164 + 64 - (bound - bound // 16)) // 164)
    assert store.evicted_keys == gone
    assert store.keys == {"account.id": BORDER - gone}
    now = START_MS + 2 * HOUR
    answers = sent(store, features, [event(BORDER + 1, gone, now), event(BORDER + 2, 0, now)])
    assert [answer.features["count"] for answer in answers] == [((1,),), ((3,),)]
    assert [answer.flags for answer in answers] == [Flag.APPROXIMATE, 0]


def test_a_key_that_may_have_gone_is_marked() -> None:
    """Whether a key without older events is one that went is not known: its rows are approximate."""
    features = features_with(800 * 164)
    store = WindowStore(features, SCHEMA)
    sent(store, features, one_each(BORDER + 1))
    answers = sent(store, features, [event(BORDER + 1, BORDER - 1, START_MS + 2 * HOUR)])
    assert answers[0].features["count"] == ((2,),)
    assert answers[0].flags == Flag.APPROXIMATE


def test_rows_whose_windows_begin_later_are_exact() -> None:
    """Six hours after the newest event of the keys that went, nothing is missing from any window."""
    features = features_with(800 * 164)
    store = WindowStore(features, SCHEMA)
    sent(store, features, one_each(BORDER + 1))
    newest = START_MS + (store.evicted_keys - 1) * 1_000
    flags = [
        sent(store, features, [event(BORDER + 1 + i, 100_000 + i, newest + 6 * HOUR + after)])[0].flags
        for i, after in enumerate((-1, 0))
    ]
    assert flags == [Flag.APPROXIMATE, 0]


def test_idle_keys_are_no_reason_to_evict() -> None:
    """Keys that no window can see do not count, even while they are still in memory."""
    features = features_with(1_500 * 164)
    store = WindowStore(features, SCHEMA)
    late = START_MS + 20 * HOUR
    sent(store, features, one_each(1_000))
    events = [event(1_000 + i, 10_000 + i, late + i) for i in range(1_100)]
    sent(store, features, events)
    assert store.evicted_keys == 0


@pytest.mark.parametrize("size", [1, 7, 1_000, 5_000])
def test_batch_borders_and_restarts_do_not_show(size: int) -> None:
    """The same keys go, whatever the batches, and after a restart from a snapshot."""
    features = features_with(600 * 164)
    events = [event(i, (i * 7_919) % 1_500, START_MS + i * MINUTE // 4) for i in range(4_000)]
    whole, parts = WindowStore(features, SCHEMA), WindowStore(features, SCHEMA)
    expected = sent(whole, features, events, 997)
    found = sent(parts, features, events[:2_100], size)
    parts = WindowStore.restore(features, SCHEMA, parts.snapshot())
    found += sent(parts, features, events[2_100:], size)
    assert [(one.flags, one.features) for one in found] == [(one.flags, one.features) for one in expected]
    assert parts.state_hash() == whole.state_hash()
    assert whole.evicted_keys > 0


def test_events_that_nobody_sees_do_not_say_that_a_key_is_whole() -> None:
    """Whether they have left already depends on snapshots and batches, which may not show in a flag.

    Account 0 has an event before the newest key that went; six hours later it is in no window.
    """
    bound = 600 * 164
    features = features_with(bound)
    events = [*one_each(BORDER - 2), event(BORDER - 2, 0, START_MS + (BORDER - 2) * 1_000)]
    events += [event(BORDER - 1, 5_000, START_MS + BORDER * 1_000)]
    events += [event(BORDER, 5_001, START_MS + BORDER * 1_000), event(BORDER + 1, 5_001, START_MS + 6 * HOUR)]
    last = event(BORDER + 2, 0, START_MS + 6 * HOUR + 10_000)
    flags = []
    for saves in (False, True):
        store = WindowStore(features, SCHEMA)
        sent(store, features, [*events, event(BORDER + 3, 5_001, START_MS + 6 * HOUR + 10_000)])
        assert store.evicted_keys > 300
        if saves:
            store.snapshot()
        flags.append(sent(store, features, [last])[0].flags)
    assert flags[0] == flags[1] == Flag.APPROXIMATE
