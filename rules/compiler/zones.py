"""Time zones from the pinned ``tzdata`` package, never from the machine.

Zones decide rules, so the same bundle must see the same zones on every machine. Files are TZif (RFC 9636):
version 2 blocks of 64-bit transitions and a POSIX TZ footer, which is expanded to the end of 2100.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from fraudstream.rules.compiler.nodes import Problem

LAST_YEAR = 2100
"""Event times end before 2100; a rule's own arithmetic may step a little beyond."""
BEGINNING = -(2**63)
_DAY_S = 86_400
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_FOOTER = re.compile(
    r"(?P<std><[A-Za-z0-9+-]+>|[A-Za-z]+)(?P<offset>[+-]?[0-9:]+)"
    r"(?:(?P<dst><[A-Za-z0-9+-]+>|[A-Za-z]+)(?P<dst_offset>[+-]?[0-9:]+)?,(?P<start>[^,]+),(?P<end>[^,]+))?"
)
_INSTANT = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})(?:[Tt ](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?([Zz]|[+-]\d{2}:\d{2})?)?"
)


class ZoneError(ValueError):
    """A zone that the package does not have."""


@dataclass(frozen=True, eq=False)
class Zone:
    """Offsets of one zone; arrays of equal length k, sorted.

    ``instant[i]`` (ms UTC) is where ``offset[i]`` (ms east of Greenwich) begins to hold; the first is the
    beginning of time. ``wall[i]`` is the local time (ms, as if UTC) from which on local times belong to
    ``offset[i]``: a local time that occurs twice is taken at its first occurrence, one that is skipped
    with the offset before the gap (``fold=0`` of PEP 495).
    """

    name: str
    instant: NDArray[np.int64]
    offset: NDArray[np.int64]
    wall: NDArray[np.int64]

    def offset_at(self, time_ms: int) -> int:
        """Return the offset in ms at an instant."""
        return int(self.offset[int(np.searchsorted(self.instant, time_ms, "right")) - 1])

    def to_utc(self, local_ms: int) -> int:
        """Return the instant of a local time, both in ms."""
        return local_ms - int(self.offset[int(np.searchsorted(self.wall, local_ms, "right")) - 1])


@cache
def zone_names() -> tuple[str, ...]:
    """Return every zone's name, sorted."""
    listed = resources.files("tzdata").joinpath("zones").read_text("utf-8").split()
    return tuple(sorted(listed))


@cache
def _known() -> frozenset[str]:
    return frozenset(zone_names())


def zone_exists(name: str) -> bool:
    """Return whether the package has this zone."""
    return name in _known()


@cache
def load_zone(name: str) -> Zone:
    """Read one zone.

    Raises:
        ZoneError: There is no such zone.
    """
    if not zone_exists(name):
        raise ZoneError(f"unknown time zone `{name}`")
    data = resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()
    times, offsets, footer = _read_tzif(data)
    for time_s, offset_s in _expand(footer, times[-1], offsets[-1]):
        times.append(time_s)
        offsets.append(offset_s)
    instant = np.array([BEGINNING, *(t * 1000 for t in times[1:])], np.int64)
    offset = np.array(offsets, np.int64) * 1000
    wall = instant.copy()
    wall[1:] += np.maximum(offset[1:], offset[:-1])
    return Zone(name, instant, offset, wall)


def _read_tzif(data: bytes) -> tuple[list[int], list[int], str]:
    """Return transition times (s), the offset from each on, and the footer; the first time stands for -∞."""
    header = struct.Struct(">4sc15x6l")
    magic, version, *counts = header.unpack_from(data)
    if magic != b"TZif" or version < b"2":
        raise ZoneError("a zone file of `tzdata` is not TZif version 2 or newer")
    isut, isstd, leap, time, kind, char = counts
    at = header.size + time * 5 + kind * 6 + char + leap * 8 + isstd + isut
    _, _, isut, isstd, leap, time, kind, char = header.unpack_from(data, at)
    at += header.size
    times = list(struct.unpack_from(f">{time}q", data, at))
    index = data[at + time * 8 : at + time * 9]
    at += time * 9
    kinds = [struct.unpack_from(">lbB", data, at + 6 * i) for i in range(kind)]
    at += kind * 6 + char + leap * 12 + isstd + isut
    first = next((offset for offset, is_dst, _ in kinds if not is_dst), kinds[0][0])
    footer = data[at:].strip(b"\n").decode("ascii")
    return [-(2**62), *times], [first, *(kinds[i][0] for i in index)], footer


