"""What is visible of the windows, in and out: the common ground of snapshots and state hashes.

A key is ``EXPORT`` words (``X_*``) and behind them its frozen records, the columns of its kept events, its
panes (their word, own sums, extremes, records) and the lists of values last seen in them. What is written
depends on the events only: those that no row can see any more have left before, whether or not their key
was touched since.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.stream.windows import layout as at
from fraudstream.stream.windows.kernel_bits import pointer
from fraudstream.stream.windows.kernel_keys import add_key
from fraudstream.stream.windows.kernel_panes import (
    build_levels,
    due,
    pane_capacity,
    places_in,
    seen_in_panes,
    settle,
    take_panes,
)
from fraudstream.stream.windows.kernel_segments import prune, size_class_of, take_segment
from fraudstream.stream.windows.kernel_summary import extend_list, start_averages

_LOW32 = np.int64(0xFFFFFFFF)
_LOW8 = np.int64(0xFF)

X_WORDS = 0  # of the whole record, these included
X_KIND = 1
X_LOW = 2
X_HIGH = 3
X_LAST = 4
X_EVENTS = 5
X_PANES = 6
X_FOLDED = 7  # end of the newest minute that holds an event beyond max_events_per_key
EXPORT = 8


@njit(cache=True, nogil=True)
def visible(m, p, header, watermark):  # type: ignore[no-untyped-def]
    """Let go what cannot be seen any more of a key; return the words of its record, 0: nothing is left."""
    meta = m[header + at.H_META]
    if meta < 0 or m[header + at.H_BASE] < 0:
        return np.int64(0)
    q = at.P_RECORDS + (meta >> 8) * at.KIND
    if m[header + at.H_LAST] < watermark - p[q + at.K_LIFE]:
        return np.int64(0)
    panes = m[header + at.H_PANES]
    if panes != 0 and m[panes + at.B_SETTLE] <= watermark:
        settle(m, p, q, header, watermark)
        panes = m[header + at.H_PANES]
    kept = prune(m, p, q, header, watermark - p[q + at.K_RETAIN])
    seen = kept > 0 or panes != 0
    for number in range(p[q + at.K_FROZEN_COUNT]):
        a = p[p[q + at.K_FROZENS] + number]
        seen = seen or m[m[header + at.H_BASE] + p[a + at.A_FROZEN]] > 0
    if not seen:
        return np.int64(0)
    words = EXPORT + p[q + at.K_FROZEN_WORDS] + kept * p[q + at.K_WORDS]
    if panes != 0:
        lo, hi = m[panes + at.B_SPAN] >> 32, m[panes + at.B_SPAN] & _LOW32
        words += (hi - lo) * pane_words(p, q)
        capacity = pane_capacity(m, panes)
        for number in range(p[q + at.K_LISTS]):
            words += 1 + 2 * m[seen_in_panes(p, q, panes, capacity, number)]
    return words


@njit(cache=True, nogil=True)
def pane_words(p, q):  # type: ignore[no-untyped-def]
    """Return the words of one pane in a record."""
    return 1 + p[q + at.K_PREFIX_WORDS] + p[q + at.K_LEVEL_WORDS] + p[q + at.K_POSITION_WORDS]


@njit(cache=True, nogil=True)
def measure(memory, plan, watermark):  # type: ignore[no-untyped-def]
    """Return (keys, words) of everything visible."""
    m, p = pointer(memory), pointer(plan)
    keys, words = np.int64(0), np.int64(0)
    for number in range(m[at.C_USED]):
        more = visible(m, p, m[at.C_HEADERS] + number * at.HEADER, watermark)
        if more > 0:
            keys += 1
            words += more
    return keys, words


@njit(cache=True, nogil=True)
def export(memory, plan, watermark, out, begins):  # type: ignore[no-untyped-def]
    """Write everything visible to ``out``, and to ``begins`` where each key's record begins."""
    m, p = pointer(memory), pointer(plan)
    k, target = 0, np.int64(0)
    for number in range(m[at.C_USED]):
        header = m[at.C_HEADERS] + number * at.HEADER
        words = visible(m, p, header, watermark)
        if words > 0:
            begins[k] = target
            k += 1
            write_key(m, p, header, words, out, target, True)
            target += words


