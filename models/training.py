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
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from fraudstream.models.calibration import compose, fit_platt
from fraudstream.models.file import dump_models, load_model
from fraudstream.models.inputs import F64, I64, U8, Input
from fraudstream.models.learners import Learner, make_learner
from fraudstream.models.members import Member
from fraudstream.models.model import Model
from fraudstream.models.protocol import LABEL_OUTCOMES
from fraudstream.models.registry_store import Entry
from fraudstream.models.training_rows import (
    FRAUD,
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
PROBES = 1_000
"""Newest vectors whose mean score the guard watches."""
GUARDED_FROM = 2_000
"""Rows that a learner has to know before a source can be told from what teaches it in the first place."""


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
        self._entries = tuple(entries)
        wanted: dict[Input, None] = {}
        for entry in entries:
            for one in (entry, *(registry[part] for part in entry.parts if part in registry)):
                wanted.update(dict.fromkeys(one.inputs))
        self.inputs = tuple(wanted)
        self._learners: list[Learner] = [make_learner(entry, registry, self.inputs) for entry in entries]
        self._base: list[bytes] = [b""] * len(entries)
        """Files of the versions that score the running interval, not calibrated; empty: none yet."""
        self._models: list[Model | None] = [None] * len(entries)
        self._changed = [False] * len(entries)
        """Learned something since the last export."""
        self._stale = [False] * len(entries)
        """Learned something that its version does not know."""
        self._learned = [0] * len(entries)
        self._frauds = [0] * len(entries)
        self._begun = [False] * len(entries)
        self._calibration: list[tuple[float, float] | None] = [None] * len(entries)
        self._parents: list[str | None] = [None] * len(entries)
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
        return [
            (vector.event_type in entry.events if entry.events else vector.event_type != "label")
            and all(vector.values.get(name) in values for name, values in entry.where.items())
            for entry in self._entries
        ]

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
        for at in range(len(self.names)):
            self._renew(at)
        self._export(end_ms, done)
        return done

    def _chunk(self, end_ms: int) -> Chunk:
        columns = [np.concatenate(parts) for parts in zip(*self._parts, strict=True)]
        order = np.lexsort((columns[1], columns[0]))
        partition, offset, at_ms, ids, x, present, wanted = (column[order] for column in columns)
        score = np.full(wanted.shape, np.nan)
        for at, model in enumerate(self._models):
            if model is not None:
                score[:, at] = _scores(model, self._columns(model), x, present, wanted[:, at])
        state = np.full(len(offset), UNKNOWN, np.int8)
        return Chunk(end_ms, partition, offset, ids, at_ms, x, present, wanted, score, state)

    def _mature(self, end_ms: int) -> None:
        for chunk in self._chunks:
            if chunk.matured or chunk.end_ms > end_ms - self.rules.mature_ms:
                continue
            chunk.matured = True
            rows = np.flatnonzero(chunk.state == UNKNOWN)
            chunk.state[rows] = LEGITIMATE
            for at in range(len(self.names)):
                self._learn(at, chunk, rows, LEGITIMATE)

        for at in range(len(self.names)):
            self._begin(at)

    def _begin(self, at: int) -> None:
        """Let a learner begin with all that is known, once that is enough."""
        wanted = [np.flatnonzero((chunk.state >= 0) & (chunk.wanted[:, at] == 1)) for chunk in self._chunks]
        matured = sum(len(rows) for chunk, rows in zip(self._chunks, wanted, strict=True) if chunk.matured)
        if self._begun[at] or matured < self.rules.begin_rows:
            return
        self._begun[at] = True
        known = [(chunk, rows) for chunk, rows in zip(self._chunks, wanted, strict=True) if len(rows)]
        self._teach(
            at,
            np.concatenate([chunk.x[rows] for chunk, rows in known]),
            np.concatenate([chunk.present[rows] for chunk, rows in known]),
            np.concatenate([chunk.state[rows] == FRAUD for chunk, rows in known]),
            np.concatenate([chunk.at_ms[rows] for chunk, rows in known]),
        )

    def _learn(self, at: int, chunk: Chunk, rows: NDArray[np.intp], state: int) -> None:
        """Let a learner that has begun learn rows; another one finds them when it begins."""
        rows = rows[chunk.wanted[rows, at] == 1]
        if self._begun[at] and len(rows):
            fraud = np.full(len(rows), state == FRAUD)
            self._teach(at, chunk.x[rows], chunk.present[rows], fraud, chunk.at_ms[rows])

    def _teach(self, at: int, x: F64, present: U8, fraud: NDArray[np.bool_], at_ms: I64) -> None:
        self._learners[at].learn(x, present, fraud, at_ms)
        self._learned[at] += len(fraud)
        self._frauds[at] += int(fraud.sum())
        self._changed[at] = self._stale[at] = True

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
        means = [self._mean(at) for at in range(len(self.names))]
        guarded = any(mean is not None for mean in means)
        before = pickle.dumps([learner.state() for learner in self._learners]) if guarded else b""
        counts = list(self._learned), list(self._frauds), list(self._changed), list(self._stale)
        for chunk, row, fraud in news.values():
            for at in range(len(self.names)):
                self._learn(at, chunk, np.array([row]), int(fraud))
        if (bad := self._too_far(source, means, end_ms)) is not None:
            for learner, state in zip(self._learners, pickle.loads(before), strict=True):  # noqa: S301 - own bytes
                learner.restore(state)
            self._learned, self._frauds, self._changed, self._stale = counts
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

    # Guard -------------------------------------------------------------------------------------------

    def _mean(self, at: int) -> float | None:
        """Return the mean score of what a learner knows now over the newest vectors; None: too early."""
        if self._learned[at] < GUARDED_FROM:
            return None
        members = self._learners[at].version(self.names[at], {})
        if not members:
            return None
        model = load_model(dump_models(members))
        total, rows = 0.0, 0
        for chunk in reversed(self._chunks):
            wanted = np.flatnonzero(chunk.wanted[:, at])[-(PROBES - rows) :]
            score = _scores(
                model, self._columns(model), chunk.x[wanted], chunk.present[wanted], chunk.wanted[wanted, at]
            )
            total, rows = total + float(np.nansum(score)), rows + len(wanted)
            if rows >= PROBES:
                break
        return total / rows if rows else None

    def _too_far(self, source: str, before: Sequence[float | None], end_ms: int) -> tuple[str, float] | None:
        """Add what a source moved to its account of the hour; return what is beyond the bound."""
        hour = end_ms // HOUR_MS
        known, moved = self._moved.get(source, (hour, [0.0] * len(self.names)))
        sums = list(moved) if known == hour else [0.0] * len(self.names)
        for at, mean in enumerate(before):
            if mean is None:
                continue
            now = self._mean(at)
            assert now is not None
            sums[at] += now - mean
            if abs(sums[at]) > self.rules.moved_max:
                return self.names[at], sums[at]
        self._moved = {name: item for name, item in self._moved.items() if item[0] == hour}
        self._moved[source] = hour, sums
        return None

    # Versions ----------------------------------------------------------------------------------------

    def _renew(self, at: int) -> None:
        if not self._stale[at]:
            return
        self._stale[at] = False
        members = self._learners[at].version(self.names[at], {})
        if members:
            self._base[at] = dump_models(members)
            self._models[at] = load_model(self._base[at])

    def _columns(self, model: Model) -> list[int]:
        return [self.inputs.index(item) for item in model.inputs]

    def _export(self, end_ms: int, done: Closed) -> None:
        if end_ms // self.rules.export_ms == self._exported_ms // self.rules.export_ms:
            return
        self._exported_ms = end_ms
        for at, name in enumerate(self.names):
            model = self._models[at]
            if model is None or not self._changed[at]:
                continue
            self._changed[at] = False
            score, fraud = self._measured(at)
            self._calibration[at] = fit_platt(score, fraud)
            *parts, last = model.members
            whole = replace(
                last,
                calibration=compose(last.calibration, self._calibration[at]),
                card=self._card(at, end_ms, score, fraud),
            )
            members = (*parts, whole)
            self._parents[at] = "sha256:" + hashlib.sha256(dump_models(members)).hexdigest()
            done.exports.append(Export(name, members))
        self._bundles = []

    def _card(self, at: int, end_ms: int, score: F64, fraud: NDArray[np.bool_]) -> dict[str, Any]:
        entry = self._entries[at]
        return {
            "owner": entry.owner,
            "purpose": entry.purpose,
            "family": entry.family,
            "settings": dict(entry.settings),
            "window": [self._first_ms, end_ms],
            "rules_versions": list(self._bundles),
            "code": version("fraudstream"),
            "river": version("river"),
            "learned": {"rows": self._learned[at], "frauds": self._frauds[at]},
            "mature_ms": self.rules.mature_ms,
            "quarantined": sorted(self.quarantine),
            "parent": self._parents[at],
            "metrics": figures(score, fraud),
        }

    def _measured(self, at: int) -> tuple[F64, NDArray[np.bool_]]:
        """Return prequential scores of matured vectors and what became of them."""
        scores, frauds = [np.zeros(0)], [np.zeros(0, np.bool_)]
        for chunk in self._chunks:
            if chunk.matured:
                rows = (chunk.state >= 0) & ~np.isnan(chunk.score[:, at])
                scores.append(chunk.score[rows, at])
                frauds.append(chunk.state[rows] == FRAUD)
        return np.concatenate(scores), np.concatenate(frauds)

    def quality(self) -> dict[str, dict[str, float]]:
        """Return, for each model, the figures of its prequential scores over the matured vectors kept."""
        return {name: figures(*self._measured(at)) for at, name in enumerate(self.names)}

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
            "learners": [learner.state() for learner in self._learners],
            "base": list(self._base),
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
        for learner, one in zip(self._learners, state["learners"], strict=True):
            learner.restore(one)
        self._base = list(state["base"])
        self._models = [load_model(data) if data else None for data in self._base]
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
        found.update(orjson.dumps([plain, sorted(self.quarantine), self.names], option=orjson.OPT_SORT_KEYS))
        for data in self._base:
            found.update(data)
        for chunk in self._chunks:
            found.update(b"%d %d" % (chunk.end_ms, chunk.matured))
            for array in chunk.arrays().values():
                found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()


_PLAIN = (
    *("changed", "learned", "frauds", "begun", "calibration", "parents"),
    *("exported_ms", "first_ms", "moved", "bundles"),
)


def _scores(model: Model, columns: Sequence[int], x: F64, present: U8, wanted: U8) -> F64:
    """Return the scores [n], NaN where there is none."""
    at = list(columns)
    score = model.probability(
        np.ascontiguousarray(x[:, at]), np.ascontiguousarray(present[:, at]), np.ascontiguousarray(wanted)
    )
    return np.where(score < 0.0, np.nan, score)
