"""Suite `models`: what models cost a transaction, one by one and 450 registered ones at once.

Models are made up, of the shapes of workload W2: 200 scorecards of 8 characteristics, 200 linear models of 15
inputs, 50 boosted forests of 100 trees with 8 leaves, scoped so that 20, 20 and 2 of them apply to a
transaction. Inputs are features of a made-up matrix; reading and transforming them is part of the time.
Times are of the processor, so that others on the machine count less.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from fraudstream.bench.report import Table
from fraudstream.models.file import dump_models, load_model
from fraudstream.models.inputs import TRANSFORMS, Columns, Input
from fraudstream.models.members import Array, Member
from fraudstream.models.model import Model, Scope

FEATURES = 600
SCORECARDS, LINEAR, FORESTS = 200, 200, 50
GROUPS = {"bins": 10, "linear": 10, "boosted": 25}
"""Scopes: a transaction is in one of so many, so that a tenth or a twenty-fifth of the models apply."""
TREES, LEAVES = 100, 8


def make_linear(name: str, inputs: tuple[Input, ...], random: np.random.Generator, **more: Any) -> Member:
    """Return a linear model with made-up numbers."""
    k = len(inputs)
    arrays = {
        "mean": random.random(k),
        "var": random.random(k) + 0.1,
        "weights": random.normal(size=k),
        "bias": np.array([-3.0]),
    }
    return Member(name, "linear", inputs, arrays, **more)


def make_scorecard(name: str, inputs: tuple[Input, ...], random: np.random.Generator, **more: Any) -> Member:
    """Return a scorecard of 5 bins a characteristic."""
    k = len(inputs)
    arrays: dict[str, Array] = {
        "edges": np.concatenate([np.sort(random.choice(1_000, 4, replace=False)) / 50.0 for _ in inputs]),
        "first": np.arange(0, 4 * k + 1, 4).astype(np.int32),
        "terms": np.array([(at, -1, 6 * at, 0) for at in range(k)], np.int32),
        "weights": random.normal(size=6 * k),
        "bias": np.array([-3.0]),
    }
    return Member(name, "bins", inputs, arrays, **more)


def make_forest(name: str, inputs: tuple[Input, ...], random: np.random.Generator, **more: Any) -> Member:
    """Return boosted trees of depth 3."""
    nodes: list[tuple[int, int, int, int]] = []
    threshold: list[float] = []
    roots: list[int] = []
    leaf = 0
    for _ in range(TREES):
        base = len(nodes)
        roots.append(base)
        for at in range(2 * LEAVES - 1):
            if at < LEAVES - 1:
                nodes.append((int(random.integers(len(inputs))), base + 2 * at + 1, 0, -1))
                threshold.append(random.random() * 20)
            else:
                nodes.append((-1, leaf, 0, -1))
                threshold.append(0.0)
                leaf += 1
    arrays = {
        "nodes": np.array(nodes, np.int32),
        "threshold": np.array(threshold),
        "values": random.normal(size=leaf) / 30,
        "roots": np.array(roots, np.int32),
        "factor": np.ones(1),
    }
    return Member(name, "boosted", inputs, arrays, **more)


MAKE = {"bins": (make_scorecard, SCORECARDS, 8), "linear": (make_linear, LINEAR, 15)} | {
    "boosted": (make_forest, FORESTS, 12)
}


def registry(seed: int) -> Model:
    """Return 450 models, of which the first is the champion."""
    random = np.random.default_rng(seed)
    members: list[Member] = []
    for family, (make, count, width) in MAKE.items():
        for at in range(count):
            chosen = random.choice(FEATURES, width, replace=False)
            inputs = tuple(Input(f"f.{one}") for one in chosen)
            role = "shadow" if members else "champion"
            members.append(make(f"{family}_{at}", inputs, random, role=role))
    return load_model(dump_models(members))


def scope_of(model: Model) -> Scope:
    """Return scopes over two made-up enum fields: column 0 for bins and linear, column 1 for forests."""
    begin, conditions = [0], []
    allowed: list[Array] = []
    for at, member in enumerate(model.members):
        groups = GROUPS[member.family]
        conditions.append((int(member.family == "boosted"), sum(map(len, allowed))))
        allowed.append((np.arange(groups) == at % groups).astype(np.uint8))
        begin.append(len(conditions))
    return Scope(np.array(begin, np.int64), np.array(conditions, np.int64), np.concatenate(allowed))


def columns_of(n: int, seed: int) -> Columns:
    """Return rows: two enum fields, and counts as features, a tenth of them missing."""
    random = np.random.default_rng(seed)
    fields = np.stack([random.integers(0, 10, n), random.integers(0, 25, n)])
    there = (random.random((n, FEATURES)) < 0.9).astype(np.uint8)
    return Columns(fields, np.ones((2, n), np.uint8), random.poisson(8, (n, FEATURES)), there)


def binding_of(model: Model) -> Array:
    """Return a binding of the inputs to the matrix."""
    binding = np.zeros((len(model.inputs), 6), np.int64)
    for at, item in enumerate(model.inputs):
        binding[at] = (1, int(item.name[2:]), 0, TRANSFORMS[item.transform], 0, 0)
    return binding


def time_model(model: Model, scope: Scope, n: int, rounds: int) -> tuple[float, float]:
    """Return the least and the middle processor time of a batch of n rows, in microseconds a row."""
    columns, binding = columns_of(n, 7), binding_of(model)
    wanted = np.ones(n, np.uint8)
    spent = []
    for _ in range(rounds):
        begin = time.process_time()
        model.score(binding, columns, wanted, scope)
        spent.append(time.process_time() - begin)
    return min(spent) / n * 1e6, float(np.median(spent)) / n * 1e6


def run(rounds: int) -> tuple[list[Table], dict[str, Any]]:
    """Measure; the least of ``rounds`` is what the code costs when nobody else has the core."""
    random = np.random.default_rng(3)
    alone = {
        "linear, 24 inputs": make_linear("a", tuple(Input(f"f.{i}") for i in range(24)), random),
        "scorecard, 8 characteristics": make_scorecard("a", tuple(Input(f"f.{i}") for i in range(8)), random),
        f"boosted, {TREES} x {LEAVES} leaves": make_forest(
            "a", tuple(Input(f"f.{i}") for i in range(12)), random
        ),
    }
    everywhere = Scope(np.zeros(2, np.int64), np.zeros((0, 2), np.int64), np.zeros(0, np.uint8))
    rows: list[Sequence[Any]] = []
    data: dict[str, Any] = {}
    for name, member in alone.items():
        model = load_model(dump_models([member]))
        _add(rows, data, name, model, everywhere, rounds)
    model = registry(1)
    _add(rows, data, f"{len(model.members)} models, 42 in scope", model, scope_of(model), rounds)
    begin = time.process_time()
    load_model(model.data)
    data["load_seconds"] = time.process_time() - begin
    rows.append(
        [f"load a file of 450 ({len(model.data) / 1e6:.1f} MB)", "-", f"{data['load_seconds']:.3f} s", "-"]
    )
    return [Table("Models alone", ["models", "batch", "least us", "median us"], rows)], data


def _add(
    rows: list[Sequence[Any]], data: dict[str, Any], name: str, model: Model, scope: Scope, rounds: int
) -> None:
    for n in (1, 1_000):
        least, middle = time_model(model, scope, n, max(rounds, 30))
        rows.append([name, str(n), f"{least:.2f}", f"{middle:.2f}"])
        data[f"{name}/{n}"] = {"least_us": least, "median_us": middle}
