"""Features of one event over one key's history: windows in rising order, one pass for each accumulator.

The features are first computed without the current event, then it is added where a feature includes it:
of all events of the window it is the last in (time, log) order.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from fraudstream.stream.windows import layout as at
from fraudstream.stream.windows.kernel_bits import bits_of, float_of, variance_sum
from fraudstream.stream.windows.kernel_segments import first_after
from fraudstream.stream.windows.kernel_summary import (
    block_extremes,
    count_range,
    extend_summary,
    find_value,
    first_flagged,
    last_flagged,
    list_place,
    number_range,
    square,
)

_LOW32 = np.int64(0xFFFFFFFF)
_LOW8 = np.int64(0xFF)
_LARGEST = np.int64((1 << 63) - 1)


@njit(cache=True, nogil=True)
def evaluate(m, p, q, header, event, value, state):  # type: ignore[no-untyped-def]
    """Write the features of the kind at q into ``value`` and ``state`` (rows of the feature matrix).

    ``header`` is -1 for a key without history; ``event``: address of the current event's words.
    Returns whether a window reaches events that were dropped.
    """
    time = m[event] >> at.TIME_SHIFT
    borders = m[at.C_SCRATCH] + p[at.P_SCRATCH_BORDERS]
    base, capacity, lo, head, hi = np.int64(0), np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    dropped = np.int64(at.NEVER)
    if header >= 0 and m[header + at.H_BASE] >= 0:
        base = m[header + at.H_BASE]
        capacity = at.CAPACITY_MIN << (m[header + at.H_META] & _LOW8)
        lo, hi = m[header + at.H_SPAN] >> 32, m[header + at.H_SPAN] & _LOW32
        dropped = m[header + at.H_DROPPED]
        column = base + p[q + at.K_FROZEN_WORDS]
        head = first_after(m, column, lo, hi, time)
        begin = head
        for i in range(p[q + at.K_WINDOW_COUNT]):
            begin = first_after(m, column, lo, begin, time - p[p[q + at.K_WINDOWS] + i])
            m[borders + i] = begin
        if head - lo > p[at.P_SCAN] and capacity >= p[at.P_LARGE]:
            blocks = hi >> at.BLOCK_SHIFT
            if m[header + at.H_VALID] < blocks:
                extend_summary(m, p, q, base, capacity, m[header + at.H_VALID], blocks)
                m[header + at.H_VALID] = blocks
    else:
        for i in range(p[q + at.K_WINDOW_COUNT]):
            m[borders + i] = 0
    for number in range(p[q + at.K_ACC_COUNT]):
        a = p[q + at.K_ACCS] + number * at.ACC
        if p[a + at.A_CLASS] == at.CLASS_NUMBERS:
            numbers(m, p, q, a, base, capacity, head, borders, event, value, state)
        elif p[a + at.A_CLASS] == at.CLASS_EVENTS:
            events(m, p, q, a, base, capacity, head, borders, event, value, state)
        else:
            values(m, p, q, a, base, capacity, head, hi, borders, event, value, state)
    return (p[q + at.K_WINDOW_MAX] > 0 and time - p[q + at.K_WINDOW_MAX] < dropped) or (
        p[q + at.K_WINDOWLESS] == 1 and time < dropped
    )


@njit(inline="always")
def enters(m, p, a, event):  # type: ignore[no-untyped-def]
    """Return 1 if the current event has the accumulator's flag, else 0."""
    shift = p[a + at.A_SHIFT]
    return np.int64(1) if shift < 0 else (m[event + p[a + at.A_FLAG]] >> shift) & 1


