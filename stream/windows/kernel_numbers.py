"""Sum, mean, deviation, minimum and maximum over a key's history."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from fraudstream.stream.windows import layout as at
from fraudstream.stream.windows.kernel_bits import bits_of, float_of, variance_sum
from fraudstream.stream.windows.kernel_panes import levels_of, pane_capacity, prefix_of
from fraudstream.stream.windows.kernel_summary import block_extremes, enters, number_range, square

_LARGEST = np.int64((1 << 63) - 1)


@njit(cache=True, nogil=True)
def numbers(m, p, q, a, base, capacity, head, panes, pane_head, borders, event, value, state):  # type: ignore[no-untyped-def]
    """Write the features of one accumulator; ``head``, ``pane_head``: end of what the event sees."""
    column = base + p[q + at.K_FROZEN_WORDS]
    flags, shift = column + p[a + at.A_FLAG] * capacity, p[a + at.A_SHIFT]
    items = column + p[a + at.A_COLUMN] * capacity
    width, extreme, extremes = p[q + at.K_PREFIX_WORDS], p[a + at.A_EXTREME], p[q + at.K_EXTREMES]
    rows = column + p[q + at.K_WORDS] * capacity
    prefix, levels = rows + p[a + at.A_PREFIX], rows + ((capacity >> at.BLOCK_SHIFT) + 1) * width
    squares = p[a + at.A_SQUARES]
    inside = enters(m, p, a, event)
    current = m[event + p[a + at.A_COLUMN]]
    n, total, high, low = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    least, most = _LARGEST, -_LARGEST
    end, pane_end = head, pane_head
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
            n, total, high, low = rows_between(m, prefix, width, b, e, n, total, high, low)
            if extreme >= 0:
                least, most = block_extremes(
                    m, levels, capacity >> at.BLOCK_SHIFT, extremes, extreme, b, e, least, most
                )
        else:
            n, total, high, low, least, most = number_range(
                m, flags, shift, items, begin, end, squares, n, total, high, low, least, most
            )
        end = begin
        if panes != 0 and m[borders + p[q + at.K_WINDOW_COUNT] + p[s]] < pane_end:
            size, pane_begin = pane_capacity(m, panes), m[borders + p[q + at.K_WINDOW_COUNT] + p[s]]
            pane_rows = prefix_of(panes, size) + p[a + at.A_PREFIX]
            n, total, high, low = rows_between(m, pane_rows, width, pane_begin, pane_end, n, total, high, low)
            if extreme >= 0:
                pane_levels = levels_of(p, q, panes, size)
                least, most = block_extremes(
                    m, pane_levels, size, extremes, extreme, pane_begin, pane_end, least, most
                )
            pane_end = pane_begin
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
def rows_between(m, prefix, width, b, e, n, total, high, low):  # type: ignore[no-untyped-def]
    """Add the sums between two prefix rows."""
    begin, end = prefix + b * width, prefix + e * width
    return (
        n + m[end] - m[begin],
        total + m[end + 1] - m[begin + 1],
        high + m[end + 2] - m[begin + 2],
        low + m[end + 3] - m[begin + 3],
    )


@njit(inline="always")
def scaled(number, scale):  # type: ignore[no-untyped-def]
    """Return an integer as it is, or a fixed-point one as binary64."""
    return number if scale == 0 else bits_of(float(number) / float_of(scale))
