"""Kernels: tokens of one record to the words, states and texts of its fields."""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.stream.windows.kernel_bits import bits_of
from fraudstream.stream.wire import layout as at_
from fraudstream.stream.wire.kernel_bytes import STEP, copy_bytes, id_ends, lowest_bit
from fraudstream.stream.wire.kernel_number import number_of
from fraudstream.stream.wire.kernel_record import find_name
from fraudstream.stream.wire.kernel_text import unescape
from fraudstream.stream.wire.kernel_values import (
    DOUBT,
    day_of,
    decimals_of,
    integer_of,
    money_of,
    time_of,
    time_of_integer,
)

_NO = np.int64(-1)


@njit(inline="always")
def _token(p, s, field):  # type: ignore[no-untyped-def]
    """Return (kind, start, size, whether in the plan's bytes) of a field's token after its default."""
    number = p[field + at_.F_TOKEN]
    if number >= 0:
        token = at_.S_TOKENS + number * at_.T_WORDS
        kind = s[token + at_.T_KIND]
        takes_default = kind == at_.ABSENT or (
            kind == at_.NULL and p[field + at_.F_FLAGS] & at_.NULL_DEFAULT != 0
        )
        if not takes_default:
            return kind, s[token + at_.T_START], s[token + at_.T_SIZE], False
    return p[field + at_.F_KIND], p[field + at_.F_START], p[field + at_.F_SIZE], True


@njit(cache=True, nogil=True)
def _event_code(b, p, k, s):  # type: ignore[no-untyped-def]
    """Return the code of the record's event type, -1 of any that is not declared."""
    field = p[at_.H_EVENT]
    if field < 0:
        return _NO
    kind, start, size, own = _token(p, s, field)
    if kind != at_.STRING:
        return _NO
    return find_name(k if own else b, start, size, p[field + at_.F_SPACE], p, k)


@njit(cache=True, nogil=True)
def _may_miss(p, k, field, event):  # type: ignore[no-untyped-def]
    """Return whether a record of an event type may do without a field."""
    if p[field + at_.F_FLAGS] & at_.REQUIRED:
        return False
    needed = p[field + at_.F_NEEDED]
    if needed == at_.NEVER:
        return True
    return needed >= 0 and (event < 0 or k[needed + event] == 0)


@njit(cache=True, nogil=True)
def _is_id(out, at, size):  # type: ignore[no-untyped-def]
    for i in range(0, size, STEP):
        stops = id_ends(out, at + i)
        if stops != 0 and i + lowest_bit(stops) < size:
            return False
    return True


@njit(cache=True, nogil=True)
def _put_text(source, kind, start, size, out, used, p, s, field):  # type: ignore[no-untyped-def]
    """Write the text of an id or a category; return where the next one goes, -1 in doubt."""
    flags, column = p[field + at_.F_FLAGS], p[field + at_.F_COLUMN]
    if kind == at_.STRING or (kind == at_.INTEGER and flags & at_.FROM_INTEGER != 0):
        copy_bytes(out, used, source, start, size)
        end = used + size
    elif kind == at_.ESCAPED:
        end = unescape(source, start, size, out, used)
    else:
        return _NO
    size = end - used
    if p[field + at_.F_TYPE] == at_.TYPE_ID and (
        size == 0 or size > p[field + at_.F_MAX_CHARS] or not _is_id(out, used, size)
    ):
        return _NO
    s[p[at_.H_S_START] + column] = used
    s[p[at_.H_S_SIZE] + column] = size
    s[p[at_.H_S_STATE] + column] = at_.PRESENT
    s[p[at_.H_S_STATE] + column + 1] = at_.PRESENT
    return end


@njit(cache=True, nogil=True)
def _number_word(source, kind, start, size, p, s, field):  # type: ignore[no-untyped-def]
    """Write the word of a number, an integer or a boolean; return whether there was no doubt."""
    flavour, word = p[field + at_.F_TYPE], DOUBT
    if flavour == at_.TYPE_BOOL:
        if kind == at_.TRUE or kind == at_.FALSE:
            word = np.int64(1 if kind == at_.TRUE else 0)
    elif flavour == at_.TYPE_INTEGER:
        if kind == at_.INTEGER:
            word = integer_of(source, start, size)
    elif kind == at_.INTEGER or kind == at_.NUMBER:
        sure, number = number_of(source, start, size, p)
        if sure:
            word = bits_of(number)
    if word == DOUBT:
        return False
    s[p[at_.H_S_WORDS] + p[field + at_.F_COLUMN]] = word
    s[p[at_.H_S_STATE] + p[field + at_.F_COLUMN]] = at_.PRESENT
    return True


@njit(cache=True, nogil=True)
def _code_word(source, kind, start, size, p, k, s, field):  # type: ignore[no-untyped-def]
    """Write the word of an enum or a country; undeclared ones are counted."""
    if kind != at_.STRING and (kind != at_.INTEGER or p[field + at_.F_FLAGS] & at_.FROM_INTEGER == 0):
        return False
    word = _NO
    if p[field + at_.F_TYPE] == at_.TYPE_ENUM:
        word = find_name(source, start, size, p[field + at_.F_SPACE], p, k)
    elif size == 2:
        first, second = np.int64(source[start]), np.int64(source[start + 1])
        if 65 <= first <= 90 and 65 <= second <= 90:
            word = first << 8 | second
    column = p[field + at_.F_COLUMN]
    if word < 0:
        s[p[at_.H_S_STATE] + column] = at_.COUNTED
    else:
        s[p[at_.H_S_WORDS] + column] = word
        s[p[at_.H_S_STATE] + column] = at_.PRESENT
    return True


