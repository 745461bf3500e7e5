"""``params`` of a rule: thresholds that may be tuned within bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from fraudstream.rules.bundle import Slot, Type
from fraudstream.rules.compiler import shape as shapes
from fraudstream.rules.compiler.expressions import constant_at, note
from fraudstream.rules.compiler.reader import Findings, ScalarNode
from fraudstream.rules.compiler.schema import KEYWORDS
from fraudstream.rules.compiler.shape import Section
from fraudstream.rules.compiler.source import quoted
from fraudstream.rules.compiler.types import Constant, Scope, value_for
from fraudstream.rules.compiler.vocabulary import PARAM

PARAMS_MAX = 64
_NUMERIC = (Type.NUMBER, Type.INTEGER, Type.MONEY)


@dataclass(frozen=True, slots=True)
class Param:
    """A threshold of a rule."""

    value: Constant
    text: str
    place: ScalarNode
    by_segment: Mapping[str, Constant] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    """By segment, as written."""
    segments: Mapping[str, Constant] = field(default_factory=dict)
    """Values of the segment's field by name."""


def read_params(section: Section, scope: Scope, segment: Slot | None, findings: Findings) -> dict[str, Param]:
    """Return the params of a rule; those with errors are left out.

    Args:
        section: the rule.
        scope: names and currencies.
        segment: what ``policy.segment`` names.
        findings: receives what is wrong.
    """
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
        _check_bounds(inner, found, value, scope, findings)
        param = Param(found, value.text, key)
        out[key.text] = _with_segments(param, inner, segment, scope, findings)
    return out


def _with_segments(
    param: Param, section: Section, segment: Slot | None, scope: Scope, findings: Findings
) -> Param:
    entries = section.table("by_segment")
    if not entries:
        return param
    if segment is None:
        if "Typologies" not in findings.broken_groups:
            message = "`by_segment` needs to know the event's segment"
            findings.error(
                section.key("by_segment"),
                message,
                "name its field in typologies.yaml, `policy: {segment: ...}`",
            )
        return param
    values: dict[str, Constant] = {}
    texts: dict[str, str] = {}
    segments: dict[str, Constant] = {}
    for key, node in entries:
        found, problems = value_for(key.text, segment, scope)
        note(problems, key, findings)
        text = shapes.scalar(node, f"`{key.text}`", findings)
        value = None if text is None else constant_at(text, scope, findings)
        if found is None or text is None or value is None:
            continue
        numeric = value.kind.type in _NUMERIC and param.value.kind.type in _NUMERIC
        if value.kind.type is not param.value.kind.type and not numeric:
            message = (
                f"the value for `{key.text}` is `{value.kind.type}`, but `value` is `{param.value.kind.type}`"
            )
            findings.error(text, message, "write both with one unit")
            continue
        _check_bounds(section, value, text, scope, findings)
        segments[key.text], values[key.text], texts[key.text] = found, value, text.text
    return Param(param.value, param.text, param.place, values, texts, segments)


def _check_bounds(
    section: Section, value: Constant, place: ScalarNode, scope: Scope, findings: Findings
) -> None:
    for bound, sign in (("min", 1), ("max", -1)):
        _check_bound(section, bound, sign, value, place, scope, findings)


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
