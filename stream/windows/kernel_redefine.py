"""Records of keys from one plan's form to another's, word by word after a map made by :mod:`redefine`."""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.stream.windows import kernel_export as x
from fraudstream.stream.windows import layout as at

M_KIND = 0  # the new kind, -1: left out
M_WORDS_OLD = 1  # words of an event
M_WORDS_NEW = 2
M_FLAGS = 3  # list of (old word, old bit, new word, new bit), then its length
M_COLUMNS = 5  # list of (old word, new word), length
M_FROZEN_OLD = 7  # words of the frozen records
M_FROZEN_NEW = 8
M_FROZEN = 9  # list of (old place, new place), length
M_PANE_OLD = 11  # words of a pane
M_EMPTY = 12  # an empty pane under the new plan, its words
M_PANES = 14  # list of (old place, new place), length
M_LISTS = 16  # number of the old list of values for each new one or -1, length
M_LIST_MAX = 18  # the new ones' longest length
MAP_WORDS = 19


@njit(cache=True, nogil=True)
def carried_words(words, maps):  # type: ignore[no-untyped-def]
    """Return how many words ``carry`` writes at most."""
    source, total = np.int64(0), np.int64(0)
    while source < len(words):
        m = maps[words[source + x.X_KIND]]
        if m[M_KIND] >= 0:
            total += x.EXPORT + m[M_FROZEN_NEW] + words[source + x.X_EVENTS] * m[M_WORDS_NEW]
            if words[source + x.X_PANES] > 0:
                total += words[source + x.X_PANES] * m[M_EMPTY + 1]
                total += m[M_LISTS + 1] * (1 + 2 * m[M_LIST_MAX])
        source += words[source + x.X_WORDS]
    return total


@njit(cache=True, nogil=True)
def carry(words, maps, lists, out):  # type: ignore[no-untyped-def]
    """Write the records of all kinds that go on to ``out`` and return how many words they are."""
    source, target = np.int64(0), np.int64(0)
    while source < len(words):
        m = maps[words[source + x.X_KIND]]
        if m[M_KIND] >= 0:
            target = carry_key(words, source, m, lists, out, target)
        source += words[source + x.X_WORDS]
    return target


@njit(cache=True, nogil=True)
def carry_key(words, source, m, lists, out, target):  # type: ignore[no-untyped-def]
    """Write one key's record and return the place behind it."""
    head, kept = target, words[source + x.X_EVENTS]
    for i in range(x.EXPORT):
        out[head + i] = words[source + i]
    out[head + x.X_KIND] = m[M_KIND]
    begin = source + x.EXPORT
    target += x.EXPORT
    for i in range(m[M_FROZEN_NEW]):
        out[target + i] = 0
    for i in range(m[M_FROZEN], m[M_FROZEN] + m[M_FROZEN + 1], 2):
        out[target + lists[i + 1]] = words[begin + lists[i]]
    begin += m[M_FROZEN_OLD]
    target += m[M_FROZEN_NEW]
    for i in range(kept * m[M_WORDS_NEW]):
        out[target + i] = 0
    for i in range(kept):
        out[target + i] = words[begin + i] >> at.TIME_SHIFT << at.TIME_SHIFT
    for f in range(m[M_FLAGS], m[M_FLAGS] + m[M_FLAGS + 1], 4):
        old, new = begin + lists[f] * kept, target + lists[f + 2] * kept
        for i in range(kept):
            out[new + i] |= ((words[old + i] >> lists[f + 1]) & 1) << lists[f + 3]
    for c in range(m[M_COLUMNS], m[M_COLUMNS] + m[M_COLUMNS + 1], 2):
        old, new = begin + lists[c] * kept, target + lists[c + 1] * kept
        for i in range(kept):
            out[new + i] = words[old + i]
    begin += kept * m[M_WORDS_OLD]
    target += kept * m[M_WORDS_NEW]
    if words[source + x.X_PANES] > 0:
        target = carry_panes(words, begin, words[source + x.X_PANES], m, lists, out, target)
    out[head + x.X_WORDS] = target - head
    return target


@njit(cache=True, nogil=True)
def carry_panes(words, begin, count, m, lists, out, target):  # type: ignore[no-untyped-def]
    """Write the panes and value lists of a key and return the place behind them."""
    size = m[M_EMPTY + 1]
    for _ in range(count):
        for i in range(size):
            out[target + i] = lists[m[M_EMPTY] + i]
        for i in range(m[M_PANES], m[M_PANES] + m[M_PANES + 1], 2):
            out[target + lists[i + 1]] = words[begin + lists[i]]
        begin += m[M_PANE_OLD]
        target += size
    for place in range(m[M_LISTS], m[M_LISTS] + m[M_LISTS + 1]):
        old, length = begin, np.int64(0)
        if lists[place] >= 0:
            for _ in range(lists[place]):
                old += 1 + 2 * words[old]
            length = words[old]
        # The oldest leave a list that has become shorter.
        skipped = max(length - m[M_LIST_MAX], 0)
        out[target] = length - skipped
        for i in range(2 * (length - skipped)):
            out[target + 1 + i] = words[old + 1 + 2 * skipped + i]
        target += 1 + 2 * (length - skipped)
    return target
