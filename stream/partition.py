"""One partition under one owner: the delivery protocol as a state machine.

Life: ``STARTING`` (steps 1 to 5 of ``start(p)``) -> ``RUNNING`` (replay and live are the same loop: what was
already decided changes the state only) -> ``DRAINING`` -> ``STOPPED``. Anything unexpected ends in ``FAILED``
and in a restart of the process: the state in memory is dropped, the log has everything.

Protocol and guarantees: docs/reference/delivery.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import partial
from typing import NamedTuple

from fraudstream.models.model import Model
from fraudstream.rules.bundle import Bundle
from fraudstream.stream import messages
from fraudstream.stream.emission import Emission, Flight
from fraudstream.stream.enrichment.bound import BoundTable, TableVersion
from fraudstream.stream.enrichment.store import Enrichment, prepared, reads_reference
from fraudstream.stream.errors import Refusal, RestartMe
from fraudstream.stream.feature_events import FeatureEvents
from fraudstream.stream.intake import Fetched, Intake
from fraudstream.stream.journal import InForce, Journal, end_record
from fraudstream.stream.journaling import JournalLog
from fraudstream.stream.logreader import LogReader
from fraudstream.stream.logs import tell
from fraudstream.stream.opening import Opening
from fraudstream.stream.pieces import PieceSize
from fraudstream.stream.pipeline import Known, Pipeline, Result
from fraudstream.stream.reconnect import AWAY
from fraudstream.stream.recovery import (
    DecisionLog,
    Published,
    check_bundle,
    check_published,
)
from fraudstream.stream.services import Services
from fraudstream.stream.snapshots import Snapshot, SnapshotStore, value_hash
from fraudstream.stream.snapshotting import LastRecord, Snapshotter
from fraudstream.stream.target_keeper import TargetKeeper
from fraudstream.stream.wire.batches_out import Outgoing


class Phase(Enum):
    """Where a partition is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


class _Same(NamedTuple):
    """Offsets at which a journal says what runs already."""

    journal: Journal | None
    begin: int
    end: int | None
    """None: no border lies beyond."""

    def holds(self, journal: Journal, offset: int) -> bool:
        """Return whether it holds at an offset; a journal that was read again is another one."""
        return journal is self.journal and self.begin <= offset and (self.end is None or offset < self.end)


