"""Sequences over a key's history: whether the earlier steps came in order, with nothing that begins it anew.

The steps are looked for from the last to the first, each as late as can be. If any choice of events keeps the
order, this one does, and its first step is the latest possible: no other choice can be inside the window, or
free of an ``unless``, where this one is not.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.stream.windows import layout as at
from fraudstream.stream.windows.kernel_positions import last_match
from fraudstream.stream.windows.kernel_summary import last_flagged


@njit(cache=True, nogil=True)
def sequences(m, p, q, a, base, capacity, head, borders, event, value, state):  # type: ignore[no-untyped-def]
    """Write the sequences of a kind; ``head``: end of the events before the current one."""
    for s in range(p[a + at.A_SPANS], p[a + at.A_SPANS] + p[a + at.A_SPAN_COUNT] * at.SPAN, at.SPAN):
        begin = m[borders + p[s]]
        for f in range(p[s + 1], p[s + 2], at.FEATURE):
            out = p[f + at.F_OUT]
            state[out] = 1
            if base != 0:
                value[out] = complete(m, p, q, f, base, capacity, begin, head, event)


@njit(cache=True, nogil=True)
def complete(m, p, q, f, base, capacity, begin, head, event):  # type: ignore[no-untyped-def]
    """Return 1 if all steps of a sequence are among the events [begin, head), else 0."""
    unless = p[f + at.F_UNLESS]
    if unless >= 0 and (m[event + p[unless]] >> p[unless + 1]) & 1 != 0:
        return np.int64(0)
    steps = p[f + at.F_PAYLOAD]
    found = head
    for i in range(p[f + at.F_PAYLOAD_COUNT] - 1, -1, -1):
        found = last_before(m, p, q, steps + i * at.FLAG_PLACE, base, capacity, begin, found)
        if found < 0:
            return np.int64(0)
    if unless >= 0 and last_before(m, p, q, unless, base, capacity, found + 1, head) >= 0:
        return np.int64(0)
    return np.int64(1)


@njit(cache=True, nogil=True)
def last_before(m, p, q, place, base, capacity, begin, end):  # type: ignore[no-untyped-def]
    """Return the last of the events [begin, end) with the flag described at ``place``, -1: none."""
    column = base + p[q + at.K_FROZEN_WORDS]
    flags, shift = column + p[place] * capacity, p[place + 1]
    if end - begin > p[at.P_SCAN] and capacity >= p[at.P_LARGE]:
        prefix = column + p[q + at.K_WORDS] * capacity + p[place + 2]
        return last_match(m, flags, shift, prefix, p[q + at.K_PREFIX_WORDS], begin, end)
    return last_flagged(m, flags, shift, begin, end)
