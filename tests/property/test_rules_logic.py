"""The lint of conditions is never wrong: what it calls impossible or certain is so for every value."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from support.sample_rules import sample_files

from fraudstream.rules import compile_sources
from fraudstream.rules.compiler.logic import Keys, _clash, literals, ranges_of
from fraudstream.rules.compiler.types import check

DECLARED = compile_sources(sample_files()).declared
assert DECLARED is not None
SCOPE = DECLARED.rules[0].scope
RANGES = ranges_of(DECLARED)
NAMES = {
    "card.declines_10m": range(9),
    "txn.channel": ("mobile", "web", "atm", "pos"),
    "account.points_1h": (-1.0, 0.0, 0.5, 1.0, 2.0, 2.5, 3.0, 7.5),
}
"""Every value that the small constants below can tell apart."""

Tree = tuple[object, ...]

count = st.tuples(
    st.just("card.declines_10m"), st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), st.integers(0, 6)
)
point = st.tuples(st.just("account.points_1h"), st.sampled_from(["<", "<=", ">", ">="]), st.integers(0, 3))
channel = st.tuples(
    st.just("txn.channel"), st.sampled_from(["==", "!="]), st.sampled_from(NAMES["txn.channel"])
)
atoms = st.one_of(count, point, channel)
trees = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner),
        st.tuples(st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=4)),
    ),
    max_leaves=8,
)


def text(tree: Tree) -> str:
    """Return the tree as an expression."""
    if tree[0] == "not":
        return f"not ({text(tree[1])})"  # type: ignore[arg-type]
    if tree[0] in ("and", "or"):
        return f" {tree[0]} ".join(f"({text(item)})" for item in tree[1])  # type: ignore[attr-defined]
    value = f'"{tree[2]}"' if isinstance(tree[2], str) else tree[2]
    return f"{tree[0]} {tree[1]} {value}"


def holds(tree: Tree, row: dict[str, object]) -> bool:
    """Evaluate the tree for present values."""
    if tree[0] == "not":
        return not holds(tree[1], row)  # type: ignore[arg-type]
    if tree[0] in ("and", "or"):
        parts = [holds(item, row) for item in tree[1]]  # type: ignore[attr-defined]
        return all(parts) if tree[0] == "and" else any(parts)
    value, op, constant = row[tree[0]], tree[1], tree[2]  # type: ignore[index]
    return bool(eval(f"a {op} b", {}, {"a": value, "b": constant}))  # operators of the strategy only


@given(trees)
@settings(max_examples=400, deadline=None)
def test_verdicts_hold_for_every_value(tree: Tree) -> None:
    """If a conjunction clashes it is false everywhere; if the opposite does, it is true everywhere."""
    found, problems = check(text(tree), SCOPE)
    assert found is not None, problems
    rows = [dict(zip(NAMES, values, strict=True)) for values in itertools.product(*NAMES.values())]
    if _clash(literals(found.term, positive=True), Keys(), RANGES) is not None:
        assert not any(holds(tree, row) for row in rows)
    if _clash(literals(found.term, positive=False), Keys(), RANGES) is not None:
        assert all(holds(tree, row) for row in rows)


@given(st.lists(count, min_size=1, max_size=4))
@settings(max_examples=400, deadline=None)
def test_impossible_conjunctions_of_a_count_are_found(atoms: list[Tree]) -> None:
    """For whole numbers the analysis misses nothing but gaps that several `!=` leave together."""
    found, problems = check(" and ".join(text(atom) for atom in atoms), SCOPE)
    assert found is not None, problems
    clash = _clash(literals(found.term, positive=True), Keys(), RANGES)
    possible = any(all(holds(atom, {"card.declines_10m": value}) for atom in atoms) for value in range(99))
    if not possible and sum(atom[1] == "!=" for atom in atoms) < 2:
        assert clash is not None
