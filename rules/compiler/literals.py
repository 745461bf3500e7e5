"""Constants: what a literal means beside a value of another type, and how it looks as column words."""

from __future__ import annotations

import math
import re
import struct
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from fraudstream.rules.bundle import Slot, Type
from fraudstream.rules.compiler.functions import PLAIN
from fraudstream.rules.compiler.suggest import suggest
from fraudstream.rules.compiler.terms import (
    DATE,
    DURATION,
    INTEGER,
    MONEY,
    NUMBER,
    TEXT,
    TIME,
    Constant,
    Kind,
    Scope,
    phrase,
)
from fraudstream.rules.compiler.zones import parse_date, parse_instant
from fraudstream.rules.siphash import hash_text

MIN_INT64, MAX_INT64 = -(2**63), 2**63 - 1
_COUNTRY = re.compile(r"[A-Z]{2}")
_PLAIN = re.compile(r"(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,9})?")
"""What most values of tests are; the grammar reads it as ``number_constant`` does."""


class Refusal(NamedTuple):
    """Why a constant can not stand where it stands."""

    message: str
    hint: str = ""


@lru_cache(maxsize=4_096)
def number_constant(digits: str, *, percent: bool) -> Constant | Refusal:
    """Read ``1000``, ``0.5`` or ``50%``; digits only, no sign."""
    exact = Fraction(digits)
    if percent or "." in digits:
        return number_of(exact / 100 if percent else exact)
    if exact > MAX_INT64:
        return Refusal(f"`{digits}` is too large", "whole numbers end at 9223372036854775807")
    return Constant(INTEGER, int(exact), exact)


def plain_number(text: str) -> Constant | None:
    """Read an ordinary number without the grammar; None: ask the grammar."""
    found = number_constant(text, percent=False) if _PLAIN.fullmatch(text) else None
    return found if isinstance(found, Constant) else None


def number_of(exact: Fraction) -> Constant | Refusal:
    """Return the number nearest to an exact value."""
    try:
        return Constant(NUMBER, float(exact), exact)
    except OverflowError:
        return Refusal("the number is too large")


def money_constant(digits: str, currency: str, scope: Scope) -> Constant | Refusal:
    """Read ``100 CNY`` into minor units of its currency."""
    decimals = scope.decimals(currency)
    if decimals is None:
        return Refusal(f"unknown currency `{currency}`", "use the three letters of ISO 4217, such as `CNY`")
    minor = Fraction(digits) * 10**decimals
    if minor.denominator != 1:
        return Refusal(f"`{digits} {currency}` has too many decimals", f"{currency} has {decimals}")
    if minor > MAX_INT64:
        return Refusal(f"`{digits} {currency}` is too large")
    return Constant(MONEY, int(minor), minor, currency)


def duration_constant(milliseconds: int) -> Constant:
    """Return a duration."""
    return Constant(DURATION, milliseconds, Fraction(milliseconds))


def as_float(value: Constant) -> Constant:
    """Return the same constant with binary64 content."""
    if value.kind.repr == "f":
        return value
    assert isinstance(value.value, int)
    kind = NUMBER if value.kind.type is Type.INTEGER else value.kind.as_float()
    return Constant(kind, float(value.value), value.exact, value.currency)


def adapt(value: Constant, kind: Kind, scope: Scope, beside: str = "") -> Constant | Refusal:
    """Give a constant the meaning that it has beside a value of ``kind``.

    A whole number beside an integer stays one, a fraction beside an integer becomes a number.

    Args:
        value: The constant as written.
        kind: Kind of the value that it stands beside.
        scope: Currency and zone.
        beside: The other value as written, for messages.

    Returns:
        The constant in ``kind`` (or NUMBER beside INTEGER), or why there is none.
    """
    source, target = value.kind.type, kind.type
    if isinstance(value.value, str):
        return _adapt_text(value.value, kind, scope, beside)
    if target in PLAIN and source in PLAIN:
        return as_float(value) if kind.repr == "f" else value
    if target is Type.MONEY and source in PLAIN:
        return _money_of(value, kind, scope)
    if target is Type.MONEY and source is Type.MONEY and value.currency not in ("", scope.base_currency):
        base = scope.base_currency
        return Refusal(
            f"amounts in rules are in {base}, this one in {value.currency}",
            f"write the amount in {base}, or compare a field that keeps the currency sent",
        )
    if source is target:
        return as_float(value) if kind.repr == "f" else value
    return mismatch(kind, value.kind, value)


def _money_of(value: Constant, kind: Kind, scope: Scope) -> Constant | Refusal:
    base = scope.base_currency
    decimals = scope.decimals(base) or 0
    exact = value.exact if value.exact is not None else Fraction(0)
    factor = 10**decimals
    # Fractions are slow, and most amounts are whole.
    minor = Fraction(exact.numerator * factor) if exact.denominator == 1 else exact * factor
    if minor.denominator != 1:
        return Refusal(f"an amount in {base} has at most {decimals} decimals")
    if not MIN_INT64 <= minor <= MAX_INT64:
        return Refusal("the amount is too large")
    money = Constant(MONEY, int(minor), minor)
    return as_float(money) if kind.repr == "f" else money


