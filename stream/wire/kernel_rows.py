"""Kernel: the records of a slice to rows, hashed, until the exact lane has to judge one."""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.rules.siphash import absorb, finish
from fraudstream.rules.siphash import start as start_hash
from fraudstream.stream.windows.kernel_bits import pointer
from fraudstream.stream.wire import layout as at_
from fraudstream.stream.wire.kernel_bytes import first_bytes, word_at
from fraudstream.stream.wire.kernel_fields import read_fields
from fraudstream.stream.wire.kernel_record import read_tokens
from fraudstream.stream.wire.types import PAD_BYTES

U64 = np.uint64


@njit(cache=True, nogil=True)
def hash_text(b, at, size, k0, k1):  # type: ignore[no-untyped-def]
    """Return SipHash-1-3-128 of a span as two words; k0 and k1 are the key's words (uint64)."""
    v0, v1, v2, v3 = start_hash(k0, k1)
    i = np.int64(0)
    while i + 8 <= size:
        v0, v1, v2, v3 = absorb(v0, v1, v2, v3, word_at(b, at + i))
        i += 8
    last = first_bytes(word_at(b, at + i), size - i) | (size << 56)
    v0, v1, v2, v3 = absorb(v0, v1, v2, v3, last)
    return finish(v0, v1, v2, v3)


@njit(cache=True, nogil=True)
def _hash_row(s, words, state, count, k0, k1):  # type: ignore[no-untyped-def]
    """Return the hash of a row: its words, then its states as bytes."""
    v0, v1, v2, v3 = start_hash(k0, k1)
    for i in range(count):
        v0, v1, v2, v3 = absorb(v0, v1, v2, v3, s[words + i])
    packed = np.int64(0)
    for i in range(count):
        packed |= s[state + i] << (8 * (i & 7))
        if i & 7 == 7:
            v0, v1, v2, v3 = absorb(v0, v1, v2, v3, packed)
            packed = np.int64(0)
    v0, v1, v2, v3 = absorb(v0, v1, v2, v3, packed | ((9 * count) << 56))
    return finish(v0, v1, v2, v3)


@njit(cache=True, nogil=True)
def _emit(p, s, out, row, n, rows, value, state, start, size, body):  # type: ignore[no-untyped-def]
    """Move the scratch row to the columns."""
    count, place = p[at_.H_WORDS], s[at_.S_ROWS]
    words, states, counts = p[at_.H_S_WORDS], p[at_.H_S_STATE], p[at_.H_S_COUNTS]
    k0, k1 = U64(s[at_.S_KEY]), U64(s[at_.S_KEY + 1])
    for i in range(p[at_.H_TEXT_COUNT]):
        c = p[p[at_.H_TEXTS] + i]
        if s[states + c] == at_.PRESENT:
            begin, length = s[p[at_.H_S_START] + c], s[p[at_.H_S_SIZE] + c]
            start[c * n + place], size[c * n + place] = np.int32(begin), np.int32(length)
            s[words + c], s[words + c + 1] = hash_text(out, begin, length, k0, k1)
    for c in range(count):
        if s[states + c] == at_.COUNTED:
            s[counts + c] += 1
            s[at_.S_COUNTED] += 1
            s[states + c] = at_.MISSING
        value[c * n + place] = s[words + c]
        state[c * n + place] = np.uint8(s[states + c])
    body[place], body[n + place] = _hash_row(s, words, states, count, k0, k1)
    rows[place] = np.int32(row)
    s[at_.S_ROWS] = place + 1


@njit(cache=True, nogil=True)
def text_room(length):  # type: ignore[no-untyped-def]
    """Return the bytes of all records: int64 [n]."""
    total = np.int64(0)
    for size in length:
        total += size
    return total


@njit(cache=True, nogil=True)
def read_rows(buffer, begin, length, plan, names, scratch, text, rows, value, state, start, size, body):  # type: ignore[no-untyped-def]
    """Read records from ``scratch[S_ROW]`` on until one is in doubt; return its row, n at the end.

    A row that the exact lane has put into the scratch (``S_PENDING``) is emitted first.

    Args:
        buffer: uint8, the slice's bytes with spare ones.
        begin: int64 [n], where records begin, -1 of null.
        length: int64 [n], their bytes.
        plan: int64, see `layout`.
        names: uint8, the plan's bytes.
        scratch: int64, see `layout`.
        text: uint8, filled from ``scratch[S_USED]`` on.
        rows: int32 [n], slice rows of accepted records.
        value: int64 [C, n], filled from column ``scratch[S_ROWS]`` on.
        state: uint8 [C, n].
        start: int32 [C, n], filled for texts only.
        size: int32 [C, n], filled for texts only.
        body: int64 [2, n].
    """
    n, size_all = np.int64(len(begin)), np.int64(len(buffer))
    b, p, k, s, out = pointer(buffer), pointer(plan), pointer(names), pointer(scratch), pointer(text)
    r, v, t, f, z, h = (
        pointer(rows),
        pointer(value),
        pointer(state),
        pointer(start),
        pointer(size),
        pointer(body),
    )
    row = s[at_.S_ROW]
    if s[at_.S_PENDING] != 0:
        s[at_.S_PENDING] = 0
        _emit(p, s, out, row - 1, n, r, v, t, f, z, h)
    while row < n:
        at, end = begin[row], begin[row] + length[row]
        if at < 0 or length[row] > p[at_.H_MAX_BYTES] or end + PAD_BYTES > size_all:
            s[at_.S_WHY] = at_.WHY_TOKENS
            break
        if not read_tokens(b, at, end, p, k, s):
            s[at_.S_WHY] = at_.WHY_TOKENS
            break
        used = read_fields(b, p, k, s, out, s[at_.S_USED])
        if used < 0:
            s[at_.S_WHY] = at_.WHY_VALUES
            break
        s[at_.S_USED] = used
        _emit(p, s, out, row, n, r, v, t, f, z, h)
        row += 1
    s[at_.S_ROW] = row
    return row
