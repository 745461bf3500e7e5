"""Kernel: whether money of a batch is in another currency than the base."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def has_foreign(pairs, base, state, start, buffer):  # type: ignore[no-untyped-def]
    """Return whether some row has money in another currency.

    Args:
        pairs: int64 [k, 2] columns of a money field and of its currency.
        base: the base currency's three bytes in one integer.
        state: uint8 [C, n] of the batch.
        start: int32 [C, n] of the batch.
        buffer: uint8, the texts.
    """
    for at in range(len(pairs)):
        money, currency = pairs[at, 0], pairs[at, 1]
        for row in range(state.shape[1]):
            if state[money, row] != 0:
                i = start[currency, row]
                code = np.int64(buffer[i]) << 16 | np.int64(buffer[i + 1]) << 8 | np.int64(buffer[i + 2])
                if code != base:
                    return True
    return False
