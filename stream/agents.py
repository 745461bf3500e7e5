"""The agent, and the owner of the partitions that the consumer group gives to this worker.

The agent takes slices off Faust's stream without an automatic ack and hands each to its partition, which
carries it through the eight steps in order and acknowledges it when its decisions are. A raised error never
skips a slice: the process ends and starts again from the log.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import faust
from mode import CrashingSupervisor

from fraudstream.stream import messages
from fraudstream.stream.ending import Ending
from fraudstream.stream.failpoints import Failpoints
from fraudstream.stream.health import Health
from fraudstream.stream.intake import Fetched, Intake
from fraudstream.stream.logs import tell
from fraudstream.stream.partition import Partition
from fraudstream.stream.services import Services
from fraudstream.stream.transport import Arrived, SliceSchema


class Ownership(Ending):
    """Partitions of this worker; answers what the transport asks of an owner."""

    def __init__(
        self, health: Health, failpoints: Failpoints, make: Callable[[int, Services], Partition] = Partition
    ) -> None:
        self.partitions: dict[int, Partition] = {}
        self.services: Services | None = None
        super().__init__()
        self._health = health
        self._failpoints = failpoints
        self._make = make

    def intake(self, partition: int) -> Intake | None:
        """Return the intake of an owned partition."""
        owned = self.partitions.get(partition)
        return None if owned is None else owned.intake

    def assigned(self, partitions: set[int]) -> None:
        """Begin with partitions under new epochs; those that are owned already go on."""
        assert self.services is not None
        self._health.assigned(partitions)
        self.services.assigned(partitions)
        for number in sorted(partitions - set(self.partitions)):
            self.partitions[number] = self._make(number, self.services)
            self.partitions[number].start()

    async def revoked(self, partitions: set[int]) -> None:
        """Stop with partitions at a slice border; the group waits for it before it gives them away."""
        owned = [self.partitions[number] for number in partitions if number in self.partitions]
        if owned:
            tell(messages.PARTITIONS_REVOKED, partitions=sorted(partition.number for partition in owned))
            self._health.unassigned()
        await asyncio.gather(*(partition.revoke() for partition in owned))
        for partition in owned:
            self.partitions.pop(partition.number, None)

    async def drain(self) -> None:
        """Stop all partitions cleanly, with snapshot and ``end``."""
        await asyncio.gather(*(partition.drain() for partition in self.partitions.values()))

    async def kill(self) -> None:
        """Drop everything in memory."""
        await asyncio.gather(*(partition.kill() for partition in self.partitions.values()))

    def committable(self, partition: int) -> int | None:
        """Return the offset of the newest snapshot that counts."""
        owned = self.partitions.get(partition)
        return None if owned is None else owned.committable

    def passed(self, failpoint: str) -> None:
        """Pass a failpoint."""
        self._failpoints.hit(failpoint)

    def offer(self, event: Any) -> None:
        """Hand a slice to the partition that asked for it; one that nobody asked for is not acknowledged."""
        offer_slice(event)


class Offered(Protocol):
    """Who is told of every slice that the agent takes off its stream."""

    def offer(self, event: Any) -> None:
        """Take it."""


def offer_slice(event: Any) -> None:
    """Hand a slice to the intake that asked for it."""
    arrived: Arrived = event.value
    arrived.intake.offer(Fetched(arrived.begin, arrived.end, arrived.slice, partial(_acknowledge, event)))


def attach_agent(app: Any, owner: Offered) -> Any:
    """Create the agent that reads the input topic of ``app``."""
    topic = app.topic(app.settings.topics.input, schema=SliceSchema())

    async def decide(stream: faust.Stream) -> None:
        async for event in stream.noack().events():
            owner.offer(event)

    return app.agent(topic, name="decide", supervisor_strategy=CrashingSupervisor)(decide)


def _acknowledge(event: Any) -> None:
    # After a rebalance the message is of a generation that Faust has forgotten: nothing to tell.
    with contextlib.suppress(Exception):
        event.ack()
