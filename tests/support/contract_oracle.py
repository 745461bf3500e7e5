"""A second reading of the wire contract, as slow and as literal as it is written.

It goes code by code over the whole record and field by field in each code, with other tools than
the code under test: `datetime` for times, `Decimal` for money, the parsed value for depth.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from fraudstream.rules.bundle import Field, Schema, Type
from fraudstream.rules.iso4217 import DECIMALS
from fraudstream.stream.wire.codes import REJECTION_CODES


class Num:
    """A JSON number's text."""

    def __init__(self, text: str) -> None:
        self.text = text

    @property
    def whole(self) -> bool:
        """Tell whether there is neither fraction nor exponent."""
        return not set(self.text) & set(".eE")


class Members(list):
    """An object's (name, value) pairs."""


class Nothing:
    """No such member; ``below_value``: because its parent is a value."""

    def __init__(self, below_value: bool) -> None:
        self.below_value = below_value


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _depth(value: Any) -> int:
    if isinstance(value, Members):
        return 1 + max((_depth(item) for _, item in value), default=0)
    if isinstance(value, list):
        return 1 + max((_depth(item) for item in value), default=0)
    return 0


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Members):
        for name, item in value:
            yield name
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def _parse(raw: bytes) -> Any:
    value = json.loads(
        raw.decode(), object_pairs_hook=Members, parse_int=Num, parse_float=Num, parse_constant=_no_constant
    )
    if _depth(value) > 16 or any(0xD800 <= ord(char) <= 0xDFFF for text in _strings(value) for char in text):
        raise ValueError
    return value


