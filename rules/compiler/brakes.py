"""``limits`` and ``suppress`` of a rule: what takes away from an action although the rule matches."""

from __future__ import annotations

import re

from fraudstream.rules.bundle import Action, Limit, Schema, Slot, Suppression, Type
from fraudstream.rules.compiler.reader import Findings, ScalarNode
from fraudstream.rules.compiler.shape import Section, duration_text
from fraudstream.rules.compiler.source import quoted
from fraudstream.rules.compiler.suggest import suggest
from fraudstream.rules.compiler.terms import Scope
from fraudstream.rules.compiler.tokens import DAY_MS
from fraudstream.rules.compiler.vocabulary import LIMITS, SUPPRESS

MIN_COUNT = 100
"""Below it, one match is more than a hundredth."""
PER_MS_MIN, PER_MS_MAX = 10_000, DAY_MS
FOR_MS_MIN, FOR_MS_MAX = 1_000, 30 * DAY_MS
KEY_FIELDS_MAX = 4
KEY_TYPES = (Type.ID, Type.CATEGORY, Type.COUNTRY, Type.ENUM, Type.INTEGER, Type.DATE)
_SHARE = re.compile(r"([0-9]{1,2})(?:\.([0-9]{1,4}))?%")


def read_limit(section: Section, action: Action, never_override: bool, findings: Findings) -> Limit | None:
    """Return the limit of a rule's blocks; None without one, and after errors."""
    inner = section.section("limits", LIMITS)
    if inner is None:
        return None
    if action is not Action.BLOCK:
        findings.error(
            section.key("limits"),
            "`limits` turns a block into an alert, this rule does not block",
            "remove it",
        )
    elif never_override:
        message = "`limits` would turn a block into an alert that `override: never` says must not be undone"
        findings.error(section.key("limits"), message, "keep one of them")
    ppm = _share(inner.scalar("share"), findings)
    per = inner.duration("per", PER_MS_MIN, PER_MS_MAX, None)
    least = inner.integer("min_count", 1, 1_000_000_000, MIN_COUNT)
    reset = inner.integer("reset", 0, 1_000_000_000, 0)
    return None if ppm is None or per is None else Limit(ppm, per, least, reset)


def read_suppression(
    section: Section, action: Action, scope: Scope, schema: Schema, findings: Findings
) -> Suppression | None:
    """Return for which key and how long a rule's alert stands; None without that, and after errors."""
    inner = section.section("suppress", SUPPRESS)
    if inner is None:
        return None
    if action not in (Action.ALERT, Action.BLOCK):
        message = "`suppress` is about alerts, this rule asks for none"
        findings.error(section.key("suppress"), message, "remove it, or set `action: alert`")
    by = _key(inner, scope, schema, findings)
    length = inner.duration("for", FOR_MS_MIN, FOR_MS_MAX, None)
    return None if not by or length is None else Suppression(by, length)


def _share(node: ScalarNode | None, findings: Findings) -> int | None:
    if node is None:
        return None
    match = _SHARE.fullmatch(node.text)
    ppm = 0 if match is None else int(match[1]) * 10_000 + int((match[2] or "").ljust(4, "0"))
    if ppm == 0:
        message = f"`share` was {quoted(node.text)}, expected a percentage above 0% and below 100%"
        findings.error(node, message, "e.g. `1%`, at most 4 digits behind the point")
        return None
    return ppm


def _key(section: Section, scope: Scope, schema: Schema, findings: Findings) -> tuple[Slot, ...]:
    fields = {item.name: item for item in schema.fields}
    nodes, out = section.words("by"), list[Slot]()
    if len(nodes) > KEY_FIELDS_MAX:
        findings.error(section.key("by"), f"`by` has {len(nodes)} fields, at most {KEY_FIELDS_MAX}")
        return ()
    for node in nodes:
        field = fields.get(node.text)
        if field is None:
            if not findings.excuses(node.text):
                hint = suggest(node.text, fields) or f"e.g. `{schema.partition_key}`"
                findings.error(node, f"`by` names the unknown field {quoted(node.text)}", hint)
            return ()
        if field.type not in KEY_TYPES:
            expected = ", ".join(f"`{item}`" for item in KEY_TYPES)
            message = f"`{field.name}` is `{field.type}` and can not be a key"
            findings.error(node, message, f"expected {expected}")
            return ()
        out.append(scope.slots[field.name])
    return tuple(out)


def limit_words(limit: Limit) -> str:
    """Return a limit as operators write it: ``1% in 10m``."""
    return f"{limit.share_ppm / 10_000:g}% in {duration_text(limit.per_ms)}"
