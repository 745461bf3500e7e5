"""Segments: one key's events in (time, log) order, how they grow, shrink and leave."""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.stream.windows import layout as at
from fraudstream.stream.windows.kernel_arena import free_words, take_words
from fraudstream.stream.windows.kernel_records import note_event
from fraudstream.stream.windows.kernel_summary import (
    extend_list,
    list_place,
    slide_marks,
    start_averages,
    summary_words,
)

_LOW32 = np.int64(0xFFFFFFFF)
_LOW8 = np.int64(0xFF)
_OLDEST = np.int64(-(1 << 42))


@njit(inline="always")
def time_at(m, column, i):  # type: ignore[no-untyped-def]
    """Return the time of event i; ``column`` is where word 0 of event 0 stands."""
    return m[column + i] >> at.TIME_SHIFT


@njit(cache=True, nogil=True)
def first_after(m, column, lo, hi, time):  # type: ignore[no-untyped-def]
    """Return the first position in [lo, hi) with an event later than ``time``, else hi.

    Looks from the newest end in growing steps: what is asked for is mostly there.
    """
    bound = ((max(time, _OLDEST) + 1) << at.TIME_SHIFT) - 1  # words up to here are not later
    step = 1
    right = hi
    left = hi - 1
    while left >= lo and m[column + left] > bound:
        right = left
        step <<= 1
        left = right - step
    if left < lo:
        left = lo - 1
    while right - left > 1:
        middle = (left + right) >> 1
        if m[column + middle] > bound:
            right = middle
        else:
            left = middle
    return right


@njit(cache=True, nogil=True)
def segment_words(p, q, size_class):  # type: ignore[no-untyped-def]
    """Return the words of a segment of a kind (record at q) and size class."""
    capacity = at.CAPACITY_MIN << size_class
    words = p[q + at.K_FROZEN_WORDS] + p[q + at.K_WORDS] * capacity
    if capacity >= p[at.P_LARGE]:
        words += summary_words(p, q, capacity)
    return words


@njit(cache=True, nogil=True)
def take_segment(m, p, q, kind, size_class):  # type: ignore[no-untyped-def]
    """Return the address of a segment with no frozen events and an empty summary; -1: memory exhausted."""
    if size_class >= at.CLASSES:
        return np.int64(-1)
    free = at.CONTROL + kind * at.KIND_STATE + at.FREE_EVENTS + size_class
    base = take_words(m, free, segment_words(p, q, size_class))
    if base < 0:
        return base
    for i in range(p[q + at.K_FROZEN_WORDS]):
        m[base + i] = 0
    capacity = at.CAPACITY_MIN << size_class
    if capacity >= p[at.P_LARGE]:
        start_summary(m, p, q, base, capacity)
    return base


@njit(cache=True, nogil=True)
def start_summary(m, p, q, base, capacity):  # type: ignore[no-untyped-def]
    """Zero the first prefix row, the lengths of the value lists and the numbers of their marks."""
    prefix = base + p[q + at.K_FROZEN_WORDS] + p[q + at.K_WORDS] * capacity
    for i in range(p[q + at.K_PREFIX_WORDS]):
        m[prefix + i] = 0
    for i in range(p[q + at.K_LISTS]):
        place, longest = list_place(p, q, base, capacity, i)
        m[place] = m[place + 1 + 2 * longest] = 0


@njit(cache=True, nogil=True)
def size_class_of(capacity):  # type: ignore[no-untyped-def]
    """Return the smallest size class that holds ``capacity`` events."""
    size_class = 0
    while (at.CAPACITY_MIN << size_class) < capacity:
        size_class += 1
    return size_class


@njit(cache=True, nogil=True)
def free_segment(m, p, q, kind, size_class, base):  # type: ignore[no-untyped-def]
    """Put a segment on the free list of its kind and size."""
    free = at.CONTROL + kind * at.KIND_STATE + at.FREE_EVENTS + size_class
    free_words(m, free, base, segment_words(p, q, size_class))


@njit(cache=True, nogil=True)
def freeze_event(m, p, q, base, capacity, i):  # type: ignore[no-untyped-def]
    """Take event i, which leaves its segment, into the records of features without a window."""
    column = base + p[q + at.K_FROZEN_WORDS]
    for number in range(p[q + at.K_FROZEN_COUNT]):
        a = p[p[q + at.K_FROZENS] + number]
        note_event(m, p, a, base + p[a + at.A_FROZEN], column, capacity, i)


