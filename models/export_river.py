"""River models to members: what was learned, as arrays; the library is not needed to score.

Every function takes the learned River object and the inputs in order, whose :attr:`Input.key` River knows
them by, and raises ``ModelError`` for what has no export (then the model can not be registered).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from river import anomaly, compose, forest, linear_model, naive_bayes, tree
from river.tree.nodes.branch import DTBranch, NumericBinaryBranch
from river.tree.nodes.hatc_nodes import AdaBranchClassifier, AdaLeafClassifier
from river.tree.nodes.htc_nodes import LeafMajorityClass, LeafNaiveBayes, LeafNaiveBayesAdaptive
from river.tree.splitter import GaussianSplitter

from fraudstream.models.binning import Binner
from fraudstream.models.inputs import Input, ModelError
from fraudstream.models.members import Array, Member

_HALF_LOG_TAU = 0.5 * math.log(math.tau)


def export(model: Any, inputs: Sequence[Input], member: str = "champion", **more: Any) -> Member:
    """Return a learned River model as a member; ``more`` are further members of :class:`Member`.

    Raises:
        ModelError: this kind of model has no export.
    """
    keys = {item.key: at for at, item in enumerate(inputs)}
    if isinstance(model, compose.Pipeline):
        steps = list(model.steps.values())
        if len(steps) == 2 and isinstance(steps[1], linear_model.LogisticRegression):
            if isinstance(steps[0], Binner):
                return _member(member, "bins", inputs, _bins(steps[0], steps[1], keys), more)
            return _member(member, "linear", inputs, _linear(steps[0], steps[1], keys), more)
    if isinstance(model, forest.ARFClassifier):
        weights = [m.get() for m in model._metrics]
        if model.disable_weighted_vote:
            weights = [1.0] * len(weights)
        roots = [(one, weight if weight > 0 else 1.0) for one, weight in zip(model, weights, strict=True)]
        return _member(member, "forest", inputs, _Forest(keys).arrays(roots), more)
    if isinstance(model, tree.HoeffdingTreeClassifier):
        return _member(member, "forest", inputs, _Forest(keys).arrays([(model, 1.0)]), more)
    if isinstance(model, anomaly.HalfSpaceTrees):
        return _member(member, "space", inputs, _space(model, keys), more)
    if isinstance(model, naive_bayes.GaussianNB):
        return _member(member, "bayes", inputs, _bayes(model, keys), more)
    raise ModelError(f"{type(model).__name__} has no export; docs/reference/models.md lists those that have")


def _member(
    name: str, family: str, inputs: Sequence[Input], arrays: Mapping[str, Array], more: Mapping[str, Any]
) -> Member:
    return Member(id=name, family=family, inputs=tuple(inputs), arrays=arrays, **more)


def _linear(scaler: Any, regression: Any, keys: Mapping[str, int]) -> dict[str, Array]:
    weights = regression.weights
    return {
        "mean": np.array([float(scaler.means[key]) for key in keys]),
        "var": np.array([float(scaler.vars[key]) for key in keys]),
        "weights": np.array([float(weights.get(key, 0.0)) for key in keys]),
        "bias": np.array([float(regression.intercept)]),
    }


def _bins(binner: Binner, regression: Any, keys: Mapping[str, int]) -> dict[str, Array]:
    known = regression.weights
    edges = [binner.edges[key] for key in keys]
    terms: list[tuple[int, int, int, int]] = []
    weights: list[float] = []
    for term in binner.terms:
        first, second = keys[term[0]], keys[term[1]] if len(term) == 2 else -1
        counts = [len(edges[at]) + 2 for at in (first, second) if at >= 0]
        terms.append((first, second, len(weights), counts[1] if second >= 0 else 0))
        places = [(i,) for i in range(counts[0])]
        if second >= 0:
            places = [(i, j) for i in range(counts[0]) for j in range(counts[1])]  # type: ignore[misc]
        weights += [float(known.get(binner.name(term, place), 0.0)) for place in places]
    return {
        "edges": np.concatenate([np.array(one, np.float64) for one in edges]),
        "first": np.cumsum([0, *map(len, edges)]).astype(np.int32),
        "terms": np.array(terms, np.int32).reshape(-1, 4),
        "weights": np.array(weights, np.float64),
        "bias": np.array([float(regression.intercept)]),
    }


def _bayes(model: Any, keys: Mapping[str, int]) -> dict[str, Array]:
    gauss = np.full((2, len(keys), 3), np.nan)
    prior = np.full(2, np.nan)
    for label in (False, True):
        if label not in model.class_counts:
            continue
        prior[int(label)] = math.log(model.p_class(label))
        for key, at in keys.items():
            found = _gauss(model.gaussians.get(label, {}).get(key))
            if found is not None:
                gauss[int(label), at] = found
    return {"prior": prior, "gauss": gauss}


def _gauss(gaussian: Any) -> tuple[float, float, float] | None:
    """Return mean, -2 variance and the log of the density at the mean; None: no spread, no density."""
    if gaussian is None:
        return None
    variance = gaussian._var.get()
    if variance <= 0.0:
        return None
    return gaussian.mu, -2.0 * variance, -_HALF_LOG_TAU - 0.5 * math.log(variance)


class _Forest:
    """Collects trees; the children of a node lie side by side, behind it."""

    def __init__(self, keys: Mapping[str, int]) -> None:
        self._keys = keys
        self._nodes: list[list[int]] = []
        self._threshold: list[float] = []
        self._votes: list[tuple[float, float]] = []
        self._bayes: list[int] = []
        self._prior: list[tuple[float, float]] = []
        self._begin = [0]
        self._rows: list[tuple[int, int]] = []
        self._gauss: list[tuple[float, float, float]] = []

    def arrays(self, trees: Sequence[tuple[Any, float]]) -> dict[str, Array]:
        """Return the arrays of (Hoeffding tree, its weight)."""
        roots = [self._add_tree(one) for one, _ in trees]
        return {
            "nodes": np.array(self._nodes, np.int32).reshape(-1, 4),
            "threshold": np.array(self._threshold, np.float64),
            "votes": np.array(self._votes, np.float64).reshape(-1, 2),
            "bayes": np.array(self._bayes, np.int32),
            "roots": np.array(roots, np.int32),
            "weights": np.array([weight for _, weight in trees], np.float64),
            "prior": np.array(self._prior, np.float64).reshape(-1, 2),
            "begin": np.array(self._begin, np.int32),
            "rows": np.array(self._rows, np.int32).reshape(-1, 2),
            "gauss": np.array(self._gauss, np.float64).reshape(-1, 3),
        }

    def _add_tree(self, model: Any) -> int:
        root = self._place(1)
        waiting = [(model._root, root)]
        while waiting:
            node, at = waiting.pop(0)
            if not isinstance(node, DTBranch):
                self._nodes[at] = [-1, self._leaf(node, model), 0, -1]
                continue
            if not isinstance(node, NumericBinaryBranch):
                raise ModelError(f"{type(node).__name__} has no export: use numeric inputs, binary splits")
            left = self._place(2)
            waiting += [(node.children[0], left), (node.children[1], left + 1)]
            other = -1
            if isinstance(node, AdaBranchClassifier) and node._alternate_tree:
                other = self._place(1)
                waiting.append((node._alternate_tree, other))
            self._nodes[at] = [self._keys[node.feature], left, node.most_common_path()[0], other]
            self._threshold[at] = float(node.threshold)
        return root

    def _place(self, count: int) -> int:
        self._nodes += [[-1, 0, 0, -1] for _ in range(count)]
        self._threshold += [0.0] * count
        return len(self._nodes) - count

    def _leaf(self, leaf: Any, model: Any) -> int:
        """Add what River's leaf answers with (``prediction``): shares of the classes or a naive Bayes."""
        stats = {} if leaf is None else leaf.stats
        total = sum(stats.values())
        scale = 1.0
        if isinstance(leaf, AdaLeafClassifier) and (error := leaf._mean_error.get()) > 0.0:
            scale = 1.0 / (error * error)
        if leaf is not None and total > 0 and _asks_bayes(leaf, model, total):
            self._votes.append((scale, 0.0))
            self._bayes.append(self._add_bayes(leaf, total))
        else:
            shares = [stats.get(label, 0.0) / total if total > 0 else 0.0 for label in (False, True)]
            self._votes.append((scale * shares[0], scale * shares[1]))
            self._bayes.append(-1)
        return len(self._votes) - 1

    def _add_bayes(self, leaf: Any, total: float) -> int:
        prior = [math.nan, math.nan]
        for label, weight in leaf.stats.items():
            prior[int(label)] = math.log(weight / total) if weight > 0 else 0.0
            for key, splitter in leaf.splitters.items() if weight > 0 else ():
                if not isinstance(splitter, GaussianSplitter):
                    raise ModelError(f"leaves with {type(splitter).__name__} and naive Bayes have no export")
                found = _gauss(splitter._att_dist_per_class.get(label))
                if found is not None:
                    self._rows.append((self._keys[key], int(label)))
                    self._gauss.append(found)
        self._prior.append((prior[0], prior[1]))
        self._begin.append(len(self._rows))
        return len(self._prior) - 1


