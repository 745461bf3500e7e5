"""Faust transport driver that delivers whole slices: step 1 of a transaction's road.

Stock Faust makes tasks for every record. Here a fetched slice of a partition is one Faust event, so the
cost of the event machinery is paid per slice. Faust keeps the consumer group, the assignment, rebalances,
acks and commits; these rules are ours:

* the position of a partition is its :class:`~fraudstream.stream.intake.Intake`'s, never the committed offset;
* only partitions whose intake has room are fetched, so nothing grows when the rest is slow;
* the committed offset is the newest snapshot's, for lag tools only; a commit that failed did not happen;
* every heartbeat that the coordinator answers well prolongs the lease.

Private names of Faust and aiokafka that this relies on are listed in :data:`PRIVATE_NAMES` and pinned by
a contract test.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import aiokafka
import faust
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import IllegalStateError, KafkaError
from aiokafka.protocol.group import HeartbeatRequest, SyncGroupRequest
from aiokafka.structs import TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from fraudstream.stream import fetching, messages, producing
from fraudstream.stream.errors import RestartMe
from fraudstream.stream.fetching import Fetching, is_slice
from fraudstream.stream.intake import Intake, Verdict, slice_of
from fraudstream.stream.lease import Lease
from fraudstream.stream.logs import tell
from fraudstream.stream.lost_rights import as_not_permitted
from fraudstream.stream.producing import FAUST_LOG, SliceProducer
from fraudstream.stream.reconnect import pause_between_tries
from fraudstream.stream.security import aiokafka_options
from fraudstream.stream.settings import Settings
from fraudstream.stream.wire.types import Slice

PRIVATE_NAMES: dict[str, tuple[str, ...]] = {
    "faust.transport.drivers.aiokafka:Consumer": (
        "_new_consumer_thread",
        "_new_offset",
        "_commit_offsets",
        "_filter_tps_with_pending_acks",
        "_get_active_partitions",
        "_getmany",
        "_add_gap",
        "_drain_messages",
        "perform_seek",
        "verify_event_path",
        "highwater",
    ),
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread": (
        "_create_worker_consumer",
        "_ensure_consumer",
        "_fetch_records",
        "call_thread",
        "position",
    ),
    "faust.app.base:App": ("_create_directories", "_new_transport", "_new_producer_transport"),
    "aiokafka.consumer.group_coordinator:GroupCoordinator": ("_send_req", "_do_heartbeat"),
    **producing.PRIVATE_NAMES,
    **fetching.PRIVATE_NAMES,
    "aiokafka.client:AIOKafkaClient": ("_metadata_update",),
}
"""``module:class`` -> names without a promise of stability."""

FETCH_TIMEOUT_S = 0.25
"""A seek waits at most this long for the fetch that is under way."""
FETCH_TIMEOUT_CROWDED_S = 0.02
"""While some partition has no room a fetch is short: its set of partitions was fixed at the start, and one
that gets room meanwhile would wait for it."""


class Arrived(NamedTuple):
    """Value of a Faust event: a slice, the offsets that it stands for, and who asked for it."""

    intake: Intake
    begin: int
    end: int
    slice: Slice


class Owner(Protocol):
    """What the driver asks of whoever owns the partitions."""

    def intake(self, partition: int) -> Intake | None:
        """Return the intake of an owned partition."""

    def assigned(self, partitions: set[int]) -> None:
        """Begin with partitions, under new epochs."""

    async def revoked(self, partitions: set[int]) -> None:
        """Stop with partitions at a slice border."""

    def committable(self, partition: int) -> int | None:
        """Return the offset of the newest snapshot that counts."""

    def failed(self, reason: BaseException) -> None:
        """Give everything up."""

    def passed(self, failpoint: str) -> None:
        """Pass a failpoint."""


class SliceSchema(faust.Schema):  # type: ignore[misc]
    """Hands a slice to the agent as it is."""

    def compile(self, app: Any, **_: Any) -> Any:
        """Return the decoder that Faust's conductor awaits."""

        async def decode(message: Any, *, propagate: bool = False) -> Any:
            del propagate
            return app.create_event(None, message.value, None, message)

        return decode


