"""Systems that learn as labels become known: River's online learners and nightly refits of LightGBM.

Each learns rows in the order in which labels become known and gives a version of itself, a :class:`Member`,
whenever it is asked; only versions score. Importance weights and sampling are part of the settings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from river import compose, forest, linear_model, optim, preprocessing

from fraudstream.models.binning import Binner, quantile_edges
from fraudstream.models.export_boosted import export_lightgbm
from fraudstream.models.export_river import export
from fraudstream.models.inputs import F64, I64, U8, Input, ModelError
from fraudstream.models.members import Member
from fraudstream.models.protocol import Flags
from fraudstream.models.registry_store import Entry


class Learner(Protocol):
    """What learns labelled rows and gives versions of itself."""

    def learn(self, x: F64, present: U8, fraud: Flags, time_ms: I64) -> None:
        """Learn rows [n, k] whose labels became known, in that order."""

    def version(self, member: str, card: Mapping[str, Any]) -> tuple[Member, ...]:
        """Return what was learned so far, its parts before it; nothing as long as that is nothing."""

    def state(self) -> Any:
        """Return everything that was learned, random numbers included, as what can be pickled; no copy."""

    def restore(self, state: Any) -> None:
        """Go on from a state, which is owned from then on."""


class Online:
    """A River model that learns row by row; legitimate rows may be sampled, frauds never are.

    Args:
        make: returns the model from the first rows (x, present), which it does not learn by that.
        inputs: what the columns are.
        legitimate_share: share of legitimate rows that is learned.
        weigh: sampled rows count 1 / share each; else the sampled stream is what is learned, and the score is
            calibrated back by the share.
        seed: of the sampling.
    """

    def __init__(
        self,
        make: Callable[[F64, U8], Any],
        inputs: Sequence[Input],
        *,
        legitimate_share: float = 1.0,
        weigh: bool = False,
        seed: int = 1,
        scope: Mapping[str, Any] | None = None,
    ) -> None:
        self._scope = dict(scope or {})
        self._make = make
        self._inputs = tuple(inputs)
        self._keys = [item.key for item in inputs]
        self._share = legitimate_share
        self._weigh = weigh
        self._random = np.random.Generator(np.random.PCG64(seed))
        self._model: Any = None

    def learn(self, x: F64, present: U8, fraud: Flags, time_ms: I64) -> None:
        """Learn rows in order."""
        del time_ms
        if not len(x):
            return
        if self._model is None:
            self._model = self._make(x, present)
        kept = fraud | (self._random.random(len(fraud)) < self._share)
        for row in np.flatnonzero(kept).tolist():
            values, there = x[row].tolist(), present[row].tolist()
            one = {key: value for key, value, ok in zip(self._keys, values, there, strict=True) if ok}
            label = bool(fraud[row])
            if self._weigh and not label:
                self._learn_weighted(one, label, 1.0 / self._share)
            else:
                self._model.learn_one(one, label)

    def _learn_weighted(self, one: dict[str, float], label: bool, weight: float) -> None:
        """Pass a weight through a pipeline, which River's own does not."""
        *before, last = self._model.steps.values()
        for step in before:
            step.learn_one(one)
            one = step.transform_one(one)
        last.learn_one(one, label, w=weight)

    def version(self, member: str, card: Mapping[str, Any]) -> tuple[Member, ...]:
        """Return the export of what was learned."""
        if self._model is None:
            return ()
        shift = None if self._weigh or self._share == 1.0 else (1.0, float(np.log(self._share)))
        return (export(self._model, self._inputs, member, calibration=shift, card=card, **self._scope),)

    def state(self) -> Any:
        """Return River's model and the state of the random numbers."""
        return self._model, self._random.bit_generator.state

    def restore(self, state: Any) -> None:
        """Go on from a state."""
        self._model, self._random.bit_generator.state = state


