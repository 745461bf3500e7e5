"""Number of different values over a key's history."""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.stream.windows import layout as at
from fraudstream.stream.windows.kernel_panes import end_of, pane_at, pane_capacity, prefix_of, seen_in_panes
from fraudstream.stream.windows.kernel_summary import count_range, enters, find_value, list_at, list_place


@njit(cache=True, nogil=True)
def values(  # type: ignore[no-untyped-def]
    m, p, q, a, base, capacity, head, hi, panes, pane_head, watermark, borders, event, value, state
):
    """Write the features of one accumulator; ``head``, ``pane_head``: end of what the event sees.

    A large segment's list of the most recently seen values answers, as it was before the first event that is
    later than this one; the events of a small one are read, newest first.
    """
    spans, span_count = p[a + at.A_SPANS], p[a + at.A_SPAN_COUNT]
    column = base + p[q + at.K_FROZEN_WORDS]
    flags, shift = column + p[a + at.A_FLAG] * capacity, p[a + at.A_SHIFT]
    items = column + p[a + at.A_COLUMN] * capacity
    width, longest = p[q + at.K_PREFIX_WORDS], p[q + at.K_LIST_MAX]
    prefix = column + p[q + at.K_WORDS] * capacity + p[a + at.A_PREFIX]
    inside = enters(m, p, a, event)
    current = m[event + p[a + at.A_COLUMN]]
    oldest = m[borders + p[spans + (span_count - 1) * at.SPAN]]
    listed = capacity >= p[at.P_LARGE] and head > oldest
    counts = p[a + at.A_MODE] == at.COUNTED
    # The different values so far: of the list from ``right`` on, or ``length`` of them at ``known``.
    known, length, stride, has_current = m[at.C_SCRATCH] + p[at.P_SCRATCH_SEEN], np.int64(0), 1, False
    place, listed_length, right, current_place = np.int64(0), np.int64(0), np.int64(0), np.int64(-1)
    if listed:
        place, longest = list_place(p, q, base, capacity, p[a + at.A_LIST])
        if head < hi:
            place = list_before(m, p, q, a, base, capacity, place + 1 + 2 * longest, oldest, head)
        listed_length = m[place]
        right = listed_length
        current_place = find_value(m, place, current) if inside == 1 else np.int64(-1)
    n, old = np.int64(0), np.int64(0)
    old_right = np.int64(-1)
    end, pane_end = head, pane_head
    for s in range(spans, spans + span_count * at.SPAN, at.SPAN):
        begin = m[borders + p[s]]
        bound = m[borders + 2 * p[q + at.K_WINDOW_COUNT] + p[s]]
        if listed:
            if counts:
                n += count_between(m, p, flags, shift, prefix, width, begin, end)
            left = np.int64(-1)
            while right - left > 1:
                middle = (left + right) >> 1
                if m[place + 1 + 2 * middle] > bound:
                    right = middle
                else:
                    left = middle
            known, length, stride = place + 2 + 2 * right, listed_length - right, 2
            if current_place >= right:
                has_current = True
        else:
            for i in range(end - 1, begin - 1, -1):
                if shift >= 0 and (m[flags + i] >> shift) & 1 == 0:
                    continue
                n += 1
                if length < longest and not is_among(m, known, length, 1, m[items + i]):
                    m[known + length] = m[items + i]
                    length += 1
                    if m[items + i] == current:
                        has_current = True
        end = begin
        if panes != 0:
            size, pane_begin = pane_capacity(m, panes), m[borders + p[q + at.K_WINDOW_COUNT] + p[s]]
            if pane_begin < pane_end:
                rows = prefix_of(panes, size) + p[a + at.A_PREFIX]
                n += m[rows + pane_end * width] - m[rows + pane_begin * width]
                pane_end = pane_begin
            # Values last seen in the panes, newest first, whatever the event's place among them.
            folded = seen_in_panes(p, q, panes, size, p[a + at.A_LIST])
            if old_right < 0:
                old_right = m[folded]
            while old_right > 0 and in_window(m, p, q, folded, old_right - 1, bound, watermark):
                old_right -= 1
            # Counted anew for each window: a value of a pane may be among the kept events of the wider one.
            old = np.int64(0)
            for i in range(old_right, m[folded]):
                item = m[folded + 2 + 2 * i]
                if not is_among(m, known, length, stride, item):
                    old += 1
                    if item == current:
                        has_current = True
        for f in range(p[s + 1], p[s + 2], at.FEATURE):
            add = inside & p[f + at.F_INCLUDE]
            if n + add >= p[f + at.F_MIN]:
                more = np.int64(0) if has_current else add
                value[p[f + at.F_OUT]] = min(length + old + more, p[f + at.F_MAX])
                state[p[f + at.F_OUT]] = 1


@njit(cache=True, nogil=True)
def list_before(m, p, q, a, base, capacity, marks, oldest, head):  # type: ignore[no-untyped-def]
    """Return where the value list is made as it was before event ``head``: from its last mark up to there.

    Events before ``oldest`` are in no window.
    """
    size, number = 2 + 2 * min(p[q + at.K_LIST_MAX], capacity), m[marks]
    while number > 0 and m[marks + 1 + (number - 1) * size] > head:
        number -= 1
    begin = max(m[marks + 1 + (number - 1) * size], oldest) if number > 0 else oldest
    target = m[at.C_SCRATCH] + p[at.P_SCRATCH_SEEN]
    list_at(m, p, q, a, base, capacity, marks, number, begin, head, target)
    return target


@njit(cache=True, nogil=True)
def count_between(m, p, flags, shift, prefix, width, begin, end):  # type: ignore[no-untyped-def]
    """Count flagged events of [begin, end) of a large segment."""
    if end - begin <= p[at.P_SCAN]:
        return count_range(m, flags, shift, begin, end)
    b, e = (begin + at.BLOCK - 1) >> at.BLOCK_SHIFT, end >> at.BLOCK_SHIFT
    n = m[prefix + e * width] - m[prefix + b * width]
    n += count_range(m, flags, shift, e << at.BLOCK_SHIFT, end)
    return n + count_range(m, flags, shift, begin, b << at.BLOCK_SHIFT)


@njit(cache=True, nogil=True)
def is_among(m, known, length, stride, item):  # type: ignore[no-untyped-def]
    """Return whether an item is among ``length`` words from ``known`` on."""
    for i in range(length):
        if m[known + i * stride] == item:
            return True
    return False


@njit(cache=True, nogil=True)
def in_window(m, p, q, folded, i, bound, watermark):  # type: ignore[no-untyped-def]
    """Return whether the pane of a folded value ends after a window's beginning."""
    time = m[folded + 1 + 2 * i]
    if time > bound:
        return True
    if time + at.DAY_MS <= bound:
        return False
    return end_of(time, pane_at(p, q, time, np.int64(at.MINUTE_MS), 0, watermark)) > bound
