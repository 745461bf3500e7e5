"""JSON text to tokens: exactly RFC 8259, as the contract reads it.

The standard library's scanner, with hooks that keep what it would throw away: number texts (money
is exact), repeated members, constants that JSON does not have.

========== =====================================================
JSON       token
========== =====================================================
object     tuple of (name, token) pairs, in order, repeats kept
array      list of tokens
string     str
integer    IntText: no fraction, no exponent
number     FloatText: any other
true/false bool
null       None
========== =====================================================
"""

from __future__ import annotations

import json
import re
from typing import Final

from fraudstream.stream.wire.codes import Unreadable

MAX_BYTES: Final = 65_536
"""Largest record: 64 KiB bounds the time of one record at a few milliseconds."""
MAX_DEPTH: Final = 16
"""Deepest nesting; the root is 1."""


class IntText(str):
    """Digits of a JSON integer, maybe with a minus sign."""

    __slots__ = ()


class FloatText(str):
    """Text of a JSON number with a fraction or an exponent."""

    __slots__ = ()


def _no_constant(name: str) -> object:
    raise ValueError(name)


_decode = json.JSONDecoder(
    object_pairs_hook=tuple, parse_int=IntText, parse_float=FloatText, parse_constant=_no_constant
).decode

# The possessive loop and the optional end make one pass of any text, unterminated strings included.
_STRING = re.compile(rb'"(?:[^"\\]+|\\.)*+["\\]?', re.DOTALL)
_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_SQUARE = bytes.maketrans(b"{}", b"[]")
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def _too_deep(raw: bytes) -> bool:
    """Return whether brackets outside strings nest too deep, or do not match (never valid JSON)."""
    brackets = _STRING.sub(b"", raw).translate(_SQUARE, _ALL_BUT_BRACKETS)
    for _ in range(MAX_DEPTH):  # each round takes away exactly the innermost pairs
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)


def _has_lone_surrogate(token: object) -> bool:
    if isinstance(token, str):
        return _SURROGATE.search(token) is not None
    if isinstance(token, (list, tuple)):  # pairs of objects are tuples as well, names included
        return any(_has_lone_surrogate(item) for item in token)
    return False


def parse(raw: bytes) -> object:
    """Return the token of one JSON value with nothing but JSON white space around it.

    Raises:
        Unreadable: ``bad_utf8``, ``bad_json``.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Unreadable("bad_utf8") from None
    # The scan comes first: how deep the scanner itself may recurse depends on its caller's stack.
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and _too_deep(raw):
        raise Unreadable("bad_json")
    try:
        token = _decode(text)
    except (ValueError, RecursionError):
        raise Unreadable("bad_json") from None
    if _SURROGATE_ESCAPE.search(text) is not None and _has_lone_surrogate(token):
        raise Unreadable("bad_json")
    return token
