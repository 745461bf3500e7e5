"""Values of reference tables: text to words, one by one or a column at once.

Both ways give the same words. The column's way is taken where it can be; what it does not understand goes one
by one, which says what is wrong with which value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from math import isfinite
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fraudstream.rules.bundle import ReferenceColumn, Type
from fraudstream.stream.wire.codes import Unreadable
from fraudstream.stream.wire.money import MAX_MINOR, parse_amount, to_minor
from fraudstream.stream.wire.readers import float_word
from fraudstream.stream.wire.times import MAX_TIME_MS, MIN_TIME_MS, parse_date, parse_time, parse_time_ms

KEY_CHARS_MAX = 128
CATEGORY_BYTES_MAX = 256
FIRST_DAY, LAST_DAY = -25_567, 47_846
"""1900-01-01 and 2100-12-31 in days since the epoch."""
_ID = re.compile(r"[!#-\[\]-~]{1,128}")
_COUNTRY = re.compile("[A-Z]{2}")
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,18})")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,300})(?:\.[0-9]{1,300})?(?:[eE][+-]?[0-9]{1,4})?")
_MONEY_PATTERN = r"^-?(?:0|[1-9][0-9]{0,12})(?:\.[0-9]{1,4})?$"
_INT64 = 1 << 63

Word = int | bytes | None
"""One value: a word, the text of an id or category, or missing."""
Reader = Callable[[str], Word]


def text_of(token: object) -> str | None:
    """Return a JSON token as text, numbers digit for digit; None: missing.

    Raises:
        ValueError: an object or a list.
    """
    if token is None or isinstance(token, str):
        return token or None
    if token is True or token is False:
        return "true" if token else "false"
    raise ValueError("an object or a list, expected one value")


def key_of(text: str, kind: Type) -> bytes:
    """Return the bytes by which a row is found.

    Raises:
        ValueError: the text is no key.
    """
    if kind is Type.COUNTRY:
        if _COUNTRY.fullmatch(text) is None:
            raise BadValue(text, "a country of two capital letters")
    elif kind is Type.ID:
        if _ID.fullmatch(text) is None:
            raise BadValue(text, 'an id of 1 to 128 characters without spaces, `"` and `\\`')
    elif not 0 < len(text) <= KEY_CHARS_MAX:
        raise BadValue(text, "1 to 128 characters")
    return text.encode()


def reader_of(column: ReferenceColumn, decimals: int) -> Reader:
    """Return what reads one value of a column from text; it raises ValueError.

    ``decimals``: of the base currency. A geo point's parts are read as numbers by :func:`geo_words`.
    """
    kind = column.type
    if kind is Type.ENUM:
        codes = {text: code for code, text in enumerate(column.values)}
        return lambda text: _enum(text, codes)
    if kind is Type.MONEY:
        return lambda text: _money(text, decimals)
    return _READERS[kind]


def geo_words(latitude: str | None, longitude: str | None) -> tuple[int, int] | None:
    """Return the words of a point, None if a part is missing.

    Raises:
        ValueError: no numbers, or off the globe.
    """
    if latitude is None or longitude is None:
        return None
    lat, lon = _float(latitude), _float(longitude)
    if lat is None or lon is None or abs(lat) > 90 or abs(lon) > 180:
        raise BadValue(f"{latitude:.20}, {longitude:.20}", "a point of the globe")
    return float_word(lat), float_word(lon)


def typed_words(column: ReferenceColumn, array: Any, decimals: int) -> NDArray[np.int64] | None:
    """Return the words of an array whose Arrow type says what they are, missing ones 0; None: it does not.

    Values out of range are left to the way by text, which says which they are.
    """
    kind, was = column.type, array.type
    whole = pa.types.is_integer(was) and was != pa.uint64()
    if kind is Type.BOOL and pa.types.is_boolean(was):
        return _filled(pc.cast(array, pa.int64()))
    if kind is Type.DATE and pa.types.is_date32(was):
        days = _filled(pc.cast(pc.cast(array, pa.int32()), pa.int64()))
        return days if bool(((days >= FIRST_DAY) & (days <= LAST_DAY)).all()) else None
    if kind in (Type.INTEGER, Type.DURATION) and whole:
        return _filled(pc.cast(array, pa.int64()))
    if kind is Type.MONEY and whole:
        major = _filled(pc.cast(array, pa.int64()))
        limit = MAX_MINOR // 10**decimals
        return major * 10**decimals if bool(((major >= -limit) & (major <= limit)).all()) else None
    return None


def words_at_once(column: ReferenceColumn, texts: Any, decimals: int) -> NDArray[np.int64] | None:
    """Return the words of a string array, missing ones 0; None: it has to go one by one.

    Args:
        column: what is read.
        texts: pyarrow large_string array, missing ones null.
        decimals: of the base currency.
    """
    kind = column.type
    try:
        if kind is Type.MONEY:
            return _money_at_once(texts, decimals)
        if kind is Type.TIME and _all_match(texts, "^[0-9]{12,13}$"):
            times = _filled(pc.cast(texts, pa.int64()))
            known = times[times != 0]
            inside = (known >= MIN_TIME_MS) & (known < MAX_TIME_MS)
            return times if bool(inside.all()) else None
        if kind in (Type.INTEGER, Type.DURATION):
            if not _all_match(texts, r"^-?(?:0|[1-9][0-9]{0,17})$"):
                return None
            return _filled(pc.cast(texts, pa.int64()))
        if kind is Type.NUMBER:
            if not _all_match(texts, r"^-?(?:0|[1-9][0-9]{0,15})(?:\.[0-9]{1,15})?$"):
                return None
            numbers = pc.fill_null(pc.cast(texts, pa.float64()), 0.0).to_numpy(zero_copy_only=False)
            return np.asarray(numbers + 0.0).view(np.int64)
    except pa.ArrowInvalid:
        return None
    return None


def _all_match(texts: Any, pattern: str) -> bool:
    matched = pc.all(pc.match_substring_regex(texts, pattern), skip_nulls=True).as_py()
    return matched is not False


def _filled(array: Any) -> NDArray[np.int64]:
    return np.asarray(pc.fill_null(array, 0).to_numpy(zero_copy_only=False), np.int64)


def _money_at_once(texts: Any, decimals: int) -> NDArray[np.int64] | None:
    if not _all_match(texts, _MONEY_PATTERN):
        return None
    scaled = pc.multiply(pc.cast(texts, pa.decimal128(20, 4)), pa.scalar(Decimal(10) ** decimals))
    minor = _filled(pc.cast(scaled, pa.int64()))
    return minor if int(np.abs(minor).max(initial=0)) <= MAX_MINOR else None


class BadValue(ValueError):  # noqa: N818 - named for what it is
    """A value that does not fit; its message quotes it, :meth:`told` only if it may be shown."""

    def __init__(self, text: str, expected: str) -> None:
        super().__init__(f"`{text:.40}`, expected {expected}")
        self._expected = expected

    def told(self, *, personal: bool) -> str:
        """Return the message; a personal value is not in it."""
        return f"not shown (personal), expected {self._expected}" if personal else str(self)


def told(problem: ValueError, *, personal: bool) -> str:
    """Return what may be said of a bad value."""
    return problem.told(personal=personal) if isinstance(problem, BadValue) else str(problem)


def _enum(text: str, codes: dict[str, int]) -> int:
    code = codes.get(text)
    if code is None:
        known = ", ".join(f"`{item}`" for item in list(codes)[:8])
        raise BadValue(text, f"one of {known}")
    return code


def _money(text: str, decimals: int) -> int:
    try:
        return to_minor(parse_amount(text, signed=True), decimals)
    except Unreadable as problem:
        expected = f"an amount of the base currency with at most {decimals} decimals"
        raise BadValue(text, f"{expected} ({problem.code})") from None


def _float(text: str) -> float | None:
    if _NUMBER.fullmatch(text) is None:
        raise BadValue(text, "a decimal number")
    number = float(text) + 0.0
    return number if isfinite(number) else None


def _number(text: str) -> Word:
    number = _float(text)
    return None if number is None else float_word(number)


def _integer(text: str) -> int:
    if _WHOLE.fullmatch(text) is None or not -_INT64 <= int(text) < _INT64:
        raise BadValue(text, "a whole number")
    return int(text)


def _bool(text: str) -> int:
    if text not in ("true", "false"):
        raise BadValue(text, "`true` or `false`")
    return int(text == "true")


def _country(text: str) -> int:
    if _COUNTRY.fullmatch(text) is None:
        raise BadValue(text, "a country of two capital letters")
    return ord(text[0]) << 8 | ord(text[1])


def time_of(text: str) -> int:
    """Return milliseconds since the epoch of RFC 3339 text or of whole milliseconds.

    Raises:
        ValueError: no such time.
    """
    try:
        return parse_time_ms(text) if _WHOLE.fullmatch(text) else parse_time(text)
    except Unreadable as problem:
        raise BadValue(text, f"a time with offset, 2000 to 2099 ({problem.code})") from None


def _date(text: str) -> int:
    try:
        return parse_date(text)
    except Unreadable as problem:
        raise BadValue(text, f"a date, 1900 to 2100 ({problem.code})") from None


def _id(text: str) -> bytes:
    return key_of(text, Type.ID)


def _category(text: str) -> bytes:
    data = text.encode()
    if len(data) > CATEGORY_BYTES_MAX:
        raise BadValue(text, f"at most {CATEGORY_BYTES_MAX} bytes")
    return data


_READERS: dict[Type, Reader] = {
    Type.NUMBER: _number,
    Type.INTEGER: _integer,
    Type.DURATION: _integer,
    Type.TIME: time_of,
    Type.DATE: _date,
    Type.BOOL: _bool,
    Type.COUNTRY: _country,
    Type.ID: _id,
    Type.CATEGORY: _category,
}
