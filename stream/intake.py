"""Intake of one partition: which fetched records are next, and how many may wait.

Between the consumer and the partition's state machine stand a thread, queues and rebalances. Whatever
they do, the intake hands over every record from its position on, once and in order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple, Protocol

from fraudstream.stream.wire.types import Slice

SLICES_WAITING_MAX = 4
"""Fetched slices that wait for processing; beyond that the partition is not fetched. Each is at most
``fetch_bytes_max``, so this bounds memory while the broker does not take decisions."""


class FetchedRecord(Protocol):
    """The members of the consumer's record that are used."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


class Fetched(NamedTuple):
    """A slice with the range of offsets that it stands for, holes included."""

    begin: int
    end: int
    slice: Slice
    done: Callable[[], None]
    """Called once when everything that came of the slice is acknowledged."""


class Verdict(Enum):
    """What to do with fetched records."""

    NEXT = "next"
    STALE = "stale"  # nobody waits for them, or a seek came between
    JUMP = "jump"  # the first is beyond the position: a hole, or a loss
    BACK = "back"  # the log goes back: it was truncated or replaced


class Intake:
    """The input side of one partition under one epoch."""

    def __init__(self, partition: int, waiting_max: int = SLICES_WAITING_MAX) -> None:
        self.partition = partition
        self.position: int | None = None
        """Offset of the next record to hand over; None: nothing is to be fetched yet."""
        self.moved = True
        """Whether the consumer stands where the intake does. Only the fetching loop moves the consumer, and
        between two fetches: what a fetch brings while a move is due is what lay before it."""
        self.closed = False
        self.log_end = 0
        """Newest known end of the partition, for the lag."""
        self._waiting_max = waiting_max
        self._waiting: deque[Fetched] = deque()
        self._arrived = asyncio.Event()

    @property
    def wanted(self) -> bool:
        """Return whether the partition is to be fetched."""
        return not self.closed and self.position is not None and len(self._waiting) < self._waiting_max

    def stands_at(self, position: int) -> bool:
        """Return whether, after an await, the consumer still stands where the intake does."""
        return not self.closed and self.moved and self.position == position

    def seek(self, offset: int) -> None:
        """Begin again at ``offset``; slices that wait are dropped. The fetching loop moves the consumer."""
        self.position = offset
        self.moved = False
        self._waiting.clear()

    def stop(self) -> None:
        """Fetch nothing more; what waits stays."""
        self.position = None

    def close(self) -> None:
        """Take nothing more; wake up whoever waits."""
        self.closed = True
        self._waiting.clear()
        self._arrived.set()

    def judge(self, fetched: Slice) -> Verdict:
        """Judge the records of one fetch, in offset order and not empty, against the position."""
        if self.closed or self.position is None or not self.moved:
            return Verdict.STALE
        first = int(fetched.offset[0])
        if first < self.position:
            return Verdict.BACK
        return Verdict.NEXT if first == self.position else Verdict.JUMP

    def take(self, fetched: Slice) -> tuple[int, int]:
        """Advance over records; returns the range of offsets that they stand for."""
        assert self.position is not None
        begin, end = self.position, int(fetched.offset[-1]) + 1
        self.position = end
        return begin, end

    def offer(self, fetched: Fetched) -> None:
        """Queue a slice for processing."""
        if self.closed:
            return
        self._waiting.append(fetched)
        self._arrived.set()

    def next(self) -> Fetched | None:
        """Return the next slice if one waits."""
        if not self._waiting:
            return None
        return self._waiting.popleft()

    @property
    def arrived(self) -> asyncio.Event:
        """Return the event of a new slice or of closing; whoever waits clears it."""
        return self._arrived


def slice_of(partition: int, records: Sequence[FetchedRecord]) -> Slice:
    """Copy consumer records into a slice."""
    return Slice.from_records(
        partition,
        [record.value for record in records],
        [record.key for record in records],
        [record.offset for record in records],
        [record.timestamp for record in records],
    )
