"""The load of a soak: who makes its records, a sender at fixed times, a reader of the answers.

``python -m fraudstream.bench.soak_load FILE COUNT ACCOUNTS`` makes the records, ahead of the sender and at a
lower priority than all others, and prints how many are not plain.
"""

from __future__ import annotations

import os
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition
from hdrh.histogram import HdrHistogram

from fraudstream.bench.traffic.generate import generate
from fraudstream.bench.traffic.hostile import W5, hostile
from fraudstream.bench.workloads import START_MS
from fraudstream.stream.localkafka.client import quiet

SEED = 20_260_401
STALL_MS = 50.0
_HEAD = struct.Struct("<iiq")
"""Bytes of key and value, -1 for null, and timestamp in milliseconds."""
RING = 1 << 18
"""Records under way at once; four minutes at 1,000/s."""
PROBE_S = 0.02
NICENESS = 5
"""Of who makes records: a starved sender would say that it was late."""


class Record(NamedTuple):
    """A record to send."""

    key: bytes | None
    value: bytes | None
    timestamp_ms: int


def write_records(path: Path, count: int, accounts: int, start_ms: int) -> int:
    """Write ``count`` records of hostile traffic (W5's mix); return how many are not plain."""
    made = 0
    with path.open("wb", buffering=1 << 20) as file:
        for number, record in enumerate(hostile(generate(count, SEED, start_ms, accounts), SEED, W5)):
            if number >= count:
                break
            made += record.kind not in ("plain", "odd")
            sizes = [-1 if part is None else len(part) for part in (record.key, record.value)]
            file.write(_HEAD.pack(*sizes, record.timestamp_ms))
            file.write((record.key or b"") + (record.value or b""))
    return made


def read_records(file: BinaryIO, grows: Callable[[], bool] = lambda: False) -> Iterator[Record]:
    """Read what :func:`write_records` wrote, or still writes as long as ``grows``."""
    while head := _exactly(file, _HEAD.size, grows):
        key_size, value_size, timestamp_ms = _HEAD.unpack(head)
        key = None if key_size < 0 else _exactly(file, key_size, grows)
        value = None if value_size < 0 else _exactly(file, value_size, grows)
        yield Record(key, value, timestamp_ms)


def _exactly(file: BinaryIO, size: int, grows: Callable[[], bool]) -> bytes:
    found = file.read(size)
    while len(found) < size:
        growing = grows()
        more = file.read(size - len(found))
        found += more
        if not more:
            if not growing:
                break
            time.sleep(0.02)
    return found


@dataclass(slots=True)
class Stall:
    """Decisions one after another that took longer than ``STALL_MS``; times are Unix seconds."""

    begin: float
    """The first of them was due."""
    end: float
    """The last of them was seen."""
    worst_ms: float
    decisions: int
    worst_due: float
    """The worst one was due."""
    published_ms: float
    """Of the worst one: from due to the timestamp that the worker gave to it."""


@dataclass(slots=True)
class Minute:
    """Latencies of one minute."""

    histogram: HdrHistogram = field(default_factory=lambda: HdrHistogram(1, 600_000_000, 3))
    decisions: Counter[str] = field(default_factory=Counter)


class Sender(threading.Thread):
    """Produces at fixed times, whatever the worker does."""

    def __init__(
        self, bootstrap: str, topic: str, records: Iterator[Record], first: int, count: int, rate: float
    ) -> None:
        super().__init__(daemon=True, name="sender")
        self.due = np.zeros(RING, np.float64)
        """Unix seconds at which the record of an offset was to be sent, by offset modulo ``RING``."""
        self.sent = 0
        self.late: list[tuple[float, float]] = []
        """(at, ms): sent more than 10 ms after it was due."""
        self.began = 0.0
        self.stopping = threading.Event()
        self.failed = 0
        self._arguments = (topic, records, first, count, rate)
        self._producer = Producer(
            quiet(bootstrap, **{"linger.ms": 0, "acks": "all", "enable.idempotence": True})
        )

    def run(self) -> None:
        """Send until the records end."""
        topic, records, first, count, rate = self._arguments
        self.began = time.time() + 0.2
        for number, record in enumerate(records):
            if number >= count or self.stopping.is_set():
                break
            due = self.began + number / rate
            wait = due - time.time()
            if wait > 0:
                time.sleep(wait)
            elif wait < -0.010:
                self.late.append((time.time(), -wait * 1000))
            self.due[(first + number) % RING] = due
            self._producer.produce(
                topic, record.value, record.key, 0, timestamp=record.timestamp_ms, on_delivery=self._delivered
            )
            self.sent = number + 1
            self._producer.poll(0)
        self._producer.flush(30)

    def _delivered(self, error: object, _message: object) -> None:
        self.failed += error is not None


