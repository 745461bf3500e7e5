"""Prequential learning from a stream: score first, learn when the label matures.

Time is cut into intervals. Within one, vectors and labels are collected; :meth:`Training.close` then

1. scores the interval's vectors with what was known at its begin,
2. learns as legitimate what nobody called fraud for as long as labels take (``mature_ms``),
3. learns labels, source by source, each under the guard,
4. makes the versions that score the next interval, and forgets old vectors.

What an interval is made of is sorted by partition and offset, so neither the order in which partitions are
read nor where a fetch ends changes a bit; and state moves at borders only, so it and the offsets at a border
belong together whenever they are written.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
import orjson

from fraudstream.models.inputs import Input
from fraudstream.models.learners import make_learner
from fraudstream.models.members import Member
from fraudstream.models.protocol import LABEL_OUTCOMES
from fraudstream.models.pupil import Pupil
from fraudstream.models.registry_store import Entry
from fraudstream.models.training_rows import (
    LEGITIMATE,
    UNKNOWN,
    Chunk,
    Told,
    Vector,
    figures,
    id_hash_of,
    withhold,
)
from fraudstream.models.vectors import read_values

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Rules:
    """How to learn; intervals and durations in ms."""

    interval_ms: int = HOUR_MS
    mature_ms: int = 7 * 24 * HOUR_MS
    """After this long a transaction that nobody labelled is legitimate."""
    keep_ms: int = 14 * 24 * HOUR_MS
    """Vectors wait this long for labels and corrections."""
    moved_max: float = 0.02
    """A source that would move a model's mean score by more within an hour is put in quarantine."""
    export_ms: int = 24 * HOUR_MS
    """Time between two versions for the registry."""
    begin_rows: int = 1_000
    """A learner begins with this many matured rows and all that is labelled: one that makes bins or scales of
    its first rows must not see the few frauds that are known first."""


class Export(NamedTuple):
    """A version for the registry."""

    model: str
    members: tuple[Member, ...]


@dataclass(slots=True)
class Closed:
    """What came of an interval."""

    end_ms: int
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LABEL_OUTCOMES, 0))
    delay_ms: list[int] = field(default_factory=list)
    """From a transaction to its label."""
    quarantined: list[tuple[str, str, float]] = field(default_factory=list)
    """(source, model, how far the mean score would have moved)."""
    exports: list[Export] = field(default_factory=list)


