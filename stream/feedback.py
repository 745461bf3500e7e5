"""The feedback agent: records of the labels topic become events on the input, rejected ones dead letters.

Per slice, in this order:

1. events are appended to the partitions that their labels name, rejected records to the dead letters;
2. when all of it is acknowledged, the offset after the slice may be committed.

So nothing is lost. What is published again after a kill has the same transaction id and is a duplicate to
the worker.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from fraudstream.stream import messages, metrics
from fraudstream.stream.app import WorkerApp
from fraudstream.stream.emission import DEAD_LETTER_ROOM_BYTES
from fraudstream.stream.following import Follower
from fraudstream.stream.intake import Fetched
from fraudstream.stream.labels import BadLabel, label_event, own_id
from fraudstream.stream.logs import tell
from fraudstream.stream.settings import TopicNames
from fraudstream.stream.wire.batches_out import Outgoing

WAIT_S = 0.5


class Targets(NamedTuple):
    """Where events and dead letters go."""

    names: TopicNames
    partitions: int
    """Of the input."""
    dead_letter_partitions: int
    dead_letter_bytes_max: int


class Feedback:
    """Publishes what comes on the labels topic."""

    def __init__(self, app: WorkerApp, follower: Follower, targets: Targets) -> None:
        self._app = app
        self._follower = follower
        self._targets = targets
        self._metrics = app.observer.metrics

    async def run(self) -> None:
        """Work until cancelled.

        Raises:
            RestartMe: a send failed or its outcome is unknown.
        """
        while True:
            busy = False
            for partition, intake in list(self._follower.intakes.items()):
                if intake.position is None and not intake.closed:
                    intake.seek(await self._begin(partition))
                if (fetched := intake.next()) is not None:
                    await self._publish(partition, fetched)
                    busy = True
            if not busy:
                await self._follower.wait(WAIT_S)

    async def _begin(self, partition: int) -> int:
        committed: int | None
        start: int
        committed, start = await self._app.consumer.resume_at(partition)
        if committed is not None and committed < start:
            tell(messages.LABELS_LOST, partition=partition, first=committed, end=start)
        return start if committed is None else max(committed, start)

    async def _publish(self, partition: int, fetched: Fetched) -> None:
        events: defaultdict[int, list[Outgoing]] = defaultdict(list)
        dead: list[Outgoing] = []
        records = fetched.slice
        counts: defaultdict[str, int] = defaultdict(int)
        for row in range(len(records)):
            offset, value = int(records.offset[row]), records.value(row)
            try:
                event = label_event(
                    value, partition, offset, int(records.time_ms[row]), self._targets.partitions
                )
            except BadLabel as problem:
                dead.append(self._dead_letter(partition, offset, records.key(row), value, problem))
                counts[problem.code] += 1
                continue
            events[event.partition].append(Outgoing(event.key, event.value))
            counts["published"] += 1
        self._follower.passed("before_produce")
        names, producer = self._targets.names, self._app.producer
        sent: list[Any] = []
        for to, outgoing in sorted(events.items()):
            sent += await self._append(names.input, to, outgoing)
        if dead:
            sent += await self._append(
                names.dead_letters, partition % self._targets.dead_letter_partitions, dead
            )
        self._follower.passed("sent_not_acked")
        await producer.settle(sent, "label events")
        self._follower.passed("after_ack")
        fetched.done()
        if partition in self._follower.intakes:
            self._follower.committed[partition] = fetched.end
        for outcome, count in counts.items():
            self._metrics.add(metrics.LABELS, count, outcome)

    async def _append(self, topic: str, partition: int, records: Sequence[Outgoing]) -> list[Any]:
        sent: list[Any] = await self._app.producer.append(topic, partition, records)
        return sent

    def _dead_letter(
        self, partition: int, offset: int, key: bytes | None, value: bytes | None, problem: BadLabel
    ) -> Outgoing:
        headers = [
            ("code", problem.code.encode()),
            ("field", problem.field.encode()),
            ("src", own_id(partition, offset).encode()),
        ]
        free = self._targets.dead_letter_bytes_max - DEAD_LETTER_ROOM_BYTES - len(key or b"")
        if value is not None and len(value) > free:
            headers.append(("cut_from_bytes", b"%d" % len(value)))
            value = value[:free]
        return Outgoing(key, value, headers)
