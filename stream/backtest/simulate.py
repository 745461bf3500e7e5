"""The simulation in which a blocked payment never happened.

Its features and its decision are those of the attempt; then it enters no window, and what follows from it
does not happen: later events whose ``txn.original_id`` is its id (outcome, reversal) and later legs with its
``txn.transfer_id``. What the customer, or the fraudster, would have done instead is not known.

A block changes what later rows see, so rows have to be decided in order. One row a slice would be slow, and
almost no row is blocked: slices end only before the rows that an earlier pass blocked (their state is held
back until their decision is known). If a pass blocks another row, what came behind it saw too much; the next
pass holds that row too. A pass that finds nothing new is exact, by induction over the log.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fraudstream.rules.bundle import Bundle, Type
from fraudstream.stream.backtest.writer import RowWriter, amount_of
from fraudstream.stream.envelope import Record
from fraudstream.stream.outcome import Decision, Flag
from fraudstream.stream.pipeline import Pipeline, Result
from fraudstream.stream.replay import slice_of
from fraudstream.stream.windows.kernel_advance import HELD
from fraudstream.stream.windows.store import Admission, FeatureMatrix, WindowStore
from fraudstream.stream.wire.decode import decode
from fraudstream.stream.wire.tables import compile_schema
from fraudstream.stream.wire.types import Batch, Slice

ORIGINAL, TRANSFER = "txn.original_id", "txn.transfer_id"

Pair = tuple[int, int]


class HoldingStore(WindowStore):
    """Windows that can give a row's features before it enters."""

    hold = False
    _held: tuple[Batch, Admission, NDArray[np.uint64]] | None = None

    def advance(self, batch: Batch, admission: Admission, filters: NDArray[np.uint64]) -> FeatureMatrix:
        """Compute features; rows enter unless ``hold`` is set."""
        if not self.hold:
            return super().advance(batch, admission, filters)
        self._held = batch, admission, filters
        flags = admission.flags | np.uint16(HELD)
        return super().advance(batch, replace(admission, flags=flags), filters)

    def enter(self) -> None:
        """Let the rows in that were held."""
        assert self._held is not None
        super().advance(*self._held)


class Simulation:
    """Passes over a log; each is fed all records in order."""

    def __init__(self, bundle: Bundle, pipeline: Callable[[int], Pipeline]) -> None:
        self.passes = 0
        self.complete = False
        """The last pass was exact."""
        self._bundle = bundle
        self._tables = compile_schema(bundle.schema)
        self._make = pipeline
        self._known: set[Pair] = set()
        self._columns = {
            name: bundle.schema.field(name).column
            for name in (bundle.schema.event_id, ORIGINAL, TRANSFER)
            if any(field.name == name and field.type is Type.ID for field in bundle.schema.fields)
        }
        amount = amount_of(bundle)
        self._amount = None if amount is None else bundle.schema.field(amount)
        self._type = bundle.schema.field(bundle.schema.event_type)

    def begin(self, writer: RowWriter) -> None:
        """Begin a pass."""
        self.passes += 1
        self.complete = True
        self._writer = writer
        self._pipelines: dict[int, Pipeline] = {}
        self._stores: dict[int, HoldingStore] = {}
        self._ids: set[Pair] = set()
        self._transfers: set[Pair] = set()

    def take(self, partition: int, records: list[Record]) -> None:
        """Decide the next records of a partition."""
        if partition not in self._pipelines:
            pipeline = self._pipelines[partition] = self._make(partition)
            store = HoldingStore(self._bundle.features, self._bundle.schema)
            pipeline.store = self._stores[partition] = store
        source = slice_of(partition, records)
        links = self._links(source)
        begin = 0
        offsets = source.offset.tolist()
        for at, offset in enumerate(offsets):
            if (partition, offset) in self._known:
                self._run(source, links, begin, at, hold=False)
                self._run(source, links, at, at + 1, hold=True)
                begin = at + 1
        self._run(source, links, begin, len(offsets), hold=False)

    def _run(
        self, source: Slice, links: dict[str, list[Pair | None]], begin: int, end: int, *, hold: bool
    ) -> None:
        """Decide rows; those that follow from a blocked payment do not happen."""
        gone = [at for at in range(begin, end) if self._follows(links, at)]
        rows = np.setdiff1d(np.arange(begin, end), gone)
        if gone:
            self._writer.add_absent(source.partition, source.offset[gone])
        if not len(rows):
            return
        store = self._stores[source.partition]
        store.hold = hold
        result = self._pipelines[source.partition].process(_chosen(source, rows))
        store.hold = False
        blocked = self._blocked(result)
        for row in rows[blocked].tolist():
            self._block(source, links, row)
        if hold and not len(blocked):
            store.enter()
        self._writer.add(result)

    def _block(self, source: Slice, links: dict[str, list[Pair | None]], row: int) -> None:
        place = source.partition, int(source.offset[row])
        if place not in self._known:
            self._known.add(place)
            self.complete = False
        for name, found in ((self._bundle.schema.event_id, self._ids), (TRANSFER, self._transfers)):
            link = links[name][row] if name in links else None
            if link is not None:
                found.add(link)

    def _follows(self, links: dict[str, list[Pair | None]], row: int) -> bool:
        original, transfer = links.get(ORIGINAL), links.get(TRANSFER)
        return (original is not None and original[row] in self._ids) or (
            transfer is not None and transfer[row] in self._transfers
        )

    def _blocked(self, result: Result) -> NDArray[np.int64]:
        """Return the rows of the slice that are payments and were blocked, repeats left out."""
        batch, outcome = result.batch, result.outcome
        found = (outcome.decision == int(Decision.BLOCK)) & (outcome.flags & int(Flag.DUPLICATE) == 0)
        found &= self._pays(batch)
        return np.asarray(batch.row[found], np.int64)

    def _pays(self, batch: Batch) -> NDArray[np.bool_]:
        """Return which rows move money: the event types that need an amount; without such, all with one."""
        if self._amount is None:
            return np.zeros(len(batch), np.bool_)
        there = batch.state[self._amount.column] != 0
        if self._amount.required_for:
            codes = [self._type.values.index(name) for name in self._amount.required_for]
            there = (batch.state[self._type.column] != 0) & np.isin(batch.value[self._type.column], codes)
        return np.asarray(there, np.bool_)

    def _links(self, source: Slice) -> dict[str, list[Pair | None]]:
        """Return the ids that join events, by slice row."""
        key = self._pipelines[source.partition].hash_key
        batch = decode(source, self._tables, key)
        out: dict[str, list[Pair | None]] = {}
        for name, column in self._columns.items():
            links: list[Pair | None] = [None] * len(source)
            there = batch.state[column].tolist()
            low, high = batch.value[column].tolist(), batch.value[column + 1].tolist()
            for at, row in enumerate(batch.row.tolist()):
                if there[at]:
                    links[row] = (low[at], high[at])
            out[name] = links
        return out


def _chosen(source: Slice, rows: NDArray[np.int64]) -> Slice:
    """Return some rows of a slice; the buffer is shared."""
    return Slice(
        source.partition,
        source.buffer,
        source.start[rows],
        source.size[rows],
        source.key_start[rows],
        source.key_size[rows],
        source.offset[rows],
        source.time_ms[rows],
    )
