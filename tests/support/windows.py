"""Streams of events as batches, and the engine's answers as Python values."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.window_oracle import Event

from fraudstream.rules.bundle import Agg, Feature, FeatureSet, Field, Schema, Slot, Source, TimeSettings, Type
from fraudstream.rules.siphash import hash_text
from fraudstream.stream.outcome import Flag
from fraudstream.stream.windows import layout
from fraudstream.stream.windows.store import Admission, FeatureMatrix, WindowStore
from fraudstream.stream.wire.types import Batch

HASH_KEY = bytes(range(16))
EARLY = {
    "CAPACITY_LARGE": 16,
    "SCAN_MAX": 16,
    "FOLD_MIN": 4,
    "PANE_GAIN": 0,
    "MARK_EVENTS": 8,
    "HOLLOW_MIN": 64,
}
"""Sizes with which a few events already have summaries and panes, and a few keys an evacuation."""
START_MS = 1_767_225_600_000
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000

_FIELDS = (
    ("event.id", Type.ID, 0),
    ("event.time", Type.TIME, 0),
    ("account.id", Type.ID, 0),
    ("merchant.id", Type.ID, 0),
    ("device.country", Type.COUNTRY, 0),
    ("txn.amount", Type.MONEY, 0),
    ("txn.count", Type.INTEGER, 0),
    ("txn.rate", Type.NUMBER, 2),
    ("txn.geo", Type.GEO, 0),
    ("txn.age", Type.DURATION, 0),
    ("txn.domestic", Type.BOOL, 0),
)


def _schema() -> Schema:
    fields, column = [], 0
    for name, kind, decimals in _FIELDS:
        fields.append(Field(name, kind, column, path=tuple(name.split(".")), decimals=decimals, signed=True))
        column += kind.width
    return Schema("CNY", "account.id", tuple(fields), column, hash="schema")


SCHEMA = _schema()


def _output(item: Agg, of: Field | None) -> tuple[Type, str]:
    """Return type and representation of a feature over a field."""
    if item is Agg.SEQUENCE:
        return Type.BOOL, "i"
    if item in (Agg.COUNT, Agg.DISTINCT):
        return Type.INTEGER, "i"
    if item in (Agg.SINCE_FIRST, Agg.SINCE_LAST):
        return Type.DURATION, "i"
    assert of is not None
    if item in (Agg.FIRST, Agg.LAST):
        return of.type, "i"
    if item in (Agg.MEAN, Agg.STD, Agg.EWMA) or of.type is Type.NUMBER:
        return Type.NUMBER, "f"
    return of.type, "i"


def feature_set(
    declared: Sequence[Feature], time: TimeSettings, schema: Schema = SCHEMA, filters: int = 3
) -> FeatureSet:
    """Return declarations with outputs placed side by side."""
    features, column = [], 0
    for item in declared:
        outputs = []
        for name in item.of if item.agg in (Agg.FIRST, Agg.LAST) else (item.of[:1] or ("",)):
            kind, form = _output(item.agg, schema.field(name) if name else None)
            outputs.append(Slot(f"{item.name}.{name}", kind, form, Source.FEATURE, column))  # type: ignore[arg-type]
            column += kind.width
        features.append(replace(item, outputs=tuple(outputs)))
    names = tuple(f"filter {i}" for i in range(filters))
    return FeatureSet(time, tuple(features), column, filters=names, hash="features")


@contextmanager
def sizes(**changed: int) -> Iterator[None]:
    """Let the engine's tuning sizes be others; no value may depend on them."""
    with pytest.MonkeyPatch.context() as patch:
        for name, size in changed.items():
            patch.setattr(layout, name, size)
        yield


@lru_cache(maxsize=20_000)
def _hash(text: str) -> tuple[int, int]:
    return hash_text(text.encode(), HASH_KEY)


