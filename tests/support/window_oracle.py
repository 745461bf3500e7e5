"""The window contract read literally: Python integers, one scan of a list for each event and feature.

Nothing here knows how the engine works. It is written from the contract's rules, whose numbers stand beside
what they govern.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from fraudstream.rules.bundle import Agg, Feature, FeatureSet, Schema, Type
from fraudstream.stream.outcome import Flag

BOUND = 2**40 - 1
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
KEY_LIFE_MS = 400 * DAY


@dataclass(frozen=True)
class Event:
    """One accepted record."""

    offset: int
    record_time_ms: int
    body: str
    """Stands for all decoded fields: two records with one id and one body are the same transaction."""
    values: Mapping[str, Any]
    """Field -> value; missing fields are absent."""
    filters: tuple[bool, ...] = ()
    """Which filters are true."""


@dataclass
class Judged:
    """What the oracle says about one event."""

    flags: int = 0
    as_of_ms: int = 0
    duplicate_of: int = -1
    features: dict[str, tuple[Any, ...] | None] = field(default_factory=dict)
    """Feature -> a value for each output, None: missing."""
    size: dict[str, float] = field(default_factory=dict)
    """`ewma` feature -> the same average of absolute values: what its error is relative to."""


@dataclass
class _Kept:
    time: int
    event: Event


@dataclass
class _History:
    kept: list[_Kept] = field(default_factory=list)
    folded: list[_Kept] = field(default_factory=list)
    """12. What left for panes because the key had too many events, in (time, log) order."""
    last: int = -(2**62)


class _Panes:
    """12. and 11.: how long the panes are in which a kind's folded events stand."""

    def __init__(self, features: list[Feature], lateness: int) -> None:
        exact = [item.window_ms for item in features if item.window_ms and not item.resolution_ms]
        self.age = max(exact, default=0) + lateness
        """Events of this age are in no exact window any more."""
        paned = [
            (item.window_ms + item.resolution_ms + lateness, item.resolution_ms)
            for item in features
            if item.window_ms is not None and item.resolution_ms
        ]
        ages = sorted({self.age} | {reach for reach, _ in paned if reach > self.age})
        steps = [(age, math.gcd(*(pane for reach, pane in paned if reach > age))) for age in ages]
        self.steps = [step for step in steps if step[1]]
        self.first = self.steps[0][1] if self.steps else None
        """Panes of events that are not beyond `max_events_per_key`, where there are any."""
        if self.age > DAY + lateness:
            self.steps.insert(0, (DAY + lateness, math.gcd(HOUR, *(step[1] for step in self.steps[:1]))))

    def of(self, time: int, watermark: int) -> tuple[int, int]:
        """Return (begin, end] of the pane of a folded event."""
        minute = _ceil(time, MINUTE)
        pane = MINUTE
        for age, longer in self.steps:
            if _ceil(minute, longer) <= watermark - age:
                pane = longer
        return _ceil(minute, pane) - pane, _ceil(minute, pane)