@njit(cache=True, nogil=True)
def write_key(m, p, header, words, out, target, whole):  # type: ignore[no-untyped-def]
    """Write the record of a key, which ``visible`` said has so many words; not ``whole``: without events."""
    kind = m[header + at.H_META] >> 8
    q = at.P_RECORDS + kind * at.KIND
    base, panes = m[header + at.H_BASE], m[header + at.H_PANES]
    capacity = at.CAPACITY_MIN << (m[header + at.H_META] & _LOW8)
    lo, hi = m[header + at.H_SPAN] >> 32, m[header + at.H_SPAN] & _LOW32
    out[target + X_WORDS], out[target + X_KIND] = words, kind
    out[target + X_LOW], out[target + X_HIGH] = m[header + at.H_LOW], m[header + at.H_HIGH]
    out[target + X_LAST], out[target + X_EVENTS] = m[header + at.H_LAST], hi - lo
    out[target + X_PANES], out[target + X_FOLDED] = 0, at.NEVER
    head, frozen = target, p[q + at.K_FROZEN_WORDS]
    target += EXPORT
    for i in range(frozen):
        out[target] = m[base + i]
        target += 1
    for word in range(p[q + at.K_WORDS] if whole else 0):
        begin = base + frozen + word * capacity
        for i in range(begin + lo, begin + hi):
            out[target] = m[i]
            target += 1
    if panes != 0:
        out[head + X_PANES] = (m[panes + at.B_SPAN] & _LOW32) - (m[panes + at.B_SPAN] >> 32)
        out[head + X_FOLDED] = m[panes + at.B_FOLDED]
        write_panes(m, p, q, panes, out, target)


@njit(cache=True, nogil=True)
def write_panes(m, p, q, panes, out, target):  # type: ignore[no-untyped-def]
    """Write panes and value lists."""
    lo, hi, capacity = m[panes + at.B_SPAN] >> 32, m[panes + at.B_SPAN] & _LOW32, pane_capacity(m, panes)
    width, extremes, words = p[q + at.K_PREFIX_WORDS], p[q + at.K_LEVEL_WORDS], p[q + at.K_POSITION_WORDS]
    prefix, levels, records = places_in(p, q, panes, capacity)
    for i in range(lo, hi):
        out[target] = m[panes + at.PANE_HEAD + i]
        target += 1
        for j in range(width):
            out[target + j] = m[prefix + (i + 1) * width + j] - m[prefix + i * width + j]
        target += width
        for j in range(extremes):
            out[target + j] = m[levels + i * extremes + j]
        target += extremes
        for j in range(words):
            out[target + j] = m[records + i * words + j]
        target += words
    for number in range(p[q + at.K_LISTS]):
        listed = seen_in_panes(p, q, panes, capacity, number)
        for j in range(1 + 2 * m[listed]):
            out[target] = m[listed + j]
            target += 1


@njit(cache=True, nogil=True)
def count_keys(words):  # type: ignore[no-untyped-def]
    """Return how many records ``export`` wrote."""
    keys, source = np.int64(0), np.int64(0)
    while source < len(words):
        keys += 1
        source += words[source + X_WORDS]
    return keys


@njit(cache=True, nogil=True)
def restore_keys(memory, plan, words):  # type: ignore[no-untyped-def]
    """Rebuild keys from what ``export`` wrote. False: memory exhausted."""
    m, p = pointer(memory), pointer(plan)
    source = 0
    while source < len(words):
        if restore_key(m, p, words, source, True) < 0:
            return False
        source += words[source + X_WORDS]
    return True


