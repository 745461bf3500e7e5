"""One model that learns: its learner, the version that scores, and what goes to the registry."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudstream.models.calibration import compose, fit_platt
from fraudstream.models.file import dump_models, load_model
from fraudstream.models.inputs import F64, I64, U8, Input
from fraudstream.models.learners import Learner
from fraudstream.models.members import Member
from fraudstream.models.model import Model
from fraudstream.models.registry_store import Entry
from fraudstream.models.training_rows import FRAUD, Chunk, Vector

PROBES = 1_000
"""Newest vectors whose mean score the guard watches."""
GUARDED_FROM = 2_000
"""Rows that a learner has to know before a source can be told from what teaches it in the first place."""

_PLAIN = ("learned", "frauds", "begun", "changed", "stale", "parent")


class Pupil:
    """A model of the registry on the columns ``inputs``; ``at`` is its place among the models of a chunk."""

    def __init__(self, at: int, entry: Entry, learner: Learner, inputs: Sequence[Input]) -> None:
        self.entry = entry
        self.learned = self.frauds = 0
        """Rows, and frauds among them."""
        self.begun = False
        self.changed = False
        """It learned something since the last export."""
        self.stale = False
        """It learned something that its version does not know."""
        self.parent: str | None = None
        """The version exported last."""
        self._at = at
        self._learner = learner
        self._inputs = {item: column for column, item in enumerate(inputs)}
        self._base = b""
        """File of the version that scores, not calibrated; empty: none yet."""
        self._model: Model | None = None

    def in_scope(self, vector: Vector) -> bool:
        """Return whether the model scores a transaction."""
        events, where = self.entry.events, self.entry.where
        kind = vector.event_type in events if events else vector.event_type != "label"
        return kind and all(vector.values.get(name) in values for name, values in where.items())

    # Learning ----------------------------------------------------------------------------------------

    def begin(self, chunks: Sequence[Chunk], rows_min: int) -> None:
        """Begin with all that is known, once ``rows_min`` rows of it are mature."""
        if self.begun:
            return
        wanted = [np.flatnonzero((chunk.state >= 0) & (chunk.wanted[:, self._at] == 1)) for chunk in chunks]
        known = [(chunk, rows) for chunk, rows in zip(chunks, wanted, strict=True) if len(rows)]
        if sum(len(rows) for chunk, rows in known if chunk.matured) < rows_min:
            return
        self.begun = True
        self._teach(
            np.concatenate([chunk.x[rows] for chunk, rows in known]),
            np.concatenate([chunk.present[rows] for chunk, rows in known]),
            np.concatenate([chunk.state[rows] == FRAUD for chunk, rows in known]),
            np.concatenate([chunk.at_ms[rows] for chunk, rows in known]),
        )

    def learn(self, chunk: Chunk, rows: NDArray[np.intp], *, fraud: bool) -> None:
        """Learn rows in scope, if it has begun; else it finds them when it does."""
        rows = rows[chunk.wanted[rows, self._at] == 1]
        if self.begun and len(rows):
            self._teach(chunk.x[rows], chunk.present[rows], np.full(len(rows), fraud), chunk.at_ms[rows])

    def _teach(self, x: F64, present: U8, fraud: NDArray[np.bool_], at_ms: I64) -> None:
        self._learner.learn(x, present, fraud, at_ms)
        self.learned += len(fraud)
        self.frauds += int(fraud.sum())
        self.changed = self.stale = True

    # Scoring -----------------------------------------------------------------------------------------

    def renew(self) -> None:
        """Let a version of what was learned score from now on."""
        if not self.stale:
            return
        self.stale = False
        if members := self._learner.version(self.entry.id, {}):
            self._base = dump_models(members)
            self._model = load_model(self._base)

    def scores(self, x: F64, present: U8, wanted: U8) -> F64:
        """Return scores [n] by the version, NaN where there is none."""
        return (
            np.full(len(x), np.nan) if self._model is None else self._scores(self._model, x, present, wanted)
        )

    def mean(self, chunks: Sequence[Chunk]) -> float | None:
        """Return the mean score of what is known now over the newest vectors; None: it knows too little."""
        members = self._learner.version(self.entry.id, {}) if self.learned >= GUARDED_FROM else ()
        if not members:
            return None
        model = load_model(dump_models(members))
        total, count = 0.0, 0
        for chunk in reversed(chunks):
            rows = np.flatnonzero(chunk.wanted[:, self._at])[-(PROBES - count) :]
            score = self._scores(model, chunk.x[rows], chunk.present[rows], chunk.wanted[rows, self._at])
            total, count = total + float(np.nansum(score)), count + len(rows)
            if count >= PROBES:
                break
        return total / count if count else None

    def _scores(self, model: Model, x: F64, present: U8, wanted: U8) -> F64:
        at = [self._inputs[item] for item in model.inputs]
        score = model.probability(
            np.ascontiguousarray(x[:, at]),
            np.ascontiguousarray(present[:, at]),
            np.ascontiguousarray(wanted),
        )
        return np.where(score < 0.0, np.nan, score)

    def measured(self, chunks: Sequence[Chunk]) -> tuple[F64, NDArray[np.bool_]]:
        """Return scores of matured vectors, made before they were learned, and what became of them."""
        scores, frauds = [np.zeros(0)], [np.zeros(0, np.bool_)]
        for chunk in chunks:
            if chunk.matured:
                rows = (chunk.state >= 0) & ~np.isnan(chunk.score[:, self._at])
                scores.append(chunk.score[rows, self._at])
                frauds.append(chunk.state[rows] == FRAUD)
        return np.concatenate(scores), np.concatenate(frauds)

    # Versions and state ------------------------------------------------------------------------------

    def export(self, score: F64, fraud: NDArray[np.bool_], card: Mapping[str, Any]) -> tuple[Member, ...]:
        """Return the version, calibrated on measured scores; nothing if there is none or no news."""
        if self._model is None or not self.changed:
            return ()
        self.changed = False
        entry = self.entry
        *parts, last = self._model.members
        own = {
            "owner": entry.owner,
            "purpose": entry.purpose,
            "family": entry.family,
            "settings": dict(entry.settings),
            "learned": {"rows": self.learned, "frauds": self.frauds},
            "parent": self.parent,
        }
        calibration = compose(last.calibration, fit_platt(score, fraud))
        members = (*parts, replace(last, calibration=calibration, card={**own, **card}))
        self.parent = "sha256:" + hashlib.sha256(dump_models(members)).hexdigest()
        return members

    def plain(self) -> dict[str, Any]:
        """Return the counts and flags."""
        return {name: getattr(self, name) for name in _PLAIN}

    def version_bytes(self) -> bytes:
        """Return the file of the version that scores."""
        return self._base

    def state(self) -> dict[str, Any]:
        """Return everything; not a copy."""
        return {"learner": self._learner.state(), "base": self._base, **self.plain()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state, which is owned from then on."""
        self._learner.restore(state["learner"])
        if self._base != state["base"]:
            self._base = state["base"]
            self._model = load_model(self._base) if self._base else None
        for name in _PLAIN:
            setattr(self, name, state[name])
