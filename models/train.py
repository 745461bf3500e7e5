"""Learn the linear champion with River, prequentially: score first, learn when the label matures.

Source of the discipline and of the learning rate: docs/reference/models.md. Legitimate rows may be sampled,
with their weight put right; frauds never are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from river import compose, linear_model, optim, preprocessing

from fraudstream.models.inputs import F64, I64, U8, Input
from fraudstream.models.linear import dump_model
from fraudstream.models.protocol import average_precision


@dataclass(frozen=True, slots=True)
class Settings:
    """How to learn; part of the model file."""

    seed: int = 1
    learning_rate: float = 0.005
    """0.05 -> 0.005 is worth 0.10 average precision on fraud."""
    l2: float = 0.0
    legitimate_share: float = 0.1
    """Share of legitimate rows that is learned, each with weight 1 / share."""
    clip_gradient: float = 10.0
    """Bounds what one weighted row may move."""
    measured_share: float = 0.3
    """The metrics are those of the last rows, scored before they were learned."""


class Examples(NamedTuple):
    """Labelled rows in event order; n rows, k inputs."""

    x: F64
    """[n, k] transformed inputs (:meth:`fraudstream.models.model.Model.transform`)."""
    present: U8
    """[n, k]"""
    fraud: NDArray[np.bool_]
    """[n]"""
    time_ms: I64
    """[n] event time, ascending."""
    known_ms: I64
    """[n] when the label is known."""


def new_model(settings: Settings) -> compose.Pipeline:
    """Return the River pipeline that learns."""
    return preprocessing.StandardScaler() | linear_model.LogisticRegression(
        optimizer=optim.SGD(settings.learning_rate),
        l2=settings.l2,
        intercept_lr=settings.learning_rate,
        clip_gradient=settings.clip_gradient,
    )


def learn(
    inputs: Sequence[Input],
    examples: Examples,
    settings: Settings,
    advance: Callable[[float], object] = lambda _: None,
) -> tuple[compose.Pipeline, dict[str, float]]:
    """Go through the examples once, in event order; ``advance`` is told the share that is done.

    Returns:
        The River pipeline, and the metrics of the prequential scores over the last ``measured_share`` of the
        rows: ``average_precision`` and ``log_loss`` (weighted to the full stream), ``frauds`` and ``rows``.
    """
    random = np.random.Generator(np.random.PCG64(settings.seed))
    kept = examples.fraud | (random.random(len(examples.fraud)) < settings.legitimate_share)
    rows = np.flatnonzero(kept)
    weight = np.where(examples.fraud[rows], 1.0, 1.0 / settings.legitimate_share)
    matured = rows[np.argsort(examples.known_ms[rows], kind="stable")]
    keys = [item.key for item in inputs]
    model = new_model(settings)
    score = np.empty(len(rows))
    learned = 0

    for at, row in enumerate(rows):
        while learned < len(matured) and examples.known_ms[matured[learned]] <= examples.time_ms[row]:
            _learn_row(model, keys, examples, int(matured[learned]), settings)
            learned += 1
        score[at] = model.predict_proba_one(_as_dict(keys, examples, int(row)))[True]
        if at % 1000 == 0:
            advance(at / len(rows))
    for row in matured[learned:]:
        _learn_row(model, keys, examples, int(row), settings)
    tail = slice(int(len(rows) * (1 - settings.measured_share)), None)
    return model, _metrics(score[tail], examples.fraud[rows[tail]], weight[tail])


def export_river(
    model: compose.Pipeline,
    on: Sequence[str],
    inputs: Sequence[Input],
    settings: Settings,
    training: Mapping[str, Any],
) -> bytes:
    """Write a learned pipeline as a model file of format 1 (:mod:`fraudstream.models.linear`)."""
    scaler = model["StandardScaler"]
    regression = model["LogisticRegression"]
    keys = [item.key for item in inputs]
    weights = regression.weights
    return dump_model(
        on,
        inputs,
        [float(scaler.means[key]) for key in keys],
        [float(scaler.vars[key]) for key in keys],
        [float(weights.get(key, 0.0)) for key in keys],
        float(regression.intercept),
        {"library": "river", "settings": asdict(settings), **training},
    )


def _as_dict(keys: Sequence[str], examples: Examples, row: int) -> dict[str, float]:
    x, present = examples.x[row].tolist(), examples.present[row].tolist()
    return {key: value for key, value, there in zip(keys, x, present, strict=True) if there}


def _learn_row(
    model: compose.Pipeline, keys: Sequence[str], examples: Examples, row: int, settings: Settings
) -> None:
    fraud = bool(examples.fraud[row])
    weight = 1.0 if fraud else 1.0 / settings.legitimate_share
    features = _as_dict(keys, examples, row)
    model["StandardScaler"].learn_one(features)
    scaled = model["StandardScaler"].transform_one(features)
    model["LogisticRegression"].learn_one(scaled, fraud, w=weight)


def _metrics(score: F64, fraud: NDArray[np.bool_], weight: F64) -> dict[str, float]:
    p = np.clip(np.where(fraud, score, 1.0 - score), 1e-15, 1.0)
    return {
        "average_precision": round(average_precision(score, fraud, weight), 6),
        "log_loss": round(float(np.average(-np.log(p), weights=weight)), 6) if len(p) else 0.0,
        "rows": float(weight.sum()),
        "frauds": float(fraud.sum()),
    }
