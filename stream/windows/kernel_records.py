"""Records of the events that left a segment: the first and the last of them, and moving averages.

A record does not depend on when its events left: the first and last are chosen by time, and the average is
the left fold over the events in (time, log) order, wherever it stops and goes on.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.stream.windows import layout as at
from fraudstream.stream.windows.kernel_bits import bits_of, float_of

_LN2 = 0.6931471805599453
_TERMS = 17
"""ln(2)^17 / 17! is below 2^-57: the rest of the series does not show in a binary64."""
_HALVINGS_MAX = np.int64(1_000)
_EXPONENT_BIAS = np.int64(1_023)


@njit(cache=True, nogil=True)
def decay(elapsed, half_life):  # type: ignore[no-untyped-def]
    """Return 2^(-elapsed / half_life) of two durations in ms, ``elapsed`` >= 0."""
    halvings = elapsed // half_life
    if halvings > _HALVINGS_MAX:
        return 0.0
    x = -_LN2 * (float(elapsed - halvings * half_life) / float(half_life))
    power = 1.0
    for term in range(_TERMS, 0, -1):
        power = 1.0 + power * x / float(term)
    return power * float_of((_EXPONENT_BIAS - halvings) << 52)


@njit(cache=True, nogil=True)
def average_with(n, newest, weight, total, time, value, half_life):  # type: ignore[no-untyped-def]
    """Return (n, time of the newest event, sum of weights, weighted sum) with one more event.

    An event behind the newest, which only a key with too many events can meet, weighs what it does there.
    """
    if n == 0:
        return np.int64(1), time, 1.0, float(value)
    if time >= newest:
        d = decay(time - newest, half_life)
        return n + 1, time, weight * d + 1.0, total * d + float(value)
    d = decay(newest - time, half_life)
    return n + 1, newest, weight + d, total + d * float(value)


@njit(cache=True, nogil=True)
def average_over(m, flags, shift, values, column, begin, end, half_life, n, newest, weight, total):  # type: ignore[no-untyped-def]
    """Return the average's state after the flagged events of [begin, end)."""
    for i in range(begin, end):
        if shift < 0 or (m[flags + i] >> shift) & 1 != 0:
            n, newest, weight, total = average_with(
                n, newest, weight, total, m[column + i] >> at.TIME_SHIFT, m[values + i], half_life
            )
    return n, newest, weight, total


@njit(cache=True, nogil=True)
def load_average(m, record):  # type: ignore[no-untyped-def]
    """Return the state that stands at ``record``."""
    return (
        m[record + at.R_COUNT],
        m[record + at.R_TIME],
        float_of(m[record + at.R_WEIGHT]),
        float_of(m[record + at.R_TOTAL]),
    )


@njit(cache=True, nogil=True)
def store_average(m, record, n, newest, weight, total):  # type: ignore[no-untyped-def]
    """Write a state to ``record``."""
    m[record + at.R_COUNT], m[record + at.R_TIME] = n, newest
    m[record + at.R_WEIGHT], m[record + at.R_TOTAL] = bits_of(weight), bits_of(total)


@njit(cache=True, nogil=True)
def note_event(m, p, a, record, column, capacity, i):  # type: ignore[no-untyped-def]
    """Take event i of a segment into an accumulator's record, if it enters it."""
    shift = p[a + at.A_SHIFT]
    if shift >= 0 and (m[column + p[a + at.A_FLAG] * capacity + i] >> shift) & 1 == 0:
        return
    time = m[column + i] >> at.TIME_SHIFT
    if p[a + at.A_CLASS] == at.CLASS_AVERAGE:
        n, newest, weight, total = load_average(m, record)
        value = m[column + p[a + at.A_COLUMN] * capacity + i]
        n, newest, weight, total = average_with(n, newest, weight, total, time, value, p[a + at.A_HALF_LIFE])
        store_average(m, record, n, newest, weight, total)
        return
    payload, listed = p[a + at.A_PAYLOAD_COUNT], p[a + at.A_PAYLOADS]
    # Of equal times the one already here is the earlier in log order.
    if m[record] == 0 or time < m[record + at.R_FIRST]:
        m[record + at.R_FIRST] = time
        for j in range(payload):
            m[record + at.R_PAYLOAD + j] = m[column + p[listed + j] * capacity + i]
    if m[record] == 0 or time >= m[record + at.R_LAST]:
        m[record + at.R_LAST] = time
        for j in range(payload):
            m[record + at.R_PAYLOAD + payload + j] = m[column + p[listed + j] * capacity + i]
    m[record] += 1


@njit(cache=True, nogil=True)
def join_records(m, p, a, record, later):  # type: ignore[no-untyped-def]
    """Take the record ``later``, whose events are later, into ``record``."""
    if m[later] == 0:
        return
    payload = p[a + at.A_PAYLOAD_COUNT]
    if m[record] == 0:
        for j in range(at.R_PAYLOAD + 2 * payload):
            m[record + j] = m[later + j]
        return
    m[record] += m[later]
    m[record + at.R_LAST] = m[later + at.R_LAST]
    for j in range(payload):
        m[record + at.R_PAYLOAD + payload + j] = m[later + at.R_PAYLOAD + payload + j]
