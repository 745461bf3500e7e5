"""Kernel: decided columns to the bytes of decisions, from templates (`templates`)."""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.stream.outcome import Flag
from fraudstream.stream.windows.kernel_bits import pointer
from fraudstream.stream.wire import templates as t
from fraudstream.stream.wire.kernel_bytes import copy_bytes

READY_WHOLE = 0
"""The whole decision is ready."""
READY_REASONS = 1
"""Its list of reasons is ready."""

_DUPLICATE = int(Flag.DUPLICATE)
_ZERO = np.uint8(0x30)
_MILLION = np.int64(1_000_000)


@njit(cache=True, nogil=True)
def longest(sizes, column):  # type: ignore[no-untyped-def]
    """Return the largest of a row of int32 [C, n], 0 if there is none."""
    found = np.int64(0)
    for row in range(sizes.shape[1]):
        found = max(found, np.int64(sizes[column, row]))
    return found


@njit(cache=True, nogil=True)
def put_number(out, at, number):  # type: ignore[no-untyped-def]
    """Print an integer; return the place behind it."""
    if number < 0:
        out[at] = np.uint8(0x2D)
        at += 1
        number = -number
    digits, rest = np.int64(1), number // 10
    while rest > 0:
        digits += 1
        rest //= 10
    for i in range(at + digits - 1, at - 1, -1):
        out[i] = _ZERO + np.uint8(number % 10)
        number //= 10
    return at + digits


@njit(cache=True, nogil=True)
def _put_segment(out, at, table, spans, segments, number):  # type: ignore[no-untyped-def]
    size = spans[segments + number]
    copy_bytes(out, at, table, spans[number], size)
    return at + size


@njit(cache=True, nogil=True)
def _put_micro(out, at, micro):  # type: ignore[no-untyped-def]
    """Print millionths with six decimals."""
    at = put_number(out, at, micro // _MILLION)
    out[at] = np.uint8(0x2E)
    rest = micro % _MILLION
    for i in range(at + 6, at, -1):
        out[i] = _ZERO + np.uint8(rest % 10)
        rest //= 10
    return at + 7


@njit(cache=True, nogil=True)
def write_decisions(  # type: ignore[no-untyped-def]
    wanted,  # [m] slice rows
    rows,  # [n] slice rows of the batch
    offsets,  # [slice] Kafka offsets
    places,  # columns of the id and of the event time
    value,  # of the batch
    state,
    start,
    size,
    text,
    decision,  # of the outcome
    score,
    flags,
    duplicate_of,
    champion,
    table,  # of the templates
    spans,
    ready,  # [4, k] place in `wanted`, READY_*, start, size; ascending
    ready_text,
    out,
    ends,  # [m + 1]
):
    """Write the decisions one behind the other; rows that are not in the batch are ready as a whole."""
    where = np.full(len(offsets), -1, np.int64)
    for i in range(len(rows)):
        where[rows[i]] = i
    n, segments, ids, times = len(rows), spans.shape[1], places[0], places[1]
    o, b, p, s, r = pointer(out), pointer(text), pointer(table), pointer(spans), pointer(ready_text)
    at, next_ready = np.int64(0), np.int64(0)
    ends[0] = 0
    for number in range(len(wanted)):
        kind = np.int64(-1)
        if next_ready < ready.shape[1] and ready[0, next_ready] == number:
            kind, begin, length = ready[1, next_ready], ready[2, next_ready], ready[3, next_ready]
            next_ready += 1
            if kind == READY_WHOLE:
                copy_bytes(o, at, r, begin, length)
                at += length
                ends[number + 1] = at
                continue
        row = where[wanted[number]]
        if row < 0 or row >= n:
            return np.int64(-1)
        first = np.int64(1)
        if state[ids, row] != 0:
            at = _put_segment(o, at, p, s, segments, t.HEAD)
            copy_bytes(o, at, b, np.int64(start[ids, row]), np.int64(size[ids, row]))
            at += size[ids, row]
            first = np.int64(0)
        else:
            at = _put_segment(o, at, p, s, segments, t.HEAD_NULL)
        decided = t.FIRST_DECISION + np.int64(decision[row])
        length_ = s[segments + decided] - first
        copy_bytes(o, at, p, s[decided] + first, length_)
        at = put_number(o, at + length_, np.int64(score[row]))
        if kind == READY_REASONS:
            at = _put_segment(o, at, p, s, segments, t.REASONS)
            copy_bytes(o, at, r, begin, length)
            at = _put_segment(o, at + length, p, s, segments, t.MODELS)
        else:
            at = _put_segment(o, at, p, s, segments, t.NO_REASONS)
        duplicate = (flags[row] & _DUPLICATE) != 0
        if champion[row] >= 0 and not duplicate:
            at = _put_segment(o, at, p, s, segments, t.CHAMPION)
            at = _put_micro(o, at, champion[row])
        at = _put_segment(o, at, p, s, segments, t.VERSIONS)
        if state[times, row] != 0:
            at = put_number(o, at, value[times, row])
        else:
            at = _put_segment(o, at, p, s, segments, t.NULL)
        at = _put_segment(o, at, p, s, segments, t.SRC)
        at = put_number(o, at, offsets[wanted[number]])
        at = _put_segment(o, at, p, s, segments, t.FLAGS)
        at = _put_segment(o, at, p, s, segments, t.FIRST_FLAGS + np.int64(flags[row]))
        if duplicate:
            at = _put_segment(o, at, p, s, segments, t.DUPLICATE)
            at = put_number(o, at, duplicate_of[row])
            o[at] = np.uint8(0x22)
            at += 1
        o[at] = np.uint8(0x7D)
        at += 1
        ends[number + 1] = at
    return at