def _expand(footer: str, after_s: int, offset_s: int) -> Iterator[tuple[int, int]]:
    """Yield the transitions that a POSIX TZ rule implies after ``after_s``."""
    match = _FOOTER.fullmatch(footer)
    if match is None:
        if footer:
            raise ZoneError(f"the rule `{footer}` of a zone file is not understood")
        return
    standard = -_seconds(match["offset"])
    if match["dst"] is None:
        if standard != offset_s:
            raise ZoneError(f"the rule `{footer}` of a zone file contradicts its table")
        return
    summer = -_seconds(match["dst_offset"]) if match["dst_offset"] else standard + 3600
    for year in range(max(1970, datetime.fromtimestamp(max(after_s, 0), UTC).year), LAST_YEAR + 1):
        pair = [
            (_rule(match["start"], year) - standard, summer),
            (_rule(match["end"], year) - summer, standard),
        ]
        for time_s, new in sorted(pair):
            if time_s > after_s:
                yield time_s, new


def _seconds(text: str) -> int:
    """Read ``[+-]hh[:mm[:ss]]``."""
    sign = -1 if text.startswith("-") else 1
    parts = [int(part) for part in text.lstrip("+-").split(":")] + [0, 0]
    return sign * (parts[0] * 3600 + parts[1] * 60 + parts[2])


def _rule(text: str, year: int) -> int:
    """Return the local second since the epoch that ``M3.2.0/2``, ``J60`` or ``59`` means in a year."""
    day, _, clock = text.partition("/")
    seconds = _seconds(clock) if clock else 7200
    first = date(year, 1, 1).toordinal() - _EPOCH_DAY
    if day.startswith("M"):
        month, week, weekday = (int(part) for part in day[1:].split("."))
        begin = date(year, month, 1)
        shift = (weekday - begin.isoweekday()) % 7 + 7 * (week - 1)
        following = date(year + month // 12, month % 12 + 1, 1)
        while begin + timedelta(shift) >= following:
            shift -= 7
        days = begin.toordinal() - _EPOCH_DAY + shift
    elif day.startswith("J"):
        days = first + int(day[1:]) - 1
        if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) and int(day[1:]) > 59:  # J60 is 1 March
            days += 1
    else:
        days = first + int(day)
    return days * _DAY_S + seconds


def parse_date(text: str) -> int | None:
    """Read ``YYYY-MM-DD`` as days since the epoch; None: not a date."""
    match = _INSTANT.fullmatch(text)
    if match is None or match[4] is not None:
        return None
    try:
        return date(int(match[1]), int(match[2]), int(match[3])).toordinal() - _EPOCH_DAY
    except ValueError:
        return None


def parse_instant(text: str, zone: str) -> tuple[int | None, tuple[Problem, ...]]:
    """Read an RFC 3339 time or a bare date (00:00 in ``zone``) as milliseconds since the epoch.

    A fraction is cut to milliseconds. A time without offset is refused: which zone was meant decides.
    """
    whole = (0, max(len(text), 1))
    match = _INSTANT.fullmatch(text)
    if match is None:
        hint = "write `2026-01-31` or `2026-01-31T12:00:00+08:00`"
        return None, (Problem(*whole, f"`{text[:40]}` is not a date or time", hint),)
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    try:
        local = datetime(
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=UTC
        )
    except ValueError:
        return None, (Problem(*whole, f"`{text}` does not exist in the calendar"),)
    milliseconds = int(local.timestamp()) * 1000 + int(((fraction or "") + "000")[:3])
    if hour is None:
        return load_zone(zone).to_utc(milliseconds), ()
    if offset is None:
        hint = f"write `{text}Z` or `{text}+08:00`"
        return None, (Problem(*whole, f"the time `{text}` has no offset", hint),)
    if offset in "Zz":
        return milliseconds, ()
    minutes = int(offset[1:3]) * 60 + int(offset[4:6])
    if int(offset[1:3]) > 23 or int(offset[4:6]) > 59:
        return None, (Problem(*whole, f"`{offset}` is not an offset from UTC"),)
    return milliseconds - (minutes if offset[0] == "+" else -minutes) * 60_000, ()
