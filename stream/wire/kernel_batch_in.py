"""Kernels: fetched Kafka batches (message format 2) to spans.

They vouch for every byte of what they accept; whatever else they see, the client library judges.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.stream.windows.kernel_bits import pointer
from fraudstream.stream.wire.kernel_crc import crc_of_span

B_BEGIN = 0
"""Where the records begin."""
B_END = 1
B_BASE = 2
"""Offset of the first record that the batch was written with."""
B_NEXT = 3
"""Offset after the last one."""
B_ATTRIBUTES = 4
B_FIRST_MS = 5
B_LAST_MS = 6
B_PRODUCER = 7
B_COUNT = 8
B_START = 9
"""Where the batch begins."""
B_WORDS = 10

CODEC = 0x07
APPEND_TIME = 0x08
TRANSACTIONAL = 0x10
CONTROL = 0x20

DAMAGED = -1
OTHER_FORMAT = -2

_HEAD = 12
"""Bytes of base offset and length."""
_HEADER = 61
_MAGIC = 2
_LEAST_RECORD = 7
"""Bytes of a record without key, value and headers."""

C_START, C_SIZE, C_KEY_START, C_KEY_SIZE, C_OFFSET, C_TIME = 0, 1, 2, 3, 4, 5
COLUMNS = 6


@njit(cache=True, nogil=True)
def _big_endian(b, at, size):  # type: ignore[no-untyped-def]
    """Return ``size`` bytes as an integer without a sign below eight bytes."""
    word = np.int64(0)
    for i in range(size):
        word = (word << 8) | np.int64(b[at + i])
    return word


@njit(cache=True, nogil=True)
def _signed(b, at, size):  # type: ignore[no-untyped-def]
    shift = 64 - 8 * size
    return (_big_endian(b, at, size) << shift) >> shift


@njit(cache=True, nogil=True)
def _count(b, total):  # type: ignore[no-untyped-def]
    """Return the number of whole batches; the last one may be cut off by the broker."""
    at, count = np.int64(0), np.int64(0)
    while total - at >= _HEAD:
        length = _signed(b, at + 8, 4)
        if length < 0:
            return np.int64(DAMAGED)
        if length > total - at - _HEAD:
            break
        at += _HEAD + length
        count += 1
    return count


@njit(cache=True, nogil=True)
def list_batches(data, total):  # type: ignore[no-untyped-def]
    """Return (batches [k, B_WORDS] of the first ``total`` bytes, 0 or what is wrong with them)."""
    b = pointer(data)
    count = _count(b, total)
    batches = np.empty((max(count, 0), B_WORDS), np.int64)
    if count < 0:
        return batches, np.int64(DAMAGED)
    at = np.int64(0)
    for i in range(count):
        end = at + _HEAD + _signed(b, at + 8, 4)
        if end - at < 17:
            return batches, np.int64(DAMAGED)
        if b[at + 16] != _MAGIC:
            return batches, np.int64(OTHER_FORMAT)
        if end - at < _HEADER:
            return batches, np.int64(DAMAGED)
        if np.int64(crc_of_span(b, at + 21, end)) != _big_endian(b, at + 17, 4):
            return batches, np.int64(DAMAGED)
        batches[i, B_START], batches[i, B_BEGIN], batches[i, B_END] = at, at + _HEADER, end
        base = _big_endian(b, at, 8)
        if i > 0 and base < batches[i - 1, B_NEXT]:
            return batches, np.int64(DAMAGED)
        batches[i, B_BASE], batches[i, B_NEXT] = base, base + _signed(b, at + 23, 4) + 1
        batches[i, B_ATTRIBUTES] = _signed(b, at + 21, 2)
        batches[i, B_FIRST_MS] = _big_endian(b, at + 27, 8)
        batches[i, B_LAST_MS] = _big_endian(b, at + 35, 8)
        batches[i, B_PRODUCER] = _big_endian(b, at + 43, 8)
        batches[i, B_COUNT] = _signed(b, at + 57, 4)
        at = end
    return batches, np.int64(0)


@njit(cache=True, nogil=True)
def attributes_of(batches):  # type: ignore[no-untyped-def]
    """Return the attributes that some batch has."""
    found = np.int64(0)
    for i in range(len(batches)):
        found |= batches[i, B_ATTRIBUTES]
    return found


@njit(cache=True, nogil=True)
def _varint(b, at, end):  # type: ignore[no-untyped-def]
    """Return (integer, place behind it), place -1 if it does not end in time."""
    word, shift = np.uint64(0), np.uint64(0)
    while at < end and shift < np.uint64(63):
        byte = np.uint64(b[at])
        word |= (byte & np.uint64(0x7F)) << shift
        at += 1
        if byte < np.uint64(0x80):
            return np.int64(word >> np.uint64(1)) ^ -np.int64(word & np.uint64(1)), at
        shift += np.uint64(7)
    return np.int64(0), np.int64(-1)


@njit(cache=True, nogil=True)
def _span(b, at, end):  # type: ignore[no-untyped-def]
    """Return (start, size, place behind it) of bytes with their length; start -1: null, place -1: damaged."""
    size, at = _varint(b, at, end)
    if at < 0 or size < -1 or size > end - at:
        return np.int64(-1), np.int64(0), np.int64(-1)
    if size < 0:
        return np.int64(-1), np.int64(0), at
    return at, size, at + size


@njit(cache=True, nogil=True)
def _skip_headers(b, at, end):  # type: ignore[no-untyped-def]
    """Return the place behind a record's headers, -1 if they are damaged or their names are not ASCII."""
    count, at = _varint(b, at, end)
    if at < 0 or count < 0:
        return np.int64(-1)
    for _ in range(count):
        start, size, at = _span(b, at, end)
        if at < 0 or start < 0:
            return np.int64(-1)
        for i in range(start, start + size):
            if b[i] >= 0x80:
                return np.int64(-1)
        _, _, at = _span(b, at, end)
        if at < 0:
            return np.int64(-1)
    return at


