"""Proposing a change of the rules from outside of the workers, and what the topics say is in force.

Steps of :meth:`Proposer.propose`: (1) the content is published under its hash, acknowledged; (2) the change
is written; (3) the owners of all partitions answer `ready`, or one refuses and nothing happens; (4) the
pointer is written, from where on the change is in force; (5) the journals show it on every partition.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from fraudstream.rules.bundle import Bundle
from fraudstream.rules.compiler.compile import compile_archive
from fraudstream.stream.changes import (
    CHANGE_PREFIX,
    KEPT,
    POINTER_KEY,
    WORKER_PREFIX,
    BadChange,
    Change,
    Pointer,
    Report,
    read_change,
    read_pointer,
    read_report,
    write_change,
    write_pointer,
)
from fraudstream.stream.cluster import (
    REQUEST_TIMEOUT_S,
    as_command_error,
    command_errors,
    connection,
)
from fraudstream.stream.control_store import ControlError, find_content, split_content
from fraudstream.stream.errors import CannotCheck, Refusal
from fraudstream.stream.journal import Journal, JournalError, read_journal
from fraudstream.stream.judging import off_after
from fraudstream.stream.opening import FAR
from fraudstream.stream.settings import Settings

READY_S = 30.0
"""For every owner to answer: a check takes a second, a worker that starts some more."""
JOURNALED_S = 60.0
POLL_S = 0.1
SILENCE_S = 30.0


class RefusedChange(Refusal):
    """A worker refuses the change; nothing was put in force."""


class InForceOn(NamedTuple):
    """What is in force on one partition."""

    partition: int
    bundle: str
    since: int
    """Input offset."""


@dataclass(slots=True)
class View:
    """What the control topic says, up to some offset."""

    changes: dict[str, Change] = field(default_factory=dict)
    pointer: Pointer | None = None
    reports: dict[str, Report] = field(default_factory=dict)
    refused: Report | None = None
    """The last change that a worker refused."""
    content: dict[bytes, bytes] = field(default_factory=dict)
    position: int = 0

    def take(self, key: bytes, value: bytes | None) -> None:
        """Take in a record; one that cannot be read is passed over."""
        try:
            if key.startswith(WORKER_PREFIX):
                self._report(key, value)
            elif value is None:
                return
            elif key == POINTER_KEY:
                self.pointer = read_pointer(value)
            elif key.startswith(CHANGE_PREFIX):
                change = read_change(key, value)
                self.changes[change.id] = change
            elif key.startswith(b"bundle:"):
                self.content[key] = value
        except BadChange:
            return

    def _report(self, key: bytes, value: bytes | None) -> None:
        name = key.removeprefix(WORKER_PREFIX).decode("utf-8", "replace")
        if value is None:
            self.reports.pop(name, None)
            return
        report = read_report(key, value)
        self.reports[name] = report
        if report.state == "refused":
            self.refused = report


class Proposer:
    """A client of the control topic and the journals."""

    def __init__(self, settings: Settings, now: Callable[[], float] = time.monotonic) -> None:
        """Connect lazily.

        Raises:
            Refusal: A file of the settings cannot be used.
        """
        self._settings = settings
        self._now = now
        self._control = settings.topics.control
        options = {
            "group.id": f"{settings.app_id}-changes",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
        }
        self._consumer = Consumer(connection(settings, **options))
        self._producer = Producer(connection(settings, acks="all", **{"enable.idempotence": True}))
        self._admin = AdminClient(connection(settings))
        self.view = View()
        self._journals: dict[int, list[tuple[int, bytes]]] = {}

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()

    # What is -----------------------------------------------------------------------------------------

    def refresh(self) -> View:
        """Read what is new on the control topic."""
        for message in self._read(self._control, 0, self.view.position):
            self.view.take(message.key() or b"", message.value())
            self.view.position = message.offset() + 1
        return self.view

    def journals(self) -> dict[int, Journal]:
        """Read the journals of all partitions, as far as they have a version."""
        topic = self._settings.topics.journal
        found: dict[int, Journal] = {}
        for number in range(self.partitions()):
            records = self._journals.setdefault(number, [])
            begin = records[-1][0] + 1 if records else 0
            records += [(m.offset(), m.value() or b"") for m in self._read(topic, number, begin)]
            try:
                journal = read_journal(records)
            except JournalError as problem:
                raise CannotCheck(f"`{topic}` partition {number}: {problem}") from None
            if journal.versions:
                found[number] = journal
        return found

    def partitions(self) -> int:
        """Return how many partitions are decided.

        Raises:
            CannotCheck: there is no journal, or no broker.
        """
        topic = self._settings.topics.journal
        with command_errors(self._settings.broker):
            state = self._admin.list_topics(topic, timeout=REQUEST_TIMEOUT_S).topics[topic]
        if state.error is not None:
            raise CannotCheck(f"there is no topic `{topic}` at `{self._settings.broker}`")
        return len(state.partitions)

    def in_force(self) -> list[InForceOn]:
        """Return what each partition's journal says of its newest offset."""
        found = []
        for number, journal in sorted(self.journals().items()):
            bundle = journal.in_force(FAR).bundle
            found.append(InForceOn(number, bundle, journal.bundle_since(bundle, FAR)))
        return found

    def kept(self) -> list[str]:
        """Return the bundles that were in force last on any partition, the newest first."""
        ranks: dict[str, int] = {}
        for journal in self.journals().values():
            for rank, name in enumerate(reversed(journal.bundles())):
                ranks[name] = min(rank, ranks.get(name, rank))
        return sorted(ranks, key=lambda name: ranks[name])[:KEPT]

    def bundle(self, version: str) -> Bundle:
        """Compile a bundle of the control topic.

        Raises:
            CannotCheck: it is not there, or damaged.
        """
        return compile_archive(self.archive(version))

    def archive(self, version: str) -> bytes:
        """Return the content of a bundle of the control topic.

        Raises:
            CannotCheck: it is not there, or damaged.
        """
        try:
            return find_content(self.refresh().content, "bundle", version)
        except ControlError as problem:
            raise CannotCheck(f"`{self._control}`: {problem}") from None

    def members(self) -> int:
        """Return how many workers the group has."""
        with command_errors(self._settings.broker):
            group = self._settings.app_id
            found = self._admin.describe_consumer_groups([group], request_timeout=REQUEST_TIMEOUT_S)[group]
            try:
                return len(found.result().members)
            except KafkaException as problem:
                if problem.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                    return 0
                raise

    # What is wanted ----------------------------------------------------------------------------------

    def propose(self, change: Change, archive: bytes, *, unattended: Callable[[], None]) -> list[InForceOn]:
        """Put a change in force on all partitions, or on none.

        Args:
            change: what is wanted; its bundle is the hash of ``archive``.
            archive: content.
            unattended: judges the change where no worker runs; raises what is wrong with it.

        Returns:
            From which offset on it is in force, by partition; empty: no worker runs, it will be at its start.

        Raises:
            RefusedChange: a worker refuses it, nothing was changed.
            CannotCheck: not every partition's owner answered, nothing was changed.
        """
        self.refresh()
        attended = self.members() > 0
        if not attended:
            unattended()
        # Steps 1 and 2.
        for key, value in split_content("bundle", archive):
            if self.view.content.get(key) != value:
                self.append(key, value)
        self.append(*write_change(change))
        # Step 3.
        if attended:
            self._await_ready(change)
        # Step 4.
        before = self.refresh().pointer
        directory = "" if before is None else before.directory
        self.append(*write_pointer(Pointer(change.id, change.bundle, directory, off_after(before, change))))
        # Step 5.
        return self._await_journaled(change) if attended else []

    def _await_ready(self, change: Change) -> None:
        wanted, ready, deadline_s = set(range(self.partitions())), set[int](), self._now() + READY_S
        seen: dict[str, Report] = {}
        while not wanted <= ready:
            for report in self.refresh().reports.values():
                if report.change != change.id or seen.get(report.worker) == report:
                    continue
                seen[report.worker] = report
                if report.state == "refused":
                    raise RefusedChange(
                        f"{report.worker} refuses the change, nothing was put in force:\n{report.problem}"
                    )
                ready |= report.partitions.keys()
            if self._now() > deadline_s:
                lacking = ", ".join(map(str, sorted(wanted - ready)))
                raise CannotCheck(
                    f"nobody who owns partition {lacking} answered within {READY_S:g} s, so nothing was put "
                    "in force; does the worker run, and is it ready? Try again when it is"
                )
            time.sleep(POLL_S)

    def _await_journaled(self, change: Change) -> list[InForceOn]:
        deadline_s, count = self._now() + JOURNALED_S, self.partitions()
        while True:
            found = self.in_force()
            if len(found) == count and all(item.bundle == change.bundle for item in found):
                return found
            for report in self.refresh().reports.values():
                if report.change == change.id and report.state == "refused":
                    raise RefusedChange(f"{report.worker} refuses the change:\n{report.problem}")
            if self._now() > deadline_s:
                lacking = [item.partition for item in found if item.bundle != change.bundle]
                raise CannotCheck(
                    f"the change is in force, but partitions {lacking} have not journaled it within "
                    f"{JOURNALED_S:g} s; whoever takes them over will. `fraudstream rules status` tells"
                )
            time.sleep(POLL_S)

    def append(self, key: bytes, value: bytes | None) -> None:
        """Append a record to the control topic, acknowledged."""
        problems: list[KafkaError] = []

        def delivered(error: KafkaError | None, _: object) -> None:
            if error is not None:
                problems.append(error)

        with command_errors(self._settings.broker):
            self._producer.produce(self._control, value, key, 0, on_delivery=delivered)
            left = self._producer.flush(REQUEST_TIMEOUT_S)
        if problems:
            raise as_command_error(problems[0], self._settings.broker, f"writing to `{self._control}`")
        if left:
            raise CannotCheck(
                f"`{self._control}` did not acknowledge a record within {REQUEST_TIMEOUT_S:g} s"
            )

    def _read(self, topic: str, partition: int, begin: int) -> Iterator[Message]:
        with command_errors(self._settings.broker):
            low, high = self._consumer.get_watermark_offsets(
                TopicPartition(topic, partition), REQUEST_TIMEOUT_S
            )
            if max(low, begin) >= high:
                return
            self._consumer.assign([TopicPartition(topic, partition, max(low, begin))])
        heard_s = self._now()
        while True:
            messages = self._consumer.consume(1_000, POLL_S)
            heard_s = self._now() if messages else heard_s
            if self._now() - heard_s > SILENCE_S:
                raise CannotCheck(f"`{topic}` partition {partition} delivered nothing for {SILENCE_S:g} s")
            for message in messages:
                if (error := message.error()) is not None:
                    if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own code
                        return
                    raise as_command_error(error, self._settings.broker, f"reading `{topic}`")
                yield message
                if message.offset() >= high - 1:
                    return


def by_worker(reports: Mapping[str, Report]) -> dict[int, str]:
    """Return the worker that last said it owns each partition."""
    found: dict[int, Report] = {}
    for report in reports.values():
        for number in report.partitions:
            if number not in found or found[number].at_ms < report.at_ms:
                found[number] = report
    return {number: report.worker for number, report in sorted(found.items())}
