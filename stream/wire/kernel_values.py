"""Kernels: text to whole numbers, money, times and dates; a doubt is ``DOUBT``."""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.stream.wire import layout as at_

DOUBT = np.int64(-(1 << 63))
_NO = np.int64(-1)
_MAX_WHOLE = np.int64(14)  # beyond the largest amount at any decimals
_MAX_INT_DIGITS = np.int64(18)  # always in int64
_DAY_MS = np.int64(86_400_000)


@njit(cache=True, nogil=True)
def integer_of(b, at, size):  # type: ignore[no-untyped-def]
    """Return the value of an integer token of at most 18 digits."""
    negative = b[at] == 45
    first = at + 1 if negative else at
    if at + size - first > _MAX_INT_DIGITS:
        return DOUBT
    value = np.int64(0)
    for i in range(first, at + size):
        value = value * 10 + (np.int64(b[i]) - 48)
    return -value if negative else value


@njit(cache=True, nogil=True)
def decimals_of(b, at, size, p, k):  # type: ignore[no-untyped-def]
    """Return the decimals of a currency's minor unit, -1 if it is none of ISO 4217."""
    if size != 3:
        return _NO
    place = np.int64(0)
    for i in range(at, at + 3):
        c = np.int64(b[i])
        if c < 65 or c > 90:
            return _NO
        place = place * 26 + (c - 65)
    return np.int64(k[p[at_.H_CURRENCIES] + place]) - 1


@njit(cache=True, nogil=True)
def money_of(b, at, size, signed, decimals, p):  # type: ignore[no-untyped-def]
    """Return an amount in minor units, `DOUBT` if it has more decimals than the currency or is no amount."""
    end = at + size
    negative = size > 0 and b[at] == 45
    if negative:
        if not signed:
            return DOUBT
        at += 1
    first = at
    minor = np.int64(0)
    while at < end and 48 <= b[at] <= 57:
        minor = minor * 10 + (np.int64(b[at]) - 48)
        at += 1
        if at - first > _MAX_WHOLE:
            return DOUBT
    if at == first or (b[first] == 48 and at > first + 1):
        return DOUBT
    places = np.int64(0)
    if at < end:
        if b[at] != 46 or at + 1 == end:
            return DOUBT
        for i in range(at + 1, end):
            c = np.int64(b[i])
            if c < 48 or c > 57:
                return DOUBT
            if places < decimals:
                minor = minor * 10 + (c - 48)
                places += 1
            elif c != 48:
                return DOUBT
    while places < decimals:
        minor *= 10
        places += 1
    if minor > p[at_.H_MAX_MINOR]:
        return DOUBT
    return -minor if negative else minor


@njit(inline="always")
def _two(b, at):  # type: ignore[no-untyped-def]
    """Return the value of two digits, a negative number if they are none."""
    tens, ones = np.int64(b[at]) - 48, np.int64(b[at + 1]) - 48
    if tens < 0 or tens > 9 or ones < 0 or ones > 9:
        return np.int64(-10_000)
    return tens * 10 + ones


@njit(cache=True, nogil=True)
def day_of(b, at, p):  # type: ignore[no-untyped-def]
    """Return days since the epoch of ``YYYY-MM-DD``.

    The count of days is that of H. Hinnant, "chrono-compatible low-level date algorithms".
    """
    year = _two(b, at) * 100 + _two(b, at + 2)
    month, day = _two(b, at + 5), _two(b, at + 8)
    if year < p[at_.H_MIN_YEAR] or year > p[at_.H_MAX_YEAR] or b[at + 4] != 45 or b[at + 7] != 45:
        return DOUBT
    if month < 1 or month > 12 or day < 1:
        return DOUBT
    last = np.int64(31)
    if month == 4 or month == 6 or month == 9 or month == 11:
        last = np.int64(30)
    elif month == 2:
        leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        last = np.int64(29) if leap else np.int64(28)
    if day > last:
        return DOUBT
    if month <= 2:
        year -= 1
        month += 12
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * (month - 3) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


@njit(inline="always")
def _in_range(time_ms, p):  # type: ignore[no-untyped-def]
    return time_ms if p[at_.H_MIN_TIME] <= time_ms < p[at_.H_MAX_TIME] else DOUBT


@njit(cache=True, nogil=True)
def time_of(b, at, size, p):  # type: ignore[no-untyped-def]
    """Return milliseconds since the epoch of RFC 3339 text with an offset."""
    end = at + size
    if size < 20:
        return DOUBT
    day = day_of(b, at, p)
    hour, minute, second = _two(b, at + 11), _two(b, at + 14), _two(b, at + 17)
    if day == DOUBT or (b[at + 10] | 32) != 116 or b[at + 13] != 58 or b[at + 16] != 58:
        return DOUBT
    if hour < 0 or hour > 23 or minute < 0 or minute > 59 or second < 0 or second > 59:
        return DOUBT
    time_ms = day * _DAY_MS + (hour * 3600 + minute * 60 + second) * 1000
    at += 19
    if b[at] == 46:
        first = at + 1
        at = first
        scale = np.int64(100)
        while at < end and 48 <= b[at] <= 57:
            time_ms += (np.int64(b[at]) - 48) * scale
            scale //= 10
            at += 1
        if at == first or at == end:
            return DOUBT
    if at + 1 == end:
        return _in_range(time_ms, p) if (b[at] | 32) == 122 else DOUBT
    if at + 6 != end or (b[at] != 43 and b[at] != 45) or b[at + 3] != 58:
        return DOUBT
    hour, minute = _two(b, at + 1), _two(b, at + 4)
    if hour < 0 or hour > 23 or minute < 0 or minute > 59:
        return DOUBT
    offset_ms = (hour * 60 + minute) * 60_000
    return _in_range(time_ms + offset_ms if b[at] == 45 else time_ms - offset_ms, p)


@njit(cache=True, nogil=True)
def time_of_integer(b, at, size, p):  # type: ignore[no-untyped-def]
    """Return milliseconds since the epoch of an integer token."""
    time_ms = integer_of(b, at, size)
    return DOUBT if time_ms == DOUBT else _in_range(time_ms, p)
