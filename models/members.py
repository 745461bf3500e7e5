"""One model of a file: its family, what it reads, for which events, and its arrays, checked one by one.

Arrays of a family (f: binary64, i: int32; k inputs, N nodes, L leaves, T trees, B leaves with naive Bayes)::

    linear   mean f[k]  var f[k]  weights f[k]  bias f[1]
    forest   nodes i[N,4]  threshold f[N]  votes f[L,2]  bayes i[L]  roots i[T]  weights f[T]
             prior f[B,2]  begin i[B+1]  rows i[R,2]  gauss f[R,3]
    boosted  nodes i[N,4]  threshold f[N]  values f[L]  roots i[T]  factor f[1]
    space    nodes i[N,4]  threshold f[N]  mass f[N]  roots i[T]  limits f[2]
    bayes    prior f[2]  gauss f[2,k,3]
    bins     edges f[E]  first i[k+1]  terms i[t,4]  weights f[W]  bias f[1]
    blend    weights f[m]  bias f[1]

Their meaning: :mod:`fraudstream.models.kernel_score` and :mod:`fraudstream.models.kernel_trees`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudstream.models import kernel_score as kernel
from fraudstream.models.inputs import Input, ModelError
from fraudstream.models.kernel_trees import STACK, check_nodes

Array = NDArray[Any]

FAMILIES: Mapping[str, int] = {
    "linear": kernel.LINEAR,
    "forest": kernel.FOREST,
    "boosted": kernel.BOOSTED,
    "space": kernel.SPACE,
    "bayes": kernel.BAYES,
    "bins": kernel.BINS,
    "blend": kernel.BLEND,
}
BLENDS: Mapping[str, int] = {"max": kernel.MAX, "mean_logit": kernel.MEAN_LOGIT, "stacked": kernel.STACKED}
ROLES = ("champion", "challenger", "shadow", "part")
"""``part``: only a blend reads its score."""

ARRAYS: Mapping[str, Mapping[str, tuple[str, int]]] = {
    "linear": {"mean": ("f", 1), "var": ("f", 1), "weights": ("f", 1), "bias": ("f", 1)},
    "forest": {
        "nodes": ("i", 2),
        "threshold": ("f", 1),
        "votes": ("f", 2),
        "bayes": ("i", 1),
        "roots": ("i", 1),
        "weights": ("f", 1),
        "prior": ("f", 2),
        "begin": ("i", 1),
        "rows": ("i", 2),
        "gauss": ("f", 2),
    },
    "boosted": {
        "nodes": ("i", 2),
        "threshold": ("f", 1),
        "values": ("f", 1),
        "roots": ("i", 1),
        "factor": ("f", 1),
    },
    "space": {
        "nodes": ("i", 2),
        "threshold": ("f", 1),
        "mass": ("f", 1),
        "roots": ("i", 1),
        "limits": ("f", 1),
    },
    "bayes": {"prior": ("f", 1), "gauss": ("f", 3)},
    "bins": {"edges": ("f", 1), "first": ("i", 1), "terms": ("i", 2), "weights": ("f", 1), "bias": ("f", 1)},
    "blend": {"weights": ("f", 1), "bias": ("f", 1)},
}
"""Family -> array -> (kind, dimensions)."""

MAY_BE_NAN = frozenset({"prior", "gauss"})
"""NaN stands for a class or a distribution that was never seen."""

MAX_ABS = 1e300
"""Bound of every number, so that no product overflows before the sum does."""
MAX_DEPTH = 1_000
"""Of one tree; River's grow as deep as the stream is long, but not so deep."""
MAX_TREES = 10_000


