"""Key index: which header belongs to a key."""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.stream.windows import layout as at
from fraudstream.stream.windows.kernel_bits import mix31
from fraudstream.stream.windows.kernel_table import area_of, put_slot, remove_slot

_LOW32 = np.int64(0xFFFFFFFF)


@njit(cache=True, nogil=True)
def find_key(m, kind, low, high):  # type: ignore[no-untyped-def]
    """Return the header's address of a key, -1 if there is none."""
    bits = mix31(low, high, kind)
    (index, mask), headers = area_of(m, at.C_INDEX, bits), m[at.C_HEADERS]
    slot = bits & mask
    while True:
        word = m[index + slot]
        if word == 0:
            return np.int64(-1)
        if word >> 32 == bits:
            header = headers + ((word & _LOW32) - 1) * at.HEADER
            if (
                m[header + at.H_LOW] == low
                and m[header + at.H_HIGH] == high
                and m[header + at.H_META] >> 8 == kind
            ):
                return header
        slot = (slot + 1) & mask


@njit(cache=True, nogil=True)
def guess_header(m, kind, low, high):  # type: ignore[no-untyped-def]
    """Return the first header whose hash bits fit, without looking at it; -1 if there is none."""
    bits = mix31(low, high, kind)
    index, mask = area_of(m, at.C_INDEX, bits)
    slot = bits & mask
    while True:
        word = m[index + slot]
        if word == 0:
            return np.int64(-1)
        if word >> 32 == bits:
            return m[at.C_HEADERS] + ((word & _LOW32) - 1) * at.HEADER
        slot = (slot + 1) & mask


@njit(cache=True, nogil=True)
def add_key(m, kind, low, high):  # type: ignore[no-untyped-def]
    """Make the header of a new key, without a segment, and return its address; -1 if memory is exhausted.

    The index has room: the store makes it before a batch.
    """
    headers = m[at.C_HEADERS]
    if m[at.C_FREE] > 0:
        number = m[at.C_FREE] - 1
        header = headers + number * at.HEADER
        m[at.C_FREE] = m[header + at.H_VALID]
    else:
        number = m[at.C_USED]
        header = headers + number * at.HEADER
        if header + at.HEADER > m[at.C_HEADERS_END]:
            return np.int64(-1)
        m[at.C_USED] = number + 1
    m[header + at.H_LOW] = low
    m[header + at.H_HIGH] = high
    m[header + at.H_BASE] = -1
    m[header + at.H_META] = kind << 8
    m[header + at.H_SPAN] = 0
    m[header + at.H_VALID] = 0
    m[header + at.H_PANES] = 0
    m[header + at.H_LAST] = at.NEVER
    if m[at.C_COPY] <= header < m[at.C_COPY_END]:
        mark_copied(m, header)  # it came after the snapshot began
    bits = mix31(low, high, kind)
    put_slot(m, at.C_INDEX, bits, (bits << 32) | (number + 1))
    m[at.C_KEYS] += 1
    m[at.CONTROL + kind * at.KIND_STATE] += 1
    return header


@njit(inline="always")
def copied_at(m, header):  # type: ignore[no-untyped-def]
    """Return (word, bit) that say whether a snapshot under way has no need of a header any more."""
    number = (header - m[at.C_HEADERS]) // at.HEADER
    word = m[at.C_COPY_AREA] + at.LENT_MAX * at.LENT + (number >> 6)
    return word, np.int64(1) << (number & 63)


@njit(cache=True, nogil=True)
def mark_copied(m, header):  # type: ignore[no-untyped-def]
    """Let a snapshot under way pass a header by; return whether it would have done so."""
    word, bit = copied_at(m, header)
    before = m[word]
    m[word] = before | bit
    return before & bit != 0


@njit(cache=True, nogil=True)
def remove_key(m, header):  # type: ignore[no-untyped-def]
    """Take a key out of the index and give its header back. Its segment is freed by the caller."""
    number = (header - m[at.C_HEADERS]) // at.HEADER
    kind = m[header + at.H_META] >> 8
    bits = mix31(m[header + at.H_LOW], m[header + at.H_HIGH], kind)
    remove_slot(m, at.C_INDEX, bits, (bits << 32) | (number + 1))
    m[header + at.H_META] = -1
    m[header + at.H_VALID] = m[at.C_FREE]
    m[at.C_FREE] = number + 1
    m[at.C_KEYS] -= 1
    m[at.CONTROL + kind * at.KIND_STATE] -= 1
