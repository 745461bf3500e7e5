"""Admission in log order: clock skew, duplicates, lateness, watermark.

Entries stand in a ring in log order; one index finds them by id. Of several entries with one id (an id
reused with other content) the one with the latest time is the *head*, found by the id alone; the others
are found by id and content. Entries expire by time, so while one of an id lives, its head lives: one
look-up tells a fresh id, and a producer that repeats one id for ever costs no more than two.

Words of the dedup memory ``d``: control (``D_*``), a place for each piece of the ring (``D_PIECES``), a stack
of pieces that are free, then pieces and index areas. The ring grows and shrinks by pieces: no entry moves.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.stream.windows import layout as at
from fraudstream.stream.windows.kernel_bits import mix31, pointer, prefetch
from fraudstream.stream.windows.kernel_table import (
    TABLE,
    area_of,
    home_of,
    is_sparse,
    move_some,
    put_slot,
    remove_slot,
    slots_of,
)

D_PIECES = 0  # address of the piece for each number of pieces, modulo D_PIECES_MASK + 1
D_PIECES_MASK = 1
D_FREE = 2  # where the stack of free pieces begins
D_FREE_COUNT = 3
D_TAIL = 4  # sequence number of the oldest entry in the ring
D_NEXT = 5  # sequence number of the next entry
D_WATERMARK = 6
D_FIRST = 7  # time of the first admitted event
D_LATENESS = 8
D_SKEW = 9
D_DEDUP = 10
D_HOLD = 11  # first entry that a snapshot under way has still to copy; FOREVER: none
D_COLD = 12  # how many at the bottom of the stack have no memory
D_NEW = 13  # next piece that was never used
D_TIDY = 14  # 1: the store has something to tidy between slices
D_INDEX = 16  # words of the index, a table of ``kernel_table``
DEDUP_CONTROL = D_INDEX + TABLE
EXPIRE_PER_ROW = 4
"""Old entries that a row may let go, so that no batch pays for a whole day."""
MOVES_PER_ROW = 8
"""Slots of a growing index that are moved per row: done long before it is full again."""

E_ID = 0  # two words
E_BODY = 2  # two words
E_TIME = 4
E_OFFSET = 5
E_RESULT = 6  # decision | score << 8
E_HEAD = 7  # 1: found by its id alone
ENTRY = 8
PIECE_SHIFT = 15
PIECE_ENTRIES = 1 << PIECE_SHIFT
PIECE = PIECE_ENTRIES * ENTRY
"""Words of a piece of the ring: 2 MiB."""
SPARE_PIECES = 2
"""Free pieces that keep their memory, beside one for every two in use."""

_DUPLICATE, _ID_REUSE, _LATE, _CLOCK_SKEW = 1, 2, 4, 8
_USED = np.int64(1 << 62)
_HASH = np.int64(0x3FFFFFFF)
_LOW32 = np.int64(0xFFFFFFFF)
_AHEAD = 16
_SALT_ID, _SALT_OTHER = np.int64(1), np.int64(2)
_IN_PIECE = np.int64(PIECE_ENTRIES - 1)
FULL, DONE, TIDY = 0, 1, 2


@njit(inline="always")
def entry_at(d, sequence):  # type: ignore[no-untyped-def]
    """Return the address of an entry by the low bits of its sequence number."""
    piece = d[d[D_PIECES] + ((sequence >> PIECE_SHIFT) & d[D_PIECES_MASK])]
    return piece + (sequence & _IN_PIECE) * ENTRY


@njit(cache=True, nogil=True)
def take_piece(d, sequence):  # type: ignore[no-untyped-def]
    """Give the ring a piece for the entries from ``sequence`` on; the one used last comes first."""
    if d[D_FREE_COUNT] > 0:
        d[D_FREE_COUNT] -= 1
        piece = d[d[D_FREE] + d[D_FREE_COUNT]]
        d[D_COLD] = min(d[D_COLD], d[D_FREE_COUNT])
    else:
        piece = d[D_NEW]
        d[D_NEW] += PIECE
    d[d[D_PIECES] + ((sequence >> PIECE_SHIFT) & d[D_PIECES_MASK])] = piece


@njit(cache=True, nogil=True)
def free_piece(d, sequence):  # type: ignore[no-untyped-def]
    """Take back the piece whose last entry was ``sequence``."""
    d[d[D_FREE] + d[D_FREE_COUNT]] = d[d[D_PIECES] + ((sequence >> PIECE_SHIFT) & d[D_PIECES_MASK])]
    d[D_FREE_COUNT] += 1


@njit(inline="always")
def pieces_in_use(d):  # type: ignore[no-untyped-def]
    """Return how many pieces hold entries."""
    return ((d[D_NEXT] + _IN_PIECE) >> PIECE_SHIFT) - (d[D_TAIL] >> PIECE_SHIFT)


@njit(inline="always")
def has_spare(d):  # type: ignore[no-untyped-def]
    """Return whether more free pieces than needed have memory."""
    return d[D_FREE_COUNT] - d[D_COLD] > SPARE_PIECES + pieces_in_use(d) // 2


@njit(cache=True, nogil=True)
def slot_bits(id_low, id_high, body_low, body_high, is_head):  # type: ignore[no-untyped-def]
    """Return the 30 hash bits under which an entry stands in the index."""
    if is_head:
        return mix31(id_low, id_high, _SALT_ID) & _HASH
    return mix31(id_low ^ body_low, id_high ^ body_high, _SALT_OTHER) & _HASH


@njit(cache=True, nogil=True)
def find_head(d, id_low, id_high):  # type: ignore[no-untyped-def]
    """Return the addresses of (slot, entry) of an id's head; -1 for the entry: there is none."""
    bits = slot_bits(id_low, id_high, 0, 0, True)
    index, mask = area_of(d, D_INDEX, bits)
    slot = bits & mask
    while True:
        word = d[index + slot]
        if word == 0:
            return index + slot, np.int64(-1)
        if (word >> 32) & _HASH == bits:
            entry = entry_at(d, word & _LOW32)
            if d[entry + E_ID] == id_low and d[entry + E_ID + 1] == id_high and d[entry + E_HEAD] == 1:
                return index + slot, entry
        slot = (slot + 1) & mask


