"""`fraudstream demo`: a broker, a bank and the scorer on this machine, live.

One stream of synthetic traffic is cut in two: the first part is the bank's recent history and lies on the
topic when the worker starts; the rest arrives live at the asked rate. Event times end at now, so that
patterns that take hours of a customer's life can be seen within seconds. Labels follow seconds later, and a
challenger learns from them beside the champion.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import tempfile
import threading
import time
from collections import Counter, deque
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
from confluent_kafka import Consumer, Producer, TopicPartition
from rich.console import Console
from rich.live import Live
from rich.table import Table

from fraudstream.bench.demo_learning import (
    ARGUMENTS,
    LabelSender,
    challenger_precision,
    champion_precision,
    wait_ready,
    write_registry,
)
from fraudstream.bench.observe import INSTALL, find_prometheus, free_port, running_prometheus
from fraudstream.bench.processes import Process, running_worker
from fraudstream.bench.traffic.generate import generate
from fraudstream.bench.traffic.records import Label
from fraudstream.bench.traffic.world import EVENTS_PER_ACCOUNT_DAY
from fraudstream.stream.cluster import quiet
from fraudstream.stream.errors import BadUse, Exit, FraudstreamError
from fraudstream.stream.localkafka import some_kafka
from fraudstream.stream.topics import create_topics

SUMMARY = "broker, topics, history, worker and live synthetic traffic on this machine"

ACCOUNTS = 20_000
HISTORY_EVENTS = 60_000
"""About half a day of this bank: long enough for habits and for the windows up to 24 h."""
LATEST = 3_000
"""Transactions whose latency the screen shows; the summary has those of all."""
MAX_DURATION_S = 3600
MAX_RATE = 5000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `demo`."""
    parser.epilog = "example: fraudstream demo --duration 20s --rate 500 --json summary.json"
    parser.add_argument(
        "--duration", default="30s", help="how long live traffic runs, e.g. 20s or 5m (default 30s)"
    )
    parser.add_argument("--rate", type=int, default=300, help="live transactions per second (default 300)")
    parser.add_argument("--seed", type=int, default=7, help="seed of the traffic (default 7)")
    parser.add_argument("--json", metavar="F", help="write the final summary to this file")
    parser.add_argument(
        "--observe",
        action="store_true",
        help="say where the worker's status page is, and run Prometheus beside it where it is installed",
    )


def parse_duration_s(text: str, most_s: float = MAX_DURATION_S) -> float:
    """Read ``20s``, ``5m``, ``1h`` or plain seconds, at most ``most_s``."""
    unit = {"s": 1, "m": 60, "h": 3600}.get(text[-1:], 0)
    number = text[:-1] if unit else text
    try:
        seconds = float(number) * (unit or 1)
    except ValueError:
        raise BadUse(f"--duration was `{text}`; expected a time such as 20s, 5m or 1h") from None
    if not 0 < seconds <= most_s:
        raise BadUse(f"--duration was `{text}`; expected more than 0 and at most {most_s:g}s")
    return seconds


@dataclass(slots=True)
class Watch:
    """What has been seen on the decision topic."""

    decisions: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    latency_ms: list[float] = field(default_factory=list)
    recent: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=5))
    arrivals: deque[float] = field(default_factory=lambda: deque(maxlen=20_000))
    scores: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Transaction -> when it was decided, and the champion's score."""
    total: int = 0

    def rate(self, now: float, span_s: float = 3.0) -> float:
        """Return decisions per second over the last seconds."""
        return sum(1 for t in self.arrivals.copy() if t > now - span_s) / span_s


