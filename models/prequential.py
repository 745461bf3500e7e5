"""Prequential evaluation by versions: score a day with what was known at its midnight, then learn on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fraudstream.models.file import dump_models, load_model
from fraudstream.models.inputs import F64
from fraudstream.models.learners import Learner
from fraudstream.models.model import Model
from fraudstream.models.protocol import DAY_MS
from fraudstream.models.train import Examples


def learn_until(
    learner: Learner, examples: Examples, learn_from_ms: int, after_ms: int, until_ms: int
) -> None:
    """Learn the rows whose labels became known after one time up to another, in that order."""
    known = examples.known_ms
    rows = np.flatnonzero((known > after_ms) & (known <= until_ms) & (examples.time_ms >= learn_from_ms))
    rows = rows[np.argsort(known[rows], kind="stable")]
    learner.learn(examples.x[rows], examples.present[rows], examples.fraud[rows], examples.time_ms[rows])


def score_days(
    learner: Learner,
    examples: Examples,
    learn_from_ms: int,
    begin_ms: int,
    days: int,
    on_version: Callable[[int, Model], object] = lambda _day, _model: None,
) -> F64:
    """Return the scores [n] of ``days`` days from midnight ``begin_ms`` on, NaN for other rows.

    A day is scored by the compiled form of what was learned from labels known by its midnight; rows before
    ``learn_from_ms`` are not learned. ``on_version`` is told the midnight and the model of each day.
    """
    score = np.full(len(examples.fraud), np.nan)
    learned_ms = -(2**62)
    for day in range(days):
        midnight = begin_ms + day * DAY_MS
        learn_until(learner, examples, learn_from_ms, learned_ms, midnight)
        learned_ms = midnight
        today = np.flatnonzero((examples.time_ms >= midnight) & (examples.time_ms < midnight + DAY_MS))
        members = learner.version("champion", {})
        if not members:
            score[today] = 0.0
            continue
        model = load_model(dump_models(members))
        on_version(midnight, model)
        wanted = np.ones(len(today), np.uint8)
        score[today] = model.probability(examples.x[today], examples.present[today], wanted)
    return score
