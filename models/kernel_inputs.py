"""What models read: values of fields and features, transformed, each once a row and only if a model asks.

Layout of a binding (int64 [k, 6], C-contiguous), one row an input::

    source (0 field, 1 feature), column, content (0 int64, 1 binary64 bits), transform, argument, divisor

``divisor`` is of RATIO only: source | content << 1 | column << 2 of what is divided by.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.models.kernel_math import log1p_exact

IDENTITY, LOG1P, FLAG, PRESENT, HOUR_SIN, HOUR_COS, RATIO = 0, 1, 2, 3, 4, 5, 6

UNKNOWN = 255
"""State of an input that nobody asked for yet; 0: missing, 1: present."""

_DAY_MS = 86_400_000
# Sine and cosine of whole minutes of the day, made once by NumPy and rounded, so that hosts agree.
_ANGLE = 2.0 * np.pi * np.arange(1440) / 1440.0
_SIN = np.round(np.sin(_ANGLE), 12)
_COS = np.round(np.cos(_ANGLE), 12)


@njit(cache=True, nogil=True, inline="always")  # counting references of its arrays cost more than the work
def read_input(  # type: ignore[no-untyped-def]
    binding, i, row, field_value, field_state, feature_value, feature_state, word, real
):
    """Return (1 if present, the transformed value) of one input of one row.

    Args:
        binding: int64 [k, 6].
        i: which input.
        row: which row.
        field_value: int64 [C, n].
        field_state: uint8 [C, n].
        feature_value: int64 [n, F].
        feature_state: uint8 [n, F].
        word: int64 [1], scratch.
        real: float64 [1], a view of ``word``.
    """
    column = binding[i, 1]
    if binding[i, 0] == 0:
        there = field_state[column, row]
        value = field_value[column, row]
    else:
        there = feature_state[row, column]
        value = feature_value[row, column]
    transform = binding[i, 3]
    if transform == PRESENT:
        return 1, 1.0 if there else 0.0
    if not there:
        return 0, 0.0
    if transform == FLAG:
        return 1, 1.0 if value == binding[i, 4] else 0.0
    if transform == HOUR_SIN or transform == HOUR_COS:
        minute = ((value + binding[i, 4] * 60_000) % _DAY_MS) // 60_000
        return 1, _SIN[minute] if transform == HOUR_SIN else _COS[minute]
    if binding[i, 2] == 1:
        word[0] = value
        number = real[0]
    else:
        number = np.float64(value)
    if transform == LOG1P:
        return 1, log1p_exact(number) if number >= 0.0 else -log1p_exact(-number)
    if transform == RATIO:
        column = binding[i, 5] >> 2
        if binding[i, 5] & 1 == 0:
            there = field_state[column, row]
            word[0] = field_value[column, row]
        else:
            there = feature_state[row, column]
            word[0] = feature_value[row, column]
        divisor = real[0] if binding[i, 5] & 2 else np.float64(word[0])
        if not there or divisor == 0.0:
            return 0, 0.0
        number /= divisor
    return 1, number


@njit(cache=True, nogil=True)
def transform_inputs(  # type: ignore[no-untyped-def]
    binding, field_value, field_state, feature_value, feature_state, wanted, x, present
):
    """Write all inputs of the wanted rows; those of others are missing.

    Args:
        binding: int64 [k, 6].
        field_value: int64 [C, n].
        field_state: uint8 [C, n].
        feature_value: int64 [n, F].
        feature_state: uint8 [n, F].
        wanted: uint8 [n].
        x: float64 [n, k], written where present.
        present: uint8 [n, k], written.
    """
    word = np.empty(1, np.int64)
    real = word.view(np.float64)
    for row in range(len(wanted)):
        if not wanted[row]:
            present[row, :] = 0
            continue
        for i in range(len(binding)):
            there, value = read_input(
                binding, i, row, field_value, field_state, feature_value, feature_state, word, real
            )
            present[row, i] = there
            if there:
                x[row, i] = value
