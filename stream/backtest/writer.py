"""Writes a feature log: results of slices become rows of Parquet files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fraudstream.rules.bundle import Bundle, Slot, Type
from fraudstream.stream.backtest import layout as at
from fraudstream.stream.backtest.kernel_rows import copy_spans
from fraudstream.stream.backtest.layout import Column, Kind, Manifest, Runs
from fraudstream.stream.backtest.moments import Calendar
from fraudstream.stream.outcome import Flag
from fraudstream.stream.pipeline import Result
from fraudstream.stream.wire.types import Batch

I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]

GROUP_BYTES = 1 << 28
"""Of words that wait for their row group; a wide set of features has shorter ones."""


def column_of(slot: Slot, *, text: bool) -> Column:
    """Return where a slot's values are kept; ``text``: as text, if it is one."""
    real = slot.type is Type.GEO or slot.type is Type.NUMBER or slot.repr == "f"
    return Column(slot.name, text and slot.type.is_text, slot.type.width, real)


def amount_of(bundle: Bundle) -> str | None:
    """Return the field that holds the amount in the base currency, None: events have none."""
    names = [item.name for item in bundle.schema.fields if item.type is Type.MONEY and item.convert]
    return "txn.amount" if "txn.amount" in names else next(iter(names), None)


class RowWriter:
    """Collects rows and writes them, a row group at a time."""

    def __init__(self, directory: Path, bundle: Bundle) -> None:
        """Start a feature log.

        Args:
            directory: exists and is empty.
            bundle: of the pipeline whose results come, with every column of reference tables read.
        """
        self._directory = directory
        self._bundle = bundle
        self._schema = bundle.schema
        names = [item.name for item in bundle.schema.fields] + [slot.name for slot in bundle.reference.read]
        self._fields = [bundle.slots[name] for name in names]
        self._features = [slot for item in bundle.features.features for slot in item.outputs]
        self._words = max((slot.column + slot.type.width for slot in self._fields), default=0)
        words = self._words + bundle.features.words
        self._size = max(1 << 12, min(at.ROW_GROUP_ROWS, GROUP_BYTES // (9 * max(1, words)) >> 6 << 6))
        shape = (words, self._size)
        self._value, self._state = np.zeros(shape, np.int64), np.zeros(shape, np.uint8)
        self._kind, self._flags = np.zeros(self._size, np.uint8), np.zeros(self._size, np.uint16)
        self._first, self._score = np.zeros(self._size, np.int64), np.zeros(self._size, np.int32)
        self._key = np.zeros(self._size, np.int32)
        self._as_of = np.zeros(self._size, np.int64)
        self._texts: dict[str, list[Any]] = {slot.name: [] for slot in self._fields if slot.type.is_text}
        self._filled = self._written = 0
        self._parts: list[tuple[str, int]] = []
        self._file: Any = None
        self._runs: list[list[int]] = []
        self._keys: dict[tuple[int, int], int] = {}
        self._calendar = Calendar(bundle.policy.zone)
        self._days: Counter[str] = Counter()
        self._amounts: Counter[str] = Counter()
        self._amount = amount_of(bundle)
        self._absent = 0

    @property
    def rows(self) -> int:
        """Return the rows so far."""
        return self._written + self._filled

    def add(self, result: Result) -> None:
        """Append the records of a slice."""
        n, begin = len(result.slice), 0
        while begin < n:
            end = min(n, begin + self._size - self._filled)
            self._add(result, begin, end)
            begin = end
            if self._filled == self._size:
                self._flush()

    def add_absent(self, partition: int, offset: I64) -> None:
        """Append records that never happened."""
        self._absent += len(offset)
        begin = 0
        while begin < len(offset):
            end = min(len(offset), begin + self._size - self._filled)
            place = slice(self._filled, self._filled + end - begin)
            self._clear(place, Kind.ABSENT)
            self._flags[place] = 0
            self._run(partition, offset[begin:end])
            for pieces in self._texts.values():
                pieces.append(pa.nulls(end - begin, pa.string()))
            self._filled += end - begin
            begin = end
            if self._filled == self._size:
                self._flush()

    def _clear(self, place: slice, kind: Kind) -> None:
        self._value[:, place] = self._state[:, place] = 0
        self._kind[place] = kind
        self._first[place] = self._score[place] = self._key[place] = self._as_of[place] = -1

    def close(self, fingerprint: str, made_of: dict[str, Any], hash_key: bytes) -> Manifest:
        """Write what is left and the manifest."""
        if self._filled or not self._parts:
            self._flush()
        self._file.close()
        np.save(self._directory / at.RUNS, np.array(self._runs, np.int64).reshape(-1, 4))
        manifest = Manifest(
            fingerprint,
            made_of,
            self._written,
            tuple(self._parts),
            {slot.name: column_of(slot, text=True) for slot in self._fields},
            {slot.column: column_of(slot, text=False) for slot in self._features},
            {day: (self._days[day], self._amounts[day]) for day in sorted(self._days)},
            len(self._keys),
            self._absent,
            hash_key.hex(),
        )
        manifest.write(self._directory)
        return manifest

    def _add(self, result: Result, begin: int, end: int) -> None:
        source, batch, outcome = result.slice, result.batch, result.outcome
        n = end - begin
        low, high = np.searchsorted(batch.row, [begin, end])
        chosen = slice(int(low), int(high))
        rows = self._filled + batch.row[chosen].astype(np.int64) - begin
        place = slice(self._filled, self._filled + n)
        whole: slice | I64 = place if len(rows) == n else rows
        self._clear(place, Kind.UNREADABLE)
        self._flags[place] = Flag.MALFORMED
        fields, words = len(batch.value), self._words
        self._value[:fields, whole], self._state[:fields, whole] = (
            batch.value[:, chosen],
            batch.state[:, chosen],
        )
        self._value[words:, whole] = result.matrix.value[chosen].T
        self._state[words:, whole] = result.matrix.state[chosen].T
        duplicate = outcome.flags[chosen] & int(Flag.DUPLICATE) != 0
        self._kind[whole] = np.where(duplicate, int(Kind.DUPLICATE), int(Kind.DECIDED))
        self._flags[whole] = outcome.flags[chosen]
        self._score[whole] = outcome.champion_micro[chosen]
        self._key[whole] = self._numbers(batch, chosen)
        self._as_of[whole] = result.admission.as_of_ms[chosen]
        self._run(source.partition, source.offset[begin:end])
        if duplicate.any():
            first = outcome.duplicate_of[chosen]
            found = Runs(np.array(self._runs, np.int64)).rows_of(
                np.full(int(duplicate.sum()), source.partition), first[duplicate]
            )
            self._first[rows[duplicate]] = found
        for name, pieces in self._texts.items():
            pieces.append(_texts(batch, self._bundle.slots[name].column, chosen, begin, n))
        self._count(batch, chosen, self._kind[rows])
        self._filled += n

    def _numbers(self, batch: Batch, chosen: slice) -> NDArray[np.int32]:
        field = self._schema.field(self._schema.partition_key)
        low = batch.value[field.column, chosen]
        high = batch.value[field.column + field.type.width - 1, chosen]
        keys = self._keys
        pairs = zip(low.tolist(), high.tolist(), strict=True)
        return np.fromiter((keys.setdefault(pair, len(keys)) for pair in pairs), np.int32, len(low))

    def _run(self, partition: int, offset: I64) -> None:
        row = self.rows
        for part in np.split(offset, np.flatnonzero(np.diff(offset) != 1) + 1):
            last = self._runs[-1] if self._runs else [-1, 0, 0, 0]
            if last[0] == partition and last[1] + last[3] == part[0] and last[2] + last[3] == row:
                last[3] += len(part)
            else:
                self._runs.append([partition, int(part[0]), row, len(part)])
            row += len(part)

    def _count(self, batch: Batch, chosen: slice, kind: U8) -> None:
        decided = kind == Kind.DECIDED
        times = batch.value[self._schema.field(self._schema.event_time).column, chosen][decided]
        days, where = np.unique(self._calendar.days(times), return_inverse=True)
        money = np.zeros(len(times), np.int64)
        if self._amount is not None:
            money = batch.value[self._schema.field(self._amount).column, chosen][decided]
        sums = np.zeros(len(days), np.int64)
        np.add.at(sums, where, money)
        for day, count, minor in zip(days, np.bincount(where, minlength=len(days)), sums, strict=True):
            name = self._calendar.name(int(day))
            self._days[name] += int(count)
            self._amounts[name] += int(minor)

    def _flush(self) -> None:
        n = self._filled
        columns: dict[str, Any] = {}
        for slot in self._fields:
            if slot.type.is_text:
                columns[slot.name] = pa.chunked_array(self._texts[slot.name], pa.string())
                self._texts[slot.name] = []
            else:
                self._put(columns, slot, slot.column, n)
        for slot in self._features:
            self._put(columns, slot, self._words + slot.column, n)
        columns[at.KIND], columns[at.FLAGS] = pa.array(self._kind[:n]), pa.array(self._flags[:n])
        marked = ((at.DUPLICATE_OF, self._first), (at.SCORE, self._score), (at.AS_OF, self._as_of))
        for name, values in marked:
            columns[name] = pa.array(values[:n], mask=values[:n] < 0)
        columns[at.KEY] = pa.array(self._key[:n])
        table = pa.table(columns)
        if self._file is None or self._parts[-1][1] + n > at.PART_ROWS:
            if self._file is not None:
                self._file.close()
            name = f"part-{len(self._parts):05}.parquet"
            self._file = pq.ParquetWriter(
                self._directory / name, table.schema, compression="zstd", compression_level=1
            )
            self._parts.append((name, 0))
        self._file.write_table(table, row_group_size=at.ROW_GROUP_ROWS)
        self._parts[-1] = (self._parts[-1][0], self._parts[-1][1] + n)
        self._written += n
        self._filled = 0

    def _put(self, columns: dict[str, Any], slot: Slot, row: int, n: int) -> None:
        column = column_of(slot, text=False)
        for word, name in enumerate(column.files):
            columns[name] = _array(self._value[row + word, :n], self._state[row + word, :n], column.real)


def _array(value: I64, state: U8, real: bool) -> Any:
    """Return words as an Arrow array; the memory is copied, the buffers are filled again."""
    n = len(value)
    missing = n - int(np.count_nonzero(state))
    bits = None if not missing else pa.py_buffer(np.packbits(state, bitorder="little").tobytes())
    kind = pa.float64() if real else pa.int64()
    return pa.Array.from_buffers(kind, n, [bits, pa.py_buffer(value.tobytes())], missing)


def _texts(batch: Batch, column: int, chosen: slice, begin: int, n: int) -> Any:
    """Return the texts of a slice's records ``begin`` to ``begin + n`` as an Arrow array."""
    start, size, state = np.zeros(n, np.int32), np.zeros(n, np.int32), np.zeros(n, np.uint8)
    rows = batch.row[chosen] - begin
    start[rows], state[rows] = batch.start[column, chosen], batch.state[column, chosen]
    size[rows] = batch.size[column, chosen]
    size[state == 0] = 0
    ends = np.zeros(n + 1, np.int32)
    np.cumsum(size, out=ends[1:])
    out = np.empty(int(ends[-1]), np.uint8)
    copy_spans(batch.buffer, start, ends, out)
    bits = pa.py_buffer(np.packbits(state, bitorder="little").tobytes())
    missing = n - int(np.count_nonzero(state))
    return pa.StringArray.from_buffers(n, pa.py_buffer(ends), pa.py_buffer(out), bits, missing)
