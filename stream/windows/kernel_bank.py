"""Count, sum, mean, deviation, minimum and maximum over a key's history, all needs of a bank at once."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from fraudstream.stream.windows import layout as at
from fraudstream.stream.windows.kernel_bits import bits_of, float_of, variance_sum
from fraudstream.stream.windows.kernel_panes import levels_of, pane_capacity, prefix_of
from fraudstream.stream.windows.kernel_summary import square
from fraudstream.stream.windows.kernel_vectors import add_events, add_levels, add_rows, start_bank


@njit(cache=True, nogil=True)
def bank(m, p, q, a, base, capacity, head, panes, pane_head, borders, event, value, state):  # type: ignore[no-untyped-def]
    """Write the features of one accumulator; ``head``, ``pane_head``: end of what the event sees."""
    column = base + p[q + at.K_FROZEN_WORDS]
    flags, items = column + p[a + at.A_FLAG] * capacity, column + p[a + at.A_COLUMN] * capacity
    width, level_words = p[q + at.K_PREFIX_WORDS], p[q + at.K_LEVEL_WORDS]
    rows = column + p[q + at.K_WORDS] * capacity
    prefix, levels = rows + p[a + at.A_PREFIX], rows + ((capacity >> at.BLOCK_SHIFT) + 1) * width
    mode = p[a + at.A_MODE]
    sums = m[at.C_SCRATCH] + p[at.P_SCRATCH_BANK]
    start_bank(m, sums, mode)
    entered, current = lanes_entered(m, p, a, event), m[event + p[a + at.A_COLUMN]]
    pane_borders = borders + p[q + at.K_WINDOW_COUNT]
    end, pane_end = head, pane_head
    for s in range(p[a + at.A_SPANS], p[a + at.A_SPANS] + p[a + at.A_SPAN_COUNT] * at.SPAN, at.SPAN):
        begin = m[borders + p[s]]
        if end - begin > p[at.P_SCAN] and capacity >= p[at.P_LARGE]:
            b, e = (begin + at.BLOCK - 1) >> at.BLOCK_SHIFT, end >> at.BLOCK_SHIFT
            add_events(m, p, a, flags, items, e << at.BLOCK_SHIFT, end, sums)
            add_events(m, p, a, flags, items, begin, b << at.BLOCK_SHIFT, sums)
            add_rows(m, p, a, prefix, width, b, e, sums)
            if mode == at.BANK_EXTREMES:
                add_levels(m, p, a, levels, level_words, capacity >> at.BLOCK_SHIFT, b, e, sums)
        elif begin < end:
            add_events(m, p, a, flags, items, begin, end, sums)
        end = begin
        if panes != 0 and m[pane_borders + p[s]] < pane_end:
            size, pane_begin = pane_capacity(m, panes), m[pane_borders + p[s]]
            pane_rows = prefix_of(panes, size) + p[a + at.A_PREFIX]
            add_rows(m, p, a, pane_rows, width, pane_begin, pane_end, sums)
            if mode == at.BANK_EXTREMES:
                pane_levels = levels_of(p, q, panes, size)
                add_levels(m, p, a, pane_levels, level_words, size, pane_begin, pane_end, sums)
            pane_end = pane_begin
        write_bank(m, p, p[s + 1], p[s + 2], sums, entered, current, p[a + at.A_SCALE], value, state)


@njit(cache=True, nogil=True)
def lanes_entered(m, p, a, event):  # type: ignore[no-untyped-def]
    """Return one bit for each lane: whether the current event enters it."""
    word, lanes = m[event + p[a + at.A_FLAG]], p[a + at.A_LANES]
    bits = np.int64(0)
    for lane in range(p[a + at.A_WIDTH]):
        bits |= (((word >> p[lanes + lane]) & 1) | p[lanes + at.LANES + lane]) << lane
    return bits


@njit(cache=True, nogil=True)
def write_bank(m, p, first, last, sums, entered, current, scale, value, state):  # type: ignore[no-untyped-def]
    """Write the features [first, last) of one window from a bank's sums.

    ``entered``: the current event's lanes; ``scale``: of a fixed-point value, 0 for integers.
    """
    factor = 1.0 if scale == 0 else float_of(scale)
    for f in range(first, last):
        word = p[f]
        agg, lane = word & at.W_AGG_BITS, (word >> at.W_LANE) & at.W_LANE_BITS
        add = (entered >> lane) & (word >> at.W_INCLUDE) & 1
        out, at_lane = word >> at.W_OUT, sums + lane
        count = m[at_lane] + add
        if count < (word >> at.W_MIN) & at.W_MIN_BITS:
            continue
        if agg == at.AGG_COUNT:
            value[out] = count
            state[out] = 1
            continue
        total = m[at_lane + at.LANES] + add * current
        if agg == at.AGG_SUM:
            value[out] = total if scale == 0 else bits_of(float(total) / factor)
            state[out] = 1
            continue
        if count == 0:
            continue
        state[out] = 1
        if agg == at.AGG_MEAN:
            number = float(total) / float(count)
            value[out] = bits_of(number / factor if scale != 0 else number)
        elif agg == at.AGG_STD:
            more_high, more_low = square(current)
            high, low = m[at_lane + 2 * at.LANES], m[at_lane + 3 * at.LANES]
            spread = variance_sum(count, total, high + add * more_high, low + add * more_low)
            number = math.sqrt(spread) / float(count)
            value[out] = bits_of(number / factor if scale != 0 else number)
        else:
            least = agg == at.AGG_MIN
            result = m[at_lane + (4 if least else 5) * at.LANES]
            if add:
                result = min(result, current) if least else max(result, current)
            value[out] = result if scale == 0 else bits_of(float(result) / factor)
