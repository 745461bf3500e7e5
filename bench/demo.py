"""`fraudstream demo`: a broker, a bank and the scorer on this machine, live.

One stream of synthetic traffic is cut in two: the first part is the bank's recent history and lies on the
topic when the worker starts; the rest arrives live at the asked rate. Event times end at now, so that
patterns that take hours of a customer's life can be seen within seconds.
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
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from confluent_kafka import Consumer, Producer, TopicPartition
from rich.console import Console
from rich.live import Live
from rich.table import Table

from fraudstream.bench.observe import INSTALL, find_prometheus, free_port, running_prometheus
from fraudstream.bench.processes import Process, running_worker
from fraudstream.bench.traffic.generate import generate
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
    total: int = 0

    def rate(self, now: float, span_s: float = 3.0) -> float:
        """Return decisions per second over the last seconds."""
        return sum(1 for t in self.arrivals if t > now - span_s) / span_s


class DecisionReader(threading.Thread):
    """Follows the decision topic as core banking would: the first decision per ``src`` wins."""

    def __init__(self, bootstrap: str, topic: str, sent: dict[int, float], live_from: int) -> None:
        super().__init__(daemon=True)
        self.history = Watch()
        self.live = Watch()
        self._sent = sent
        self._live_from = live_from
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
                watch = self.live if offset >= self._live_from else self.history
                watch.total += 1
                watch.arrivals.append(now)
                watch.decisions[decision["decision"]] += 1
                watch.reasons.update(reason["code"] for reason in decision["reasons"])
                if offset in self._sent:
                    watch.latency_ms.append((now - self._sent[offset]) * 1000)
                if decision["decision"] != "pass":
                    watch.recent.append(decision)
        self._consumer.close()

    def close(self) -> None:
        """Stop reading and wait for the end."""
        self._closing.set()
        self.join(5)


def traffic(seed: int, live: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield (key, value) of history and live events; their event times end now."""
    count = HISTORY_EVENTS + live
    span_ms = int(count / (ACCOUNTS * EVENTS_PER_ACCOUNT_DAY) * 86_400_000)
    start_ms = int(time.time() * 1000) - span_ms
    for chunk in generate(count, seed=seed, start_ms=start_ms, accounts=ACCOUNTS):
        yield from zip(chunk.keys, chunk.values, strict=True)


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


def _view(reader: DecisionReader, begin: float, duration_s: float, sent: int) -> Table:
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
    for decision in list(live.recent)[-3:]:
        first = decision["reasons"][0]["text"] if decision["reasons"] else ", ".join(decision["flags"])
        grid.add_row(
            decision["decision"], f"{decision['transaction_id']}  score {decision['score']}  {first}"
        )
    return grid


def _summary(reader: DecisionReader, elapsed_s: float, sent: int) -> dict[str, Any]:
    live = reader.live
    latency = np.array(live.latency_ms or [0.0])
    return {
        "sent": sent,
        "decided": live.total,
        "decisions": {kind: live.decisions[kind] for kind in ("pass", "alert", "block")},
        "rate": round(live.total / elapsed_s, 1),
        "latency_ms": {f"p{q:g}": round(float(np.percentile(latency, q)), 2) for q in (50, 90, 99, 99.9)},
        "top_rules": dict(live.reasons.most_common(10)),
        "history": {"decided": reader.history.total, "decisions": dict(reader.history.decisions)},
    }


def _send_live(
    producer: Producer,
    topic: str,
    events: list[tuple[bytes, bytes]],
    rate: int,
    sent: dict[int, float],
    stop: threading.Event,
) -> None:
    """Produce at fixed times; note when each offset was handed to Kafka."""
    begin = time.monotonic()
    for number, (key, value) in enumerate(events):
        wait = begin + number / rate - time.monotonic()
        if wait > 0 and stop.wait(wait):
            return
        if stop.is_set():
            return
        producer.produce(topic, value, key=key, partition=0)
        sent[HISTORY_EVENTS + number] = time.monotonic()
        producer.poll(0)


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
        events = list(traffic(args.seed, live))
        producer = Producer(quiet(bootstrap, **{"linger.ms": 0, "enable.idempotence": True}))
        for key, value in events[:HISTORY_EVENTS]:
            producer.produce(topics.input, value, key=key, partition=0)
            producer.poll(0)
        producer.flush()
        port = free_port() if args.observe else 0
        worker = stack.enter_context(
            running_worker(bootstrap, home, f"demo-{os.getpid()}", prefix, metrics_port=str(port))
        )
        if args.observe:
            _observe(stack, home, port, console)
        sent: dict[int, float] = {}
        reader = DecisionReader(bootstrap, topics.decisions, sent, HISTORY_EVENTS)
        reader.start()
        stack.callback(reader.close)
        _wait_for_history(reader, worker, console, stop)
        console.print(f"worker      ready; {HISTORY_EVENTS:,} transactions of history decided")
        begin = time.monotonic()
        sender = threading.Thread(
            target=_send_live,
            args=(producer, topics.input, events[HISTORY_EVENTS:], args.rate, sent, stop),
        )
        sender.start()
        stack.callback(stop.set)
        with Live(console=console, refresh_per_second=4, transient=True) as screen:
            while sender.is_alive():
                worker.check()
                screen.update(_view(reader, begin, duration_s, len(sent)))
                sender.join(0.25)
        producer.flush()
        elapsed_s = time.monotonic() - begin
        patience = time.monotonic() + 10
        while reader.live.total < len(sent) and time.monotonic() < patience:
            time.sleep(0.05)
        console.print(_view(reader, begin, duration_s, len(sent)))
        summary = _summary(reader, elapsed_s, len(sent))
    if args.json:
        Path(args.json).write_text(json.dumps(summary, indent=1) + "\n")
    console.print(f"stopped     {summary['decided']:,} of {summary['sent']:,} live transactions decided")
    return 0 if summary["decided"] == summary["sent"] else 1
