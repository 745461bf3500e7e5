"""Blast-radius limits: events that a rule looked at and blocked, counted in panes of event time.

Layout, int64, C-contiguous, written by :mod:`fraudstream.stream.brakes`; row i is the i-th limited rule::

    plan  [L, 5]  output of event type and interval, pane in ms, blocks per million, least events, first act
    acts  [A]     outputs on which rules block, rule by rule; a rule's end at the next one's first
    state [L, STATE]

A window is ``PANES`` panes up to the newest that an event has opened. An older event is not counted.
"""

from __future__ import annotations

import numpy as np
from numba import njit

PANES = 10
NEWEST, TRIPPED, SEEN, BLOCKED = 0, 1, 2, 2 + PANES
STATE = 2 + 2 * PANES
NOTHING = -(1 << 62)
"""No pane yet; not tripped."""
_ONE, _ZERO = np.uint64(1), np.uint64(0)


@njit(cache=True, nogil=True)
def judge(true, counted, as_of, plan, acts, state, limited):  # type: ignore[no-untyped-def]
    """Count the counted rows in log order and mark those whose block is limited.

    Args:
        true: uint64 [outputs, W] masks.
        counted: uint64 [W].
        as_of: int64 [n] event times, ms.
        plan: of the limited rules.
        acts: their outputs.
        state: advanced.
        limited: uint64 [L, W], written.
    """
    words, n = len(counted), len(as_of)
    least, most = np.empty(words, np.int64), np.empty(words, np.int64)
    for w in range(words):
        least[w], most[w] = as_of[64 * w], as_of[64 * w]
        for row in range(64 * w + 1, min(n, 64 * w + 64)):
            least[w], most[w] = min(least[w], as_of[row]), max(most[w], as_of[row])
    for at in range(len(plan)):
        pane, first = plan[at, 1], plan[at, 4]
        end = plan[at + 1, 4] if at + 1 < len(plan) else len(acts)
        one = state[at]
        for w in range(words):
            limited[at, w] = _ZERO
            seen = true[plan[at, 0], w] & counted[w]
            if seen == _ZERO:
                continue
            acting = _ZERO
            for i in range(first, end):
                acting |= true[acts[i], w]
            acting &= counted[w]
            if one[TRIPPED] != NOTHING:
                limited[at, w] = acting
            if acting == _ZERO and least[w] // pane == most[w] // pane:
                number = least[w] // pane
                if number > one[NEWEST]:
                    move(one, number)
                if number > one[NEWEST] - PANES:
                    one[SEEN + number % PANES] += ones(seen)
                continue
            for row in range(64 * w, min(n, 64 * w + 64)):
                bit = _ONE << np.uint64(row & 63)
                if seen & bit == _ZERO:
                    continue
                number = as_of[row] // pane
                if number > one[NEWEST]:
                    move(one, number)
                elif number <= one[NEWEST] - PANES:
                    continue
                one[SEEN + number % PANES] += 1
                if acting & bit == _ZERO:
                    continue
                one[BLOCKED + number % PANES] += 1
                if one[TRIPPED] == NOTHING and beyond(one, plan[at, 2], plan[at, 3]):
                    one[TRIPPED] = as_of[row]
                    # This block and those behind it.
                    limited[at, w] = acting & ~(bit - _ONE)


@njit(inline="always")
def ones(word):  # type: ignore[no-untyped-def]
    """Return how many bits of a uint64 are set."""
    word -= (word >> np.uint64(1)) & np.uint64(0x5555555555555555)
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@njit(cache=True, nogil=True)
def move(one, number):  # type: ignore[no-untyped-def]
    """Open a pane: what lies between it and the newest is empty."""
    for back in range(min(number - one[NEWEST], PANES) if one[NEWEST] != NOTHING else PANES):
        one[SEEN + (number - back) % PANES] = 0
        one[BLOCKED + (number - back) % PANES] = 0
    one[NEWEST] = number


@njit(cache=True, nogil=True)
def beyond(one, ppm, least):  # type: ignore[no-untyped-def]
    """Return whether the share of blocks is above what is allowed."""
    seen, blocked = np.int64(0), np.int64(0)
    for i in range(PANES):
        seen += one[SEEN + i]
        blocked += one[BLOCKED + i]
    return seen >= least and blocked * 1_000_000 > ppm * seen
