"""One learned model of every family that has an export, and the library's own score of a row."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from river import anomaly, forest, linear_model, naive_bayes, optim, preprocessing, tree

from fraudstream.models.binning import Binner, quantile_edges
from fraudstream.models.export_boosted import export_lightgbm
from fraudstream.models.export_river import export
from fraudstream.models.inputs import Input
from fraudstream.models.members import Member

INPUTS = tuple(Input(f"f.{name}") for name in ("amount", "count", "age", "ratio", "flag", "constant"))
KEYS = [item.key for item in INPUTS]

Rows = tuple[np.ndarray, np.ndarray, np.ndarray]
"""x [n, k], present [n, k], fraud [n]."""
Oracle = Callable[[np.ndarray, np.ndarray], float]
"""(x [k], present [k]) -> the library's score."""


def make_rows(n: int, seed: int, *, drift: bool = False) -> Rows:
    """Return rows with missing values, of which about a tenth are fraud; with drift the cause changes."""
    random = np.random.default_rng(seed)
    x = np.stack(
        [
            np.exp(random.normal(3, 1.5, n)),
            random.poisson(3, n).astype(float),
            random.random(n) * 400,
            random.random(n),
            (random.random(n) < 0.3).astype(float),
            np.full(n, 7.0),
        ],
        axis=1,
    )
    present = (random.random(x.shape) < 0.93).astype(np.uint8)
    cause = np.where(np.arange(n) < n // 2 if drift else True, x[:, 0] / 60 + x[:, 1] / 4, x[:, 2] / 120)
    fraud = random.random(n) < 1 / (1 + np.exp(-(3 * (cause + x[:, 4] - 3))))
    return x, present, fraud


def as_dict(x: np.ndarray, present: np.ndarray) -> dict[str, float]:
    """Return a row as River sees it."""
    return {key: float(value) for key, value, there in zip(KEYS, x, present, strict=True) if there}


def learned(model: Any, rows: Rows) -> tuple[Member, Oracle]:
    """Let River learn all rows in order; return the export and River's own score."""
    for x, present, fraud in zip(*rows, strict=True):
        model.learn_one(as_dict(x, present), bool(fraud))
    return export(model, INPUTS), lambda x, present: model.predict_proba_one(as_dict(x, present)).get(
        True, 0.0
    )


def _tree(kind: Any, **settings: Any) -> Any:
    return kind(
        grace_period=40, delta=0.05, tau=0.3, max_share_to_split=1.0, min_branch_fraction=1e-4, **settings
    )


def _binner(rows: Rows) -> Binner:
    values = [rows[0][rows[1][:, at] == 1, at] for at in range(len(INPUTS))]
    edges = {key: quantile_edges(one, 8) for key, one in zip(KEYS, values, strict=True)}
    return Binner(edges, [(KEYS[0], KEYS[1]), (KEYS[2], KEYS[4])])


def _boosted(rows: Rows, **settings: Any) -> tuple[Member, Oracle]:
    import lightgbm

    x = np.where(rows[1] == 1, rows[0], np.nan)
    wanted = {"objective": "binary", "num_leaves": 8, "verbose": -1, "num_threads": 1, "seed": 1, **settings}
    booster = lightgbm.train(wanted, lightgbm.Dataset(x, rows[2].astype(int)), 30)

    def oracle(one: np.ndarray, present: np.ndarray) -> float:
        return float(booster.predict(np.where(present == 1, one, np.nan).reshape(1, -1))[0])

    return export_lightgbm(booster.dump_model(), INPUTS), oracle


def _space(rows: Rows) -> tuple[Member, Oracle]:
    limits = {key: (0.0, float(rows[0][:, at].max()) + 1.0) for at, key in enumerate(KEYS)}
    model = anomaly.HalfSpaceTrees(n_trees=12, height=6, window_size=100, limits=limits, seed=3)
    for number, (x, present) in enumerate(zip(rows[0], rows[1], strict=True)):
        # The first row names the inputs.
        model.learn_one(as_dict(x, present if number else np.ones_like(present)))
    return export(model, INPUTS), lambda x, present: float(model.score_one(as_dict(x, present)))


def _complete(rows: Rows) -> Rows:
    return rows[0], np.ones_like(rows[1]), rows[2]


FAMILIES: dict[str, Callable[[Rows], tuple[Member, Oracle]]] = {
    "logistic regression": lambda rows: learned(
        preprocessing.StandardScaler() | linear_model.LogisticRegression(optim.SGD(0.05)), rows
    ),
    "ftrl": lambda rows: learned(
        preprocessing.StandardScaler() | linear_model.LogisticRegression(optim.FTRLProximal()), rows
    ),
    "ftrl on bins and crosses": lambda rows: learned(
        _binner(rows) | linear_model.LogisticRegression(optim.FTRLProximal(alpha=0.1)), rows
    ),
    "hoeffding tree": lambda rows: learned(_tree(tree.HoeffdingTreeClassifier), rows),
    "hoeffding tree, majority": lambda rows: learned(
        _tree(tree.HoeffdingTreeClassifier, leaf_prediction="mc"), rows
    ),
    "hoeffding tree, naive bayes": lambda rows: learned(
        _tree(tree.HoeffdingTreeClassifier, leaf_prediction="nb"), rows
    ),
    "extremely fast tree": lambda rows: learned(
        _tree(tree.ExtremelyFastDecisionTreeClassifier, min_samples_reevaluate=200), rows
    ),
    "adaptive tree": lambda rows: learned(_tree(tree.HoeffdingAdaptiveTreeClassifier, seed=1), rows),
    "adaptive tree, majority": lambda rows: learned(
        _tree(tree.HoeffdingAdaptiveTreeClassifier, leaf_prediction="mc", seed=2), rows
    ),
    "adaptive random forest": lambda rows: learned(
        _tree(forest.ARFClassifier, n_models=5, seed=1, leaf_prediction="nba"), rows
    ),
    "adaptive random forest, unweighted": lambda rows: learned(
        _tree(forest.ARFClassifier, n_models=5, seed=2, leaf_prediction="mc", disable_weighted_vote=True),
        rows,
    ),
    "gaussian naive bayes": lambda rows: learned(naive_bayes.GaussianNB(), rows),
    "half-space trees": _space,
    "lightgbm": _boosted,
    "lightgbm that never saw a missing value": lambda rows: _boosted(_complete(rows)),
}
"""Name -> what learns from rows and returns the export and the library's score."""


def logit(p: float) -> float:
    """Return ln(p / (1 - p)) cut to +-30."""
    if p <= 0:
        return -30.0
    if p >= 1:
        return 30.0
    return max(-30.0, min(30.0, math.log(p) - math.log1p(-p)))
