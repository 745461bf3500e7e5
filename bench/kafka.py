"""Suites `kafka` and `latency`: through a real broker, beside the raw loops of the same run."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from rich.progress import Progress

from fraudstream.bench import core, openloop
from fraudstream.bench.processes import Process, running_echo, running_worker, temporary_home, write_rules
from fraudstream.bench.report import Table
from fraudstream.bench.workloads import Workload
from fraudstream.stream.errors import FraudstreamError
from fraudstream.stream.localkafka import LocalKafka
from fraudstream.stream.topics import create_topics

LOOPS = ("confluent", "aiokafka", "worker")
RATES = (30, 300, 3000)
FIXED_TIMES: Mapping[str, Any] = {"timestamp_type": "CreateTime", "retention_days": 10_000}
"""Topics of workloads keep their timestamps, which retention would take for old."""
STALL_PATIENCE_S = 180
"""A worker's first start compiles its kernels."""


@dataclass(frozen=True, slots=True)
class Drain:
    """One loop over a preloaded topic."""

    loop: str
    records: int
    per_second: float
    cpu_us: float
    rss_bytes: int


@dataclass(slots=True)
class Bench:
    """A broker, a home for state and one workload's files."""

    workload: Workload
    bootstrap: str
    home: Path
    rules: Path
    model: Path

    def loop(self, name: str, prefix: str, source: str, target: str) -> AbstractContextManager[Process]:
        """Start one of the loops on a topic set."""
        if name == "worker":
            return running_worker(
                self.bootstrap,
                self.home,
                f"worker-{prefix.strip('.')}",
                prefix,
                rules_dir=str(self.rules),
                model_path=str(self.model),
            )
        return running_echo(name, self.bootstrap, self.home, source, target)


def _end(consumer: Consumer, topic: str) -> int:
    """Return the log end; a topic that was made this moment may have no leader yet."""
    until = time.monotonic() + 10
    while True:
        try:
            return int(consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)[1])
        except KafkaException as problem:
            if time.monotonic() > until or problem.args[0].code() != KafkaError.NOT_LEADER_FOR_PARTITION:
                raise
            time.sleep(0.05)


def drain(bench: Bench, name: str, prefix: str, source: str, target: str, records: int) -> Drain:
    """Let a loop eat a preloaded topic; the rate runs from its first answers to its last."""
    consumer = Consumer({"bootstrap.servers": bench.bootstrap, "group.id": "bench-watch"})
    base = _end(consumer, target)
    with bench.loop(name, prefix, source, target) as process:
        begin = time.monotonic()
        first: tuple[float, float, int] | None = None
        while (done := _end(consumer, target) - base) < records:
            now = time.monotonic()
            if first is None and done > 0:
                first = (now, process.cpu_s(), done)
            process.check()
            if now - begin > STALL_PATIENCE_S and first is None:
                raise FraudstreamError(f"{name} answered nothing in {STALL_PATIENCE_S} s:\n{process.tail()}")
            time.sleep(0.02)
        end_s, cpu_s = time.monotonic(), process.cpu_s()
        rss = process.rss_bytes()
    consumer.close()
    if first is None or records - first[2] <= 0:
        raise FraudstreamError(f"{name} answered all {records} records between two looks; use more records")
    counted = records - first[2]
    return Drain(name, records, counted / (end_s - first[0]), (cpu_s - first[1]) / counted * 1e6, rss)


def _preload(bench: Bench, topic: str, records: int) -> None:
    producer = Producer(
        {
            "bootstrap.servers": bench.bootstrap,
            "linger.ms": 20,
            "batch.size": 262_144,
            "enable.idempotence": True,
        }
    )
    for piece in core.slices(bench.workload, records):
        for row in range(len(piece)):
            while True:
                try:
                    producer.produce(
                        topic,
                        piece.value(row),
                        piece.key(row),
                        partition=0,
                        timestamp=int(piece.time_ms[row]),
                    )
                    break
                except BufferError:
                    producer.poll(0.1)
        producer.poll(0)
    producer.flush()


