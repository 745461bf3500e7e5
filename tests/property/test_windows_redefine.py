"""Other definitions over a running state: what is kept is exact, what is new is missing, then exact."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.window_oracle import Oracle
from support.window_streams import close, declarations, stream
from support.windows import DAY, EARLY, HOUR, MINUTE, SCHEMA, expected_words, feature_set, run, sizes

from fraudstream.rules.bundle import Agg, Feature, FeatureSet, TimeSettings
from fraudstream.stream.windows.store import WindowStore

LIFE = 400 * DAY


def hashed(declared: list[Feature]) -> list[Feature]:
    """Give every feature the hash of its definition, whatever its name."""
    return [replace(item, hash=repr(replace(item, name="", hash="", outputs=()))) for item in declared]


def covered(item: Feature, as_of: int, born: int) -> bool:
    """14. Whether a feature's window has moved to after it was defined."""
    begin = as_of - (LIFE if item.window_ms is None else item.window_ms)
    if item.resolution_ms:
        begin = begin // item.resolution_ms * item.resolution_ms
    return begin >= born


@settings(
    max_examples=250, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
@given(first=declarations(), second=declarations(), seed=st.integers(0, 2**32))
def test_kept_features_go_on_and_new_ones_warm(
    first: list[Feature], second: list[Feature], seed: int
) -> None:
    """Features of both sets equal an oracle that knew them all along; new ones are missing until covered."""
    choose = random.Random(seed)
    time = TimeSettings(
        allowed_lateness_ms=choose.choice((HOUR, 10 * MINUTE)),
        max_events_per_key=choose.choice((100_000, 100_000, 8)),
    )
    stay = [item for item in first if choose.random() < 0.6]
    renamed = [replace(item, name=f"kept_{item.name}") for item in stay]
    others = [replace(item, name=f"new_{item.name}") for item in second]
    mixed = renamed + others
    choose.shuffle(mixed)
    before, after = feature_set(hashed(first), time), feature_set(hashed(mixed), time)
    known = {item.hash for item in before.features}
    with sizes(**EARLY | {"FOLD_MIN": 8}):
        events = stream([choose.randrange(2**48) for _ in range(160)], 2, choose.choice((9, 12, 14)))
        at = choose.randrange(1, len(events))
        store, oracle = WindowStore(before, SCHEMA), Oracle(union(before, after), SCHEMA)
        run(store, events[:at], before)
        for event in events[:at]:
            oracle.judge(event, evaluate=False)
        born = store.watermark_ms
        store = store.redefined(after)
        store = WindowStore.restore(after, SCHEMA, store.snapshot())
        exact = time.max_events_per_key > len(events)
        for event, answer in zip(events[at:], run(store, events[at:], after), strict=True):
            judged = oracle.judge(event)
            for item in after.features:
                value = judged.features[item.name]
                if item.hash not in known:
                    if not covered(item, answer.as_of_ms, born):
                        value = None
                    elif item.window_ms is None:
                        continue  # it knows what came since it was defined, the oracle what came before, too
                if exact and item.agg is Agg.EWMA:
                    close(answer.features[item.name], value, judged.size.get(item.name, 0.0))
                elif exact:
                    assert answer.features[item.name] == expected_words(item, value), item


def union(before: FeatureSet, after: FeatureSet) -> FeatureSet:
    """Return the features of both sets, so that an oracle keeps what either needs."""
    names = {item.name for item in after.features}
    gone = [item for item in before.features if item.name not in names]
    return replace(after, features=(*after.features, *gone))


def test_a_change_and_back_again_keeps_what_was_kept() -> None:
    """Nothing is lost of a feature that stays through two changes; the state hash is that of no change."""
    count = Feature("count", Agg.COUNT, ("account.id",), window_ms=HOUR, hash="count")
    total = Feature("total", Agg.SUM, ("account.id",), ("txn.amount",), window_ms=HOUR, hash="total")
    one, two = feature_set([count], TimeSettings()), feature_set([total, count], TimeSettings())
    events = stream([random.Random(7).randrange(2**48) for _ in range(300)], 3, 7)
    store, plain = WindowStore(one, SCHEMA), WindowStore(one, SCHEMA)
    run(store, events, one)
    run(plain, events, one)
    assert store.redefined(two).redefined(one).state_hash() == plain.state_hash()


def test_a_state_without_events_has_nothing_to_warm() -> None:
    """Definitions that meet an empty state are complete from the first record on."""
    count = Feature("count", Agg.COUNT, ("account.id",), window_ms=HOUR, hash="count")
    total = Feature("total", Agg.SUM, ("account.id",), ("txn.amount",), window_ms=HOUR, hash="total")
    one, two = feature_set([count], TimeSettings()), feature_set([total], TimeSettings())
    store = WindowStore(one, SCHEMA).redefined(two)
    events = stream([random.Random(7).randrange(2**48) for _ in range(20)], 1, 7)
    answers = run(store, events, two)
    assert any(answer.features["total"] is not None for answer in answers)
