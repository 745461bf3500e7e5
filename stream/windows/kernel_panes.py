"""Panes: what a key's old events are folded into, and how panes are joined to longer ones and forgotten.

Which pane an event stands in depends on its time and the watermark alone (``pane_at``), so it does not show
when something was folded.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.stream.windows import layout as at
from fraudstream.stream.windows.kernel_arena import free_words, take_words
from fraudstream.stream.windows.kernel_records import join_records, note_event
from fraudstream.stream.windows.kernel_summary import level_rows, see_value
from fraudstream.stream.windows.kernel_vectors import add_events, close_groups, keep_extremes, start_bank

_LOW32 = np.int64(0xFFFFFFFF)
_LOW20 = np.int64((1 << 20) - 1)
_LOW8 = np.int64(0xFF)
_LARGEST = np.int64((1 << 63) - 1)
_SECOND = np.int64(1_000)


@njit(inline="always")
def end_of(time, pane):  # type: ignore[no-untyped-def]
    """Return the end of the pane that holds a time."""
    return -(-time // pane) * pane


@njit(cache=True, nogil=True)
def pane_at(p, q, time, pane, first_step, watermark):  # type: ignore[no-untyped-def]
    """Return the length of the pane of ``time`` at a watermark; ``pane``: before any step."""
    for number in range(first_step, p[q + at.K_STEP_COUNT]):
        step = p[q + at.K_STEPS] + number * at.STEP
        if end_of(time, p[step + 1]) > watermark - p[step]:
            break
        pane = p[step + 1]
    return pane


@njit(inline="always")
def pane_capacity(m, panes):  # type: ignore[no-untyped-def]
    """Return how many panes a pane segment holds."""
    return at.CAPACITY_MIN << m[panes + at.B_CLASS]


@njit(inline="always")
def prefix_of(panes, capacity):  # type: ignore[no-untyped-def]
    """Return where the prefix rows of a pane segment begin."""
    return panes + at.PANE_HEAD + capacity


@njit(inline="always")
def levels_of(p, q, panes, capacity):  # type: ignore[no-untyped-def]
    """Return where its minima and maxima begin."""
    return prefix_of(panes, capacity) + (capacity + 1) * p[q + at.K_PREFIX_WORDS]


@njit(inline="always")
def records_of(p, q, panes, capacity):  # type: ignore[no-untyped-def]
    """Return where its records of first and last events begin."""
    return levels_of(p, q, panes, capacity) + p[q + at.K_LEVEL_WORDS] * level_rows(capacity)


@njit(inline="always")
def places_in(p, q, panes, capacity):  # type: ignore[no-untyped-def]
    """Return where prefix rows, minima and maxima, and records begin."""
    return (
        prefix_of(panes, capacity),
        levels_of(p, q, panes, capacity),
        records_of(p, q, panes, capacity),
    )


@njit(cache=True, nogil=True)
def seen_in_panes(p, q, panes, capacity, number):  # type: ignore[no-untyped-def]
    """Return where the list of values last seen in the panes stands, for a distinct accumulator."""
    lists = records_of(p, q, panes, capacity) + capacity * p[q + at.K_POSITION_WORDS]
    return lists + number * (1 + 2 * p[q + at.K_LIST_MAX])


@njit(cache=True, nogil=True)
def take_panes(m, p, q, kind, size_class):  # type: ignore[no-untyped-def]
    """Return a pane segment without panes; -1: memory exhausted."""
    if at.FREE_PANES + size_class >= at.EVICTED:
        return np.int64(-1)
    capacity = at.CAPACITY_MIN << size_class
    free = at.CONTROL + kind * at.KIND_STATE + at.FREE_PANES + size_class
    panes = take_words(m, free, seen_in_panes(p, q, 0, capacity, p[q + at.K_LISTS]))
    if panes < 0:
        return panes
    m[panes + at.B_CLASS] = size_class
    m[panes + at.B_SPAN] = 0
    m[panes + at.B_FOLDED] = at.NEVER
    m[panes + at.B_SETTLE] = _LARGEST
    for i in range(p[q + at.K_PREFIX_WORDS]):
        m[prefix_of(panes, capacity) + i] = 0
    for number in range(p[q + at.K_LISTS]):
        m[seen_in_panes(p, q, panes, capacity, number)] = 0
    return panes


@njit(cache=True, nogil=True)
def free_panes(m, p, q, header):  # type: ignore[no-untyped-def]
    """Give a key's pane segment back."""
    panes = m[header + at.H_PANES]
    if panes != 0:
        m[at.C_PANES] -= (m[panes + at.B_SPAN] & _LOW32) - (m[panes + at.B_SPAN] >> 32)
        kind = m[header + at.H_META] >> 8
        free = at.CONTROL + kind * at.KIND_STATE + at.FREE_PANES + m[panes + at.B_CLASS]
        words = seen_in_panes(p, q, 0, pane_capacity(m, panes), p[q + at.K_LISTS])
        free_words(m, free, panes, words)
        m[header + at.H_PANES] = 0


