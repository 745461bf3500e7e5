"""The journal of one partition under one owner: taking it, and appending to it.

Every append but ``take`` goes: lease check, append, await the acknowledgement, read the journal up to it.
A take by somebody else after the own one means that the record did not count: the owner gives up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from fraudstream.stream.errors import RestartMe
from fraudstream.stream.failpoints import Failpoints
from fraudstream.stream.journal import Journal, read_journal, take_record
from fraudstream.stream.lease import Lease
from fraudstream.stream.logreader import LogReader
from fraudstream.stream.wire.batches_out import Outgoing


class Appender(Protocol):
    """Appends records to partitions, in order, acknowledged by all replicas."""

    async def append(
        self, topic: str, partition: int, records: Iterable[Outgoing]
    ) -> list[asyncio.Future[Any]]:
        """Queue records; one future a batch."""

    async def settle(self, sent: Sequence[asyncio.Future[Any]], what: str) -> list[Any]:
        """Await the acknowledgement of what :meth:`append` queued; returns the metadata of each batch.

        Args:
            sent: The futures.
            what: Names them in errors.

        Raises:
            RestartMe: one failed, or its outcome is unknown.
            NotPermitted: the broker does not let this client write there.
        """


class JournalLog:
    """What was read of a journal partition, and the own epoch on it."""

    def __init__(
        self,
        topic: str,
        partition: int,
        appender: Appender,
        reader: LogReader,
        lease: Lease,
        failpoints: Failpoints,
    ) -> None:
        self.journal = Journal()
        self.epoch = -1
        self._topic = topic
        self._partition = partition
        self._appender = appender
        self._reader = reader
        self._lease = lease
        self._failpoints = failpoints
        self._records: list[tuple[int, bytes]] = []
        self._position = 0

    async def take(self, owner: str, core: str) -> None:
        """Take the partition: append ``take``, await its ack, check the lease, read up to it."""
        self.epoch = await self._send(take_record(owner, core))
        self._lease.check(f"epoch {self.epoch} of partition {self._partition}")
        self._position = (await self._reader.bounds(self._topic, self._partition)).begin
        await self._read_to(self.epoch + 1)

    async def append(self, record: bytes) -> None:
        """Append a record that counts only under the own epoch.

        Raises:
            RestartMe: no lease, no acknowledgement, or somebody else has taken the partition since.
        """
        self._lease.check(f"an append to the journal of partition {self._partition}")
        offset = await self._send(record)
        await self._read_to(offset + 1)
        if self.journal.epoch != self.epoch:
            newest = self.journal.takes[-1]
            raise RestartMe(
                f"partition {self._partition} was taken by `{newest.owner}` at journal offset "
                f"{newest.epoch}, after the own take at {self.epoch}"
            )

    async def _send(self, record: bytes) -> int:
        sent = await self._appender.append(self._topic, self._partition, [Outgoing(None, record)])
        self._failpoints.hit("before_journal_ack")
        results = await self._appender.settle(sent, f"journal {self._topic}-{self._partition}")
        return int(results[0].offset)

    async def _read_to(self, end: int) -> None:
        async for records in self._reader.read(self._topic, self._partition, self._position, end):
            self._records += [(record.offset, record.value or b"") for record in records]
        self._position = end
        self.journal = read_journal(self._records)
