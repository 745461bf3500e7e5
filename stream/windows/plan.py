"""Compiles declared features to the table that the window kernels read.

Features that read the same events share the work: a *need* is one flag of an event (its ``where`` is true
and its ``of`` fields are present), an *accumulator* is one need with one value column and serves every
window and aggregate over them.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fraudstream.rules.bundle import Agg, Feature, FeatureSet, Field, Schema, Type
from fraudstream.stream.windows import layout as at

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
}
_NUMERIC = frozenset({Agg.SUM, Agg.MEAN, Agg.STD, Agg.MIN, Agg.MAX})
_OF_NUMBERS = _NUMERIC | {Agg.EWMA}
_SINCE = frozenset({Agg.SINCE_FIRST, Agg.SINCE_LAST})
_POSITIONS = frozenset({Agg.FIRST, Agg.LAST}) | _SINCE

Need = tuple[int, tuple[int, ...]]
"""Filter (-1: none) and batch rows that must be present."""
Column = tuple[int, int, int]
"""Batch row, mode, decimals."""
Window = tuple[int, int]
"""Length and pane in ms; FOREVER and 0 for no window, pane 0 for an exact one."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A compiled feature set."""

    table: NDArray[np.int64]
    kinds: tuple[str, ...]
    """Names such as ``account.id+counterparty.id``, in order of first use."""
    words: int
    """Columns of the feature matrix."""
    scratch_words: int


@dataclass(slots=True)
class _Acc:
    kind_class: int
    need: int
    column: Column | None
    half_life: int
    spans: dict[Window, list[Feature]] = field(default_factory=dict)
    payloads: dict[int, int] = field(default_factory=dict)
    """Value column number -> payload number."""

    def takes(self, window: Window) -> bool:
        """Return whether the windows still nest, whatever the time, once ``window`` is among them."""
        ordered = sorted({*self.spans, window}, key=_reach)
        return all(_nests(inner, outer) for inner, outer in pairwise(ordered))

    @property
    def positions(self) -> bool:
        """Whether some feature needs the first or the last event."""
        return any(item.agg in _POSITIONS for items in self.spans.values() for item in items)


@dataclass(slots=True)
class _Kind:
    key: tuple[str, ...]
    needs: dict[Need, int] = field(default_factory=dict)
    columns: dict[Column, int] = field(default_factory=dict)
    accs: dict[tuple[int, Need, Column | None, int], list[_Acc]] = field(default_factory=dict)

    def need(self, wanted: Need) -> int:
        """Return the flag number of a need; -1 where every event enters."""
        if wanted == (-1, ()):
            return -1
        return self.needs.setdefault(wanted, len(self.needs))

    def acc(self, kind_class: int, need: Need, column: Column | None, half_life: int, window: Window) -> _Acc:
        """Return an accumulator that can serve a window beside those it serves."""
        number = self.need(need)
        shared = self.accs.setdefault((kind_class, need, column, half_life), [])
        for acc in shared:
            if acc.takes(window):
                return acc
        shared.append(_Acc(kind_class, number, column, half_life))
        return shared[-1]

    def all_accs(self) -> list[_Acc]:
        """Return all accumulators in their order."""
        return [acc for shared in self.accs.values() for acc in shared]


def _reach(window: Window) -> tuple[int, int]:
    return (window[0] + window[1], window[1])


def _nests(inner: Window, outer: Window) -> bool:
    """Return whether ``outer`` begins at or before ``inner`` at every time."""
    apart = outer[0] >= inner[0] + inner[1]
    return apart or (outer[0] >= inner[0] and outer[1] % max(inner[1], 1) == 0)


class _Table:
    """Appends records and lists to one growing array of words."""

    def __init__(self, reserved: int) -> None:
        self.words: list[int] = [0] * reserved

    def add(self, items: Sequence[int]) -> int:
        """Append words and return where they begin."""
        begin = len(self.words)
        self.words.extend(items)
        return begin


