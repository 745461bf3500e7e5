"""Times and dates of the wire: RFC 3339 text and integer milliseconds, read from fixed positions."""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from typing import Final

from fraudstream.stream.wire.codes import Unreadable

MS_PER_DAY: Final = 86_400_000
MIN_TIME_MS: Final = 946_684_800_000
"""2000-01-01T00:00:00Z: nothing older is a transaction that is happening."""
MAX_TIME_MS: Final = 4_102_444_800_000
"""2100-01-01T00:00:00Z, exclusive."""
MIN_YEAR, MAX_YEAR = 1900, 2100
"""Years of dates (an account's opening, a birthday)."""

DAYS_KEPT: Final = 512
"""Days of events: those of a topic's records are few at a time."""
DATES_KEPT: Final = 16_384
"""Dates repeat less, but forty years of account openings fit."""
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_ANY_LEAP_YEAR = 2000
_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]"
    r"([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9])(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))"
)
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")


@lru_cache(maxsize=DAYS_KEPT)
def _day(year: str, month: str, day: str) -> int:
    """Return days since the epoch; year 0000 is the leap year that RFC 3339 allows and `date` does not."""
    try:
        if year == "0000":
            in_year = date(_ANY_LEAP_YEAR, int(month), int(day)).toordinal()
            return in_year - date(_ANY_LEAP_YEAR + 1, 1, 1).toordinal() + date.min.toordinal() - _EPOCH_DAY
        return date(int(year), int(month), int(day)).toordinal() - _EPOCH_DAY
    except ValueError:
        raise Unreadable("bad_time") from None


def in_range(time_ms: int) -> int:
    """Return ``time_ms`` if the contract allows it.

    Raises:
        Unreadable: ``time_out_of_range``.
    """
    if MIN_TIME_MS <= time_ms < MAX_TIME_MS:
        return time_ms
    raise Unreadable("time_out_of_range")


def parse_time(text: str) -> int:
    """Read RFC 3339 (section 5.6, offset required) as milliseconds since the epoch; more digits are cut.

    Raises:
        Unreadable: ``bad_time`` (second 60 and dates that no calendar has included), ``time_out_of_range``.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise Unreadable("bad_time")
    year, month, day, hour, minute, second, fraction, sign, offset_hour, offset_minute = match.groups()
    time_ms = _day(year, month, day) * MS_PER_DAY
    time_ms += (int(hour) * 3600 + int(minute) * 60 + int(second)) * 1000
    if fraction is not None:
        time_ms += int(fraction[:3].ljust(3, "0"))
    if sign is not None:
        offset_ms = (int(offset_hour) * 60 + int(offset_minute)) * 60_000
        time_ms += offset_ms if sign == "-" else -offset_ms
    return in_range(time_ms)


def parse_time_ms(digits: str) -> int:
    """Read an integer token as milliseconds since the epoch.

    Raises:
        Unreadable: ``time_out_of_range``.
    """
    if len(digits) > 15:  # longer than any time; `int` refuses 4,300 digits in its own way
        raise Unreadable("time_out_of_range")
    return in_range(int(digits))


@lru_cache(maxsize=DATES_KEPT)
def parse_date(text: str) -> int:
    """Read ``YYYY-MM-DD`` as days since the epoch.

    Raises:
        Unreadable: ``bad_time``, ``time_out_of_range``.
    """
    match = _DATE.fullmatch(text)
    if match is None:
        raise Unreadable("bad_time")
    days = _day(*match.groups())
    if not MIN_YEAR <= int(match[1]) <= MAX_YEAR:
        raise Unreadable("time_out_of_range")
    return days
