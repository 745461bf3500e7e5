"""Coverage of terms: whether a rule's tests have seen each of its comparisons true and false.

A term is a comparison, or another condition that is not made of conditions, as it stands in ``when``, a named
condition, an exception, a band or a cell. Each becomes an output of the program, behind a rule in shadow of
its own, so that tests with values and tests with events look at it in the production core.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from fraudstream.rules.bundle import Action, Mode, Rule, Severity
from fraudstream.rules.compiler.casefile import HASH_KEY, HistoryOutcome, bit, inputs_of, values_of
from fraudstream.rules.compiler.compile import Compiled, build_bundle
from fraudstream.rules.compiler.nodes import And, Bool, Name, Node, Not, Or
from fraudstream.rules.compiler.parts import Condition
from fraudstream.rules.compiler.ruleset import DeclaredRule
from fraudstream.rules.compiler.source import Span
from fraudstream.rules.compiler.types import Checked, check

PREFIX = "term/"
"""Begins the ids of terms, which no rule's id can have."""


@dataclass(frozen=True, slots=True)
class Term:
    """One term of a rule."""

    id: str
    rule: str
    text: str
    span: Span
    checked: Checked


@dataclass(frozen=True, slots=True)
class Covered:
    """What the tests of its rule have seen of a term."""

    term: Term
    true: bool
    false: bool

    @property
    def outcomes(self) -> int:
        """Return how many of its two outcomes were seen."""
        return self.true + self.false


def terms_of(rule: DeclaredRule) -> tuple[Term, ...]:
    """Return the terms of a rule in the order of its conditions."""
    out: list[Term] = []
    for part in rule.parts:
        for node in _leaves(part.checked.node) if part.checked.node is not None else ():
            if isinstance(node, Bool) or (isinstance(node, Name) and node.name in rule.conditions):
                continue
            text = part.checked.text[node.begin : node.end]
            found, _ = check(text, rule.scope)
            if found is not None:
                out.append(Term(f"{PREFIX}{rule.id}/{len(out)}", rule.id, text, _span(part, node), found))
    return tuple(out)


def with_terms(compiled: Compiled) -> tuple[Compiled, tuple[Term, ...]]:
    """Return the same rules with a rule in shadow for each term.

    Raises:
        ValueError: the files did not compile.
    """
    if compiled.bundle is None or compiled.declared is None:
        raise ValueError("the rule files have errors; terms are covered only in a compiled bundle")
    terms = tuple(term for rule in compiled.rules for term in terms_of(rule))
    bundle = build_bundle(compiled.declared, compiled.bundle.archive, [term.checked for term in terms])
    first = bundle.program.outputs - len(terms)
    gates = {rule.id: rule.gate for rule in bundle.rules}
    shadows = [_shadow(term, first + at, gates.get(term.rule, 0)) for at, term in enumerate(terms)]
    return replace(compiled, bundle=replace(bundle, rules=(*bundle.rules, *shadows))), terms


def coverage(
    compiled: Compiled, terms: tuple[Term, ...], events: Mapping[int, HistoryOutcome]
) -> tuple[Covered, ...]:
    """Return what all tests together have seen of each term.

    Args:
        compiled: of :func:`with_terms`.
        terms: of :func:`with_terms`.
        events: outcome of each test with events by ``id`` of its records.
    """
    bundle = compiled.bundle
    assert bundle is not None
    seen: dict[str, set[str]] = {term.id: set() for term in terms}
    mine: dict[str, list[Term]] = {}
    for term in terms:
        mine.setdefault(term.rule, []).append(term)
    cases = [(rule, case) for rule in compiled.rules for case in rule.cases]
    given = [(rule, case) for rule, case in cases if case.given is not None]
    if given:
        outputs = {rule.id: rule.index for rule in bundle.rules}
        inputs = inputs_of(bundle, [values_of(bundle, case) for _, case in given])
        true, unknown = bundle.program.bind(HASH_KEY).evaluate(inputs, len(given))
        for row, (rule, _) in enumerate(given):
            for term in mine.get(rule.id, ()):
                if bit(true, outputs[term.id], row):
                    seen[term.id].add("true")
                elif not bit(unknown, outputs[term.id], row):
                    seen[term.id].add("false")
    for rule, case in cases:
        outcome = events.get(id(case.records)) if case.given is None else None
        for term in mine.get(rule.id, ()) if outcome is not None else ():
            assert outcome is not None
            seen[term.id].add(outcome.match[term.id])
    return tuple(Covered(term, "true" in seen[term.id], "false" in seen[term.id]) for term in terms)


def _leaves(root: Node) -> Iterator[Node]:
    if isinstance(root, And | Or):
        for node in root.terms:
            yield from _leaves(node)
    elif isinstance(root, Not):
        yield from _leaves(root.operand)
    else:
        yield root


def _span(part: Condition, node: Node) -> Span:
    return part.part(node.begin, node.end)


def _shadow(term: Term, output: int, gate: int) -> Rule:
    return Rule(
        id=term.id,
        title=term.text,
        index=output,
        gate=gate,
        severity=Severity.LOW,
        mode=Mode.SHADOW,
        action=Action.NONE,
        never_override=False,
        score=0,
        priority=0,
        typology=-1,
        owner="",
        zone="UTC",
        reason={},
        reads=(),
    )