class Partition:
    """State machine of one partition under one epoch."""

    def __init__(self, number: int, services: Services) -> None:
        self.number = number
        self.phase = Phase.STARTING
        self.intake = Intake(number)
        self.next_offset = 0
        """Everything below was processed."""
        self.began_s = time.monotonic()
        self.bundle_since = 0
        """Offset from which on the bundle in force is."""
        self._services = services
        self._settings = services.settings
        self._topics = services.settings.topics
        self._reader = LogReader(services.settings)
        self._tail_reader = LogReader(services.settings)
        self._decisions = DecisionLog(self._tail_reader, self._topics.decisions, number)
        self._journal = JournalLog(
            self._topics.journal,
            number,
            services.appender,
            self._reader,
            services.lease,
            services.failpoints,
        )
        self._store = SnapshotStore(
            services.settings.state_dir / services.settings.app_id / f"{self._topics.input}-{number}",
            services.settings.snapshots_kept,
        )
        self._size = PieceSize(services.settings.slice_records_max)
        self._wake = self.intake.arrived
        self._stop_wanted = False
        self._finish = False
        self._task: asyncio.Task[None] | None = None
        self._current: Fetched | None = None
        self._row = 0
        self._replay_below = 0
        self._last = LastRecord()
        self._end_at_start = 0
        self._prepared: dict[str, BoundTable] = {}
        self._publishes = services.settings.publish_features == "on"
        self._feature_events: tuple[Bundle, FeatureEvents] | None = None
        self._known: Known | None = None
        self._published_last = -1
        self._pipeline: Pipeline
        self._running: InForce
        self._same = _Same(None, 0, 0)
        self._emission: Emission
        self._snapshotter: Snapshotter | None = None
        self._opening = Opening(number, services, self._journal, self._reader, self._store)
        self._target = TargetKeeper(number, services, self._journal, self._reader)

    # Life --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin; failures go to ``Services.fail``."""
        self._task = asyncio.create_task(self._run(), name=f"partition-{self.number}")

    def retarget(self) -> None:
        """Look at the target again; :attr:`switched` is set when it is journaled."""
        self.switched.clear()
        self._wake.set()

    @property
    def switched(self) -> asyncio.Event:
        """Return what is set when the journal says what the operator wants."""
        return self._target.switched

    async def prepare(
        self, bundle: Bundle, model: Model | None, versions: Mapping[str, TableVersion]
    ) -> None:
        """Bind what is large of reference tables to come, beside the loop."""
        if (pipeline := self.pipeline) is None:
            return
        for name, version in versions.items():
            made = await asyncio.to_thread(prepared, pipeline.enrichment, bundle, model, name, version)
            if made is not None:
                self._prepared[name] = made

    async def drain(self) -> None:
        """Stop cleanly: no more slices, all acks in, snapshot, ``end``."""
        self._finish = True
        await self._stop()

    async def revoke(self) -> None:
        """Stop at a slice border because the partition is taken away; snapshot if its rule allows."""
        await self._stop()

    async def kill(self) -> None:
        """Drop everything in memory."""
        self.intake.close()
        if self._task is not None and not self._task.done():
            if self.phase is not Phase.FAILED:
                self._task.cancel()
            await asyncio.wait([self._task])

    @property
    def caught_up(self) -> bool:
        """Return whether everything that lay on the input at the start was processed."""
        return self.phase is Phase.RUNNING and self.next_offset >= self._end_at_start

    @property
    def epoch(self) -> int:
        """Return the own epoch, -1 before the take."""
        return self._journal.epoch

    @property
    def pipeline(self) -> Pipeline | None:
        """Return the state, None before it is there."""
        return getattr(self, "_pipeline", None)

    @property
    def committable(self) -> int | None:
        """Return the offset of the newest snapshot that counts under this owner."""
        return None if self._snapshotter is None else self._snapshotter.committable

    @property
    def snapshot_s(self) -> float | None:
        """Return the monotonic time of the newest snapshot under this owner."""
        return None if self._snapshotter is None else self._snapshotter.counted_s

    @property
    def running(self) -> InForce | None:
        """Return the versions in force at the next offset, None before they are known."""
        return getattr(self, "_running", None)

    @property
    def log_end(self) -> int:
        """Return the newest known end of the input."""
        return max(self.intake.log_end, self._end_at_start)

    async def _stop(self) -> None:
        self._stop_wanted = True
        self.intake.stop()
        self._wake.set()
        if self._task is None:
            return
        if self.phase is Phase.STARTING:
            await self.kill()
        else:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            await self._reader.start()
            await self._tail_reader.start()
            await self._start()
            async with asyncio.TaskGroup() as group:
                emitting = group.create_task(self._emission.run())
                await self._loop()
                await self._wind_up()
                emitting.cancel()
            self.phase = Phase.STOPPED
        except asyncio.CancelledError:
            self.phase = Phase.STOPPED
            raise
        except BaseException as problem:  # noqa: BLE001 - whatever it is, the state is given up
            self.phase = Phase.FAILED
            self._services.fail(_root(problem))
        finally:
            self.intake.close()
            if self._snapshotter is not None:
                await self._snapshotter.cancel()
            await self._reader.close()
            await self._tail_reader.close()

    # Start -------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        services, topics, number = self._services, self._topics, self.number
        # Step 1: own the partition, take it, read the journal up to the own take.
        bounds = await self._reader.bounds(topics.input, number)
        self._end_at_start = bounds.end
        await self._opening.journal_first(bounds)
        journal = self._journal.journal
        assert journal.start is not None
        # Step 2: the newest valid snapshot; step 3: what was published since; step 4: do they fit.
        snapshot = await self._opening.choose_snapshot(bounds)
        decided = (await self._reader.bounds(topics.decisions, number)).end > 0
        if snapshot is None:
            self._running = journal.in_force(0)
            state_from = self._running.state_from
            self.next_offset = self._opening.begin_state(bounds, state_from, decided=decided)
            published = await self._read_published(0, 0)
        else:
            header = snapshot.header
            self._running = header.versions
            self.next_offset = header.next_offset
            self._last = LastRecord(header.last_offset, header.last_value_sha256)
            published = await self._read_published(header.decision_offset, header.next_offset)
        check_published(number, topics, bounds, published.last)
        bundle, model = await self._load(self._running)
        check_bundle(bundle, services.facts, topics.input)
        self._pipeline = await self._make_pipeline(snapshot, bundle, model)
        self._remember(published)
        self._emission = Emission(
            number,
            self._journal.epoch,
            topics,
            services.facts,
            services.appender,
            services.failpoints,
            in_flight_max=self._settings.slices_in_flight,
            deadline_ms=self._settings.deadline_ms,
            acked_to=self.next_offset,
            on_acked=self._acked,
        )
        self._snapshotter = self._make_snapshotter()
        # Step 5: seek and replay; the loop publishes what is not in `seen`.
        tell(
            messages.PARTITION_STARTS,
            partition=number,
            epoch=self._journal.epoch,
            offset=self.next_offset,
            source="snapshot" if snapshot else "no snapshot",
            input_end=bounds.end,
            published=len(published.offset),
        )
        self.bundle_since = journal.bundle_since(self._running.bundle, self.next_offset)
        self.intake.seek(self.next_offset)
        self.phase = Phase.RUNNING

    async def _read_published(self, begin: int, src_from: int) -> Published:
        bounds = await self._reader.bounds(self._topics.decisions, self.number)
        return await self._decisions.read_from(max(begin, bounds.begin), src_from)

    def _remember(self, published: Published) -> None:
        self._known = Known(published.offset, published.decision, published.score)
        self._published_last = published.last

    async def _make_pipeline(
        self, snapshot: Snapshot | None, bundle: Bundle, model: Model | None
    ) -> Pipeline:
        start = self._journal.journal.start
        assert start is not None
        live = self._running.mode == "live"
        tables = await self._enrichment(self._running, bundle, model)
        if snapshot is None:
            pipeline = Pipeline(
                self.number, start.hash_key, bundle, model, start.from_offset, live=live, enrichment=tables
            )
        else:
            pipeline = Pipeline.restore(
                snapshot.state, bundle, model, live=live, checked=True, enrichment=tables
            )
        if not self._publishes:
            pipeline.compute_what_is_read()
        pipeline.hide = self._services.hide
        pipeline.on_step = self._services.observer.step
        return pipeline

    async def _enrichment(self, version: InForce, bundle: Bundle, model: Model | None) -> Enrichment:
        """Bind the reference tables of a version, from what is bound or prepared where that will do."""
        start = self._journal.journal.start
        assert start is not None
        wanted = sorted(reads_reference(bundle, model) & version.tables.keys())
        versions = {name: await self._services.catalogue.table(version.tables[name]) for name in wanted}
        donors = list(self._prepared.values())
        if (pipeline := self.pipeline) is not None:
            donors += pipeline.enrichment.bound.values()
        made = await asyncio.to_thread(Enrichment, bundle, model, start.hash_key, versions, donors)
        in_use = set(map(id, made.bound.values()))
        self._prepared = {n: table for n, table in self._prepared.items() if id(table) not in in_use}
        return made

    def _make_snapshotter(self) -> Snapshotter:
        start = self._journal.journal.start
        assert start is not None
        return Snapshotter(
            self.number,
            self._journal.epoch,
            self._services,
            self._store,
            self._decisions,
            self._emission,
            start,
            self.next_offset,
            self._wake.set,
        )

    @property
    def _snapshots(self) -> Snapshotter:
        assert self._snapshotter is not None
        return self._snapshotter

    async def _load(self, version: InForce) -> tuple[Bundle, Model | None]:
        catalogue = self._services.catalogue
        return await catalogue.bundle(version.bundle), await catalogue.model(version.models)

    # Loop --------------------------------------------------------------------------------------------

    async def _loop(self) -> None:
        while not self._stop_wanted:
            self._wake.clear()
            await self._target.meet()
            await self._cross_border()
            self._maybe_snapshot()
            copied = self._snapshots.step()
            if not await self._process_piece():
                await (asyncio.sleep(0) if copied else self._wait())

    def _maybe_snapshot(self) -> None:
        if self.next_offset >= self._replay_below and self._snapshots.due(self.next_offset):
            self._begin_snapshot()

    def _begin_snapshot(self) -> None:
        self._snapshots.begin(self._pipeline, self._running, self.next_offset, self._last)

    async def _wait(self) -> None:
        """Wait for a slice, a wake-up, or the time of the next snapshot."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self._wake.wait()

    async def _process_piece(self) -> bool:
        """Take the next piece of at most the wanted size, up to the next border; False: there is none."""
        if self._current is None or 0 < len(self._current.slice) <= self._row:
            self._current, self._row = self.intake.next(), 0
        fetched = self._current
        if fetched is None:
            return False
        whole = fetched.slice
        if not len(whole):
            await self._pass_hole(fetched)
            return True
        stop = min(self._row + self._size.records, len(whole))
        border = self._border()
        if border is not None and int(whole.offset[stop - 1]) >= border:
            stop = self._row + int((whole.offset[self._row : stop] < border).sum())
            if stop == self._row:
                # The border lies in a hole before this record: cross it first.
                self.next_offset = border
                await self._emission.skip_to(border)
                return True
        piece = whole if stop - self._row == len(whole) else whole.part(self._row, stop)
        await self._emission.room()
        place = f"offset {int(piece.offset[0])} of partition {self.number}"
        if not await self._services.lease.held(place, self._broker_answers, lambda: self._stop_wanted):
            return False
        self._services.observer.step_begin()
        begin_s = time.perf_counter()
        result = self._pipeline.process(piece, self._known)
        took_s = time.perf_counter() - begin_s
        self._size.took(len(piece), took_s)
        self._services.failpoints.hit("mid_process")
        last = stop == len(whole)
        self._row = stop
        self.next_offset = fetched.end if last else int(piece.offset[-1]) + 1
        self._last = LastRecord(int(piece.offset[-1]), value_hash(piece.value(len(piece) - 1)))
        if self._published_last < self.next_offset and self.next_offset >= self._replay_below:
            self._known = None
        self._services.observer.processed(self._pipeline.bundle, result)
        await self._emission.emit(
            Flight(
                result,
                self.next_offset,
                fetched.done if last else None,
                shadow=not self._pipeline.live,
                make_features=self._feature_records(result),
            )
        )
        # Let the consumer, the sender and the other partitions have the loop.
        await asyncio.sleep(0)
        return True

    def _feature_records(self, result: Result) -> Callable[[], Sequence[Outgoing]] | None:
        """Return what makes the records of the features topic; what is replayed comes again."""
        if not self._publishes or self.next_offset <= self._replay_below:
            return None
        bundle = self._pipeline.bundle
        if self._feature_events is None or self._feature_events[0] is not bundle:
            self._feature_events = bundle, FeatureEvents(bundle)
        return partial(self._feature_events[1].records, result, self._pipeline.start_from)

    async def _broker_answers(self) -> bool:
        try:
            await self._reader.end(self._topics.input, self.number)
        except AWAY:
            return False
        return True

    async def _pass_hole(self, fetched: Fetched) -> None:
        """Go on behind a hole at the end of the log, one border at a time."""
        border = self._border()
        self.next_offset = fetched.end if border is None else min(border, fetched.end)
        await self._emission.skip_to(self.next_offset)
        if self.next_offset == fetched.end:
            self._current = None
            fetched.done()

    def _border(self) -> int | None:
        border = self._journal.journal.next_border(max(self.next_offset, self._replay_below))
        return self._replay_below if self.next_offset < self._replay_below else border

    def _acked(self, flight: Flight, now_ms: int) -> None:
        if flight.result is not None:
            self._services.observer.acknowledged(flight.result, now_ms)
            self._services.observer.timed("emit", time.perf_counter() - flight.began_s)

    # Versions ----------------------------------------------------------------------------------------

    async def _cross_border(self) -> None:
        """Put in force what the journal says for the next offset."""
        journal, offset = self._journal.journal, self.next_offset
        if offset < self._replay_below or self._same.holds(journal, offset):
            return
        version = journal.in_force(offset)
        if version == self._running:
            self._same = _Same(journal, offset, journal.next_border(offset))
            return
        if version.bundle != self._running.bundle:
            self.bundle_since = self.next_offset
        bundle, model = await self._load(version)
        other = bundle.definitions != self._pipeline.bundle.definitions
        if version.rebuilds(self._running, other_definitions=other):
            await self._rebuild(version, bundle, model)
        else:
            if other:
                await self._snapshots.give_up_copying()
            tables = await self._enrichment(version, bundle, model)
            self._pipeline.switch(bundle, model, live=version.mode == "live", enrichment=tables)
        self._running = version

    async def _rebuild(self, version: InForce, bundle: Bundle, model: Model | None) -> None:
        """Build the state again under new definitions, from ``state_from`` up to here, silently."""
        border = self.next_offset
        await self._emission.wait_acked(border)
        bounds = await self._reader.bounds(self._topics.input, self.number)
        if bounds.begin > version.state_from:
            raise Refusal(
                f"state of partition {self.number} has to be built from offset {version.state_from}, but "
                f"`{self._topics.input}` begins at {bounds.begin}. Restore a snapshot taken after offset "
                f"{border}"
            )
        tell(messages.STATE_REBUILDS, partition=self.number, state_from=version.state_from, border=border)
        await self._snapshots.finish()
        published = await self._read_published(0, version.state_from)
        self._running = version
        self._pipeline = await self._make_pipeline(None, bundle, model)
        self._remember(published)
        self._replay_below = border
        self._current, self._row = None, 0
        self.next_offset = version.state_from
        self.intake.seek(version.state_from)

    # Stop --------------------------------------------------------------------------------------------

    async def _wind_up(self) -> None:
        """Stop at a slice border: acks in, snapshot; after a drain `end` as well."""
        self.phase, settings = Phase.DRAINING, self._settings
        try:
            async with asyncio.timeout(
                (settings.request_timeout_ms if self._finish else settings.session_timeout_ms / 2) / 1000
            ):
                await self._emission.wait_acked(self.next_offset)
                await self._snapshots.finish()
                if self._snapshots.newer(self.next_offset) and self.next_offset >= self._replay_below:
                    self._begin_snapshot()
                    await self._snapshots.finish()
        except TimeoutError:
            if self._finish:
                raise RestartMe(
                    f"partition {self.number}: decisions were not acknowledged while stopping"
                ) from None
            return
        at = self.next_offset
        if self._finish and at >= self._end_at_start and at >= self._replay_below:
            await self._journal.append(end_record(self._journal.epoch, at))


def _root(problem: BaseException) -> BaseException:
    """Return the first real error of a task group's."""
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    return problem
