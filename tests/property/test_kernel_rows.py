"""Kernels over the rows of a slice say what numpy says in several steps."""

from __future__ import annotations

import numpy as np
import pytest

from fraudstream.stream import kernel_rows as kernel
from fraudstream.stream.outcome import FLAG_NAMES, Flag

SIZES = (0, 1, 63, 64, 65, 1_000)


@pytest.mark.parametrize("n", SIZES)
def test_active_rows_are_wanted_and_no_duplicates(n: int) -> None:
    """Of a slice twice as long as its batch."""
    rng = np.random.default_rng(n)
    wanted = rng.random(2 * n + 1) < 0.7
    row = np.sort(rng.permutation(2 * n + 1)[:n]).astype(np.int32)
    flags = rng.integers(0, 1 << len(FLAG_NAMES), n).astype(np.uint16)
    active = np.empty(n, np.bool_)
    count, duplicates = kernel.split_rows(wanted, row, flags, active)
    repeats = (flags & int(Flag.DUPLICATE)) != 0
    assert active.tolist() == (wanted[row] & ~repeats).tolist()
    assert (count, duplicates) == (active.sum(), repeats.sum())
    assert kernel.any_row(active) == active.any()


@pytest.mark.parametrize("n", SIZES)
def test_counts_are_those_of_wanted_rows_and_amounts_those_of_active_ones(n: int) -> None:
    """Decisions, flags, sums; without an amount its sums are 0."""
    rng = np.random.default_rng(n)
    wanted, active = rng.random(n) < 0.7, rng.random(n) < 0.6
    row = np.arange(n, dtype=np.int32)
    decision = rng.integers(0, 3, n).astype(np.uint8)
    flags = (rng.integers(0, 1 << len(FLAG_NAMES), n) * (rng.random(n) < 0.2)).astype(np.uint16)
    value = rng.integers(-(10**12), 10**12, (3, n))
    counts = np.zeros(kernel.COUNTS, np.int64)
    kernel.count_rows(wanted, row, active, decision, flags, value, 1, counts)
    expected = [int(((decision == kind) & wanted).sum()) for kind in range(3)]
    expected += [int(((flags >> bit & 1)[wanted]).sum()) for bit in range(len(FLAG_NAMES))]
    expected += [int(value[1][(decision == kind) & active].sum()) for kind in range(3)]
    assert counts.tolist() == expected
    counts[:] = 0
    kernel.count_rows(wanted, row, active, decision, flags, value, -1, counts)
    assert counts.tolist() == [*expected[:-3], 0, 0, 0]


@pytest.mark.parametrize("n", SIZES)
def test_scores_are_columns_of_binary64(n: int) -> None:
    """A missing score is 0 and not there."""
    micro = np.random.default_rng(n).integers(-1, 1_000_001, n)
    value, state = np.empty((1, n)), np.empty((1, n), np.uint8)
    kernel.score_column(micro, value, state)
    assert state[0].tolist() == (micro >= 0).tolist()
    assert value[0].tolist() == np.where(micro >= 0, micro / 1_000_000, 0.0).tolist()


@pytest.mark.parametrize("n", SIZES)
def test_a_record_is_late_beyond_the_deadline(n: int) -> None:
    """The deadline itself is in time, and so is a record without a timestamp."""
    rng = np.random.default_rng(n)
    time_ms = np.where(rng.random(n + 2) < 0.2, -1, 1_000 - rng.integers(0, 100, n + 2))
    rows = np.sort(rng.permutation(n + 2)[:n]).astype(np.int32)
    late = np.empty(n, np.int64)
    kernel.late_rows(time_ms, rows, 1_000, 50, late)
    passed = [1_000 - at if at >= 0 else 0 for at in time_ms[rows].tolist()]
    assert late.tolist() == [ms if ms > 50 else -1 for ms in passed]
