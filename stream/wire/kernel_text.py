"""Kernels: strings of JSON, valid to the last byte."""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.stream.wire.kernel_bytes import STEP, lowest_bit, text_ends

_NO = np.int64(-1)


@njit(cache=True, nogil=True)
def _is_tail(b, at):  # type: ignore[no-untyped-def]
    return (b[at] & 0xC0) == 0x80


@njit(cache=True, nogil=True)
def utf8_end(b, at, end):  # type: ignore[no-untyped-def]
    """Return the place behind the character that begins with a byte over 0x7F, -1 if it is not valid.

    Table 3-7 of the Unicode standard: no overlong forms, no surrogates, nothing beyond U+10FFFF.
    """
    c = np.int64(b[at])
    if c < 0xC2 or c > 0xF4:
        return _NO
    if c < 0xE0:
        return at + 2 if at + 2 <= end and _is_tail(b, at + 1) else _NO
    if at + 3 > end or not _is_tail(b, at + 2):
        return _NO
    second = np.int64(b[at + 1])
    low, high = np.int64(0x80), np.int64(0xBF)
    if c < 0xF0:
        if c == 0xE0:
            low = np.int64(0xA0)
        elif c == 0xED:
            high = np.int64(0x9F)
        return at + 3 if low <= second <= high else _NO
    if c == 0xF0:
        low = np.int64(0x90)
    elif c == 0xF4:
        high = np.int64(0x8F)
    return at + 4 if low <= second <= high and at + 4 <= end and _is_tail(b, at + 3) else _NO


@njit(cache=True, nogil=True)
def hex4(b, at):  # type: ignore[no-untyped-def]
    """Return the value of four hexadecimal digits, -1 if they are none."""
    value = np.int64(0)
    for i in range(4):
        c = np.int64(b[at + i])
        if 48 <= c <= 57:
            digit = c - 48
        elif 65 <= (c & ~32) <= 70:
            digit = (c & ~32) - 55
        else:
            return _NO
        value = value << 4 | digit
    return value


@njit(cache=True, nogil=True)
def escape_end(b, at, end):  # type: ignore[no-untyped-def]
    """Return the place behind the escape (or pair of surrogates) that begins at a backslash, -1: invalid."""
    if at + 2 > end:
        return _NO
    c = np.int64(b[at + 1])
    if c == 117:  # u
        if at + 6 > end:
            return _NO
        unit = hex4(b, at + 2)
        if unit < 0xD800 or unit > 0xDFFF:
            return at + 6 if unit >= 0 else _NO
        if unit >= 0xDC00 or at + 12 > end or b[at + 6] != 92 or b[at + 7] != 117:
            return _NO
        return at + 12 if 0xDC00 <= hex4(b, at + 8) <= 0xDFFF else _NO
    # " \ / b f n r t
    if c == 34 or c == 92 or c == 47 or c == 98 or c == 102 or c == 110 or c == 114 or c == 116:
        return at + 2
    return _NO


@njit(cache=True, nogil=True)
def string_end(b, at, end):  # type: ignore[no-untyped-def]
    """Return 2 * (place of the closing quote) + (1 if there are escapes); -1 if the string is not valid.

    ``at`` is the place behind the opening quote.
    """
    escaped = np.int64(0)
    while at < end:
        stops = text_ends(b, at)
        if stops == 0:
            at += STEP
            continue
        at += lowest_bit(stops)
        if at >= end:
            return _NO
        c = np.int64(b[at])
        if c == 34:
            return 2 * at + escaped
        if c == 92:
            escaped = np.int64(1)
            at = escape_end(b, at, end)
            if at < 0:
                return _NO
        elif c < 0x20:
            return _NO
        else:
            while at < end and b[at] > 0x7F:
                at = utf8_end(b, at, end)
                if at < 0:
                    return _NO
    return _NO


@njit(cache=True, nogil=True)
def _put_utf8(out, to, c):  # type: ignore[no-untyped-def]
    """Write a code point; return the place behind it."""
    if c < 0x80:
        out[to] = np.uint8(c)
        return to + 1
    if c < 0x800:
        out[to] = np.uint8(0xC0 | c >> 6)
        out[to + 1] = np.uint8(0x80 | c & 63)
        return to + 2
    if c < 0x10000:
        out[to] = np.uint8(0xE0 | c >> 12)
        out[to + 1] = np.uint8(0x80 | c >> 6 & 63)
        out[to + 2] = np.uint8(0x80 | c & 63)
        return to + 3
    out[to] = np.uint8(0xF0 | c >> 18)
    out[to + 1] = np.uint8(0x80 | c >> 12 & 63)
    out[to + 2] = np.uint8(0x80 | c >> 6 & 63)
    out[to + 3] = np.uint8(0x80 | c & 63)
    return to + 4


@njit(cache=True, nogil=True)
def unescape(b, at, size, out, to):  # type: ignore[no-untyped-def]
    """Write a valid string's text, which is never longer than the string; return the place behind it."""
    end = at + size
    while at < end:
        c = np.int64(b[at])
        if c != 92:
            out[to] = np.uint8(c)
            at += 1
            to += 1
            continue
        c = np.int64(b[at + 1])
        if c != 117:
            if c == 98:
                c = np.int64(8)
            elif c == 102:
                c = np.int64(12)
            elif c == 110:
                c = np.int64(10)
            elif c == 114:
                c = np.int64(13)
            elif c == 116:
                c = np.int64(9)
            out[to] = np.uint8(c)
            at += 2
            to += 1
            continue
        c = hex4(b, at + 2)
        at += 6
        if 0xD800 <= c <= 0xDBFF:
            c = 0x10000 + ((c - 0xD800) << 10) + (hex4(b, at + 2) - 0xDC00)
            at += 6
        to = _put_utf8(out, to, c)
    return to
