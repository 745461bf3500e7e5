"""What features cost, measured on made-up events: microseconds and bytes.

The events fit any schema: every field is present, an event belongs to one of ``KEYS`` subjects with two
values of each field, filters are true for half the events. What is measured is a partition's window store.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fraudstream.rules.bundle import Bundle, Feature, FeatureSet, Field, Type
from fraudstream.rules.compiler.lineage import History, history_of
from fraudstream.stream.windows.store import WindowStore
from fraudstream.stream.wire.types import Batch

SEED = 1
KEYS = 2_000
EVENTS = 40_000
"""Twenty for each subject, within an hour."""
SPAN_MS = 3_600_000
START_MS = 1_767_225_600_000
BATCH = 1_000
ROUNDS = 5

I64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Cost:
    """What one feature costs among the others of its kind of key."""

    microseconds: float
    """Per event, its share of what the features of its history add."""
    bytes_per_key: float
    """Of its kind of key, all features together: a key with one event."""
    bytes_per_event: float
    """The same for each further event."""


class Made:
    """Seeded columns and filters for a bundle."""

    def __init__(self, bundle: Bundle, count: int = EVENTS, keys: int = KEYS) -> None:
        rng = np.random.default_rng(SEED)
        schema = bundle.schema
        self.filters = len(bundle.features.filters)
        subject = np.arange(count) if count <= keys else rng.integers(0, keys, count)
        value = np.zeros((schema.words, count), np.int64)
        for number, field in enumerate(schema.fields):
            value[field.column : field.column + field.type.width] = _column(rng, field, number, subject)
        identity = schema.field(schema.event_id).column
        value[identity : identity + 2] = _spread(np.arange(count), 0)
        value[schema.field(schema.event_time).column] = START_MS + np.arange(count) * (SPAN_MS // count)
        self._value = value
        self._bundle = bundle
        self._masks = rng.random((self.filters, count)) < 0.5

    def batches(self) -> list[tuple[Batch, NDArray[np.uint64]]]:
        """Return all events in batches with the true-masks of the filters."""
        made = []
        for begin in range(0, self._value.shape[1], BATCH):
            part = np.ascontiguousarray(self._value[:, begin : begin + BATCH])
            n = part.shape[1]
            bits = np.zeros((self.filters, -(-n // 64) * 64), np.bool_)
            bits[:, :n] = self._masks[:, begin : begin + n]
            empty = np.zeros((0, n), np.int32)
            batch = Batch(
                schema=self._bundle.schema,
                row=np.arange(n, dtype=np.int32),
                offset=np.arange(begin, begin + n),
                record_time_ms=np.full(n, -1, np.int64),
                value=part,
                state=np.ones(part.shape, np.uint8),
                start=empty,
                size=empty,
                buffer=np.zeros(32, np.uint8),
                body_hash=np.ascontiguousarray(part[:2]),
            )
            made.append((batch, np.packbits(bits, axis=1, bitorder="little").view(np.uint64)))
        return made


def measure(bundle: Bundle, advance: Callable[[], object] = lambda: None) -> dict[str, Cost]:
    """Return the cost of every feature.

    Args:
        bundle: its features and schema are used.
        advance: told of each store that has been timed; there are :func:`steps` of them.
    """
    features = bundle.features
    made, few = Made(bundle).batches(), Made(bundle, KEYS).batches()
    nothing = [_filled(bundle, (), events).state_bytes for events in (few, made)]
    costs: dict[str, Cost] = {}
    for members in _kinds(features).values():
        whole = _microseconds(bundle, members, made, advance)
        once, often = _filled(bundle, members, few), _filled(bundle, members, made)
        first = (once.state_bytes - nothing[0]) / sum(once.keys.values())
        keys = sum(often.keys.values())
        more = (often.state_bytes - nothing[1] - first * keys) / (EVENTS - keys)
        for history in dict.fromkeys(history_of(item, features.filters) for item in members):
            mine = [item for item in members if history_of(item, features.filters) == history]
            rest = [item for item in members if item not in mine]
            without = _microseconds(bundle, rest, made, advance) if rest else 0.0
            each = max(whole - without, 0.0) / len(mine)
            costs |= {item.name: Cost(each, first, max(more, 0.0)) for item in mine}
    return costs


def steps(features: FeatureSet) -> int:
    """Return how many stores :func:`measure` times."""
    histories: set[History] = {history_of(item, features.filters) for item in features.features}
    return len(histories) + len(_kinds(features))


def _kinds(features: FeatureSet) -> dict[tuple[str, ...], list[Feature]]:
    kinds: dict[tuple[str, ...], list[Feature]] = {}
    for item in features.features:
        kinds.setdefault(item.key, []).append(item)
    return kinds


def _filled(
    bundle: Bundle, members: Sequence[Feature], made: Sequence[tuple[Batch, NDArray[np.uint64]]]
) -> WindowStore:
    """Return a store of some of the features that has seen the events."""
    store = WindowStore(replace(bundle.features, features=tuple(members)), bundle.schema)
    for batch, masks in made:
        store.advance(batch, store.admit(batch, 0), masks)
    return store


def _microseconds(
    bundle: Bundle,
    members: Sequence[Feature],
    made: Sequence[tuple[Batch, NDArray[np.uint64]]],
    advance: Callable[[], object],
) -> float:
    """Return processor time per event over the second half of the events, the best of a few rounds."""
    rounds = []
    half = len(made) // 2
    for _ in range(ROUNDS):
        store = _filled(bundle, members, made[:half])
        taken = 0
        for batch, masks in made[half:]:
            admission = store.admit(batch, 0)
            begin = time.thread_time_ns()
            store.advance(batch, admission, masks)
            taken += time.thread_time_ns() - begin
        rounds.append(taken / sum(len(batch) for batch, _ in made[half:]) / 1_000)
    advance()
    return min(rounds)


def _column(rng: np.random.Generator, field: Field, number: int, subject: I64) -> I64:
    """Return the words of one field; a subject has two values."""
    count = len(subject)
    picked = 2 * subject + rng.integers(0, 2, count)
    if field.type.is_text:
        return _spread(picked, number + 1)
    if field.type is Type.GEO:
        return rng.uniform(-60, 60, (2, count)).view(np.int64)
    if field.type is Type.NUMBER:
        return np.round(rng.uniform(0, 1_000, count), field.decimals).view(np.int64)
    if field.type is Type.ENUM:
        return rng.integers(0, max(len(field.values), 1), count)
    if field.type is Type.BOOL:
        return picked % 2
    if field.type is Type.COUNTRY:
        return (ord("A") + picked % 26) << 8 | ord("A")
    if field.type is Type.MONEY:
        return rng.integers(1, 1_000_000, count)
    return picked


def _spread(numbers: I64, salt: int) -> I64:
    """Return two words for each number, spread like keyed hashes."""
    with np.errstate(over="ignore"):
        low = (numbers.astype(np.uint64) + np.uint64(salt) * np.uint64(1_000_000_007)) * np.uint64(
            0x9E3779B97F4A7C15
        )
        low ^= low >> np.uint64(29)
        high = low * np.uint64(0xBF58476D1CE4E5B9)
        high ^= high >> np.uint64(32)
    return np.stack([low.view(np.int64), high.view(np.int64)])
