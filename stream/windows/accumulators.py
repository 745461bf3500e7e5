"""Which features share a pass over events: kinds of key, needs, value columns, accumulators.

Features that read the same events share the work. A *need* is one flag of an event (its ``where`` is true and
its ``of`` fields are present). An *accumulator* makes one pass over a key's events for many features: a
*bank* has up to eight needs side by side as lanes of vectors, with one value column or none; the others have
one need.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from fraudstream.rules.bundle import Agg, Feature, Field, Schema, Type
from fraudstream.stream.windows import layout as at

NUMERIC = frozenset({Agg.SUM, Agg.MEAN, Agg.STD, Agg.MIN, Agg.MAX})
SINCE = frozenset({Agg.SINCE_FIRST, Agg.SINCE_LAST})
POINTS = frozenset({Agg.FIRST, Agg.LAST})

Need = tuple[int, tuple[int, ...]]
"""Filter (-1: none) and batch rows that must be present."""
Column = tuple[int, int, int]
"""Batch row, mode, decimals."""
Window = tuple[int, int]
"""Length and pane in ms; FOREVER and 0 for no window, pane 0 for an exact one."""
FOREVER: Window = (at.FOREVER, 0)


@dataclass(slots=True)
class Accumulator:
    """One pass over events."""

    kind_class: int
    column: Column | None
    half_life: int = 0
    lanes: list[int] = field(default_factory=list)
    """Flag numbers of its needs, -1 for every event; one unless it is a bank."""
    spans: dict[Window, list[tuple[Feature, int]]] = field(default_factory=dict)
    """Window -> features, each with its lane."""
    payloads: dict[int, int] = field(default_factory=dict)
    """Value column number -> payload number."""

    def takes(self, window: Window) -> bool:
        """Return whether the windows still nest, whatever the time, once ``window`` is among them."""
        ordered = sorted({*self.spans, window}, key=reach)
        return all(_nests(inner, outer) for inner, outer in pairwise(ordered))

    def add(self, item: Feature, need: int) -> None:
        """Serve a feature whose events have a flag."""
        if need not in self.lanes:
            self.lanes.append(need)
        self.spans.setdefault(window_of(item), []).append((item, self.lanes.index(need)))

    @property
    def aggregates(self) -> set[Agg]:
        """What its features compute."""
        return {item.agg for items in self.spans.values() for item, _ in items}

    @property
    def width(self) -> int:
        """Lanes of its vectors."""
        if self.kind_class != at.CLASS_BANK:
            return 1
        return at.LANES_FEW if len(self.lanes) <= at.LANES_FEW else at.LANES

    @property
    def mode(self) -> int:
        """How much a bank keeps of the values."""
        aggs = self.aggregates
        if aggs & {Agg.MIN, Agg.MAX}:
            return at.BANK_EXTREMES
        if Agg.STD in aggs:
            return at.BANK_SQUARES
        return at.BANK_SUMS if self.column is not None else at.BANK_COUNTS

    @property
    def prefix_words(self) -> int:
        """Words of its part of a prefix row."""
        if self.kind_class == at.CLASS_AVERAGE:
            return at.R_AVERAGE
        if self.kind_class == at.CLASS_SEQUENCE:
            return 0
        if self.kind_class != at.CLASS_BANK:
            return 1
        return at.BANK_VECTORS[self.mode] * self.width

    @property
    def level_words(self) -> int:
        """Words of its part of a row of minima and maxima."""
        has_them = self.kind_class == at.CLASS_BANK and self.mode == at.BANK_EXTREMES
        return 2 * self.width if has_them else 0

    @property
    def is_frozen(self) -> bool:
        """Whether events that left still count: some feature has no window."""
        return FOREVER in self.spans

    @property
    def is_counted(self) -> bool:
        """Whether some feature asks how many events there are."""
        return any(item.min_count for items in self.spans.values() for item, _ in items)

    @property
    def has_positions(self) -> bool:
        """Whether some feature needs the first or the last event."""
        return bool(self.aggregates & (POINTS | SINCE))

    @property
    def record_words(self) -> int:
        """Words of the record of events that left."""
        if self.kind_class == at.CLASS_AVERAGE:
            return at.R_AVERAGE
        return at.R_PAYLOAD + 2 * len(self.payloads)


@dataclass(slots=True)
class Kind:
    """One kind of key: what is kept of an event and which passes are made."""

    key: tuple[str, ...]
    needs: dict[Need, int] = field(default_factory=dict)
    columns: dict[Column, int] = field(default_factory=dict)
    accumulators: list[Accumulator] = field(default_factory=list)

    @property
    def windows(self) -> list[Window]:
        """All windows, the one that reaches farthest last."""
        return sorted({window for acc in self.accumulators for window in acc.spans}, key=reach)

    @property
    def flag_words(self) -> int:
        """Words of flags beside word 0."""
        beyond = len(self.needs) - at.TIME_SHIFT
        return 0 if beyond <= 0 else -(-beyond // at.FLAGS_PER_WORD)

    @property
    def event_words(self) -> int:
        """Words of a kept event."""
        return 1 + self.flag_words + len(self.columns)

    @property
    def list_max(self) -> int:
        """Longest list of values that a distinct feature asks for."""
        items = (item for acc in self.accumulators for some in acc.spans.values() for item, _ in some)
        return max((item.max_distinct for item in items), default=0)

    def need(self, item: Feature, schema: Schema) -> int:
        """Return the flag number of a feature's need; -1 where every event enters."""
        # The event's time is always there: clamped, it is part of word 0.
        present = {schema.field(name).column for name in item.of if name != schema.event_time}
        wanted: Need = (-1 if item.where is None else item.where, tuple(sorted(present)))
        if wanted == (-1, ()):
            return -1
        return self.needs.setdefault(wanted, len(self.needs))

    def flag(self, where: int) -> int:
        """Return the flag number of the events for which a filter is true."""
        return self.needs.setdefault((where, ()), len(self.needs))

    def counted(self, need: int) -> Accumulator:
        """Return an accumulator of events that counts a flag."""
        for acc in self.accumulators:
            if acc.kind_class == at.CLASS_EVENTS and acc.lanes == [need]:
                return acc
        self.accumulators.append(Accumulator(at.CLASS_EVENTS, None, lanes=[need]))
        return self.accumulators[-1]

    def column(self, wanted: Column) -> int:
        """Return the number of a value column."""
        return self.columns.setdefault(wanted, len(self.columns))