@njit(cache=True, nogil=True)
def restore_key(m, p, words, source, whole):  # type: ignore[no-untyped-def]
    """Rebuild a key from its record and return its header; not ``whole``: its events come later.

    -1: memory exhausted.
    """
    kind, kept = words[source + X_KIND] & _LOW32, words[source + X_EVENTS]
    q = at.P_RECORDS + kind * at.KIND
    size_class = size_class_of(kept)
    header = add_key(m, kind, words[source + X_LOW], words[source + X_HIGH])
    base = take_segment(m, p, q, kind, size_class) if header >= 0 else np.int64(-1)
    if base < 0:
        return np.int64(-1)
    m[header + at.H_BASE] = base
    m[header + at.H_META] = (kind << 8) | size_class
    m[header + at.H_SPAN] = kept
    m[header + at.H_LAST] = words[source + X_LAST]
    m[at.C_EVENTS] += kept
    frozen, at_word = p[q + at.K_FROZEN_WORDS], source + EXPORT
    for i in range(frozen):
        m[base + i] = words[at_word]
        at_word += 1
    if whole:
        restore_events(m, p, q, header, words, at_word, 0, kept)
        at_word += kept * p[q + at.K_WORDS]
        summarise(m, p, q, header)
    if words[source + X_PANES] > 0 and not restore_panes(m, p, q, header, words, source, at_word):
        return np.int64(-1)
    return header


@njit(cache=True, nogil=True)
def restore_events(m, p, q, header, words, at_word, first, count):  # type: ignore[no-untyped-def]
    """Write events, column by column, to the places from ``first`` on."""
    capacity = at.CAPACITY_MIN << (m[header + at.H_META] & _LOW8)
    column = m[header + at.H_BASE] + p[q + at.K_FROZEN_WORDS] + first
    for word in range(p[q + at.K_WORDS]):
        for i in range(count):
            m[column + word * capacity + i] = words[at_word + i]
        at_word += count


@njit(cache=True, nogil=True)
def summarise(m, p, q, header):  # type: ignore[no-untyped-def]
    """Begin the summary of a restored segment, if it is large."""
    base, kept = m[header + at.H_BASE], m[header + at.H_SPAN]
    capacity = at.CAPACITY_MIN << (m[header + at.H_META] & _LOW8)
    if capacity >= p[at.P_LARGE]:
        start_averages(m, p, q, base, capacity)
        if p[q + at.K_LISTS] > 0:
            for i in range(kept):
                extend_list(m, p, q, base, capacity, i, 0, i + 1)


@njit(cache=True, nogil=True)
def restore_panes(m, p, q, header, words, source, at_word):  # type: ignore[no-untyped-def]
    """Rebuild the panes of a key. False: memory exhausted."""
    count = words[source + X_PANES]
    size_class = max(size_class_of(count), at.PANE_CLASS_MIN)
    panes = take_panes(m, p, q, m[header + at.H_META] >> 8, size_class)
    if panes < 0:
        return False
    m[header + at.H_PANES] = panes
    m[panes + at.B_SPAN], m[panes + at.B_FOLDED] = count, words[source + X_FOLDED]
    m[at.C_PANES] += count
    capacity = pane_capacity(m, panes)
    width, extremes, record = p[q + at.K_PREFIX_WORDS], p[q + at.K_LEVEL_WORDS], p[q + at.K_POSITION_WORDS]
    prefix, levels, records = places_in(p, q, panes, capacity)
    for i in range(count):
        m[panes + at.PANE_HEAD + i] = words[at_word]
        at_word += 1
        for j in range(width):
            m[prefix + (i + 1) * width + j] = m[prefix + i * width + j] + words[at_word + j]
        at_word += width
        for j in range(extremes):
            m[levels + i * extremes + j] = words[at_word + j]
        at_word += extremes
        for j in range(record):
            m[records + i * record + j] = words[at_word + j]
        at_word += record
        m[panes + at.B_SETTLE] = min(m[panes + at.B_SETTLE], due(m, p, q, panes, i))
    for number in range(p[q + at.K_LISTS]):
        listed = seen_in_panes(p, q, panes, capacity, number)
        for j in range(1 + 2 * words[at_word]):
            m[listed + j] = words[at_word + j]
        at_word += 1 + 2 * words[at_word]
    build_levels(m, p, q, panes, 0, count)
    return True
