"""Summaries of large segments: prefix sums, minima and maxima by blocks, recently seen values.

Everything here is a function of the segment's events, kept only for speed: no value depends on it.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.stream.windows import layout as at
from fraudstream.stream.windows.kernel_records import average_over, load_average, store_average
from fraudstream.stream.windows.kernel_vectors import add_events, close_groups, start_bank

_LOW40 = np.int64((1 << 40) - 1)
_LOW20 = np.int64((1 << 20) - 1)


@njit(inline="always")
def enters(m, p, a, event):  # type: ignore[no-untyped-def]
    """Return 1 if the current event has the accumulator's flag, else 0."""
    shift = p[a + at.A_SHIFT]
    return np.int64(1) if shift < 0 else (m[event + p[a + at.A_FLAG]] >> shift) & 1


@njit(cache=True, nogil=True)
def level_rows(blocks):  # type: ignore[no-untyped-def]
    """Return the rows of all levels of minima and maxima over so many blocks."""
    rows = np.int64(0)
    while blocks > 0:
        rows += blocks
        blocks >>= at.FAN_SHIFT
    return rows


@njit(cache=True, nogil=True)
def summary_words(p, q, capacity):  # type: ignore[no-untyped-def]
    """Return the words of the summary of a segment.

    Order: prefix rows (one more than blocks), levels of (minimum, maximum), value lists from the end on, each
    with its marks.
    """
    blocks = capacity >> at.BLOCK_SHIFT
    words = (blocks + 1) * p[q + at.K_PREFIX_WORDS]
    words += p[q + at.K_LEVEL_WORDS] * level_rows(blocks)
    return words + p[q + at.K_LISTS] * list_words(p, q, capacity)


@njit(cache=True, nogil=True)
def list_words(p, q, capacity):  # type: ignore[no-untyped-def]
    """Return the words of a value list with its marks: their number, then position and list of each."""
    words, apart = 1 + 2 * min(p[q + at.K_LIST_MAX], capacity), p[q + at.K_MARK]
    marks = (capacity + apart - 1) // apart if capacity >= apart else 0
    return words + 1 + marks * (1 + words)


@njit(cache=True, nogil=True)
def extend_summary(m, p, q, base, capacity, valid, blocks):  # type: ignore[no-untyped-def]
    """Bring prefix rows and levels up to date for blocks ``valid`` to ``blocks`` (whole ones)."""
    column = base + p[q + at.K_FROZEN_WORDS]
    prefix = column + p[q + at.K_WORDS] * capacity
    width = p[q + at.K_PREFIX_WORDS]
    levels = prefix + ((capacity >> at.BLOCK_SHIFT) + 1) * width
    for number in range(p[q + at.K_ACC_COUNT]):
        a = p[q + at.K_ACCS] + number * at.ACC
        flags = column + p[a + at.A_FLAG] * capacity
        row = prefix + valid * width + p[a + at.A_PREFIX]
        if p[a + at.A_CLASS] == at.CLASS_BANK:
            items = column + p[a + at.A_COLUMN] * capacity
            extend_bank(m, p, q, a, flags, items, row, levels, capacity >> at.BLOCK_SHIFT, valid, blocks)
            continue
        if p[a + at.A_CLASS] == at.CLASS_SEQUENCE:
            continue
        if p[a + at.A_CLASS] == at.CLASS_AVERAGE:
            extend_averages(m, p, a, column, capacity, row, width, valid, blocks)
            continue
        for block in range(valid, blocks):
            n = m[row]
            row += width
            m[row] = n + count_range(
                m, flags, p[a + at.A_SHIFT], block << at.BLOCK_SHIFT, (block + 1) << at.BLOCK_SHIFT
            )


@njit(cache=True, nogil=True)
def extend_bank(m, p, q, a, flags, items, row, levels, rows, valid, blocks):  # type: ignore[no-untyped-def]
    """Write a bank's sums and extremes for the blocks ``valid`` to ``blocks``; ``row``: before them."""
    width, stride = p[a + at.A_WIDTH], p[q + at.K_LEVEL_WORDS]
    sums = m[at.C_SCRATCH] + p[at.P_SCRATCH_BANK]
    for block in range(valid, blocks):
        start_bank(m, sums, p[a + at.A_MODE])
        begin = block << at.BLOCK_SHIFT
        add_events(m, p, a, flags, items, begin, begin + at.BLOCK, sums)
        after = row + p[q + at.K_PREFIX_WORDS]
        for i in range(p[a + at.A_VECTORS]):
            for lane in range(width):
                place = i * width + lane
                m[after + place] = m[row + place] + m[sums + i * at.LANES + lane]
        row = after
        if p[a + at.A_MODE] == at.BANK_EXTREMES:
            cell = levels + block * stride + p[a + at.A_LEVEL]
            for lane in range(width):
                m[cell + lane] = m[sums + 4 * at.LANES + lane]
                m[cell + width + lane] = m[sums + 5 * at.LANES + lane]
            close_groups(m, p, a, levels, stride, rows, block)