@njit(cache=True, nogil=True)
def find_other(d, id_low, id_high, body_low, body_high, horizon):  # type: ignore[no-untyped-def]
    """Return the addresses of (slot, entry) of a remembered id and content that is no head; -1: none."""
    bits = slot_bits(id_low, id_high, body_low, body_high, False)
    index, mask = area_of(d, D_INDEX, bits)
    slot = bits & mask
    while True:
        word = d[index + slot]
        if word == 0:
            return index + slot, np.int64(-1)
        if (word >> 32) & _HASH == bits:
            entry = entry_at(d, word & _LOW32)
            if (
                d[entry + E_ID] == id_low
                and d[entry + E_ID + 1] == id_high
                and d[entry + E_BODY] == body_low
                and d[entry + E_BODY + 1] == body_high
                and d[entry + E_HEAD] == 0
                and d[entry + E_TIME] >= horizon
            ):
                return index + slot, entry
        slot = (slot + 1) & mask


@njit(cache=True, nogil=True)
def index_entry(d, sequence):  # type: ignore[no-untyped-def]
    """Put an entry into the index under its own hash."""
    entry = entry_at(d, sequence)
    bits = slot_bits(
        d[entry + E_ID], d[entry + E_ID + 1], d[entry + E_BODY], d[entry + E_BODY + 1], d[entry + E_HEAD] == 1
    )
    put_slot(d, D_INDEX, bits, _USED | (bits << 32) | (sequence & _LOW32))


