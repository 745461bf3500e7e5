"""Records of the features topic as the trainer reads them: vectors and labels, each once, by intervals."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from fraudstream.models.training_rows import Told, Vector
from fraudstream.stream.intake import Fetched
from fraudstream.stream.labels import LABELS
from fraudstream.stream.wire.types import Slice

_SRC = re.compile(r"(0|[1-9]\d{0,5}):(0|[1-9]\d{0,17})")


class Item(NamedTuple):
    """One record."""

    position: int
    """Its offset on the features topic."""
    offset: int
    """Of the transaction on the input; -1: the record was not readable."""
    at_ms: int
    what: Vector | Told | None


class Place(NamedTuple):
    """How far a partition was read."""

    position: int
    """Next offset of the features topic."""
    seen: int
    """Largest offset of the input that was read; -1: none. What is not beyond it comes again."""
    clock_ms: int
    """Largest time that was read; later records with a smaller one belong to it."""


class Reading:
    """One partition of the features topic, in intervals of its own clock."""

    def __init__(self, partition: int, place: Place) -> None:
        self.partition = partition
        self.place = place
        self._items: deque[Item] = deque()
        self._fetched: Fetched | None = None

    def feed(self, fetched: Fetched, items: Sequence[Item], counts: Counter[str]) -> None:
        """Take a slice and what was read of it; the one before was read to its end."""
        self._fetched = fetched
        counts["unreadable"] += sum(item.offset < 0 for item in items)
        self._items.extend(items)
        self._finish()

    @property
    def head_ms(self) -> int | None:
        """Return the time of the next record, None if there is none here."""
        self._pass_unreadable()
        return max(self.place.clock_ms, self._items[0].at_ms) if self._items else None

    def take(self, end_ms: int, counts: Counter[str]) -> tuple[list[Vector], list[Told]]:
        """Return what comes before ``end_ms``."""
        vectors: list[Vector] = []
        told: list[Told] = []
        while (head_ms := self.head_ms) is not None and head_ms < end_ms:
            item = self._items.popleft()
            repeated = item.offset <= self.place.seen
            counts["repeated" if repeated else "taken"] += 1
            self.place = Place(item.position + 1, max(self.place.seen, item.offset), head_ms)
            if repeated or item.what is None:
                continue
            if isinstance(item.what, Vector):
                vectors.append(item.what)
            else:
                told.append(item.what)
        self._finish()
        return vectors, told

    def _pass_unreadable(self) -> None:
        while self._items and self._items[0].offset < 0:
            self.place = self.place._replace(position=self._items.popleft().position + 1)

    def _finish(self) -> None:
        self._pass_unreadable()
        if self._fetched is not None and not self._items:
            self.place = self.place._replace(position=self._fetched.end)
            self._fetched.done()
            self._fetched = None


def read_items(partition: int, records: Slice) -> list[Item]:
    """Read the records of a slice."""
    return [read_item(partition, int(records.offset[row]), records.value(row)) for row in range(len(records))]


def read_item(partition: int, position: int, value: bytes | None) -> Item:
    """Read a record of the features topic; it may be anything."""
    bad = Item(position, -1, 0, None)
    try:
        record = orjson.loads(value or b"")
        if not isinstance(record, dict):
            return bad
        number, offset = _src(record["src"])
        at_ms, kind, name = record["at"], record["event_type"], record["transaction_id"]
        values, rules_version = record["values"], record.get("rules_version", "")
    except (ValueError, KeyError, TypeError):
        return bad
    times = isinstance(at_ms, int) and 0 <= at_ms < 2**53
    texts = isinstance(name, str) and isinstance(kind, str | None) and isinstance(rules_version, str)
    if number != partition or not times or not texts or not isinstance(values, dict):
        return bad
    what: Vector | Told | None
    if kind == "label":
        what = _told(partition, offset, at_ms, record.get("label"))
    else:
        what = Vector(partition, offset, name, at_ms, kind or "", values, rules_version)
    return Item(position, offset, at_ms, what)


def _told(partition: int, own_offset: int, at_ms: int, label: Any) -> Told | None:
    """Return what a label event says, None: nothing that can be used."""
    if not isinstance(label, dict):
        return None
    try:
        number, offset = _src(label["original_src"])
        name, source, said = label["original_id"], label["source"], label["label"]
    except (ValueError, KeyError, TypeError):
        return None
    if number != partition or said not in LABELS or not isinstance(name, str) or not isinstance(source, str):
        return None
    return Told(partition, own_offset, offset, name, at_ms, said == "fraud", source)


def _src(text: Any) -> tuple[int, int]:
    found = _SRC.fullmatch(text)
    if found is None:
        raise ValueError("not partition:offset")
    return int(found[1]), int(found[2])
