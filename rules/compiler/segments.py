"""Params by segment: one rule with other thresholds for other customers.

``policy.segment`` names the field that says which segment an event belongs to. A rule whose params differ by
segment is checked once for each segment that they name, and holds where the variant of the event's segment
does; an event without a segment, or with one that no param names, has the plain values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fraudstream.rules.bundle import Slot, Type
from fraudstream.rules.compiler import build
from fraudstream.rules.compiler.params import Param
from fraudstream.rules.compiler.reader import Findings, ScalarNode
from fraudstream.rules.compiler.shape import Section
from fraudstream.rules.compiler.source import quoted
from fraudstream.rules.compiler.suggest import suggest
from fraudstream.rules.compiler.terms import CONDITION, Constant, Scope, Term

SEGMENTS_MAX = 32
"""Of one rule: each is a variant of its condition."""
TYPES = (Type.ENUM, Type.CATEGORY, Type.COUNTRY)


def segment_slot(node: ScalarNode | None, scope: Scope, findings: Findings) -> Slot | None:
    """Return what ``policy.segment`` names; None where there is none."""
    if node is None:
        return None
    slot = scope.slots.get(node.text)
    if slot is None:
        if not findings.excuses(node.text):
            hint = suggest(node.text, scope.slots) or "name a field or a column of a reference table"
            findings.error(node, f"unknown name {quoted(node.text)}", hint)
        return None
    if slot.type not in TYPES:
        findings.error(
            node, f"`segment` names {quoted(node.text)}, which is `{slot.type}`", "expected an enum or a text"
        )
        return None
    return slot


def variants(
    params: Mapping[str, Param], scope: Scope, section: Section, findings: Findings
) -> dict[str, Scope]:
    """Return the scope of each segment that a param names, in the order written."""
    names = dict.fromkeys(name for item in params.values() for name in item.by_segment)
    if len(names) > SEGMENTS_MAX:
        message = f"the params name {len(names)} segments, at most {SEGMENTS_MAX} are allowed"
        findings.error(section.key("params"), message, "give segments that behave alike one name")
    return {
        name: replace(
            scope, params={key: item.by_segment.get(name, item.value) for key, item in params.items()}
        )
        for name in list(names)[:SEGMENTS_MAX]
    }


def guards(segments: Mapping[str, Constant], slot: Slot, scope: Scope) -> dict[str, Term]:
    """Return "the event is in this segment" for each, never unknown."""
    read = build.read(slot, scope.kind_of(slot))
    return {
        name: build.definite(Term("eq", CONDITION, (read, build.const(value))))
        for name, value in segments.items()
    }
