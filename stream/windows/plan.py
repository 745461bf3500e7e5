"""Compiles declared features to the table that the window kernels read."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fraudstream.rules.bundle import Agg, Feature, FeatureSet, Schema, Type
from fraudstream.stream.windows import layout as at
from fraudstream.stream.windows.accumulators import (
    FOREVER,
    POINTS,
    SINCE,
    Accumulator,
    Kind,
    Window,
    arrange,
    filters_of,
    flag_place,
    reach,
)

_CODES = {
    Agg.COUNT: at.AGG_COUNT,
    Agg.SUM: at.AGG_SUM,
    Agg.MEAN: at.AGG_MEAN,
    Agg.STD: at.AGG_STD,
    Agg.MIN: at.AGG_MIN,
    Agg.MAX: at.AGG_MAX,
    Agg.DISTINCT: at.AGG_DISTINCT,
    Agg.FIRST: at.AGG_FIRST,
    Agg.LAST: at.AGG_LAST,
    Agg.SINCE_FIRST: at.AGG_SINCE_FIRST,
    Agg.SINCE_LAST: at.AGG_SINCE_LAST,
    Agg.EWMA: at.AGG_EWMA,
    Agg.SEQUENCE: at.AGG_SEQUENCE,
}
_NO_FLAG = 63
"""A bit that no flag word has: times are positive."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A compiled feature set."""

    table: NDArray[np.int64]
    kinds: tuple[str, ...]
    """Names such as ``account.id+counterparty.id``, in order of first use."""
    words: int
    """Columns of the feature matrix."""
    scratch_words: int


class _Table:
    """Appends records and lists to one growing array of words."""

    def __init__(self, reserved: int) -> None:
        self.words: list[int] = [0] * reserved

    def add(self, items: Sequence[int]) -> int:
        """Append words and return where they begin."""
        begin = len(self.words)
        self.words.extend(items)
        return begin


def compile_features(features: FeatureSet, schema: Schema, read: frozenset[str] | None = None) -> Plan:
    """Compile ``features`` over ``schema``.

    ``read``: names of those that are computed, None: all. What is kept of events is the same for any choice.

    Raises:
        ValueError: for limits that the rules compiler should have refused (``max_events_per_key`` beyond
            4,194,304 or below 1, ``dedup`` below ``allowed_lateness``), naming them.
    """
    time = features.time
    if not 1 <= time.max_events_per_key <= at.EVENTS_MAX:
        raise ValueError(
            f"`max_events_per_key` was {time.max_events_per_key}, expected 1 to {at.EVENTS_MAX}: "
            "beyond it sums of squares are no longer exact"
        )
    if time.dedup_ms < time.allowed_lateness_ms:
        raise ValueError(
            f"`dedup` was {time.dedup_ms} ms, "
            f"expected at least `allowed_lateness` ({time.allowed_lateness_ms} ms)"
        )
    kinds = arrange(features.features, schema)
    table = _Table(at.P_RECORDS + len(kinds) * at.KIND)
    event = 0
    for number, kind in enumerate(kinds):
        begin = at.P_RECORDS + number * at.KIND
        table.words[begin : begin + at.KIND] = _kind_record(table, kind, schema, features, read)
        key_words = sum(schema.field(name).type.width for name in kind.key)
        event = max(event, kind.event_words + 1, key_words)
    borders = event
    bank = borders + 3 * max((len(kind.windows) for kind in kinds), default=0)
    seen = bank + at.BANK_WORDS
    head = [0] * at.P_RECORDS
    head[at.P_KINDS] = len(kinds)
    head[at.P_EVENTS_MAX] = time.max_events_per_key
    head[at.P_SCRATCH_BORDERS], head[at.P_SCRATCH_BANK], head[at.P_SCRATCH_SEEN] = borders, bank, seen
    head[at.P_SCRATCH_WORDS] = seen + 1 + 2 * max((kind.list_max for kind in kinds), default=0)
    head[at.P_LARGE], head[at.P_SCAN] = at.CAPACITY_LARGE, at.SCAN_MAX
    head[at.P_FOLD], head[at.P_GAIN], head[at.P_LENT] = at.FOLD_MIN, at.PANE_GAIN, at.LENT_MIN
    table.words[: at.P_RECORDS] = head
    return Plan(
        table=np.array(table.words, np.int64),
        kinds=tuple("+".join(kind.key) for kind in kinds),
        words=features.words,
        scratch_words=head[at.P_SCRATCH_WORDS],
    )


