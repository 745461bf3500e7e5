"""Kernels: small passes over the rows of a slice, each in the place of several array operations.

For a slice of one record, what an array operation costs is its call.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.stream.outcome import FLAG_NAMES, Decision, Flag

DECISIONS = len(Decision)
FLAGS = len(FLAG_NAMES)
FIRST_FLAG = DECISIONS
FIRST_AMOUNT = DECISIONS + FLAGS
COUNTS = FIRST_AMOUNT + DECISIONS
"""What `count_rows` counts: decisions, flags, amounts by decision."""

_DUPLICATE = np.uint16(Flag.DUPLICATE)


@njit(cache=True, nogil=True)
def split_rows(wanted, row, flags, active):  # type: ignore[no-untyped-def]
    """Write which rows are decided: wanted and no duplicates.

    Args:
        wanted: bool [N], by slice row.
        row: int32 [n], slice rows of the batch.
        flags: uint16 [n], of admission.
        active: bool [n], written.

    Returns:
        (active rows, duplicates).
    """
    count, duplicates = np.int64(0), np.int64(0)
    for i in range(len(row)):
        duplicate = (flags[i] & _DUPLICATE) != 0
        active[i] = wanted[row[i]] and not duplicate
        count += active[i]
        duplicates += duplicate
    return count, duplicates


@njit(cache=True, nogil=True)
def pack_rows(rows, words):  # type: ignore[no-untyped-def]
    """Pack bool [n] into uint64 [ceil(n / 64)], bit i of word w = row 64 * w + i."""
    for w in range(len(words)):
        word = np.uint64(0)
        for i in range(64 * w, min(64 * w + 64, len(rows))):
            word |= np.uint64(rows[i]) << np.uint64(i - 64 * w)
        words[w] = word


@njit(cache=True, nogil=True)
def any_row(rows):  # type: ignore[no-untyped-def]
    """Return whether one of bool [n] is true."""
    for i in range(len(rows)):
        if rows[i]:
            return True
    return False


@njit(cache=True, nogil=True)
def score_column(micro, value, state):  # type: ignore[no-untyped-def]
    """Write millionths [n], -1 missing, as the binary64 of a score [1, n] and its state [1, n]."""
    for i in range(len(micro)):
        state[0, i] = micro[i] >= 0
        value[0, i] = micro[i] / 1_000_000 if micro[i] >= 0 else 0.0


@njit(cache=True, nogil=True)
def late_rows(time_ms, rows, now_ms, deadline_ms, late):  # type: ignore[no-untyped-def]
    """Write the milliseconds since the records of slice rows if that is more than the deadline, else -1.

    Args:
        time_ms: int64 [N], timestamps of records, -1: none.
        rows: int32 [m].
        now_ms: the time.
        deadline_ms: what is not late.
        late: int64 [m], written.
    """
    for i in range(len(rows)):
        at = time_ms[rows[i]]
        passed = now_ms - at if at >= 0 else np.int64(0)
        late[i] = passed if passed > deadline_ms else -1


@njit(cache=True, nogil=True)
def count_rows(wanted, row, active, decision, flags, value, column, counts):  # type: ignore[no-untyped-def]
    """Count the decisions and flags of wanted rows, and the amounts of active ones.

    Args:
        wanted: bool [N], by slice row.
        row: int32 [n].
        active: bool [n].
        decision: uint8 [n].
        flags: uint16 [n].
        value: int64 [C, n], of the batch.
        column: of the amount, -1: there is none.
        counts: int64 [COUNTS], added to.
    """
    for i in range(len(row)):
        if wanted[row[i]]:
            counts[decision[i]] += 1
            bits = np.int64(flags[i])
            if bits != 0:
                for bit in range(FLAGS):
                    counts[FIRST_FLAG + bit] += bits >> bit & 1
        if active[i] and column >= 0:
            counts[FIRST_AMOUNT + decision[i]] += value[column, i]


def warm() -> None:
    """Load the kernels that not every slice calls."""
    times, rows = np.zeros(1, np.int64), np.zeros(1, np.int32)
    late_rows(times, rows, 0, 0, np.empty(1, np.int64))
    any_row(np.zeros(1, np.bool_))
