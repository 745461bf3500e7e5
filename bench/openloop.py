"""Open-loop latency: arrivals at fixed times, latency from the *intended* send to the answer's arrival.

A slow answer never delays the next arrival, so waiting time is counted (no coordinated omission). One
partition and one answer per record in order: answer i belongs to record i.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition
from hdrh.histogram import HdrHistogram
from numpy.typing import NDArray

QUANTILES = (50.0, 90.0, 99.0, 99.9)
GENERATOR_LAG_LIMIT_MS = 1.0
"""A run whose generator itself lags more at p99 measures the generator, not the worker."""


@dataclass(frozen=True, slots=True)
class Latency:
    """One open-loop run."""

    rate: float
    count: int
    answered: int
    quantiles_ms: dict[str, float]
    max_ms: float
    lag_p99_ms: float
    histogram: str
    """HdrHistogram in its compressed base64 form (microseconds)."""

    @property
    def void(self) -> str:
        """Say why the run does not count; empty if it does."""
        if self.answered < self.count:
            return f"{self.count - self.answered} of {self.count} records had no answer"
        if self.lag_p99_ms > GENERATOR_LAG_LIMIT_MS:
            return f"the generator lagged {self.lag_p99_ms:.2f} ms at p99"
        return ""


class Answers(threading.Thread):
    """Notes when each answer arrives on the one partition of a topic."""

    def __init__(self, bootstrap: str, topic: str, count: int) -> None:
        super().__init__(daemon=True)
        self.arrival_ns: NDArray[np.int64] = np.zeros(count, np.int64)
        self.seen = 0
        self._count = count
        self._stop_requested = threading.Event()
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "bench-answers",
                "enable.auto.commit": False,
                "fetch.queue.backoff.ms": 1,
            }
        )
        partition = TopicPartition(topic, 0)
        _, end = self._consumer.get_watermark_offsets(partition, timeout=10)
        partition.offset = end
        self._consumer.assign([partition])

    def run(self) -> None:
        """Consume until all answers are in or :meth:`finish` is called."""
        while self.seen < self._count and not self._stop_requested.is_set():
            message = self._consumer.poll(0.1)
            if message is None or message.error():
                continue
            self.arrival_ns[self.seen] = time.monotonic_ns()
            self.seen += 1
        self._consumer.close()

    def finish(self, patience_s: float) -> None:
        """Wait for the rest of the answers, at most so long."""
        self.join(patience_s)
        self._stop_requested.set()
        self.join(5)


def run(
    bootstrap: str,
    source: str,
    target: str,
    records: Sequence[tuple[bytes, bytes]],
    rate: float,
    warm_up: int,
    patience_s: float = 30.0,
) -> Latency:
    """Send (key, value) records at ``rate`` per second; the first ``warm_up`` are not counted."""
    count = len(records)
    answers = Answers(bootstrap, target, count)
    answers.start()
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0, "acks": "all"})
    begin_ns = time.monotonic_ns() + 200_000_000
    intended = begin_ns + (np.arange(count) * (1e9 / rate)).astype(np.int64)
    sent = np.zeros(count, np.int64)
    for i, (key, value) in enumerate(records):
        wait_ns = int(intended[i]) - time.monotonic_ns()
        if wait_ns > 0:
            time.sleep(wait_ns / 1e9)
        sent[i] = time.monotonic_ns()
        producer.produce(source, value, key=key, partition=0)
        producer.poll(0)
    producer.flush(10)
    answers.finish(patience_s)
    histogram = HdrHistogram(1, 120_000_000, 3)
    answered = answers.seen
    latency_us = (answers.arrival_ns[warm_up:answered] - intended[warm_up:answered]) // 1000
    for value_us in latency_us.tolist():
        histogram.record_value(max(value_us, 1))
    lag_ms = (sent - intended) / 1e6
    return Latency(
        rate=rate,
        count=count,
        answered=answered,
        quantiles_ms={f"p{q:g}": histogram.get_value_at_percentile(q) / 1000 for q in QUANTILES},
        max_ms=histogram.get_max_value() / 1000,
        lag_p99_ms=float(np.percentile(lag_ms, 99)),
        histogram=histogram.encode().decode(),
    )
