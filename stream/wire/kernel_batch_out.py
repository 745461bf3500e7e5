"""Kernel: decisions to the records of a Kafka batch (message format 2)."""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.stream.windows.kernel_bits import pointer
from fraudstream.stream.wire.kernel_bytes import STEP, copy_step
from fraudstream.stream.wire.kernel_encode import put_number

SRC, EPOCH, OVERDUE, FIRST_WOULD_BE, PREFIX = 0, 1, 2, 3, 6
"""Blocks: names of headers with their sizes, whole headers of constant value, and `src` up to the offset."""


@njit(cache=True, nogil=True)
def varint_size(number):  # type: ignore[no-untyped-def]
    """Return the bytes of an integer in zigzag coding."""
    word = np.uint64((number << 1) ^ (number >> 63)) >> np.uint64(7)
    size = np.int64(1)
    while word != 0:
        size += 1
        word >>= np.uint64(7)
    return size


@njit(cache=True, nogil=True)
def put_varint(out, at, number):  # type: ignore[no-untyped-def]
    """Write an integer in zigzag coding; return the place behind it."""
    word = np.uint64((number << 1) ^ (number >> 63))
    while word > np.uint64(0x7F):
        out[at] = np.uint8(word & np.uint64(0x7F)) | np.uint8(0x80)
        word >>= np.uint64(7)
        at += 1
    out[at] = np.uint8(word)
    return at + 1


@njit(cache=True, nogil=True)
def copy_exact(out, at, source, begin, size):  # type: ignore[no-untyped-def]
    """Copy bytes and touch no others; return the place behind them."""
    if size >= STEP:
        for i in range(0, size - STEP, STEP):
            copy_step(out, at + i, source, begin + i)
        copy_step(out, at + size - STEP, source, begin + size - STEP)
    else:
        for i in range(size):
            out[at + i] = source[begin + i]
    return at + size


@njit(cache=True, nogil=True)
def _digits(number):  # type: ignore[no-untyped-def]
    size, rest = np.int64(1), number // 10
    while rest > 0:
        size += 1
        rest //= 10
    return size


@njit(cache=True, nogil=True)
def room_for(begin, stop, rows, key_size, ends, fixed):  # type: ignore[no-untyped-def]
    """Return (bytes of decisions ``begin`` to ``stop``, of the largest), with ``fixed`` more for each."""
    total, largest = np.int64(0), np.int64(0)
    for number in range(begin, stop):
        size = key_size[rows[number]] + ends[number + 1] - ends[number] + fixed
        total += size
        largest = max(largest, size)
    return total, largest


@njit(cache=True, nogil=True)
def write_records(  # type: ignore[no-untyped-def]
    begin,  # first decision of the batch
    stop,  # after the last
    rows,  # [m] slice rows of the decisions
    keys,  # the slice's bytes
    key_start,
    key_size,
    offsets,
    values,  # the decisions' bytes
    ends,
    late_ms,  # [m] -1: not overdue
    would_be,  # [m], or [0]: none
    blocks,  # constant bytes
    spans,  # [2, blocks]
    out,
    at,  # where the first record goes
    limit,  # largest batch; one record goes in whatever its size
):
    """Write records until the batch is full; return (decisions written up to, bytes used)."""
    k, v, b, o = pointer(keys), pointer(values), pointer(blocks), pointer(out)
    shadow = len(would_be) > 0
    number = begin
    at = np.int64(at)
    while number < stop:
        row = rows[number]
        value_at, value_size = ends[number], ends[number + 1] - ends[number]
        key_at, key_bytes, offset, late = key_start[row], key_size[row], offsets[row], late_ms[number]
        delta = number - begin
        source_size = spans[1, PREFIX] + _digits(offset)
        size = 3 + varint_size(delta) + varint_size(value_size) + value_size
        size += varint_size(key_bytes) + key_bytes if key_at >= 0 else np.int64(1)
        size += spans[1, SRC] + varint_size(source_size) + source_size + spans[1, EPOCH]
        headers = np.int64(2)
        if late >= 0:
            headers += 1
            size += spans[1, OVERDUE] + 1 + _digits(late)
        block = np.int64(0)
        if shadow:
            headers += 1
            block = FIRST_WOULD_BE + np.int64(would_be[number])
            size += spans[1, block]
        if number > begin and at + varint_size(size) + size > limit:
            break
        at = put_varint(o, at, size)
        o[at] = np.uint8(0)  # attributes
        o[at + 1] = np.uint8(0)  # milliseconds since the batch's time
        at = put_varint(o, at + 2, delta)
        if key_at >= 0:
            at = copy_exact(o, put_varint(o, at, key_bytes), k, key_at, key_bytes)
        else:
            at = put_varint(o, at, np.int64(-1))
        at = copy_exact(o, put_varint(o, at, value_size), v, value_at, value_size)
        at = put_varint(o, at, headers)
        at = copy_exact(o, at, b, spans[0, SRC], spans[1, SRC])
        at = put_varint(o, at, source_size)
        at = put_number(o, copy_exact(o, at, b, spans[0, PREFIX], spans[1, PREFIX]), offset)
        at = copy_exact(o, at, b, spans[0, EPOCH], spans[1, EPOCH])
        if late >= 0:
            at = copy_exact(o, at, b, spans[0, OVERDUE], spans[1, OVERDUE])
            at = put_number(o, put_varint(o, at, _digits(late)), late)
        if shadow:
            at = copy_exact(o, at, b, spans[0, block], spans[1, block])
        number += 1
    return number, at
