"""Compiled programs equal the tree walk."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.expressions import (
    CONDITION_NODES,
    KEY,
    LISTS,
    PARAMS,
    ZONES,
    Table,
    conditions,
    make_scope,
    make_table,
)
from support.treewalk import Case, package_zone, value

from fraudstream.rules.compiler import nodes, program
from fraudstream.rules.compiler.grammar import parse
from fraudstream.rules.compiler.program import compile_outputs
from fraudstream.rules.compiler.types import Scope, check

REFUSED = (
    "the ends of `between` are in the wrong order",
    "this constant has no value",
    "an amount in CNY has at most 2 decimals",
    "a constant is never missing",
    "`step` of `is_round` must be above 0",
    "only a constant number",
    "a percentage can not stand beside",
)
"""What random expressions may run into; anything else is a bug of the checker or the generator."""


@cache
def scope_of(zone: str) -> Scope:
    """Return the scope of a zone, with the kernels compiled."""
    program.warm()
    return make_scope(zone)


def syntax(text: str) -> nodes.Node:
    """Parse what has to be right."""
    node, problems = parse(text)
    assert node is not None, problems
    return node


def expected(text: str, table: Table, zone: str) -> tuple[list[bool], list[bool]]:
    """Return which rows the oracle calls true and which unknown."""
    node = syntax(text)
    true, unknown = [], []
    place = package_zone(zone)
    lists = {name: items for name, (_, items) in LISTS.items()}
    named = {name: item for name, item in CONDITION_NODES.items() if item is not None}
    for row in table.rows:
        time = row["event.time"].x
        case = Case(row, PARAMS, named, lists, place, time if isinstance(time, int) else None)
        found = value(node, case, syntax).x
        true.append(found is True)
        unknown.append(found is None)
    return true, unknown


def bits(masks: np.ndarray, n: int) -> list[bool]:
    """Unpack one output's masks."""
    flat = np.unpackbits(masks.view(np.uint8), bitorder="little")
    assert not flat[n:].any(), "bits beyond the rows are set"
    return [bool(bit) for bit in flat[:n]]


@settings(
    max_examples=700, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(
    texts=st.lists(conditions(), min_size=1, max_size=6),
    n=st.one_of(st.integers(1, 20), st.sampled_from([63, 64, 65, 127, 128, 129, 200])),
    seed=st.integers(0, 2**32),
    missing=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    zone=st.sampled_from(ZONES),
)
def test_programs_equal_the_tree_walk(texts: list[str], n: int, seed: int, missing: float, zone: str) -> None:
    """Any conditions over any columns give the oracle's true and unknown rows."""
    scope = scope_of(zone)
    accepted = []
    for text in texts:
        checked, problems = check(text, scope)
        if checked is None:
            shown = [f"{item.message}; {item.hint}" for item in problems]
            assert all(any(known in message for known in REFUSED) for message in shown), (text, shown)
            continue
        accepted.append((text, checked))
    table = make_table(n, seed, missing)
    bound = compile_outputs([checked for _, checked in accepted]).bind(KEY)
    true, unknown = bound.evaluate(table.inputs, n)
    for i, (text, _) in enumerate(accepted):
        want_true, want_unknown = expected(text, table, zone)
        assert bits(true[i], n) == want_true, text
        assert bits(unknown[i], n) == want_unknown, text


@pytest.mark.long
@pytest.mark.timeout(1_800)
@settings(max_examples=20_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=conditions(), seed=st.integers(0, 2**32), zone=st.sampled_from(ZONES))
def test_many_programs_equal_the_tree_walk(text: str, seed: int, zone: str) -> None:
    """The same on many more single conditions."""
    test_programs_equal_the_tree_walk.hypothesis.inner_test([text], 40, seed, 0.2, zone)  # type: ignore[attr-defined]