@njit(cache=True, nogil=True)
def _time_word(source, kind, start, size, p, s, field):  # type: ignore[no-untyped-def]
    """Write the word of a time or a date; return whether there was no doubt."""
    word = DOUBT
    if p[field + at_.F_TYPE] == at_.TYPE_DATE:
        if kind == at_.STRING and size == 10:
            word = day_of(source, start, p)
    elif kind == at_.STRING:
        word = time_of(source, start, size, p)
    elif kind == at_.INTEGER:
        word = time_of_integer(source, start, size, p)
    if word == DOUBT:
        return False
    s[p[at_.H_S_WORDS] + p[field + at_.F_COLUMN]] = word
    s[p[at_.H_S_STATE] + p[field + at_.F_COLUMN]] = at_.PRESENT
    return True


@njit(cache=True, nogil=True)
def _money_word(b, source, kind, start, size, p, k, s, field):  # type: ignore[no-untyped-def]
    """Write the word of an amount in its currency's minor units; return whether there was no doubt."""
    if kind != at_.STRING and kind != at_.INTEGER and kind != at_.NUMBER:
        return False
    paid, place, length, own = _token(p, s, p[field + at_.F_CURRENCY])
    if paid != at_.STRING:
        return False
    decimals = decimals_of(k if own else b, place, length, p, k)
    if decimals < 0:
        return False
    word = money_of(source, start, size, p[field + at_.F_FLAGS] & at_.SIGNED != 0, decimals, p)
    if word == DOUBT:
        return False
    s[p[at_.H_S_WORDS] + p[field + at_.F_COLUMN]] = word
    s[p[at_.H_S_STATE] + p[field + at_.F_COLUMN]] = at_.PRESENT
    return True


@njit(cache=True, nogil=True)
def _geo_words(b, p, k, s, field, event):  # type: ignore[no-untyped-def]
    """Write a point; half of one, or one off the globe, is counted."""
    sent = there = np.int64(0)
    first = second = 0.0
    for part in range(2):
        token = at_.S_TOKENS + p[field + at_.F_TOKEN + part] * at_.T_WORDS
        kind = s[token + at_.T_KIND]
        if kind == at_.ABSENT or kind == at_.NULL:
            if not _may_miss(p, k, field, event):
                return False
            continue
        if kind != at_.INTEGER and kind != at_.NUMBER:
            return False
        sent += 1
        sure, number = number_of(b, s[token + at_.T_START], s[token + at_.T_SIZE], p)
        if not sure:
            return False
        if abs(number) <= np.float64(p[at_.H_MAX_LATITUDE + part]):
            there += 1
        if part == 0:
            first = number
        else:
            second = number
    words, states = p[at_.H_S_WORDS] + p[field + at_.F_COLUMN], p[at_.H_S_STATE] + p[field + at_.F_COLUMN]
    if there == 2:
        s[words], s[words + 1] = bits_of(first), bits_of(second)
        s[states] = s[states + 1] = at_.PRESENT
    elif sent != 0:
        s[states] = at_.COUNTED
    return True


@njit(cache=True, nogil=True)
def read_fields(b, p, k, s, out, used):  # type: ignore[no-untyped-def]
    """Fill the scratch row from the tokens; return where the next text goes, -1 in doubt."""
    for i in range(p[at_.H_WORDS]):
        s[p[at_.H_S_WORDS] + i] = s[p[at_.H_S_STATE] + i] = 0
    event = _event_code(b, p, k, s)
    for i in range(p[at_.H_FIELDS]):
        field = at_.H_SIZE + i * at_.F_WORDS
        flavour = p[field + at_.F_TYPE]
        if flavour == at_.TYPE_GEO:
            if not _geo_words(b, p, k, s, field, event):
                return _NO
            continue
        kind, start, size, own = _token(p, s, field)
        if kind == at_.ABSENT or kind == at_.NULL:
            if not _may_miss(p, k, field, event):
                return _NO
            continue
        source = k if own else b
        if flavour == at_.TYPE_ID or flavour == at_.TYPE_CATEGORY:
            used = _put_text(source, kind, start, size, out, used, p, s, field)
            if used < 0:
                return _NO
        elif flavour == at_.TYPE_ENUM or flavour == at_.TYPE_COUNTRY:
            if not _code_word(source, kind, start, size, p, k, s, field):
                return _NO
        elif flavour == at_.TYPE_TIME or flavour == at_.TYPE_DATE:
            if not _time_word(source, kind, start, size, p, s, field):
                return _NO
        elif flavour == at_.TYPE_MONEY:
            if not _money_word(b, source, kind, start, size, p, k, s, field):
                return _NO
        elif not _number_word(source, kind, start, size, p, s, field):
            return _NO
    return used