@njit(cache=True, nogil=True)
def extend_averages(m, p, a, column, capacity, row, width, valid, blocks):  # type: ignore[no-untyped-def]
    """Write an average's state after each of the blocks ``valid`` to ``blocks``; ``row``: before them."""
    flags, shift = column + p[a + at.A_FLAG] * capacity, p[a + at.A_SHIFT]
    values = column + p[a + at.A_COLUMN] * capacity
    n, newest, weight, total = load_average(m, row)
    for block in range(valid, blocks):
        begin = block << at.BLOCK_SHIFT
        n, newest, weight, total = average_over(
            m,
            flags,
            shift,
            values,
            column,
            begin,
            begin + at.BLOCK,
            p[a + at.A_HALF_LIFE],
            n,
            newest,
            weight,
            total,
        )
        row += width
        store_average(m, row, n, newest, weight, total)


@njit(cache=True, nogil=True)
def start_averages(m, p, q, base, capacity):  # type: ignore[no-untyped-def]
    """Let the first prefix row of averages be what left the segment: its events begin at 0."""
    prefix = base + p[q + at.K_FROZEN_WORDS] + p[q + at.K_WORDS] * capacity
    for number in range(p[q + at.K_FROZEN_COUNT]):
        a = p[p[q + at.K_FROZENS] + number]
        if p[a + at.A_CLASS] == at.CLASS_AVERAGE:
            row, record = prefix + p[a + at.A_PREFIX], base + p[a + at.A_FROZEN]
            for i in range(at.R_AVERAGE):
                m[row + i] = m[record + i]


@njit(cache=True, nogil=True)
def count_range(m, flags, shift, begin, end):  # type: ignore[no-untyped-def]
    """Count the events of [begin, end) with a flag; shift -1: all."""
    if shift < 0:
        return end - begin
    n = np.int64(0)
    for i in range(flags + begin, flags + end):
        n += (m[i] >> shift) & 1
    return n


@njit(inline="always")
def square(value):  # type: ignore[no-untyped-def]
    """Return value^2 as (high, low) with low < 2^40; ``abs(value) < 2^40``."""
    size = abs(value)
    upper, lower = size >> 20, size & _LOW20
    middle = ((upper * lower) << 21) + lower * lower
    return upper * upper + (middle >> 40), middle & _LOW40


@njit(cache=True, nogil=True)
def last_flagged(m, flags, shift, begin, end):  # type: ignore[no-untyped-def]
    """Return the last position of [begin, end) with a flag, -1 if there is none."""
    if shift < 0:
        return end - 1 if end > begin else np.int64(-1)
    for i in range(end - 1, begin - 1, -1):
        if (m[flags + i] >> shift) & 1 != 0:
            return i
    return np.int64(-1)


@njit(cache=True, nogil=True)
def first_flagged(m, flags, shift, begin, end):  # type: ignore[no-untyped-def]
    """Return the first position of [begin, end) with a flag, -1 if there is none."""
    if shift < 0:
        return begin if end > begin else np.int64(-1)
    for i in range(begin, end):
        if (m[flags + i] >> shift) & 1 != 0:
            return i
    return np.int64(-1)


@njit(cache=True, nogil=True)
def list_place(p, q, base, capacity, number):  # type: ignore[no-untyped-def]
    """Return (address, longest length) of a value list: its length, then (time, value) oldest first."""
    longest = min(p[q + at.K_LIST_MAX], capacity)
    end = base + p[q + at.K_FROZEN_WORDS] + p[q + at.K_WORDS] * capacity + summary_words(p, q, capacity)
    return end - (number + 1) * list_words(p, q, capacity), longest


@njit(cache=True, nogil=True)
def find_value(m, place, value):  # type: ignore[no-untyped-def]
    """Return the position of a value in a list, -1 if it is not there; newest first."""
    for i in range(m[place] - 1, -1, -1):
        if m[place + 2 + 2 * i] == value:
            return i
    return np.int64(-1)


@njit(cache=True, nogil=True)
def extend_list(m, p, q, base, capacity, i, lo, hi):  # type: ignore[no-untyped-def]
    """Enter event i, the newest in the log of the events [lo, hi), into the lists of recently seen values."""
    column = base + p[q + at.K_FROZEN_WORDS]
    time = m[column + i] >> at.TIME_SHIFT
    for number in range(p[q + at.K_ACC_COUNT]):
        a = p[q + at.K_ACCS] + number * at.ACC
        if p[a + at.A_CLASS] != at.CLASS_VALUES:
            continue
        shift = p[a + at.A_SHIFT]
        counts = shift < 0 or (m[column + p[a + at.A_FLAG] * capacity + i] >> shift) & 1 != 0
        value = m[column + p[a + at.A_COLUMN] * capacity + i]
        place, longest = list_place(p, q, base, capacity, p[a + at.A_LIST])
        if counts:
            see_value(m, place, longest, time, value)
        if capacity >= p[q + at.K_MARK]:
            mark_list(m, p, q, a, base, capacity, i, lo, hi, counts)


