"""Count, first, last and the durations since them over a key's history."""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.stream.windows import layout as at
from fraudstream.stream.windows.kernel_panes import pane_capacity, prefix_of, records_of
from fraudstream.stream.windows.kernel_summary import count_range, enters, first_flagged, last_flagged


@njit(cache=True, nogil=True)
def events(  # type: ignore[no-untyped-def]
    m, p, q, a, base, capacity, head, panes, pane_head, watermark, borders, event, value, state
):
    """Write the features of one accumulator; ``head``, ``pane_head``: end of what the event sees."""
    column = base + p[q + at.K_FROZEN_WORDS]
    flags, shift = column + p[a + at.A_FLAG] * capacity, p[a + at.A_SHIFT]
    width = p[q + at.K_PREFIX_WORDS]
    prefix = column + p[q + at.K_WORDS] * capacity + p[a + at.A_PREFIX]
    inside = enters(m, p, a, event)
    n, folded, first, last = np.int64(0), np.int64(0), np.int64(-1), np.int64(-1)
    # Records of the earliest and the latest match among events that left the segment, -1: none.
    early, late = np.int64(-1), np.int64(-1)
    end, pane_end = head, pane_head
    for s in range(p[a + at.A_SPANS], p[a + at.A_SPANS] + p[a + at.A_SPAN_COUNT] * at.SPAN, at.SPAN):
        begin = m[borders + p[s]]
        if end - begin > p[at.P_SCAN] and capacity >= p[at.P_LARGE]:
            b, e = (begin + at.BLOCK - 1) >> at.BLOCK_SHIFT, end >> at.BLOCK_SHIFT
            more = m[prefix + e * width] - m[prefix + b * width]
            more += count_range(m, flags, shift, e << at.BLOCK_SHIFT, end)
            more += count_range(m, flags, shift, begin, b << at.BLOCK_SHIFT)
            if more > 0 and p[a + at.A_POSITION] >= 0:
                if last < 0:
                    last = last_match(m, flags, shift, prefix, width, begin, end)
                first = first_match(m, flags, shift, prefix, width, begin, end)
        else:
            more = count_range(m, flags, shift, begin, end)
            if more > 0 and p[a + at.A_POSITION] >= 0:
                if last < 0:
                    last = last_flagged(m, flags, shift, begin, end)
                first = first_flagged(m, flags, shift, begin, end)
        n += more
        end = begin
        forever = p[p[q + at.K_WINDOWS] + p[s] * at.WINDOW] == at.FOREVER
        if forever:
            folded = np.int64(0)  # the record counts them
            if base != 0:
                early = base + p[a + at.A_FROZEN]
                late = early
        elif panes != 0 and m[borders + p[q + at.K_WINDOW_COUNT] + p[s]] < pane_end:
            pane_begin = m[borders + p[q + at.K_WINDOW_COUNT] + p[s]]
            size = pane_capacity(m, panes)
            rows = prefix_of(panes, size) + p[a + at.A_PREFIX]
            more = m[rows + pane_end * width] - m[rows + pane_begin * width]
            if more > 0 and p[a + at.A_POSITION] >= 0:
                records = records_of(p, q, panes, size) + p[a + at.A_POSITION]
                words = p[q + at.K_POSITION_WORDS]
                early = records + first_row(m, rows, width, pane_begin, pane_end) * words
                if late < 0:
                    late = records + last_row(m, rows, width, pane_begin, pane_end) * words
            folded += more
            pane_end = pane_begin
        for f in range(p[s + 1], p[s + 2], at.FEATURE):
            write_event(
                m,
                p,
                a,
                f,
                column,
                capacity,
                event,
                inside,
                n + folded,
                first,
                last,
                early,
                late,
                forever,
                watermark - p[q + at.K_AGE],
                value,
                state,
            )