@njit(cache=True, nogil=True)
def prune(m, p, q, header, horizon):  # type: ignore[no-untyped-def]
    """Let the events at or before ``horizon``, which nobody can see any more, leave; return what is kept."""
    base = m[header + at.H_BASE]
    capacity = at.CAPACITY_MIN << (m[header + at.H_META] & _LOW8)
    lo, hi = m[header + at.H_SPAN] >> 32, m[header + at.H_SPAN] & _LOW32
    column = base + p[q + at.K_FROZEN_WORDS]
    keep = first_after(m, column, lo, hi, horizon)
    if p[q + at.K_FROZEN_COUNT] > 0:
        for i in range(lo, keep):
            freeze_event(m, p, q, base, capacity, i)
    m[header + at.H_SPAN] = (keep << 32) | hi
    m[at.C_EVENTS] -= keep - lo
    return hi - keep


@njit(cache=True, nogil=True)
def make_room(m, p, q, header):  # type: ignore[no-untyped-def]
    """Make room for one more event in a full segment: slide or move. False: memory exhausted."""
    kept = (m[header + at.H_SPAN] & _LOW32) - (m[header + at.H_SPAN] >> 32)
    size_class = m[header + at.H_META] & _LOW8
    capacity = at.CAPACITY_MIN << size_class
    if kept * 4 > capacity * 3:
        return resize(m, p, q, header, size_class + 1)
    if is_roomy(kept, size_class):
        return resize(m, p, q, header, fitting(kept))
    slide(m, p, q, header)
    return True


@njit(inline="always")
def is_roomy(kept, size_class):  # type: ignore[no-untyped-def]
    """Return whether a key should move to a smaller segment: three quarters of its own are unused."""
    return size_class > 0 and kept * 4 <= at.CAPACITY_MIN << size_class


@njit(inline="always")
def fitting(kept):  # type: ignore[no-untyped-def]
    """Return the smallest size class of which so many events, and the next, fill half at most."""
    smaller = np.int64(0)
    while (kept + 1) * 2 > at.CAPACITY_MIN << smaller:
        smaller += 1
    return smaller


@njit(cache=True, nogil=True)
def slide(m, p, q, header):  # type: ignore[no-untyped-def]
    """Move the kept events to the beginning of their segment."""
    base = m[header + at.H_BASE]
    capacity = at.CAPACITY_MIN << (m[header + at.H_META] & _LOW8)
    lo, hi = m[header + at.H_SPAN] >> 32, m[header + at.H_SPAN] & _LOW32
    column = base + p[q + at.K_FROZEN_WORDS]
    for word in range(p[q + at.K_WORDS]):
        begin = column + word * capacity
        for i in range(hi - lo):
            m[begin + i] = m[begin + lo + i]
    m[header + at.H_SPAN] = hi - lo
    m[header + at.H_VALID] = 0
    if capacity >= p[at.P_LARGE]:
        start_averages(m, p, q, base, capacity)
        slide_marks(m, p, q, base, capacity, lo)


@njit(cache=True, nogil=True)
def resize(m, p, q, header, size_class):  # type: ignore[no-untyped-def]
    """Move a key to a segment of another size. False: memory exhausted."""
    kind, old_class = m[header + at.H_META] >> 8, m[header + at.H_META] & _LOW8
    old = m[header + at.H_BASE]
    new = take_segment(m, p, q, kind, size_class)
    if new < 0:
        return False
    lo, hi = m[header + at.H_SPAN] >> 32, m[header + at.H_SPAN] & _LOW32
    frozen, kept = p[q + at.K_FROZEN_WORDS], hi - lo
    capacity, old_capacity = at.CAPACITY_MIN << size_class, at.CAPACITY_MIN << old_class
    for i in range(frozen):
        m[new + i] = m[old + i]
    for word in range(p[q + at.K_WORDS]):
        source, target = old + frozen + word * old_capacity + lo, new + frozen + word * capacity
        for i in range(kept):
            m[target + i] = m[source + i]
    free_segment(m, p, q, kind, old_class, old)
    m[header + at.H_BASE] = new
    m[header + at.H_META] = (kind << 8) | size_class
    m[header + at.H_SPAN] = kept
    m[header + at.H_VALID] = 0
    if capacity >= p[at.P_LARGE]:
        start_averages(m, p, q, new, capacity)
        if p[q + at.K_LISTS] > 0:
            for i in range(kept):
                extend_list(m, p, q, new, capacity, i, 0, i + 1)
    return True


@njit(cache=True, nogil=True)
def move_segment(m, p, q, header):  # type: ignore[no-untyped-def]
    """Move a key to another segment of the same size as it is; return its words, -1: memory exhausted."""
    kind, size_class = m[header + at.H_META] >> 8, m[header + at.H_META] & _LOW8
    old = m[header + at.H_BASE]
    new = take_segment(m, p, q, kind, size_class)
    if new < 0:
        return new
    words = segment_words(p, q, size_class)
    for i in range(words):
        m[new + i] = m[old + i]
    free_segment(m, p, q, kind, size_class, old)
    m[header + at.H_BASE] = new
    return words
