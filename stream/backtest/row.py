"""One decided record with everything that its decision depended on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fraudstream.rules.bundle import Bundle, Slot, Source
from fraudstream.stream.backtest import layout as at
from fraudstream.stream.backtest.reader import FeatureLog, words_of
from fraudstream.stream.outcome import Flag
from fraudstream.stream.pipeline import Result
from fraudstream.stream.reading import Decoded
from fraudstream.stream.wire.types import PAD_BYTES, Batch

I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Row:
    """A record as rules saw it."""

    batch: Batch
    """Of one row."""
    feature_value: I64
    """[1, F]"""
    feature_state: U8
    micro: int
    """The champion's score in millionths, -1: missing."""
    flags: int
    """``Flag`` bits."""
    duplicate_of: int
    """Offset of the first record with this content, -1: none."""
    hash_key: bytes
    decision: int = -1
    """``Decision`` as it was given, with limits and shadow mode; -1: not known."""

    @property
    def decoded(self) -> Decoded:
        """Return the row for reading single values."""
        return Decoded(self.batch, self.feature_value, self.feature_state, np.array([self.micro], np.int64))


def row_of_result(result: Result, offset: int, hash_key: bytes) -> Row | None:
    """Return a record of a decided slice, None if it could not be read."""
    places = np.flatnonzero(result.batch.offset == offset)
    if not len(places):
        return None
    one = slice(int(places[0]), int(places[0]) + 1)
    batch, outcome = result.batch, result.outcome
    picked = replace(
        batch,
        row=np.zeros(1, np.int32),
        offset=batch.offset[one],
        record_time_ms=batch.record_time_ms[one],
        value=np.ascontiguousarray(batch.value[:, one]),
        state=np.ascontiguousarray(batch.state[:, one]),
        start=np.ascontiguousarray(batch.start[:, one]),
        size=np.ascontiguousarray(batch.size[:, one]),
        body_hash=np.ascontiguousarray(batch.body_hash[:, one]),
        rejected=(),
    )
    return Row(
        picked,
        np.ascontiguousarray(result.matrix.value[one]),
        np.ascontiguousarray(result.matrix.state[one]),
        int(outcome.champion_micro[one][0]),
        int(outcome.flags[one][0]),
        int(outcome.duplicate_of[one][0]),
        hash_key,
        int(outcome.decision[one][0]),
    )


def row_of_log(log: FeatureLog, bundle: Bundle, row: int) -> Row | None:
    """Return a record of a feature log, None if it could not be read or did not happen."""
    kind = log.numbers(at.KIND, np.array([row]))[0]
    if kind in (at.Kind.UNREADABLE, at.Kind.ABSENT):
        return None
    slots = [slot for slot in bundle.slots.values() if slot.source is Source.FIELD and _kept(log, slot)]
    words = max(slot.column + slot.type.width for slot in slots)
    value, state = np.zeros((words, 1), np.int64), np.zeros((words, 1), np.uint8)
    start, size = np.zeros((words, 1), np.int32), np.zeros((words, 1), np.int32)
    feature_value = np.zeros((1, bundle.features.words), np.int64)
    feature_state = np.zeros((1, bundle.features.words), np.uint8)
    group = next(item for item in log.groups if item.first <= row < item.first + item.rows)
    features = [slot for item in bundle.features.features for slot in item.outputs]
    names = [name for slot in (*slots, *features) for name in log.column_of(slot).files]
    (_, table) = next(log.tables([*names, at.SCORE, at.FLAGS, at.DUPLICATE_OF], [group]))
    table = table.slice(row - group.first, 1)
    texts: list[U8] = []
    used = 0
    for slot in slots:
        column = log.column_of(slot)
        if column.text:
            found, there = log.hashed(table.column(column.name), 1)
            value[slot.column], value[slot.column + 1] = found.low, found.high
            state[slot.column], state[slot.column + 1] = there, there
            if there[0]:
                begin, length = int(found.start[0]), int(found.size[0])
                start[slot.column], size[slot.column] = used, length
                texts.append(found.buffer[begin : begin + length])
                used += length
            continue
        for word, name in enumerate(column.files):
            value[slot.column + word], state[slot.column + word] = words_of(table.column(name), 1)
    for slot in features:
        for word, name in enumerate(log.column_of(slot).files):
            place = slot.column + word
            feature_value[:, place], feature_state[:, place] = words_of(table.column(name), 1)
    value *= state
    feature_value *= feature_state
    numbers = {name: words_of(table.column(name), 1) for name in (at.SCORE, at.FLAGS, at.DUPLICATE_OF)}
    plain = {name: int(found[0]) if there[0] else -1 for name, (found, there) in numbers.items()}
    _, offset = log.runs.sources_of(np.array([row]))
    first = np.array([plain[at.DUPLICATE_OF]])
    batch = Batch(
        schema=bundle.schema,
        row=np.zeros(1, np.int32),
        offset=offset,
        record_time_ms=np.full(1, -1, np.int64),
        value=value,
        state=state,
        start=start,
        size=size,
        buffer=np.concatenate([*texts, np.zeros(PAD_BYTES, np.uint8)]),
        body_hash=np.zeros((2, 1), np.int64),
    )
    duplicate_of = int(log.runs.sources_of(first)[1][0]) if first[0] >= 0 else -1
    flags = plain[at.FLAGS] | (int(Flag.DUPLICATE) if kind == at.Kind.DUPLICATE else 0)
    return Row(batch, feature_value, feature_state, plain[at.SCORE], flags, duplicate_of, log.hash_key)


def _kept(log: FeatureLog, slot: Slot) -> bool:
    return slot.name in log.manifest.fields
