"""Copies keys out of the old words of the arena (``kernel_arena``): no value depends on where they stand."""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.stream.windows import layout as at
from fraudstream.stream.windows.kernel_arena import is_old
from fraudstream.stream.windows.kernel_panes import move_panes
from fraudstream.stream.windows.kernel_segments import move_segment, prune, resize

_LOW32 = np.int64(0xFFFFFFFF)
_LOW8 = np.int64(0xFF)
KEY_COST = 24
"""What finding a key costs; passing a header by costs 1, a copied word a quarter."""
RESIZED_MAX = 1 << 12
"""Segments of more events are copied as they are: to write their summaries anew takes a slice too long."""


@njit(cache=True, nogil=True)
def evacuate(m, p, watermark, budget):  # type: ignore[no-untyped-def]
    """Go on with an evacuation; ``C_MOVED`` is FOREVER when nothing in use is old. False: memory exhausted.

    It rests while a snapshot is under way.
    """
    if m[at.C_COPY_END] != 0 or m[at.C_LENT] > 0:
        return True
    number = m[at.C_MOVED]
    while budget > 0 and number < m[at.C_USED]:
        header = m[at.C_HEADERS] + number * at.HEADER
        budget -= 1
        if m[header + at.H_META] >= 0 and m[header + at.H_BASE] >= 0:
            words = evacuate_key(m, p, header, watermark)
            if words < 0:
                return False
            budget -= KEY_COST + words // 4
        number += 1
    m[at.C_MOVED] = number if number < m[at.C_USED] else at.FOREVER
    return True


@njit(cache=True, nogil=True)
def evacuate_key(m, p, header, watermark):  # type: ignore[no-untyped-def]
    """Move a key's segments if they are old; return the words copied, -1: memory exhausted."""
    q = at.P_RECORDS + (m[header + at.H_META] >> 8) * at.KIND
    words = np.int64(0)
    if is_old(m, m[header + at.H_BASE]):
        # What nobody can see leaves, and the rest gets a segment no larger than it needs.
        kept = prune(m, p, q, header, watermark - p[q + at.K_RETAIN])
        size_class = m[header + at.H_META] & _LOW8
        smaller = np.int64(0)
        while kept * 4 > (at.CAPACITY_MIN << smaller) * 3:
            smaller += 1
        if smaller < size_class and kept <= RESIZED_MAX:
            if not resize(m, p, q, header, smaller):
                return np.int64(-1)
            words = kept * p[q + at.K_WORDS]
        else:
            words = move_segment(m, p, q, header)
            if words < 0:
                return words
    panes = m[header + at.H_PANES]
    if panes != 0 and is_old(m, panes):
        more = move_panes(m, p, q, header)
        if more < 0:
            return more
        words += more
    return words