@njit(cache=True, nogil=True)
def move_panes(m, p, q, header):  # type: ignore[no-untyped-def]
    """Move a key's panes to another segment as they are; return its words, -1: memory exhausted."""
    old = m[header + at.H_PANES]
    capacity = pane_capacity(m, old)
    new = take_panes(m, p, q, m[header + at.H_META] >> 8, m[old + at.B_CLASS])
    if new < 0:
        return new
    words = seen_in_panes(p, q, 0, capacity, p[q + at.K_LISTS])
    for i in range(words):
        m[new + i] = m[old + i]
    m[at.C_PANES] += (m[new + at.B_SPAN] & _LOW32) - (m[new + at.B_SPAN] >> 32)  # free_panes takes them off
    free_panes(m, p, q, header)
    m[header + at.H_PANES] = new
    return words


@njit(cache=True, nogil=True)
def copy_rows(m, p, q, source, begin, end, target, place):  # type: ignore[no-untyped-def]
    """Copy panes [begin, end) of one segment to ``place`` of another (or the same, downwards).

    Prefix rows keep their values: only differences count. Upper levels are built anew by ``build_levels``.
    """
    old, new = pane_capacity(m, source), pane_capacity(m, target)
    width, extremes, words = p[q + at.K_PREFIX_WORDS], p[q + at.K_LEVEL_WORDS], p[q + at.K_POSITION_WORDS]
    for i in range(end - begin):
        m[target + at.PANE_HEAD + place + i] = m[source + at.PANE_HEAD + begin + i]
    from_row, to_row = prefix_of(source, old) + begin * width, prefix_of(target, new) + place * width
    for i in range((end - begin + 1) * width):
        m[to_row + i] = m[from_row + i]
    from_row, to_row = (
        levels_of(p, q, source, old) + begin * extremes,
        levels_of(p, q, target, new) + place * extremes,
    )
    for i in range((end - begin) * extremes):
        m[to_row + i] = m[from_row + i]
    from_row, to_row = (
        records_of(p, q, source, old) + begin * words,
        records_of(p, q, target, new) + place * words,
    )
    for i in range((end - begin) * words):
        m[to_row + i] = m[from_row + i]


@njit(cache=True, nogil=True)
def build_levels(m, p, q, panes, begin, end):  # type: ignore[no-untyped-def]
    """Bring the upper levels up to date for the groups of panes [begin, end)."""
    capacity, stride = pane_capacity(m, panes), p[q + at.K_LEVEL_WORDS]
    levels = levels_of(p, q, panes, capacity)
    for place in range(begin | (at.FAN - 1), end, at.FAN):
        for number in range(p[q + at.K_ACC_COUNT]):
            a = p[q + at.K_ACCS] + number * at.ACC
            if p[a + at.A_CLASS] == at.CLASS_BANK and p[a + at.A_MODE] == at.BANK_EXTREMES:
                close_groups(m, p, a, levels, stride, capacity, place)


