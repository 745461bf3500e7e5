"""`fraudstream soak`: a worker under load for hours, with edits of the rules, snapshots and hostile input.

A bank's traffic in the mix W5 (`bench/traffic/hostile.py`) arrives at a fixed rate under the rules,
features and champion of workload W1a. Its event times run faster than the clock, so that every window has
been full once before the measured part begins: then memory has no reason to grow. It closes with a verdict
and a report.
"""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from fraudstream.bench import report
from fraudstream.bench.demo import parse_duration_s
from fraudstream.bench.kafka import FIXED_TIMES
from fraudstream.bench.observe import free_port
from fraudstream.bench.processes import Process, running, temporary_home, write_rules
from fraudstream.bench.soak_load import Probe, Reader, Record, Sender, read_records
from fraudstream.bench.soak_report import Run, verdict, write_report
from fraudstream.bench.traffic.world import EVENTS_PER_ACCOUNT_DAY
from fraudstream.bench.workloads import WORKLOADS
from fraudstream.stream.cluster import Cluster, quiet
from fraudstream.stream.errors import BadUse, Exit, FraudstreamError
from fraudstream.stream.localkafka import LocalKafka
from fraudstream.stream.metrics import RELOADS, RESULT
from fraudstream.stream.topics import create_topics

SUMMARY = "long run under load with reloads, snapshots and hostile input; report"

RATE_MAX = 5_000
HISTORY_DAYS = 3.25
"""The longest window of W1a is a day; after three, memory has taken the shape that it keeps."""
ACCOUNTS = 100_000
RELOAD_EVERY_S = 120.0
SNAPSHOT_EVERY_S = 60
DURATION_MAX_S = 172_800.0
START_PATIENCE_S = 900.0
"""A first start compiles the kernels, for minutes where others use the processors too."""
RULES = "rulesets/generated.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("--duration", default="2h", help="how long load runs, e.g. 5m or 2h (default 2h)")
    add("--rate", type=int, default=1_000, help="records per second (default 1000)")
    add("--accounts", type=int, default=ACCOUNTS, help=f"accounts of the bank (default {ACCOUNTS:,})")
    add("--warm-up", default="", help="left out of the verdict (default: a tenth of the duration)")
    add("--reports", type=Path, default=report.REPORTS, help="where the report goes")
    add("--note", default="", help="a sentence for the report, such as what else ran on the machine")
    parser.epilog = (
        "example: fraudstream soak --duration 45m\n\n"
        "It starts a broker of its own and needs no terminal; SIGTERM ends it early, with a report. Exit "
        "codes: 0 memory and latencies are flat and all stalls explained, 1 one of them is not."
    )


class Editor(threading.Thread):
    """Edits the rules directory now and then: another title, and every third time an error."""

    APPLIED, REFUSED = "applied", "invalid"
    """Values of ``reload_total``."""

    def __init__(self, rules: Path) -> None:
        super().__init__(daemon=True, name="editor")
        self.edits: list[tuple[float, str]] = []
        """(Unix seconds, what the worker should make of it)."""
        self.closing = threading.Event()
        self._rules = rules

    def run(self) -> None:
        """Edit until closed."""
        good = (self._rules / RULES).read_text()
        number = 0
        while not self.closing.wait(RELOAD_EVERY_S):
            number += 1
            wrong = number % 3 == 0
            text = good.replace("  score: ", "  skore: ", 1) if wrong else _edited(good, number)
            temporary = self._rules.parent / "edited.yaml"
            temporary.write_text(text)
            temporary.replace(self._rules / RULES)
            self.edits.append((time.time(), self.REFUSED if wrong else self.APPLIED))


def _edited(good: str, number: int) -> str:
    """Return the rule set with another title of its first rule, which is another bundle."""
    return good.replace("title: generated rule 0\n", f"title: generated rule 0, edit {number}\n", 1)