def run_drains(bench: Bench, records: int, rounds: int) -> tuple[list[Table], dict[str, object]]:
    """Closed loop: drain a preloaded topic with each loop in turn, several rounds."""
    drains: list[Drain] = []
    with Progress(transient=True) as progress:
        task = progress.add_task("preload", total=rounds * len(LOOPS) + 1)
        base = create_topics(bench.bootstrap, partitions=1, prefix="drain.", **FIXED_TIMES)
        _preload(bench, base.input, records)
        progress.advance(task)
        for number in range(rounds):
            for name in LOOPS:
                progress.update(task, description=f"drain {name}")
                # Every worker round starts from nothing: topics of its own, the input copied as it is.
                prefix = f"drain{number}{name}."
                names = create_topics(bench.bootstrap, partitions=1, prefix=prefix, **FIXED_TIMES)
                source = base.input
                if name == "worker":
                    _preload(bench, names.input, records)
                    source = names.input
                drains.append(drain(bench, name, prefix, source, names.decisions, records))
                progress.advance(task)
    table = Table(
        f"Through Kafka, closed loop, {bench.workload.id}",
        [
            "loop",
            "records",
            "median records/s",
            "min",
            "max",
            "CPU us per record",
            "resident bytes",
            "of raw ceiling",
        ],
        note="Drain of a preloaded topic, broker and loop on the same cores, acks=all; "
        "the raw loops only copy bytes.",
    )
    medians = {}
    for name in LOOPS:
        mine = sorted((item for item in drains if item.loop == name), key=lambda item: item.per_second)
        middle = mine[len(mine) // 2]
        medians[name] = middle.per_second
        ceiling = max(medians.values())
        table.rows.append(
            [
                name,
                records,
                middle.per_second,
                mine[0].per_second,
                mine[-1].per_second,
                middle.cpu_us,
                middle.rss_bytes,
                middle.per_second / ceiling,
            ]
        )
    return [table], {"drains": [asdict(item) for item in drains]}


def _records(workload: Workload, count: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield (key, value) with event times of the sender's clock left open (see :func:`_stamped`)."""
    for chunk in workload.traffic(count):
        yield from zip(chunk.keys, chunk.values, strict=True)


def _stamped(records: Sequence[tuple[bytes, bytes]], rate: float) -> list[tuple[bytes, bytes]]:
    """Set each record's event time to its intended sending time."""
    begin_ms = time.time() * 1000 + 500
    out = []
    for number, (key, value) in enumerate(records):
        at = datetime.fromtimestamp((begin_ms + number * 1000 / rate) / 1000, UTC)
        head, rest = value.split(b'"event_time":"', 1)
        stamp = at.isoformat(timespec="milliseconds").replace("+00:00", "Z").encode()
        out.append((key, head + b'"event_time":"' + stamp + rest[rest.index(b'"') :]))
    return out


def run_latency(bench: Bench, seconds: float, rates: Sequence[int]) -> tuple[list[Table], dict[str, object]]:
    """Open loop at each rate for each loop; event times are now, topics are LogAppendTime."""
    table = Table(
        f"Latency, open loop, {bench.workload.id}",
        [
            "rate/s",
            "loop",
            "p50 ms",
            "p90 ms",
            "p99 ms",
            "p99.9 ms",
            "max ms",
            "generator lag p99 ms",
            "void",
        ],
        note="From the intended send to the answer's arrival at the driver, one partition, one worker.",
    )
    runs: list[dict[str, object]] = []
    with Progress(transient=True) as progress:
        task = progress.add_task("latency", total=len(LOOPS) * len(rates))
        for name in LOOPS:
            prefix = f"open{name}."
            names = create_topics(bench.bootstrap, partitions=1, prefix=prefix)
            with bench.loop(name, prefix, names.input, names.decisions) as process:
                _first_answer(bench, process, names.input, names.decisions)
                for rate in rates:
                    progress.update(task, description=f"latency {name} {rate}/s")
                    count = max(int(rate * seconds), 300)
                    records = list(_records(bench.workload, count))
                    result = openloop.run(
                        bench.bootstrap,
                        names.input,
                        names.decisions,
                        _stamped(records, rate),
                        rate,
                        count // 10,
                    )
                    runs.append({"loop": name} | asdict(result) | {"void": result.void})
                    quantiles = [result.quantiles_ms[f"p{q:g}"] for q in openloop.QUANTILES]
                    table.rows.append(
                        [rate, name, *quantiles, result.max_ms, result.lag_p99_ms, result.void or "no"]
                    )
                    progress.advance(task)
    table.rows.sort(key=lambda row: (row[0], LOOPS.index(row[1])))
    return [table], {"latency": runs}


def _first_answer(bench: Bench, process: Process, source: str, target: str) -> None:
    """Wait until the loop answers: it is up, warm and assigned."""
    records = list(_records(bench.workload, 1))
    producer = Producer({"bootstrap.servers": bench.bootstrap})
    consumer = Consumer({"bootstrap.servers": bench.bootstrap, "group.id": "bench-watch"})
    [(key, value)] = _stamped(records, 1)
    producer.produce(source, value, key=key, partition=0)
    producer.flush()
    until = time.monotonic() + STALL_PATIENCE_S
    while _end(consumer, target) == 0:
        process.check()
        if time.monotonic() > until:
            raise FraudstreamError(
                f"{process.log.stem} answered nothing in {STALL_PATIENCE_S} s:\n{process.tail()}"
            )
        time.sleep(0.1)
    consumer.close()


@contextmanager
def with_broker(workload: Workload, resolution: str) -> Iterator[Bench]:
    """Run a broker and write the workload's files."""
    with temporary_home() as home, LocalKafka() as kafka:
        rules = write_rules(workload.files(resolution), home / "rules")
        model = home / "champion.json"
        if workload.model is None:
            raise FraudstreamError(f"{workload.id} has no champion yet, which a worker needs: run `core`")
        model.write_bytes(workload.model())
        yield Bench(workload, kafka.bootstrap, home, rules, model)
