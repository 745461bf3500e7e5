"""The fast lane: kernels read the records that they fully understand, the exact lane all others."""

from __future__ import annotations

import struct

import numpy as np

from fraudstream.stream.wire import layout as at
from fraudstream.stream.wire.exact import Fault, read_record
from fraudstream.stream.wire.kernel_rows import read_rows, text_room
from fraudstream.stream.wire.readers import Row
from fraudstream.stream.wire.tables import SchemaTables
from fraudstream.stream.wire.types import I32, I64, PAD_BYTES, U8, Batch, Rejected, Slice

_WHY = {at.WHY_TOKENS: "tokens", at.WHY_VALUES: "values"}
_key_words = struct.Struct("<2q").unpack


def _scratch(tables: SchemaTables, hash_key: bytes) -> I64:
    if len(hash_key) != 16:
        raise ValueError(f"a hash key has 16 bytes, this one {len(hash_key)}")
    scratch = np.zeros(tables.flat.scratch_words, np.int64)
    scratch[at.S_KEY], scratch[at.S_KEY + 1] = _key_words(hash_key)
    return scratch


def _put(row: Row, tables: SchemaTables, scratch: I64, text: U8) -> None:
    """Put what the exact lane has read of one record where the kernel emits it from."""
    plan, width = tables.flat.plan, tables.schema.words
    state, start, size = list(row.state), [0] * width, [0] * width
    used = first = int(scratch[at.S_USED])
    for column, item in zip(row.text_columns, row.texts, strict=True):
        start[column], size[column] = used, len(item)
        state[column] = state[column + 1] = at.PRESENT
        used += len(item)
    text[first:used] = np.frombuffer(b"".join(row.texts), np.uint8)
    begin = int(plan[at.H_S_WORDS])  # the other three stand behind the words
    scratch[begin : begin + 4 * width] = row.words + state + start + size
    scratch[at.S_USED], scratch[at.S_PENDING] = used, 1


def _read_only(array: U8) -> U8:
    """Return the bytes as the kernel is compiled for."""
    if array.flags.writeable:
        array = array.view()
        array.flags.writeable = False
    return array


def read_slice(source: Slice, tables: SchemaTables, hash_key: bytes) -> Batch:
    """Read a slice's records; see `decode`."""
    n, words, flat = len(source), tables.schema.words, tables.flat
    scratch = _scratch(tables, hash_key)
    begin, length = np.ascontiguousarray(source.start), np.ascontiguousarray(source.size)
    text = np.empty(text_room(length) * flat.reads + n * flat.own_bytes + PAD_BYTES, np.uint8)
    rows: I32 = np.empty(n, np.int32)
    value: I64 = np.empty((words, n), np.int64)
    state: U8 = np.empty((words, n), np.uint8)
    start: I32 = np.zeros((words, n), np.int32)
    size: I32 = np.zeros((words, n), np.int32)
    body: I64 = np.empty((2, n), np.int64)
    rejected: list[Rejected] = []
    missing: dict[tuple[str, str], int] = {}
    exact: dict[str, int] = {}
    buffer = _read_only(source.buffer)
    columns = (text, rows, value, state, start, size, body)
    while (number := read_rows(buffer, begin, length, flat.plan, flat.names, scratch, *columns)) < n:
        row = read_record(source.value(number), tables)
        if isinstance(row, Fault):
            rejected.append(Rejected(number, *row))
            why = "rejected"
        else:
            why = _WHY[int(scratch[at.S_WHY])]
            _put(row, tables, scratch, text)
            for key in row.counted:
                missing[key] = missing.get(key, 0) + 1
        exact[why] = exact.get(why, 0) + 1
        scratch[at.S_ROW] = number + 1
    accepted, used = scratch[at.S_ROWS : at.S_USED + 1].tolist()
    if scratch[at.S_COUNTED]:
        counts = int(flat.plan[at.H_S_COUNTS])
        found = scratch[counts : counts + words].tolist()
        for column, name, cause in flat.counted:
            if found[column]:
                missing[name, cause] = missing.get((name, cause), 0) + found[column]
    text[used : used + PAD_BYTES] = 0
    text.setflags(write=False)
    offset, time_ms = source.offset, source.time_ms
    if accepted == n:
        offset, time_ms = offset.copy(), time_ms.copy()
    else:
        rows = rows[:accepted].copy()
        offset, time_ms = offset[rows], time_ms[rows]
        value, body = value[:, :accepted].copy(), body[:, :accepted].copy()
        state, start, size = state[:, :accepted].copy(), start[:, :accepted].copy(), size[:, :accepted].copy()
    return Batch(
        tables.schema,
        rows,
        offset,
        time_ms,
        value,
        state,
        start,
        size,
        text[: used + PAD_BYTES],
        body,
        tuple(rejected),
        missing,
        exact,
    )
