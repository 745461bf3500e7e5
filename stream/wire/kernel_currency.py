"""Kernel: the rows of a batch whose money is in another currency than the base."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def foreign_rows(money, currency, base, state, start, buffer, rows, codes):  # type: ignore[no-untyped-def]
    """Write the rows with money in another currency, and its code; return how many there are.

    Args:
        money: column of the money.
        currency: column of its currency.
        base: the base currency's three bytes in one integer.
        state: uint8 [C, n] of the batch.
        start: int32 [C, n] of the batch.
        buffer: uint8, the texts.
        rows: int64 [n].
        codes: int64 [n].
    """
    count = 0
    for row in range(state.shape[1]):
        if state[money, row] != 0:
            i = start[currency, row]
            code = np.int64(buffer[i]) << 16 | np.int64(buffer[i + 1]) << 8 | np.int64(buffer[i + 2])
            if code != base:
                rows[count], codes[count] = row, code
                count += 1
    return count
