"""A worker as its own process on topics of its own, and the reference that it is compared with."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition
from support.kafka import Topics

from fraudstream.bench.traffic.generate import START_MS, generate
from fraudstream.bench.traffic.hostile import Record as Made
from fraudstream.bench.traffic.hostile import hostile
from fraudstream.models.file import load_model
from fraudstream.models.model import Model
from fraudstream.rules.bundle import Bundle
from fraudstream.rules.compiler.compile import compile_archive
from fraudstream.stream.control_store import find_content
from fraudstream.stream.enrichment.bound import TableVersion
from fraudstream.stream.enrichment.chain import Assembly
from fraudstream.stream.envelope import Record
from fraudstream.stream.journal import Journal, read_journal
from fraudstream.stream.localkafka.client import quiet
from fraudstream.stream.replay import PartitionReplay
from fraudstream.stream.scoring import NO_MODEL

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("transactions", "decisions", "alerts", "dead-letters", "journal", "control")
DEADLINE_S = 90.0


class Kept(NamedTuple):
    """One record as it lies on a topic."""

    offset: int
    time_ms: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]


class Site:
    """Topics, rules directory, state directory and environment of one worker."""

    def __init__(self, topics: Topics, home: Path, rules: Path, partitions: int = 1, **settings: str) -> None:
        self.bootstrap = topics.bootstrap
        self.prefix = topics.prefix
        self.partitions = partitions
        self.home = home
        self.rules = home / "rules"
        self.edits = 0
        self.feature = ""
        shutil.copytree(rules, self.rules, ignore=shutil.ignore_patterns("packs", "compiler", "__pycache__"))
        for name in NAMES:
            config = {"retention_ms": "-1"}
            if name == "transactions":
                config["message_timestamp_type"] = "LogAppendTime"
            if name == "control":
                config = {"cleanup_policy": "compact"}
            topics(name, 1 if name == "control" else partitions, **config)
        self.environment = {
            "FRAUDSTREAM_BROKER": self.bootstrap,
            "FRAUDSTREAM_TOPIC_PREFIX": self.prefix,
            "FRAUDSTREAM_APP_ID": f"app-{self.prefix}",
            "FRAUDSTREAM_RULES_DIR": str(self.rules),
            "FRAUDSTREAM_STATE_DIR": str(home / "state"),
            "FRAUDSTREAM_METRICS_PORT": "0",
            "FRAUDSTREAM_SESSION_TIMEOUT_MS": "6000",
            "FRAUDSTREAM_HEARTBEAT_INTERVAL_MS": "500",
            "FRAUDSTREAM_START": "earliest",
            **{f"FRAUDSTREAM_{name.upper()}": value for name, value in settings.items()},
        }

    def start(self, *arguments: str, module: str = "", **environment: str) -> Running:
        """Start a worker; ``module`` is another entry point than the command line's."""
        return Running(self, arguments, module, environment)

    def read(self, name: str, partition: int) -> list[Kept]:
        """Read everything that a partition holds."""
        options = {"group.id": uuid.uuid4().hex, "enable.auto.commit": False, "enable.partition.eof": True}
        consumer = Consumer(quiet(self.bootstrap, **options))
        try:
            consumer.assign([TopicPartition(self.prefix + name, partition, OFFSET_BEGINNING)])
            found: list[Kept] = []
            while True:
                for message in consumer.consume(10_000, 1.0):
                    if (error := message.error()) is not None:
                        assert error.code() == KafkaError._PARTITION_EOF, error
                        return found
                    found.append(
                        Kept(
                            message.offset(),
                            message.timestamp()[1],
                            message.key(),
                            message.value(),
                            dict(message.headers() or ()),
                        )
                    )
        finally:
            consumer.close()

    def read_all(self, name: str) -> list[Kept]:
        """Read all partitions of a topic."""
        return [
            record
            for p in range(1 if name == "control" else self.partitions)
            for record in self.read(name, p)
        ]

    def end(self, name: str, partition: int) -> int:
        """Return the log end."""
        consumer = Consumer(quiet(self.bootstrap, **{"group.id": uuid.uuid4().hex}))
        try:
            return int(consumer.get_watermark_offsets(TopicPartition(self.prefix + name, partition), 10)[1])
        finally:
            consumer.close()

    def decided(self) -> int:
        """Return how many decision records there are."""
        return sum(self.end("decisions", p) for p in range(self.partitions))

    def journal(self, partition: int) -> Journal:
        """Read the journal of a partition."""
        return read_journal((r.offset, r.value or b"") for r in self.read("journal", partition))