@dataclass(frozen=True, slots=True)
class Member:
    """One model; :func:`check_member` says whether it can be scored."""

    id: str
    family: str
    inputs: tuple[Input, ...]
    arrays: Mapping[str, Array]
    on: tuple[str, ...] = ()
    """Event types that it scores; none: all."""
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Enum field -> the values for which it scores."""
    role: str = "champion"
    blend: str = ""
    """How a blend puts its parts together."""
    parts: tuple[str, ...] = ()
    """Models that a blend is made of; they stand before it."""
    calibration: tuple[float, float] | None = None
    """a, b of p' = sigmoid(a logit(p) + b)."""
    card: Mapping[str, Any] = field(default_factory=dict)
    """Model card: owner, purpose, data, metrics; nothing that scores."""


def check_member(member: Member) -> None:
    """Raise ``ModelError`` unless the kernel can score the model whatever the rows are."""
    try:
        _check(member)
    except ModelError as problem:
        raise ModelError(f"model `{member.id:.64}`: {problem}") from None


def _check(member: Member) -> None:
    wanted = ARRAYS[member.family]
    if set(member.arrays) != set(wanted):
        raise ModelError(f"a {member.family} has the arrays {', '.join(wanted)}")
    for name, (kind, dimensions) in wanted.items():
        array = member.arrays[name]
        if array.ndim != dimensions or array.dtype != (np.float64 if kind == "f" else np.int32):
            text = "numbers" if kind == "f" else "integers"
            raise ModelError(f"`{name}` was not an array of {text} with {dimensions} dimensions")
        if kind == "f" and not _sound(array, nan=name in MAY_BE_NAN):
            raise ModelError(f"`{name}` has a number that is not finite or beyond {MAX_ABS:g}")
    if member.calibration is not None and not _sound(np.array(member.calibration), nan=False):
        raise ModelError("`calibration` was not two finite numbers")
    if (member.family == "blend") != bool(member.parts):
        raise ModelError("a blend, and nothing else, has `parts`")
    _CHECKS[member.family](member.arrays, len(member.inputs), member)


def _sound(array: Array, *, nan: bool) -> bool:
    good = np.abs(array) <= MAX_ABS
    return bool((good | np.isnan(array)).all() if nan else good.all())


def _shape(arrays: Mapping[str, Array], name: str, *shape: int) -> None:
    if arrays[name].shape != shape:
        raise ModelError(f"`{name}` has the shape {arrays[name].shape}, expected {shape}")


def _linear(arrays: Mapping[str, Array], k: int, _: Member) -> None:
    for name in ("mean", "var", "weights"):
        _shape(arrays, name, k)
    _shape(arrays, "bias", 1)
    if (arrays["var"] < 0).any():
        raise ModelError("`var` has a negative number")


def _trees(arrays: Mapping[str, Array], k: int, leaves: int) -> None:
    nodes, roots = arrays["nodes"], arrays["roots"]
    _shape(arrays, "nodes", len(nodes), 4)
    _shape(arrays, "threshold", len(nodes))
    if not 0 < len(roots) <= MAX_TREES:
        raise ModelError(f"`roots` was not a list of 1 to {MAX_TREES} trees")
    problem = check_nodes(nodes, roots, k, leaves, MAX_DEPTH, STACK - 1)
    if problem:
        raise ModelError(_TREE_PROBLEMS[problem])


_TREE_PROBLEMS = {
    1: "a root is no node",
    2: "a node reads an input that is not there",
    3: "a child is no node behind its parent",
    4: "a leaf has no row",
    5: "a missing input goes neither left nor right",
    6: f"a tree is deeper than {MAX_DEPTH}",
    7: f"more than {STACK - 1} alternate trees",
}


