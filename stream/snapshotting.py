"""Snapshots of one running partition: copied between two pieces, written beside the loop.

1. copy the state at the processed offset S, between two pieces;
2. read the decision partition to its end: from where a restart has to read it;
3. write and sync the file under a temporary name;
4. wait until every decision below S is acknowledged;
5. rename and sync the directory: from here on the snapshot counts;
6. only now the committed offset may move, to S.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from typing import NamedTuple

from fraudstream.stream.emission import Emission
from fraudstream.stream.journal import InForce, Start
from fraudstream.stream.pipeline import Pipeline
from fraudstream.stream.recovery import DecisionLog
from fraudstream.stream.services import Services
from fraudstream.stream.snapshots import Header, SnapshotStore

log = logging.getLogger(__name__)


class LastRecord(NamedTuple):
    """The last record in a state."""

    offset: int = -1
    value_sha256: str = ""


class Snapshotter:
    """Takes the snapshots of one partition under one epoch, one at a time."""

    def __init__(
        self,
        number: int,
        epoch: int,
        services: Services,
        store: SnapshotStore,
        decisions: DecisionLog,
        emission: Emission,
        start: Start,
        newest_offset: int,
    ) -> None:
        self.committable: int | None = None
        """Offset of the newest snapshot that counts under this owner."""
        self.counted_s: float | None = None
        """Monotonic time at which it began to count."""
        self._number = number
        self._epoch = epoch
        self._services = services
        self._store = store
        self._decisions = decisions
        self._emission = emission
        self._start = start
        self._newest_offset = newest_offset
        self._begun_s = time.monotonic()
        self._task: asyncio.Task[None] | None = None

    def due(self, offset: int) -> bool:
        """Return whether a snapshot at a processed offset is wanted by time or number of records."""
        if offset <= self._newest_offset:
            # Nothing new: the interval begins with the next record.
            self._begun_s = time.monotonic()
            return False
        if self._task is not None and not self._task.done():
            return False
        settings = self._services.settings
        many = offset - self._newest_offset >= settings.snapshot_records
        return many or time.monotonic() - self._begun_s >= settings.snapshot_interval_s

    def newer(self, offset: int) -> bool:
        """Return whether a snapshot at this offset would be newer than all."""
        return offset > self._newest_offset

    def begin(self, pipeline: Pipeline, running: InForce, offset: int, last: LastRecord) -> None:
        """Copy the state at a processed offset, between two pieces; the rest goes on beside the loop."""
        state = pipeline.snapshot()
        header = self._header(running, offset, last, pipeline.store.watermark_ms)
        self._newest_offset, self._begun_s = offset, time.monotonic()
        self._task = asyncio.create_task(self._write(header, state), name=f"snapshot-{self._number}")
        self._task.add_done_callback(self._done)

    async def finish(self) -> None:
        """Wait for the snapshot under way, if any."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def cancel(self) -> None:
        """Drop the snapshot under way, if any."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _write(self, header: Header, state: bytes) -> None:
        failpoints, at = self._services.failpoints, header.next_offset
        header = replace(header, decision_offset=await self._decisions.first_from(at))
        try:
            temporary = await asyncio.to_thread(
                self._store.write_temporary, header, state, lambda: failpoints.hit("mid_snapshot")
            )
        except OSError as problem:
            # Decisions go on without it: a snapshot only shortens a restart.
            log.warning("partition %d: snapshot at %d was not written: %s", self._number, at, problem)
            self._services.observer.snapshots_failed += 1
            return
        await self._wait_for_acks(at)
        failpoints.hit("before_rename")
        await asyncio.to_thread(self._store.publish, temporary)
        failpoints.hit("after_rename")
        await asyncio.to_thread(self._store.prune)
        self.committable, self.counted_s = at, time.monotonic()
        await self._services.commit()

    async def _wait_for_acks(self, offset: int) -> None:
        """A snapshot counts only when every decision below it is acknowledged."""
        await self._emission.wait_acked(offset)

    def _done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (problem := task.exception()) is not None:
            self._services.fail(problem)

    def _header(self, running: InForce, offset: int, last: LastRecord, watermark_ms: int) -> Header:
        facts, topics = self._services.facts, self._services.settings.topics
        return Header(
            cluster=facts.cluster,
            input_topic=topics.input,
            decisions_topic=topics.decisions,
            journal_topic=topics.journal,
            partitions=facts.partitions,
            partition=self._number,
            next_offset=offset,
            decision_offset=0,
            last_offset=last.offset,
            last_value_sha256=last.value_sha256,
            start_from=self._start.from_offset,
            hash_key=self._start.hash_key.hex(),
            bundle=running.bundle,
            models=running.models,
            core=running.core,
            mode=running.mode,
            state_from=running.state_from,
            watermark_ms=watermark_ms,
            epoch=self._epoch,
            taken_ms=time.time_ns() // 1_000_000,
            tables=dict(running.tables),
            state=running.state,
        )
