"""Time zones from the pinned ``tzdata`` package, never from the machine."""

from __future__ import annotations

from fraudstream.rules.compiler.nodes import Problem


def zone_exists(name: str) -> bool:
    """Return whether the package has this zone."""
    raise NotImplementedError


def zone_names() -> tuple[str, ...]:
    """Return every zone's name, for suggestions."""
    raise NotImplementedError


def parse_instant(text: str, zone: str) -> tuple[int | None, tuple[Problem, ...]]:
    """Read an RFC 3339 time or a bare date (00:00 in ``zone``) as milliseconds since the epoch."""
    raise NotImplementedError
