"""The records of a snapshot back into memory; ``kernel_snapshot`` says what there is beside keys."""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.stream.windows import layout as at
from fraudstream.stream.windows.kernel_bits import mix31, pointer, prefetch
from fraudstream.stream.windows.kernel_export import (
    EXPORT,
    X_EVENTS,
    X_HIGH,
    X_KIND,
    X_LAST,
    X_LOW,
    X_PANES,
    X_WORDS,
    restore_events,
    restore_key,
    summarise,
)
from fraudstream.stream.windows.kernel_keys import find_key
from fraudstream.stream.windows.kernel_snapshot import EVENTS, EVENTS_FOLLOW
from fraudstream.stream.windows.kernel_table import home_of

_LOW32 = np.int64(0xFFFFFFFF)
_AHEAD_WORDS = 1 << 9
"""How far ahead records are asked for: a few keys."""


@njit(cache=True, nogil=True)
def restore(memory, plan, words, source):  # type: ignore[no-untyped-def]
    """Rebuild keys up to the next record that is of no key; return where it begins, -1: memory exhausted."""
    m, p = pointer(memory), pointer(plan)
    ahead = source
    while source < len(words):
        # The index slots of the next keys arrive while this one is written.
        while ahead < len(words) and ahead < source + _AHEAD_WORDS:
            kind = words[ahead + X_KIND]
            if kind >= 0:
                bits = mix31(words[ahead + X_LOW], words[ahead + X_HIGH], kind & _LOW32)
                prefetch(m, home_of(m, at.C_INDEX, bits))
            ahead += words[ahead + X_WORDS]
        kind = words[source + X_KIND]
        if kind == EVENTS:
            restore_part(m, p, words, source)
        elif kind < 0:
            return source
        else:
            header = restore_key(m, p, words, source, kind < EVENTS_FOLLOW)
            if header < 0:
                return header
            if kind >= EVENTS_FOLLOW:
                # Counts up to 0 while its events come in.
                m[header + at.H_VALID] = -words[source + X_EVENTS]
        source += words[source + X_WORDS]
    return np.int64(source)


@njit(cache=True, nogil=True)
def restore_part(m, p, words, source):  # type: ignore[no-untyped-def]
    """Enter some of the events of a large key."""
    kind = words[source + X_PANES]
    q = at.P_RECORDS + kind * at.KIND
    header = find_key(m, kind, words[source + X_LOW], words[source + X_HIGH])
    count = words[source + X_EVENTS]
    restore_events(m, p, q, header, words, source + EXPORT, words[source + X_LAST], count)
    m[header + at.H_VALID] += count
    if m[header + at.H_VALID] == 0:
        summarise(m, p, q, header)