@njit(cache=True, nogil=True)
def remember(d, slot, head, id_low, id_high, body_low, body_high, time, offset):  # type: ignore[no-untyped-def]
    """Append an entry and return its sequence number; ``slot``, ``head``: what ``find_head`` said."""
    sequence = d[D_NEXT]
    d[D_NEXT] = sequence + 1
    if sequence & _IN_PIECE == 0:
        take_piece(d, sequence)
    entry = entry_at(d, sequence)
    d[entry + E_ID], d[entry + E_ID + 1] = id_low, id_high
    d[entry + E_BODY], d[entry + E_BODY + 1] = body_low, body_high
    d[entry + E_TIME], d[entry + E_OFFSET], d[entry + E_RESULT] = time, offset, 0
    if head < 0:
        d[entry + E_HEAD] = 1
        bits = slot_bits(id_low, id_high, 0, 0, True)
        d[slot] = _USED | (bits << 32) | (sequence & _LOW32)
    elif time >= d[head + E_TIME]:
        # The new entry takes the old head's slot, the old one moves.
        old = d[slot] & _LOW32
        d[entry + E_HEAD] = 1
        d[slot] = (d[slot] & ~_LOW32) | (sequence & _LOW32)
        d[head + E_HEAD] = 0
        index_entry(d, old)
    else:
        d[entry + E_HEAD] = 0
        index_entry(d, sequence)
    return sequence


@njit(cache=True, nogil=True)
def expire(d, steps):  # type: ignore[no-untyped-def]
    """Let up to ``steps`` entries leave the old end of the ring."""
    horizon = d[D_WATERMARK] - d[D_DEDUP]
    while steps > 0 and d[D_TAIL] < min(d[D_NEXT], d[D_HOLD]):
        sequence = d[D_TAIL]
        entry = entry_at(d, sequence)
        if d[entry + E_TIME] >= horizon:
            return
        bits = slot_bits(
            d[entry + E_ID],
            d[entry + E_ID + 1],
            d[entry + E_BODY],
            d[entry + E_BODY + 1],
            d[entry + E_HEAD] == 1,
        )
        remove_slot(d, D_INDEX, bits, _USED | (bits << 32) | (sequence & _LOW32))
        if sequence & _IN_PIECE == _IN_PIECE:
            free_piece(d, sequence)
        d[D_TAIL] = sequence + 1
        steps -= 1


