"""Kernels: one record's JSON to the tokens of the members that its schema reads.

All of the record is validated, what nobody reads too. Anything that is not plainly valid, or that the
contract rejects, is a doubt: the exact lane judges it.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.stream.windows.kernel_bits import pointer
from fraudstream.stream.wire import layout as at_
from fraudstream.stream.wire.kernel_bytes import first_bytes, same_bytes, word_at
from fraudstream.stream.wire.kernel_text import string_end

_NO = np.int64(-1)
_VALUE, _VALUE_OR_END, _NAME, _NAME_OR_END, _AFTER = range(5)
_K1 = np.int64(-49064778989728563)  # odd words of MurmurHash3's finalizer
_K2 = np.int64(-4265267296055464877)
_LOW31 = np.int64(0x7FFFFFFF)


@njit(cache=True, nogil=True)
def name_slot(b, at, size, space, mask):  # type: ignore[no-untyped-def]
    """Return where the search for a name begins in the table of names."""
    if size >= 8:
        first, last = word_at(b, at), word_at(b, at + size - 8)
    else:
        first = first_bytes(word_at(b, at), size)
        last = first
    h = (first ^ (space * _K2)) * _K1
    h ^= (h >> 32) & _LOW31
    h = (h ^ last ^ size) * _K2
    h ^= (h >> 29) & _LOW31
    h *= _K1
    return (h >> 33) & mask


@njit(cache=True, nogil=True)
def slot_of_name(name, size, space, mask):  # type: ignore[no-untyped-def]
    """Return `name_slot` of the first ``size`` bytes of an array that has eight more."""
    return name_slot(pointer(name), np.int64(0), size, space, mask)


@njit(cache=True, nogil=True)
def find_name(b, at, size, space, p, k):  # type: ignore[no-untyped-def]
    """Return what a name of a space stands for, -1 if the schema does not know it."""
    mask = p[at_.H_MASK]
    slot = name_slot(b, at, size, space, mask)
    while True:
        entry = p[at_.H_NAMES] + slot * at_.N_WORDS
        if p[entry + at_.N_SPACE] == 0:
            return _NO
        if (
            p[entry + at_.N_SPACE] == space + 1
            and p[entry + at_.N_SIZE] == size
            and same_bytes(b, at, k, p[entry + at_.N_START], size)
        ):
            return p[entry + at_.N_TARGET]
        slot = (slot + 1) & mask


@njit(inline="always")
def _skip_space(b, at, end):  # type: ignore[no-untyped-def]
    while at < end and (b[at] == 32 or b[at] == 10 or b[at] == 13 or b[at] == 9):
        at += 1
    return at


@njit(inline="always")
def _skip_digits(b, at, end):  # type: ignore[no-untyped-def]
    while at < end and 48 <= b[at] <= 57:
        at += 1
    return at


@njit(cache=True, nogil=True)
def number_end(b, at, end):  # type: ignore[no-untyped-def]
    """Return 2 * (place behind a number) + (1 if it has a fraction or an exponent), -1 if it is not valid."""
    if b[at] == 45:
        at += 1
    digits = _skip_digits(b, at, end)
    if digits == at or (b[at] == 48 and digits > at + 1):
        return _NO
    at = digits
    fractional = np.int64(0)
    if at < end and b[at] == 46:
        fractional = np.int64(1)
        digits = _skip_digits(b, at + 1, end)
        if digits == at + 1:
            return _NO
        at = digits
    if at < end and (b[at] == 69 or b[at] == 101):
        fractional = np.int64(1)
        at += 1
        if at < end and (b[at] == 43 or b[at] == 45):
            at += 1
        digits = _skip_digits(b, at, end)
        if digits == at:
            return _NO
        at = digits
    return 2 * at + fractional


@njit(inline="always")
def _is_word(b, at, end, k0, k1, k2, k3):  # type: ignore[no-untyped-def]
    return at + 4 <= end and b[at] == k0 and b[at + 1] == k1 and b[at + 2] == k2 and b[at + 3] == k3


@njit(cache=True, nogil=True)
def _literal_end(b, at, end):  # type: ignore[no-untyped-def]
    """Return 4 * (place behind it) + (0 null, 1 true, 2 false); -1 if it is none of them."""
    if _is_word(b, at, end, 110, 117, 108, 108):
        return 4 * (at + 4)
    if _is_word(b, at, end, 116, 114, 117, 101):
        return 4 * (at + 4) + 1
    if b[at] == 102 and _is_word(b, at + 1, end, 97, 108, 115, 101):
        return 4 * (at + 5) + 2
    return _NO


@njit(inline="always")
def _put(s, target, kind, start, size):  # type: ignore[no-untyped-def]
    token = at_.S_TOKENS + target * at_.T_WORDS
    s[token + at_.T_KIND] = kind
    s[token + at_.T_START] = start
    s[token + at_.T_SIZE] = size


@njit(cache=True, nogil=True)
def read_tokens(b, at, end, p, k, s):  # type: ignore[no-untyped-def]
    """Fill the tokens of a record; return whether it is valid and free of doubts.

    ``b[at:end]`` is the record; ``p``, ``k`` and ``s`` are the plan, its bytes and the scratch.
    """
    leaves, tokens, deepest = p[at_.H_LEAVES], p[at_.H_TOKENS], p[at_.H_MAX_DEPTH]
    stack = p[at_.H_S_STACK]
    for i in range(tokens):
        s[at_.S_TOKENS + i * at_.T_WORDS + at_.T_KIND] = at_.ABSENT
    at = _skip_space(b, at, end)
    if at >= end or b[at] != 123:
        return False
    at += 1
    depth = np.int64(1)
    # What stands around: the number of an object that the schema knows, -1 of others, -2 in an array.
    node, target = np.int64(0), _NO
    expected = np.int64(_NAME_OR_END)
    while True:
        at = _skip_space(b, at, end)
        if at >= end:
            return False
        c = np.int64(b[at])
        ends = False
        if expected == _AFTER:
            if c == 44:
                at += 1
                expected = np.int64(_VALUE if node == -2 else _NAME)
                continue
            if c != (93 if node == -2 else 125):
                return False
            ends = True
        elif expected >= _NAME:
            if c == 34:
                found = string_end(b, at + 1, end)
                if found < 0:
                    return False
                target = _NO
                if node >= 0:
                    if found & 1:
                        return False
                    target = find_name(b, at + 1, (found >> 1) - at - 1, node, p, k)
                    if target >= 0 and s[at_.S_TOKENS + target * at_.T_WORDS + at_.T_KIND] != at_.ABSENT:
                        return False
                at = _skip_space(b, (found >> 1) + 1, end)
                if at >= end or b[at] != 58:
                    return False
                at += 1
                expected = np.int64(_VALUE)
                continue
            if c != 125 or expected == _NAME:
                return False
            ends = True
        elif c == 93 and expected == _VALUE_OR_END:
            ends = True
        if ends:
            at += 1
            depth -= 1
            if depth == 0:
                break
            node = s[stack + depth]
            target = _NO
            expected = np.int64(_AFTER)
            continue
        expected = np.int64(_AFTER)
        if c == 34:
            found = string_end(b, at + 1, end)
            if found < 0 or target >= leaves:
                return False
            if target >= 0:
                kind = np.int64(at_.ESCAPED if found & 1 else at_.STRING)
                _put(s, target, kind, at + 1, (found >> 1) - at - 1)
            at = (found >> 1) + 1
        elif c == 123 or c == 91:
            if depth >= deepest or 0 <= target < leaves or (c == 91 and target >= 0):
                return False
            s[stack + depth] = node
            depth += 1
            at += 1
            if c == 91:
                node = np.int64(-2)
                expected = np.int64(_VALUE_OR_END)
            else:
                node = _NO
                if target >= 0:
                    _put(s, target, np.int64(at_.OBJECT), at, np.int64(0))
                    node = target - leaves
                expected = np.int64(_NAME_OR_END)
            target = _NO
        elif c == 45 or 48 <= c <= 57:
            found = number_end(b, at, end)
            if found < 0 or target >= leaves:
                return False
            if target >= 0:
                _put(s, target, np.int64(at_.NUMBER if found & 1 else at_.INTEGER), at, (found >> 1) - at)
            at = found >> 1
        else:
            found = _literal_end(b, at, end)
            if found < 0:
                return False
            if target >= 0:
                which = found & 3
                if which != 0 and target >= leaves:
                    return False
                kind = np.int64(at_.NULL if which == 0 else (at_.TRUE if which == 1 else at_.FALSE))
                _put(s, target, kind, at, np.int64(0))
            at = found >> 2
    return _skip_space(b, at, end) == end
