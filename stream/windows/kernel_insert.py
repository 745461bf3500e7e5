"""A new event into its key's history, and what has to leave for it."""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.stream.windows import layout as at
from fraudstream.stream.windows.kernel_panes import end_of, fold_event
from fraudstream.stream.windows.kernel_segments import (
    first_after,
    freeze_event,
    is_roomy,
    make_room,
    prune,
    slide,
    take_segment,
    time_at,
)
from fraudstream.stream.windows.kernel_snapshot import call_in
from fraudstream.stream.windows.kernel_summary import extend_list

_LOW32 = np.int64(0xFFFFFFFF)
_LOW8 = np.int64(0xFF)


@njit(cache=True, nogil=True)
def insert(m, p, q, header, watermark, event):  # type: ignore[no-untyped-def]
    """Put the event whose words stand at ``event`` in its place. False: memory exhausted.

    ``watermark``: before the event. Which events are kept, folded or gone afterwards is a function of it
    and of the key's events.
    """
    kind = m[header + at.H_META] >> 8
    if m[header + at.H_BASE] < 0:
        base = take_segment(m, p, q, kind, 0)
        if base < 0:
            return False
        m[header + at.H_BASE] = base
    base = m[header + at.H_BASE]
    capacity = at.CAPACITY_MIN << (m[header + at.H_META] & _LOW8)
    column = base + p[q + at.K_FROZEN_WORDS]
    lo, hi = m[header + at.H_SPAN] >> 32, m[header + at.H_SPAN] & _LOW32
    horizon = watermark - p[q + at.K_RETAIN]
    if hi > lo and time_at(m, column, lo) <= horizon:
        kept = prune(m, p, q, header, horizon)
        lo = m[header + at.H_SPAN] >> 32
        roomy = is_roomy(kept, m[header + at.H_META] & _LOW8)
    else:
        roomy = False
    if hi == capacity or roomy:
        call_in(m, p, base, 0)
        if not make_room(m, p, q, header):
            return False
        capacity = at.CAPACITY_MIN << (m[header + at.H_META] & _LOW8)
        base = m[header + at.H_BASE]
        column = base + p[q + at.K_FROZEN_WORDS]
        lo, hi = m[header + at.H_SPAN] >> 32, m[header + at.H_SPAN] & _LOW32
    time = m[event] >> at.TIME_SHIFT
    place = hi
    if hi > lo and time_at(m, column, hi - 1) > time:
        place = first_after(m, column, lo, hi, time)
        call_in(m, p, base, place)
        for word in range(p[q + at.K_WORDS]):
            begin = column + word * capacity
            for i in range(hi, place, -1):
                m[begin + i] = m[begin + i - 1]
        m[header + at.H_VALID] = min(m[header + at.H_VALID], place >> at.BLOCK_SHIFT)
    for word in range(p[q + at.K_WORDS]):
        m[column + word * capacity + place] = m[event + word]
    hi += 1
    m[header + at.H_SPAN] = (lo << 32) | hi
    m[header + at.H_LAST] = max(m[header + at.H_LAST], time)
    m[at.C_EVENTS] += 1
    if capacity >= p[at.P_LARGE] and p[q + at.K_LISTS] > 0:
        extend_list(m, p, q, base, capacity, place, lo, hi)
    kept = hi - lo
    if kept >= p[at.P_FOLD] and kept & (p[at.P_FOLD] - 1) == 0 and saves(m, p, q, header, watermark):
        if not fold_old(m, p, q, header, watermark):
            return False
    if kept > p[at.P_EVENTS_MAX]:
        return fold_beyond(m, p, q, header, watermark, place)
    return True


@njit(cache=True, nogil=True)
def horizon_of(p, q, watermark):  # type: ignore[no-untyped-def]
    """Return the time up to which events stand in whole panes that no exact window can see."""
    step = p[q + at.K_STEPS] + p[q + at.K_PANED] * at.STEP
    pane = p[step + 1]
    return (watermark - p[step]) // pane * pane