@njit(cache=True, nogil=True)
def numbers(m, p, q, a, base, capacity, head, borders, event, value, state):  # type: ignore[no-untyped-def]
    """Sum, mean, std, min and max of one accumulator."""
    column = base + p[q + at.K_FROZEN_WORDS]
    flags, shift = column + p[a + at.A_FLAG] * capacity, p[a + at.A_SHIFT]
    items = column + p[a + at.A_COLUMN] * capacity
    width = p[q + at.K_PREFIX_WORDS]
    prefix = column + p[q + at.K_WORDS] * capacity + p[a + at.A_PREFIX]
    levels = column + p[q + at.K_WORDS] * capacity + ((capacity >> at.BLOCK_SHIFT) + 1) * width
    squares = p[a + at.A_SQUARES]
    inside = enters(m, p, a, event)
    current = m[event + p[a + at.A_COLUMN]]
    n, total, high, low = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    least, most = _LARGEST, -_LARGEST
    end = head
    for s in range(p[a + at.A_SPANS], p[a + at.A_SPANS] + p[a + at.A_SPAN_COUNT] * at.SPAN, at.SPAN):
        begin = m[borders + p[s]]
        if end - begin > p[at.P_SCAN] and capacity >= p[at.P_LARGE]:
            b, e = (begin + at.BLOCK - 1) >> at.BLOCK_SHIFT, end >> at.BLOCK_SHIFT
            n, total, high, low, least, most = number_range(
                m, flags, shift, items, e << at.BLOCK_SHIFT, end, squares, n, total, high, low, least, most
            )
            n, total, high, low, least, most = number_range(
                m, flags, shift, items, begin, b << at.BLOCK_SHIFT, squares, n, total, high, low, least, most
            )
            n += m[prefix + e * width] - m[prefix + b * width]
            total += m[prefix + e * width + 1] - m[prefix + b * width + 1]
            high += m[prefix + e * width + 2] - m[prefix + b * width + 2]
            low += m[prefix + e * width + 3] - m[prefix + b * width + 3]
            if p[a + at.A_EXTREME] >= 0:
                least, most = block_extremes(
                    m, levels, capacity, p[q + at.K_EXTREMES], p[a + at.A_EXTREME], b, e, least, most
                )
        else:
            n, total, high, low, least, most = number_range(
                m, flags, shift, items, begin, end, squares, n, total, high, low, least, most
            )
        end = begin
        for f in range(p[s + 1], p[s + 2], at.FEATURE):
            add = inside & p[f + at.F_INCLUDE]
            count = n + add
            agg, out = p[f + at.F_AGG], p[f + at.F_OUT]
            if count < p[f + at.F_MIN] or (count == 0 and agg != at.AGG_SUM):
                continue
            state[out] = 1
            if agg == at.AGG_MIN or agg == at.AGG_MAX:
                result = least if agg == at.AGG_MIN else most
                if add:
                    result = min(result, current) if agg == at.AGG_MIN else max(result, current)
                value[out] = scaled(result, p[f + at.F_SCALE])
            elif agg == at.AGG_SUM:
                value[out] = scaled(total + add * current, p[f + at.F_SCALE])
            else:
                scale = p[f + at.F_SCALE]
                if agg == at.AGG_MEAN:
                    number = float(total + add * current) / float(count)
                else:
                    more_high, more_low = square(current)
                    spread = variance_sum(
                        count, total + add * current, high + add * more_high, low + add * more_low
                    )
                    number = math.sqrt(spread) / float(count)
                value[out] = bits_of(number / float_of(scale) if scale != 0 else number)


@njit(inline="always")
def scaled(number, scale):  # type: ignore[no-untyped-def]
    """Return an integer as it is, or a fixed-point one as binary64."""
    return number if scale == 0 else bits_of(float(number) / float_of(scale))


@njit(cache=True, nogil=True)
def events(m, p, q, a, base, capacity, head, borders, event, value, state):  # type: ignore[no-untyped-def]
    """Count, first, last and the durations since them of one accumulator."""
    column = base + p[q + at.K_FROZEN_WORDS]
    flags, shift = column + p[a + at.A_FLAG] * capacity, p[a + at.A_SHIFT]
    width = p[q + at.K_PREFIX_WORDS]
    prefix = column + p[q + at.K_WORDS] * capacity + p[a + at.A_PREFIX]
    inside = enters(m, p, a, event)
    n, first, last = np.int64(0), np.int64(-1), np.int64(-1)
    end = head
    for s in range(p[a + at.A_SPANS], p[a + at.A_SPANS] + p[a + at.A_SPAN_COUNT] * at.SPAN, at.SPAN):
        begin = m[borders + p[s]]
        if end - begin > p[at.P_SCAN] and capacity >= p[at.P_LARGE]:
            b, e = (begin + at.BLOCK - 1) >> at.BLOCK_SHIFT, end >> at.BLOCK_SHIFT
            more = m[prefix + e * width] - m[prefix + b * width]
            more += count_range(m, flags, shift, e << at.BLOCK_SHIFT, end)
            more += count_range(m, flags, shift, begin, b << at.BLOCK_SHIFT)
            if more > 0 and p[a + at.A_POSITIONS] == 1:
                if last < 0:
                    last = last_match(m, flags, shift, prefix, width, begin, end)
                first = first_match(m, flags, shift, prefix, width, begin, end)
        else:
            more = count_range(m, flags, shift, begin, end)
            if more > 0 and p[a + at.A_POSITIONS] == 1:
                if last < 0:
                    last = last_flagged(m, flags, shift, begin, end)
                first = first_flagged(m, flags, shift, begin, end)
        n += more
        end = begin
        frozen = np.int64(-1)
        if p[a + at.A_FROZEN] >= 0 and base > 0 and p[p[q + at.K_WINDOWS] + p[s]] == at.FOREVER:
            frozen = base + p[a + at.A_FROZEN]
        for f in range(p[s + 1], p[s + 2], at.FEATURE):
            write_event(m, p, a, f, column, capacity, event, inside, n, first, last, frozen, value, state)


