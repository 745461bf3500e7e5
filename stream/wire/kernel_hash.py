"""Kernel: keyed hashes of a batch's texts, then of its rows."""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.rules.siphash import siphash128


@njit(cache=True, nogil=True)
def hash_batch(columns, buffer, start, size, state, key, scratch, scratch_bytes, value, body):  # type: ignore[no-untyped-def]
    """Fill the hash words of text columns and the hash of every row.

    A row's hash covers state and words of all columns, so it depends on decoded values only, not on
    white space, member order or escapes.

    ``columns`` (int64 [t]) are the first columns of ids and categories, ``start`` and ``size`` (int32
    [C, n]) their spans in ``buffer`` (uint8); ``state`` is uint8 [C, n], ``key`` uint64 [2]; ``value``
    (int64 [C, n]) and ``body`` (int64 [2, n]) are filled. ``scratch`` (int64 [C + ceil(C / 8)]) and
    ``scratch_bytes`` (uint8) are the same memory.
    """
    rows, words = value.shape[1], value.shape[0]
    k0, k1 = key[0], key[1]
    for t in range(len(columns)):
        c = columns[t]
        for i in range(rows):
            if state[c, i]:
                value[c, i], value[c + 1, i] = siphash128(buffer, start[c, i], size[c, i], k0, k1)
    for i in range(rows):
        for c in range(words):
            scratch[c] = value[c, i]
            scratch_bytes[8 * words + c] = state[c, i]
        body[0, i], body[1, i] = siphash128(scratch_bytes, np.int64(0), np.int64(9 * words), k0, k1)
