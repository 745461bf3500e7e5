"""What models read: values of fields and features, transformed, each once a tile and only if a model asks.

Layout of a binding (int64 [k, 6], C-contiguous), one row an input::

    source (0 field, 1 feature), column, content (0 int64, 1 binary64 bits), transform, argument, divisor

``divisor`` is of RATIO only: source | content << 1 | column << 2 of what is divided by.

An input is read for all rows of a tile at a time: the loops over rows have no branches, so a processor works
on several rows at once, and every row's value is made by the same operations in the same order as alone.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.models.kernel_math import log1p_exact

IDENTITY, LOG1P, FLAG, PRESENT, HOUR_SIN, HOUR_COS, RATIO = 0, 1, 2, 3, 4, 5, 6

TILE = 32
"""Rows that are read at a time: what 450 models read of them stays in the cache."""

_DAY_MS = 86_400_000
# Sine and cosine of whole minutes of the day, made once by NumPy and rounded, so that hosts agree.
_ANGLE = 2.0 * np.pi * np.arange(1440) / 1440.0
_SIN = np.round(np.sin(_ANGLE), 12)
_COS = np.round(np.cos(_ANGLE), 12)


@njit(cache=True, nogil=True)
def scratch():  # type: ignore[no-untyped-def]
    """Return room for one input of a tile: words, the same as numbers, results, states."""
    word = np.empty(TILE, np.int64)
    return word, word.view(np.float64), np.empty(TILE), np.empty(TILE, np.uint8)


@njit(cache=True, nogil=True, error_model="numpy")  # a check of every division keeps loops scalar
def read_input(  # type: ignore[no-untyped-def]
    binding, i, begin, end, columns, scratch, x, present
):
    """Read one input of the rows from ``begin`` to ``end``, at most ``TILE``; a missing one is 0.

    Args:
        binding: int64 [k, 6].
        i: which input.
        begin: first row.
        end: behind the last row.
        columns: :class:`fraudstream.models.inputs.Columns`.
        scratch: :func:`scratch`.
        x: float64 [TILE, k], column ``i`` is written.
        present: uint8 [TILE, k], column ``i`` is written.
    """
    n = end - begin
    word, real, number, there = scratch
    transform = binding[i, 3]
    _gather(binding[i, 0], binding[i, 1], begin, end, columns, word, there)
    if transform == PRESENT:
        for row in range(n):
            number[row] = np.float64(there[row])
            there[row] = 1
    elif transform == FLAG:
        for row in range(n):
            number[row] = np.float64(word[row] == binding[i, 4])
    elif transform == HOUR_SIN or transform == HOUR_COS:
        for row in range(n):
            minute = ((word[row] + binding[i, 4] * 60_000) % _DAY_MS) // 60_000
            number[row] = _SIN[minute] if transform == HOUR_SIN else _COS[minute]
    else:
        _numbers(binding[i, 2], n, word, real, number)
        if transform == LOG1P:
            for row in range(n):
                logarithm = log1p_exact(abs(number[row]))
                number[row] = logarithm if number[row] >= 0.0 else -logarithm
        elif transform == RATIO:
            other, known = np.empty(TILE), np.empty(TILE, np.uint8)
            packed = binding[i, 5]
            _gather(packed & 1, packed >> 2, begin, end, columns, word, known)
            _numbers(packed >> 1 & 1, n, word, real, other)
            for row in range(n):
                if known[row] and other[row] != 0.0:
                    number[row] /= other[row]
                else:
                    there[row] = 0
    for row in range(n):
        x[row, i] = number[row] if there[row] else 0.0
        present[row, i] = there[row]


@njit(cache=True, nogil=True, inline="always")  # counting references of its arrays costs more than the work
def _gather(  # type: ignore[no-untyped-def]
    source, column, begin, end, columns, word, there
):
    """Copy the words and states of one column; the word of a missing value is 0."""
    for row in range(end - begin):
        if source == 0:
            there[row] = columns.field_state[column, begin + row] != 0
            word[row] = columns.field_value[column, begin + row] if there[row] else 0
        else:
            there[row] = columns.feature_state[begin + row, column] != 0
            word[row] = columns.feature_value[begin + row, column] if there[row] else 0


@njit(cache=True, nogil=True, inline="always")
def _numbers(content, n, word, real, number):  # type: ignore[no-untyped-def]
    for row in range(n):
        number[row] = real[row] if content == 1 else np.float64(word[row])


@njit(cache=True, nogil=True)
def transform_inputs(  # type: ignore[no-untyped-def]
    binding, columns, wanted, x, present
):
    """Write all inputs of the wanted rows; those of others are missing.

    Args:
        binding: int64 [k, 6].
        columns: :class:`fraudstream.models.inputs.Columns`.
        wanted: uint8 [n].
        x: float64 [n, k], written, 0 where missing.
        present: uint8 [n, k], written.
    """
    room = scratch()
    for begin in range(0, len(wanted), TILE):
        end = min(begin + TILE, len(wanted))
        for i in range(len(binding)):
            read_input(binding, i, begin, end, columns, room, x[begin:end], present[begin:end])
        for row in range(begin, end):
            if not wanted[row]:
                present[row, :] = 0
