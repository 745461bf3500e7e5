"""Kernels: the text of JSON numbers to the nearest binary64, where 128 bits are enough for that."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from fraudstream.stream.windows.kernel_bits import bits_of, float_of
from fraudstream.stream.wire import layout as at_

_LONGEST = np.int64(18)  # digits that are always in int64
_POWERS = np.array([float(10**i) for i in range(23)])
_WHOLE_POWERS = np.array([10**i for i in range(19)])
_FRACTION = np.int64((1 << 52) - 1)
_IMPLICIT = np.int64(1 << 52)


@intrinsic
def _compare(typingctx, mantissa, shift, factor, power):  # type: ignore[no-untyped-def]
    """Return the sign of mantissa * 2^shift - factor * power; all of it below 2^127."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        wide, word = ir.IntType(128), ir.IntType(64)
        mantissa, shift, factor, power = (builder.zext(item, wide) for item in args)
        left, right = builder.shl(mantissa, shift), builder.mul(factor, power)
        more = builder.select(builder.icmp_unsigned(">", left, right), word(1), word(0))
        return builder.select(builder.icmp_unsigned("<", left, right), word(-1), more)

    word = types.int64
    return word(word, word, word, word), generate


@njit(cache=True, nogil=True)
def _quotient(mantissa, places):  # type: ignore[no-untyped-def]
    """Return (whether it is sure, the binary64 nearest to mantissa / 10^places), half to even.

    ``mantissa`` has at most 18 digits, ``places`` is 1 to 18. A first quotient is at most a few units off
    in the last place; whole numbers say on which side of it the exact one lies.
    """
    bits = bits_of(np.float64(mantissa) / _POWERS[places])
    exponent = (bits >> 52) - 1075
    k = (bits & _FRACTION) | _IMPLICIT
    shift = 1 - exponent
    if shift < 1 or shift > 66:
        return False, 0.0
    power = _WHOLE_POWERS[places]
    for _ in range(4):
        if k <= _IMPLICIT or k >= 2 * _IMPLICIT - 1:  # the next binary64 is nearer, or farther
            return False, 0.0
        above = _compare(mantissa, shift, 2 * k + 1, power)
        if above > 0 or (above == 0 and k & 1 == 1):
            k += 1
            continue
        below = _compare(mantissa, shift, 2 * k - 1, power)
        if below < 0 or (below == 0 and k & 1 == 1):
            k -= 1
            continue
        return True, float_of((bits & ~_FRACTION) | (k & _FRACTION))
    return False, 0.0


@njit(cache=True, nogil=True)
def _scaled(mantissa, digits, power, p):  # type: ignore[no-untyped-def]
    """Return (whether it is sure, the binary64 nearest to mantissa * 10^power)."""
    if digits <= p[at_.H_MAX_DIGITS] and -p[at_.H_MAX_POWER] <= power <= p[at_.H_MAX_POWER]:
        # Both are binary64, so the one operation rounds once.
        value = np.float64(mantissa)
        return True, (value * _POWERS[power] if power >= 0 else value / _POWERS[-power])
    if power == 0:
        return True, np.float64(mantissa)
    if -_LONGEST <= power < 0:
        return _quotient(mantissa, -power)
    return False, 0.0


@njit(cache=True, nogil=True)
def number_of(b, at, size, p):  # type: ignore[no-untyped-def]
    """Return (whether it is sure, the nearest binary64) of a number token; negative zero is zero."""
    end = at + size
    negative = b[at] == 45
    if negative:
        at += 1
    mantissa, digits, power = np.int64(0), np.int64(0), np.int64(0)
    fraction = False
    while at < end:
        c = np.int64(b[at])
        if c == 46:
            fraction = True
        elif 48 <= c <= 57:
            if mantissa != 0 or c != 48:
                digits += 1
                if digits > _LONGEST:
                    return False, 0.0
            mantissa = mantissa * 10 + (c - 48)
            if fraction:
                power -= 1
        else:
            break
        at += 1
    if at < end:  # the exponent
        at += 1
        down = b[at] == 45
        if down or b[at] == 43:
            at += 1
        exponent = np.int64(0)
        for i in range(at, end):
            exponent = exponent * 10 + (np.int64(b[i]) - 48)
            if exponent > 9999:
                return False, 0.0
        power += -exponent if down else exponent
    if mantissa == 0:
        return True, 0.0
    sure, value = _scaled(mantissa, digits, power, p)
    return sure, (-value if negative else value)