@njit(cache=True, nogil=True)
def mark_list(m, p, q, a, base, capacity, i, lo, hi, counts):  # type: ignore[no-untyped-def]
    """Keep what a value list was at places that are less than two ``K_MARK`` apart; event i came last."""
    place, longest = list_place(p, q, base, capacity, p[a + at.A_LIST])
    size, marks, apart = 2 + 2 * longest, place + 1 + 2 * longest, p[q + at.K_MARK]
    count = m[marks]
    number = count
    if i < hi - 1:
        # Marks behind a late event are one event further on, and have seen it.
        column = base + p[q + at.K_FROZEN_WORDS]
        time, value = m[column + i] >> at.TIME_SHIFT, m[column + p[a + at.A_COLUMN] * capacity + i]
        while number > 0 and m[marks + 1 + (number - 1) * size] > i:
            number -= 1
            mark = marks + 1 + number * size
            m[mark] += 1
            if counts:
                see_value(m, mark + 1, longest, time, value)
    before = m[marks + 1 + (number - 1) * size] if number > 0 else np.int64(0)
    after = m[marks + 1 + number * size] if number < count else hi
    if number == count and after - before >= apart:
        mark = marks + 1 + count * size
        m[mark] = hi
        for j in range(1 + 2 * m[place]):
            m[mark + 1 + j] = m[place + j]
        m[marks] = count + 1
    elif number < count and after - before >= 2 * apart:
        # Many late events came between two marks: one more there.
        for j in range(marks + count * size, marks + number * size, -1):
            m[j + size] = m[j]
        mark = marks + 1 + number * size
        m[mark] = before + apart
        list_at(m, p, q, a, base, capacity, marks, number, max(before, lo), before + apart, mark + 1)
        m[marks] = count + 1


@njit(cache=True, nogil=True)
def list_at(m, p, q, a, base, capacity, marks, number, begin, end, target):  # type: ignore[no-untyped-def]
    """Write a value list as it was before event ``end`` to ``target``.

    It is the last of ``number`` marks, and what came from event ``begin`` on.
    """
    longest = min(p[q + at.K_LIST_MAX], capacity)
    m[target] = 0
    if number > 0:
        source = marks + 2 + (number - 1) * (2 + 2 * longest)
        for j in range(1 + 2 * m[source]):
            m[target + j] = m[source + j]
    column, shift = base + p[q + at.K_FROZEN_WORDS], p[a + at.A_SHIFT]
    flags, items = column + p[a + at.A_FLAG] * capacity, column + p[a + at.A_COLUMN] * capacity
    for i in range(begin, end):
        if shift < 0 or (m[flags + i] >> shift) & 1 != 0:
            see_value(m, target, longest, m[column + i] >> at.TIME_SHIFT, m[items + i])


@njit(cache=True, nogil=True)
def slide_marks(m, p, q, base, capacity, lo):  # type: ignore[no-untyped-def]
    """Let the marks of a segment follow events that moved down by ``lo``; those before them are gone."""
    for number in range(p[q + at.K_LISTS]):
        place, longest = list_place(p, q, base, capacity, number)
        size, marks = 2 + 2 * longest, place + 1 + 2 * longest
        kept = np.int64(0)
        for mark in range(marks + 1, marks + 1 + m[marks] * size, size):
            if m[mark] > lo:
                target = marks + 1 + kept * size
                m[target] = m[mark] - lo
                for j in range(1, 2 + 2 * m[mark + 1]):
                    m[target + j] = m[mark + j]
                kept += 1
        m[marks] = kept


@njit(cache=True, nogil=True)
def see_value(m, place, longest, time, value):  # type: ignore[no-untyped-def]
    """Move a value to where ``time`` belongs; the oldest leaves a full list."""
    length = m[place]
    hole = find_value(m, place, value)
    if hole >= 0:
        if m[place + 1 + 2 * hole] >= time:
            return
    elif length == longest:
        if time < m[place + 1]:
            return
        hole = 0
    else:
        hole = length
        m[place] = length + 1
        while hole > 0 and m[place - 1 + 2 * hole] > time:
            m[place + 1 + 2 * hole] = m[place - 1 + 2 * hole]
            m[place + 2 + 2 * hole] = m[place + 2 * hole]
            hole -= 1
        length = hole  # nothing left to move down
    while hole + 1 < length and m[place + 3 + 2 * hole] <= time:
        m[place + 1 + 2 * hole] = m[place + 3 + 2 * hole]
        m[place + 2 + 2 * hole] = m[place + 4 + 2 * hole]
        hole += 1
    m[place + 1 + 2 * hole] = time
    m[place + 2 + 2 * hole] = value