@njit(cache=True, nogil=True)
def make_pane_room(m, p, q, header):  # type: ignore[no-untyped-def]
    """Make room for one more pane and return the segment; -1: memory exhausted."""
    panes = m[header + at.H_PANES]
    kind = m[header + at.H_META] >> 8
    if panes == 0:
        panes = take_panes(m, p, q, kind, at.PANE_CLASS_MIN)
        if panes > 0:
            m[header + at.H_PANES] = panes
        return panes
    lo, hi = m[panes + at.B_SPAN] >> 32, m[panes + at.B_SPAN] & _LOW32
    capacity = pane_capacity(m, panes)
    if hi < capacity:
        return panes
    target = panes
    if lo * 4 < capacity:
        target = take_panes(m, p, q, kind, m[panes + at.B_CLASS] + 1)
        if target < 0:
            return target
    copy_rows(m, p, q, panes, lo, hi, target, 0)
    if target != panes:
        new = pane_capacity(m, target)
        for number in range(p[q + at.K_LISTS]):
            source = seen_in_panes(p, q, panes, capacity, number)
            copied = seen_in_panes(p, q, target, new, number)
            for i in range(1 + 2 * m[source]):
                m[copied + i] = m[source + i]
        m[target + at.B_FOLDED], m[target + at.B_SETTLE] = m[panes + at.B_FOLDED], m[panes + at.B_SETTLE]
        m[at.C_PANES] += hi - lo  # free_panes takes them off
        free_panes(m, p, q, header)
        m[header + at.H_PANES] = target
    m[target + at.B_SPAN] = hi - lo
    build_levels(m, p, q, target, 0, hi - lo)
    return target


@njit(cache=True, nogil=True)
def place_of(m, panes, time):  # type: ignore[no-untyped-def]
    """Return the first pane that ends at or after ``time``; the end if there is none."""
    left, right = (m[panes + at.B_SPAN] >> 32) - 1, m[panes + at.B_SPAN] & _LOW32
    last = panes + at.PANE_HEAD + right - 1
    if right - 1 == left or m[last] >> at.TIME_SHIFT < time:
        return right
    while right - left > 1:
        middle = (left + right) >> 1
        if m[panes + at.PANE_HEAD + middle] >> at.TIME_SHIFT >= time:
            right = middle
        else:
            left = middle
    return right