@njit(cache=True, nogil=True)
def saves(m, p, q, header, watermark):  # type: ignore[no-untyped-def]
    """Return whether a quarter of a key's events could be folded, and their panes took less memory."""
    if p[q + at.K_PANED] >= p[q + at.K_STEP_COUNT]:
        return False
    base = m[header + at.H_BASE]
    column = base + p[q + at.K_FROZEN_WORDS]
    lo, hi = m[header + at.H_SPAN] >> 32, m[header + at.H_SPAN] & _LOW32
    end = horizon_of(p, q, watermark)
    if time_at(m, column, lo + ((hi - lo) >> 2)) > end:
        return False
    old = first_after(m, column, lo, hi, end) - lo
    begin = time_at(m, column, lo)
    panes = np.int64(0)
    # How many panes there can be between the oldest event and the horizon, from the newest step on.
    for number in range(p[q + at.K_PANED], p[q + at.K_STEP_COUNT]):
        step = p[q + at.K_STEPS] + number * at.STEP
        pane = p[step + 1]
        until = end_of(begin, pane)
        if number + 1 < p[q + at.K_STEP_COUNT]:
            until = max(until, watermark - p[step + at.STEP])
        if end > until:
            panes += (end - until) // pane + 1
            end = until
        panes += np.int64(1)
    pane_words = 1 + p[q + at.K_PREFIX_WORDS] + p[q + at.K_LEVEL_WORDS] + p[q + at.K_POSITION_WORDS]
    return panes * pane_words * p[at.P_GAIN] < old * p[q + at.K_WORDS]


@njit(cache=True, nogil=True)
def fold_old(m, p, q, header, watermark):  # type: ignore[no-untyped-def]
    """Fold every event that no exact window can see. False: memory exhausted."""
    base = m[header + at.H_BASE]
    capacity = at.CAPACITY_MIN << (m[header + at.H_META] & _LOW8)
    column = base + p[q + at.K_FROZEN_WORDS]
    lo, hi = m[header + at.H_SPAN] >> 32, m[header + at.H_SPAN] & _LOW32
    end = first_after(m, column, lo, hi, horizon_of(p, q, watermark))
    for i in range(lo, end):
        if not fold_event(m, p, q, header, i, watermark, False):
            return False
        freeze_event(m, p, q, base, capacity, i)
    m[header + at.H_SPAN] = (end << 32) | hi
    m[at.C_EVENTS] -= end - lo
    return True


@njit(cache=True, nogil=True)
def fold_beyond(m, p, q, header, watermark, newest):  # type: ignore[no-untyped-def]
    """Fold what is beyond ``max_events_per_key``, the oldest first. False: memory exhausted.

    Events that no exact window can see do not count. ``newest``: position of the event that came last.
    """
    base = m[header + at.H_BASE]
    capacity = at.CAPACITY_MIN << (m[header + at.H_META] & _LOW8)
    column = base + p[q + at.K_FROZEN_WORDS]
    lo, hi = m[header + at.H_SPAN] >> 32, m[header + at.H_SPAN] & _LOW32
    last = hi - p[at.P_EVENTS_MAX] - 1
    if time_at(m, column, last) <= watermark - p[q + at.K_AGE]:
        return True
    if p[q + at.K_PANED] < p[q + at.K_STEP_COUNT]:
        if not fold_old(m, p, q, header, watermark):
            return False
        lo = m[header + at.H_SPAN] >> 32
    for i in range(lo, last + 1):
        if not fold_event(m, p, q, header, i, watermark, True):
            return False
        freeze_event(m, p, q, base, capacity, i)
    m[header + at.H_SPAN] = ((last + 1) << 32) | hi
    m[at.C_EVENTS] -= last + 1 - lo
    if newest <= last and p[q + at.K_FROZEN_COUNT] > 0:
        call_in(m, p, base, 0)
        # It left behind events that left before it: averages go on from the records, not from old rows.
        slide(m, p, q, header)
    return True
