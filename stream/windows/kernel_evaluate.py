"""Features of one event over one key's history: windows in rising order, one pass for each accumulator.

The features are first computed without the current event, then it is added where a feature includes it:
of all events of the window it is the last in (time, log) order.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.stream.windows import layout as at
from fraudstream.stream.windows.kernel_average import averages
from fraudstream.stream.windows.kernel_bank import bank
from fraudstream.stream.windows.kernel_distinct import values
from fraudstream.stream.windows.kernel_panes import end_of, pane_at, place_of
from fraudstream.stream.windows.kernel_positions import events
from fraudstream.stream.windows.kernel_segments import first_after
from fraudstream.stream.windows.kernel_sequence import sequences
from fraudstream.stream.windows.kernel_summary import extend_summary

_LOW32 = np.int64(0xFFFFFFFF)
_LOW20 = np.int64((1 << 20) - 1)
_LOW8 = np.int64(0xFF)
_SECOND = np.int64(1_000)


@njit(cache=True, nogil=True)
def evaluate(m, p, q, kind, header, watermark, event, value, state):  # type: ignore[no-untyped-def]
    """Write the features of the kind at q into ``value`` and ``state`` (rows of the feature matrix).

    ``header`` is -1 for a key without history; ``event``: address of the current event's words;
    ``watermark``: before it. Returns whether a window reaches panes of too many events, or a time whose keys
    had to go.
    """
    time = m[event] >> at.TIME_SHIFT
    count = p[q + at.K_WINDOW_COUNT]
    borders = m[at.C_SCRATCH] + p[at.P_SCRATCH_BORDERS]
    base, column, capacity, lo, head, hi, panes = (
        np.int64(0),
        np.int64(0),
        np.int64(0),
        np.int64(0),
        np.int64(0),
        np.int64(0),
        np.int64(0),
    )
    if header >= 0 and m[header + at.H_BASE] >= 0:
        base = m[header + at.H_BASE]
        capacity = at.CAPACITY_MIN << (m[header + at.H_META] & _LOW8)
        lo, hi = m[header + at.H_SPAN] >> 32, m[header + at.H_SPAN] & _LOW32
        panes = m[header + at.H_PANES]
        column = base + p[q + at.K_FROZEN_WORDS]
        head = first_after(m, column, lo, hi, time)
    begin, border, earliest = head, time, time
    for i in range(count):
        window = p[q + at.K_WINDOWS] + i * at.WINDOW
        bound, pane = time - p[window], p[window + 1]
        if pane != 0:
            bound = bound // pane * pane
        if base != 0:
            begin = first_after(m, column, lo, begin if bound <= border else head, bound)
        border = bound
        if i <= p[q + at.K_REACH]:
            earliest = min(earliest, bound)
        m[borders + i] = begin
        m[borders + 2 * count + i] = bound
    if base != 0 and head - lo > p[at.P_SCAN] and capacity >= p[at.P_LARGE]:
        blocks = hi >> at.BLOCK_SHIFT
        if m[header + at.H_VALID] < blocks:
            extend_summary(m, p, q, base, capacity, m[header + at.H_VALID], blocks)
            m[header + at.H_VALID] = blocks
    reaches, pane_head = False, np.int64(0)
    if panes != 0:
        reaches, pane_head = pane_borders(m, p, q, panes, time, watermark, earliest, borders)
    evicted = m[at.CONTROL + kind * at.KIND_STATE + at.EVICTED]
    if evicted != at.NEVER and (earliest < evicted or p[q + at.K_WINDOWLESS] == 1):
        # Unless it has older events, this key may be one that went. Those that nobody can see do not count,
        # whether they have left or not.
        older = panes != 0
        if lo < hi:
            first = first_after(m, column, lo, hi, watermark - p[q + at.K_RETAIN])
            older = older or (first < hi and m[column + first] >> at.TIME_SHIFT <= evicted)
        reaches = reaches or not older
    for number in range(p[q + at.K_ACC_COUNT]):
        a = p[q + at.K_ACCS] + number * at.ACC
        kind_class = p[a + at.A_CLASS]
        if p[a + at.A_SPAN_COUNT] == 0:
            continue  # nobody reads any of its features
        if kind_class == at.CLASS_BANK:
            bank(m, p, q, a, base, capacity, head, panes, pane_head, borders, event, value, state)
        elif kind_class == at.CLASS_EVENTS:
            events(
                m,
                p,
                q,
                a,
                base,
                capacity,
                head,
                panes,
                pane_head,
                watermark,
                borders,
                event,
                value,
                state,
            )
        elif kind_class == at.CLASS_VALUES:
            values(
                m,
                p,
                q,
                a,
                base,
                capacity,
                head,
                hi,
                panes,
                pane_head,
                watermark,
                borders,
                event,
                value,
                state,
            )
        elif kind_class == at.CLASS_SEQUENCE:
            sequences(m, p, q, a, base, capacity, head, borders, event, value, state)
        else:
            averages(m, p, q, a, base, capacity, lo, head, event, value, state)
    return reaches


@njit(cache=True, nogil=True)
def pane_borders(m, p, q, panes, time, watermark, earliest, borders):  # type: ignore[no-untyped-def]
    """Write each window's first pane, and return (reaches panes of too many events, end of the panes)."""
    count = p[q + at.K_WINDOW_COUNT]
    hi = m[panes + at.B_SPAN] & _LOW32
    # A pane is seen whole as soon as the event lies behind its beginning.
    head = place_of(m, panes, time)
    if head < hi:
        word = m[panes + at.PANE_HEAD + head]
        if (word >> at.TIME_SHIFT) - (word & _LOW20) * _SECOND < time:
            head += 1
    for i in range(count):
        bound = m[borders + 2 * count + i]
        # The first pane that ends after the window's beginning.
        m[borders + count + i] = min(place_of(m, panes, bound + 1), head)
    folded = m[panes + at.B_FOLDED]
    if folded == at.NEVER:
        return False, head
    pane = pane_at(p, q, folded, np.int64(at.MINUTE_MS), 0, watermark)
    windowed = p[q + at.K_REACH] >= 0 and end_of(folded, pane) > earliest
    return windowed or (p[q + at.K_WINDOWLESS] == 1 and folded > time), head
