"""A snapshot taken while events go on: keys are copied one by one, and before they change.

At the beginning the watermark and the number of headers are fixed. ``step`` walks the headers and appends
the records of ``kernel_export`` to a buffer; whoever is about to change a key that it has not reached calls
``save_key`` first. So every record shows its key as it was at the beginning.

The events of a large key are not copied at once: its segment is *lent* to the snapshot. Events that come
behind do not touch those that are still to be copied; before anything else does, ``call_in`` copies them.

Beside the records of keys the buffer gets (``X_KIND``)::

    kind | EVENTS_FOLLOW   a key without its events; X_EVENTS: how many there are in all
    EVENTS                 some of them: X_LAST the place of the first, X_EVENTS how many, X_PANES the kind
    ENTRIES                remembered transactions: X_EVENTS how many, ENTRY_WORDS each
    END                    the last record: X_EVENTS keys, X_PANES remembered transactions
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.stream.windows import layout as at
from fraudstream.stream.windows.kernel_admit import D_HOLD, E_TIME, entry_at
from fraudstream.stream.windows.kernel_bits import pointer, prefetch
from fraudstream.stream.windows.kernel_export import (
    EXPORT,
    X_EVENTS,
    X_HIGH,
    X_KIND,
    X_LAST,
    X_LOW,
    X_PANES,
    X_WORDS,
    visible,
    write_key,
)
from fraudstream.stream.windows.kernel_keys import copied_at, mark_copied

_LOW32 = np.int64(0xFFFFFFFF)
_LOW8 = np.int64(0xFF)

EVENTS_FOLLOW = np.int64(1 << 32)
EVENTS, ENTRIES, END = np.int64(-1), np.int64(-2), np.int64(-3)
ENTRY_WORDS = 7
KEY_COST = 48
"""What finding a key costs, in words copied."""
PASS_COST = 2
"""What passing a header by costs."""
_AHEAD = 12
MORE, DONE, FAILED = 0, 1, 2


@njit(inline="always")
def save_key(m, p, header):  # type: ignore[no-untyped-def]
    """Let a snapshot under way copy a key that is about to change, if it has not done so."""
    if m[at.C_COPY] <= header < m[at.C_COPY_END]:
        save_first(m, p, header)


@njit(cache=True, nogil=True)
def save_first(m, p, header):  # type: ignore[no-untyped-def]
    """Copy a key that the snapshot has not reached, unless it was copied or came later."""
    if not mark_copied(m, header):
        copy_key(m, p, header)


@njit(cache=True, nogil=True)
def save_stale(m, p, header, watermark):  # type: ignore[no-untyped-def]
    """Let a snapshot under way copy a key from which something leaves at a watermark."""
    if not m[at.C_COPY] <= header < m[at.C_COPY_END] or m[header + at.H_BASE] < 0:
        return
    q = at.P_RECORDS + (m[header + at.H_META] >> 8) * at.KIND
    lo, hi = m[header + at.H_SPAN] >> 32, m[header + at.H_SPAN] & _LOW32
    first = m[header + at.H_BASE] + p[q + at.K_FROZEN_WORDS] + lo
    panes = m[header + at.H_PANES]
    if (lo < hi and m[first] >> at.TIME_SHIFT <= watermark - p[q + at.K_RETAIN]) or (
        panes != 0 and m[panes + at.B_SETTLE] <= watermark
    ):
        save_first(m, p, header)


@njit(cache=True, nogil=True)
def fits(m, words):  # type: ignore[no-untyped-def]
    """Return whether the buffer holds so many words more; if not, the snapshot ends here."""
    if m[at.C_COPY_NEXT] + words <= m[at.C_COPY_LIMIT]:
        return True
    m[at.C_COPY_FAILED] = 1
    m[at.C_COPY] = m[at.C_COPY_END] = m[at.C_LENT] = 0
    return False


@njit(cache=True, nogil=True)
def copy_key(m, p, header):  # type: ignore[no-untyped-def]
    """Append a key as it was at the beginning; return the words written."""
    words = visible(m, p, header, m[at.C_COPY_WATERMARK])
    if words == 0:
        return np.int64(0)
    q = at.P_RECORDS + (m[header + at.H_META] >> 8) * at.KIND
    lo, hi = m[header + at.H_SPAN] >> 32, m[header + at.H_SPAN] & _LOW32
    rows = (hi - lo) * p[q + at.K_WORDS]
    whole = rows < p[at.P_LENT] or m[at.C_LENT] == at.LENT_MAX
    if not whole:
        words -= rows
    if not fits(m, words):
        return np.int64(0)
    write_key(m, p, header, words, m, m[at.C_COPY_NEXT], whole)
    if not whole:
        m[m[at.C_COPY_NEXT] + X_KIND] |= EVENTS_FOLLOW
        lent = m[at.C_COPY_AREA] + m[at.C_LENT] * at.LENT
        m[at.C_LENT] += 1
        m[lent + at.L_BASE] = m[header + at.H_BASE]
        m[lent + at.L_KIND] = m[header + at.H_META] >> 8
        m[lent + at.L_CLASS] = m[header + at.H_META] & _LOW8
        m[lent + at.L_LOW], m[lent + at.L_HIGH] = m[header + at.H_LOW], m[header + at.H_HIGH]
        m[lent + at.L_FIRST], m[lent + at.L_NEXT], m[lent + at.L_END] = lo, lo, hi
    m[at.C_COPY_NEXT] += words
    m[at.C_COPY_KEYS] += 1
    return words


@njit(cache=True, nogil=True)
def copy_events(m, p, lent, begin, end):  # type: ignore[no-untyped-def]
    """Append the events [begin, end) of a lent segment; return the words written."""
    q = at.P_RECORDS + m[lent + at.L_KIND] * at.KIND
    words = EXPORT + (end - begin) * p[q + at.K_WORDS]
    if not fits(m, words):
        return np.int64(0)
    target = m[at.C_COPY_NEXT]
    m[at.C_COPY_NEXT] = target + words
    m[target + X_WORDS], m[target + X_KIND] = words, EVENTS
    m[target + X_LOW], m[target + X_HIGH] = m[lent + at.L_LOW], m[lent + at.L_HIGH]
    m[target + X_LAST], m[target + X_EVENTS] = begin - m[lent + at.L_FIRST], end - begin
    m[target + X_PANES], m[target + X_PANES + 1] = m[lent + at.L_KIND], 0
    target += EXPORT
    capacity = at.CAPACITY_MIN << m[lent + at.L_CLASS]
    column = m[lent + at.L_BASE] + p[q + at.K_FROZEN_WORDS]
    for word in range(p[q + at.K_WORDS]):
        source = column + word * capacity + begin
        for i in range(end - begin):
            m[target + i] = m[source + i]
        target += end - begin
    return words


@njit(cache=True, nogil=True)
def give_back(m, lent):  # type: ignore[no-untyped-def]
    """Take a segment off the list of those that are lent."""
    m[at.C_LENT] -= 1
    last = m[at.C_COPY_AREA] + m[at.C_LENT] * at.LENT
    for i in range(at.LENT):
        m[lent + i] = m[last + i]


@njit(inline="always")
def call_in(m, p, base, place):  # type: ignore[no-untyped-def]
    """Copy what is still to be copied of a segment from event ``place`` on: it is about to change."""
    if m[at.C_LENT] > 0:
        call_in_lent(m, p, base, place)


@njit(cache=True, nogil=True)
def call_in_lent(m, p, base, place):  # type: ignore[no-untyped-def]
    """Do so if the segment is lent."""
    for number in range(m[at.C_LENT]):
        lent = m[at.C_COPY_AREA] + number * at.LENT
        if m[lent + at.L_BASE] == base:
            begin, end = max(place, m[lent + at.L_NEXT]), m[lent + at.L_END]
            if begin < end:
                copy_events(m, p, lent, begin, end)
                m[lent + at.L_END] = begin
            if m[at.C_LENT] > 0 and m[lent + at.L_NEXT] >= m[lent + at.L_END]:
                give_back(m, lent)
            return


@njit(cache=True, nogil=True)
def copy_lent(m, p, budget):  # type: ignore[no-untyped-def]
    """Copy the next events of a lent segment; return the words written."""
    lent = m[at.C_COPY_AREA]
    q = at.P_RECORDS + m[lent + at.L_KIND] * at.KIND
    begin = m[lent + at.L_NEXT]
    end = min(m[lent + at.L_END], begin + max(budget // p[q + at.K_WORDS], 1))
    words = copy_events(m, p, lent, begin, end)
    m[lent + at.L_NEXT] = end
    if m[at.C_LENT] > 0 and end == m[lent + at.L_END]:
        give_back(m, lent)
    return words


@njit(inline="always")
def prefetch_key(m, p, header):  # type: ignore[no-untyped-def]
    """Ask for the events of a key that is copied soon."""
    base = m[header + at.H_BASE]
    if m[header + at.H_META] >= 0 and base >= 0:
        q = at.P_RECORDS + (m[header + at.H_META] >> 8) * at.KIND
        capacity = at.CAPACITY_MIN << (m[header + at.H_META] & _LOW8)
        column = base + p[q + at.K_FROZEN_WORDS] + (m[header + at.H_SPAN] >> 32)
        for word in range(p[q + at.K_WORDS]):
            prefetch(m, column + word * capacity)


@njit(cache=True, nogil=True)
def step(memory, plan, budget):  # type: ignore[no-untyped-def]
    """Copy keys until about ``budget`` words are written. Returns MORE, DONE or FAILED."""
    m, p = pointer(memory), pointer(plan)
    if m[at.C_COPY_FAILED] == 1:
        return FAILED
    header, end = m[at.C_COPY], m[at.C_COPY_END]
    while budget > 0:
        if m[at.C_LENT] > 0:
            budget -= copy_lent(m, p, budget)
        elif header < end:
            if header + _AHEAD * at.HEADER < end:
                prefetch_key(m, p, header + _AHEAD * at.HEADER)
            word, bit = copied_at(m, header)
            if m[word] & bit != 0:
                m[word] &= ~bit
                budget -= PASS_COST
            else:
                budget -= KEY_COST + copy_key(m, p, header)
            header += at.HEADER
        else:
            break
        if m[at.C_COPY_FAILED] == 1:
            return FAILED
    if header == end and m[at.C_LENT] == 0:
        m[at.C_COPY] = m[at.C_COPY_END] = 0
        return DONE
    m[at.C_COPY] = header
    return MORE


@njit(cache=True, nogil=True)
def copy_entries(dedup, end, horizon, memory, budget):  # type: ignore[no-untyped-def]
    """Copy remembered transactions, from ``D_HOLD`` on up to the sequence number ``end``.

    Those before ``horizon`` are left out. Returns (budget left, transactions written); nothing is left of
    the budget where the buffer was too small.
    """
    d, m = pointer(dedup), pointer(memory)
    sequence = d[D_HOLD]
    most = min(end - sequence, budget // at.HEADER)
    if most <= 0:
        return budget, np.int64(0)
    if not fits(m, EXPORT + most * ENTRY_WORDS):
        return np.int64(0), np.int64(0)
    head = m[at.C_COPY_NEXT]
    target, count = head + EXPORT, np.int64(0)
    for _ in range(most):
        entry = entry_at(d, sequence)
        if d[entry + E_TIME] >= horizon:
            for i in range(ENTRY_WORDS):
                m[target + i] = d[entry + i]
            target += ENTRY_WORDS
            count += 1
        sequence += 1
    d[D_HOLD] = sequence
    write_mark(m, head, target - head, ENTRIES, count, 0)
    m[at.C_COPY_NEXT] = target
    return budget - most * at.HEADER, count


@njit(cache=True, nogil=True)
def write_end(memory, entries):  # type: ignore[no-untyped-def]
    """Append the last record. False: the buffer was too small."""
    m = pointer(memory)
    if not fits(m, EXPORT):
        return False
    write_mark(m, m[at.C_COPY_NEXT], EXPORT, END, m[at.C_COPY_KEYS], entries)
    m[at.C_COPY_NEXT] += EXPORT
    return True


@njit(cache=True, nogil=True)
def write_mark(m, target, words, kind, count, more):  # type: ignore[no-untyped-def]
    """Write the head of a record that is of no key."""
    for i in range(EXPORT):
        m[target + i] = 0
    m[target + X_WORDS], m[target + X_KIND] = words, kind
    m[target + X_EVENTS], m[target + X_PANES] = count, more