def compile_features(features: FeatureSet, schema: Schema) -> Plan:
    """Compile ``features`` over ``schema``.

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
    kinds: dict[tuple[str, ...], _Kind] = {}
    for item in features.features:
        kind = kinds.setdefault(item.key, _Kind(item.key))
        _place(kind, item, schema)
    table = _Table(at.P_RECORDS + len(kinds) * at.KIND)
    scratch = 0
    for number, kind in enumerate(kinds.values()):
        begin = at.P_RECORDS + number * at.KIND
        table.words[begin : begin + at.KIND] = _kind_record(table, kind, schema, features)
        key_words = sum(schema.field(name).type.width for name in kind.key)
        scratch = max(scratch, _event_words(kind) + 1, key_words)
    windows = 3 * max((len(_windows(kind)) for kind in kinds.values()), default=0)
    head = [0] * at.P_RECORDS
    head[at.P_KINDS] = len(kinds)
    head[at.P_LATENESS] = time.allowed_lateness_ms
    head[at.P_EVENTS_MAX] = time.max_events_per_key
    head[at.P_SCRATCH_BORDERS] = scratch
    head[at.P_SCRATCH_SEEN] = scratch + windows
    head[at.P_SCRATCH_WORDS] = (
        scratch + windows + max((_list_max(kind) for kind in kinds.values()), default=0)
    )
    head[at.P_LARGE], head[at.P_SCAN] = at.CAPACITY_LARGE, at.SCAN_MAX
    head[at.P_FOLD], head[at.P_GAIN] = at.FOLD_MIN, at.PANE_GAIN
    table.words[: at.P_RECORDS] = head
    return Plan(
        table=np.array(table.words, np.int64),
        kinds=tuple("+".join(key) for key in kinds),
        words=features.words,
        scratch_words=head[at.P_SCRATCH_WORDS],
    )


def _place(kind: _Kind, item: Feature, schema: Schema) -> None:
    """Find or make the accumulator, need and columns of a feature."""
    fields = [schema.field(name) for name in item.of]
    # The event's time is always there: clamped, it is part of word 0.
    present = sorted({one.column for one in fields if one.name != schema.event_time})
    need: Need = (-1 if item.where is None else item.where, tuple(present))
    column: Column | None = None
    kind_class = at.CLASS_EVENTS
    if item.agg is Agg.EWMA:
        kind_class, column = at.CLASS_AVERAGE, _number_column(fields[0])
    elif item.agg in _NUMERIC:
        kind_class, column = at.CLASS_NUMBERS, _number_column(fields[0])
    elif item.agg is Agg.DISTINCT:
        kind_class, column = at.CLASS_VALUES, _distinct_column(fields[0], schema)
    if column is not None:
        kind.columns.setdefault(column, len(kind.columns))
    window = _window(item)
    acc = kind.acc(kind_class, need, column, item.half_life_ms, window)
    acc.spans.setdefault(window, []).append(item)
    for payload in _payload_columns(item, schema):
        number = kind.columns.setdefault(payload, len(kind.columns))
        acc.payloads.setdefault(number, len(acc.payloads))


def _window(item: Feature) -> Window:
    return (at.FOREVER, 0) if item.window_ms is None else (item.window_ms, item.resolution_ms)


def _number_column(of: Field) -> Column:
    if of.type is Type.NUMBER:
        return (of.column, at.MODE_FIXED, of.decimals)
    return (of.column, at.MODE_INTEGER, 0)


def _distinct_column(of: Field, schema: Schema) -> Column:
    if of.name == schema.event_time:
        return (of.column, at.MODE_TIME, 0)
    if of.type is Type.GEO:
        return (of.column, at.MODE_PAIR, 0)
    # One word of a keyed 128-bit hash is enough within one key.
    return (of.column, at.MODE_WORD, 0)


def _payload_columns(item: Feature, schema: Schema) -> list[Column]:
    """Return the columns that ``first`` and ``last`` give back, without the event's time."""
    if item.agg not in (Agg.FIRST, Agg.LAST):
        return []
    result: list[Column] = []
    for name in item.of:
        one = schema.field(name)
        if name != schema.event_time:
            result.extend((one.column + word, at.MODE_WORD, 0) for word in range(one.type.width))
    return result


def _windows(kind: _Kind) -> list[Window]:
    return sorted({window for acc in kind.all_accs() for window in acc.spans}, key=_reach)