def _asks_bayes(leaf: Any, model: Any, total: float) -> bool:
    if not leaf.is_active():
        return False
    if isinstance(leaf, AdaLeafClassifier):
        if model.leaf_prediction == model._MAJORITY_CLASS:
            return False
        if model.leaf_prediction == model._NAIVE_BAYES:
            return bool(total >= model.nb_threshold)
    if isinstance(leaf, LeafNaiveBayesAdaptive):
        return bool(leaf._nb_correct_weight >= leaf._mc_correct_weight)
    if isinstance(leaf, LeafNaiveBayes):
        return bool(total >= model.nb_threshold)
    if not isinstance(leaf, LeafMajorityClass):
        raise ModelError(f"{type(leaf).__name__} has no export")
    return False


def _space(model: Any, keys: Mapping[str, int]) -> dict[str, Array]:
    if model._first_window or not model.trees:
        raise ModelError(f"half-space trees score after {model.window_size} rows; learn more first")
    nodes: list[list[int]] = []
    threshold: list[float] = []
    mass: list[float] = []
    roots = []
    for root in model.trees:
        roots.append(len(nodes))
        nodes.append([-1, 0, 0, -1])
        threshold.append(0.0)
        mass.append(0.0)
        waiting: list[tuple[Any, int, int]] = [(root, len(nodes) - 1, 0)]
        while waiting:
            node, at, depth = waiting.pop(0)
            mass[at] = float(node.r_mass)
            if depth == model.height:
                continue
            left = len(nodes)
            first, second = node.children
            nodes += [[-1, 0, 0, -1], [-1, 0, 0, -1]]
            threshold += [0.0, 0.0]
            mass += [0.0, 0.0]
            nodes[at] = [keys[node.feature], left, int(first.l_mass < second.l_mass), -1]
            # River goes left below the threshold, the table at or below it.
            threshold[at] = math.nextafter(float(node.threshold), -math.inf)
            waiting += [(first, left, depth + 1), (second, left + 1, depth + 1)]
    return {
        "nodes": np.array(nodes, np.int32),
        "threshold": np.array(threshold, np.float64),
        "mass": np.array(mass, np.float64),
        "roots": np.array(roots, np.int32),
        "limits": np.array([model.size_limit, float(model._max_score)]),
    }
