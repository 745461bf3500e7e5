"""Hash tables that change their size while they are used: open addressing, removal by backward shift.

A slot is ``hash bits << 32 | number``, 0: empty. While a table moves, its old area stands beside the new one.
Slots move run by run in the order of the old area, so the old home of a hash says which of the two holds it:
a search looks into one area, never into both, and no step takes longer than what it was asked to move.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.stream.windows.kernel_bits import pointer

T_AREA = 0  # where slots begin
T_MASK = 1  # slots - 1
T_OLD = 2  # the same of the area that slots move from; 0: none do
T_OLD_MASK = 3
T_START = 4  # slot at which moving began, empty at that time
T_DONE = 5  # slots passed since then
TABLE = 6
SPARSE = 8
"""A table with this many slots for each entry is to move to an area half the size."""
LEAST = 1 << 12
"""Slots of the smallest table."""


@njit(inline="always")
def area_of(m, t, bits):  # type: ignore[no-untyped-def]
    """Return (area, slots - 1) in which a hash stands; ``t``: where the table's words are."""
    area, mask = m[t + T_AREA], m[t + T_MASK]
    if m[t + T_OLD] != 0:
        old = m[t + T_OLD_MASK]
        if ((bits & old) - m[t + T_START]) & old >= m[t + T_DONE]:
            area, mask = m[t + T_OLD], old
    return area, mask


@njit(inline="always")
def home_of(m, t, bits):  # type: ignore[no-untyped-def]
    """Return the address of the slot at which the search for a hash begins."""
    area, mask = area_of(m, t, bits)
    return area + (bits & mask)


@njit(inline="always")
def slots_of(m, t):  # type: ignore[no-untyped-def]
    """Return the slots of the area in use, or that slots move to."""
    return m[t + T_MASK] + 1


@njit(inline="always")
def is_sparse(m, t, entries):  # type: ignore[no-untyped-def]
    """Return whether a table with so many entries is to move to an area half the size."""
    return entries * SPARSE <= m[t + T_MASK] and m[t + T_MASK] >= LEAST and m[t + T_OLD] == 0


@njit(inline="always")
def move_some(m, t, steps):  # type: ignore[no-untyped-def]
    """Move about so many slots if the table moves."""
    if m[t + T_OLD] != 0:
        move_slots(m, t, steps)


@njit(cache=True, nogil=True)
def put_slot(m, t, bits, word):  # type: ignore[no-untyped-def]
    """Write a slot; the table has room."""
    area, mask = area_of(m, t, bits)
    slot = bits & mask
    while m[area + slot] != 0:
        slot = (slot + 1) & mask
    m[area + slot] = word


@njit(cache=True, nogil=True)
def remove_slot(m, t, bits, word):  # type: ignore[no-untyped-def]
    """Empty a slot and move later ones back, so that no search meets a gap."""
    area, mask = area_of(m, t, bits)
    gap = bits & mask
    while m[area + gap] != word:
        gap = (gap + 1) & mask
    probe = gap
    while True:
        probe = (probe + 1) & mask
        word = m[area + probe]
        if word == 0:
            break
        home = (word >> 32) & mask
        if ((probe - home) & mask) >= ((probe - gap) & mask):
            m[area + gap] = word
            gap = probe
    m[area + gap] = 0


@njit(cache=True, nogil=True)
def begin_move(memory, t, area, mask):  # type: ignore[no-untyped-def]
    """Let a table move to ``mask + 1`` zero slots; it does not move yet, and half of its slots are empty."""
    m = pointer(memory)
    start = np.int64(0)
    while m[m[t + T_AREA] + start] != 0:
        start += 1
    m[t + T_OLD], m[t + T_OLD_MASK] = m[t + T_AREA], m[t + T_MASK]
    m[t + T_AREA], m[t + T_MASK] = area, mask
    m[t + T_START], m[t + T_DONE] = start, 1


@njit(cache=True, nogil=True)
def move_slots(m, t, steps):  # type: ignore[no-untyped-def]
    """Move about so many slots of a table that moves: to the end of the run they end in."""
    old, old_mask, start, done = m[t + T_OLD], m[t + T_OLD_MASK], m[t + T_START], m[t + T_DONE]
    area, mask = m[t + T_AREA], m[t + T_MASK]
    until = done + steps
    # The last run may reach over the slot at which moving began.
    while done <= old_mask and done < until:
        slot = old + ((start + done) & old_mask)
        word = m[slot]
        done += 1
        while word != 0:
            place = (word >> 32) & mask
            while m[area + place] != 0:
                place = (place + 1) & mask
            m[area + place] = word
            m[slot] = 0
            slot = old + ((start + done) & old_mask)
            word = m[slot]
            done += 1
    m[t + T_DONE] = done
    if done > old_mask:
        m[t + T_OLD] = 0


@njit(cache=True, nogil=True)
def finish_move(memory, t):  # type: ignore[no-untyped-def]
    """Move all that is left."""
    m = pointer(memory)
    if m[t + T_OLD] != 0:
        move_slots(m, t, m[t + T_OLD_MASK] + 1)