class DecisionReader(threading.Thread):
    """Follows the decision topic as core banking would: the first decision per ``src`` wins."""

    def __init__(self, bootstrap: str, topic: str, sent: dict[str, float], history: set[str]) -> None:
        super().__init__(daemon=True)
        self.history = Watch()
        self.live = Watch()
        self._sent = sent
        self._history = history
        self._closing = threading.Event()
        self._consumer = Consumer(
            quiet(
                bootstrap,
                **{
                    "group.id": "demo-core-banking",
                    "enable.auto.commit": False,
                    "fetch.queue.backoff.ms": 2,
                },
            )
        )
        self._consumer.assign([TopicPartition(topic, 0, 0)])

    def run(self) -> None:
        """Read until closed."""
        done: set[int] = set()
        while not self._closing.is_set():
            first = self._consumer.poll(0.1)
            if first is None:
                continue
            # A longer list would wait for its timeout: what has arrived already is all that is taken.
            for message in (first, *self._consumer.consume(500, timeout=0)):
                if message.error():
                    continue
                now = time.monotonic()
                decision = orjson.loads(message.value())
                offset = int(decision["src"].split(":")[1])
                if offset in done:
                    continue
                done.add(offset)
                name = decision["transaction_id"]
                if name.startswith("label:"):
                    continue
                watch = self.history if name in self._history else self.live
                watch.total += 1
                watch.arrivals.append(now)
                watch.decisions[decision["decision"]] += 1
                watch.reasons.update(reason["code"] for reason in decision["reasons"])
                if name in self._sent:
                    watch.latency_ms.append((now - self._sent[name]) * 1000)
                    if "champion" in decision["models"]:
                        watch.scores[name] = now, decision["models"]["champion"]
                if decision["decision"] != "pass":
                    watch.recent.append(decision)
        self._consumer.close()

    def close(self) -> None:
        """Stop reading and wait for the end."""
        self._closing.set()
        self.join(5)


class Event(NamedTuple):
    """One event of the traffic."""

    key: bytes
    value: bytes
    name: str
    """Its transaction id."""


def traffic(seed: int, live: int) -> tuple[list[Event], dict[int, Label]]:
    """Return history and live events, whose event times end now, and labels by the number of their event."""
    events: list[Event] = []
    labels: dict[int, Label] = {}
    count = HISTORY_EVENTS + live
    span_ms = int(count / (ACCOUNTS * EVENTS_PER_ACCOUNT_DAY) * 86_400_000)
    start_ms = int(time.time() * 1000) - span_ms
    for chunk in generate(count, seed=seed, start_ms=start_ms, accounts=ACCOUNTS):
        labels.update({label.offset: label for label in chunk.labels})
        for key, value in zip(chunk.keys, chunk.values, strict=True):
            events.append(Event(key, value, orjson.loads(value)["transaction_id"]))
    return events, labels


class Stopped(FraudstreamError):  # noqa: N818 - named for what happened
    """Ctrl-C before live traffic began."""

    exit_code = Exit.INTERRUPTED


def _observe(stack: ExitStack, home: Path, port: int, console: Console) -> None:
    """Run Prometheus until the demo ends, and print addresses."""
    console.print(f"status page http://127.0.0.1:{port}/")
    if find_prometheus() is None:
        console.print(f"prometheus  not installed ({INSTALL})")
        return
    prometheus = stack.enter_context(running_prometheus(home, port))
    console.print(f"prometheus  {prometheus.url}/alerts")


def _wait_for_history(
    reader: DecisionReader, worker: Process, console: Console, stop: threading.Event
) -> None:
    last = -1
    begin = time.monotonic()
    with console.status(
        "worker is starting (the first start compiles the kernels, about a minute)"
    ) as status:
        while reader.history.total < HISTORY_EVENTS:
            worker.check()
            if stop.is_set():
                raise Stopped("stopped before live traffic began")
            if reader.history.total != last:
                last = reader.history.total
                begin = time.monotonic()
                status.update(f"history: {last:,} of {HISTORY_EVENTS:,} transactions decided")
            if time.monotonic() - begin > 300:
                raise FraudstreamError(f"the worker has decided nothing for five minutes:\n{worker.tail()}")
            time.sleep(0.1)


