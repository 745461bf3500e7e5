"""Reference tables of one partition, joined to its batches.

The join stands between decoding and admission: columns of tables become rows of ``Batch.value`` behind the
fields, so that rules, filters and models read them like fields. Only what one of them reads is joined. The
hash of a record's body was made before: a duplicate is one whatever the tables say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fraudstream.models.model import Model
from fraudstream.rules.bundle import Bundle, ReferenceTable, Slot
from fraudstream.stream.enrichment import kernel_join as kernel
from fraudstream.stream.enrichment import layout as at
from fraudstream.stream.enrichment.bound import BoundTable, Placed, TableVersion, record_layout
from fraudstream.stream.enrichment.content import NO_TIME
from fraudstream.stream.per_slice import per_slice
from fraudstream.stream.wire.types import PAD_BYTES, Batch

OUTCOMES = ("found", "absent", "stale")
"""What is counted for each table: keys with a row, keys without one, and keys of events that saw stale
content."""


IN_PLACE_ROWS_MAX = 20_000
"""Changed rows that are entered between two slices; with more the table is built anew beside them."""


@per_slice(frozen=True, slots=True)
class Joined:
    """A batch with the columns of tables, and what was counted."""

    batch: Batch
    counts: NDArray[np.int64]
    """[tables, 3] in the order of ``OUTCOMES``."""


class Enrichment:
    """The tables of a bundle bound to one partition's hash key; one thread at a time."""

    def __init__(
        self,
        bundle: Bundle,
        model: Model | None,
        hash_key: bytes,
        versions: Mapping[str, TableVersion] | None = None,
        donors: Iterable[BoundTable] = (),
    ) -> None:
        """Bind tables; those without a version have no rows and all their values are missing.

        Args:
            bundle: declares the tables.
            model: its inputs are joined too.
            hash_key: of the partition, 16 bytes.
            versions: content by table name.
            donors: tables bound before with the same key. Those with the wanted version are taken over,
                those that deltas lead to it from are changed in place: whoever had them must not use them
                any more.
        """
        self.versions = dict(versions or {})
        self.slots, self._read, self._begin, self._end = _rows(bundle, model)
        self._tables = [table for table in bundle.reference.tables if table.name in self.versions]
        self._time_row = bundle.schema.field(bundle.schema.event_time).column
        self.hash_key = hash_key
        donors = list(donors)
        self.bound: dict[str, BoundTable] = {}
        placed: dict[str, tuple[Placed, ...]] = {}
        for table in self._tables:
            placed[table.name], stride = record_layout(table, self._read)
            blank = BoundTable(table, placed[table.name], stride, hash_key)
            self.bound[table.name] = _filled(blank, self.versions[table.name], donors)
        self._texts = 0
        self._plan, self._columns = self._planned(bundle, placed)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the tables that have content, in the order of the counts."""
        return tuple(table.name for table in self._tables)

    @property
    def nbytes(self) -> int:
        """Return the bytes of all bound tables."""
        return sum(table.nbytes for table in self.bound.values())

    def switched(
        self,
        bundle: Bundle,
        model: Model | None,
        versions: Mapping[str, TableVersion],
        prepared: Iterable[BoundTable] = (),
    ) -> Enrichment:
        """Return other versions, made from these tables where possible; these must not be used any more."""
        return Enrichment(bundle, model, self.hash_key, versions, [*prepared, *self.bound.values()])

    def join(self, batch: Batch) -> Joined:
        """Return the batch with the tables' columns behind its fields."""
        counts = np.zeros((len(self._tables), len(OUTCOMES)), np.int64)
        more = self._end - self._begin
        if not more:
            return Joined(batch, counts)
        n, words = len(batch), self._begin
        value, state = np.empty((words + more, n), np.int64), np.empty((words + more, n), np.uint8)
        value[:words], state[:words] = batch.value, batch.state
        value[words:] = state[words:] = 0
        start, size = batch.start, batch.size
        buffer = batch.buffer
        if n and self._tables:
            place = np.empty((max(1, self._texts), n), np.int64)
            total = kernel.join(
                self._plan, self._columns, self._time_row, value, state, place, counts.reshape(-1)
            )
            if self._texts:
                start, size = (np.zeros((words + more, n), np.int32) for _ in range(2))
                start[:words], size[:words] = batch.start, batch.size
                buffer = np.empty(len(batch.buffer) + total + PAD_BYTES, np.uint8)
                buffer[: len(batch.buffer)] = batch.buffer
                buffer[-PAD_BYTES:] = 0
                kernel.copy_texts(
                    self._plan, self._columns, place, buffer, np.int64(len(batch.buffer)), start, size
                )
        if len(start) < words + more:
            empty = np.zeros((more, n), np.int32)
            start, size = np.concatenate([batch.start, empty]), np.concatenate([batch.size, empty])
        joined = replace(batch, value=value, state=state, start=start, size=size, buffer=buffer)
        return Joined(joined, counts)

    def _planned(
        self, bundle: Bundle, placed: Mapping[str, tuple[Placed, ...]]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        plan = np.zeros((len(self._tables), at.PLAN), np.int64)
        columns: list[list[int]] = []
        for row, table in zip(plan, self._tables, strict=True):
            bound = self.bound[table.name]
            row[at.P_INDEX], row[at.P_INDEX_MASK] = bound.index.ctypes.data, len(bound.index) - 1
            row[at.P_RECORDS], row[at.P_STRIDE] = bound.records.ctypes.data, bound.stride
            row[at.P_TEXTS] = bound.texts.ctypes.data
            key = bundle.schema.field(table.key)
            row[at.P_KEY], row[at.P_KEY_WORDS] = key.column, key.type.width
            row[at.P_FRESH_UNTIL] = _fresh_until(table, bound)
            row[at.P_KEEP] = table.keep_stale
            row[at.P_FOUND], row[at.P_STALE] = self._row_of(table.found), self._row_of(table.stale)
            row[at.P_COLUMNS], row[at.P_COLUMN_COUNT] = len(columns), len(placed[table.name])
            for bit, item in enumerate(placed[table.name]):
                text = -1
                if item.slot.type.is_text:
                    text, self._texts = self._texts, self._texts + 1
                columns.append([item.offset, item.slot.type.width, bit, item.slot.column, text])
        return plan.reshape(-1), np.array(columns, np.int64).reshape(-1)

    def _row_of(self, slot: Slot) -> int:
        found = self._read.get(slot.name)
        return -1 if found is None else found.column


def prepared(
    enrichment: Enrichment, bundle: Bundle, model: Model | None, name: str, version: TableVersion
) -> BoundTable | None:
    """Return a table bound anew, None where the one in use gets there by a few rows or nobody reads it.

    Reads the tables in use without changing them, so it may run beside their partition.
    """
    table = bundle.reference.table(name)
    _, read, _, _ = _rows(bundle, model)
    if table is None or not any(slot.name in read for slot in table.slots):
        return None
    placed, stride = record_layout(table, read)
    blank = BoundTable(table, placed, stride, enrichment.hash_key)
    if (there := enrichment.bound.get(name)) is not None and there.stored == blank.stored:
        names = [item.version for item in version.chain]
        if there.version in names:
            deltas = version.chain[names.index(there.version) + 1 :]
            if sum(len(item.content) for item in deltas) <= IN_PLACE_ROWS_MAX and there.fits(deltas):
                return None
    blank.build(version)
    return blank


def reads_reference(bundle: Bundle, model: Model | None) -> frozenset[str]:
    """Return the tables of which something is read."""
    _, read, _, _ = _rows(bundle, model)
    return frozenset(name.split(".", 1)[0] for name in read)


def _rows(bundle: Bundle, model: Model | None) -> tuple[Mapping[str, Slot], dict[str, Slot], int, int]:
    """Return (all slots, those of tables that are read, first row of tables, end of their rows).

    Rules and filters have their rows from the compiler; what only the model reads goes behind them.
    """
    reference, begin = bundle.reference, bundle.schema.words
    read = {slot.name: slot for slot in reference.read}
    end = max((slot.column + slot.type.width for slot in reference.read), default=begin)
    slots = bundle.slots
    names = {slot.name for table in reference.tables for slot in table.slots}
    inputs = () if model is None else model.reads
    more: dict[str, Slot] = {}
    for name in inputs:
        if name in names and name not in read:
            more[name] = replace(slots[name], column=end)
            end += slots[name].type.width
    return (slots if not more else {**slots, **more}), read | more, begin, end


def _filled(blank: BoundTable, version: TableVersion, donors: Iterable[BoundTable]) -> BoundTable:
    """Return a table with the rows of a version, from a donor if one will do."""
    chain = version.chain
    names = [item.version for item in chain]
    best: tuple[int, BoundTable] | None = None
    for donor in donors:
        same = donor.stored == blank.stored and donor.key_type is blank.key_type
        if not same or donor.hash_key != blank.hash_key or donor.version not in names:
            continue
        place = names.index(donor.version)
        if (best is None or place > best[0]) and donor.fits(chain[place + 1 :]):
            best = (place, donor)
    if best is not None:
        best[1].advance(chain[best[0] + 1 :])
        return best[1]
    blank.build(version)
    return blank


def _fresh_until(table: ReferenceTable, bound: BoundTable) -> int:
    if table.stale_after_ms is None:
        return at.FOREVER
    return NO_TIME if bound.as_of_ms == NO_TIME else bound.as_of_ms + table.stale_after_ms
