"""The windows' step: features of a batch of events, and the events put into their keys' histories."""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.stream.windows import layout as at
from fraudstream.stream.windows.kernel_arena import is_hollow
from fraudstream.stream.windows.kernel_bits import (
    float_of,
    hash_words,
    mix31,
    pointer,
    pointer_from,
    prefetch,
)
from fraudstream.stream.windows.kernel_evacuate import evacuate
from fraudstream.stream.windows.kernel_evaluate import evaluate
from fraudstream.stream.windows.kernel_insert import insert
from fraudstream.stream.windows.kernel_keys import add_key, find_key, guess_header, remove_key
from fraudstream.stream.windows.kernel_panes import free_panes, settle
from fraudstream.stream.windows.kernel_segments import free_segment
from fraudstream.stream.windows.kernel_snapshot import call_in, save_key
from fraudstream.stream.windows.kernel_table import home_of, is_sparse, move_some, slots_of

_LOW8 = np.int64(0xFF)
_LOW32 = np.int64(0xFFFFFFFF)
_ABSENT = np.int64(-2)
_AHEAD, _AHEAD_HEADER, _AHEAD_EVENTS = 24, 16, 8
SWEEP_PER_ROW = 2  # keys looked at for eviction per row and kind
MOVES_PER_KEY = 8
"""Slots of a growing index that are moved per row and kind: done long before it is full again."""
EVACUATED_PER_KEY, EVACUATED_MIN = 24, 4096
"""What an evacuation costs per row and kind, and at least for each slice (see ``kernel_evacuate``)."""
DONE, GROW, EXHAUSTED, TIDY = 0, 1, 2, 3
_SKIPPED = np.uint16(1 | 4)  # Flag.DUPLICATE, Flag.LATE
HELD = 1 << 15
"""Beside the flags of a row: its features are wanted, it does not enter (simulations)."""
_HELD = np.uint16(HELD)


@njit(cache=True, nogil=True)
def key_of(m, p, q, row, rows, value, state):  # type: ignore[no-untyped-def]
    """Return (present, low, high) of a row's key: in full up to two words, else hashed."""
    words, listed = p[q + at.K_KEY_WORDS], p[q + at.K_KEY]
    for i in range(words):
        if state[p[listed + i] * rows + row] == 0:
            return False, np.int64(0), np.int64(0)
    if words == 1:
        return True, value[p[listed] * rows + row], np.int64(0)
    if words == 2:
        return True, value[p[listed] * rows + row], value[p[listed + 1] * rows + row]
    scratch = m[at.C_SCRATCH]
    for i in range(words):
        m[scratch + i] = value[p[listed + i] * rows + row]
    low, high = hash_words(m, scratch, words)
    return True, low, high