class Refit:
    """LightGBM, fitted anew for each version on the rows of the last days.

    Args:
        inputs: what the columns are.
        days: how far back, by event time from the newest learned row.
        settings: LightGBM's parameters, with ``rounds``.
        legitimate_share: share of legitimate rows that is fitted on, with weight 1 / share.
        seed: of sampling and fit.
    """

    def __init__(
        self,
        inputs: Sequence[Input],
        *,
        days: int,
        settings: Mapping[str, Any],
        legitimate_share: float = 1.0,
        seed: int = 1,
        scope: Mapping[str, Any] | None = None,
    ) -> None:
        self._scope = dict(scope or {})
        self._inputs = tuple(inputs)
        self._days = days
        self._settings = dict(settings)
        self._share = legitimate_share
        self._seed = seed
        self._random = np.random.Generator(np.random.PCG64(seed))
        self._parts: list[tuple[F64, U8, Flags, I64]] = []

    def learn(self, x: F64, present: U8, fraud: Flags, time_ms: I64) -> None:
        """Keep rows for the next fit."""
        kept = fraud | (self._random.random(len(fraud)) < self._share)
        self._parts.append((x[kept], present[kept], fraud[kept], time_ms[kept]))
        newest = max((int(part[3].max()) for part in self._parts if len(part[3])), default=0)
        oldest = newest - self._days * 86_400_000
        self._parts = [part for part in self._parts if len(part[3]) and int(part[3].max()) >= oldest]

    def version(self, member: str, card: Mapping[str, Any]) -> tuple[Member, ...]:
        """Fit.

        Raises:
            ModelError: LightGBM is not installed.
        """
        if not any(part[2].any() for part in self._parts):
            return ()
        try:
            import lightgbm  # noqa: PLC0415 - an optional extra
        except ImportError:
            text = "boosted trees need the extra `boosting`: pip install fraudstream[boosting]"
            raise ModelError(text) from None
        x, present, fraud = (np.concatenate([part[at] for part in self._parts]) for at in range(3))
        weight = np.where(fraud, 1.0, 1.0 / self._share)
        settings = {
            "objective": "binary",
            "num_threads": 1,
            "deterministic": True,
            "seed": self._seed,
            "verbose": -1,
            **self._settings,
        }
        rounds = int(settings.pop("rounds"))
        data = lightgbm.Dataset(np.where(present == 1, x, np.nan), fraud.astype(np.int32), weight=weight)
        booster = lightgbm.train(settings, data, rounds)
        dump = booster.dump_model()
        return (export_lightgbm(dump, self._inputs, member, card=card, **self._scope),)

    def state(self) -> Any:
        """Return the rows and the state of the random numbers."""
        return list(self._parts), self._random.bit_generator.state

    def restore(self, state: Any) -> None:
        """Go on from a state."""
        self._parts, self._random.bit_generator.state = state


class Blend:
    """Parts that learn the same rows, and one score of theirs."""

    def __init__(self, parts: Mapping[str, Learner], combine: str, scope: Mapping[str, Any]) -> None:
        self._parts = dict(parts)
        self._combine = combine
        self._scope = dict(scope)

    def learn(self, x: F64, present: U8, fraud: Flags, time_ms: I64) -> None:
        """Let every part learn."""
        for part in self._parts.values():
            part.learn(x, present, fraud, time_ms)

    def version(self, member: str, card: Mapping[str, Any]) -> tuple[Member, ...]:
        """Return the parts, then the blend of them."""
        members: list[Member] = []
        for name, part in self._parts.items():
            members += [replace(one, role="part") for one in part.version(f"{member}.{name}", {})]
        if len(members) < len(self._parts):
            return ()
        names = tuple(f"{member}.{name}" for name in self._parts)
        arrays = {"weights": np.ones(len(names)), "bias": np.zeros(1)}
        blend = Member(
            member, "blend", (), arrays, blend=self._combine, parts=names, card=card, **self._scope
        )
        return (*members, blend)

    def state(self) -> Any:
        """Return the states of the parts."""
        return {name: part.state() for name, part in self._parts.items()}

    def restore(self, state: Any) -> None:
        """Go on from a state."""
        for name, part in self._parts.items():
            part.restore(state[name])


def make_learner(
    entry: Entry, entries: Mapping[str, Entry], inputs: Sequence[Input] | None = None
) -> Learner:
    """Return what learns a model of the registry, from columns ``inputs`` (default: the entry's own).

    Raises:
        ModelError: a setting or a part that is not there, or nothing to learn.
    """
    columns = tuple(entry.inputs if inputs is None else inputs)
    if entry.family == "blend":
        if missing := [name for name in entry.parts if name not in entries]:
            raise ModelError(f"blend `{entry.id}`: no model `{missing[0]}` in the registry")
        parts = {name: make_learner(entries[name], entries, columns) for name in entry.parts}
        return Blend(parts, entry.settings["combine"], _scope(entry))
    if entry.family not in _MAKE:
        raise ModelError(f"`{entry.id}` is a {entry.family}: its author wrote it, there is nothing to learn")
    make, known = _MAKE[entry.family]
    if unknown := set(entry.settings) - set(known):
        text = f"`{min(unknown)}` is no setting of {entry.family}, expected some of {', '.join(known)}"
        raise ModelError(f"model `{entry.id}`: {text}")
    learner: Learner = make(entry, {**known, **entry.settings})
    return Narrowed(learner, [columns.index(item) for item in entry.inputs])


