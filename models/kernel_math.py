"""Exponential and logarithm from IEEE basic operations only.

The C library's own may differ in the last bit between hosts; a score must not. Both are within 2e-15 of
the true value (relative), far inside the parity law's 1e-9.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

_LN2_HIGH = 6.93147180369123816490e-01  # fdlibm's split of ln 2: k * _LN2_HIGH is exact
_LN2_LOW = 1.90821492927058770002e-10
_LOG2_E = 1.4426950408889634
_SQRT2 = 1.4142135623730951
_TAYLOR = np.array([1.0 / math.factorial(i) for i in range(15)])
_ARTANH = np.array([1.0 / i for i in range(1, 24, 2)])
SIGMOID_LIMIT = 30.0
"""River's sigmoid is 0 and 1 beyond it."""

_MANTISSA, _ONE_BITS = (1 << 52) - 1, 1023 << 52


@njit(cache=True, nogil=True)
def exp_exact(x):  # type: ignore[no-untyped-def]
    """Return e to the power x for -700 <= x <= 700: x = k ln 2 + r, Taylor's series in r, |r| <= 0.35."""
    k = np.floor(x * _LOG2_E + 0.5)
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    total = 0.0
    for i in range(14, -1, -1):
        total = total * r + _TAYLOR[i]
    return total * np.int64((np.int64(k) + 1023) << 52).view(np.float64)


@njit(cache=True, nogil=True, inline="always")
def _log(y, low):  # type: ignore[no-untyped-def]
    """Return ln y + low for normal y > 0: y = 2**k m, series of artanh in (m - 1) / (m + 1)."""
    bits = np.float64(y).view(np.int64)
    k = (bits >> 52) - 1023
    m = np.int64((bits & _MANTISSA) | _ONE_BITS).view(np.float64)
    if m > _SQRT2:
        m *= 0.5
        k += 1
    s = (m - 1.0) / (m + 1.0)
    square = s * s
    series = 0.0
    for i in range(11, -1, -1):
        series = series * square + _ARTANH[i]
    return k * _LN2_HIGH + (2.0 * s * series + (k * _LN2_LOW + low))


@njit(cache=True, nogil=True)
def log_exact(y):  # type: ignore[no-untyped-def]
    """Return ln y for normal y > 0."""
    return _log(y, 0.0)


@njit(cache=True, nogil=True)
def sigmoid(z):  # type: ignore[no-untyped-def]
    """Return 1 / (1 + e**-z), 0 and 1 beyond ``SIGMOID_LIMIT`` as River's is; -1 for no number."""
    if np.isnan(z):  # parameters near their bounds: no score is better than a made-up one
        return -1.0
    if z < -SIGMOID_LIMIT:
        return 0.0
    if z > SIGMOID_LIMIT:
        return 1.0
    return 1.0 / (1.0 + exp_exact(-z))


@njit(cache=True, nogil=True)
def logit(p):  # type: ignore[no-untyped-def]
    """Return ln(p / (1 - p)) of a probability, cut to +-``SIGMOID_LIMIT``."""
    if p <= 0.0:
        return -SIGMOID_LIMIT
    if p >= 1.0:
        return SIGMOID_LIMIT
    z = log_exact(p) - log_exact(1.0 - p)
    return min(max(z, -SIGMOID_LIMIT), SIGMOID_LIMIT)


@njit(cache=True, nogil=True, inline="always")
def log1p_exact(x):  # type: ignore[no-untyped-def]
    """Return ln(1 + x) for 0 <= x < 1e300; what the sum 1 + x rounds away is added to first order."""
    y = np.float64(1.0 + x)
    return _log(y, (x - (y - 1.0)) / y)
