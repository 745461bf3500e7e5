"""Hostile input: the mix W5 over any generated traffic.

Shares are of the records that come out: poison, duplicates, disorder, lateness and clocks that run
ahead, so that a test meets every road through a worker.
"""

from __future__ import annotations

import heapq
import json
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from fraudstream.bench.traffic.poison import POISON, Members, dump, odd
from fraudstream.bench.traffic.records import Chunk, rfc3339
from fraudstream.bench.traffic.world import DAY_MS, HOUR_MS, stream

MEMORY = 100_000
"""Farthest distance of a duplicate, in records."""


class Record(NamedTuple):
    """A record to produce; keys decide the partition."""

    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    kind: str
    """What was done: plain, odd, duplicate, id_reuse, disorder, late, future or a rejection code."""


class Mix(NamedTuple):
    """Shares of what is done to traffic; the default is W5."""

    poison: float = 0.01
    duplicates: float = 0.02
    id_reuse: float = 0.1
    """Of the duplicates: how many come with another body."""
    disorder: float = 0.10
    late: float = 0.01
    future: float = 0.001
    odd: float = 0.03
    """Valid records written in an unusual way."""
    disorder_ms: int = 30_000
    lateness_ms: int = HOUR_MS
    skew_ms: int = 60_000


W5 = Mix()


def hostile(chunks: Iterable[Chunk], seed: int, mix: Mix = W5) -> Iterator[Record]:
    """Yield the traffic's records in log order with the mix applied; the same seed gives the same records.

    Record timestamps are event time + 0 to 200 ms; late and future rows keep the timestamp of the
    moment at which they are sent, which is what makes them late or ahead.
    """
    rng = stream(seed, 5)
    past: deque[Record] = deque(maxlen=MEMORY)
    extra = mix.poison + mix.duplicates
    for record in _displaced(chunks, rng, mix):
        yield record
        past.append(record)
        while rng.random() < extra:  # geometric: each record that comes out is an extra with this share
            made = (
                _spoilt(record, rng) if rng.random() * extra < mix.poison else _again(past, record, rng, mix)
            )
            yield made
            if made.kind == "id_reuse":
                past.append(made)


def _displaced(chunks: Iterable[Chunk], rng: np.random.Generator, mix: Mix) -> Iterator[Record]:
    """Yield every event once: in order, or held back, or with its time moved."""
    held: list[tuple[int, int, Record]] = []
    number = 0
    for chunk in chunks:
        dice = rng.random((len(chunk), 3))
        for row, (key, value, time) in enumerate(
            zip(chunk.keys, chunk.values, chunk.times_ms.tolist(), strict=True)
        ):
            while held and held[0][0] <= time:
                yield heapq.heappop(held)[2]
            moved, how, wait = dice[row].tolist()
            stamp = time + int(wait * 200)
            if moved < mix.disorder:
                record = Record(key, value, stamp, "disorder")
                heapq.heappush(held, (time + 1 + int(how * mix.disorder_ms), number, record))
                number += 1
                continue
            moved -= mix.disorder
            if moved < mix.late:
                back = mix.lateness_ms + HOUR_MS // 2 + int(how * 6 * HOUR_MS)
                yield Record(key, _at(value, time - back), stamp, "late")
            elif moved < mix.late + mix.future:
                ahead = mix.skew_ms + 1000 + int(how**4 * 3 * DAY_MS)
                yield Record(key, _at(value, time + ahead), stamp, "future")
            elif how < mix.odd:
                yield Record(key, odd(json.loads(value), rng), stamp, "odd")
            else:
                yield Record(key, value, stamp, "plain")
    while held:
        yield heapq.heappop(held)[2]


def _at(value: bytes, time_ms: int) -> bytes:
    members: Members = json.loads(value)
    return dump({**members, "event_time": rfc3339(time_ms)})


def _spoilt(record: Record, rng: np.random.Generator) -> Record:
    poison = POISON[int(rng.integers(0, len(POISON)))]
    members: Members = json.loads(record.value or b"{}")
    members.setdefault("amount", "10.00")
    members.setdefault("currency", "CNY")
    if members["event_type"] not in ("payment", "card_auth"):
        members["event_type"] = "payment"
    key = None if rng.random() < 0.03 else record.key
    return Record(key, poison.spoil(members), record.timestamp_ms, poison.code)


def _again(past: deque[Record], now: Record, rng: np.random.Generator, mix: Mix) -> Record:
    """Repeat a record from 1 to 100,000 records ago, near ones as often as far ones per decade."""
    distance = min(len(past), max(1, int(MEMORY ** rng.random())))
    first = past[-distance]
    stamp = max(first.timestamp_ms, now.timestamp_ms)
    if rng.random() >= mix.id_reuse:
        return Record(first.key, first.value, stamp, "duplicate")
    members: Members = json.loads(first.value or b"{}")
    name = "amount" if "amount" in members else "city"
    changed = "31.00" if name == "amount" else "Elsewhere"
    if name == "amount" and members["currency"] in ("JPY", "KRW"):
        changed = "31"
    return Record(first.key, dump({**members, name: changed}), stamp, "id_reuse")