class Narrowed:
    """A learner that reads some of the columns."""

    def __init__(self, learner: Learner, columns: Sequence[int]) -> None:
        self._learner = learner
        self._columns = list(columns)

    def learn(self, x: F64, present: U8, fraud: Flags, time_ms: I64) -> None:
        """Learn rows."""
        self._learner.learn(x[:, self._columns], present[:, self._columns], fraud, time_ms)

    def version(self, member: str, card: Mapping[str, Any]) -> tuple[Member, ...]:
        """Return what was learned."""
        return self._learner.version(member, card)

    def state(self) -> Any:
        """Return its state."""
        return self._learner.state()

    def restore(self, state: Any) -> None:
        """Go on from a state."""
        self._learner.restore(state)


def _scope(entry: Entry) -> dict[str, Any]:
    return {"on": entry.events, "where": entry.where}


def _logistic(entry: Entry, settings: Mapping[str, Any]) -> Online:
    """Scaled logistic regression by SGD; rate 0.05 -> 0.005 is worth 0.10 average precision on fraud."""

    def make(x: F64, present: U8) -> Any:
        del x, present
        rate = settings["rate"]
        return preprocessing.StandardScaler() | linear_model.LogisticRegression(
            optim.SGD(rate), l2=settings["l2"], intercept_lr=rate, clip_gradient=settings["clip_gradient"]
        )

    return _online(entry, settings, make, weigh=True)


def _binned(entry: Entry, settings: Mapping[str, Any]) -> Online:
    """FTRL on bins of the inputs and on pairs of bins; the edges are quantiles of the first rows."""
    keys = [item.key for item in entry.inputs]
    crosses = [(keys[a], keys[b]) for a, b in settings["crosses"]]

    def make(x: F64, present: U8) -> compose.Pipeline:
        bins = settings["bins"]
        edges = {key: quantile_edges(x[present[:, at] == 1, at], bins) for at, key in enumerate(keys)}
        ftrl = optim.FTRLProximal(
            alpha=settings["alpha"], beta=settings["beta"], l1=settings["l1"], l2=settings["l2"]
        )
        return Binner(edges, crosses) | linear_model.LogisticRegression(ftrl, intercept_lr=settings["rate"])

    return _online(entry, settings, make, weigh=True)


def _adaptive_forest(entry: Entry, settings: Mapping[str, Any]) -> Online:
    """Adaptive random forest on an undersampled stream; its trees split below 1 % fraud, too."""

    def make(x: F64, present: U8) -> Any:
        del x, present
        return forest.ARFClassifier(
            n_models=settings["trees"],
            seed=settings["seed"],
            leaf_prediction=settings["leaf_prediction"],
            grace_period=settings["grace_period"],
            max_features=settings["max_features"],
            max_share_to_split=1.0,
            min_branch_fraction=1e-4,
        )

    return _online(entry, settings, make, weigh=False)


def _nightly_boosting(entry: Entry, settings: Mapping[str, Any]) -> Refit:
    """LightGBM on the last days, fitted anew for every version."""
    own = ("days", "legitimate_share", "seed")
    return Refit(
        entry.inputs,
        days=settings["days"],
        settings={name: value for name, value in settings.items() if name not in own},
        legitimate_share=settings["legitimate_share"],
        seed=settings["seed"],
        scope=_scope(entry),
    )


def _online(
    entry: Entry, settings: Mapping[str, Any], make: Callable[[F64, U8], Any], *, weigh: bool
) -> Online:
    share = settings["legitimate_share"]
    return Online(
        make,
        entry.inputs,
        legitimate_share=share,
        weigh=weigh and share < 1.0,
        seed=settings["seed"],
        scope=_scope(entry),
    )


_MAKE: Mapping[str, tuple[Callable[[Entry, Mapping[str, Any]], Learner], Mapping[str, Any]]] = {
    "logistic": (
        _logistic,
        {"rate": 0.005, "l2": 0.0, "clip_gradient": 10.0, "legitimate_share": 0.25, "seed": 1},
    ),
    "binned": (
        _binned,
        {
            "bins": 24,
            "crosses": [],
            "alpha": 0.1,
            "beta": 1.0,
            "l1": 0.0,
            "l2": 1.0,
            "rate": 0.005,
            "legitimate_share": 0.25,
            "seed": 1,
        },
    ),
    "adaptive_forest": (
        _adaptive_forest,
        {
            "trees": 10,
            "leaf_prediction": "nba",
            "grace_period": 50,
            "max_features": "sqrt",
            "legitimate_share": 0.08,
            "seed": 1,
        },
    ),
    "nightly_boosting": (
        _nightly_boosting,
        {
            "days": 60,
            "legitimate_share": 0.15,
            "seed": 1,
            "rounds": 150,
            "num_leaves": 15,
            "learning_rate": 0.05,
            "min_data_in_leaf": 40,
            "lambda_l2": 1.0,
            "feature_fraction": 0.7,
            "bagging_fraction": 0.8,
            "bagging_freq": 1,
        },
    ),
}
"""Family -> what makes its learner, and its settings with their defaults."""
