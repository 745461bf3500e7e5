"""Moving averages over a key's history."""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.stream.windows import layout as at
from fraudstream.stream.windows.kernel_bits import bits_of, float_of
from fraudstream.stream.windows.kernel_records import average_over, average_with, load_average
from fraudstream.stream.windows.kernel_summary import enters


@njit(cache=True, nogil=True)
def averages(m, p, q, a, base, capacity, lo, head, event, value, state):  # type: ignore[no-untyped-def]
    """Write the features of one accumulator: what left, the events up to ``head``, then the current one."""
    n, newest, weight, total = np.int64(0), np.int64(0), 0.0, 0.0
    half_life = p[a + at.A_HALF_LIFE]
    if base != 0:
        column = base + p[q + at.K_FROZEN_WORDS]
        n, newest, weight, total = load_average(m, base + p[a + at.A_FROZEN])
        begin = lo
        if head - lo > p[at.P_SCAN] and capacity >= p[at.P_LARGE]:
            begin = head >> at.BLOCK_SHIFT << at.BLOCK_SHIFT
            prefix = column + p[q + at.K_WORDS] * capacity + p[a + at.A_PREFIX]
            row = prefix + (head >> at.BLOCK_SHIFT) * p[q + at.K_PREFIX_WORDS]
            n, newest, weight, total = load_average(m, row)
        n, newest, weight, total = average_over(
            m,
            column + p[a + at.A_FLAG] * capacity,
            p[a + at.A_SHIFT],
            column + p[a + at.A_COLUMN] * capacity,
            column,
            begin,
            head,
            half_life,
            n,
            newest,
            weight,
            total,
        )
    span = p[a + at.A_SPANS]
    time, current, inside = m[event] >> at.TIME_SHIFT, m[event + p[a + at.A_COLUMN]], enters(m, p, a, event)
    with_n, _, with_weight, with_total = average_with(n, newest, weight, total, time, current, half_life)
    for f in range(p[span + 1], p[span + 2], at.FEATURE):
        count, w, x = n, weight, total
        if inside & p[f + at.F_INCLUDE] == 1:
            count, w, x = with_n, with_weight, with_total
        if count == 0 or count < p[f + at.F_MIN]:
            continue
        scale = p[f + at.F_SCALE]
        value[p[f + at.F_OUT]] = bits_of(x / w / float_of(scale) if scale != 0 else x / w)
        state[p[f + at.F_OUT]] = 1
