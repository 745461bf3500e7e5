"""The learning agent: the features topic, all partitions of it, in intervals, into a registry.

Rules:

1. an interval is closed when every partition was read beyond its end, or to the end of its log while the
   clock is beyond that end by ``idle_grace_ms``;
2. state and the places from which it goes on are written into one file, as they were at a border; after any
   end the trainer goes on from there, never from the group's offset;
3. versions go to the registry before the snapshot that knows of them; a version is named by its bytes, so
   one that is made again is the same.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any, NamedTuple

from fraudstream.models.registry_store import Registry
from fraudstream.models.training import Closed, Training
from fraudstream.stream import messages, metrics
from fraudstream.stream.app import WorkerApp
from fraudstream.stream.errors import Refusal, RestartMe
from fraudstream.stream.following import Follower
from fraudstream.stream.learning_log import Place, Reading, read_items
from fraudstream.stream.logreader import LogReader
from fraudstream.stream.logs import tell
from fraudstream.stream.trainer_state import TrainerStore

WAIT_S = 0.5


class Pace(NamedTuple):
    """When intervals of an idle log close, and when snapshots are written."""

    idle_grace_ms: int = 60_000
    snapshot_s: float = 300.0
    snapshot_records: int = 5_000_000


class Learning:
    """Feeds a training from the features topic."""

    def __init__(
        self,
        app: WorkerApp,
        follower: Follower,
        partitions: int,
        training: Training,
        registry: Registry,
        store: TrainerStore,
        reader: LogReader,
        pace: Pace,
    ) -> None:
        self._app = app
        self._follower = follower
        self._partitions = partitions
        self._training = training
        self._registry = registry
        self._store = store
        self._reader = reader
        self._pace = pace
        self._metrics = app.observer.metrics
        self._topic = app.settings.topics.input
        self._readings: dict[int, Reading] = {}
        self._border: dict[int, Place] = {}
        """Places at the last border."""
        self._end_ms = 0
        """End of the running interval; 0: not known yet."""
        self._closed_ms = 0
        self._snapshot_s = time.monotonic()
        self._unwritten = False
        self._records = 0
        """Read since the snapshot."""
        self._alone = True
        self._stopping = False
        self._metrics.allow(metrics.TRAINED, training.names)

    def resume(self) -> None:
        """Go on from the newest snapshot, if there is one.

        Raises:
            Refusal: it is damaged, or of other models.
        """
        found = self._store.newest()
        if found is None:
            return
        if found["topic"] != self._topic or len(found["places"]) != self._partitions:
            raise Refusal(
                f"the trainer's snapshot is of {len(found['places'])} partitions of `{found['topic']}`, not "
                f"of {self._partitions} of `{self._topic}`; use another FRAUDSTREAM_STATE_DIR"
            )
        try:
            self._training.restore(found["training"])
        except ValueError as problem:
            raise Refusal(
                f"{problem}; use another FRAUDSTREAM_STATE_DIR, and the trainer learns them from what the "
                "features topic still has"
            ) from None
        self._end_ms = found["end_ms"]
        self._border = {number: Place(*place) for number, place in found["places"].items()}
        self._follower.committed.update({n: place.position for n, place in self._border.items()})

    async def run(self) -> None:
        """Learn until :meth:`finish`; it is never cancelled, so no step is left half done."""
        while not self._stopping:
            if not await self._all_here():
                await self._follower.wait(WAIT_S)
                continue
            busy = await self._read()
            if await self._passed():
                await self._close(self._end_ms)
                self._end_ms = await self._next_end()
                await self._maybe_snapshot()
            elif not busy:
                await self._follower.wait(WAIT_S)
        if self._unwritten:
            await self._snapshot()

    def finish(self) -> None:
        """Stop after the running step and write what was learned up to the last border."""
        self._stopping = True
        self._follower.arrived.set()

    # Reading -----------------------------------------------------------------------------------------

    async def _all_here(self) -> bool:
        """Tell whether this process owns every partition, and begin with new ones."""
        intakes = self._follower.intakes
        if len(intakes) != self._partitions:
            if intakes and self._alone:
                tell(messages.TRAINER_NOT_ALONE, partitions=sorted(intakes))
                self._alone = False
            return False
        self._alone = True
        for number, intake in intakes.items():
            if intake.position is not None or intake.closed:
                continue
            if number not in self._readings:
                place = self._border.get(number)
                if place is None:
                    begin = (await self._reader.bounds(self._topic, number)).begin
                    place = self._border[number] = Place(begin, -1, 0)
                self._readings[number] = Reading(number, place)
            else:
                # Back after a rebalance: what was fetched before and not read comes again.
                self._readings[number] = Reading(number, self._readings[number].place)
            await self._check_retained(number)
            intake.seek(self._readings[number].place.position)
        return True

    async def _check_retained(self, number: int) -> None:
        position = self._readings[number].place.position
        begin = (await self._reader.bounds(self._topic, number)).begin
        if begin > position:
            tell(messages.FEATURES_LOST, partition=number, first=position, end=begin)
            place = self._readings[number].place._replace(position=begin)
            self._readings[number] = Reading(number, place)

    async def _read(self) -> bool:
        """Collect what belongs to the running interval; return whether there was anything."""
        counts: Counter[str] = Counter()
        busy = False
        for number, reading in self._readings.items():
            intake = self._follower.intakes.get(number)
            if intake is None:
                return False
            if reading.head_ms is None and (fetched := intake.next()) is not None:
                # In a thread, as all that takes long: the group and the probes go on meanwhile.
                items = await asyncio.to_thread(read_items, number, fetched.slice)
                reading.feed(fetched, items, counts)
                busy = True
            if self._end_ms and (head_ms := reading.head_ms) is not None and head_ms < self._end_ms:
                await asyncio.to_thread(self._training.add, *reading.take(self._end_ms, counts))
                busy = True
        for outcome, count in counts.items():
            self._metrics.add(metrics.TRAINER_RECORDS, count, outcome)
            self._records += count
        if not self._end_ms:
            self._end_ms = await self._next_end()
            busy = busy or self._end_ms > 0
        await asyncio.sleep(0)
        return busy

    async def _passed(self) -> bool:
        """Tell whether all of the running interval was read."""
        if not self._end_ms:
            return False
        for number, reading in self._readings.items():
            if (head_ms := reading.head_ms) is not None:
                if head_ms < self._end_ms:
                    return False
            elif not await self._idle(number, self._end_ms):
                return False
        return True

    async def _idle(self, number: int, end_ms: int) -> bool:
        """Tell whether a partition was read to its end, and nothing before ``end_ms`` is to come."""
        if time.time() * 1000 < end_ms + self._pace.idle_grace_ms:
            return False
        return self._readings[number].place.position >= await self._reader.end(self._topic, number)

    async def _next_end(self) -> int:
        """Return the end of the next interval in which there is something; 0: it is not known yet."""
        interval_ms = self._training.rules.interval_ms
        heads = [reading.head_ms for reading in self._readings.values()]
        known = [head_ms for head_ms in heads if head_ms is not None]
        if not self._end_ms:
            # The first interval is that of the earliest record, so every partition has to be looked at.
            for number, reading in self._readings.items():
                if reading.head_ms is None and not await self._idle(number, 0):
                    return 0
            return (min(known) // interval_ms + 1) * interval_ms if known else 0
        following = self._end_ms + interval_ms
        if len(known) < len(heads):
            return following
        end_ms = (min(known) // interval_ms + 1) * interval_ms
        if end_ms <= following:
            return following
        # Nothing happened for a while: what matured meanwhile is learned before the next is scored.
        await self._close(end_ms - interval_ms)
        return end_ms

    # Borders -----------------------------------------------------------------------------------------

    async def _close(self, end_ms: int) -> None:
        done = await asyncio.to_thread(self._training.close, end_ms)
        self._follower.passed("mid_process")
        for export in done.exports:
            version = await asyncio.to_thread(self._registry.add, export.members)
            card = export.members[-1].card["metrics"]
            tell(
                messages.TRAINER_VERSION,
                model=export.model,
                version=version,
                to=_utc(end_ms),
                average_precision=card.get("average_precision"),
            )
            self._metrics.add(metrics.TRAINER_VERSIONS, 1, export.model)
        self._border = {number: reading.place for number, reading in self._readings.items()}
        self._closed_ms = end_ms
        self._unwritten = True
        self._count(done)

    def _count(self, done: Closed) -> None:
        for outcome, count in done.counts.items():
            self._metrics.add(metrics.TRAINER_LABELS, count, outcome)
        if done.delay_ms:
            self._metrics.observe(metrics.LABEL_DELAY, [max(0, ms) / 1000 for ms in done.delay_ms])
        for source, model, moved in done.quarantined:
            tell(
                messages.SOURCE_QUARANTINED,
                model=model,
                moved=round(moved, 6),
                bound=self._training.rules.moved_max,
                to=_utc(done.end_ms),
                source=source,
            )
        self._metrics.set(metrics.TRAINER_QUARANTINE, len(self._training.quarantine))
        self._metrics.set(metrics.TRAINER_VECTORS, self._training.rows)
        self._metrics.set(metrics.TRAINER_UNTIL, done.end_ms / 1000)
        if done.exports:
            for name, figures in self._training.quality().items():
                if "average_precision" in figures:
                    self._metrics.set(metrics.TRAINER_AP, figures["average_precision"], name)

    async def _maybe_snapshot(self) -> None:
        due = time.monotonic() - self._snapshot_s >= self._pace.snapshot_s
        if due or self._records >= self._pace.snapshot_records:
            await self._snapshot()

    async def _snapshot(self) -> None:
        # Nobody touches the training meanwhile: the loop waits here.
        places = {number: tuple(place) for number, place in self._border.items()}
        state: dict[str, Any] = {
            "topic": self._topic,
            "places": places,
            "end_ms": self._end_ms,
            "training": self._training.state(),
        }
        try:
            await asyncio.to_thread(self._store.write, self._end_ms, state)
        except OSError as problem:
            raise RestartMe(f"the trainer's snapshot cannot be written: {problem}") from problem
        for number, place in self._border.items():
            self._follower.committed[number] = place.position
        self._snapshot_s, self._records, self._unwritten = time.monotonic(), 0, False
        tell(messages.TRAINER_SNAPSHOT, to=_utc(self._closed_ms), digest=self._training.digest())


def _utc(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