def run(args: argparse.Namespace) -> int:
    """Run the soak and write its report."""
    seconds = parse_duration_s(args.duration, DURATION_MAX_S)
    warm_s = parse_duration_s(args.warm_up, seconds) if args.warm_up else seconds / 10
    if not 1 <= args.rate <= RATE_MAX:
        raise BadUse(f"--rate was {args.rate}; expected 1 to {RATE_MAX} per second")
    history = int(args.accounts * EVENTS_PER_ACCOUNT_DAY * HISTORY_DAYS)
    live = int(seconds * args.rate)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with ExitStack() as stack:
        home = stack.enter_context(temporary_home())
        path = home / "records"
        maker = stack.enter_context(_making(path, history + live, args.accounts))
        kafka = stack.enter_context(LocalKafka())
        names = create_topics(kafka.bootstrap, partitions=1, prefix="soak.", **FIXED_TIMES)
        Cluster(kafka.bootstrap).create({"soak.probe": (1, {})}, 1)
        file = stack.enter_context(path.open("rb", buffering=1 << 20))
        records = read_records(file, lambda: maker.poll() is None)
        _preload(kafka.bootstrap, names.input, records, history)
        workload = WORKLOADS["W1a"]
        rules = write_rules(workload.files(""), home / "rules")
        assert workload.model is not None
        (home / "champion.json").write_bytes(workload.model())
        port = free_port()
        worker, watched = stack.enter_context(_watched_worker(kafka.bootstrap, home, rules, port))
        _say(f"worker decides {history:,} records of history")
        _await_history(kafka.bootstrap, names.decisions, history, worker, stop)
        sender = Sender(kafka.bootstrap, names.input, records, history, live, args.rate)
        reader = Reader(kafka.bootstrap, names.decisions, sender, history)
        probe, editor = Probe(kafka.bootstrap, "soak.probe"), Editor(rules)
        for thread in (reader, probe, sender, editor):
            thread.start()
        memory = _watch(worker, sender, reader, stop)
        editor.closing.set()
        _await_answers(sender, reader, worker)
        reloads = _await_reloads(port, len(editor.edits), worker)
        probe.close()
        reader.close()
        odd = _made(maker, stopped=stop.is_set())
    found = Run(
        seconds=seconds,
        warm_s=warm_s,
        rate=args.rate,
        began=sender.began,
        sent=sender.sent,
        failed=sender.failed,
        answered=reader.answered,
        repeated=reader.repeated,
        odd=odd,
        history=history,
        minutes=reader.minutes,
        stalls=reader.stalls,
        memory=memory,
        edits=editor.edits,
        reloads=reloads,
        watched=watched,
        sender_late=sender.late,
        probe_slow=probe.slow,
        cut_short=stop.is_set(),
        note=args.note,
    )
    path = write_report(found, _command(args), args.accounts, args.reports)
    _say(f"written: {path}")
    problems = verdict(found)
    for problem in problems:
        _say(problem)
    _say("verdict: " + ("does not hold" if problems else "holds"))
    return Exit.FINDINGS if problems else Exit.OK


def _command(args: argparse.Namespace) -> str:
    given = ["fraudstream", "soak", "--duration", args.duration, "--rate", str(args.rate)]
    given += ["--accounts", str(args.accounts)]
    if args.warm_up:
        given += ["--warm-up", args.warm_up]
    return shlex.join(given)


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


@contextmanager
def _making(path: Path, count: int, accounts: int) -> Iterator[subprocess.Popen[bytes]]:
    """Make records in a process beside."""
    path.touch()
    command = [sys.executable, "-m", "fraudstream.bench.soak_load", str(path), str(count), str(accounts)]
    maker = subprocess.Popen(command, stdout=subprocess.PIPE)  # noqa: S603 our own
    try:
        yield maker
    finally:
        maker.kill()
        maker.wait()


def _made(maker: subprocess.Popen[bytes], *, stopped: bool) -> int:
    """Return how many records were not plain; 0 if the soak ended before they were made."""
    if stopped and maker.poll() is None:
        return 0
    said, _ = maker.communicate()
    if maker.returncode:
        raise FraudstreamError(f"who makes records ended with exit code {maker.returncode}")
    return int(said)


