"""Calibration: scores moved so that they are probabilities on what became of the scored (Platt, 1999)."""

from __future__ import annotations

import numpy as np

from fraudstream.models.inputs import F64
from fraudstream.models.protocol import Flags

FRAUDS_MIN = 50
"""Fewer say too little about two numbers."""
_CLIP = 1e-9


def logit(p: F64) -> F64:
    """Return the log odds of probabilities, which are kept a billionth off 0 and 1."""
    p = np.clip(p, _CLIP, 1.0 - _CLIP)
    found: F64 = np.log(p / (1.0 - p))
    return found


def fit_platt(score: F64, fraud: Flags) -> tuple[float, float] | None:
    """Return a, b of p' = sigmoid(a logit(p) + b) by maximum likelihood, targets as in Platt's paper.

    None: fewer than ``FRAUDS_MIN`` of a kind, or scores that do not rise with fraud.
    """
    positive = int(fraud.sum())
    negative = len(fraud) - positive
    if min(positive, negative) < FRAUDS_MIN:
        return None
    target = np.where(fraud, (positive + 1) / (positive + 2), 1 / (negative + 2))
    x = np.stack([logit(score), np.ones(len(score))], axis=1)
    beta = np.array([1.0, 0.0])
    for _ in range(50):
        p = 1.0 / (1.0 + np.exp(-np.clip(x @ beta, -35.0, 35.0)))
        gradient = x.T @ (p - target)
        hessian = (x * (p * (1.0 - p))[:, None]).T @ x + 1e-9 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        beta -= np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-10:
            break
    a, b = float(beta[0]), float(beta[1])
    return (a, b) if a > 0.0 and np.isfinite(beta).all() else None


def compose(
    first: tuple[float, float] | None, then: tuple[float, float] | None
) -> tuple[float, float] | None:
    """Return the calibration that is one after another; None: nothing is moved."""
    if first is None or then is None:
        return first if then is None else then
    return then[0] * first[0], then[0] * first[1] + then[1]
