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
KEY_LIFE_MS = 400 * 86_400_000


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


@dataclass
class _Kept:
    time: int
    event: Event


@dataclass
class _History:
    kept: list[_Kept] = field(default_factory=list)
    dropped: list[_Kept] = field(default_factory=list)
    last: int = -(2**62)


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
        windows = [KEY_LIFE_MS if item.window_ms is None else item.window_ms for item in features]
        if watermark is not None and watermark - history.last > max(windows) + settings.allowed_lateness_ms:
            history = self.histories[kind, key] = _History()
        current = _Kept(time, event)
        if evaluate:
            for item in features:
                result.features[item.name] = self._value(item, history, current)
                # 12. Beyond max_events_per_key: rows whose window reaches what was dropped.
                begin = time if item.window_ms is None else time - item.window_ms
                if any(one.time > begin for one in history.dropped):
                    result.flags |= Flag.APPROXIMATE
        place = len(history.kept)
        while place > 0 and history.kept[place - 1].time > time:
            place -= 1
        history.kept.insert(place, current)
        history.last = max(history.last, time)
        if len(history.kept) > settings.max_events_per_key:
            history.dropped.append(history.kept.pop(0))

    def _clamps(self, item: Feature, event: Event) -> bool:
        """10. A value beyond the bound, of an event whose key is there."""
        if item.agg not in (Agg.SUM, Agg.MEAN, Agg.STD, Agg.MIN, Agg.MAX):
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

    def _value(self, item: Feature, history: _History, current: _Kept) -> tuple[Any, ...] | None:
        as_of = current.time
        # 1., 2. as_of - w < t <= as_of, in (time, log) order, the current event last.
        chosen = [
            one
            for one in history.kept
            if (item.window_ms is None or one.time > as_of - item.window_ms)
            and one.time <= as_of
            and self._enters(item, one.event)
        ]
        gone: list[_Kept] = []
        if item.window_ms is None:
            # Without a window, what left by max_events_per_key stays as first, last and count.
            gone = [one for one in history.dropped if self._enters(item, one.event)]
        since = item.agg in (Agg.SINCE_FIRST, Agg.SINCE_LAST)
        if not item.exclude_current and not since and self._enters(item, current.event):
            chosen.append(current)
        if len(chosen) + len(gone) < item.min_count:
            return None  # 7.
        return self._aggregate(item, chosen, gone, as_of)

    def _aggregate(
        self, item: Feature, chosen: list[_Kept], gone: list[_Kept], as_of: int
    ) -> tuple[Any, ...] | None:
        if item.agg is Agg.COUNT:
            return (len(chosen),)
        if item.agg is Agg.DISTINCT:
            exact = {self._of(item.of[0], one) for one in chosen}
            return (min(len(exact), item.max_distinct),)  # 9.
        if item.agg in (Agg.FIRST, Agg.SINCE_FIRST, Agg.LAST, Agg.SINCE_LAST):
            return self._end(item, chosen, gone, as_of)
        numbers = [self._number(item, one.event) for one in chosen]
        of = self.schema.field(item.of[0])
        scale = 10.0**of.decimals if of.type is Type.NUMBER else None
        if item.agg is Agg.SUM:
            return (_scaled(sum(numbers), scale),)
        if not numbers:
            return None
        if item.agg in (Agg.MIN, Agg.MAX):
            return (_scaled(min(numbers) if item.agg is Agg.MIN else max(numbers), scale),)
        # 10. Exact sums, converted once.
        n = len(numbers)
        if item.agg is Agg.MEAN:
            result = float(sum(numbers)) / float(n)
        else:
            exact_sum = n * sum(x * x for x in numbers) - sum(numbers) ** 2
            result = math.sqrt(float(exact_sum >> 64) * 2.0**64 + float(exact_sum & (2**64 - 1))) / n
        return (result if scale is None else result / scale,)

    def _end(
        self, item: Feature, chosen: list[_Kept], gone: list[_Kept], as_of: int
    ) -> tuple[Any, ...] | None:
        """First or last event, or the time since it."""
        first = item.agg in (Agg.FIRST, Agg.SINCE_FIRST)
        found: _Kept | None
        if first:
            found = min(gone, key=lambda one: one.time, default=None)
            if found is not None and found.time > as_of:
                found = None
            if chosen and (found is None or chosen[0].time < found.time):
                found = chosen[0]
        else:
            found = max(reversed(gone), key=lambda one: one.time, default=None)
            if found is not None and found.time > as_of:
                found = None
            if chosen and (found is None or chosen[-1].time >= found.time):
                found = chosen[-1]
        if found is None:
            return None
        if item.agg in (Agg.SINCE_FIRST, Agg.SINCE_LAST):
            return (as_of - found.time,)
        return tuple(self._of(name, found) for name in item.of)

    def _of(self, name: str, one: _Kept) -> Any:
        """Return a field of an event; its time is the clamped one."""
        return one.time if name == self.schema.event_time else one.event.values[name]


def _scaled(number: int, scale: float | None) -> int | float:
    return number if scale is None else float(number) / scale
