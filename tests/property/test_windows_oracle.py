"""Features of random declarations over random streams equal the naive reading of the contract."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.window_oracle import Event, Oracle
from support.window_streams import STEPS, close, declarations, digits, stream
from support.windows import (
    DAY,
    EARLY,
    HOUR,
    MINUTE,
    SCHEMA,
    expected_words,
    feature_set,
    result_of,
    run,
    sizes,
)

from fraudstream.rules.bundle import Agg, FeatureSet, TimeSettings
from fraudstream.stream.outcome import Flag
from fraudstream.stream.windows.store import WindowStore

pytestmark = pytest.mark.timeout(1_800)
"""On a machine that others use too."""


@dataclass(frozen=True)
class Run:
    """A stream over declarations with borders of batches."""

    features: FeatureSet
    events: list[Event]
    borders: list[int]
    restart: int
    start_from: int

    def __repr__(self) -> str:
        """Return what fits a screen: long streams are made anew from the seed."""
        return f"Run({self.features.time}, {self.features.features}, {len(self.events)} events)"

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        """Print the same in Hypothesis' reports, which otherwise write every event."""
        printer.text(repr(self))


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
    with sizes(**EARLY):
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
    with sizes(**EARLY):
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
        pane = 0 if item.agg is Agg.SEQUENCE else pane
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
    with sizes(**EARLY | {"FOLD_MIN": 16}):
        compare(drawn, every=5)


@pytest.mark.long
@pytest.mark.timeout(7_200)
@settings(FEW, max_examples=7_000, derandomize=False)
@given(runs())
def test_many_features_equal_the_oracle(drawn: Run) -> None:
    """The same on many more short streams, with summaries and panes as early as they may be."""
    with sizes(**EARLY):
        compare(drawn)


@pytest.mark.long
@pytest.mark.timeout(7_200)
@settings(FEW, max_examples=1_500, derandomize=False)
@given(hot_runs())
def test_many_hot_keys_equal_the_oracle(drawn: Run) -> None:
    """The same on many more long dense streams, by the default sizes."""
    compare(drawn, every=11)


@pytest.mark.long
@pytest.mark.timeout(7_200)
@settings(FEW, max_examples=1_500, derandomize=False)
@given(paned_runs())
def test_many_paned_windows_equal_the_oracle(drawn: Run) -> None:
    """The same on many more weeks under windows with panes, by the default sizes but for folding."""
    with sizes(FOLD_MIN=16, PANE_GAIN=0):
        compare(drawn, every=3)
