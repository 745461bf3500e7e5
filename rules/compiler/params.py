"""``params`` of a rule: thresholds that may be tuned within bounds."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from fraudstream.rules.bundle import Type
from fraudstream.rules.compiler import shape as shapes
from fraudstream.rules.compiler.expressions import constant_at
from fraudstream.rules.compiler.reader import Findings, ScalarNode
from fraudstream.rules.compiler.schema import KEYWORDS
from fraudstream.rules.compiler.shape import Section
from fraudstream.rules.compiler.source import quoted
from fraudstream.rules.compiler.types import Constant, Scope
from fraudstream.rules.compiler.vocabulary import PARAM

PARAMS_MAX = 64
_NUMERIC = (Type.NUMBER, Type.INTEGER, Type.MONEY)


@dataclass(frozen=True, slots=True)
class Param:
    """A threshold of a rule."""

    value: Constant
    text: str
    place: ScalarNode


def read_params(section: Section, scope: Scope, findings: Findings) -> dict[str, Param]:
    """Return the params of a rule; those with errors are left out."""
    out: dict[str, Param] = {}
    entries = section.table("params")
    if len(entries) > PARAMS_MAX:
        findings.error(section.key("params"), f"{len(entries)} params, at most {PARAMS_MAX} are allowed")
    for key, node in entries[:PARAMS_MAX]:
        inner = Section.open(node, PARAM, findings)
        if not plain_name(key, "a param", findings) or inner is None:
            continue
        value = inner.scalar("value")
        found = None if value is None else constant_at(value, scope, findings)
        if value is None or found is None:
            continue
        for bound, sign in (("min", 1), ("max", -1)):
            _check_bound(inner, bound, sign, found, value, scope, findings)
        out[key.text] = Param(found, value.text, key)
    return out


def _check_bound(
    section: Section,
    bound: str,
    sign: int,
    value: Constant,
    place: ScalarNode,
    scope: Scope,
    findings: Findings,
) -> None:
    node = section.scalar(bound)
    if node is None:
        return
    limit = constant_at(node, scope, findings)
    if limit is None:
        return
    numeric = value.kind.type in _NUMERIC and limit.kind.type in _NUMERIC
    if not numeric and value.kind.type is not limit.kind.type:
        message = f"`{bound}` is `{limit.kind.type}`, but the value is `{value.kind.type}`"
        findings.error(node, message, "write both with one unit")
        return
    if limit.currency != value.currency and limit.currency and value.currency:
        findings.error(node, f"`{bound}` is in {limit.currency}, but the value is in {value.currency}")
        return
    left, right = _measure(value, limit, scope), _measure(limit, value, scope)
    if isinstance(left, (str, tuple)) or isinstance(right, (str, tuple)):
        findings.error(node, f"`{bound}` does not work for `{value.kind.type}`", "remove it")
    elif (left < right) if sign > 0 else (left > right):
        side = "below" if sign > 0 else "above"
        findings.error(place, f"the value {quoted(place.text)} is {side} `{bound}` {quoted(node.text)}")


def _measure(
    value: Constant, beside: Constant, scope: Scope
) -> Fraction | int | float | str | tuple[float, float]:
    """Return what a bound compares; a bare number beside money means major units."""
    if value.exact is None:
        return value.value
    if beside.kind.type is Type.MONEY and value.kind.type is not Type.MONEY:
        digits = scope.decimals(beside.currency or scope.base_currency) or 0
        return value.exact * Fraction(10) ** digits
    return value.exact


def plain_name(key: ScalarNode, what: str, findings: Findings) -> bool:
    """Return whether a key is one word that can name ``what``; if not, it is an error."""
    if not shapes.name(key, f"the name of {what}", findings):
        return False
    if "." in key.text or key.text in KEYWORDS:
        hint = "use one word of letters, digits and `_`"
        findings.error(key, f"{quoted(key.text)} can not be the name of {what}", hint)
        return False
    return True
