"""Reading topics between given offsets, outside of the consumer group: journal, decisions, control."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

import aiokafka
from aiokafka.structs import TopicPartition

from fraudstream.stream.errors import NotDelivered
from fraudstream.stream.reconnect import pause_between_tries
from fraudstream.stream.security import aiokafka_options
from fraudstream.stream.settings import Settings

RECORDS_MAX = 2_000
"""Records of one step: parsing them takes well under the 50 ms that the loop may be held."""


class Bounds(NamedTuple):
    """Offsets that a partition retains."""

    begin: int
    end: int


class LogReader:
    """One consumer without a group; a read has it for itself."""

    def __init__(self, settings: Settings, *, committed: bool = False) -> None:
        self._timeout_s = settings.request_timeout_ms / 1000
        self._consumer = aiokafka.AIOKafkaConsumer(
            bootstrap_servers=settings.broker,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed" if committed else "read_uncommitted",
            request_timeout_ms=settings.request_timeout_ms,
            fetch_max_wait_ms=100,
            max_partition_fetch_bytes=4 * 1024 * 1024,
            **aiokafka_options(settings),
        )
        pause_between_tries(self._consumer._client)  # noqa: SLF001
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Connect."""
        await self._consumer.start()

    async def close(self) -> None:
        """Disconnect."""
        await self._consumer.stop()

    async def bounds(self, topic: str, partition: int) -> Bounds:
        """Return the first retained offset and the log end (high watermark)."""
        tp = TopicPartition(topic, partition)
        async with self._turn:
            begin = await self._consumer.beginning_offsets([tp])
            end = await self._consumer.end_offsets([tp])
        return Bounds(int(begin[tp]), int(end[tp]))

    async def end(self, topic: str, partition: int) -> int:
        """Return the log end (high watermark) as it is now."""
        tp = TopicPartition(topic, partition)
        async with self._turn:
            return int((await self._consumer.end_offsets([tp]))[tp])

    async def offset_at(self, topic: str, partition: int, time_ms: int) -> int | None:
        """Return the first offset with a timestamp at or after ``time_ms``, None if there is none."""
        tp = TopicPartition(topic, partition)
        async with self._turn:
            found = (await self._consumer.offsets_for_times({tp: time_ms}))[tp]
        return None if found is None else int(found.offset)

    async def read(self, topic: str, partition: int, begin: int, end: int) -> AsyncIterator[Sequence[Any]]:
        """Yield the records with ``begin <= offset < end`` in order, in lists.

        Raises:
            NotDelivered: the broker did not deliver them in time.
        """
        if begin >= end:
            return
        tp = TopicPartition(topic, partition)
        async with self._turn:
            self._consumer.assign([tp])
            self._consumer.seek(tp, begin)
            try:
                async for records in self._records(tp, end):
                    yield records
            finally:
                # Else it would fetch on, and the next question would wait behind a fetch of no records.
                self._consumer.pause(tp)

    async def _records(self, tp: TopicPartition, end: int) -> AsyncIterator[Sequence[Any]]:
        loop = asyncio.get_running_loop()
        heard_s = loop.time()
        while True:
            fetched = await self._consumer.getmany(tp, timeout_ms=100, max_records=RECORDS_MAX)
            records = fetched.get(tp, ())
            position = records[-1].offset + 1 if records else await self._consumer.position(tp)
            if records and records[-1].offset >= end:
                records = [record for record in records if record.offset < end]
            if records:
                heard_s = loop.time()
                yield records
            if position >= end:
                return
            if loop.time() - heard_s > self._timeout_s:
                raise NotDelivered(
                    f"{tp.topic}-{tp.partition}: offsets {position} to {end - 1} were not delivered within "
                    f"{self._timeout_s:g} s"
                )