@dataclass(slots=True)
class Learning:
    """What the screen says of labels and models."""

    sender: LabelSender
    frauds: set[str]
    port: int
    challenger: float | None = None
    looked_s: float = 0.0

    def look(self) -> None:
        """Ask the trainer, at most once a second."""
        if time.monotonic() - self.looked_s >= 1.0:
            self.challenger = challenger_precision(self.port) or self.challenger
            self.looked_s = time.monotonic()

    def summary(self, live: Watch) -> dict[str, Any]:
        """Return labels sent and the average precision of both models."""
        return {
            "labels": self.sender.sent,
            "champion": champion_precision(live.scores, self.frauds),
            "challenger": {"average_precision": self.challenger and round(self.challenger, 3)},
        }


def _view(reader: DecisionReader, learning: Learning, begin: float, duration_s: float, sent: int) -> Table:
    live = reader.live
    now = time.monotonic()
    grid = Table.grid(padding=(0, 2))
    latency = np.array(live.latency_ms[-LATEST:] or [0.0])
    grid.add_row("live", f"{min(now - begin, duration_s):.0f} s of {duration_s:.0f} s")
    grid.add_row("sent / decided", f"{sent:,} / {live.total:,}   {live.rate(now):,.0f} decisions/s")
    kinds = "   ".join(f"{kind} {live.decisions[kind]:,}" for kind in ("pass", "alert", "block"))
    grid.add_row("decisions", kinds)
    p50, p99 = np.percentile(latency, [50, 99])
    how = f"(sent to Kafka until read from Kafka, last {len(latency):,})"
    grid.add_row("latency", f"p50 {p50:.1f} ms   p99 {p99:.1f} ms   {how}")
    top = "   ".join(f"{code} {count}" for code, count in live.reasons.most_common(5))
    grid.add_row("top reasons", top or "none yet")
    told = learning.summary(live)
    both = "   ".join(
        f"{name} {'-' if (ap := told[name]['average_precision']) is None else f'{ap:.3f}'}"
        for name in ("champion", "challenger")
    )
    grid.add_row("average precision", f"{both}   ({told['labels']:,} labels, live and mature transactions)")
    for decision in list(live.recent)[-3:]:
        first = decision["reasons"][0]["text"] if decision["reasons"] else ", ".join(decision["flags"])
        grid.add_row(
            decision["decision"], f"{decision['transaction_id']}  score {decision['score']}  {first}"
        )
    return grid


def _summary(reader: DecisionReader, learning: Learning, elapsed_s: float, sent: int) -> dict[str, Any]:
    live = reader.live
    latency = np.array(live.latency_ms or [0.0])
    return {
        "sent": sent,
        "decided": live.total,
        "decisions": {kind: live.decisions[kind] for kind in ("pass", "alert", "block")},
        "rate": round(live.total / elapsed_s, 1),
        "latency_ms": {f"p{q:g}": round(float(np.percentile(latency, q)), 2) for q in (50, 90, 99, 99.9)},
        "top_rules": dict(live.reasons.most_common(10)),
        "learning": learning.summary(live),
        "history": {"decided": reader.history.total, "decisions": dict(reader.history.decisions)},
    }


def _send_live(
    producer: Producer,
    topic: str,
    events: list[Event],
    rate: int,
    sent: dict[str, float],
    labels: LabelSender,
    stop: threading.Event,
) -> None:
    """Produce at fixed times; note when each offset was handed to Kafka."""
    begin = time.monotonic()
    for number, event in enumerate(events):
        wait = begin + number / rate - time.monotonic()
        if wait > 0 and stop.wait(wait):
            return
        if stop.is_set():
            return
        _produce(producer, topic, HISTORY_EVENTS + number, event, labels)
        sent[event.name] = time.monotonic()
        producer.poll(0)