class Training:
    """Learners of a registry on one stream."""

    def __init__(self, entries: Sequence[Entry], registry: Mapping[str, Entry], rules: Rules) -> None:
        self.rules = rules
        self.names = tuple(entry.id for entry in entries)
        wanted: dict[Input, None] = {}
        for entry in entries:
            for one in (entry, *(registry[part] for part in entry.parts if part in registry)):
                wanted.update(dict.fromkeys(one.inputs))
        self.inputs = tuple(wanted)
        self._pupils = [
            Pupil(at, entry, make_learner(entry, registry, self.inputs), self.inputs)
            for at, entry in enumerate(entries)
        ]
        self._exported_ms = 0
        self._first_ms = 0
        self._chunks: list[Chunk] = []
        self._moved: dict[str, tuple[int, list[float]]] = {}
        """Source -> (hour, how far it moved each model's mean score in it)."""
        self.quarantine: set[str] = set()
        self._bundles: list[str] = []
        """Of the vectors since the last export."""
        self._new_bundles: set[str] = set()
        self._parts: list[tuple[Any, ...]] = []
        self._told: list[Told] = []

    # Collecting --------------------------------------------------------------------------------------

    def add(self, vectors: Iterable[Vector], told: Iterable[Told]) -> None:
        """Collect what belongs to the running interval."""
        self._told += told
        vectors = [vector for vector in vectors if any(self._in_scope(vector))]
        if not vectors:
            return
        self._new_bundles |= {vector.rules_version for vector in vectors}
        x, present = read_values([vector.values for vector in vectors], self.inputs)
        columns = [
            np.array([getattr(vector, name) for vector in vectors], np.int64)
            for name in ("partition", "offset", "at_ms")
        ]
        ids = np.array([id_hash_of(vector.transaction_id) for vector in vectors], np.int64)
        wanted = np.array([self._in_scope(vector) for vector in vectors], np.uint8)
        self._parts.append((*columns, ids, x, present, wanted))

    def _in_scope(self, vector: Vector) -> list[bool]:
        return [pupil.in_scope(vector) for pupil in self._pupils]

    # Closing -----------------------------------------------------------------------------------------

    def close(self, end_ms: int) -> Closed:
        """Close the interval that ends at ``end_ms``."""
        done = Closed(end_ms)
        # Step 1. score with what was known before.
        if self._parts:
            self._chunks.append(self._chunk(end_ms))
            self._parts = []
        self._first_ms = self._first_ms or end_ms
        self._bundles = sorted({*self._bundles, *self._new_bundles} - {""})
        self._new_bundles = set()
        # Step 2. what nobody called fraud is legitimate now.
        self._mature(end_ms)
        # Step 3. labels, source by source.
        told, self._told = self._told, []
        for source in sorted({one.source for one in told}):
            mine = sorted(one for one in told if one.source == source)
            self._listen(source, mine, end_ms, done)
        # Step 4. versions for the next interval.
        self._chunks = [chunk for chunk in self._chunks if chunk.end_ms > end_ms - self.rules.keep_ms]
        for pupil in self._pupils:
            pupil.renew()
        self._export(end_ms, done)
        return done

    def _chunk(self, end_ms: int) -> Chunk:
        columns = [np.concatenate(parts) for parts in zip(*self._parts, strict=True)]
        order = np.lexsort((columns[1], columns[0]))
        partition, offset, at_ms, ids, x, present, wanted = (column[order] for column in columns)
        score = np.stack(
            [pupil.scores(x, present, wanted[:, at]) for at, pupil in enumerate(self._pupils)], axis=1
        )
        state = np.full(len(offset), UNKNOWN, np.int8)
        return Chunk(end_ms, partition, offset, ids, at_ms, x, present, wanted, score, state)

    def _mature(self, end_ms: int) -> None:
        for chunk in self._chunks:
            if chunk.matured or chunk.end_ms > end_ms - self.rules.mature_ms:
                continue
            chunk.matured = True
            rows = np.flatnonzero(chunk.state == UNKNOWN)
            chunk.state[rows] = LEGITIMATE
            for pupil in self._pupils:
                pupil.learn(chunk, rows, fraud=False)
        for pupil in self._pupils:
            pupil.begin(self._chunks, self.rules.begin_rows)

    def _listen(self, source: str, told: Sequence[Told], end_ms: int, done: Closed) -> None:
        """Learn what one source says, unless that moves a model too far."""
        news: dict[tuple[int, int], tuple[Chunk, int, bool]] = {}
        for one in told:
            place = self._find(one)
            if place is None:
                done.counts["unmatched"] += 1
                continue
            chunk, row = place
            done.delay_ms.append(one.at_ms - int(chunk.at_ms[row]))
            if source in self.quarantine:
                done.counts["withheld"] += 1
                withhold(chunk, row)
                continue
            # The last word of a source counts.
            if news.pop((one.partition, one.offset), None) is not None:
                done.counts["repeated"] += 1
            if chunk.state[row] == int(one.fraud):
                done.counts["repeated"] += 1
                continue
            news[one.partition, one.offset] = chunk, row, one.fraud
        if not news:
            return
        means = [pupil.mean(self._chunks) for pupil in self._pupils]
        guarded = any(mean is not None for mean in means)
        before = pickle.dumps([pupil.state() for pupil in self._pupils]) if guarded else b""
        for chunk, row, fraud in news.values():
            for pupil in self._pupils:
                pupil.learn(chunk, np.array([row]), fraud=fraud)
        if (bad := self._too_far(source, means, end_ms)) is not None:
            for pupil, state in zip(self._pupils, pickle.loads(before), strict=True):  # noqa: S301 - own bytes
                pupil.restore(state)
            self.quarantine.add(source)
            done.quarantined.append((source, *bad))
            done.counts["withheld"] += len(news)
            for chunk, row, _ in news.values():
                withhold(chunk, row)
            return
        done.counts["learned"] += len(news)
        for chunk, row, fraud in news.values():
            chunk.state[row] = int(fraud)

    def _find(self, told: Told) -> tuple[Chunk, int] | None:
        """Return where the vector of a label is; its id has to be the label's."""
        wanted = id_hash_of(told.transaction_id)
        for chunk in reversed(self._chunks):
            begin, end = np.searchsorted(chunk.partition, [told.partition, told.partition + 1])
            row = begin + int(np.searchsorted(chunk.offset[begin:end], told.offset))
            if row < end and chunk.offset[row] == told.offset:
                return (chunk, int(row)) if chunk.id_hash[row] == wanted else None
        return None

    def _too_far(self, source: str, before: Sequence[float | None], end_ms: int) -> tuple[str, float] | None:
        """Add what a source moved to its account of the hour; return what is beyond the bound."""
        hour = end_ms // HOUR_MS
        known, moved = self._moved.get(source, (hour, [0.0] * len(self.names)))
        sums = list(moved) if known == hour else [0.0] * len(self.names)
        for at, mean in enumerate(before):
            if mean is None:
                continue
            now = self._pupils[at].mean(self._chunks)
            assert now is not None
            sums[at] += now - mean
            if abs(sums[at]) > self.rules.moved_max:
                return self.names[at], sums[at]
        self._moved = {name: item for name, item in self._moved.items() if item[0] == hour}
        self._moved[source] = hour, sums
        return None

    # Versions ----------------------------------------------------------------------------------------

    def _export(self, end_ms: int, done: Closed) -> None:
        if end_ms // self.rules.export_ms == self._exported_ms // self.rules.export_ms:
            return
        self._exported_ms = end_ms
        for pupil in self._pupils:
            score, fraud = pupil.measured(self._chunks)
            card = {
                "window": [self._first_ms, end_ms],
                "rules_versions": list(self._bundles),
                "code": version("fraudstream"),
                "river": version("river"),
                "mature_ms": self.rules.mature_ms,
                "quarantined": sorted(self.quarantine),
                "metrics": figures(score, fraud),
            }
            if members := pupil.export(score, fraud, card):
                done.exports.append(Export(pupil.entry.id, members))
        self._bundles = []

    def quality(self) -> dict[str, dict[str, float]]:
        """Return, for each model, the figures of its prequential scores over the matured vectors kept."""
        return {pupil.entry.id: figures(*pupil.measured(self._chunks)) for pupil in self._pupils}

    @property
    def rows(self) -> int:
        """Return how many vectors are kept."""
        return sum(len(chunk.offset) for chunk in self._chunks)

    # State -------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return everything but what was collected since the last border; not a copy."""
        return {
            "names": self.names,
            "inputs": [tuple(item) for item in self.inputs],
            "pupils": [pupil.state() for pupil in self._pupils],
            "chunks": [(chunk.end_ms, chunk.matured, chunk.arrays()) for chunk in self._chunks],
            "quarantine": sorted(self.quarantine),
            **{name: getattr(self, f"_{name}") for name in _PLAIN},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of the same models.

        Raises:
            ValueError: it is of others.
        """
        inputs = [tuple(item) for item in self.inputs]
        if (state["names"], state["inputs"]) != (self.names, inputs):
            raise ValueError("the snapshot is of other models or of other inputs of theirs")
        for pupil, one in zip(self._pupils, state["pupils"], strict=True):
            pupil.restore(one)
        self._chunks = [
            Chunk(end_ms, matured=matured, **arrays) for end_ms, matured, arrays in state["chunks"]
        ]
        self.quarantine = set(state["quarantine"])
        for name in _PLAIN:
            setattr(self, f"_{name}", state[name])

    def digest(self) -> str:
        """Return a hash of the state: versions, vectors, labels, counts and accounts."""
        found = hashlib.sha256()
        plain = {name: getattr(self, f"_{name}") for name in _PLAIN}
        plain |= {"quarantine": sorted(self.quarantine), "pupils": [pupil.plain() for pupil in self._pupils]}
        found.update(orjson.dumps(plain, option=orjson.OPT_SORT_KEYS))
        for pupil in self._pupils:
            found.update(pupil.version_bytes())
        for chunk in self._chunks:
            found.update(b"%d %d" % (chunk.end_ms, chunk.matured))
            for array in chunk.arrays().values():
                found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()


_PLAIN = ("exported_ms", "first_ms", "moved", "bundles")