class Feed:
    """Produces records to the partition of their key, in order."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._producer = Producer(
            quiet(site.bootstrap, acks="all", **{"enable.idempotence": True, "linger.ms": 5})
        )
        self.sent = 0

    def send(self, records: Iterable[Made]) -> None:
        """Append records; they are acknowledged on return."""
        topic = self._site.prefix + "transactions"
        for record in records:
            partition = _spread(record.key or b"", self._site.partitions)
            while True:
                try:
                    self._producer.produce(topic, record.value, record.key, partition)
                    break
                except BufferError:
                    self._producer.poll(0.1)
            self.sent += 1
        assert self._producer.flush(DEADLINE_S) == 0


class Running:
    """A worker process."""

    started: ClassVar[list[Running]] = []
    """Of the running test; a fixture ends those that a failed test left."""

    def __init__(
        self, site: Site, arguments: Sequence[str], module: str, environment: dict[str, str]
    ) -> None:
        self.site = site
        self.log = site.home / f"worker-{uuid.uuid4().hex[:6]}.log"
        command = [sys.executable, "-m", module or "fraudstream.stream.cli", *([] if module else ["worker"])]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, *arguments],
                cwd=site.home,
                env={
                    **{k: v for k, v in os.environ.items() if not k.startswith("FRAUDSTREAM_")},
                    "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), *sys.path]),
                    **site.environment,
                    **environment,
                },
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.started.append(self)

    @property
    def text(self) -> str:
        """Return what it logged."""
        return self.log.read_text(errors="replace")

    def wait_for(self, condition: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
        """Wait until a condition holds, while the worker lives."""
        end_s = time.monotonic() + deadline_s
        while not condition():
            assert self.process.poll() is None, (
                f"{what}: the worker ended: {self.process.returncode}\n{self.text}"
            )
            assert time.monotonic() < end_s, f"{what}: not within {deadline_s:g} s\n{self.text[-6000:]}"
            time.sleep(0.05)

    def wait_decided(self, count: int) -> None:
        """Wait until that many decisions were published."""
        self.wait_for(lambda: self.site.decided() >= count, f"{count} decisions, {self.site.decided()} came")

    def wait_exit(self, deadline_s: float = DEADLINE_S) -> int:
        """Wait for the end; returns the exit code."""
        try:
            return self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the worker did not end\n{self.text[-6000:]}") from None

    def stop(self) -> int:
        """Send SIGTERM and wait."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait_exit()

    def kill(self) -> None:
        """Kill it dead."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Reference(NamedTuple):
    """What one undisturbed process makes of a partition's log."""

    decisions: dict[int, bytes]
    """Input offset -> decision."""
    alerts: set[str]
    """``src`` of alerts."""
    dead_letters: set[str]
    state_hash: str


class Published:
    """Bundles, models and reference tables by version, from the control topic."""

    def __init__(self, records: Iterable[Kept]) -> None:
        self._records = {r.key: r.value for r in records if r.key is not None and r.value is not None}
        self._tables: dict[str, TableVersion] = {}

    def bundle(self, version: str) -> Bundle:
        """Compile a bundle."""
        return compile_archive(find_content(self._records, "bundle", version))

    def model(self, version: str) -> Model | None:
        """Load a model."""
        return None if version == NO_MODEL else load_model(find_content(self._records, "model", version))

    def table(self, version: str) -> TableVersion:
        """Put the content of a reference table together."""
        assembly = Assembly(version, self._tables)
        while assembly.wanted:
            assembly.add(find_content(self._records, "table", assembly.wanted))
        return assembly.result()


def reference(site: Site, partition: int, batch: int = 997) -> Reference:
    """Replay the partition by its journal and the control topic."""
    records = [
        Record(partition, r.offset, r.time_ms, r.key, r.value) for r in site.read("transactions", partition)
    ]

    def reread(_: int, begin: int, end: int) -> Iterator[Record]:
        return (record for record in records if begin <= record.offset < end)

    replay = PartitionReplay(partition, site.journal(partition), Published(site.read("control", 0)), reread)
    decisions: dict[int, bytes] = {}
    alerts: set[str] = set()
    dead_letters: set[str] = set()
    for begin in range(0, len(records), batch):
        for result in replay.run(records[begin : begin + batch]):
            offsets = result.slice.offset
            for at, row in enumerate(result.rows.tolist()):
                decisions[int(offsets[row])] = result.encoded.record(at)
            alerts.update(f"{partition}:{int(offsets[row])}" for row, _ in result.alerts)
            dead_letters.update(f"{partition}:{int(offsets[item.row])}" for item in result.dead_letters)
    assert replay.pipeline is not None
    return Reference(decisions, alerts, dead_letters, replay.pipeline.state_hash())


def effective(site: Site, partition: int) -> dict[int, bytes]:
    """Return the first decision of each input offset; repeats have to be the same bytes."""
    found: dict[int, bytes] = {}
    for record in site.read("decisions", partition):
        number, _, offset = record.headers["src"].partition(b":")
        assert int(number) == partition
        assert record.value is not None
        assert found.setdefault(int(offset), record.value) == record.value, f"two decisions for {offset!r}"
    return found


def sources(site: Site, name: str) -> set[str]:
    """Return the ``src`` of all records of a topic."""
    return {record.headers["src"].decode() for record in site.read_all(name)}


def same_as_reference(site: Site) -> list[Reference]:
    """Check decisions, alerts and dead letters of every partition against the reference run."""
    references = [reference(site, partition) for partition in range(site.partitions)]
    for partition, expected in enumerate(references):
        was = effective(site, partition)
        assert sorted(was) == sorted(expected.decisions), (
            f"partition {partition}: {len(was)} decided, {len(expected.decisions)} expected"
        )
        different = [offset for offset, value in expected.decisions.items() if was[offset] != value]
        assert not different, (
            f"partition {partition}: {len(different)} decisions differ, the first at {different[0]}:\n"
            f"was      {was[different[0]]!r}\nexpected {expected.decisions[different[0]]!r}"
        )
    assert sources(site, "alerts") == set().union(*(r.alerts for r in references))
    assert sources(site, "dead-letters") == set().union(*(r.dead_letters for r in references))
    return references


def traffic(count: int, seed: int) -> list[Made]:
    """Return hostile records (W5) of generated traffic."""
    return list(hostile(generate(count, seed, START_MS, max(50, count // 90)), seed))


def _spread(key: bytes, partitions: int) -> int:
    return sum(key) % partitions
