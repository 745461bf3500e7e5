"""What the proof of narrowing claims holds on every row, by the tree walk over the expressions."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from support.expressions import CONDITION_NODES, LISTS, PARAMS, conditions, make_scope, make_table
from support.treewalk import Case, package_zone, value

from fraudstream.rules.compiler.grammar import parse
from fraudstream.rules.compiler.nodes import Node
from fraudstream.rules.compiler.types import Scope, check
from fraudstream.rules.compiler.widening import Proof

ZONE = "Asia/Shanghai"
NARROWER = [
    ("({a}) and ({b})", "({a})"),
    ("({a})", "({a}) or ({b})"),
    ("not (({a}) or ({b}))", "not ({a})"),
    ("({a}) and ({b}) and ({c})", "({c}) and ({a})"),
    ("(({a}) and ({b})) or (({a}) and ({c}))", "({a})"),
    ("txn.amount > 90 and ({a})", "({a}) and txn.amount > 50"),
    ("txn.amount between 60 and 70", "not (txn.amount < 50)"),
    ('txn.country in ["CN"] and ({a})', 'txn.country in ["DE", "CN"]'),
]
"""(after, before): the first is true only where the second is, whatever a, b and c are."""
OTHERS = [
    ("({a})", "({a}) and ({b})"),
    ("({a}) or ({b})", "({a})"),
    ("not ({a})", "({a})"),
    ("({a})", "({b})"),
    ("txn.amount > 50 and ({a})", "({a}) and txn.amount > 90"),
    ("not (({a}) and ({b}))", "not ({a})"),
    ("coalesce({a}, true)", "({a})"),
    ("coalesce({a}, false)", "({a})"),
    ("not (coalesce({a}, false))", "not ({a})"),
    ("({a}) is missing", "not ({a})"),
    ("txn.amount != 5", "txn.amount > 5 or txn.amount < 5"),
    ('txn.country not in ["CN"]', 'txn.country not in ["DE", "CN"]'),
]
"""Not so in general."""


@cache
def scope() -> Scope:
    """Return the names."""
    return make_scope(ZONE)


def syntax(text: str) -> Node:
    """Parse what has to be right."""
    node, problems = parse(text)
    assert node is not None, problems
    return node


def true_rows(text: str, seed: int, missing: float) -> list[bool]:
    """Return on which rows the oracle calls a condition true."""
    named = {name: item for name, item in CONDITION_NODES.items() if item is not None}
    lists = {name: items for name, (_, items) in LISTS.items()}
    node, place, found = syntax(text), package_zone(ZONE), []
    for row in make_table(40, seed, missing).rows:
        time = row["event.time"].x
        case = Case(row, PARAMS, named, lists, place, time if isinstance(time, int) else None)
        found.append(value(node, case, syntax).x is True)
    return found


def proved(after: str, before: str) -> bool:
    """Return whether the proof is found; examples that the checker refuses are passed over."""
    new, old = check(after, scope())[0], check(before, scope())[0]
    assume(new is not None and old is not None)
    assert new is not None
    assert old is not None
    names = {slot.name: "" for slot in scope().slots.values()}
    return Proof(names, names, {}).implies(new.term, old.term)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(NARROWER + OTHERS),
    conditions(),
    conditions(),
    conditions(),
    st.integers(0, 2**32),
    st.sampled_from([0.0, 0.2, 0.6]),
)
def test_what_is_proved_holds_on_every_row(
    form: tuple[str, str], a: str, b: str, c: str, seed: int, missing: float
) -> None:
    """Nobody goes without a second signature because of a wrong proof."""
    after, before = (text.format(a=a, b=b, c=c) for text in form)
    if proved(after, before):
        new, old = true_rows(after, seed, missing), true_rows(before, seed, missing)
        assert [row for row in range(40) if new[row] and not old[row]] == []


@pytest.mark.parametrize("form", NARROWER)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(conditions(), conditions(), conditions())
def test_what_is_plainly_narrower_is_proved(form: tuple[str, str], a: str, b: str, c: str) -> None:
    """A tighter threshold or one more condition asks nobody for a signature."""
    after, before = (text.format(a=a, b=b, c=c) for text in form)
    assert proved(after, before)