class Reading:
    """One record under one schema."""

    def __init__(self, root: Any, schema: Schema) -> None:
        self.root = root
        self.schema = schema

    def at(self, path: tuple[str, ...]) -> Any:
        """Return the JSON value at a path."""
        value = self.root
        for name in path:
            if value is None or isinstance(value, Nothing):
                return value if isinstance(value, Nothing) else Nothing(below_value=False)
            if not isinstance(value, Members):
                return Nothing(below_value=True)
            found = [item for key, item in value if key == name]
            value = found[-1] if found else Nothing(below_value=False)
        return value

    def value(self, field: Field, path: tuple[str, ...] | None = None) -> Any:
        """Return a field's JSON value after its default."""
        if field.const is not None:
            return field.const
        value = self.at(field.path if path is None else path)
        absent = isinstance(value, Nothing) and not value.below_value
        if field.default is not None and (absent or (value is None and field.type is Type.ENUM)):
            is_number = field.type in (Type.NUMBER, Type.INTEGER, Type.DURATION)
            return {"true": True, "false": False}.get(
                field.default, Num(field.default) if is_number else field.default
            )
        return value

    def places(self) -> Iterator[tuple[Field, tuple[str, ...], Any]]:
        """Yield (field, path, value) in the schema's order."""
        for field in self.schema.fields:
            for path in (field.path, field.path2) if field.path2 else (field.path,):
                yield field, path, self.value(field, path)

    def repeated(self, path: tuple[str, ...]) -> bool:
        """Tell whether a member on the path occurs twice."""
        value = self.root
        for name in path:
            if not isinstance(value, Members):
                return False
            found = [item for key, item in value if key == name]
            if len(found) != 1:
                return len(found) > 1
            value = found[0]
        return False

    def needed(self, field: Field) -> bool:
        """Tell whether a record of this event type must have the field."""
        try:
            kind = self.schema.field(self.schema.event_type)
        except KeyError:
            return field.required
        value = self.value(kind)
        return field.required or (
            isinstance(value, str) and value in kind.values and value in field.required_for
        )

    def pays_in(self, field: Field) -> bool:
        """Return whether some money of the record is in the currency that ``field`` holds."""
        return any(
            money.type is Type.MONEY
            and money.currency == field.name
            and self.value(money) is not None
            and (not isinstance(self.value(money), Nothing) or self.value(money).below_value)
            for money in self.schema.fields
        )

    def breaks(self, code: str, field: Field, path: tuple[str, ...], value: Any) -> bool:
        """Tell whether a code applies to one member."""
        absent = isinstance(value, Nothing) and not value.below_value
        if code == "duplicate_member":
            return field.const is None and self.repeated(path)
        if code == "missing_field":
            return absent and (self.needed(field) or self.pays_in(field))
        if code == "null_field":
            return value is None and (self.needed(field) or self.pays_in(field))
        if absent or value is None:
            return False
        if code == "wrong_type":
            return not self.right_type(field, value)
        if not self.right_type(field, value):
            return False
        if code == "bad_id":
            most = 64 if field.name == self.schema.event_id else 128
            return field.type is Type.ID and not is_id(text_of(value), min(most, field.max_chars))
        if code in ("bad_time", "time_out_of_range"):
            return field.type in (Type.TIME, Type.DATE) and time_of(field, value) == code
        if code == "unknown_currency":
            return self.pays_in(field) and value not in DECIMALS
        return field.type is Type.MONEY and self.money_of(field, value) == code

    def right_type(self, field: Field, value: Any) -> bool:
        """Tell whether a value's JSON type suits its field."""
        if isinstance(value, Nothing):
            return False
        number, text = isinstance(value, Num), isinstance(value, str)
        match field.type:
            case Type.NUMBER | Type.GEO:
                return number
            case Type.INTEGER | Type.DURATION:
                return number and value.whole
            case Type.MONEY:
                return number or text
            case Type.TIME:
                return text or (number and value.whole)
            case Type.BOOL:
                return isinstance(value, bool)
            case Type.ID | Type.CATEGORY | Type.ENUM:
                return text or (field.from_integer and number and value.whole)
            case _:
                return text

    def money_of(self, field: Field, value: Any) -> int | str:
        """Return minor units, or the first code that applies."""
        text = text_of(value)
        if not re.fullmatch(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?", text):
            return "bad_amount"
        if text.startswith("-") and not field.signed:
            return "negative_amount"
        currency = self.value(self.schema.field(field.currency or ""))
        if not isinstance(currency, str) or currency not in DECIMALS:
            return 0
        minor = Fraction(text) * 10 ** DECIMALS[currency]
        if minor.denominator != 1:
            return "amount_precision"
        return "amount_too_large" if abs(minor) > 10**13 else int(minor)

    def read(self, field: Field) -> Any:
        """Return the Python value of a field of a good record, None where missing."""
        value = self.value(field)
        if field.type is Type.GEO:
            parts = (value, self.value(field, field.path2))
            if not all(isinstance(part, Num) for part in parts):
                return None
            lat, lon = (float(part.text) for part in parts)
            return (lat, lon) if abs(lat) <= 90 and abs(lon) <= 180 else None
        if value is None or isinstance(value, Nothing):
            return None
        match field.type:
            case Type.MONEY:
                return self.money_of(field, value)
            case Type.TIME | Type.DATE:
                return time_of(field, value)
            case Type.NUMBER:
                return float(value.text) if math.isfinite(float(value.text)) else None
            case Type.INTEGER | Type.DURATION:
                number = Decimal(value.text)
                return int(number) if -(2**63) <= number < 2**63 else None
            case Type.ENUM:
                return value if value in field.values else None
            case Type.COUNTRY:
                return value if re.fullmatch("[A-Z][A-Z]", value) else None
            case Type.BOOL:
                return value
            case _:
                return text_of(value)


def text_of(value: Any) -> str:
    """Return a string, or a number's text."""
    return value.text if isinstance(value, Num) else value


def is_id(text: str, most: int) -> bool:
    """Return whether a text is a good id."""
    return 1 <= len(text) <= most and all(0x21 <= ord(char) <= 0x7E and char not in '"\\' for char in text)


def time_of(field: Field, value: Any) -> int | str:
    """Return milliseconds (days for a date), or a code."""
    if field.type is Type.DATE:
        try:
            if not re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
                return "bad_time"
            day = datetime.strptime(value.replace("0000-", "0004-"), "%Y-%m-%d").replace(tzinfo=UTC)
        except ValueError:
            return "bad_time"
        in_days = (day - datetime(1970, 1, 1, tzinfo=UTC)).days
        return in_days if 1900 <= day.year <= 2100 else "time_out_of_range"
    if isinstance(value, Num):
        number = Decimal(value.text)
        return int(number) if 946684800000 <= number < 4102444800000 else "time_out_of_range"
    match = re.fullmatch(
        r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})",
        value,
    )
    if match is None:
        return "bad_time"
    day, clock, fraction, zone = match.groups()
    day = day.replace(
        "0000-", "0004-"
    )  # RFC 3339 has a leap year 0, `datetime` has not; both are out of range
    try:
        at = datetime.strptime(f"{day}T{clock}", "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return "bad_time"
    if clock.endswith(("60", "61")):
        return "bad_time"
    if zone not in "Zz":
        if int(zone[1:3]) > 23 or int(zone[4:]) > 59:
            return "bad_time"
        shift = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:]))
        time = (at - datetime(1970, 1, 1, tzinfo=UTC)) + (shift if zone[0] == "-" else -shift)
    else:
        time = at - datetime(1970, 1, 1, tzinfo=UTC)
    exact = time // timedelta(milliseconds=1) + int(Decimal(fraction or "0") * 1000)
    return exact if 946684800000 <= exact < 4102444800000 else "time_out_of_range"


def judge(raw: bytes | None, schema: Schema) -> tuple[str, str] | dict[str, Any]:
    """Return (code, field) of a bad record, the fields of a good one."""
    if raw is not None and len(raw) > 65536:
        return "too_large", ""
    if not raw:
        return "empty", ""
    try:
        root = _parse(raw)
    except UnicodeDecodeError:
        return "bad_utf8", ""
    except (ValueError, RecursionError):
        return "bad_json", ""
    if not isinstance(root, Members):
        return "not_object", ""
    reading = Reading(root, schema)
    for code in REJECTION_CODES[5:]:
        for field, path, value in reading.places():
            if reading.breaks(code, field, path, value):
                return code, ".".join(path)
    return {field.name: reading.read(field) for field in schema.fields}