@njit(cache=True, nogil=True)
def admit(  # type: ignore[no-untyped-def]
    memory,
    values,
    id_column,
    time_column,
    bodies,
    record_times,
    record_offsets,
    start_from,
    row_flags,
    clamped,
    before,
    own,
    firsts,
):
    """Classify rows in log order.

    ``values`` [C, n], ``bodies`` [2, n]; ``row_flags``: uint16 [n]; the other outputs int64 [n]: clamped
    time, watermark before the row, own entry (a duplicate's first, -1 none), offset of the first (-1).
    Returns DONE, TIDY (done, and the store has to tidy) or FULL: nothing was done, ring or index need room.
    """
    d, value, body, record_time = pointer(memory), pointer(values), pointer(bodies), pointer(record_times)
    offsets, flags, times, watermarks = (
        pointer(record_offsets),
        pointer(row_flags),
        pointer(clamped),
        pointer(before),
    )
    entries, first = pointer(own), pointer(firsts)
    rows = len(record_times)
    expire(d, EXPIRE_PER_ROW * rows)
    wanted = d[D_NEXT] - d[D_TAIL] + rows
    if wanted > d[D_PIECES_MASK] * PIECE_ENTRIES or 2 * wanted > slots_of(d, D_INDEX):
        return FULL
    move_some(d, D_INDEX, MOVES_PER_ROW * rows)
    for row in range(rows):
        time = value[time_column * rows + row]
        flag = 0
        if record_time[row] >= 0 and time > record_time[row] + d[D_SKEW]:
            time = record_time[row]
            flag = _CLOCK_SKEW
        watermark = d[D_WATERMARK]
        times[row], watermarks[row], entries[row], first[row] = time, watermark, -1, -1
        horizon = watermark - d[D_DEDUP]
        id_low, id_high = value[id_column * rows + row], value[(id_column + 1) * rows + row]
        body_low, body_high = body[row], body[rows + row]
        slot, head = find_head(d, id_low, id_high)
        place, found = slot, np.int64(-1)
        if head >= 0 and d[head + E_TIME] >= horizon:
            if d[head + E_BODY] == body_low and d[head + E_BODY + 1] == body_high:
                found = head
            else:
                place, found = find_other(d, id_low, id_high, body_low, body_high, horizon)
            if found < 0:
                flag |= _ID_REUSE
        if found >= 0:
            flags[row] = flag | _DUPLICATE
            first[row] = d[found + E_OFFSET]
            entries[row] = d[D_TAIL] + (((d[place] & _LOW32) - d[D_TAIL]) & _LOW32)
            continue
        if time < watermark - d[D_LATENESS]:
            flag |= _LATE
        if offsets[row] >= start_from and time >= horizon:
            entries[row] = remember(d, slot, head, id_low, id_high, body_low, body_high, time, offsets[row])
        if time > watermark:
            d[D_WATERMARK] = time
        if d[D_FIRST] == at.NEVER:
            d[D_FIRST] = time
        flags[row] = flag
    sparse = is_sparse(d, D_INDEX, d[D_NEXT] - d[D_TAIL])
    return TIDY if sparse or d[D_TIDY] != 0 or has_spare(d) else DONE


@njit(cache=True, nogil=True)
def write_results(memory, flags, entries, decision, score):  # type: ignore[no-untyped-def]
    """Put results of non-duplicates into their entries."""
    d = pointer(memory)
    for row in range(len(entries)):
        if entries[row] >= 0 and flags[row] & _DUPLICATE == 0:
            d[entry_at(d, entries[row]) + E_RESULT] = np.int64(decision[row]) | (np.int64(score[row]) << 8)


@njit(cache=True, nogil=True)
def read_results(memory, entries, decision, score):  # type: ignore[no-untyped-def]
    """Read results back; rows without an entry keep what they have."""
    d = pointer(memory)
    for row in range(len(entries)):
        if entries[row] >= 0:
            result = d[entry_at(d, entries[row]) + E_RESULT]
            decision[row] = result & 0xFF
            score[row] = result >> 8


@njit(cache=True, nogil=True)
def live_entries(memory, out):  # type: ignore[no-untyped-def]
    """Copy remembered entries in log order to ``out`` (int64 [k, 7]); return how many."""
    d = pointer(memory)
    horizon = d[D_WATERMARK] - d[D_DEDUP]
    n = 0
    for sequence in range(d[D_TAIL], d[D_NEXT]):
        entry = entry_at(d, sequence)
        if d[entry + E_TIME] >= horizon:
            for i in range(7):
                out[n, i] = d[entry + i]
            n += 1
    return n


@njit(cache=True, nogil=True)
def restore_entries(memory, items):  # type: ignore[no-untyped-def]
    """Append entries of a snapshot."""
    d = pointer(memory)
    for row in range(len(items)):
        ahead = row + _AHEAD
        if ahead < len(items):
            bits = slot_bits(items[ahead, 0], items[ahead, 1], 0, 0, True)
            prefetch(d, home_of(d, D_INDEX, bits))
        slot, head = find_head(d, items[row, 0], items[row, 1])
        sequence = remember(
            d,
            slot,
            head,
            items[row, 0],
            items[row, 1],
            items[row, 2],
            items[row, 3],
            items[row, 4],
            items[row, 5],
        )
        d[entry_at(d, sequence) + E_RESULT] = items[row, 6]