@njit(cache=True, nogil=True)
def write_event(m, p, a, f, column, capacity, event, inside, n, first, last, frozen, value, state):  # type: ignore[no-untyped-def]
    """Write one feature of :func:`events`; ``frozen`` is -1 where events that left play no part."""
    time = m[event] >> at.TIME_SHIFT
    add = inside & p[f + at.F_INCLUDE]
    count = n + add
    if frozen >= 0:
        count += m[frozen]
    agg, out = p[f + at.F_AGG], p[f + at.F_OUT]
    if count < p[f + at.F_MIN]:
        return
    if agg == at.AGG_COUNT:
        value[out] = count
        state[out] = 1
        return
    # Where the wanted event is: its position, or among the frozen, or the current one.
    use_frozen, use_current = False, False
    if agg == at.AGG_FIRST or agg == at.AGG_SINCE_FIRST:
        position = first
        if frozen >= 0 and m[frozen] > 0 and m[frozen + 1] <= time:
            use_frozen = position < 0 or m[frozen + 1] <= m[column + position] >> at.TIME_SHIFT
        use_current = position < 0 and not use_frozen and add == 1
    else:
        position = last
        use_current = add == 1
        if not use_current and frozen >= 0 and m[frozen] > 0 and m[frozen + 2] <= time:
            use_frozen = position < 0 or m[frozen + 2] > m[column + position] >> at.TIME_SHIFT
    if use_current:
        found = time
    elif use_frozen:
        found = m[frozen + 1] if agg == at.AGG_FIRST or agg == at.AGG_SINCE_FIRST else m[frozen + 2]
    elif position >= 0:
        found = m[column + position] >> at.TIME_SHIFT
    else:
        return
    if agg == at.AGG_SINCE_FIRST or agg == at.AGG_SINCE_LAST:
        value[out] = time - found
        state[out] = 1
        return
    payload = p[f + at.F_PAYLOAD]
    behind = at.FROZEN_HEAD + (0 if agg == at.AGG_FIRST else p[a + at.A_PAYLOAD])
    for i in range(payload, payload + p[f + at.F_PAYLOAD_COUNT] * at.PAYLOAD, at.PAYLOAD):
        if p[i] < 0:
            word = found
        elif use_current:
            word = m[event + p[i]]
        elif use_frozen:
            word = m[frozen + behind + p[i + 2]]
        else:
            word = m[column + p[i] * capacity + position]
        value[p[i + 1]] = word
        state[p[i + 1]] = 1


@njit(cache=True, nogil=True)
def last_match(m, flags, shift, prefix, width, begin, end):  # type: ignore[no-untyped-def]
    """Return the last flagged position of a long range: partial blocks by eye, whole ones by bisection."""
    b, e = (begin + at.BLOCK - 1) >> at.BLOCK_SHIFT, end >> at.BLOCK_SHIFT
    found = last_flagged(m, flags, shift, e << at.BLOCK_SHIFT, end)
    if found >= 0:
        return found
    target = m[prefix + e * width]
    if m[prefix + b * width] == target:
        return last_flagged(m, flags, shift, begin, b << at.BLOCK_SHIFT)
    left, right = b, e  # the row before a match, the first row at the target
    while right - left > 1:
        middle = (left + right) >> 1
        if m[prefix + middle * width] == target:
            right = middle
        else:
            left = middle
    return last_flagged(m, flags, shift, left << at.BLOCK_SHIFT, right << at.BLOCK_SHIFT)


@njit(cache=True, nogil=True)
def first_match(m, flags, shift, prefix, width, begin, end):  # type: ignore[no-untyped-def]
    """Return the first flagged position of a long range."""
    b, e = (begin + at.BLOCK - 1) >> at.BLOCK_SHIFT, end >> at.BLOCK_SHIFT
    found = first_flagged(m, flags, shift, begin, b << at.BLOCK_SHIFT)
    if found >= 0:
        return found
    target = m[prefix + b * width]
    if m[prefix + e * width] == target:
        return first_flagged(m, flags, shift, e << at.BLOCK_SHIFT, end)
    left, right = b, e  # the last row at the target, a row beyond a match
    while right - left > 1:
        middle = (left + right) >> 1
        if m[prefix + middle * width] == target:
            left = middle
        else:
            right = middle
    return first_flagged(m, flags, shift, left << at.BLOCK_SHIFT, right << at.BLOCK_SHIFT)