@njit(cache=True, nogil=True)
def write_event(  # type: ignore[no-untyped-def]
    m, p, a, f, column, capacity, event, inside, n, first, last, early, late, forever, settled, value, state
):
    """Write one feature of :func:`events`.

    What left is earlier than what is kept. In a pane it is seen whole; without a window (``forever``) its
    first and last event are known with their times, and one later than the current event is not there yet:
    it hides the events up to ``settled``, which may have left without a trace.
    """
    time = m[event] >> at.TIME_SHIFT
    add = inside & p[f + at.F_INCLUDE]
    count = n + add
    if forever and early >= 0:
        count += m[early + at.R_COUNT]
    agg, out = p[f + at.F_AGG], p[f + at.F_OUT]
    if count < p[f + at.F_MIN]:
        return
    if agg == at.AGG_COUNT:
        value[out] = count
        state[out] = 1
        return
    # Where the wanted event is: its position, or the record of those that left, or the current one.
    is_first = agg == at.AGG_FIRST or agg == at.AGG_SINCE_FIRST
    record = early if is_first else late
    moment = record + (at.R_FIRST if is_first else at.R_LAST)
    there = record >= 0 and m[record + at.R_COUNT] > 0 and (not forever or m[moment] <= time)
    if is_first:
        position = first
        use_record = there and (position < 0 or m[moment] <= m[column + position] >> at.TIME_SHIFT)
        use_current = position < 0 and not use_record and add == 1
    else:
        position = last
        hidden = forever and record >= 0 and m[record + at.R_COUNT] > 0 and m[moment] > time
        if hidden and position >= 0 and m[column + position] >> at.TIME_SHIFT <= settled:
            position = np.int64(-1)
        use_current = add == 1
        use_record = not use_current and there
        use_record = use_record and (position < 0 or m[moment] > m[column + position] >> at.TIME_SHIFT)
    if use_current:
        found = time
    elif use_record:
        found = m[moment]
    elif position >= 0:
        found = m[column + position] >> at.TIME_SHIFT
    else:
        return
    if agg == at.AGG_SINCE_FIRST or agg == at.AGG_SINCE_LAST:
        value[out] = max(time - found, 0)
        state[out] = 1
        return
    payload = p[f + at.F_PAYLOAD]
    behind = at.R_PAYLOAD + (0 if is_first else p[a + at.A_PAYLOAD_COUNT])
    for i in range(payload, payload + p[f + at.F_PAYLOAD_COUNT] * at.PAYLOAD, at.PAYLOAD):
        if p[i] < 0:
            word = found
        elif use_current:
            word = m[event + p[i]]
        elif use_record:
            word = m[record + behind + p[i + 2]]
        else:
            word = m[column + p[i] * capacity + position]
        value[p[i + 1]] = word
        state[p[i + 1]] = 1


@njit(cache=True, nogil=True)
def last_row(m, prefix, width, b, e):  # type: ignore[no-untyped-def]
    """Return the last of the rows [b, e) in which a count rises; it does in one."""
    target = m[prefix + e * width]
    left, right = b, e  # the row before a match, the first row at the target
    while right - left > 1:
        middle = (left + right) >> 1
        if m[prefix + middle * width] == target:
            right = middle
        else:
            left = middle
    return left


@njit(cache=True, nogil=True)
def first_row(m, prefix, width, b, e):  # type: ignore[no-untyped-def]
    """Return the first of the rows [b, e) in which a count rises; it does in one."""
    target = m[prefix + b * width]
    left, right = b, e  # the last row at the target, a row beyond a match
    while right - left > 1:
        middle = (left + right) >> 1
        if m[prefix + middle * width] == target:
            left = middle
        else:
            right = middle
    return left


@njit(cache=True, nogil=True)
def last_match(m, flags, shift, prefix, width, begin, end):  # type: ignore[no-untyped-def]
    """Return the last flagged position of a long range: partial blocks by eye, whole ones by bisection."""
    b, e = (begin + at.BLOCK - 1) >> at.BLOCK_SHIFT, end >> at.BLOCK_SHIFT
    found = last_flagged(m, flags, shift, e << at.BLOCK_SHIFT, end)
    if found >= 0:
        return found
    if m[prefix + b * width] == m[prefix + e * width]:
        return last_flagged(m, flags, shift, begin, b << at.BLOCK_SHIFT)
    block = last_row(m, prefix, width, b, e)
    return last_flagged(m, flags, shift, block << at.BLOCK_SHIFT, (block + 1) << at.BLOCK_SHIFT)


@njit(cache=True, nogil=True)
def first_match(m, flags, shift, prefix, width, begin, end):  # type: ignore[no-untyped-def]
    """Return the first flagged position of a long range."""
    b, e = (begin + at.BLOCK - 1) >> at.BLOCK_SHIFT, end >> at.BLOCK_SHIFT
    found = first_flagged(m, flags, shift, begin, b << at.BLOCK_SHIFT)
    if found >= 0:
        return found
    if m[prefix + b * width] == m[prefix + e * width]:
        return first_flagged(m, flags, shift, e << at.BLOCK_SHIFT, end)
    block = first_row(m, prefix, width, b, e)
    return first_flagged(m, flags, shift, block << at.BLOCK_SHIFT, (block + 1) << at.BLOCK_SHIFT)