def arrange(features: tuple[Feature, ...], schema: Schema) -> list[Kind]:
    """Return the kinds of key with their accumulators."""
    kinds: dict[tuple[str, ...], list[Feature]] = {}
    for item in features:
        kinds.setdefault(item.key, []).append(item)
    return [_kind(key, items, schema) for key, items in kinds.items()]


def flag_place(need: int) -> tuple[int, int]:
    """Return (event word, bit) of a need's flag; bit -1: every event has it."""
    if need < at.TIME_SHIFT:
        return 0, need
    word, bit = divmod(need - at.TIME_SHIFT, at.FLAGS_PER_WORD)
    return 1 + word, bit


def window_of(item: Feature) -> Window:
    """Return a feature's window."""
    return FOREVER if item.window_ms is None else (item.window_ms, item.resolution_ms)


def reach(window: Window) -> tuple[int, int]:
    """Return what windows are ordered by: how far back they can reach."""
    return (window[0] + window[1], window[1])


def _nests(inner: Window, outer: Window) -> bool:
    """Return whether ``outer`` begins at or before ``inner`` at every time."""
    apart = outer[0] >= inner[0] + inner[1]
    return apart or (outer[0] >= inner[0] and outer[1] % max(inner[1], 1) == 0)


def _kind(key: tuple[str, ...], features: list[Feature], schema: Schema) -> Kind:
    kind = Kind(key)
    for item in features:
        if item.agg is Agg.SEQUENCE:
            for where in filters_of(item):
                kind.flag(where)
            continue
        kind.need(item, schema)
        for column in _columns(item, schema):
            kind.column(column)
    plain = [item for item in features if item.agg is not Agg.SEQUENCE]
    for item in sorted(plain, key=lambda item: item.agg is Agg.COUNT):
        # Counts come last: they take the lanes that banks with values have left.
        need = kind.need(item, schema)
        acc = _bank(kind, item, need, schema) if _in_bank(item) else _single(kind, item, need, schema)
        acc.add(item, need)
        for payload in _payloads(item, schema):
            acc.payloads.setdefault(kind.column(payload), len(acc.payloads))
    _add_sequences(kind, [item for item in features if item.agg is Agg.SEQUENCE])
    return kind