def _ceil(time: int, pane: int) -> int:
    return -(-time // pane) * pane


@dataclass
class _Entry:
    body: str
    time: int
    offset: int


class Oracle:
    """State of one partition."""

    def __init__(self, features: FeatureSet, schema: Schema) -> None:
        self.features = features
        self.schema = schema
        self.watermark: int | None = None
        self.size = 0.0
        self.entries: dict[str, list[_Entry]] = {}
        self.histories: dict[tuple[tuple[str, ...], tuple[Any, ...]], _History] = {}

    def judge(self, event: Event, start_from: int = 0, *, evaluate: bool = True) -> Judged:
        """Take the next event in log order."""
        time_settings = self.features.time
        result = Judged()
        time = event.values[self.schema.event_time]
        # 5. An event more than max_skew ahead of its record is clamped to the record's time.
        if event.record_time_ms != -1 and time - event.record_time_ms > time_settings.max_skew_ms:
            time = event.record_time_ms
            result.flags |= Flag.CLOCK_SKEW
        result.as_of_ms = time
        # 3. Once.
        identity = event.values[self.schema.event_id]
        remembered = [
            entry
            for entry in self.entries.setdefault(identity, [])
            if self.watermark is None or entry.time >= self.watermark - time_settings.dedup_ms
        ]
        for entry in remembered:
            if entry.body == event.body:
                result.flags |= Flag.DUPLICATE
                result.duplicate_of = entry.offset
                result.features = dict.fromkeys(item.name for item in self.features.features)
                return result
        if remembered:
            result.flags |= Flag.ID_REUSE
        if event.offset >= start_from:
            self.entries[identity].append(_Entry(event.body, time, event.offset))
        # 4. Older than the allowed lateness: decided, everything missing, enters nothing.
        watermark = self.watermark
        if watermark is not None and time < watermark - time_settings.allowed_lateness_ms:
            result.flags |= Flag.LATE
            result.features = dict.fromkeys(item.name for item in self.features.features)
            return result
        # 6. Watermark.
        self.watermark = time if watermark is None else max(watermark, time)
        if any(self._clamps(item, event) for item in self.features.features):
            result.flags |= Flag.APPROXIMATE
        for kind in dict.fromkeys(item.key for item in self.features.features):
            self._advance(kind, event, time, watermark, result, evaluate=evaluate)
        return result

    def _advance(
        self,
        kind: tuple[str, ...],
        event: Event,
        time: int,
        watermark: int | None,
        result: Judged,
        *,
        evaluate: bool,
    ) -> None:
        features = [item for item in self.features.features if item.key == kind]
        if any(name not in event.values for name in kind):
            result.features |= dict.fromkeys(item.name for item in features)  # 8. a missing key
            return
        # 8. Keys compare by type and exact value.
        key = tuple((type(event.values[name]), event.values[name]) for name in kind)
        history = self.histories.setdefault((kind, key), _History())
        settings = self.features.time
        # 12. Eviction.
        windows = [
            KEY_LIFE_MS if item.window_ms is None else item.window_ms + item.resolution_ms
            for item in features
        ]
        if watermark is not None and watermark - history.last > max(windows) + settings.allowed_lateness_ms:
            history = self.histories[kind, key] = _History()
        current = _Kept(time, event)
        panes = _Panes(features, settings.allowed_lateness_ms)
        now = time if watermark is None else watermark
        folded = [(one, *panes.of(one.time, now)) for one in history.folded]
        if evaluate:
            for item in features:
                result.features[item.name] = self._value(item, history, folded, current, now - panes.age)
                result.size[item.name] = self.size
                # 12. Rows whose window reaches a folded pane; without a window: that lie in one or before.
                if any(
                    _ceil(one.time, MINUTE) > time if item.window_ms is None else end > _begin(item, time)
                    for one, _, end in folded
                ):
                    result.flags |= Flag.APPROXIMATE
        _insert(history.kept, current)
        history.last = max(history.last, time)
        counted = [one for one in history.kept if watermark is None or one.time > watermark - panes.age]
        if len(counted) > settings.max_events_per_key:
            # With it goes what is older and not yet in a whole pane of 11.
            older = history.kept[: history.kept.index(counted[0])]
            whole = 0 if watermark is None else watermark - panes.age
            for one in [*older, counted[0]]:
                in_pane = panes.first is None or _ceil(one.time, panes.first) <= whole
                if one is counted[0] or not in_pane:
                    history.kept.remove(one)
                    _insert(history.folded, one)

    def _clamps(self, item: Feature, event: Event) -> bool:
        """10. A value beyond the bound, of an event whose key is there."""
        if item.agg not in (Agg.SUM, Agg.MEAN, Agg.STD, Agg.MIN, Agg.MAX, Agg.EWMA):
            return False
        if any(name not in event.values for name in item.key) or item.of[0] not in event.values:
            return False
        return abs(self._exact(item, event)) > BOUND

    def _exact(self, item: Feature, event: Event) -> int:
        of = self.schema.field(item.of[0])
        value = event.values[of.name]
        if of.type is Type.NUMBER:
            return int((Decimal(repr(value)) * 10**of.decimals).to_integral_value())
        return int(value)

    def _number(self, item: Feature, event: Event) -> int:
        return max(-BOUND, min(BOUND, self._exact(item, event)))

    def _enters(self, item: Feature, event: Event) -> bool:
        """2. `where` is true, and `of` is present."""
        return (item.where is None or event.filters[item.where]) and all(
            name in event.values for name in item.of
        )

    def _value(
        self,
        item: Feature,
        history: _History,
        folded: list[tuple[_Kept, int, int]],
        current: _Kept,
        settled: int,
    ) -> tuple[Any, ...] | None:
        as_of, begin = current.time, _begin(item, current.time)
        if item.agg is Agg.SEQUENCE:
            return (int(_in_order(item, history, current, begin)),)
        # 1., 2. as_of - w < t <= as_of, in (time, log) order, the current event last.
        chosen = [
            one
            for one in history.kept
            if one.time > begin and one.time <= as_of and self._enters(item, one.event)
        ]
        # 12. A folded pane is seen whole; without a window all of them count.
        gone = [
            one
            for one, first, last in folded
            if self._enters(item, one.event) and (item.window_ms is None or (last > begin and first < as_of))
        ]
        since = item.agg in (Agg.SINCE_FIRST, Agg.SINCE_LAST)
        if not item.exclude_current and not since and self._enters(item, current.event):
            chosen.append(current)
        if len(chosen) + len(gone) < item.min_count:
            return None  # 7.
        if item.agg is Agg.DISTINCT:
            # Of a value in folded panes only its newest place there is known.
            newest = {
                self._of(item.of[0], one): last for one, _, last in folded if self._enters(item, one.event)
            }
            exact = {self._of(item.of[0], one) for one in chosen}
            exact |= {value for value, last in newest.items() if last > begin}
            return (min(len(exact), item.max_distinct),)  # 9.
        return self._aggregate(item, chosen, gone, current, settled)

    def _aggregate(
        self, item: Feature, chosen: list[_Kept], gone: list[_Kept], current: _Kept, settled: int
    ) -> tuple[Any, ...] | None:
        if item.agg is Agg.COUNT:
            return (len(gone) + len(chosen),)
        if item.agg in (Agg.FIRST, Agg.SINCE_FIRST, Agg.LAST, Agg.SINCE_LAST):
            return self._end(item, chosen, gone, current, settled)
        numbers = [self._number(item, one.event) for one in [*gone, *chosen]]
        of = self.schema.field(item.of[0])
        scale = 10.0**of.decimals if of.type is Type.NUMBER else None
        if item.agg is Agg.SUM:
            return (_scaled(sum(numbers), scale),)
        if not numbers:
            return None
        if item.agg in (Agg.MIN, Agg.MAX):
            return (_scaled(min(numbers) if item.agg is Agg.MIN else max(numbers), scale),)
        n = len(numbers)
        if item.agg is Agg.EWMA:
            # 10. The closed sum; what is compared allows 1e-9.
            times = [one.time for one in [*gone, *chosen]]
            newest = max(times)
            weights = [Decimal(2) ** (Decimal(time - newest) / item.half_life_ms) for time in times]
            result, self.size = (
                float(sum(w * x for w, x in zip(weights, items, strict=True)) / sum(weights))
                for items in (numbers, [abs(x) for x in numbers])
            )
        elif item.agg is Agg.MEAN:
            # 10. Exact sums, converted once.
            result = float(sum(numbers)) / float(n)
        else:
            exact_sum = n * sum(x * x for x in numbers) - sum(numbers) ** 2
            result = math.sqrt(float(exact_sum >> 64) * 2.0**64 + float(exact_sum & (2**64 - 1))) / n
        return (result if scale is None else result / scale,)

    def _end(
        self, item: Feature, chosen: list[_Kept], gone: list[_Kept], current: _Kept, settled: int
    ) -> tuple[Any, ...] | None:
        """First or last event, or the time since it."""
        as_of = current.time
        first = item.agg in (Agg.FIRST, Agg.SINCE_FIRST)
        ends = gone[:1] if first else gone[-1:]
        if item.window_ms is None:
            # Without a window the first and the last folded event are known with their times.
            if not first and ends and ends[0].time > as_of:
                # A folded event that is not there yet hides those that no exact window can see any more.
                chosen = [one for one in chosen if one is current or one.time > settled]
            ends = [one for one in ends if one.time <= as_of]
        # The current event is the last of all.
        candidates = sorted([*ends, *chosen], key=lambda one: (one is current, one.time))
        if not candidates:
            return None
        found = candidates[0] if first else candidates[-1]
        if item.agg in (Agg.SINCE_FIRST, Agg.SINCE_LAST):
            return (max(as_of - found.time, 0),)
        return tuple(self._of(name, found) for name in item.of)

    def _of(self, name: str, one: _Kept) -> Any:
        """Return a field of an event; its time is the clamped one."""
        return one.time if name == self.schema.event_time else one.event.values[name]


def _scaled(number: int, scale: float | None) -> int | float:
    return number if scale is None else float(number) / scale


def _in_order(item: Feature, history: _History, current: _Kept, begin: int) -> bool:
    """One timestamp for each step: when the latest run up to it began. `unless` clears them."""
    began: list[int | None] = [None] * len(item.steps)
    for one in history.kept:
        if one.time > current.time:
            break
        if item.unless is not None and one.event.filters[item.unless]:
            began = [None] * len(item.steps)
        for step in reversed(range(len(item.steps))):
            if one.event.filters[item.steps[step]]:
                before = one.time if step == 0 else began[step - 1]
                began[step] = before if before is not None else began[step]
    if item.unless is not None and current.event.filters[item.unless]:
        return False
    return began[-1] is not None and began[-1] > begin


def _begin(item: Feature, as_of: int) -> int:
    """Return the time after which events are in the window."""
    if item.window_ms is None:
        return -(2**62)
    begin = as_of - item.window_ms
    # 11. Panes of r: t > r * floor((as_of - w) / r).
    return begin // item.resolution_ms * item.resolution_ms if item.resolution_ms else begin


def _insert(kept: list[_Kept], one: _Kept) -> None:
    place = len(kept)
    while place > 0 and kept[place - 1].time > one.time:
        place -= 1
    kept.insert(place, one)