def _steps(windows: list[Window], lateness: int) -> tuple[int, list[tuple[int, int]], int]:
    """Return the age beyond every exact window, each step's (age, pane), and the first step that is exact.

    Events beyond ``max_events_per_key`` begin in panes of a minute; each step joins panes that have reached
    an age. A pane of a step divides every window's that can still see it.
    """
    finite = [window for window in windows if window != FOREVER]
    age = max((length for length, pane in finite if pane == 0), default=0) + lateness
    paned = [(length + pane + lateness, pane) for length, pane in finite if pane]
    ages = sorted({age} | {reach for reach, _ in paned if reach > age})
    steps = [(a, math.gcd(*(pane for reach, pane in paned if reach > a))) for a in ages]
    steps = [step for step in steps if step[1] > 0]
    if age > at.DAY_MS + lateness:
        coarse = math.gcd(at.HOUR_MS, steps[0][1]) if steps else at.HOUR_MS
        return age, [(at.DAY_MS + lateness, coarse), *steps], 1
    return age, steps, 0


def _bits(value: float) -> int:
    return int(struct.unpack("<q", struct.pack("<d", value))[0])


def _kind_record(
    table: _Table, kind: Kind, schema: Schema, features: FeatureSet, read: frozenset[str] | None
) -> list[int]:
    windows = kind.windows
    finite = [window for window in windows if window != FOREVER]
    lateness = features.time.allowed_lateness_ms
    longest = max((length + pane for length, pane in finite), default=0)
    windowless = len(finite) < len(windows)
    age, steps, paned = _steps(windows, lateness)
    key_rows = [
        schema.field(name).column + word for name in kind.key for word in range(schema.field(name).type.width)
    ]
    needs: list[int] = []
    for filter_number, present in kind.needs:
        needs += [filter_number, table.add(present), len(present)]
    columns: list[int] = []
    for row, mode, decimals in kind.columns:
        columns += [row, mode, _bits(10.0**decimals)]
    accumulators = kind.accumulators
    records = _records(table, kind, schema, read)
    accs = table.add([word for record in records for word in record])
    frozen, positions = (
        [accs + number * at.ACC for number, record in enumerate(records) if record[field] >= 0]
        for field in (at.A_FROZEN, at.A_POSITION)
    )
    result = [0] * at.KIND
    result[at.K_KEY], result[at.K_KEY_WORDS] = table.add(key_rows), len(key_rows)
    result[at.K_NEEDS], result[at.K_NEED_COUNT] = table.add(needs), len(kind.needs)
    result[at.K_COLUMNS], result[at.K_COLUMN_COUNT] = table.add(columns), len(kind.columns)
    result[at.K_WORDS], result[at.K_FLAG_WORDS] = kind.event_words, kind.flag_words
    result[at.K_WINDOWS] = table.add([word for window in windows for word in window])
    result[at.K_WINDOW_COUNT] = len(windows)
    result[at.K_ACCS], result[at.K_ACC_COUNT] = accs, len(records)
    result[at.K_RETAIN] = longest + lateness
    result[at.K_LIFE] = max(longest, at.KEY_LIFE_MS if windowless else 0) + lateness
    result[at.K_REACH] = len(finite) - 1
    result[at.K_WINDOWLESS] = int(windowless)
    result[at.K_FROZEN_WORDS] = sum(acc.record_words for acc in accumulators if acc.is_frozen)
    result[at.K_FROZENS], result[at.K_FROZEN_COUNT] = table.add(frozen), len(frozen)
    result[at.K_PREFIX_WORDS] = sum(acc.prefix_words for acc in accumulators)
    result[at.K_LEVEL_WORDS] = sum(acc.level_words for acc in accumulators)
    result[at.K_LISTS] = sum(acc.kind_class == at.CLASS_VALUES for acc in accumulators)
    result[at.K_LIST_MAX] = kind.list_max
    result[at.K_MARK] = max(at.MARK_EVENTS, 2 * kind.list_max)
    result[at.K_AGE] = age
    result[at.K_STEPS] = table.add([word for step in steps for word in step])
    result[at.K_STEP_COUNT], result[at.K_PANED] = len(steps), paned
    result[at.K_POSITIONS], result[at.K_POSITION_COUNT] = table.add(positions), len(positions)
    result[at.K_POSITION_WORDS] = sum(acc.record_words for acc in accumulators if acc.has_positions)
    return result