def filters_of(item: Feature) -> tuple[int, ...]:
    """Return the filters of a sequence: its steps in order, then what begins it anew."""
    return (*item.steps, *(() if item.unless is None else (item.unless,)))


def _add_sequences(kind: Kind, features: list[Feature]) -> None:
    """Give sequences one accumulator, behind those that count the flags which they look for."""
    if not features:
        return
    found = Accumulator(at.CLASS_SEQUENCE, None)
    for item in features:
        for where in filters_of(item):
            kind.counted(kind.flag(where))
        found.spans.setdefault(window_of(item), []).append((item, 0))
    kind.accumulators.append(found)


def _in_bank(item: Feature) -> bool:
    return item.agg in NUMERIC or item.agg is Agg.COUNT


def _bank(kind: Kind, item: Feature, need: int, schema: Schema) -> Accumulator:
    """Return the bank that a feature joins: one with its lane, one with a free lane, a new one."""
    column = None if item.agg is Agg.COUNT else _columns(item, schema)[0]
    banks = [
        acc
        for acc in kind.accumulators
        if acc.kind_class == at.CLASS_BANK and (column is None or acc.column == column)
    ]
    banks = [acc for acc in banks if _shares_word(acc, need) and acc.takes(window_of(item))]
    for acc in banks:
        if need in acc.lanes:
            return acc
    for acc in banks:
        # A count costs a bank with values nothing while its vectors stay as wide as they are.
        room = acc.width if acc.column is not None and column is None else at.LANES
        if len(acc.lanes) < room:
            return acc
    kind.accumulators.append(Accumulator(at.CLASS_BANK, column))
    return kind.accumulators[-1]


def _shares_word(acc: Accumulator, need: int) -> bool:
    """Return whether a need's flag stands in the same word as a bank's other flags."""
    words = {flag_place(lane)[0] for lane in acc.lanes if lane >= 0}
    return need < 0 or not words or words == {flag_place(need)[0]}


def _single(kind: Kind, item: Feature, need: int, schema: Schema) -> Accumulator:
    kind_class, column = at.CLASS_EVENTS, None
    if item.agg is Agg.EWMA:
        kind_class, column = at.CLASS_AVERAGE, _columns(item, schema)[0]
    elif item.agg is Agg.DISTINCT:
        kind_class, column = at.CLASS_VALUES, _columns(item, schema)[0]
    for acc in kind.accumulators:
        same = (acc.kind_class, acc.column, acc.half_life) == (kind_class, column, item.half_life_ms)
        if same and acc.lanes == [need] and acc.takes(window_of(item)):
            return acc
    kind.accumulators.append(Accumulator(kind_class, column, item.half_life_ms))
    return kind.accumulators[-1]


def _columns(item: Feature, schema: Schema) -> list[Column]:
    """Return what has to be kept of an event for a feature."""
    if item.agg in NUMERIC or item.agg is Agg.EWMA:
        return [_number_column(schema.field(item.of[0]))]
    if item.agg is Agg.DISTINCT:
        return [_distinct_column(schema.field(item.of[0]), schema)]
    return _payloads(item, schema)


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


def _payloads(item: Feature, schema: Schema) -> list[Column]:
    """Return the columns that ``first`` and ``last`` give back, without the event's time."""
    if item.agg not in POINTS:
        return []
    fields = [schema.field(name) for name in item.of if name != schema.event_time]
    return [(one.column + word, at.MODE_WORD, 0) for one in fields for word in range(one.type.width)]