class Reader(threading.Thread):
    """Reads decisions, keeps latencies by minute and the stalls."""

    def __init__(self, bootstrap: str, topic: str, sender: Sender, first: int) -> None:
        super().__init__(daemon=True, name="reader")
        self.minutes: list[Minute] = []
        self.stalls: list[Stall] = []
        self.answered = 0
        self.repeated = 0
        self._sender = sender
        self._next = first
        self._closing = threading.Event()
        self._consumer = Consumer(
            quiet(
                bootstrap,
                **{"group.id": "soak", "enable.auto.commit": False, "fetch.queue.backoff.ms": 1},
            )
        )
        self._consumer.assign([TopicPartition(topic, 0, first)])

    def run(self) -> None:
        """Read until closed."""
        while not self._closing.is_set():
            message = self._consumer.poll(0.1)
            for found in () if message is None else (message, *self._consumer.consume(500, timeout=0)):
                if not found.error():
                    self._take(time.time(), dict(found.headers()), found.value(), found.timestamp()[1])
        self._consumer.close()

    def close(self) -> None:
        """Stop reading."""
        self._closing.set()
        self.join(5)

    def _take(self, now: float, headers: dict[str, bytes], value: bytes, stamp_ms: int) -> None:
        offset = int(headers["src"].split(b":")[1])
        if offset != self._next:
            self.repeated += 1
            return
        self._next += 1
        self.answered += 1
        due = float(self._sender.due[offset % RING])
        late_ms = (now - due) * 1000
        number = int((due - self._sender.began) // 60)
        while len(self.minutes) <= number:
            self.minutes.append(Minute())
        minute = self.minutes[number]
        minute.histogram.record_value(max(int(late_ms * 1000), 1))
        minute.decisions[value.partition(b'"decision":"')[2].partition(b'"')[0].decode()] += 1
        if late_ms > STALL_MS:
            self._note_stall(due, now, late_ms, stamp_ms)

    def _note_stall(self, due: float, now: float, late_ms: float, stamp_ms: int) -> None:
        if not self.stalls or due > self.stalls[-1].end:
            self.stalls.append(Stall(due, now, 0.0, 0, due, 0.0))
        stall = self.stalls[-1]
        stall.end, stall.decisions = now, stall.decisions + 1
        if late_ms > stall.worst_ms:
            stall.worst_ms, stall.worst_due = late_ms, due
            stall.published_ms = max(stamp_ms - due * 1000, 0.0)


class Probe(threading.Thread):
    """Measures the broker alone: small records to a topic of its own, 50 a second, acks of all."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        super().__init__(daemon=True, name="probe")
        self.slow: list[tuple[float, float]] = []
        """(at, ms): acknowledged after more than 10 ms."""
        self._topic = topic
        self._under_way = False
        self._closing = threading.Event()
        self._producer = Producer(quiet(bootstrap, **{"linger.ms": 0, "acks": "all"}))

    def run(self) -> None:
        """Probe until closed."""
        while not self._closing.is_set():
            begin = time.time()
            self._under_way = True
            self._producer.produce(self._topic, b"probe", on_delivery=self._done)
            while self._under_way and not self._closing.is_set():
                self._producer.poll(0.05)
            took = time.time() - begin
            if took > 0.010:
                self.slow.append((time.time(), took * 1000))
            self._closing.wait(max(0.0, PROBE_S - took))
        self._producer.flush(5)

    def _done(self, _error: object, _message: object) -> None:
        self._under_way = False

    def close(self) -> None:
        """Stop."""
        self._closing.set()
        self.join(5)


if __name__ == "__main__":
    os.nice(NICENESS)
    print(write_records(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), START_MS))