@njit(cache=True, nogil=True)
def values(m, p, q, a, base, capacity, head, hi, borders, event, value, state):  # type: ignore[no-untyped-def]
    """Distinct values of one accumulator."""
    spans, span_count = p[a + at.A_SPANS], p[a + at.A_SPAN_COUNT]
    column = base + p[q + at.K_FROZEN_WORDS]
    flags, shift = column + p[a + at.A_FLAG] * capacity, p[a + at.A_SHIFT]
    inside = enters(m, p, a, event)
    current = m[event + p[a + at.A_COLUMN]]
    oldest = m[borders + p[spans + (span_count - 1) * at.SPAN]]
    if head - oldest > p[at.P_SCAN] and capacity >= p[at.P_LARGE] and head == hi:
        listed_values(m, p, q, a, base, capacity, head, borders, event, value, state)
        return
    items = column + p[a + at.A_COLUMN] * capacity
    seen = m[at.C_SCRATCH] + p[at.P_SCRATCH_SEEN]
    n, length, has_current = np.int64(0), np.int64(0), False
    end = head
    longest = p[q + at.K_LIST_MAX]
    for s in range(spans, spans + span_count * at.SPAN, at.SPAN):
        begin = m[borders + p[s]]
        for i in range(end - 1, begin - 1, -1):
            if shift >= 0 and (m[flags + i] >> shift) & 1 == 0:
                continue
            n += 1
            if length == longest:
                continue
            item = m[items + i]
            known = False
            for j in range(length):
                if m[seen + j] == item:
                    known = True
                    break
            if not known:
                m[seen + length] = item
                length += 1
                has_current = has_current or item == current
        end = begin
        for f in range(p[s + 1], p[s + 2], at.FEATURE):
            write_distinct(p, f, inside, n, length, has_current, value, state)


@njit(inline="always")
def write_distinct(p, f, inside, n, length, has_current, value, state):  # type: ignore[no-untyped-def]
    """Write one distinct feature; ``length`` values without the current event."""
    add = inside & p[f + at.F_INCLUDE]
    if n + add >= p[f + at.F_MIN]:
        more = np.int64(0) if has_current else add
        value[p[f + at.F_OUT]] = min(length + more, p[f + at.F_MAX])
        state[p[f + at.F_OUT]] = 1


@njit(cache=True, nogil=True)
def listed_values(m, p, q, a, base, capacity, head, borders, event, value, state):  # type: ignore[no-untyped-def]
    """Distinct values by the list of the most recently seen ones; no kept event is later than this one."""
    time = m[event] >> at.TIME_SHIFT
    column = base + p[q + at.K_FROZEN_WORDS]
    flags, shift = column + p[a + at.A_FLAG] * capacity, p[a + at.A_SHIFT]
    width = p[q + at.K_PREFIX_WORDS]
    prefix = column + p[q + at.K_WORDS] * capacity + p[a + at.A_PREFIX]
    inside = enters(m, p, a, event)
    place, _ = list_place(p, q, base, capacity, p[a + at.A_LIST])
    length = m[place]
    current = find_value(m, place, m[event + p[a + at.A_COLUMN]]) if inside == 1 else np.int64(-1)
    n = np.int64(0)
    end = head
    right = length
    for s in range(p[a + at.A_SPANS], p[a + at.A_SPANS] + p[a + at.A_SPAN_COUNT] * at.SPAN, at.SPAN):
        begin = m[borders + p[s]]
        if end - begin > p[at.P_SCAN]:
            b, e = (begin + at.BLOCK - 1) >> at.BLOCK_SHIFT, end >> at.BLOCK_SHIFT
            n += m[prefix + e * width] - m[prefix + b * width]
            n += count_range(m, flags, shift, e << at.BLOCK_SHIFT, end)
            n += count_range(m, flags, shift, begin, b << at.BLOCK_SHIFT)
        else:
            n += count_range(m, flags, shift, begin, end)
        end = begin
        bound = time - p[p[q + at.K_WINDOWS] + p[s]]
        left = np.int64(-1)
        while right - left > 1:
            middle = (left + right) >> 1
            if m[place + 1 + 2 * middle] > bound:
                right = middle
            else:
                left = middle
        for f in range(p[s + 1], p[s + 2], at.FEATURE):
            write_distinct(p, f, inside, n, length - right, current >= right, value, state)