@njit(cache=True, nogil=True)
def open_pane(m, p, q, header, time, pane):  # type: ignore[no-untyped-def]
    """Return (segment, place) of the pane that holds ``time``, a new one of length ``pane`` if none does.

    The segment is -1 where memory is exhausted.
    """
    panes = m[header + at.H_PANES]
    if panes != 0:
        place = place_of(m, panes, time)
        if place < m[panes + at.B_SPAN] & _LOW32:
            word = m[panes + at.PANE_HEAD + place]
            if (word >> at.TIME_SHIFT) - (word & _LOW20) * _SECOND < time:
                return panes, place
    panes = make_pane_room(m, p, q, header)
    if panes < 0:
        return panes, np.int64(0)
    place = place_of(m, panes, time)
    capacity, hi = pane_capacity(m, panes), m[panes + at.B_SPAN] & _LOW32
    width, extremes, words = p[q + at.K_PREFIX_WORDS], p[q + at.K_LEVEL_WORDS], p[q + at.K_POSITION_WORDS]
    prefix, levels, records = places_in(p, q, panes, capacity)
    for i in range(hi, place, -1):
        m[panes + at.PANE_HEAD + i] = m[panes + at.PANE_HEAD + i - 1]
        for j in range(extremes):
            m[levels + i * extremes + j] = m[levels + (i - 1) * extremes + j]
        for j in range(words):
            m[records + i * words + j] = m[records + (i - 1) * words + j]
    for i in range(hi, place - 1, -1):
        for j in range(width):
            m[prefix + (i + 1) * width + j] = m[prefix + i * width + j]
    m[panes + at.PANE_HEAD + place] = (end_of(time, pane) << at.TIME_SHIFT) | (pane // _SECOND)
    start_levels(m, p, q, levels + place * extremes)
    for j in range(words):
        m[records + place * words + j] = 0
    m[panes + at.B_SPAN] = ((m[panes + at.B_SPAN] >> 32) << 32) | (hi + 1)
    m[at.C_PANES] += 1
    if place < hi:
        build_levels(m, p, q, panes, place, hi + 1)
    return panes, place


@njit(cache=True, nogil=True)
def start_levels(m, p, q, row):  # type: ignore[no-untyped-def]
    """Empty a row of minima and maxima."""
    for number in range(p[q + at.K_ACC_COUNT]):
        a = p[q + at.K_ACCS] + number * at.ACC
        if p[a + at.A_CLASS] == at.CLASS_BANK and p[a + at.A_MODE] == at.BANK_EXTREMES:
            width = p[a + at.A_WIDTH]
            for lane in range(width):
                m[row + p[a + at.A_LEVEL] + lane] = _LARGEST
                m[row + p[a + at.A_LEVEL] + width + lane] = -_LARGEST


@njit(cache=True, nogil=True)
def join_levels(m, p, q, row, other):  # type: ignore[no-untyped-def]
    """Fold a row of minima and maxima into another."""
    for number in range(p[q + at.K_ACC_COUNT]):
        a = p[q + at.K_ACCS] + number * at.ACC
        if p[a + at.A_CLASS] == at.CLASS_BANK and p[a + at.A_MODE] == at.BANK_EXTREMES:
            place = p[a + at.A_LEVEL]
            keep_extremes(m, p, a, row + place, row + place + p[a + at.A_WIDTH], other + place)


@njit(cache=True, nogil=True)
def fold_event(m, p, q, header, i, watermark, beyond):  # type: ignore[no-untyped-def]
    """Take event i of a key into its pane; ``beyond``: because the key has too many events.

    False: memory exhausted. The event still stands in its segment.
    """
    base = m[header + at.H_BASE]
    capacity = at.CAPACITY_MIN << (m[header + at.H_META] & _LOW8)
    column = base + p[q + at.K_FROZEN_WORDS]
    time = m[column + i] >> at.TIME_SHIFT
    if beyond:
        time = end_of(time, at.MINUTE_MS)
        pane = pane_at(p, q, time, np.int64(at.MINUTE_MS), 0, watermark)
    else:
        first = p[q + at.K_PANED]
        pane = pane_at(p, q, time, p[p[q + at.K_STEPS] + first * at.STEP + 1], first, watermark)
    panes, place = open_pane(m, p, q, header, time, pane)
    if panes < 0:
        return False
    if beyond:
        m[panes + at.B_FOLDED] = max(m[panes + at.B_FOLDED], time)
    m[panes + at.B_SETTLE] = min(m[panes + at.B_SETTLE], due(m, p, q, panes, place))
    add_to_pane(m, p, q, panes, place, column, capacity, i, time)
    return True


@njit(cache=True, nogil=True)
def add_to_pane(m, p, q, panes, place, column, capacity, i, time):  # type: ignore[no-untyped-def]
    """Add event i of a segment to a pane's sums, extremes and records; ``time``: at which it counts there."""
    size, hi = pane_capacity(m, panes), m[panes + at.B_SPAN] & _LOW32
    stride, level_words = p[q + at.K_PREFIX_WORDS], p[q + at.K_LEVEL_WORDS]
    prefix, levels, records = places_in(p, q, panes, size)
    sums = m[at.C_SCRATCH] + p[at.P_SCRATCH_BANK]
    for number in range(p[q + at.K_ACC_COUNT]):
        a = p[q + at.K_ACCS] + number * at.ACC
        kind_class, flags = p[a + at.A_CLASS], column + p[a + at.A_FLAG] * capacity
        items, row = column + p[a + at.A_COLUMN] * capacity, prefix + p[a + at.A_PREFIX]
        if kind_class == at.CLASS_AVERAGE or kind_class == at.CLASS_SEQUENCE:
            continue  # frozen events carry it; a sequence reads kept events only
        if kind_class == at.CLASS_BANK:
            width = p[a + at.A_WIDTH]
            start_bank(m, sums, p[a + at.A_MODE])
            add_events(m, p, a, flags, items, i, i + 1, sums)
            for j in range(place + 1, hi + 1):
                for vector in range(p[a + at.A_VECTORS]):
                    for lane in range(width):
                        m[row + j * stride + vector * width + lane] += m[sums + vector * at.LANES + lane]
            if p[a + at.A_MODE] == at.BANK_EXTREMES:
                cell = levels + place * level_words + p[a + at.A_LEVEL]
                for lane in range(width):
                    least, most = m[sums + 4 * at.LANES + lane], m[sums + 5 * at.LANES + lane]
                    m[cell + lane] = min(m[cell + lane], least)
                    m[cell + width + lane] = max(m[cell + width + lane], most)
            continue
        shift = p[a + at.A_SHIFT]
        if shift >= 0 and (m[flags + i] >> shift) & 1 == 0:
            continue
        for j in range(place + 1, hi + 1):
            m[row + j * stride] += 1
        if kind_class == at.CLASS_VALUES:
            listed = seen_in_panes(p, q, panes, size, p[a + at.A_LIST])
            see_value(m, listed, p[q + at.K_LIST_MAX], time, m[items + i])
        elif p[a + at.A_POSITION] >= 0:
            record = records + place * p[q + at.K_POSITION_WORDS] + p[a + at.A_POSITION]
            note_event(m, p, a, record, column, capacity, i)
    # Groups of panes whose last is there have their upper rows: these follow.
    group = at.FAN - 1
    while place | group < hi:
        build_levels(m, p, q, panes, place | group, (place | group) + 1)
        group = (group << at.FAN_SHIFT) | (at.FAN - 1)


@njit(cache=True, nogil=True)
def due(m, p, q, panes, place):  # type: ignore[no-untyped-def]
    """Return the watermark from which a pane is to be joined to a longer one or forgotten."""
    word = m[panes + at.PANE_HEAD + place]
    end, pane = word >> at.TIME_SHIFT, (word & _LOW20) * _SECOND
    result = end + p[q + at.K_RETAIN]
    for number in range(p[q + at.K_STEP_COUNT]):
        step = p[q + at.K_STEPS] + number * at.STEP
        if p[step + 1] > pane:
            result = min(result, end_of(end, p[step + 1]) + p[step])
    return result


@njit(cache=True, nogil=True)
def settle(m, p, q, header, watermark):  # type: ignore[no-untyped-def]
    """Forget panes that nobody can see at a watermark, and join those that have reached a longer one."""
    panes = m[header + at.H_PANES]
    lo, hi = m[panes + at.B_SPAN] >> 32, m[panes + at.B_SPAN] & _LOW32
    rows = panes + at.PANE_HEAD
    before = hi - lo
    while lo < hi and m[rows + lo] >> at.TIME_SHIFT <= watermark - p[q + at.K_RETAIN]:
        lo += 1
    if lo == hi:
        free_panes(m, p, q, header)
        return
    capacity = pane_capacity(m, panes)
    width, extremes, words = p[q + at.K_PREFIX_WORDS], p[q + at.K_LEVEL_WORDS], p[q + at.K_POSITION_WORDS]
    prefix, levels, records = places_in(p, q, panes, capacity)
    target = lo - 1
    last_end = np.int64(at.NEVER)
    soonest = _LARGEST
    for i in range(lo, hi):
        word = m[rows + i]
        end = word >> at.TIME_SHIFT
        pane = pane_at(p, q, end, (word & _LOW20) * _SECOND, 0, watermark)
        end = end_of(end, pane)
        if end == last_end:
            join_levels(m, p, q, levels + target * extremes, levels + i * extremes)
            for number in range(p[q + at.K_POSITION_COUNT]):
                a = p[p[q + at.K_POSITIONS] + number]
                record = records + p[a + at.A_POSITION]
                join_records(m, p, a, record + target * words, record + i * words)
        else:
            target += 1
            if target < i:
                for j in range(extremes):
                    m[levels + target * extremes + j] = m[levels + i * extremes + j]
                for j in range(words):
                    m[records + target * words + j] = m[records + i * words + j]
        m[rows + target] = (end << at.TIME_SHIFT) | (pane // _SECOND)
        for j in range(width):
            m[prefix + (target + 1) * width + j] = m[prefix + (i + 1) * width + j]
        last_end = end
    hi = target + 1
    for i in range(lo, hi):
        soonest = min(soonest, due(m, p, q, panes, i))
    m[panes + at.B_SPAN] = (lo << 32) | hi
    m[panes + at.B_SETTLE] = soonest
    m[at.C_PANES] -= before - (hi - lo)
    build_levels(m, p, q, panes, lo, hi)
