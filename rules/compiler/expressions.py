"""Expressions that stand in files: the compiler's problems get the file's positions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from fraudstream.rules.bundle import Schema, Slot, Type
from fraudstream.rules.compiler.nodes import Call, Problem, walk
from fraudstream.rules.compiler.reader import Findings, ScalarNode
from fraudstream.rules.compiler.types import Checked, Constant, Scope, check, constant
from fraudstream.rules.iso4217 import DECIMALS

_UNKNOWN = re.compile("unknown (?:name|list) `([^`]+)`")
_ZONED = frozenset({"hour", "hour_in", "weekday", "is_weekend", "local_date"})


def note(problems: Iterable[Problem], node: ScalarNode, findings: Findings) -> None:
    """Note problems of a text at their places in the file.

    Names that are unknown only because their own declaration has an error are passed over: that error is
    reported, and one cause should not be told a hundred times.
    """
    for problem in problems:
        unknown = _UNKNOWN.match(problem.message)
        if unknown is not None and findings.excuses(unknown[1]):
            continue
        findings.error(node.part(problem.begin, problem.end), problem.message, problem.hint)


def checked(
    node: ScalarNode, scope: Scope, findings: Findings, expect: Type | None = Type.BOOL
) -> Checked | None:
    """Check an expression of a file, None after errors."""
    found, problems = check(node.text, scope, expect)
    note(problems, node, findings)
    return found


def constant_at(node: ScalarNode, scope: Scope, findings: Findings) -> Constant | None:
    """Read a constant of a file, None after errors."""
    found, problems = constant(node.text, scope)
    note(problems, node, findings)
    return found


def scope_of(schema: Schema, slots: dict[str, Slot], zone: str, allow: frozenset[str] | None = None) -> Scope:
    """Return what expressions over these slots may name, before params, lists and conditions."""
    currencies = {
        field.name: slots[field.currency]
        for field in schema.fields
        if not field.convert and field.currency is not None and field.currency in slots
    }
    scope = Scope(
        slots=slots,
        base_currency=schema.base_currency,
        decimals=DECIMALS.get,
        zone=zone,
        currencies=currencies,
        event_time=slots.get(schema.event_time),
        event_type=slots.get(schema.event_type),
    )
    return scope if allow is None else replace(scope, allow=allow)


def reads_zone(found: Checked) -> bool:
    """Return whether an expression's value depends on the time zone."""
    if found.node is None:
        return False
    return any(isinstance(item, Call) and item.function in _ZONED for item in walk(found.node))
