"""Step 8, emit: what came of each piece leaves in order, at most a few pieces ahead of their acks.

For every piece, in this order:

1. alerts and dead letters are sent when the piece was processed, and acknowledged before
2. its decisions are appended to the partition with the input's number, behind those of all earlier pieces;
3. then what models may read goes to the features topic, where that is asked for; no decision of the piece
   waits for it;
4. the piece is acknowledged when all its acks and those of all earlier pieces are in.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudstream.stream.failpoints import Failpoints
from fraudstream.stream.journaling import Appender
from fraudstream.stream.kernel_rows import late_rows
from fraudstream.stream.outcome import Decision
from fraudstream.stream.pipeline import Result
from fraudstream.stream.recovery import Facts
from fraudstream.stream.settings import TopicNames
from fraudstream.stream.wire.batches_out import DecisionRecords, Header, Outgoing

DEAD_LETTER_ROOM_BYTES = 2_048
"""Kept free below the topic's largest record for key, headers and framing."""


_LIVE: NDArray[np.uint8] = np.zeros(0, np.uint8)
"""Outside of shadow mode there is nothing that decisions would be instead."""


@dataclass(slots=True)
class Flight:
    """A processed piece on its way out."""

    result: Result | None
    """None: a hole in the log."""
    end: int
    """Offset after the last record that the piece stands for."""
    done: Callable[[], None] | None
    """Acknowledges the fetched slice; set on its last piece."""
    shadow: bool = False
    """Decisions pass; what they would be goes into a header."""
    began_s: float = field(default_factory=time.perf_counter)
    first: list[asyncio.Future[Any]] = field(default_factory=list)
    decisions: list[asyncio.Future[Any]] = field(default_factory=list)
    make_features: Callable[[], Sequence[Outgoing]] | None = None
    """Makes the records of the features topic."""
    features: list[asyncio.Future[Any]] = field(default_factory=list)