def _forest(arrays: Mapping[str, Array], k: int, _: Member) -> None:
    leaves = len(arrays["votes"])
    _shape(arrays, "votes", leaves, 2)
    _shape(arrays, "bayes", leaves)
    _shape(arrays, "weights", len(arrays["roots"]))
    if (arrays["votes"] < 0).any() or (arrays["weights"] < 0).any():
        raise ModelError("`votes` or `weights` has a negative number")
    blocks, rows = len(arrays["prior"]), len(arrays["rows"])
    _shape(arrays, "prior", blocks, 2)
    _shape(arrays, "begin", blocks + 1)
    _shape(arrays, "rows", rows, 2)
    _shape(arrays, "gauss", rows, 3)
    begin = arrays["begin"]
    if begin[0] != 0 or begin[-1] != rows or (np.diff(begin) < 0).any():
        raise ModelError("`begin` does not part `rows`")
    _within(arrays["bayes"], -1, blocks, "bayes")
    _within(arrays["rows"][:, 0], 0, k, "rows")
    _within(arrays["rows"][:, 1], 0, 2, "rows")
    if np.isnan(arrays["gauss"]).any() or (arrays["gauss"][:, 1] >= 0).any():
        raise ModelError("`gauss` has a distribution without a spread")
    _trees(arrays, k, leaves)


def _boosted(arrays: Mapping[str, Array], k: int, _: Member) -> None:
    _shape(arrays, "factor", 1)
    _trees(arrays, k, len(arrays["values"]))


def _space(arrays: Mapping[str, Array], k: int, _: Member) -> None:
    _shape(arrays, "mass", len(arrays["nodes"]))
    _shape(arrays, "limits", 2)
    if arrays["limits"][1] <= 0:
        raise ModelError("`limits` has no highest score above 0")
    _trees(arrays, k, len(arrays["nodes"]))


def _bayes(arrays: Mapping[str, Array], k: int, _: Member) -> None:
    _shape(arrays, "prior", 2)
    _shape(arrays, "gauss", 2, k, 3)
    seen = ~np.isnan(arrays["gauss"][:, :, 0])
    spread = arrays["gauss"][:, :, 1][seen]
    if (spread >= 0).any() or np.isnan(arrays["gauss"][seen]).any():
        raise ModelError("`gauss` has a distribution without a spread")


def _bins(arrays: Mapping[str, Array], k: int, _: Member) -> None:
    first, terms, weights = arrays["first"], arrays["terms"], arrays["weights"]
    _shape(arrays, "first", k + 1)
    _shape(arrays, "bias", 1)
    _shape(arrays, "terms", len(terms), 4)
    if first[0] != 0 or first[-1] != len(arrays["edges"]) or (np.diff(first) < 0).any():
        raise ModelError("`first` does not part `edges`")
    for at in range(k):
        if (np.diff(arrays["edges"][first[at] : first[at + 1]]) <= 0).any():
            raise ModelError("`edges` of an input do not rise")
    _within(terms[:, 0], 0, k, "terms")
    _within(terms[:, 1], -1, k, "terms")
    bins = np.diff(first).astype(np.int64) + 2
    crossed = terms[:, 1] >= 0
    second = np.where(crossed, bins[np.maximum(terms[:, 1], 0)] if k else 0, 1)
    size = (bins[terms[:, 0]] if k else np.zeros(len(terms), np.int64)) * second
    if (terms[:, 2] < 0).any() or (terms[:, 2] + size > len(weights)).any():
        raise ModelError("`terms` reads beyond `weights`")
    if (crossed & (terms[:, 3] != second)).any():
        raise ModelError("`terms` has another number of bins than `edges`")


def _blend(arrays: Mapping[str, Array], k: int, member: Member) -> None:
    if member.blend not in BLENDS:
        raise ModelError(f"`blend` was not one of {', '.join(BLENDS)}")
    if k:
        raise ModelError("a blend reads models, not `inputs`")
    _shape(arrays, "weights", len(member.parts))
    _shape(arrays, "bias", 1)


def _within(array: Array, low: int, high: int, name: str) -> None:
    if ((array < low) | (array >= high)).any():
        raise ModelError(f"`{name}` has a number that is not from {low} to {high - 1}")


_CHECKS = {
    "linear": _linear,
    "forest": _forest,
    "boosted": _boosted,
    "space": _space,
    "bayes": _bayes,
    "bins": _bins,
    "blend": _blend,
}
