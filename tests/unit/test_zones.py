"""Zones of the pinned package."""

from __future__ import annotations

import random
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from importlib import resources

import pytest

from fraudstream.rules.compiler.zones import (
    ZoneError,
    load_zone,
    parse_date,
    parse_instant,
    zone_exists,
    zone_names,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ZONES = (
    *(
        "Asia/Shanghai",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Africa/Casablanca",
        "UTC",
    ),
    *("America/Santiago", "Asia/Kathmandu", "Pacific/Apia", "Europe/Dublin", "Asia/Gaza", "Asia/Tehran"),
    *("America/Nuuk", "Antarctica/Troll", "Africa/Cairo", "Pacific/Easter"),
)


@pytest.fixture
def package_zones() -> Iterator[None]:
    """Point zoneinfo at the tzdata package instead of the machine's files."""
    with resources.as_file(resources.files("tzdata").joinpath("zoneinfo")) as path:
        before = zoneinfo.TZPATH
        zoneinfo.reset_tzpath([str(path)])
        zoneinfo.ZoneInfo.clear_cache()
        yield
        zoneinfo.reset_tzpath(before)
        zoneinfo.ZoneInfo.clear_cache()


@pytest.mark.parametrize("name", ZONES)
def test_offsets_equal_zoneinfo(name: str, package_zones: None) -> None:
    """At random instants of a century and around every transition the offset is zoneinfo's."""
    zone, oracle, rng = load_zone(name), zoneinfo.ZoneInfo(name), random.Random(name)
    first, last = 946_684_800_000, 4_102_444_800_000
    instants = [rng.randrange(first, last) for _ in range(2_000)]
    instants += [int(t) + d for t in zone.instant[1:] for d in (-1, 0, 1) if first <= t < last]
    for instant in instants:
        moment = (EPOCH + timedelta(milliseconds=instant)).astimezone(oracle)
        assert timedelta(milliseconds=zone.offset_at(instant)) == moment.utcoffset(), moment


# Nuuk ends its table inside a summer time, where local times of zoneinfo contradict its own UTC times.
@pytest.mark.parametrize("name", [zone for zone in ZONES if zone != "America/Nuuk"])
def test_local_times_equal_zoneinfo(name: str, package_zones: None) -> None:
    """Local times, those in gaps and those that occur twice included, are zoneinfo's with fold 0."""
    zone, oracle, rng = load_zone(name), zoneinfo.ZoneInfo(name), random.Random(name)
    first, last = 946_684_800_000, 4_102_444_800_000
    locals_ms = [rng.randrange(first, last) for _ in range(1_000)]
    locals_ms += [
        int(t + o) + rng.randrange(-7_200_000, 7_200_000)
        for t, o in zip(zone.instant[1:], zone.offset[1:], strict=True)
        if first <= t < last
    ]
    for local in locals_ms:
        wall = (EPOCH + timedelta(milliseconds=local)).replace(tzinfo=oracle)
        assert EPOCH + timedelta(milliseconds=zone.to_utc(local)) == wall.astimezone(UTC), wall


def test_every_zone_of_the_package_is_readable() -> None:
    """No file of the package has a form that the reader does not know."""
    for name in zone_names():
        assert len(load_zone(name).instant) >= 1


@pytest.mark.parametrize("name", ["Asia/Shangai", "../zones", "", "/etc/passwd", "Asia"])
def test_unknown_zones_are_refused(name: str) -> None:
    """Only names that the package lists open a file."""
    assert not zone_exists(name)
    with pytest.raises(ZoneError):
        load_zone(name)


def test_instants() -> None:
    """Bare dates are midnight in the zone, times need an offset, the calendar is checked."""
    shanghai = timezone(timedelta(hours=8))
    midnight = int(datetime(2026, 1, 31, tzinfo=shanghai).timestamp() * 1000)
    assert parse_instant("2026-01-31", "Asia/Shanghai") == (midnight, ())
    assert parse_instant("2026-01-31T00:00:00+08:00", "UTC") == (midnight, ())
    assert parse_instant("2026-01-30T16:00:00.1239Z", "UTC") == (midnight + 123, ())
    for wrong in (
        "2026-02-30",
        "2026-01-31T00:00:00",
        "31.1.2026",
        "2026-01-31T25:00:00Z",
        "2026-01-31T00:00:00+24:00",
        "",
    ):
        value, problems = parse_instant(wrong, "UTC")
        assert value is None
        assert problems
    assert parse_date("1970-01-02") == 1
    assert parse_date("2026-02-30") is None
    assert parse_date("2026-01-31T00:00:00Z") is None