class LeasedConsumer(aiokafka.AIOKafkaConsumer):  # type: ignore[misc]
    """Consumer that notes when the group coordinator answered well, and hands over slices."""

    def __init__(self, *args: Any, lease: Lease, fetching: Fetching, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lease = lease
        self._fetching = fetching
        pause_between_tries(self._client)

    async def start(self) -> None:
        """Start, then listen to the coordinator's answers."""
        await super().start()
        self._fetching.install(self)
        coordinator = self._coordinator
        send = coordinator._send_req  # noqa: SLF001
        lease = self._lease

        async def send_and_note(request: Any) -> Any:
            sent_s = lease.now_s()
            response = await send(request)
            # An answer that announces a rebalance is an error code, so it does not prolong. The answer to
            # SyncGroup starts the member's session: it counts as the first heartbeat.
            if isinstance(request, HeartbeatRequest | SyncGroupRequest) and response.error_code == 0:
                lease.answered(sent_s)
            return response

        coordinator._send_req = send_and_note  # noqa: SLF001


class SliceConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """Creates the consumer with the isolation, sizes and lease that the worker needs."""

    logger = FAUST_LOG
    fetching: Fetching

    def _create_worker_consumer(self, transport: Any) -> LeasedConsumer:
        del transport
        self.fetching = Fetching(self.app.settings.topics.input, self._fell_back)
        conf = self.app.conf
        settings: Settings = self.app.settings
        return LeasedConsumer(
            lease=self.app.lease,
            fetching=self.fetching,
            client_id=f"{settings.app_id}-worker",
            group_id=conf.id,
            group_instance_id=settings.group_instance_id or None,
            bootstrap_servers=settings.broker,
            partition_assignment_strategy=[RoundRobinPartitionAssignor],
            enable_auto_commit=False,
            # Only ever a guess that the intake judges: every position is a snapshot's.
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_poll_records=settings.slice_records_max,
            max_partition_fetch_bytes=settings.fetch_bytes_max,
            fetch_max_wait_ms=settings.fetch_wait_ms_max,
            fetch_min_bytes=1,
            request_timeout_ms=settings.request_timeout_ms,
            session_timeout_ms=settings.session_timeout_ms,
            heartbeat_interval_ms=settings.heartbeat_interval_ms,
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            max_poll_interval_ms=int(conf.broker_max_poll_interval * 1000),
            metadata_max_age_ms=conf.consumer_metadata_max_age_ms,
            connections_max_idle_ms=conf.consumer_connections_max_idle_ms,
            **aiokafka_options(settings),
        )

    def _fell_back(self, reason: str) -> None:
        tell(messages.WIRE_FALLBACK, part="fetch", reason=reason)
        self.app.observer.fell_back("fetch", reason)

    async def move(self, tp: TP, offset: int) -> None:
        """Set the position of a partition, in the consumer's own thread."""
        consumer = self._ensure_consumer()

        async def move() -> None:
            # Taken away meanwhile: nothing to move.
            if TopicPartition(tp.topic, tp.partition) in consumer.assignment():
                consumer.seek(TopicPartition(tp.topic, tp.partition), offset)

        await self.call_thread(move)

    async def position(self, tp: TP) -> int | None:
        """Return the position of a partition, None if it was taken away meanwhile."""
        try:
            found: int | None = await super().position(tp)
        except IllegalStateError:
            return None
        return found

    async def committed(self, tp: TP) -> int | None:
        """Return the offset that the group committed, None if there is none."""
        consumer = self._ensure_consumer()
        found: int | None = await self.call_thread(consumer.committed, TopicPartition(tp.topic, tp.partition))
        return found

    async def log_start(self, tp: TP) -> int:
        """Return the first retained offset of a partition."""
        consumer = self._ensure_consumer()
        key = TopicPartition(tp.topic, tp.partition)
        starts = await self.call_thread(consumer.beginning_offsets, [key])
        return int(starts[key])


class _Forgetful(dict[Any, Any]):
    """Stands for Faust's read offsets, by which it drops and counts gaps: the intake does that here."""

    def __getitem__(self, key: Any) -> None:
        return None

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def update(self, *args: Any, **kwargs: Any) -> None:
        pass


class SliceConsumer(driver.Consumer):  # type: ignore[misc]
    """Consumer whose messages are slices."""

    logger = FAUST_LOG

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_offset = _Forgetful()

    @property
    def _owner(self) -> Owner:
        owner: Owner = self.app.owner
        return owner

    def _new_consumer_thread(self) -> SliceConsumerThread:
        return SliceConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def getmany(self, timeout: float) -> Any:  # noqa: ASYNC109 - Faust's signature
        """Fetch once and yield one message for each partition that has records."""
        del timeout
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
            return
        active = self._get_active_partitions()
        wanted = {
            tp: intake
            for tp in active
            if (intake := self._owner.intake(tp.partition)) is not None and intake.wanted
        }
        if not wanted:
            await asyncio.sleep(FETCH_TIMEOUT_CROWDED_S / 4)
            return
        for tp, intake in wanted.items():
            await self._move(tp, intake)
        crowded = len(wanted) < len(active)
        try:
            fetched = await self._getmany(
                active_partitions=set(wanted), timeout=FETCH_TIMEOUT_CROWDED_S if crowded else FETCH_TIMEOUT_S
            )
        except KafkaError as problem:
            # Said by us in one line, not by Faust in a traceback.
            if (refused := as_not_permitted(problem)) is None:
                raise
            self._owner.failed(refused)
            await asyncio.sleep(FETCH_TIMEOUT_S)
            return
        for tp, intake in wanted.items():
            if tp not in fetched and (arrived := await self._hole(tp, intake)) is not None:
                yield tp, self._slice_message(tp, arrived)
        for key, records in fetched.items():
            tp = TP(key.topic, key.partition)
            if tp not in wanted or not records or self.should_stop:
                continue
            intake = wanted[tp]
            arrived = await self._accept(tp, intake, records)
            if arrived is not None:
                intake.log_end = max(intake.log_end, self._end_of(tp), arrived.end)
                yield tp, self._slice_message(tp, arrived)

    async def resume_at(self, partition: int) -> tuple[int | None, int]:
        """Return the committed offset of a partition (None: there is none) and its first retained one."""
        tp = TP(self.app.settings.topics.input, partition)
        return await self._thread.committed(tp), await self._thread.log_start(tp)

    async def _move(self, tp: TP, intake: Intake) -> None:
        """Make the consumer stand where the intake does."""
        while not intake.moved and (position := intake.position) is not None:
            await self._thread.move(tp, position)
            if intake.position == position:
                intake.moved = True

    async def _accept(self, tp: TP, intake: Intake, records: Sequence[Any]) -> Arrived | None:
        begin_s = time.perf_counter()
        fetched: Slice = records[0] if is_slice(records) else slice_of(tp.partition, records)
        verdict, position = intake.judge(fetched), intake.position
        if verdict is Verdict.STALE:
            return None
        first = int(fetched.offset[0])
        if verdict is Verdict.BACK:
            self._owner.failed(
                RestartMe(
                    f"input {tp.topic}-{tp.partition} went back: offset {first} came where {position} was "
                    "next; it was truncated or replaced"
                )
            )
            return None
        if verdict is Verdict.JUMP:
            assert position is not None
            if not await self._is_hole(tp, intake, position, first):
                return None
        self._owner.passed("after_fetch")
        begin, end = intake.take(fetched)
        took_s = self._thread.fetching.took_s
        while took_s:
            self.app.observer.timed("take", took_s.popleft())
        if not is_slice(records):
            self.app.observer.timed("take", time.perf_counter() - begin_s)
        return Arrived(intake, begin, end, fetched)

    async def _hole(self, tp: TP, intake: Intake) -> Arrived | None:
        """Return an empty slice where the log ends in a hole, such as the marker of a transaction."""
        position, end = intake.position, self._end_of(tp)
        if position is None or not intake.moved or end <= position:
            return None
        at = await self._thread.position(TopicPartition(tp.topic, tp.partition))
        if at is None or at <= position or not await self._is_hole(tp, intake, position, at):
            return None
        intake.position = at
        return Arrived(intake, position, at, slice_of(tp.partition, ()))

    async def _is_hole(self, tp: TP, intake: Intake, position: int, to: int) -> bool:
        """Tell a hole (transaction markers, aborted records) from records that retention removed.

        The latter end the worker: the consumer moves over both alike, but these were never decided.
        """
        start = await self._thread.log_start(tp)
        if not intake.stands_at(position):
            return False
        if start > position:
            self._owner.failed(
                RestartMe(
                    f"input {tp.topic}-{tp.partition} lost offsets {position} to {to - 1} before "
                    "they were decided: retention removed them"
                )
            )
            return False
        return True

    def _end_of(self, tp: TP) -> int:
        """Return the log end as the last fetch told it, 0 where none has."""
        # aiokafka asserts that the partition is assigned; it may have been taken away in this moment.
        with contextlib.suppress(AssertionError, AttributeError):
            return int(self.highwater(TopicPartition(tp.topic, tp.partition)) or 0)
        return 0

    def _slice_message(self, tp: TP, arrived: Arrived) -> ConsumerMessage:
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            arrived.end - 1,
            (int(arrived.slice.time_ms[-1]) if len(arrived.slice) else 0) / 1000,
            0,
            [],
            None,
            arrived,
            None,
            0,
            0,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    async def perform_seek(self) -> None:
        """Begin with the assigned partitions; each seeks when it knows where it goes on."""
        topic = self.app.settings.topics.input
        self._owner.assigned({tp.partition for tp in self.assignment() if tp.topic == topic})

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Stop the partitions first, then let Faust forget them."""
        topic = self.app.settings.topics.input
        await self._owner.revoked({tp.partition for tp in revoked if tp.topic == topic})
        await super().on_partitions_revoked(revoked)

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterable[TP]:
        return [tp for tp in self.assignment() if topics is None or tp in topics or tp.topic in topics]

    def _new_offset(self, tp: TP) -> int | None:
        # Acked slices tile the partition from the start, in order; the newest snapshot lies within them.
        self._acked.pop(tp, None)
        self._acked_index.pop(tp, None)
        return self._owner.committable(tp.partition)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Count no gaps: a slice stands for its holes."""

    async def _commit_offsets(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:
        before = {tp: self._committed_offset[tp] for tp in offsets}
        self._owner.passed("before_commit")
        done = False
        try:
            done = bool(await super()._commit_offsets(offsets, start_new_transaction=start_new_transaction))
        finally:
            if not done:
                self._committed_offset.update(before)
        self._owner.passed("after_commit")
        return done

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Look for no live lock: it would be seen as silence of a partition, which has its own metric."""


class SliceTransport(driver.Transport):  # type: ignore[misc]
    """Faust's aiokafka transport with slices."""

    Consumer = SliceConsumer
    Producer = SliceProducer
    driver_version = f"fraudstream slices, {driver.Transport.driver_version}"
