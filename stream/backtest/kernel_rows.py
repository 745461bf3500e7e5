"""Kernels: texts out of a batch's buffer, matched rows out of masks."""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.stream.kernel_decide import lowest_bit

_ZERO, _ONE = np.uint64(0), np.uint64(1)


@njit(cache=True, nogil=True)
def copy_spans(buffer, start, ends, out):  # type: ignore[no-untyped-def]
    """Copy text i from ``buffer[start[i]:]`` to ``out[ends[i] : ends[i + 1]]``.

    ``buffer``, ``out`` uint8, ``start`` int32 [n], ``ends`` int32 [n + 1]; a missing text has no bytes.
    """
    for i in range(len(start)):
        at = start[i] - ends[i]
        for j in range(ends[i], ends[i + 1]):
            out[j] = buffer[at + j]


@njit(cache=True, nogil=True)
def count_bits(masks, active, counts):  # type: ignore[no-untyped-def]
    """Count the set bits of each mask under ``active``; uint64 [outputs, W] and [W], int64 [outputs]."""
    for output in range(masks.shape[0]):
        total = 0
        for w in range(len(active)):
            bits = masks[output, w] & active[w]
            while bits != _ZERO:
                total += 1
                bits &= bits - _ONE
        counts[output] = total


@njit(cache=True, nogil=True)
def collect_rows(masks, active, first, wanted, begin, rows):  # type: ignore[no-untyped-def]
    """Write the rows of the wanted outputs: those of ``wanted[i]`` to ``rows[begin[i]:]``, ascending.

    ``first``: number of the mask's first row; ``wanted`` int64 [k]; ``begin`` int64 [k].
    """
    for i in range(len(wanted)):
        at = begin[i]
        for w in range(len(active)):
            bits = masks[wanted[i], w] & active[w]
            while bits != _ZERO:
                rows[at] = first + 64 * w + lowest_bit(bits)
                at += 1
                bits &= bits - _ONE
