"""Trees of every library as one table: Hoeffding trees, forests of them, boosted trees, half-space trees.

Node of a tree (int32 [N, 4], float64 [N]); the two children of a node lie side by side::

    nodes: input (-1: a leaf), left child (a leaf: its row in leaves), where a missing input goes (0 left,
           1 right), root of an alternate tree that is asked too (-1: none)
    threshold: left if x <= threshold

Leaf (float64 [L, 2], int32 [L]): votes for legitimate and fraud, and the row of a naive Bayes that replaces
them (-1: none), whose result is multiplied by the leaf's first vote. Bayes of a leaf: see :func:`leaf_bayes`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.models.kernel_math import exp_exact

STACK = 64
"""Alternate trees that wait while one row is scored; the loader refuses more."""


@njit(cache=True, nogil=True)
def walk(nodes, threshold, inputs, node, x, present):  # type: ignore[no-untyped-def]
    """Return the leaf node that a row reaches from ``node``; alternate trees are not asked."""
    feature = nodes[node, 0]
    while feature >= 0:
        i = inputs[feature]
        right = nodes[node, 2] if not present[i] else np.int32(x[i] > threshold[node])
        node = nodes[node, 1] + right
        feature = nodes[node, 0]
    return node


@njit(cache=True, nogil=True)
def leaf_bayes(row, prior, begin, rows, gauss, inputs, x, present):  # type: ignore[no-untyped-def]
    """Return the two class probabilities of River's naive Bayes in a leaf (``do_naive_bayes_prediction``).

    Args:
        row: which one.
        prior: float64 [B, 2] log of the class's share; NaN: the class was never seen.
        begin: int32 [B + 1] its part of ``rows``.
        rows: int32 [R, 2] input, class.
        gauss: float64 [R, 3] mean, -2 variance, log of the density at the mean.
        inputs: int32 [k] input -> column of x.
        x: float64 [K].
        present: uint8 [K].
    """
    a, b = prior[row, 0], prior[row, 1]
    for at in range(begin[row], begin[row + 1]):
        i = inputs[rows[at, 0]]
        if present[i]:
            distance = x[i] - gauss[at, 0]
            log_p = distance * distance / gauss[at, 1] + gauss[at, 2]
            if log_p > -np.inf:
                if rows[at, 1] == 0:
                    a += log_p
                else:
                    b += log_p
    if np.isnan(a):
        return 0.0, 0.0 if np.isnan(b) else 1.0
    if np.isnan(b):
        return 1.0, 0.0
    ratio = b - a
    if ratio > 700.0:
        return 0.0, 1.0
    if ratio < -700.0:
        return 1.0, 0.0
    odds = exp_exact(ratio)
    return 1.0 / (1.0 + odds), odds / (1.0 + odds)


@njit(cache=True, nogil=True)
def forest_votes(  # type: ignore[no-untyped-def]
    nodes, threshold, votes, bayes, prior, begin, rows, gauss, roots, weights, inputs, x, present
):
    """Return the summed votes of all leaves that a row reaches, times their trees' weights."""
    legitimate, fraud = 0.0, 0.0
    stack = np.empty(STACK, np.int64)
    for tree in range(len(roots)):
        stack[0] = roots[tree]
        waiting = 1
        while waiting:
            waiting -= 1
            node = stack[waiting]
            while nodes[node, 0] >= 0:
                if nodes[node, 3] >= 0 and waiting < STACK:
                    stack[waiting] = nodes[node, 3]
                    waiting += 1
                i = inputs[nodes[node, 0]]
                right = nodes[node, 2] if not present[i] else np.int32(x[i] > threshold[node])
                node = nodes[node, 1] + right
            leaf = nodes[node, 1]
            a, b = votes[leaf, 0], votes[leaf, 1]
            if bayes[leaf] >= 0:
                scale = a
                a, b = leaf_bayes(bayes[leaf], prior, begin, rows, gauss, inputs, x, present)
                a, b = a * scale, b * scale
            legitimate += weights[tree] * a
            fraud += weights[tree] * b
    return legitimate, fraud


@njit(cache=True, nogil=True)
def boosted_sum(nodes, threshold, votes, roots, inputs, x, present):  # type: ignore[no-untyped-def]
    """Return the sum of the second votes of the leaves that a row reaches, in the order of the trees."""
    total = 0.0
    for tree in range(len(roots)):
        total += votes[nodes[walk(nodes, threshold, inputs, roots[tree], x, present), 1], 1]
    return total


@njit(cache=True, nogil=True)
def space_score(  # type: ignore[no-untyped-def]
    nodes, threshold, mass, roots, size_limit, score_max, inputs, x, present
):
    """Return River's half-space-tree anomaly score: 1 - weighted mass on the paths / its maximum."""
    total = 0.0
    for tree in range(len(roots)):
        node = roots[tree]
        power = 1.0
        score = mass[node]
        while nodes[node, 0] >= 0 and mass[node] >= size_limit:
            i = inputs[nodes[node, 0]]
            right = nodes[node, 2] if not present[i] else np.int32(x[i] > threshold[node])
            node = nodes[node, 1] + right
            power *= 2.0
            score += mass[node] * power
        total += score
    return 1.0 - total / score_max


@njit(cache=True, nogil=True)
def check_nodes(nodes, roots, inputs, leaves, depth_max, alternates_max):  # type: ignore[no-untyped-def]
    """Return 0 if every walk from a root ends in a leaf within bounds, else what is wrong (1 to 7)."""
    n = len(nodes)
    depth = np.zeros(n, np.int32)
    for root in roots:
        if root < 0 or root >= n:
            return 1
    alternates = 0
    for at in range(n):
        if depth[at] > depth_max:
            return 6
        if nodes[at, 0] < -1 or nodes[at, 0] >= inputs:
            return 2
        if nodes[at, 0] == -1:
            if nodes[at, 1] < 0 or nodes[at, 1] >= leaves:
                return 4
            continue
        left, other = nodes[at, 1], nodes[at, 3]
        if left <= at or left >= n - 1 or other < -1 or (other >= 0 and (other <= at or other >= n)):
            return 3
        if nodes[at, 2] != 0 and nodes[at, 2] != 1:
            return 5
        below = depth[at] + 1
        depth[left] = max(depth[left], below)
        depth[left + 1] = max(depth[left + 1], below)
        if other >= 0:
            depth[other] = max(depth[other], below)
        alternates += other >= 0
    return 7 if alternates > alternates_max else 0
