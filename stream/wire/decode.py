"""Step 2, decode: a slice of Kafka records to typed columns."""

from __future__ import annotations

import struct
from collections import Counter

import numpy as np

from fraudstream.rules.siphash import key_words
from fraudstream.stream.wire.codes import REJECTION_CODES
from fraudstream.stream.wire.exact import Fault, read_record
from fraudstream.stream.wire.fast import read_slice
from fraudstream.stream.wire.kernel_hash import hash_batch
from fraudstream.stream.wire.readers import Row
from fraudstream.stream.wire.tables import SchemaTables, compile_schema
from fraudstream.stream.wire.types import PAD_BYTES, Batch, Rejected, Slice

__all__ = ["REJECTION_CODES", "compile_schema", "decode"]


class _Columns:
    """Rows of a batch while they are read; turned into columns at once."""

    def __init__(self, words: int) -> None:
        self.width = words
        self.pack = struct.Struct(f"{words}q").pack
        self.words: list[bytes] = []
        self.state: list[bytearray] = []
        self.text_columns: list[int] = []
        self.texts: list[bytes] = []
        self.text_counts: list[int] = []
        self.rows: list[int] = []
        self.missing: Counter[tuple[str, str]] = Counter()

    def append(self, number: int, row: Row) -> None:
        """Add the record of slice row ``number``."""
        self.rows.append(number)
        self.words.append(self.pack(*row.words))
        self.state.append(row.state)
        self.texts += row.texts
        self.text_columns += row.text_columns
        self.text_counts.append(len(row.texts))
        if row.counted:
            self.missing.update(row.counted)

    def batch(self, source: Slice, tables: SchemaTables, hash_key: bytes, rejected: list[Rejected]) -> Batch:
        """Return the columns, hashed."""
        row = np.array(self.rows, np.int32)
        shape = (len(row), self.width)
        value = np.array(np.frombuffer(b"".join(self.words), np.int64).reshape(shape).T, order="C")
        state = np.array(np.frombuffer(b"".join(self.state), np.uint8).reshape(shape).T, order="C")
        start, size = np.zeros((2, self.width, len(row)), np.int32)
        sizes = np.fromiter(map(len, self.texts), np.int32, len(self.texts))
        at = np.array(self.text_columns, np.int64) * len(row) + np.repeat(
            np.arange(len(row)), np.array(self.text_counts, np.int64)
        )
        size.reshape(-1)[at] = sizes
        start.reshape(-1)[at] = np.cumsum(sizes, dtype=np.int32) - sizes
        state.reshape(-1)[at] = state.reshape(-1)[at + len(row)] = 1
        self.texts.append(bytes(PAD_BYTES))
        buffer = np.frombuffer(b"".join(self.texts), np.uint8)
        body = np.zeros((2, len(row)), np.int64)
        scratch = np.zeros(self.width + (self.width + 7) // 8, np.int64)
        columns = np.array(tables.text_columns, np.int64)
        key = np.array(key_words(hash_key), np.uint64)
        hash_batch(columns, buffer, start, size, state, key, scratch, scratch.view(np.uint8), value, body)
        return Batch(
            schema=tables.schema,
            row=row,
            offset=source.offset[row],
            record_time_ms=source.time_ms[row],
            value=value,
            state=state,
            start=start,
            size=size,
            buffer=buffer,
            body_hash=body,
            rejected=tuple(rejected),
            missing=dict(self.missing),
        )


def decode(source: Slice, tables: SchemaTables, hash_key: bytes, *, fast: bool = True) -> Batch:
    """Read a slice's records; those that cannot be read stand in ``Batch.rejected`` in slice order.

    Money is in minor units of its own currency (:func:`~fraudstream.stream.wire.currency.to_base`
    converts it). ``hash_key`` (16 bytes) belongs to the partition and never leaves its state. Without
    ``fast`` the exact lane reads every record; the batch is the same.
    """
    if fast:
        return read_slice(source, tables, hash_key)
    columns = _Columns(tables.schema.words)
    rejected: list[Rejected] = []
    view = source.buffer.data  # parts of a slice share one large buffer
    spans = zip(source.start.tolist(), source.size.tolist(), strict=True)
    for number, (start, size) in enumerate(spans):
        row = read_record(None if start < 0 else view[start : start + size].tobytes(), tables)
        if isinstance(row, Fault):
            rejected.append(Rejected(number, *row))
        else:
            columns.append(number, row)
    return columns.batch(source, tables, hash_key, rejected)


def warm(tables: SchemaTables) -> None:
    """Load the kernels, so that nothing compiles once records flow."""
    decode(Slice.from_records(0, [], [], [], []), tables, bytes(16))
