"""Who owns the partitions of a topic that is read from a committed offset or a snapshot, without epochs."""

from __future__ import annotations

import asyncio
from typing import Any

from fraudstream.stream.agents import offer_slice
from fraudstream.stream.ending import Ending
from fraudstream.stream.failpoints import Failpoints
from fraudstream.stream.intake import Intake


class Follower:
    """Partitions that the group gave to this process; answers what the transport asks of an owner."""

    def __init__(self, failpoints: Failpoints, ending: Ending) -> None:
        self.intakes: dict[int, Intake] = {}
        self.committed: dict[int, int] = {}
        """Partition -> offset below which nothing is needed again."""
        self.arrived = asyncio.Event()
        """Set when partitions or slices came; whoever waits clears it."""
        self._failpoints = failpoints
        self._ending = ending

    def intake(self, partition: int) -> Intake | None:
        """Return the intake of an owned partition."""
        return self.intakes.get(partition)

    def assigned(self, partitions: set[int]) -> None:
        """Own partitions; nothing is fetched before their intakes are told where to begin."""
        for number in sorted(partitions - set(self.intakes)):
            self.intakes[number] = Intake(number)
        self.arrived.set()

    async def revoked(self, partitions: set[int]) -> None:
        """Forget partitions."""
        for number in partitions & set(self.intakes):
            self.intakes.pop(number).close()
            self.committed.pop(number, None)
        self.arrived.set()

    def committable(self, partition: int) -> int | None:
        """Return the offset to commit."""
        return self.committed.get(partition)

    def failed(self, reason: BaseException) -> None:
        """Give everything up."""
        self._ending.failed(reason)

    def passed(self, failpoint: str) -> None:
        """Pass a failpoint."""
        self._failpoints.hit(failpoint)

    def offer(self, event: Any) -> None:
        """Hand a slice to the partition that asked for it."""
        offer_slice(event)
        self.arrived.set()

    async def wait(self, seconds: float) -> None:
        """Wait until something came, at most that long."""
        try:
            async with asyncio.timeout(seconds):
                await self.arrived.wait()
        except TimeoutError:
            return
        self.arrived.clear()