def _produce(producer: Producer, topic: str, number: int, event: Event, labels: LabelSender) -> None:
    def delivered(_error: object, message: Any) -> None:
        labels.delivered(number, message.offset())

    producer.produce(topic, event.value, key=event.key, partition=0, on_delivery=delivered)


def run(args: argparse.Namespace) -> int:
    """Run the demo; 0 when every live transaction was decided."""
    duration_s = parse_duration_s(args.duration)
    if not 1 <= args.rate <= MAX_RATE:
        raise BadUse(f"--rate was {args.rate}; expected 1 to {MAX_RATE} per second")
    console = Console()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fraudstream-demo-")))
        kafka = stack.enter_context(some_kafka())
        bootstrap = kafka.bootstrap
        # A broker that somebody else runs keeps its own topics, and none of these.
        prefix = f"fraudstream-demo-{os.getpid()}."
        stack.callback(kafka.delete_topics, prefix=prefix)
        console.print(f"broker      {bootstrap}")
        topics = create_topics(bootstrap, partitions=1, prefix=prefix)
        live = int(duration_s * args.rate)
        console.print(
            f"bank        {ACCOUNTS:,} accounts; {HISTORY_EVENTS:,} events of history, {live:,} live"
        )
        trainer_port = free_port()
        registry = write_registry(home / "registry")
        trainer = stack.enter_context(
            running_worker(
                bootstrap,
                home,
                f"demo-{os.getpid()}",
                prefix,
                command=("trainer", "--registry", str(registry), *ARGUMENTS),
                metrics_port=str(trainer_port),
            )
        )
        events, labels = traffic(args.seed, live)
        wait_ready(trainer_port, trainer.check, stop)
        sender = LabelSender(bootstrap, topics.labels, labels)
        sender.start()
        stack.callback(sender.close)
        producer = Producer(quiet(bootstrap, **{"linger.ms": 0, "enable.idempotence": True}))
        for at, event in enumerate(events[:HISTORY_EVENTS]):
            _produce(producer, topics.input, at, event, sender)
            producer.poll(0)
        producer.flush()
        port = free_port() if args.observe else 0
        worker = stack.enter_context(
            running_worker(
                bootstrap, home, f"demo-{os.getpid()}", prefix, metrics_port=str(port), publish_features="on"
            )
        )
        frauds = {label.transaction_id for label in labels.values() if label.fraud}
        learning = Learning(sender, frauds, trainer_port)
        if args.observe:
            _observe(stack, home, port, console)
        sent: dict[str, float] = {}
        before = {event.name for event in events[:HISTORY_EVENTS]}
        reader = DecisionReader(bootstrap, topics.decisions, sent, before)
        reader.start()
        stack.callback(reader.close)
        _wait_for_history(reader, worker, console, stop)
        console.print(f"worker      ready; {HISTORY_EVENTS:,} transactions of history decided")
        begin = time.monotonic()
        feed = threading.Thread(
            target=_send_live,
            args=(producer, topics.input, events[HISTORY_EVENTS:], args.rate, sent, sender, stop),
        )
        feed.start()
        stack.callback(stop.set)
        with Live(console=console, refresh_per_second=4, transient=True) as screen:
            while feed.is_alive():
                worker.check()
                trainer.check()
                learning.look()
                screen.update(_view(reader, learning, begin, duration_s, len(sent)))
                feed.join(0.25)
        producer.flush()
        elapsed_s = time.monotonic() - begin
        patience = time.monotonic() + 10
        while reader.live.total < len(sent) and time.monotonic() < patience:
            time.sleep(0.05)
        learning.look()
        console.print(_view(reader, learning, begin, duration_s, len(sent)))
        summary = _summary(reader, learning, elapsed_s, len(sent))
    if args.json:
        Path(args.json).write_text(json.dumps(summary, indent=1) + "\n")
    console.print(f"stopped     {summary['decided']:,} of {summary['sent']:,} live transactions decided")
    return 0 if summary["decided"] == summary["sent"] else 1