def words_of(kind: Type, value: Any, form: str = "i") -> tuple[int, ...]:
    """Return the words of a value as the batch and the feature matrix hold them."""
    if kind in (Type.ID, Type.CATEGORY):
        return _hash(value)
    if kind is Type.COUNTRY:
        return (ord(value[0]) << 8 | ord(value[1]),)
    if kind is Type.GEO:
        return (_bits(value[0]), _bits(value[1]))
    if kind is Type.NUMBER or form == "f":
        return (_bits(value),)
    return (int(value),)


def _bits(value: float) -> int:
    return int(struct.unpack("<q", struct.pack("<d", value))[0])


def batch_of(events: Sequence[Event], schema: Schema = SCHEMA) -> Batch:
    """Return events as decoded columns."""
    n = len(events)
    value = np.zeros((schema.words, n), np.int64)
    state = np.zeros((schema.words, n), np.uint8)
    body = np.zeros((2, n), np.int64)
    for row, event in enumerate(events):
        body[:, row] = _hash(event.body)
        for name, item in event.values.items():
            one = schema.field(name)
            rows = slice(one.column, one.column + one.type.width)
            value[rows, row] = words_of(one.type, item)
            state[rows, row] = 1
    empty = np.zeros((schema.words, n), np.int32)
    return Batch(
        schema=schema,
        row=np.arange(n, dtype=np.int32),
        offset=np.array([event.offset for event in events], np.int64),
        record_time_ms=np.array([event.record_time_ms for event in events], np.int64),
        value=value,
        state=state,
        start=empty,
        size=empty,
        buffer=np.zeros(32, np.uint8),
        body_hash=body,
    )


def masks_of(events: Sequence[Event], filters: int) -> NDArray[np.uint64]:
    """Return the true-masks of the filters."""
    masks = np.zeros((filters, -(-len(events) // 64)), np.uint64)
    for row, event in enumerate(events):
        for number, is_true in enumerate(event.filters):
            if is_true:
                masks[number, row // 64] |= np.uint64(1 << (row % 64))
    return masks


@dataclass
class Answer:
    """What the engine says about one event."""

    flags: int
    as_of_ms: int
    duplicate_of: int
    features: dict[str, tuple[tuple[int, ...], ...] | None]
    decision: int
    score: int


def result_of(offset: int) -> tuple[int, int]:
    """Return a decision and score that only this offset would get."""
    return offset % 3, (offset * 37) % 1001


def run(
    store: WindowStore, events: Sequence[Event], features: FeatureSet, start_from: int = 0
) -> list[Answer]:
    """Send one batch through the store as the pipeline does."""
    batch = batch_of(events)
    admission = store.admit(batch, start_from)
    matrix = store.advance(batch, admission, masks_of(events, len(features.filters)))
    results = [result_of(event.offset) for event in events]
    store.decided(
        admission,
        np.array([one[0] for one in results], np.uint8),
        np.array([one[1] for one in results], np.int32),
    )
    decision, score = store.recall(admission)
    return [
        _answer(features, admission, matrix, row, int(decision[row]), int(score[row]))
        for row in range(len(events))
    ]


def _answer(
    features: FeatureSet, admission: Admission, matrix: FeatureMatrix, row: int, decision: int, score: int
) -> Answer:
    found: dict[str, tuple[tuple[int, ...], ...] | None] = {}
    for item in features.features:
        spans = [slice(slot.column, slot.column + slot.type.width) for slot in item.outputs]
        states = {int(state) for span in spans for state in matrix.state[row, span]}
        assert len(states) == 1, f"{item.name}: outputs of one feature differ in state"
        found[item.name] = (
            tuple(tuple(int(word) for word in matrix.value[row, span]) for span in spans)
            if states == {1}
            else None
        )
    flags = int(admission.flags[row]) | (int(Flag.APPROXIMATE) if matrix.approximate[row] else 0)
    return Answer(
        flags, int(admission.as_of_ms[row]), int(admission.duplicate_of[row]), found, decision, score
    )


def expected_words(item: Feature, values: tuple[Any, ...] | None) -> tuple[tuple[int, ...], ...] | None:
    """Return an oracle's value as words."""
    if values is None:
        return None
    return tuple(
        words_of(slot.type, value, slot.repr) for slot, value in zip(item.outputs, values, strict=True)
    )
