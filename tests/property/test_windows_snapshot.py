"""A snapshot that is written while events go on is the state at the moment it was begun."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.window_oracle import Event
from support.window_streams import declarations, stream
from support.windows import DAY, EARLY, HOUR, MINUTE, SCHEMA, feature_set, run, sizes

from fraudstream.rules.bundle import Agg, Feature, FeatureSet, TimeSettings
from fraudstream.stream.windows import kernel_export, kernel_snapshot, layout
from fraudstream.stream.windows.copying import Copy
from fraudstream.stream.windows.snapshot import SnapshotError, read_head
from fraudstream.stream.windows.store import WindowStore

MANY = settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@dataclass(frozen=True)
class Case:
    """A stream in batches and a source of choices."""

    features: FeatureSet
    batches: list[list[Event]] = field(repr=False)
    lent_min: int
    choose: random.Random = field(repr=False)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw declarations, time settings and weeks or years of a few keys."""
    choose = random.Random(draw(st.integers(0, 2**32)))
    time = TimeSettings(
        allowed_lateness_ms=choose.choice((HOUR, 10 * MINUTE)),
        dedup_ms=choose.choice((DAY, HOUR)),
        max_events_per_key=choose.choice((100_000, 100_000, 100_000, 3, 40)),
        max_state_bytes=choose.choice((0, 0, 0, 3_000)),
    )
    declared = []
    for item in draw(declarations()):
        length = choose.choice((HOUR, DAY, 7 * DAY, 30 * DAY))
        pane = choose.choice((HOUR, DAY, 15 * MINUTE, 0))
        paned = item.window_ms is not None and pane <= length
        declared.append(replace(item, window_ms=length, resolution_ms=pane) if paned else item)
    count = choose.choice((40, 150, 500))
    steps, keys = choose.choice((5, 8, 10, 14)), choose.choice((1, 2, 4))
    events = stream([choose.randrange(2**48) for _ in range(count)], keys, steps, varied=True)
    cuts = sorted({choose.randrange(1, count) for _ in range(8)} | {0, count})
    batches = [events[a:b] for a, b in pairwise(cuts)]
    return Case(feature_set(declared, time), batches, choose.choice((1, 20, 1 << 15)), choose)


def through(store: WindowStore, features: FeatureSet, batches: Sequence[Sequence[Event]]) -> WindowStore:
    """Send batches through a store."""
    for batch in batches:
        run(store, batch, features)
    return store


class Sink:
    """Writes a copy down, slowly and in parts."""

    def __init__(self, copy: Copy, choose: random.Random) -> None:
        self.copy, self.choose, self.out = copy, choose, io.BytesIO()
        self.out.write(copy.head)

    def between_batches(self) -> None:
        """Make some steps, take what there is or leave it."""
        for _ in range(self.choose.randrange(4)):
            self.copy.step(self.choose.choice((1, 30, 200, 2_000)))
            if self.choose.random() < 0.6:
                self.take()

    def take(self) -> None:
        """Take one part."""
        part = self.copy.take()
        if part is not None:
            self.out.write(part.data)
            self.copy.give_back()

    def whole(self) -> memoryview:
        """Return everything, after the steps that are left."""
        while not self.copy.ended:
            self.copy.step(self.choose.choice((1, 30, 2_000)))
        while self.copy.waiting_words:
            self.take()
        self.copy.close()
        return memoryview(self.out.getvalue())


def check(case: Case) -> None:
    """Snapshot at a random border, go on, restore."""
    features, batches, choose = case.features, case.batches, case.choose
    at = choose.randrange(len(batches))
    still = through(WindowStore(features, SCHEMA), features, batches[:at])
    going = through(WindowStore(features, SCHEMA), features, batches[:at])
    if choose.random() < 0.3:
        # One that was given up leaves nothing behind.
        other = going.begin_snapshot()
        other.step(choose.choice((1, 100)))
        cut = choose.randrange(at, len(batches))
        through(going, features, batches[at:cut])
        through(still, features, batches[at:cut])
        other.close()
        at = cut
    sink = Sink(going.begin_snapshot(), choose)
    for batch in batches[at:]:
        sink.between_batches()
        run(going, batch, features)
    restored = WindowStore.restore_unsealed(features, SCHEMA, sink.whole())
    assert restored.state_hash() == still.state_hash()
    assert restored.watermark_ms == still.watermark_ms
    once = through(WindowStore(features, SCHEMA), features, batches)
    assert going.state_hash() == once.state_hash()
    for batch in batches[at:]:
        assert run(restored, batch, features) == run(still, batch, features)
    assert restored.state_hash() == once.state_hash()