def _adapt_text(text: str, kind: Kind, scope: Scope, beside: str) -> Constant | Refusal:
    target = kind.type
    if target in (Type.CATEGORY, Type.ID):
        return Constant(Kind(target), text)
    if target is Type.ENUM:
        if text in kind.values:
            return Constant(kind, kind.values.index(text))
        where = f"`{beside}`" if beside else "this field"
        hint = suggest(text, kind.values) or f"it is one of {', '.join(kind.values[:12])}"
        return Refusal(f'`"{text}"` is not a value of {where}', hint)
    if target is Type.COUNTRY:
        if _COUNTRY.fullmatch(text):
            return Constant(kind, text)
        return Refusal(f'`"{text}"` is not a country', 'write its two capital letters, such as `"CN"`')
    if target is Type.DATE:
        days = parse_date(text)
        return (
            Refusal(f'`"{text}"` is not a date', 'write `"2026-01-31"`')
            if days is None
            else Constant(DATE, days)
        )
    if target is Type.TIME:
        instant, problems = parse_instant(text, scope.zone)
        if instant is None:
            return Refusal(problems[0].message, problems[0].hint)
        return Constant(TIME, instant)
    return mismatch(kind, TEXT, None)


def mismatch(first: Kind, second: Kind, value: Constant | None) -> Refusal:
    """Say why two kinds can not stand beside each other; ``value`` if the second is a constant."""
    message = f"{phrase(first)} can not stand beside {phrase(second)}"
    pair = {first.type, second.type}
    if second is TEXT and value is None and first.type in (*PLAIN, Type.MONEY, Type.DURATION, Type.BOOL):
        return Refusal(message, "remove the quotes")
    if Type.DURATION in pair and pair & set(PLAIN):
        shown = f"{value.value}" if value is not None and isinstance(value.value, int) else "30"
        return Refusal(message, f"write a duration with its unit: `{shown}m`, `{shown}d`")
    if pair == {Type.DATE, Type.TIME}:
        return Refusal(message, "take the date of the time with `local_date(...)`")
    if Type.MONEY in pair and pair & set(PLAIN):
        return Refusal(message, "only a constant number beside an amount means money")
    if Type.BOOL in pair:
        return Refusal(message, "compare values first, then join conditions with `and`, `or`, `not`")
    if pair <= {Type.ID, Type.CATEGORY, Type.ENUM, Type.COUNTRY}:
        return Refusal(message, "texts of different types never mean the same")
    return Refusal(message)


def typed_text(text: str, kind: Kind, scope: Scope) -> Constant | Refusal | None:
    """Read unquoted text for types whose values are written as text; None: the type is not one of them."""
    if kind.type is Type.GEO:
        parts = text.strip().removeprefix("[").removesuffix("]").split(",")
        try:
            latitude, longitude = (float(part) for part in parts)
        except ValueError:
            latitude = longitude = math.nan
        if abs(latitude) <= 90 and abs(longitude) <= 180:
            return Constant(kind, (latitude, longitude))
        return Refusal(f"`{text[:40]}` is not a place", "write latitude and longitude: `30.57, 104.06`")
    if kind.type in (Type.CATEGORY, Type.ID, Type.ENUM, Type.COUNTRY, Type.DATE, Type.TIME):
        return _adapt_text(text, kind, scope, "")
    return None


def fit(value: Constant, slot: Slot, kind: Kind, scope: Scope) -> Constant | Refusal:
    """Make a constant a value of a slot; where the slot is binary64, money may have any decimals."""
    if kind.currency is not None:
        if value.kind.type is Type.MONEY and value.currency:
            return value
        return Refusal(f"`{slot.name}` is an amount as sent", "write it with its currency: `100 USD`")
    if kind.type is Type.MONEY and kind.repr == "f" and value.kind.type in PLAIN and value.exact is not None:
        scaled = number_of(value.exact * 10 ** (scope.decimals(scope.base_currency) or 0))
        return Constant(kind, scaled.value, scaled.exact) if isinstance(scaled, Constant) else scaled
    found = adapt(value, kind, scope, slot.name)
    if isinstance(found, Constant) and found.kind.repr != kind.repr:
        return Refusal("a whole number is expected")
    return found


def words(value: Constant, hash_key: bytes) -> tuple[int, ...]:
    """Return a constant's column words (one or two int64), texts hashed under ``hash_key``."""
    kind, content = value.kind, value.value
    if isinstance(content, tuple):
        return tuple(float_word(part) for part in content)
    if isinstance(content, str):
        if kind.type is Type.COUNTRY:
            return (country_word(content),)
        return hash_text(content.encode(), hash_key)
    return (float_word(float(content)) if kind.repr == "f" else int(content),)


def country_word(code: str) -> int:
    """Return the column word of a country."""
    return ord(code[0]) << 8 | ord(code[1])


def float_word(value: float) -> int:
    """Return the bits of a binary64 as an int64; there is one zero."""
    bits: int = struct.unpack("<q", struct.pack("<d", value + 0.0))[0]
    return bits