def _steps(windows: list[Window], lateness: int) -> tuple[int, list[tuple[int, int]], int]:
    """Return the age beyond every exact window, each step's (age, pane), and the first step that is exact.

    Events beyond ``max_events_per_key`` begin in panes of a minute; each step joins panes that have reached
    an age. A pane of a step divides every window's that can still see it.
    """
    finite = [window for window in windows if window[0] != at.FOREVER]
    age = max((length for length, pane in finite if pane == 0), default=0) + lateness
    paned = [(length + pane + lateness, pane) for length, pane in finite if pane]
    ages = sorted({age} | {reach for reach, _ in paned if reach > age})
    steps = [(a, math.gcd(*(pane for reach, pane in paned if reach > a))) for a in ages]
    steps = [step for step in steps if step[1] > 0]
    if age > at.DAY_MS + lateness:
        coarse = math.gcd(at.HOUR_MS, steps[0][1]) if steps else at.HOUR_MS
        return age, [(at.DAY_MS + lateness, coarse), *steps], 1
    return age, steps, 0


def _flag_words(kind: _Kind) -> int:
    beyond = len(kind.needs) - at.TIME_SHIFT
    return 0 if beyond <= 0 else -(-beyond // at.FLAGS_PER_WORD)


def _event_words(kind: _Kind) -> int:
    return 1 + _flag_words(kind) + len(kind.columns)


def _list_max(kind: _Kind) -> int:
    features = (item for acc in kind.all_accs() for items in acc.spans.values() for item in items)
    return max((item.max_distinct for item in features), default=0)


def _flag(need: int) -> tuple[int, int]:
    """Return (event word, bit) of a need's flag."""
    if need < at.TIME_SHIFT:
        return 0, need
    word, bit = divmod(need - at.TIME_SHIFT, at.FLAGS_PER_WORD)
    return 1 + word, bit


def _bits(value: float) -> int:
    return int(struct.unpack("<q", struct.pack("<d", value))[0])


def _kind_record(table: _Table, kind: _Kind, schema: Schema, features: FeatureSet) -> list[int]:
    windows = _windows(kind)
    finite = [window for window in windows if window[0] != at.FOREVER]
    lateness = features.time.allowed_lateness_ms
    longest = max((length + pane for length, pane in finite), default=0)
    windowless = len(finite) < len(windows)
    age, steps, paned = _steps(windows, lateness)
    key_rows = [
        schema.field(name).column + word for name in kind.key for word in range(schema.field(name).type.width)
    ]
    first_column = 1 + _flag_words(kind)
    needs: list[int] = []
    for filter_number, present in kind.needs:
        needs += [filter_number, table.add(present), len(present)]
    columns: list[int] = []
    for row, mode, decimals in kind.columns:
        columns += [row, mode, _bits(10.0**decimals)]
    records = _acc_records(table, kind, schema, first_column)
    accs = table.add([word for record in records for word in record])
    frozen, positions = (
        [accs + number * at.ACC for number, record in enumerate(records) if record[field] >= 0]
        for field in (at.A_FROZEN, at.A_POSITION)
    )
    result = [0] * at.KIND
    result[at.K_KEY], result[at.K_KEY_WORDS] = table.add(key_rows), len(key_rows)
    result[at.K_NEEDS], result[at.K_NEED_COUNT] = table.add(needs), len(kind.needs)
    result[at.K_COLUMNS], result[at.K_COLUMN_COUNT] = table.add(columns), len(kind.columns)
    result[at.K_WORDS], result[at.K_FLAG_WORDS] = _event_words(kind), _flag_words(kind)
    result[at.K_WINDOWS] = table.add([word for window in windows for word in window])
    result[at.K_WINDOW_COUNT] = len(windows)
    result[at.K_ACCS], result[at.K_ACC_COUNT] = accs, len(records)
    result[at.K_RETAIN] = longest + lateness
    result[at.K_LIFE] = max(longest, at.KEY_LIFE_MS if windowless else 0) + lateness
    result[at.K_REACH] = len(finite) - 1
    result[at.K_WINDOWLESS] = int(windowless)
    result[at.K_FROZEN_WORDS] = sum(_record_words(acc) for acc in kind.all_accs() if _is_frozen(acc))
    result[at.K_FROZENS], result[at.K_FROZEN_COUNT] = table.add(frozen), len(frozen)
    result[at.K_PREFIX_WORDS] = sum(_PREFIX_WORDS[acc.kind_class] for acc in kind.all_accs())
    result[at.K_EXTREMES] = sum(record[at.A_EXTREME] >= 0 for record in records)
    result[at.K_LISTS] = sum(acc.kind_class == at.CLASS_VALUES for acc in kind.all_accs())
    result[at.K_LIST_MAX] = _list_max(kind)
    result[at.K_AGE] = age
    result[at.K_STEPS] = table.add([word for step in steps for word in step])
    result[at.K_STEP_COUNT], result[at.K_PANED] = len(steps), paned
    result[at.K_POSITIONS], result[at.K_POSITION_COUNT] = table.add(positions), len(positions)
    result[at.K_POSITION_WORDS] = sum(_record_words(acc) for acc in kind.all_accs() if acc.positions)
    return result


_PREFIX_WORDS = {at.CLASS_EVENTS: 1, at.CLASS_NUMBERS: 4, at.CLASS_VALUES: 1, at.CLASS_AVERAGE: 4}


def _is_frozen(acc: _Acc) -> bool:
    """Return whether events that left still count: some feature has no window."""
    return (at.FOREVER, 0) in acc.spans


def _record_words(acc: _Acc) -> int:
    if acc.kind_class == at.CLASS_AVERAGE:
        return at.R_AVERAGE
    return at.R_PAYLOAD + 2 * len(acc.payloads)


def _acc_records(table: _Table, kind: _Kind, schema: Schema, first_column: int) -> list[list[int]]:
    windows = _windows(kind)
    result: list[list[int]] = []
    prefix = extremes = lists = frozen = positions = 0
    for acc in kind.all_accs():
        aggs = {item.agg for items in acc.spans.values() for item in items}
        has_extremes = bool(aggs & {Agg.MIN, Agg.MAX})
        spans: list[int] = []
        for window in sorted(acc.spans, key=_reach):
            records: list[int] = []
            for item in acc.spans[window]:
                records += _feature_record(table, kind, acc, item, schema, first_column)
            begin = table.add(records)
            spans += [windows.index(window), begin, begin + len(records)]
        record = [0] * at.ACC
        record[at.A_CLASS] = acc.kind_class
        record[at.A_FLAG], record[at.A_SHIFT] = _flag(acc.need)
        record[at.A_COLUMN] = 0 if acc.column is None else first_column + kind.columns[acc.column]
        record[at.A_SPANS] = table.add(spans)
        record[at.A_SPAN_COUNT] = len(acc.spans)
        record[at.A_PREFIX] = prefix
        record[at.A_EXTREME] = extremes if has_extremes else -1
        record[at.A_SQUARES] = int(Agg.STD in aggs)
        record[at.A_POSITION] = positions if acc.positions else -1
        record[at.A_LIST] = lists
        record[at.A_FROZEN] = frozen if _is_frozen(acc) else -1
        record[at.A_PAYLOADS] = table.add([first_column + number for number in acc.payloads])
        record[at.A_PAYLOAD_COUNT] = len(acc.payloads)
        record[at.A_HALF_LIFE] = acc.half_life
        result.append(record)
        prefix += _PREFIX_WORDS[acc.kind_class]
        extremes += int(has_extremes)
        lists += int(acc.kind_class == at.CLASS_VALUES)
        frozen += _record_words(acc) if _is_frozen(acc) else 0
        positions += _record_words(acc) if acc.positions else 0
    return result


def _feature_record(
    table: _Table, kind: _Kind, acc: _Acc, item: Feature, schema: Schema, first_column: int
) -> list[int]:
    record = [0] * at.FEATURE
    record[at.F_AGG] = _CODES[item.agg]
    record[at.F_OUT] = item.outputs[0].column
    record[at.F_MIN] = item.min_count
    record[at.F_INCLUDE] = int(not item.exclude_current and item.agg not in _SINCE)
    record[at.F_MAX] = item.max_distinct
    if item.agg in _OF_NUMBERS:
        of = schema.field(item.of[0])
        record[at.F_SCALE] = _bits(10.0**of.decimals) if of.type is Type.NUMBER else 0
    if item.agg in (Agg.FIRST, Agg.LAST):
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
