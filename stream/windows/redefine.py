"""Other definitions over a state that goes on: what both know is carried over, what is new maps to warm.

A feature is known by the hash of its definition, so a renamed one keeps its state. A new one sees only what
comes after the change: until its window has moved there it is *missing* (see :class:`Warming`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fraudstream.rules.bundle import Feature, FeatureSet, Schema
from fraudstream.stream.windows import kernel_redefine as kernel
from fraudstream.stream.windows import layout as at
from fraudstream.stream.windows.accumulators import Accumulator, Kind, arrange, flag_place

LARGEST = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Warming:
    """Features whose windows reach back to before they were defined."""

    born: Mapping[str, int]
    """Hash of a definition -> watermark when it was new, ms."""

    def carried(self, old: FeatureSet, new: FeatureSet, watermark_ms: int) -> Warming:
        """Return what is warming after a change at a watermark."""
        known = {item.hash for item in old.features}
        born = {item.hash: watermark_ms for item in new.features if item.hash not in known}
        born |= {item.hash: self.born[item.hash] for item in new.features if item.hash in self.born}
        return Warming(born)

    def remaining(self, features: FeatureSet, watermark_ms: int) -> dict[str, int]:
        """Return those that some event still to come may reach back for, in canonical order."""
        oldest = watermark_ms - features.time.allowed_lateness_ms
        reaching = {
            item.hash: self.born[item.hash]
            for item in features.features
            if item.hash in self.born and _begin(item, np.array([oldest]))[0] < self.born[item.hash]
        }
        return dict(sorted(reaching.items()))

    def hide(
        self,
        features: FeatureSet,
        as_of_ms: NDArray[np.int64],
        value: NDArray[np.int64],
        state: NDArray[np.uint8],
    ) -> None:
        """Make features missing, [n, F], on the rows whose windows begin before they were defined."""
        for item in features.features:
            born = self.born.get(item.hash)
            if born is None:
                continue
            rows = _begin(item, as_of_ms) < born
            for slot in item.outputs:
                span = slice(slot.column, slot.column + slot.type.width)
                value[rows, span] = 0
                state[rows, span] = 0


def _begin(item: Feature, as_of_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the times after which events are in a feature's window."""
    begin = as_of_ms - (at.KEY_LIFE_MS if item.window_ms is None else item.window_ms)
    return begin if not item.resolution_ms else begin // item.resolution_ms * item.resolution_ms


def carry_over(
    old: FeatureSet, new: FeatureSet, schema: Schema, words: NDArray[np.int64]
) -> tuple[NDArray[np.int64], dict[int, int]]:
    """Return the records of keys (see :mod:`kernel_export`) as the new definitions keep them.

    Also returns which old kind of key is which new one; kinds of which no definition is known are left out.
    """
    before, after = arrange(old.features, schema), arrange(new.features, schema)
    known = {item.hash for item in old.features}
    kept = {item.key for item in new.features if item.hash in known}
    places = {kind.key: number for number, kind in enumerate(after)}
    kinds: dict[int, int] = {}
    maps = np.zeros((len(before), kernel.MAP_WORDS), np.int64)
    table: list[int] = []
    for number, kind in enumerate(before):
        maps[number, kernel.M_KIND] = -1
        if kind.key not in kept:
            continue
        kinds[number] = places[kind.key]
        found = _map_kind(_Side(old, kind), _Side(new, after[places[kind.key]]), table)
        maps[number] = (places[kind.key], *found)
    lists = np.array(table or [0], np.int64)
    out = np.empty(kernel.carried_words(words, maps), np.int64)
    return out[: kernel.carry(words, maps, lists, out)], kinds