@njit(cache=True, nogil=True)
def event_words(m, p, q, row, rows, time, value, state, filters):  # type: ignore[no-untyped-def]
    """Write the current event's words to scratch; return whether a value was clamped."""
    event = m[at.C_SCRATCH]
    for i in range(p[q + at.K_FLAG_WORDS] + 1):
        m[event + i] = 0
    m[event] = time << at.TIME_SHIFT
    word, bit, words = row >> 6, np.uint64(row & 63), (rows + 63) >> 6
    for number in range(p[q + at.K_NEED_COUNT]):
        need = p[q + at.K_NEEDS] + number * at.NEED
        filter_number = p[need + at.N_FILTER]
        if filter_number >= 0 and (filters[filter_number * words + word] >> bit) & np.uint64(1) == np.uint64(
            0
        ):
            continue
        listed = p[need + at.N_PRESENT]
        present = True
        for i in range(p[need + at.N_PRESENT_COUNT]):
            if state[p[listed + i] * rows + row] == 0:
                present = False
                break
        if present:
            if number < at.TIME_SHIFT:
                m[event] |= np.int64(1) << number
            else:
                beyond = number - at.TIME_SHIFT
                m[event + 1 + beyond // at.FLAGS_PER_WORD] |= np.int64(1) << (beyond % at.FLAGS_PER_WORD)
    clamped = False
    target = event + 1 + p[q + at.K_FLAG_WORDS]
    for number in range(p[q + at.K_COLUMN_COUNT]):
        column = p[q + at.K_COLUMNS] + number * at.COLUMN
        source, mode = p[column + at.V_ROW], p[column + at.V_MODE]
        item = value[source * rows + row]
        if mode == at.MODE_INTEGER:
            if item > at.VALUE_MAX or item < -at.VALUE_MAX:
                clamped = True
                item = min(max(item, -at.VALUE_MAX), at.VALUE_MAX)
        elif mode == at.MODE_FIXED:
            exact = np.rint(float_of(item) * float_of(p[column + at.V_SCALE]))
            if abs(exact) > float(at.VALUE_MAX):
                clamped = True
                exact = float(at.VALUE_MAX) if exact > 0 else float(-at.VALUE_MAX)
            item = np.int64(exact)
        elif mode == at.MODE_PAIR:
            m[target + number] = item
            # The second word's place is free until the next column is written.
            m[target + number + 1] = value[(source + 1) * rows + row]
            item, _ = hash_words(m, target + number, 2)
        elif mode == at.MODE_TIME:
            item = time
        m[target + number] = item
    return clamped


@njit(cache=True, nogil=True)
def forget_key(m, p, header):  # type: ignore[no-untyped-def]
    """Remove a key and everything it holds."""
    kind = m[header + at.H_META] >> 8
    q = at.P_RECORDS + kind * at.KIND
    free_panes(m, p, q, header)
    if m[header + at.H_BASE] >= 0:
        call_in(m, p, m[header + at.H_BASE], 0)
        m[at.C_EVENTS] -= (m[header + at.H_SPAN] & _LOW32) - (m[header + at.H_SPAN] >> 32)
        free_segment(m, p, q, kind, m[header + at.H_META] & _LOW8, m[header + at.H_BASE])
    remove_key(m, header)


@njit(inline="always")
def prefetch_events(m, p, q, header):  # type: ignore[no-untyped-def]
    """Ask for the newest events of a key, column by column."""
    base = m[header + at.H_BASE]
    if base >= 0:
        capacity = at.CAPACITY_MIN << (m[header + at.H_META] & _LOW8)
        newest = base + p[q + at.K_FROZEN_WORDS] + (m[header + at.H_SPAN] & _LOW32)
        for word in range(p[q + at.K_WORDS]):
            prefetch(m, newest + word * capacity - 1)
            prefetch(m, newest + word * capacity - at.HEADER)


@njit(cache=True, nogil=True)
def sweep(m, p, watermark, steps):  # type: ignore[no-untyped-def]
    """Look at the next ``steps`` headers and forget keys that no row can see any more."""
    used = m[at.C_USED]
    number = m[at.C_SWEEP]
    for _ in range(min(steps, used)):
        if number >= used:
            number = 0
        header = m[at.C_HEADERS] + number * at.HEADER
        meta = m[header + at.H_META]
        if meta >= 0:
            q = at.P_RECORDS + (meta >> 8) * at.KIND
            if m[header + at.H_LAST] < watermark - p[q + at.K_LIFE]:
                save_key(m, p, header)
                forget_key(m, p, header)
        number += 1
    m[at.C_SWEEP] = number


@njit(cache=True, nogil=True)
def advance(  # type: ignore[no-untyped-def]
    memory,
    plan,
    keys,
    values,
    states,
    masks,
    clamped_times,
    watermarks_before,
    row_flags,
    matrix,
    presence,
    marks,
    first,
    last,
    watermark,
):
    """Evaluate and enter every row of a range that is neither duplicate nor late, kind by kind in log order.

    ``keys``: int64 [3 n] to work in. ``values``, ``states`` [C, n] and ``masks``: batch and filters.
    ``clamped_times``, ``watermarks_before`` (before each row), ``row_flags``: what admission said, [n].
    ``matrix``, ``presence`` [n, F], ``marks`` (approximate, uint8 [n]): outputs.
    ``first``, ``last``: the rows [first, last) are to be done. ``watermark``: after them.
    Returns DONE, TIDY (done, and the store has to tidy), GROW (nothing was done: the index needs room first)
    or EXHAUSTED.
    """
    m, p, value, state, filters = (
        pointer(memory),
        pointer(plan),
        pointer(values),
        pointer(states),
        pointer(masks),
    )
    times, watermarks, flags = pointer(clamped_times), pointer(watermarks_before), pointer(row_flags)
    out_value, out_state, approximate = pointer(matrix), pointer(presence), pointer(marks)
    rows, width = len(clamped_times), matrix.shape[1]
    work = (last - first) * p[at.P_KINDS]
    if 2 * (m[at.C_KEYS] + work) > slots_of(m, at.C_INDEX):
        return GROW
    move_some(m, at.C_INDEX, MOVES_PER_KEY * work)
    # Per row: key (two words) and where its header seems to be, -1 unknown, ABSENT nothing to do.
    low = pointer(keys)
    high, guess = pointer_from(low, rows), pointer_from(low, 2 * rows)
    for kind in range(p[at.P_KINDS]):
        q = at.P_RECORDS + kind * at.KIND
        event = m[at.C_SCRATCH]
        for row in range(first, last):
            guess[row] = _ABSENT
            if not flags[row] & _SKIPPED:
                present, low[row], high[row] = key_of(m, p, q, row, rows, value, state)
                if present:
                    guess[row] = -1
        # What a row needs arrives while the rows before it are worked on: slot, then header, then events.
        for ahead in range(first - _AHEAD, last):
            row = ahead + _AHEAD
            if row < last and guess[row] != _ABSENT:
                prefetch(m, home_of(m, at.C_INDEX, mix31(low[row], high[row], kind)))
            row = ahead + _AHEAD_HEADER
            if first <= row < last and guess[row] != _ABSENT:
                guess[row] = guess_header(m, kind, low[row], high[row])
                prefetch(m, max(guess[row], 0))
            row = ahead + _AHEAD_EVENTS
            if first <= row < last and guess[row] >= 0:
                prefetch_events(m, p, q, guess[row])
            row = ahead
            if row < first or guess[row] == _ABSENT:
                continue
            clamped = event_words(m, p, q, row, rows, times[row], value, state, filters)
            header = guess[row]
            if (
                header < 0
                or m[header + at.H_LOW] != low[row]
                or m[header + at.H_HIGH] != high[row]
                or m[header + at.H_META] >> 8 != kind
            ):
                header = find_key(m, kind, low[row], high[row])
            if header >= 0:
                save_key(m, p, header)
            if header >= 0 and m[header + at.H_LAST] < watermarks[row] - p[q + at.K_LIFE]:
                forget_key(m, p, header)
                header = np.int64(-1)
            if header >= 0:
                panes = m[header + at.H_PANES]
                if panes != 0 and m[panes + at.B_SETTLE] <= watermarks[row]:
                    settle(m, p, q, header, watermarks[row])
            target = row * width
            reaches = evaluate(
                m,
                p,
                q,
                kind,
                header,
                watermarks[row],
                event,
                pointer_from(out_value, target),
                pointer_from(out_state, target),
            )
            if clamped or reaches:
                approximate[row] = 1
            if flags[row] & _HELD:
                continue
            if header < 0:
                header = add_key(m, kind, low[row], high[row])
            if header < 0 or not insert(m, p, q, header, watermarks[row], event):
                return EXHAUSTED
    sweep(m, p, watermark, SWEEP_PER_ROW * work)
    if 0 < m[at.C_OLD_END] and m[at.C_MOVED] != at.FOREVER:
        if not evacuate(m, p, watermark, max(EVACUATED_PER_KEY * work, EVACUATED_MIN)):
            return EXHAUSTED
    return TIDY if m[at.C_TIDY] != 0 or is_hollow(m) or is_sparse(m, at.C_INDEX, m[at.C_KEYS]) else DONE
