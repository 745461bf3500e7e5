"""Admission in log order: clock skew, duplicates, lateness, watermark.

Entries stand in a ring in log order; one index finds them by id. Of several entries with one id (an id
reused with other content) the one with the latest time is the *head*, found by the id alone; the others
are found by id and content. Entries expire by time, so while one of an id lives, its head lives: one
look-up tells a fresh id, and a producer that repeats one id for ever costs no more than two.

Words of the dedup memory ``d``: control (``D_*``), then ring and index areas.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.stream.windows import layout as at
from fraudstream.stream.windows.kernel_bits import mix31, pointer, prefetch

D_RING = 0  # where entries begin
D_RING_MASK = 1
D_INDEX = 2
D_INDEX_MASK = 3
D_TAIL = 4  # sequence number of the oldest entry in the ring
D_NEXT = 5  # sequence number of the next entry
D_WATERMARK = 6
D_FIRST = 7  # time of the first admitted event
D_LATENESS = 8
D_SKEW = 9
D_DEDUP = 10
D_HOLD = 11  # first entry that a snapshot under way has still to copy; FOREVER: none
DEDUP_CONTROL = 16
EXPIRE_PER_ROW = 4
"""Old entries that a row may let go, so that no batch pays for a whole day."""

E_ID = 0  # two words
E_BODY = 2  # two words
E_TIME = 4
E_OFFSET = 5
E_RESULT = 6  # decision | score << 8
E_HEAD = 7  # 1: found by its id alone
ENTRY = 8

_DUPLICATE, _ID_REUSE, _LATE, _CLOCK_SKEW = 1, 2, 4, 8
_USED = np.int64(1 << 62)
_HASH = np.int64(0x3FFFFFFF)
_LOW32 = np.int64(0xFFFFFFFF)
_AHEAD = 16
_SALT_ID, _SALT_OTHER = np.int64(1), np.int64(2)


@njit(inline="always")
def entry_at(d, sequence):  # type: ignore[no-untyped-def]
    """Return the address of an entry by the low bits of its sequence number."""
    return d[D_RING] + (sequence & d[D_RING_MASK]) * ENTRY


@njit(cache=True, nogil=True)
def slot_bits(id_low, id_high, body_low, body_high, is_head):  # type: ignore[no-untyped-def]
    """Return the 30 hash bits under which an entry stands in the index."""
    if is_head:
        return mix31(id_low, id_high, _SALT_ID) & _HASH
    return mix31(id_low ^ body_low, id_high ^ body_high, _SALT_OTHER) & _HASH


@njit(cache=True, nogil=True)
def find_head(d, id_low, id_high):  # type: ignore[no-untyped-def]
    """Return (index slot, entry address) of an id's head; the address is -1 if there is none."""
    bits = slot_bits(id_low, id_high, 0, 0, True)
    index, mask = d[D_INDEX], d[D_INDEX_MASK]
    slot = bits & mask
    while True:
        word = d[index + slot]
        if word == 0:
            return slot, np.int64(-1)
        if (word >> 32) & _HASH == bits:
            entry = entry_at(d, word & _LOW32)
            if d[entry + E_ID] == id_low and d[entry + E_ID + 1] == id_high and d[entry + E_HEAD] == 1:
                return slot, entry
        slot = (slot + 1) & mask


@njit(cache=True, nogil=True)
def find_other(d, id_low, id_high, body_low, body_high, horizon):  # type: ignore[no-untyped-def]
    """Return the address of a remembered entry with this id and content that is not its head, else -1."""
    bits = slot_bits(id_low, id_high, body_low, body_high, False)
    index, mask = d[D_INDEX], d[D_INDEX_MASK]
    slot = bits & mask
    while True:
        word = d[index + slot]
        if word == 0:
            return np.int64(-1)
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
                return entry
        slot = (slot + 1) & mask


@njit(cache=True, nogil=True)
def index_entry(d, sequence):  # type: ignore[no-untyped-def]
    """Put an entry into the index under its own hash."""
    entry = entry_at(d, sequence)
    bits = slot_bits(
        d[entry + E_ID], d[entry + E_ID + 1], d[entry + E_BODY], d[entry + E_BODY + 1], d[entry + E_HEAD] == 1
    )
    index, mask = d[D_INDEX], d[D_INDEX_MASK]
    slot = bits & mask
    while d[index + slot] != 0:
        slot = (slot + 1) & mask
    d[index + slot] = _USED | (bits << 32) | (sequence & _LOW32)


