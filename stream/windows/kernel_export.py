"""What is visible of the windows, in and out: the common ground of snapshots and state hashes.

What is written depends on the events only: events that no row can see any more are folded or left out here,
whether or not they have been pruned from memory yet.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.stream.windows import layout as at
from fraudstream.stream.windows.kernel_bits import pointer
from fraudstream.stream.windows.kernel_keys import add_key
from fraudstream.stream.windows.kernel_segments import prune, size_class_of, take_segment
from fraudstream.stream.windows.kernel_summary import extend_list

_LOW32 = np.int64(0xFFFFFFFF)
_LOW8 = np.int64(0xFF)

X_KIND = 0
X_LOW = 1
X_HIGH = 2
X_EVENTS = 3
X_DROPPED = 4
X_LAST = 5
EXPORT = 6


@njit(cache=True, nogil=True)
def count_visible(memory, plan, watermark):  # type: ignore[no-untyped-def]
    """Return (keys, words of frozen and events) that are visible; invisible events leave memory."""
    m, p = pointer(memory), pointer(plan)
    keys, words = np.int64(0), np.int64(0)
    for number in range(m[at.C_USED]):
        header = m[at.C_HEADERS] + number * at.HEADER
        if not visible(m, p, header, watermark):
            continue
        q = at.P_RECORDS + (m[header + at.H_META] >> 8) * at.KIND
        kept = (m[header + at.H_SPAN] & _LOW32) - (m[header + at.H_SPAN] >> 32)
        keys += 1
        words += p[q + at.K_FROZEN_WORDS] + kept * p[q + at.K_WORDS]
    return keys, words


@njit(cache=True, nogil=True)
def visible(m, p, header, watermark):  # type: ignore[no-untyped-def]
    """Prune a key and return whether anything of it can still be seen."""
    meta = m[header + at.H_META]
    if meta < 0 or m[header + at.H_BASE] < 0:
        return False
    q = at.P_RECORDS + (meta >> 8) * at.KIND
    if m[header + at.H_LAST] < watermark - p[q + at.K_LIFE]:
        return False
    if prune(m, p, q, header, watermark - p[q + at.K_RETAIN]) > 0:
        return True
    for number in range(p[q + at.K_FROZEN_COUNT]):
        z = p[q + at.K_FROZENS] + number * at.FROZEN
        if m[m[header + at.H_BASE] + p[z + at.Z_OFFSET]] > 0:
            return True
    return False


@njit(cache=True, nogil=True)
def list_visible(memory, plan, watermark, numbers, keys):  # type: ignore[no-untyped-def]
    """Fill ``numbers`` (int64 [k]) with header numbers and ``keys`` (int64 [k, EXPORT])."""
    m, p = pointer(memory), pointer(plan)
    k = 0
    for number in range(m[at.C_USED]):
        header = m[at.C_HEADERS] + number * at.HEADER
        if not visible(m, p, header, watermark):
            continue
        kind = m[header + at.H_META] >> 8
        q = at.P_RECORDS + kind * at.KIND
        dropped = m[header + at.H_DROPPED]
        numbers[k] = number
        keys[k, X_KIND], keys[k, X_LOW], keys[k, X_HIGH] = kind, m[header + at.H_LOW], m[header + at.H_HIGH]
        keys[k, X_EVENTS] = (m[header + at.H_SPAN] & _LOW32) - (m[header + at.H_SPAN] >> 32)
        keys[k, X_DROPPED] = dropped if dropped > watermark - p[q + at.K_RETAIN] else at.NEVER
        keys[k, X_LAST] = m[header + at.H_LAST]
        k += 1


@njit(cache=True, nogil=True)
def write_events(memory, plan, numbers, out):  # type: ignore[no-untyped-def]
    """Write frozen words and event columns of the listed headers, one key after the other."""
    m, p = pointer(memory), pointer(plan)
    target = 0
    for k in range(len(numbers)):
        header = m[at.C_HEADERS] + numbers[k] * at.HEADER
        meta = m[header + at.H_META]
        q = at.P_RECORDS + (meta >> 8) * at.KIND
        base = m[header + at.H_BASE]
        capacity = at.CAPACITY_MIN << (meta & _LOW8)
        lo, hi = m[header + at.H_SPAN] >> 32, m[header + at.H_SPAN] & _LOW32
        frozen = p[q + at.K_FROZEN_WORDS]
        for i in range(frozen):
            out[target] = m[base + i]
            target += 1
        for word in range(p[q + at.K_WORDS]):
            begin = base + frozen + word * capacity
            for i in range(begin + lo, begin + hi):
                out[target] = m[i]
                target += 1


@njit(cache=True, nogil=True)
def restore_keys(memory, plan, keys, words):  # type: ignore[no-untyped-def]
    """Rebuild keys from what ``list_visible`` and ``write_events`` wrote. False: memory exhausted."""
    m, p = pointer(memory), pointer(plan)
    source = 0
    for k in range(len(keys)):
        kind, kept = keys[k, X_KIND], keys[k, X_EVENTS]
        q = at.P_RECORDS + kind * at.KIND
        size_class = size_class_of(kept)
        capacity = at.CAPACITY_MIN << size_class
        header = add_key(m, kind, keys[k, X_LOW], keys[k, X_HIGH])
        base = take_segment(m, p, q, kind, size_class) if header >= 0 else np.int64(-1)
        if base < 0:
            return False
        m[header + at.H_BASE] = base
        m[header + at.H_META] = (kind << 8) | size_class
        m[header + at.H_SPAN] = kept
        m[header + at.H_DROPPED], m[header + at.H_LAST] = keys[k, X_DROPPED], keys[k, X_LAST]
        frozen = p[q + at.K_FROZEN_WORDS]
        for i in range(frozen):
            m[base + i] = words[source]
            source += 1
        for word in range(p[q + at.K_WORDS]):
            begin = base + frozen + word * capacity
            for i in range(kept):
                m[begin + i] = words[source]
                source += 1
        if capacity >= p[at.P_LARGE] and p[q + at.K_LISTS] > 0:
            for i in range(kept):
                extend_list(m, p, q, base, capacity, i)
    return True