@dataclass(frozen=True, slots=True)
class _Side:
    """One kind of key under one set of definitions."""

    features: FeatureSet
    kind: Kind

    def need(self, number: int) -> object:
        """Return what a flag means, the same under both sets."""
        if number < 0:
            return None
        where, present = next(need for need, n in self.kind.needs.items() if n == number)
        return (None if where < 0 else self.features.filters[where], present)

    def frozen(self) -> list[Named]:
        """Return the words of the frozen records."""
        return _record_words(self, [acc for acc in self.kind.accumulators if acc.is_frozen], 0)

    def pane(self) -> tuple[list[Named], list[int]]:
        """Return the words of a pane, and an empty pane."""
        words: list[Named] = [("pane", 0)]
        empty = [0]
        for acc in self.kind.accumulators:
            for lane, number in enumerate(acc.lanes):
                need = self.need(number)
                words.append((("count", need), len(empty) + lane))
                for vector in range(1, acc.prefix_words // acc.width):
                    name = ("sum", acc.column, need, vector)
                    words.append((name, len(empty) + vector * acc.width + lane))
            empty += [0] * acc.prefix_words
        for acc in self.kind.accumulators:
            half = acc.level_words // 2
            for lane, number in enumerate(acc.lanes if half else []):
                need = self.need(number)
                words.append((("least", acc.column, need), len(empty) + lane))
                words.append((("most", acc.column, need), len(empty) + half + lane))
            empty += [LARGEST] * half + [-LARGEST] * half
        records = [acc for acc in self.kind.accumulators if acc.has_positions]
        words += _record_words(self, records, len(empty))
        return words, empty + [0] * sum(acc.record_words for acc in records)

    def lists(self) -> list[object]:
        """Return what each list of values holds."""
        return [
            (acc.column, self.need(acc.lanes[0]))
            for acc in self.kind.accumulators
            if acc.kind_class == at.CLASS_VALUES
        ]


Named = tuple[object, int]
"""What a word means, the same under all definitions, and its place. A meaning may have several places."""


def _record_words(side: _Side, accumulators: list[Accumulator], place: int) -> list[Named]:
    """Return the words of records that stand one after the other from ``place`` on."""
    words: list[Named] = []
    columns = {number: column for column, number in side.kind.columns.items()}
    for acc in accumulators:
        name = (acc.kind_class, acc.half_life, acc.column, side.need(acc.lanes[0]))
        head = at.R_AVERAGE if acc.kind_class == at.CLASS_AVERAGE else at.R_PAYLOAD
        words += [((name, "record", word), place + word) for word in range(head)]
        for number, payload in acc.payloads.items():
            words.append(((name, "first", columns[number]), place + head + payload))
            words.append(((name, "last", columns[number]), place + head + len(acc.payloads) + payload))
        place += acc.record_words
    return words


def _map_kind(old: _Side, new: _Side, table: list[int]) -> tuple[int, ...]:
    """Write the lists of a kind's map and return its words behind the kind."""

    def add(items: list[int]) -> tuple[int, int]:
        table.extend(items)
        return len(table) - len(items), len(items)

    flags: list[int] = []
    meaning = {new.need(number): number for number in new.kind.needs.values()}
    for number in old.kind.needs.values():
        if (same := meaning.get(old.need(number))) is not None:
            flags += [*flag_place(number), *flag_place(same)]
    first_old, first_new = 1 + old.kind.flag_words, 1 + new.kind.flag_words
    columns: list[int] = []
    for column, number in old.kind.columns.items():
        if column in new.kind.columns:
            columns += [first_old + number, first_new + new.kind.columns[column]]
    frozen = _pairs(old.frozen(), new.frozen())
    old_pane, old_empty = old.pane()
    new_pane, new_empty = new.pane()
    listed = old.lists()
    lists = [listed.index(name) if name in listed else -1 for name in new.lists()]
    return (
        old.kind.event_words,
        new.kind.event_words,
        *add(flags),
        *add(columns),
        sum(acc.record_words for acc in old.kind.accumulators if acc.is_frozen),
        sum(acc.record_words for acc in new.kind.accumulators if acc.is_frozen),
        *add(frozen),
        len(old_empty),
        *add(new_empty),
        *add(_pairs(old_pane, new_pane)),
        *add(lists),
        new.kind.list_max,
    )


def _pairs(old: list[Named], new: list[Named]) -> list[int]:
    """Return (old place, new place) for every new word that the old ones tell."""
    places = dict(reversed(old))
    return [word for name, place in new if name in places for word in (places[name], place)]
