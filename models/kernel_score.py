"""All models of a file in one call: what libraries compute one dict at a time, over rows of one table.

A model is a row of ``members`` (int64 [M, 12]), and what it needs lies in pools that all share::

    0 family, 1 first and 2 number of its inputs (in ``inputs``), 3 first of its numbers (in ``reals``),
    4 first and 5 number of its trees (``roots``), terms (``terms``) or parts (``parts``),
    6 variant of its family, 7 where its edges begin (``edges``, bins only), 8 its calibration (in ``reals``,
    -1: none), 9 first of its tree weights (in ``reals``), 10 and 11 0

Numbers of a family, in order: linear: mean [k], deviation [k], weights [k], bias. bins: bias. bayes: log
share [2], then mean, -2 variance, log of the density at the mean [2, k, 3] (NaN: no distribution). space:
size limit, highest score. boosted: factor of the sum. blend: weights, bias.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fraudstream.models.kernel_inputs import TILE, read_input, scratch
from fraudstream.models.kernel_math import exp_exact, log_exact, logit, sigmoid
from fraudstream.models.kernel_trees import boosted_sum, forest_votes, space_score

LINEAR, FOREST, BOOSTED, SPACE, BAYES, BINS, BLEND = 0, 1, 2, 3, 4, 5, 6
MAX, MEAN_LOGIT, STACKED = 0, 1, 2
"""Variants of a blend."""
MEMBER_WIDTH = 12

DENSITY_FLOOR = 1e-9
"""What River adds to every density of its Gaussian naive Bayes."""


class Table(NamedTuple):
    """The pools; layouts above and in :mod:`fraudstream.models.kernel_trees`."""

    members: NDArray[np.int64]
    inputs: NDArray[np.int32]
    """[..] column of x, model by model."""
    reals: NDArray[np.float64]
    roots: NDArray[np.int32]
    nodes: NDArray[np.int32]
    threshold: NDArray[np.float64]
    mass: NDArray[np.float64]
    """[N] of half-space trees; empty without them."""
    votes: NDArray[np.float64]
    bayes: NDArray[np.int32]
    prior: NDArray[np.float64]
    begin: NDArray[np.int32]
    rows: NDArray[np.int32]
    gauss: NDArray[np.float64]
    terms: NDArray[np.int32]
    """[.., 4] input, second input (-1: none), first weight (in ``reals``), bins of the second."""
    edges: NDArray[np.int32]
    """[..] first edge of each input (in ``reals``) and behind the last; x is in bin #{edges < x} + 1, a
    missing one in bin 0."""
    parts: NDArray[np.int32]
    """[..] models that a blend is made of; they stand before it."""


@njit(cache=True, nogil=True)
def score_members(  # type: ignore[no-untyped-def]
    table,
    binding,
    columns,
    wanted,
    scope_begin,
    scope,
    allowed,
    probability,
):
    """Score the rows that each model wants; its other rows are -1.

    Args:
        table: the models.
        binding: int64 [k, 6] (:mod:`fraudstream.models.kernel_inputs`).
        columns: :class:`fraudstream.models.inputs.Columns`.
        wanted: uint8 [n].
        scope_begin: int32 [M + 1], each model's part of ``scope``.
        scope: int64 [S, 2] column of an enum field, where its values begin in ``allowed``.
        allowed: uint8 [..] 1: the model scores rows with this value.
        probability: float64 [M, n], written.
    """
    k = len(binding)
    room = scratch()
    x = np.empty((TILE, k))
    present = np.empty((TILE, k), np.uint8)
    known = np.empty(k, np.bool_)
    for begin in range(0, len(wanted), TILE):
        end = min(begin + TILE, len(wanted))
        known[:] = False
        for m in range(len(table.members)):
            first, count = table.members[m, 1], table.members[m, 2]
            inputs = table.inputs[first : first + count]
            inside = 0
            for row in range(begin, end):
                within = wanted[row] != 0
                for at in range(scope_begin[m], scope_begin[m + 1]):
                    column = scope[at, 0]
                    within = (
                        within
                        and columns.field_state[column, row] == 1
                        and allowed[scope[at, 1] + columns.field_value[column, row]] == 1
                    )
                probability[m, row] = 0.0 if within else -1.0
                inside += within
            if inside == 0:
                continue
            for i in inputs:
                if not known[i]:
                    known[i] = True
                    read_input(binding, i, begin, end, columns, room, x, present)
            for row in range(begin, end):
                if probability[m, row] == 0.0:
                    tile = row - begin
                    probability[m, row] = score_row(
                        table, m, inputs, x[tile], present[tile], probability, row
                    )


@njit(cache=True, nogil=True)
def score_matrix(table, m, x, present, wanted, probability):  # type: ignore[no-untyped-def]
    """Score rows whose inputs are read already with models 0 to m; rows that are not wanted are -1."""
    for at in range(m + 1):
        first, count = table.members[at, 1], table.members[at, 2]
        inputs = table.inputs[first : first + count]
        for row in range(len(wanted)):
            probability[at, row] = (
                score_row(table, at, inputs, x[row], present[row], probability, row) if wanted[row] else -1.0
            )


@njit(cache=True, nogil=True, inline="always")
def score_row(table, m, inputs, x, present, probability, row):  # type: ignore[no-untyped-def]
    """Return the calibrated probability of one model for one row, -1 if it has none."""
    member = table.members[m]
    family = member[0]
    if family == LINEAR:
        p = _linear(table.reals[member[3] :], inputs, x, present)
    elif family == FOREST:
        legitimate, fraud = forest_votes(
            table.nodes,
            table.threshold,
            table.votes,
            table.bayes,
            table.prior,
            table.begin,
            table.rows,
            table.gauss,
            table.roots[member[4] : member[4] + member[5]],
            table.reals[member[9] :],
            inputs,
            x,
            present,
        )
        p = fraud / (legitimate + fraud) if legitimate + fraud > 0.0 else 0.0
    elif family == BOOSTED:
        roots = table.roots[member[4] : member[4] + member[5]]
        total = boosted_sum(table.nodes, table.threshold, table.votes, roots, inputs, x, present)
        p = sigmoid(table.reals[member[3]] * total)
    elif family == SPACE:
        roots = table.roots[member[4] : member[4] + member[5]]
        limit, highest = table.reals[member[3]], table.reals[member[3] + 1]
        p = space_score(table.nodes, table.threshold, table.mass, roots, limit, highest, inputs, x, present)
    elif family == BAYES:
        p = _bayes(table.reals[member[3] :], inputs, x, present)
    elif family == BINS:
        terms = table.terms[member[4] : member[4] + member[5]]
        p = sigmoid(_bins(table, table.reals[member[3]], terms, table.edges[member[7] :], inputs, x, present))
    else:
        parts = table.parts[member[4] : member[4] + member[5]]
        p = _blend(parts, member[6], table.reals[member[3] :], probability, row)
    if member[8] >= 0 and p >= 0.0:
        p = sigmoid(table.reals[member[8]] * logit(p) + table.reals[member[8] + 1])
    return p


@njit(cache=True, nogil=True, inline="always")
def _linear(reals, inputs, x, present):  # type: ignore[no-untyped-def]
    """Scaled logistic regression; a missing input is skipped, as an absent key is by River."""
    k = len(inputs)
    z = reals[3 * k]
    for j in range(k):
        i = inputs[j]
        scale = reals[k + j]  # 0 where the scaler saw one value only: the input then counts 0
        if present[i] and scale != 0.0:
            z += reals[2 * k + j] * ((x[i] - reals[j]) / scale)
    return sigmoid(z)


@njit(cache=True, nogil=True)
def _bayes(reals, inputs, x, present):  # type: ignore[no-untyped-def]
    """River's Gaussian naive Bayes: a floor under every density, also where there is no distribution."""
    a, b = reals[0], reals[1]
    k = len(inputs)
    for j in range(k):
        i = inputs[j]
        if not present[i]:
            continue
        for label in range(2):
            at = 2 + 3 * (label * k + j)
            density = 0.0
            if not np.isnan(reals[at]):
                distance = x[i] - reals[at]
                log_p = distance * distance / reals[at + 1] + reals[at + 2]
                if log_p > -700.0:
                    density = exp_exact(min(log_p, 700.0))
            gained = log_exact(DENSITY_FLOOR + density)
            if label == 0:
                a += gained
            else:
                b += gained
    if np.isnan(b):
        return 0.0
    if np.isnan(a):
        return 1.0
    if b - a > 700.0:
        return 1.0
    if b - a < -700.0:
        return 0.0
    odds = exp_exact(b - a)
    return odds / (1.0 + odds)