@njit(cache=True, nogil=True)
def remember(d, slot, head, id_low, id_high, body_low, body_high, time, offset):  # type: ignore[no-untyped-def]
    """Append an entry and return its sequence number; ``slot``, ``head``: what ``find_head`` said."""
    sequence = d[D_NEXT]
    d[D_NEXT] = sequence + 1
    entry = entry_at(d, sequence)
    d[entry + E_ID], d[entry + E_ID + 1] = id_low, id_high
    d[entry + E_BODY], d[entry + E_BODY + 1] = body_low, body_high
    d[entry + E_TIME], d[entry + E_OFFSET], d[entry + E_RESULT] = time, offset, 0
    if head < 0:
        d[entry + E_HEAD] = 1
        bits = slot_bits(id_low, id_high, 0, 0, True)
        d[d[D_INDEX] + slot] = _USED | (bits << 32) | (sequence & _LOW32)
    elif time >= d[head + E_TIME]:
        # The new entry takes the old head's slot, the old one moves.
        old = d[d[D_INDEX] + slot] & _LOW32
        d[entry + E_HEAD] = 1
        d[d[D_INDEX] + slot] = (d[d[D_INDEX] + slot] & ~_LOW32) | (sequence & _LOW32)
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
    index, mask = d[D_INDEX], d[D_INDEX_MASK]
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
        wanted = _USED | (bits << 32) | (sequence & _LOW32)
        slot = bits & mask
        while d[index + slot] != wanted:
            slot = (slot + 1) & mask
        gap, probe = slot, slot
        while True:
            probe = (probe + 1) & mask
            word = d[index + probe]
            if word == 0:
                break
            home = ((word >> 32) & _HASH) & mask
            if ((probe - home) & mask) >= ((probe - gap) & mask):
                d[index + gap] = word
                gap = probe
        d[index + gap] = 0
        d[D_TAIL] = sequence + 1
        steps -= 1


@njit(cache=True, nogil=True)
def grow_ring(memory, mask):  # type: ignore[no-untyped-def]
    """Widen the ring in place to ``mask + 1`` entries; the index holds sequence numbers and stays."""
    d = pointer(memory)
    old = d[D_RING_MASK]
    for sequence in range(d[D_TAIL], d[D_NEXT]):
        source, target = sequence & old, sequence & mask
        if source != target:
            for i in range(ENTRY):
                d[d[D_RING] + target * ENTRY + i] = d[d[D_RING] + source * ENTRY + i]
    d[D_RING_MASK] = mask


@njit(cache=True, nogil=True)
def rebuild_index(memory, index, mask):  # type: ignore[no-untyped-def]
    """Fill a fresh index of ``mask + 1`` zero slots."""
    d = pointer(memory)
    d[D_INDEX], d[D_INDEX_MASK] = index, mask
    for sequence in range(d[D_TAIL], d[D_NEXT]):
        index_entry(d, sequence)


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
    Returns False if nothing was done because ring or index need room first.
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
    if wanted > d[D_RING_MASK] + 1 or 2 * wanted > d[D_INDEX_MASK] + 1:
        return False
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
        found = np.int64(-1)
        if head >= 0 and d[head + E_TIME] >= horizon:
            if d[head + E_BODY] == body_low and d[head + E_BODY + 1] == body_high:
                found = head
            else:
                found = find_other(d, id_low, id_high, body_low, body_high, horizon)
            if found < 0:
                flag |= _ID_REUSE
        if found >= 0:
            flags[row] = flag | _DUPLICATE
            first[row] = d[found + E_OFFSET]
            position = (found - d[D_RING]) // ENTRY
            entries[row] = d[D_TAIL] + ((position - d[D_TAIL]) & d[D_RING_MASK])
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
    return True


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
            prefetch(d, d[D_INDEX] + (bits & d[D_INDEX_MASK]))
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