class Emission:
    """The outgoing side of one partition under one epoch."""

    def __init__(
        self,
        partition: int,
        epoch: int,
        topics: TopicNames,
        facts: Facts,
        appender: Appender,
        failpoints: Failpoints,
        *,
        in_flight_max: int,
        deadline_ms: int,
        acked_to: int,
        on_acked: Callable[[Flight, int], None],
    ) -> None:
        self.acked_to = acked_to
        """Every decision below is acknowledged."""
        self._partition = partition
        self._topics = topics
        self._facts = facts
        self._appender = appender
        self._failpoints = failpoints
        self._deadline_ms = deadline_ms
        self._on_acked = on_acked
        self._room = asyncio.Semaphore(in_flight_max)
        self._epoch_header: Header = ("epoch", b"%d" % epoch)
        self._to_append: asyncio.Queue[Flight] = asyncio.Queue()
        self._to_ack: asyncio.Queue[Flight] = asyncio.Queue()
        self._progress = asyncio.Condition()

    async def run(self) -> None:
        """Append and acknowledge until cancelled.

        Raises:
            RestartMe: a send failed or its outcome is unknown.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._append_in_order())
            group.create_task(self._acknowledge_in_order())

    async def room(self) -> None:
        """Wait until one more piece may be under way, and take its place."""
        await self._room.acquire()

    async def emit(self, flight: Flight) -> None:
        """Send alerts and dead letters of a piece now, queue its decisions; :meth:`room` comes before."""
        if flight.result is not None:
            flight.first = await self._send_alerts(flight.result)
            flight.first += await self._send_dead_letters(flight.result)
        self._to_append.put_nowait(flight)

    async def skip_to(self, offset: int) -> None:
        """Pass a hole: there is nothing to decide below ``offset``."""
        await self.room()
        await self.emit(Flight(None, offset, None))

    async def wait_acked(self, offset: int) -> None:
        """Wait until every decision below ``offset`` is acknowledged."""
        async with self._progress:
            await self._progress.wait_for(lambda: self.acked_to >= offset)

    async def _append_in_order(self) -> None:
        while True:
            flight = await self._to_append.get()
            await self._appender.settle(flight.first, "alerts and dead letters")
            records = self._decision_records(flight)
            if records:
                self._failpoints.hit("before_produce")
                flight.decisions = await self._send_decisions(records)
            if flight.make_features is not None and (made := flight.make_features()):
                flight.features = await self._appender.append(self._topics.features, self._partition, made)
            self._to_ack.put_nowait(flight)

    async def _acknowledge_in_order(self) -> None:
        while True:
            flight = await self._to_ack.get()
            await self._appender.settle(flight.decisions, "decisions")
            if flight.decisions:
                self._failpoints.hit("after_ack")
            self._on_acked(flight, time.time_ns() // 1_000_000)
            await self._appender.settle(flight.features, "features")
            if flight.done is not None:
                flight.done()
            self._room.release()
            async with self._progress:
                self.acked_to = max(self.acked_to, flight.end)
                self._progress.notify_all()

    async def _send_decisions(self, records: DecisionRecords) -> list[asyncio.Future[Any]]:
        topic, partition = self._topics.decisions, self._partition
        sent: list[asyncio.Future[Any]] = []
        if self._failpoints.armed("mid_produce") and len(records) > 1:
            half = len(records) // 2
            await self._appender.settle(
                await self._appender.append(topic, partition, records[:half]), "decisions"
            )
            self._failpoints.hit("mid_produce")
            records = records[half:]
        elif len(records) > 1:
            self._failpoints.hit("mid_produce")
        sent = await self._appender.append(topic, partition, records)
        if self._failpoints.armed("sent_not_acked"):
            await asyncio.wait(sent)
        self._failpoints.hit("sent_not_acked")
        return sent

    def _decision_records(self, flight: Flight) -> DecisionRecords | None:
        result = flight.result
        if result is None or not len(result.rows):
            return None
        part, rows = result.slice, result.rows
        late_ms = np.empty(len(rows), np.int64)
        late_rows(part.time_ms, rows, time.time_ns() // 1_000_000, self._deadline_ms, late_ms)
        would_be = _would_be(result) if flight.shadow else _LIVE
        return DecisionRecords(
            part, rows, result.encoded, self._epoch_header[1], late_ms, would_be, 0, len(rows)
        )

    async def _send_alerts(self, result: Result) -> list[asyncio.Future[Any]]:
        if not result.alerts:
            return []
        part = result.slice
        records = [
            Outgoing(part.key(row), body, [self._src(int(part.offset[row])), self._epoch_header])
            for row, body in result.alerts
        ]
        return await self._appender.append(
            self._topics.alerts, self._partition % self._facts.alert_partitions, records
        )

    async def _send_dead_letters(self, result: Result) -> list[asyncio.Future[Any]]:
        if not result.dead_letters:
            return []
        part = result.slice
        room = self._facts.dead_letter_bytes_max - DEAD_LETTER_ROOM_BYTES
        records = []
        for rejected in result.dead_letters:
            key, value = part.key(rejected.row), part.value(rejected.row)
            headers: list[Header] = [
                ("code", rejected.code.encode()),
                ("field", rejected.field.encode()),
                self._src(int(part.offset[rejected.row])),
                self._epoch_header,
            ]
            free = room - len(key or b"")
            if value is not None and len(value) > free:
                headers.append(("cut_from_bytes", b"%d" % len(value)))
                value = value[:free]
            records.append(Outgoing(key, value, headers))
        return await self._appender.append(
            self._topics.dead_letters, self._partition % self._facts.dead_letter_partitions, records
        )

    def _src(self, offset: int) -> Header:
        return ("src", b"%d:%d" % (self._partition, offset))


def _would_be(result: Result) -> NDArray[np.uint8]:
    """Return, for each decision, what it would be outside of shadow mode; unreadable records alert."""
    decision = np.full(len(result.slice), int(Decision.ALERT), np.uint8)
    decision[result.batch.row] = result.would_be
    return decision[result.rows]