@MANY
@given(cases())
def test_a_snapshot_is_the_state_at_its_beginning_whatever_comes_while_it_is_written(case: Case) -> None:
    """Evictions, panes, folded events, duplicates and new keys in old places included."""
    with sizes(**EARLY | {"FOLD_MIN": 16, "BOUND_SHIFT": 4, "LENT_MIN": case.lent_min}):
        check(case)


def kinds(data: memoryview) -> list[int]:
    """Return the kinds of the records of a snapshot."""
    words, found, place = read_head(data)[1], [], 0
    while place < len(words):
        found.append(int(words[place + kernel_export.X_KIND]))
        place += int(words[place + kernel_export.X_WORDS])
    return found


HOT = (
    Feature("n", Agg.COUNT, ("account.id",), window_ms=30 * DAY),
    Feature("d", Agg.DISTINCT, ("account.id",), of=("merchant.id",), window_ms=30 * DAY, max_distinct=5),
    Feature("m", Agg.MAX, ("account.id",), of=("txn.amount",), window_ms=DAY),
)


@pytest.mark.parametrize("late", [False, True])
def test_a_large_key_is_copied_in_pieces_while_it_grows(
    monkeypatch: pytest.MonkeyPatch, *, late: bool
) -> None:
    """Its events follow its record, and late ones that come between do not show."""
    monkeypatch.setattr(layout, "LENT_MIN", 64)
    time = TimeSettings(allowed_lateness_ms=DAY, dedup_ms=DAY, max_events_per_key=100_000)
    features = feature_set(HOT, time)
    choose = random.Random(7)
    events = stream([choose.randrange(2**48) for _ in range(1_400)], 1, 3, varied=True)
    if late:
        for event in events[1_000:]:
            event.values["event.time"] -= choose.randrange(20_000)
    batches = [events[:1_000], *(events[begin : begin + 40] for begin in range(1_000, 1_400, 40))]
    store, no_entries = WindowStore(features, SCHEMA), 1 << 40
    run(store, batches[0], features, no_entries)
    before = store.state_hash()
    sink = Sink(store.begin_snapshot(), choose)
    for batch in batches[1:]:
        sink.copy.step(300)
        sink.take()
        run(store, batch, features, no_entries)
    data = sink.whole()
    found = kinds(data)
    assert sum(kind >= kernel_snapshot.EVENTS_FOLLOW for kind in found) == 1
    assert found.count(kernel_snapshot.EVENTS) > 3
    assert found[-1] == kernel_snapshot.END
    assert WindowStore.restore_unsealed(features, SCHEMA, data).state_hash() == before


def test_a_buffer_that_is_too_small_ends_the_snapshot_and_nothing_else() -> None:
    """The next one is whole."""
    features = feature_set(HOT, TimeSettings())
    events = stream([number * 7_919_231 for number in range(90)], 4, 5, varied=True)
    store = through(WindowStore(features, SCHEMA), features, [events[:60]])
    copy = store.begin_snapshot()
    store._m[layout.C_COPY_LIMIT] = store._m[layout.C_COPY_NEXT] + 20
    run(store, events[60:], features)
    with pytest.raises(SnapshotError, match="raise the memory limit"):
        copy.step()
    assert copy.closed
    whole = through(WindowStore(features, SCHEMA), features, [events[:60], events[60:]])
    assert WindowStore.restore(features, SCHEMA, store.snapshot()).state_hash() == whole.state_hash()
    assert store.state_hash() == whole.state_hash()


def test_two_snapshots_at_a_time_are_refused() -> None:
    """The store holds one beginning."""
    store = WindowStore(feature_set(HOT, TimeSettings()), SCHEMA)
    copy = store.begin_snapshot()
    with pytest.raises(RuntimeError, match="under way"):
        store.begin_snapshot()
    copy.close()
    store.begin_snapshot().close()


def test_a_snapshot_without_its_last_record_is_refused() -> None:
    """Records may be cut where one ends."""
    features = feature_set(HOT, TimeSettings())
    store = through(
        WindowStore(features, SCHEMA), features, [stream([number * 7_919 for number in range(40)], 4)]
    )
    copy = store.begin_snapshot()
    parts = np.concatenate([part.copy() for part in copy.parts()])
    for cut in (kernel_export.EXPORT, len(parts)):
        data = copy.head + parts[: len(parts) - cut].tobytes()
        with pytest.raises(SnapshotError, match="last record"):
            WindowStore.restore_unsealed(features, SCHEMA, memoryview(data))
