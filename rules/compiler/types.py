"""Types and units of expressions: from syntax nodes to checked terms.

``check`` resolves names, decides what bare literals mean, refuses what can not be compared or added,
and returns terms that need neither the scope nor the text any more.

Seams for documents (rule sets, features, tests):

- ``check(text, scope, expect)`` for conditions and filters;
- ``constant(text, scope)`` for ``params`` values and bounds;
- ``value_for(text, slot, scope)`` for the values of ``given`` in tests;
- ``list_value(text, type, scope)`` for items of lists;
- ``gate`` and ``both`` for event types and the effective interval.

A problem is shown to the operator as ``message; hint``.
"""

from __future__ import annotations

from collections.abc import Sequence

from fraudstream.rules.bundle import Slot, Source, Type
from fraudstream.rules.compiler import build
from fraudstream.rules.compiler.checker import Checker
from fraudstream.rules.compiler.grammar import MAX_PROBLEMS, parse
from fraudstream.rules.compiler.literals import Refusal, fit, plain_number, typed_text, words
from fraudstream.rules.compiler.nodes import Problem
from fraudstream.rules.compiler.suggest import suggest
from fraudstream.rules.compiler.terms import (
    CONDITION,
    TIME,
    Checked,
    Constant,
    Kind,
    ListDecl,
    ListItem,
    Scope,
    Term,
    every,
    names_read,
    phrase,
)

__all__ = [
    "Checked",
    "Constant",
    "Kind",
    "ListDecl",
    "ListItem",
    "Problem",
    "Scope",
    "Term",
    "both",
    "check",
    "constant",
    "every",
    "gate",
    "list_value",
    "names_read",
    "phrase",
    "suggest",
    "value_for",
    "words",
]


def check(
    text: str, scope: Scope, expect: Type | None = Type.BOOL
) -> tuple[Checked | None, tuple[Problem, ...]]:
    """Parse and check an expression.

    Returns:
        The checked expression and no problems, or None and all problems found.
    """
    node, problems = parse(text)
    if node is None:
        return None, problems
    checker = Checker(text, scope)
    term = checker.infer(node)
    if term is not None and expect is not None and term.kind.type is not expect:
        hint = "compare it with something, such as `> 0`" if expect is Type.BOOL else ""
        checker.report.add(node, f"{phrase(expect)} is expected, this is {phrase(term.kind)}", hint)
    if term is None or checker.report.problems:
        return None, tuple(sorted(set(checker.report.problems))[:MAX_PROBLEMS])
    return Checked(text, node, term), ()


def constant(text: str, scope: Scope) -> tuple[Constant | None, tuple[Problem, ...]]:
    """Read a constant: ``4``, ``-2``, ``200 CNY``, ``10m``, ``50%``, ``"x"``, ``true``."""
    checked, problems = check(text, scope, None)
    if checked is None:
        return None, problems
    if checked.term.constant is None:
        hint = "write a value such as `4`, `10m`, `200 CNY` or a text in quotes"
        return None, (Problem(0, len(text), "a constant is expected", hint),)
    return checked.term.constant, ()


def value_for(text: str, slot: Slot, scope: Scope) -> tuple[Constant | None, tuple[Problem, ...]]:
    """Read a value for a name, as tests write it.

    Texts need no quotes, money no currency, a geo point is ``30.5, 104.1``.
    """
    kind = scope.kind_of(slot)
    found = typed_text(text, kind, scope)
    if found is None:
        value = plain_number(text)
        if value is None:
            value, problems = constant(text, scope)
            if value is None:
                return None, problems
        found = fit(value, slot, kind, scope)
    if isinstance(found, Refusal):
        return None, (Problem(0, max(len(text), 1), *found),)
    return found, ()


def list_value(
    text: str, item_type: Type, scope: Scope
) -> tuple[int | float | str | None, tuple[Problem, ...]]:
    """Read one item of a list; texts need no quotes. Items of an enum list are checked where it is used."""
    if item_type in (Type.CATEGORY, Type.ID, Type.ENUM):
        return text, ()
    slot = Slot("item", item_type, "f" if item_type is Type.NUMBER else "i", Source.FIELD, 0)
    found, problems = value_for(text, slot, scope)
    if found is None or isinstance(found.value, tuple):
        return None, problems
    return found.value, ()


def gate(scope: Scope, on: Sequence[str], from_ms: int | None, until_ms: int | None) -> Checked:
    """Return "event type is one of ``on`` and from <= event time < until", never unknown."""
    terms: list[Term] = []
    if scope.event_type is not None:
        kind = scope.kind_of(scope.event_type)
        codes = tuple(Constant(kind, kind.values.index(name)) for name in kind.values if name in on)
        read = build.read(scope.event_type, kind)
        terms.append(build.definite(Term("in", CONDITION, (read,), codes)))
    if scope.event_time is not None:
        time = build.read(scope.event_time, TIME)
        if from_ms is not None:
            terms.append(build.definite(build.compare(">=", time, build.const(Constant(TIME, from_ms)))))
        if until_ms is not None:
            terms.append(build.definite(build.compare("<", time, build.const(Constant(TIME, until_ms)))))
    return Checked("", None, build.join("and", terms))


def both(first: Checked, second: Checked) -> Checked:
    """Return ``first and second``."""
    return Checked(second.text, None, build.join("and", [first.term, second.term]))
