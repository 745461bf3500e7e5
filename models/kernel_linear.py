"""Scaled logistic regression over columns: what River's pipeline computes one dict at a time.

Layout of a binding (int64 [k, 6], C-contiguous), one row an input::

    source (0 field, 1 feature), column, content (0 int64, 1 binary64 bits), transform, argument, 0
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.models.kernel_math import exp_exact, log1p_exact

IDENTITY, LOG1P, FLAG, PRESENT, HOUR_SIN, HOUR_COS = 0, 1, 2, 3, 4, 5

SIGMOID_LIMIT = 30.0
"""River's sigmoid is 0 and 1 beyond it."""

_DAY_MS = 86_400_000
# Sine and cosine of whole minutes of the day, made once by NumPy and rounded, so that hosts agree.
_ANGLE = 2.0 * np.pi * np.arange(1440) / 1440.0
_SIN = np.round(np.sin(_ANGLE), 12)
_COS = np.round(np.cos(_ANGLE), 12)


@njit(cache=True, nogil=True)
def transform_inputs(  # type: ignore[no-untyped-def]
    binding, field_value, field_state, feature_value, feature_state, wanted, x, present
):
    """Write the transformed inputs of the wanted rows.

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
            column = binding[i, 1]
            if binding[i, 0] == 0:
                there = field_state[column, row]
                value = field_value[column, row]
            else:
                there = feature_state[row, column]
                value = feature_value[row, column]
            transform = binding[i, 3]
            if transform == PRESENT:
                present[row, i] = 1
                x[row, i] = 1.0 if there else 0.0
                continue
            present[row, i] = 1 if there else 0
            if not there:
                continue
            if transform == FLAG:
                x[row, i] = 1.0 if value == binding[i, 4] else 0.0
                continue
            if transform >= HOUR_SIN:
                minute = ((value + binding[i, 4] * 60_000) % _DAY_MS) // 60_000
                x[row, i] = _SIN[minute] if transform == HOUR_SIN else _COS[minute]
                continue
            if binding[i, 2] == 1:
                word[0] = value
                number = real[0]
            else:
                number = np.float64(value)
            if transform == LOG1P:
                number = log1p_exact(number) if number >= 0.0 else -log1p_exact(-number)
            x[row, i] = number


@njit(cache=True, nogil=True)
def linear_scores(x, present, wanted, mean, scale, weights, bias, probability):  # type: ignore[no-untyped-def]
    """Score the wanted rows; others are -1.

    Args:
        x: float64 [n, k].
        present: uint8 [n, k]; a missing input is skipped, as an absent key is by River.
        wanted: uint8 [n].
        mean: float64 [k].
        scale: float64 [k], deviation; 0 where the scaler saw one value only: the input then counts 0.
        weights: float64 [k].
        bias: float64.
        probability: float64 [n], written.
    """
    for row in range(len(wanted)):
        if not wanted[row]:
            probability[row] = -1.0
            continue
        z = bias
        for i in range(len(mean)):
            if present[row, i] and scale[i] != 0.0:
                z += weights[i] * ((x[row, i] - mean[i]) / scale[i])
        if np.isnan(z):  # parameters near their bounds: no score is better than a made-up one
            probability[row] = -1.0
        elif z < -SIGMOID_LIMIT:
            probability[row] = 0.0
        elif z > SIGMOID_LIMIT:
            probability[row] = 1.0
        else:
            probability[row] = 1.0 / (1.0 + exp_exact(-z))


@njit(cache=True, nogil=True)
def to_micro(probability, micro):  # type: ignore[no-untyped-def]
    """Write rint(p * 10**6), half to even, of the binary64 product; -1 stays -1 (missing)."""
    for row in range(len(probability)):
        p = probability[row]
        micro[row] = -1 if p < 0.0 else np.int64(np.rint(p * 1e6))
