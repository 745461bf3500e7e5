"""Snapshots of one running partition: copied between pieces, written beside the loop.

1. fix the state at the processed offset S, between two pieces; from here on a step of the copy is made
   between two pieces, and every step's part goes to the file in a thread;
2. read the decision partition to its end: from where a restart has to read it;
3. write and sync the file under a temporary name, until the copy has ended;
4. wait until every decision below S is acknowledged;
5. rename and sync the directory: from here on the snapshot counts;
6. only now the committed offset may move, to S.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from fraudstream.stream import messages
from fraudstream.stream.emission import Emission
from fraudstream.stream.errors import NotDelivered
from fraudstream.stream.journal import InForce, Start
from fraudstream.stream.logs import tell
from fraudstream.stream.pipeline import Pipeline
from fraudstream.stream.reconnect import AWAY
from fraudstream.stream.recovery import DecisionLog
from fraudstream.stream.services import Services
from fraudstream.stream.snapshots import Header, SnapshotStore
from fraudstream.stream.windows.copying import Copy
from fraudstream.stream.windows.snapshot import SnapshotError

PART_WORDS = 1 << 18
"""Words, 2 MiB, from which on a part goes to the file: each costs the loop a tenth of a millisecond."""


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
        moved: Callable[[], None],
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
        self._newest_offset = self._offset_before = newest_offset
        self._begun_s = time.monotonic()
        self._task: asyncio.Task[None] | None = None
        self._copy: Copy | None = None
        self._moved = moved
        self._ready = asyncio.Event()
        """There may be something to take from the copy."""
        self._progress = asyncio.Event()

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
        """Fix the state at a processed offset, between two pieces; :meth:`step` goes on with it."""
        header = self._header(running, offset, last, pipeline.store.watermark_ms)
        copy = self._copy = pipeline.begin_snapshot()
        self._offset_before = self._newest_offset
        self._newest_offset, self._begun_s = offset, time.monotonic()
        self._task = asyncio.create_task(self._write(header, copy), name=f"snapshot-{self._number}")
        self._task.add_done_callback(self._done)

    def step(self) -> bool:
        """Copy a little of the snapshot under way, between two pieces; return whether there was any to copy.

        Where the file is behind nothing is copied; ``moved`` is called when it has caught up.
        """
        copy = self._copy
        if copy is None or copy.closed:
            return False
        try:
            stepped = copy.step()
        except SnapshotError as problem:
            self._failed(str(problem))
            stepped = False
        if copy.waiting_words >= PART_WORDS or copy.ended or copy.closed:
            self._ready.set()
        return stepped

    async def finish(self) -> None:
        """Copy what is left of the snapshot under way, if any, and wait until it counts."""
        if self._task is None:
            return
        while not self._task.done():
            self._progress.clear()
            if self.step():
                await asyncio.sleep(0)
            elif not self._task.done():
                await self._progress.wait()

    async def give_up_copying(self) -> None:
        """Drop the snapshot under way if it still needs the state; the next one is due at once."""
        if self._copy is not None and not self._copy.ended and not self._copy.closed:
            await self.cancel()
            self._newest_offset, self._begun_s = self._offset_before, -math.inf

    async def cancel(self) -> None:
        """Drop the snapshot under way, if any."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _write(self, header: Header, copy: Copy) -> None:
        failpoints, at = self._services.failpoints, header.next_offset
        try:
            header = replace(header, decision_offset=await self._decisions.first_from(at))
            temporary = await self._write_down(header, copy)
        except (OSError, NotDelivered, *AWAY) as problem:
            # Decisions go on without it: a snapshot only shortens a restart.
            self._failed(f"snapshot at {at} was not written: {problem}")
            return
        finally:
            copy.close()
        if temporary is None:
            return
        await self._wait_for_acks(at)
        failpoints.hit("before_rename")
        await asyncio.to_thread(self._store.publish, temporary)
        failpoints.hit("after_rename")
        await asyncio.to_thread(self._store.prune)
        self.committable, self.counted_s = at, time.monotonic()
        await self._services.commit()

    async def _write_down(self, header: Header, copy: Copy) -> Path | None:
        """Write parts as they are copied; None: the copy was given up."""
        file = await asyncio.to_thread(
            self._store.begin, header, lambda: self._services.failpoints.hit("mid_snapshot")
        )
        try:
            await asyncio.to_thread(file.write, copy.head)
            while not copy.closed:
                self._ready.clear()
                part = copy.take()
                if part is not None:
                    # Two threads never meet in one half of the buffer; the loop goes on with the other.
                    await asyncio.to_thread(file.write, part.data)
                    copy.give_back()
                    self._tell()
                elif copy.ended:
                    return await asyncio.to_thread(file.finish)
                else:
                    await self._ready.wait()
            return None
        finally:
            file.close()

    def _failed(self, text: str) -> None:
        tell(messages.SNAPSHOT_FAILED, partition=self._number, problem=text)
        self._tell()

    def _tell(self) -> None:
        """Wake whoever waits for the file."""
        self._progress.set()
        self._moved()

    async def _wait_for_acks(self, offset: int) -> None:
        """A snapshot counts only when every decision below it is acknowledged."""
        await self._emission.wait_acked(offset)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tell()
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