@njit(cache=True, nogil=True, inline="always")
def _bins(table, bias, terms, edges, inputs, x, present):  # type: ignore[no-untyped-def]
    """Sum of one weight a term: of the bin of its input, or of the pair of bins of its two."""
    total = bias
    for at in range(len(terms)):
        place = _bin(table.reals, edges, terms[at, 0], inputs, x, present)
        if terms[at, 1] >= 0:
            second = _bin(table.reals, edges, terms[at, 1], inputs, x, present)
            place = place * terms[at, 3] + second
        total += table.reals[terms[at, 2] + place]
    return total


@njit(cache=True, nogil=True, inline="always")
def _bin(reals, edges, j, inputs, x, present):  # type: ignore[no-untyped-def]
    """Return 0 for a missing input, else 1 + the number of edges below it."""
    i = inputs[j]
    if not present[i]:
        return 0
    low, high = edges[j], edges[j + 1]
    first = low
    while low < high:
        middle = (low + high) >> 1
        if reals[middle] < x[i]:
            low = middle + 1
        else:
            high = middle
    return low - first + 1


@njit(cache=True, nogil=True)
def _blend(parts, kind, reals, probability, row):  # type: ignore[no-untyped-def]
    """Blend what other models said; those without a score are left out, a stack then has none."""
    total, count, highest = 0.0, 0, -1.0
    for at in range(len(parts)):
        p = probability[parts[at], row]
        if p < 0.0:
            if kind == STACKED:
                return -1.0
            continue
        count += 1
        highest = max(highest, p)
        total += reals[at] * logit(p) if kind == STACKED else logit(p)
    if kind == STACKED:
        return sigmoid(total + reals[len(parts)])
    if count == 0 or kind == MAX:
        return highest
    return sigmoid(total / count)


@njit(cache=True, nogil=True)
def to_micro(probability, micro):  # type: ignore[no-untyped-def]
    """Write rint(p * 10**6), half to even, of the binary64 product [M, n]; -1 stays -1 (missing)."""
    for m in range(probability.shape[0]):
        for row in range(probability.shape[1]):
            p = probability[m, row]
            micro[m, row] = -1 if p < 0.0 else np.int64(np.rint(p * 1e6))
