"""Tokens to words: one reader for each field type.

A reader writes the words of one present value into a `Row`, leaves it missing, or raises the first
code of the contract that applies to it. What is *missing* by rule and not by absence is counted.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Final

from fraudstream.rules.bundle import Type
from fraudstream.rules.iso4217 import DECIMALS
from fraudstream.stream.wire.codes import Unreadable
from fraudstream.stream.wire.money import parse_amount, to_minor
from fraudstream.stream.wire.times import parse_date, parse_time, parse_time_ms
from fraudstream.stream.wire.tokens import FloatText, IntText

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
ABSENT: Final = object()
"""Token of a member that its object does not have."""
WRONG: Final = object()
"""Token of a member whose parent is no object: wrong type for every field."""

MAX_LATITUDE, MAX_LONGITUDE = 90.0, 180.0
ID_CHARS: Final = r"[!#-\[\]-~]"
"""U+0021 to U+007E without the quote and the backslash: ids need no escapes anywhere."""

_is_id = re.compile(ID_CHARS + "+").fullmatch
_is_country = re.compile(r"[A-Z]{2}").fullmatch
_float_bits = struct.Struct("<d").pack
_as_word = struct.Struct("<q").unpack
_float_pair_bits = struct.Struct("<2d").pack
_as_words = struct.Struct("<2q").unpack


class Row:
    """Words of one record while it is read."""

    __slots__ = ("counted", "state", "text_columns", "texts", "words")

    def __init__(self, words: int) -> None:
        self.words = [0] * words
        self.state = bytearray(words)
        """1 present; ids and categories stand in ``texts`` instead."""
        self.text_columns: list[int] = []
        """First columns of ids and categories."""
        self.texts: list[bytes] = []
        """Their unescaped UTF-8."""
        self.counted: list[tuple[str, str]] = []
        """(field name, cause) of values that are missing by rule."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a token stands: a member of one of the record's objects."""

    node: int
    """Number of the object; the last node holds the constants of the schema."""
    member: str
    path: str
    """As operators write it; rejections name it."""


@dataclass(frozen=True, slots=True)
class FieldTable:
    """What reading one field takes, prepared once."""

    index: int
    """Place in the schema: earlier fields are judged first."""
    name: str
    column: int
    read: Reader
    place: Place
    place2: Place | None
    """Longitude of a geo field."""
    required: bool
    required_for: frozenset[str]
    when_absent: object
    """Token of an absent member: the default or `ABSENT`."""
    when_null: object
    """Token of a null member: an enum's default, or None."""
    codes: Mapping[str, int]
    """Enum: text -> code."""
    from_integer: bool
    signed: bool
    max_chars: int


Reader = Callable[[FieldTable, object, Row], None]


def text_of(field: FieldTable, token: object) -> str:
    """Return the text of a string, or an integer's digits where the schema reads them.

    Raises:
        Unreadable: ``wrong_type``.
    """
    if type(token) is str or (field.from_integer and type(token) is IntText):
        return token
    raise Unreadable("wrong_type")


def id_of(field: FieldTable, token: object) -> str:
    """Return the text of an id.

    Raises:
        Unreadable: ``wrong_type``, ``bad_id``.
    """
    if type(token) is not str and not (field.from_integer and type(token) is IntText):
        raise Unreadable("wrong_type")
    if len(token) > field.max_chars or _is_id(token) is None:
        raise Unreadable("bad_id")
    return token


def time_of(token: object) -> int:
    """Return milliseconds since the epoch of RFC 3339 text or an integer.

    Raises:
        Unreadable: ``wrong_type``, ``bad_time``, ``time_out_of_range``.
    """
    if type(token) is str:
        return parse_time(token)
    if type(token) is IntText:
        return parse_time_ms(token)
    raise Unreadable("wrong_type")


def number_of(token: object) -> float | None:
    """Return the nearest binary64 (negative zero as zero), None beyond its range.

    Raises:
        Unreadable: ``wrong_type``.
    """
    if type(token) is not IntText and type(token) is not FloatText:
        raise Unreadable("wrong_type")
    number = float(token) + 0.0  # -0.0 + 0.0 = 0.0: equal numbers have equal words
    return number if isfinite(number) else None


