"""Words for segments: bump allocation, free lists by kind and size, and a move of all that is in use.

Segments that keys have left are used again and stay in memory. Where most of the arena is such segments,
an *evacuation* copies what is in use to fresh words, key by key at the end of slices, and what it left is
given back to the system. While it goes on, the *old* words are read and freed but never taken.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.stream.windows import layout as at
from fraudstream.stream.windows.kernel_bits import pointer

HOLLOW_PARTS, HOLLOW_FREE = 3, 2
"""An evacuation begins where two parts in three of the arena are free."""
FRONT_SHARE = 2
"""It goes to the words before those in use where they are so many times what it has to copy."""


@njit(inline="always")
def is_old(m, base):  # type: ignore[no-untyped-def]
    """Return whether a segment stands in words that are being left."""
    return m[at.C_OLD] <= base < m[at.C_OLD_END]


@njit(cache=True, nogil=True)
def take_words(m, free, words):  # type: ignore[no-untyped-def]
    """Return the address of so many words, from the free list at ``free`` if it has some; -1: exhausted."""
    base = m[free]
    if base != 0:
        m[free] = m[base]
        m[at.C_FREE_WORDS] -= words
        return base
    base = m[at.C_ARENA]
    if base + words > m[at.C_ARENA_END]:
        if m[at.C_ARENA_END] == m[at.C_ARENA_LAST] or m[at.C_OLD_END] + words > m[at.C_ARENA_LAST]:
            return np.int64(-1)
        # The words before the old ones are full: on behind them.
        base = m[at.C_OLD_END]
        m[at.C_ARENA_END] = m[at.C_ARENA_LAST]
        m[at.C_FREE_WORDS] += base - m[at.C_ARENA]
    m[at.C_ARENA] = base + words
    return base


@njit(cache=True, nogil=True)
def free_words(m, free, base, words):  # type: ignore[no-untyped-def]
    """Put a segment of so many words on the free list at ``free``."""
    if not is_old(m, base):
        m[base] = m[free]
        m[free] = base
        m[at.C_FREE_WORDS] += words


@njit(inline="always")
def is_hollow(m):  # type: ignore[no-untyped-def]
    """Return whether an evacuation is worth its while."""
    size = m[at.C_ARENA] - m[at.C_ARENA_BEGIN]
    return (
        size >= m[at.C_HOLLOW_MIN]
        and m[at.C_FREE_WORDS] * HOLLOW_PARTS >= size * HOLLOW_FREE
        and m[at.C_OLD_END] == 0
    )


@njit(cache=True, nogil=True)
def begin_evacuation(memory, first, kinds):  # type: ignore[no-untyped-def]
    """Let all words in use be old ones; ``first``: first word of the arena."""
    m = pointer(memory)
    low, end = m[at.C_ARENA_BEGIN], m[at.C_ARENA]
    used = end - low - m[at.C_FREE_WORDS]
    m[at.C_OLD], m[at.C_OLD_END], m[at.C_MOVED] = low, end, 0
    m[at.C_FREE_WORDS] = 0
    for kind in range(kinds):
        begin = at.CONTROL + kind * at.KIND_STATE
        for i in range(at.FREE_EVENTS, at.EVICTED):
            m[begin + i] = 0
    m[at.C_ARENA_BEGIN] = end
    if low - first >= FRONT_SHARE * used:
        m[at.C_ARENA_BEGIN] = m[at.C_ARENA] = first
        m[at.C_ARENA_END] = low
