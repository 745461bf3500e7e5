"""Times and dates of the wire."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from fraudstream.stream.wire.codes import Unreadable
from fraudstream.stream.wire.times import parse_date, parse_time, parse_time_ms


def verdict(reader, text: str) -> int | str:
    """Return the value or the code."""
    try:
        return reader(text)
    except Unreadable as fault:
        return fault.code


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-24T02:40:11.123Z", 1795488011123),
        ("2026-11-24t02:40:11.123z", 1795488011123),
        ("2026-11-24T10:40:11.123+08:00", 1795488011123),
        ("2026-11-23T21:40:11.123-05:00", 1795488011123),
        ("2026-11-24T02:40:11.123+00:00", 1795488011123),
        ("2026-11-24T02:40:11.123-00:00", 1795488011123),
        ("2026-11-24T02:40:11Z", 1795488011000),
        ("2026-11-24T02:40:11.1Z", 1795488011100),
        ("2026-11-24T02:40:11.12Z", 1795488011120),
        ("2026-11-24T02:40:11.1239999999999999999999Z", 1795488011123),
        ("2026-11-24T02:40:11.0009Z", 1795488011000),
        ("2000-01-01T00:00:00Z", 946684800000),
        ("1999-12-31T23:59:59.999Z", "time_out_of_range"),
        ("2000-01-01T00:59:59+01:00", "time_out_of_range"),
        ("1999-12-31T23:00:00-01:00", 946684800000),
        ("1999-12-31T00:01:00-23:59", 946684800000),
        ("2099-12-31T23:59:59.999999Z", 4102444799999),
        ("2100-01-01T00:00:00Z", "time_out_of_range"),
        ("2100-01-01T23:58:59.999+23:59", 4102444799999),
        ("9999-12-31T23:59:59Z", "time_out_of_range"),
        ("0001-01-01T00:00:00Z", "time_out_of_range"),
        ("0000-02-29T00:00:00Z", "time_out_of_range"),
        ("0000-02-30T00:00:00Z", "bad_time"),
        ("2024-02-29T00:00:00Z", 1709164800000),
        ("2023-02-29T00:00:00Z", "bad_time"),
        ("2100-02-29T00:00:00Z", "bad_time"),
        ("2026-00-10T00:00:00Z", "bad_time"),
        ("2026-13-10T00:00:00Z", "bad_time"),
        ("2026-04-31T00:00:00Z", "bad_time"),
        ("2026-04-00T00:00:00Z", "bad_time"),
        ("2026-11-24T24:00:00Z", "bad_time"),
        ("2026-11-24T23:60:00Z", "bad_time"),
        ("2026-11-24T23:59:60Z", "bad_time"),
        ("2016-12-31T23:59:60Z", "bad_time"),
        ("2026-11-24T02:40:11+24:00", "bad_time"),
        ("2026-11-24T02:40:11+08:60", "bad_time"),
        ("2026-11-24T02:40:11+0800", "bad_time"),
        ("2026-11-24T02:40:11+08", "bad_time"),
        ("2026-11-24T02:40:11", "bad_time"),
        ("2026-11-24T02:40:11.Z", "bad_time"),
        ("2026-11-24T02:40:11,5Z", "bad_time"),
        ("2026-11-24T02:40Z", "bad_time"),
        ("2026-11-24 02:40:11Z", "bad_time"),
        ("20261124T024011Z", "bad_time"),
        ("2026-11-24T02:40:11Z\n", "bad_time"),
        (" 2026-11-24T02:40:11Z", "bad_time"),
        ("2026-11-24T02:40:11ZZ", "bad_time"),
        ("+026-11-24T02:40:11Z", "bad_time"),
        ("\uff12026-11-24T02:40:11Z", "bad_time"),
        ("2026-11-24T02:40:1\u0661Z", "bad_time"),
        ("2026-11-24T02:40:11.\u0661Z", "bad_time"),
        ("2026-11-24T02:40:11\u221208:00", "bad_time"),
        ("2026-11-24", "bad_time"),
        ("", "bad_time"),
    ],
)
def test_times(text: str, expected: int | str) -> None:
    """RFC 3339 with offset, calendar-valid, 2000 to 2100, cut to milliseconds."""
    assert verdict(parse_time, text) == expected


@pytest.mark.parametrize(
    ("digits", "expected"),
    [
        ("946684800000", 946684800000),
        ("946684799999", "time_out_of_range"),
        ("4102444799999", 4102444799999),
        ("4102444800000", "time_out_of_range"),
        ("-0", "time_out_of_range"),
        ("-1795488011123", "time_out_of_range"),
        ("1795488011", "time_out_of_range"),
        ("9" * 5000, "time_out_of_range"),
        ("9" * 15, "time_out_of_range"),
    ],
)
def test_integer_times(digits: str, expected: int | str) -> None:
    """Integers are milliseconds; seconds, and numbers of any length, are out of range."""
    assert verdict(parse_time_ms, digits) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01", 0),
        ("2019-03-02", 17957),
        ("1900-01-01", -25567),
        ("2100-12-31", 47846),
        ("1899-12-31", "time_out_of_range"),
        ("2101-01-01", "time_out_of_range"),
        ("0000-01-01", "time_out_of_range"),
        ("1900-02-29", "bad_time"),
        ("1899-02-29", "bad_time"),
        ("2026-2-03", "bad_time"),
        ("2026-02-03Z", "bad_time"),
        ("2026-02-03\n", "bad_time"),
        ("2026/02/03", "bad_time"),
        ("\u0662026-02-03", "bad_time"),
        ("", "bad_time"),
    ],
)
def test_dates(text: str, expected: int | str) -> None:
    """Dates are calendar-valid days of 1900 to 2100."""
    assert verdict(parse_date, text) == expected


def test_every_day_agrees_with_the_standard_library() -> None:
    """All days of 2000 to 2099, with an offset and a fraction that change from day to day."""
    first = datetime(2000, 1, 2, tzinfo=UTC)
    for number in range(36_500):
        zone = timezone(timedelta(minutes=number % 2879 - 1439))
        when = (first + timedelta(days=number, seconds=number, milliseconds=number % 1000)).astimezone(zone)
        exact = (when - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
        assert parse_time(when.isoformat(timespec="milliseconds")) == exact
        assert parse_date(str(when.date())) == (when.date() - date(1970, 1, 1)).days