def _records(table: _Table, kind: Kind, schema: Schema, read: frozenset[str] | None) -> list[list[int]]:
    windows, first_column = kind.windows, 1 + kind.flag_words
    counts = _count_places(kind)
    result: list[list[int]] = []
    prefix = level = lists = frozen = positions = 0
    for acc in kind.accumulators:
        spans: list[int] = []
        for window in sorted(acc.spans, key=reach):
            features: list[int] = []
            wanted = [(item, lane) for item, lane in acc.spans[window] if read is None or item.name in read]
            if not wanted:
                continue
            # One after the other what is computed alike.
            for item, lane in sorted(wanted, key=lambda one: (_CODES[one[0].agg], one[1])):
                if acc.kind_class == at.CLASS_BANK:
                    features.append(_bank_feature(item, lane))
                elif acc.kind_class == at.CLASS_SEQUENCE:
                    features += _sequence_record(table, kind, counts, item)
                else:
                    features += _feature_record(table, kind, acc, item, schema)
            begin = table.add(features)
            spans += [windows.index(window), begin, begin + len(features)]
        places = [flag_place(need) for need in acc.lanes]
        lanes = [_NO_FLAG if bit < 0 else bit for _, bit in places]
        always = [int(bit < 0) for _, bit in places]
        record = [0] * at.ACC
        record[at.A_CLASS] = acc.kind_class
        if places:
            record[at.A_FLAG] = max(word for word, _ in places)
            record[at.A_SHIFT] = places[0][1]
        record[at.A_COLUMN] = 0 if acc.column is None else first_column + kind.columns[acc.column]
        record[at.A_SPANS], record[at.A_SPAN_COUNT] = table.add(spans), len(spans) // at.SPAN
        record[at.A_PREFIX], record[at.A_LEVEL] = prefix, level
        record[at.A_MODE] = acc.mode if acc.kind_class == at.CLASS_BANK else at.COUNTED * acc.is_counted
        record[at.A_WIDTH], record[at.A_VECTORS] = acc.width, acc.prefix_words // acc.width
        record[at.A_LANES] = table.add(
            lanes + [_NO_FLAG] * (at.LANES - len(lanes)) + always + [0] * (at.LANES - len(always))
        )
        if acc.column is not None and acc.column[1] == at.MODE_FIXED:
            record[at.A_SCALE] = _bits(10.0 ** acc.column[2])
        record[at.A_POSITION] = positions if acc.has_positions else -1
        record[at.A_LIST] = lists
        record[at.A_FROZEN] = frozen if acc.is_frozen else -1
        record[at.A_PAYLOADS] = table.add([first_column + number for number in acc.payloads])
        record[at.A_PAYLOAD_COUNT] = len(acc.payloads)
        record[at.A_HALF_LIFE] = acc.half_life
        result.append(record)
        prefix += acc.prefix_words
        level += acc.level_words
        lists += int(acc.kind_class == at.CLASS_VALUES)
        frozen += acc.record_words if acc.is_frozen else 0
        positions += acc.record_words if acc.has_positions else 0
    return result


def _count_places(kind: Kind) -> dict[int, int]:
    """Return where a prefix row counts each flag that an accumulator of events has."""
    places: dict[int, int] = {}
    prefix = 0
    for acc in kind.accumulators:
        if acc.kind_class == at.CLASS_EVENTS:
            places.setdefault(acc.lanes[0], prefix)
        prefix += acc.prefix_words
    return places


def _sequence_record(table: _Table, kind: Kind, counts: dict[int, int], item: Feature) -> list[int]:
    record = [0] * at.FEATURE
    record[at.F_AGG], record[at.F_OUT] = _CODES[item.agg], item.outputs[0].column
    needs = [kind.needs[(where, ())] for where in filters_of(item)]
    places = [table.add([*flag_place(need), counts[need]]) for need in needs]
    record[at.F_PAYLOAD], record[at.F_PAYLOAD_COUNT] = places[0], len(item.steps)
    record[at.F_UNLESS] = -1 if item.unless is None else places[-1]
    return record


def _bank_feature(item: Feature, lane: int) -> int:
    include = int(not item.exclude_current)
    word = _CODES[item.agg] | lane << at.W_LANE | include << at.W_INCLUDE
    return word | item.min_count << at.W_MIN | item.outputs[0].column << at.W_OUT


def _feature_record(table: _Table, kind: Kind, acc: Accumulator, item: Feature, schema: Schema) -> list[int]:
    first_column = 1 + kind.flag_words
    record = [0] * at.FEATURE
    record[at.F_AGG] = _CODES[item.agg]
    record[at.F_OUT] = item.outputs[0].column
    record[at.F_MIN] = item.min_count
    record[at.F_INCLUDE] = int(not item.exclude_current and item.agg not in SINCE)
    record[at.F_MAX] = item.max_distinct
    if item.agg is Agg.EWMA:
        of = schema.field(item.of[0])
        record[at.F_SCALE] = _bits(10.0**of.decimals) if of.type is Type.NUMBER else 0
    if item.agg in POINTS:
        rows: list[int] = []
        for name, slot in zip(item.of, item.outputs, strict=True):
            one = schema.field(name)
            if name == schema.event_time:
                rows += [-1, slot.column, -1]
                continue
            for word in range(one.type.width):
                number = kind.columns[(one.column + word, at.MODE_WORD, 0)]
                rows += [first_column + number, slot.column + word, acc.payloads[number]]
        record[at.F_PAYLOAD], record[at.F_PAYLOAD_COUNT] = table.add(rows), len(rows) // at.PAYLOAD
    return record