def _preload(bootstrap: str, topic: str, records: Iterator[Record], count: int) -> None:
    producer = Producer(quiet(bootstrap, **{"linger.ms": 20, "enable.idempotence": True}))
    for number, record in enumerate(records):
        while True:
            try:
                producer.produce(topic, record.value, record.key, 0, timestamp=record.timestamp_ms)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
        if number + 1 == count:
            break
    producer.flush()


@contextmanager
def _watched_worker(
    bootstrap: str, home: Path, rules: Path, port: int
) -> Iterator[tuple[Process, list[dict[str, Any]]]]:
    """Run a worker under watch; the list has the watch's notes when it has ended."""
    notes = home / "watch.jsonl"
    notes.touch()
    env = {
        "FRAUDSTREAM_BROKER": bootstrap,
        "FRAUDSTREAM_TOPIC_PREFIX": "soak.",
        "FRAUDSTREAM_START": "earliest",
        "FRAUDSTREAM_STATE_DIR": str(home / "state"),
        "FRAUDSTREAM_APP_ID": "soak",
        "FRAUDSTREAM_METRICS_PORT": str(port),
        "FRAUDSTREAM_RULES_DIR": str(rules),
        "FRAUDSTREAM_MODEL_PATH": str(home / "champion.json"),
        "FRAUDSTREAM_SNAPSHOT_INTERVAL_S": str(SNAPSHOT_EVERY_S),
    }
    command = [sys.executable, "-m", "fraudstream.bench.soak_watch", str(notes)]
    found: list[dict[str, Any]] = []
    with running(command, home / "worker.log", env) as process:
        yield process, found
    found += [json.loads(line) for line in notes.read_text().splitlines()]


def _await_history(bootstrap: str, topic: str, history: int, worker: Process, stop: threading.Event) -> None:
    consumer = Consumer(quiet(bootstrap, **{"group.id": "soak-watch"}))
    last, moved_s = -1, time.monotonic()
    while True:
        done = int(consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)[1])
        if done >= history:
            break
        worker.check()
        if done != last:
            last, moved_s = done, time.monotonic()
        if stop.is_set() or time.monotonic() - moved_s > START_PATIENCE_S:
            raise FraudstreamError(f"{done:,} of {history:,} records of history decided:\n{worker.tail()}")
        time.sleep(0.5)
    consumer.close()


def _watch(worker: Process, sender: Sender, reader: Reader, stop: threading.Event) -> list[tuple[float, int]]:
    """Look at the worker's memory once a second while load runs; return (Unix seconds, bytes)."""
    memory: list[tuple[float, int]] = []
    told = 0
    while sender.is_alive():
        worker.check()
        memory.append((time.time(), worker.rss_bytes()))
        if stop.is_set():
            sender.stopping.set()
        if len(reader.minutes) > told + 1:
            minute = reader.minutes[told].histogram
            told += 1
            _say(
                f"minute {told}: {minute.get_total_count():,} decisions, "
                f"p50 {minute.get_value_at_percentile(50) / 1000:.1f} ms, "
                f"p99 {minute.get_value_at_percentile(99) / 1000:.1f} ms, "
                f"{memory[-1][1] / 2**20:,.0f} MiB, {len(reader.stalls)} stalls so far"
            )
        sender.join(1.0)
    return memory


def _await_answers(sender: Sender, reader: Reader, worker: Process) -> None:
    until = time.monotonic() + 30
    while reader.answered < sender.sent and time.monotonic() < until:
        worker.check()
        time.sleep(0.1)


def _await_reloads(port: int, edits: int, worker: Process) -> Counter[str]:
    """Return what the worker counts about edits of the rules, once it has looked at all of them."""
    until = time.monotonic() + 30
    while True:
        worker.check()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        found = Counter(
            {
                sample.labels[RESULT.name]: int(sample.value)
                for family in families
                for sample in family.samples
                if sample.name == RELOADS.full_name
            }
        )
        if found.total() >= edits or time.monotonic() > until:
            return found
        time.sleep(0.5)
