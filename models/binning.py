"""Inputs cut into bins and pairs of bins, for River's logistic regression: a table instead of a slope.

A value is in bin 1 + #{edges < value}, a missing one in bin 0. River sees one-hot names like ``amount=3`` and
``amount=3&hour=1``; the compiled form (family ``bins``) looks the weight up.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from river import base

Term = tuple[str, ...]
"""One or two keys of inputs."""


class Binner(base.Transformer):  # type: ignore[misc]
    """River transformer from values to the bins they are in.

    Args:
        edges: input key -> rising edges.
        crosses: pairs of input keys that get a weight for each pair of bins.
    """

    def __init__(self, edges: Mapping[str, Sequence[float]], crosses: Sequence[tuple[str, str]] = ()) -> None:
        self.edges = {key: [float(edge) for edge in one] for key, one in edges.items()}
        self.crosses = [tuple(pair) for pair in crosses]
        self.terms: list[Term] = [*((key,) for key in self.edges), *self.crosses]

    @staticmethod
    def name(term: Term, place: Sequence[int]) -> str:
        """Return the one-hot name of a term's bins."""
        return "&".join(f"{key}={bin_}" for key, bin_ in zip(term, place, strict=True))

    def place(self, key: str, x: Mapping[str, Any]) -> int:
        """Return the bin of one input."""
        return bisect_left(self.edges[key], x[key]) + 1 if key in x else 0

    def transform_one(self, x: dict[str, Any]) -> dict[str, float]:
        """Return 1.0 under the name of every term's bins."""
        place = {key: self.place(key, x) for key in self.edges}
        return {self.name(term, [place[key] for key in term]): 1.0 for term in self.terms}


def quantile_edges(values: NDArray[np.float64], count: int) -> list[float]:
    """Return rising edges: ``count`` that cut finite values into about equal parts, and some in the tail.

    Fraud is rarer than such a part is large: the upper tail is halved down to one value in 4,096.
    """
    if not len(values):
        return []
    shares = [*np.linspace(0, 1, count + 2)[1:-1], *(1.0 - 0.5 ** np.arange(4, 13))]
    cuts = np.quantile(values, sorted(shares), method="lower")
    edges: list[float] = np.unique(cuts[cuts < values.max()]).tolist()
    return edges