@njit(cache=True, nogil=True)
def capacity(batches):  # type: ignore[no-untyped-def]
    """Return the records that the batches say they hold, ``DAMAGED`` if they cannot."""
    total = np.int64(0)
    for i in range(len(batches)):
        count = batches[i, B_COUNT]
        if count < 0 or count > (batches[i, B_END] - batches[i, B_BEGIN]) // _LEAST_RECORD:
            return np.int64(DAMAGED)
        total += count
    return total


@njit(cache=True, nogil=True)
def read_batches(buffer, batches, position, columns):  # type: ignore[no-untyped-def]
    """Write the spans of all records from ``position`` on to columns [COLUMNS, n].

    Returns the number of records, ``DAMAGED`` if a batch holds anything else than its records.
    """
    b, rows = pointer(buffer), np.int64(0)
    for i in range(len(batches)):
        at, end = batches[i, B_BEGIN], batches[i, B_END]
        first_ms, last_ms = batches[i, B_FIRST_MS], batches[i, B_LAST_MS]
        appended = (batches[i, B_ATTRIBUTES] & APPEND_TIME) != 0
        for _ in range(batches[i, B_COUNT]):
            length, at = _varint(b, at, end)
            if at < 0 or length < _LEAST_RECORD - 1 or length > end - at:
                return np.int64(DAMAGED)
            stop = at + length
            if b[at] >= 0x80:
                return np.int64(DAMAGED)
            later_ms, at = _varint(b, at + 1, stop)
            if at < 0:
                return np.int64(DAMAGED)
            delta, at = _varint(b, at, stop)
            if at < 0:
                return np.int64(DAMAGED)
            key_start, key_size, at = _span(b, at, stop)
            if at < 0:
                return np.int64(DAMAGED)
            start, size, at = _span(b, at, stop)
            if at < 0:
                return np.int64(DAMAGED)
            at = _skip_headers(b, at, stop)
            if at != stop:
                return np.int64(DAMAGED)
            offset = batches[i, B_BASE] + delta
            if delta < 0 or offset >= batches[i, B_NEXT]:
                return np.int64(DAMAGED)
            if offset < position:
                continue
            position = offset + 1
            columns[C_START, rows], columns[C_SIZE, rows] = start, size
            columns[C_KEY_START, rows], columns[C_KEY_SIZE, rows] = key_start, key_size
            columns[C_OFFSET, rows] = offset
            columns[C_TIME, rows] = last_ms if appended else first_ms + later_ms
            rows += 1
        if at != end:
            return np.int64(DAMAGED)
        position = max(position, batches[i, B_NEXT])
    return rows