def amount_of(field: FieldTable, token: object) -> tuple[bool, str, str]:
    """Split the digits of a decimal string or a JSON number; see `parse_amount`.

    Raises:
        Unreadable: ``wrong_type``, ``bad_amount``, ``negative_amount``.
    """
    if isinstance(token, str):  # number texts are str too
        return parse_amount(token, signed=field.signed)
    raise Unreadable("wrong_type")


def put_money(field: FieldTable, token: object, currency: object, row: Row) -> None:
    """Write an amount in minor units of the currency; one of the wrong type is judged elsewhere.

    Raises:
        Unreadable: ``wrong_type``, ``bad_amount``, ``negative_amount``, ``amount_precision``,
            ``amount_too_large``, ``unknown_currency``.
    """
    amount = amount_of(field, token)
    if type(currency) is not str:
        return
    decimals = DECIMALS.get(currency)
    if decimals is None:
        raise Unreadable("unknown_currency")
    row.words[field.column] = to_minor(amount, decimals)
    row.state[field.column] = 1


def float_word(number: float) -> int:
    """Return the bits of a binary64 as an int64 word."""
    word: int = _as_word(_float_bits(number))[0]
    return word


def put_geo(field: FieldTable, latitude: float | None, longitude: float | None, row: Row) -> None:
    """Write a point; half a point, or one off the globe, is missing and counted."""
    at = field.column
    if (
        latitude is None
        or longitude is None
        or abs(latitude) > MAX_LATITUDE
        or abs(longitude) > MAX_LONGITUDE
    ):
        row.counted.append((field.name, "bad_geo"))
        return
    row.words[at], row.words[at + 1] = _as_words(_float_pair_bits(latitude, longitude))
    row.state[at] = row.state[at + 1] = 1


def _read_id(field: FieldTable, token: object, row: Row) -> None:
    row.texts.append(id_of(field, token).encode())
    row.text_columns.append(field.column)


def _read_category(field: FieldTable, token: object, row: Row) -> None:
    row.texts.append(text_of(field, token).encode())
    row.text_columns.append(field.column)


def _read_enum(field: FieldTable, token: object, row: Row) -> None:
    code = field.codes.get(text_of(field, token))
    if code is None:
        row.counted.append((field.name, "undeclared"))
        return
    row.words[field.column] = code
    row.state[field.column] = 1


def _read_country(field: FieldTable, token: object, row: Row) -> None:
    text = text_of(field, token)
    if _is_country(text) is None:
        row.counted.append((field.name, "undeclared"))
        return
    row.words[field.column] = ord(text[0]) << 8 | ord(text[1])
    row.state[field.column] = 1


def _read_time(field: FieldTable, token: object, row: Row) -> None:
    row.words[field.column] = time_of(token)
    row.state[field.column] = 1


def _read_date(field: FieldTable, token: object, row: Row) -> None:
    if type(token) is not str:
        raise Unreadable("wrong_type")
    row.words[field.column] = parse_date(token)
    row.state[field.column] = 1


def _read_number(field: FieldTable, token: object, row: Row) -> None:
    number = number_of(token)
    if number is not None:
        row.words[field.column] = float_word(number)
        row.state[field.column] = 1


def _read_integer(field: FieldTable, token: object, row: Row) -> None:
    if type(token) is not IntText:
        raise Unreadable("wrong_type")
    if len(token) > 20:  # beyond int64; `int` refuses 4,300 digits in its own way
        return
    number = int(token)
    if INT64_MIN <= number <= INT64_MAX:
        row.words[field.column] = number
        row.state[field.column] = 1


def _read_bool(field: FieldTable, token: object, row: Row) -> None:
    if token is not True and token is not False:
        raise Unreadable("wrong_type")
    row.words[field.column] = int(token)
    row.state[field.column] = 1


def _read_elsewhere(field: FieldTable, _token: object, _row: Row) -> None:
    raise AssertionError(f"field `{field.name}` is read with other members, not alone")


READERS: Mapping[Type, Reader] = {
    Type.NUMBER: _read_number,
    Type.INTEGER: _read_integer,
    Type.MONEY: _read_elsewhere,  # needs its currency: `put_money`
    Type.DURATION: _read_integer,
    Type.TIME: _read_time,
    Type.DATE: _read_date,
    Type.BOOL: _read_bool,
    Type.ENUM: _read_enum,
    Type.CATEGORY: _read_category,
    Type.COUNTRY: _read_country,
    Type.ID: _read_id,
    Type.GEO: _read_elsewhere,  # has two members: `put_geo`
}
