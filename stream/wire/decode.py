"""Step 2, decode: a slice of Kafka records to typed columns."""

from __future__ import annotations

from array import array
from collections import Counter

import numpy as np

from fraudstream.rules.siphash import key_words
from fraudstream.stream.wire.codes import REJECTION_CODES
from fraudstream.stream.wire.exact import Fault, read_record
from fraudstream.stream.wire.kernel_hash import hash_batch
from fraudstream.stream.wire.readers import Row
from fraudstream.stream.wire.tables import SchemaTables, compile_schema
from fraudstream.stream.wire.types import PAD_BYTES, Batch, Rejected, Slice

__all__ = ["REJECTION_CODES", "compile_schema", "decode"]


class _Columns:
    """Row-major columns while records are appended."""

    def __init__(self, words: int) -> None:
        self.width = words
        self.words = array("q")
        self.state = bytearray()
        self.start = array("i")
        self.size = array("i")
        self.texts: list[bytes] = []
        self.text_bytes = 0
        self.rows: list[int] = []
        self.missing: Counter[tuple[str, str]] = Counter()

    def append(self, number: int, row: Row) -> None:
        start, size = [0] * self.width, [0] * self.width
        state = row.state
        for column, text in row.texts:
            start[column], size[column] = self.text_bytes, len(text)
            state[column] = state[column + 1] = 1
            self.texts.append(text)
            self.text_bytes += len(text)
        self.words.extend(row.words)
        self.state += state
        self.start.extend(start)
        self.size.extend(size)
        self.rows.append(number)
        if row.counted:
            self.missing.update(row.counted)

    def batch(self, source: Slice, tables: SchemaTables, hash_key: bytes, rejected: list[Rejected]) -> Batch:
        shape = (len(self.rows), self.width)
        row = np.array(self.rows, np.int32)
        value = np.array(np.frombuffer(self.words, np.int64).reshape(shape).T, order="C")
        state = np.array(np.frombuffer(self.state, np.uint8).reshape(shape).T, order="C")
        start = np.array(np.frombuffer(self.start, np.int32).reshape(shape).T, order="C")
        size = np.array(np.frombuffer(self.size, np.int32).reshape(shape).T, order="C")
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


def decode(source: Slice, tables: SchemaTables, hash_key: bytes) -> Batch:
    """Read a slice's records; those that cannot be read stand in ``Batch.rejected`` in slice order.

    Money is in minor units of its own currency (:func:`~fraudstream.stream.wire.currency.to_base`
    converts it). ``hash_key`` (16 bytes) belongs to the partition and never leaves its state.
    """
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
    """Load the hash kernel, so that nothing compiles once records flow."""
    decode(Slice.from_records(0, [], [], [], []), tables, bytes(16))
