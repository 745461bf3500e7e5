"""What the partitions of one worker share: connections, versions, clocks, counters, and whom to tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fraudstream.stream.control import Catalogue, Target
from fraudstream.stream.evidence import Hide
from fraudstream.stream.failpoints import Failpoints
from fraudstream.stream.journaling import Appender
from fraudstream.stream.lease import Lease
from fraudstream.stream.observe import Observer
from fraudstream.stream.recovery import Facts
from fraudstream.stream.settings import Settings


@dataclass(slots=True)
class Services:
    """What every partition of a worker shares."""

    settings: Settings
    facts: Facts
    appender: Appender
    catalogue: Catalogue
    lease: Lease
    failpoints: Failpoints
    observer: Observer
    hide: Hide
    """What alerts show of a personal value."""
    target: Target
    """What the operator wants in force; the reloader changes it."""
    commit: Callable[[], Any]
    """Commit what :attr:`Partition.committable` allows; awaitable."""
    fail: Callable[[BaseException], None]
    owner: str
    rules_problem: str = ""
    """Why the rules directory cannot be used, where ``target`` names no bundle."""
    assigned: Callable[[set[int]], None] = lambda _: None
    """The group gave these partitions; told before they start."""
    accept_short_history: bool = False
    backfill: bool = False
    """At the start features that are warming are filled from the input."""
