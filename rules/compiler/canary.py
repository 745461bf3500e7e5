"""``mode: {state: canary, percent, by}``: a rule that acts on a stable share of keys."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fraudstream.rules.bundle import Schema, Slot
from fraudstream.rules.compiler import build
from fraudstream.rules.compiler.opcodes import SHARES
from fraudstream.rules.compiler.reader import Findings
from fraudstream.rules.compiler.shape import Section
from fraudstream.rules.compiler.source import quoted
from fraudstream.rules.compiler.suggest import suggest
from fraudstream.rules.compiler.terms import INTEGER, Constant, Scope, Term

_PERCENT = re.compile(r"([0-9]{1,3})(?:\.([0-9]{1,2}))?")


@dataclass(frozen=True, slots=True)
class Canary:
    """Which keys a canary acts on: those with an unkeyed hash below ``parts`` of ten thousand."""

    slot: Slot
    parts: int
    term: Term
    """Never unknown; false where the key is missing."""


def read_canary(section: Section, scope: Scope, schema: Schema, findings: Findings) -> Canary | None:
    """Return the share of ``mode``; None in another state, and after errors."""
    state = section.scalar("state")
    if state is None or state.text != "canary":
        for key in ("percent", "by"):
            if section.has(key):
                findings.error(section.key(key), f"`{key}` belongs to the state `canary`", "remove it")
        return None
    for key, example in (("percent", "5"), ("by", schema.partition_key)):
        if not section.has(key):
            findings.error(section.source, f"a canary needs `{key}`", f"e.g. `{key}: {example}`")
    parts, slot = _parts(section, findings), _slot(section, scope, schema, findings)
    if slot is None or not parts:
        return None
    share = Term("share", INTEGER, (build.read(slot, scope.kind_of(slot)),))
    below = build.compare("<", share, build.const(Constant(INTEGER, parts)))
    return Canary(slot, parts, build.definite(below))


def _parts(section: Section, findings: Findings) -> int:
    node = section.scalar("percent")
    if node is None:
        return 0
    match = _PERCENT.fullmatch(node.text)
    parts = 0 if match is None else int(match[1] + (match[2] or "").ljust(2, "0"))
    if not 0 < parts <= SHARES:
        message = (
            f"`percent` was {quoted(node.text)}, expected 0.01 to 100, at most 2 digits behind the point"
        )
        findings.error(node, message, "e.g. `5`")
        return 0
    return parts


def _slot(section: Section, scope: Scope, schema: Schema, findings: Findings) -> Slot | None:
    node = section.scalar("by")
    if node is None:
        return None
    texts = [item.name for item in schema.fields if item.path and item.type.is_text]
    if node.text in texts:
        return scope.slots[node.text]
    if node.text in scope.slots:
        hint = f"e.g. `{schema.partition_key}`"
        findings.error(node, f"`by` names {quoted(node.text)}, which is no id of the event", hint)
    else:
        findings.error(node, f"unknown field {quoted(node.text)}", suggest(node.text, texts) or "name an id")
    return None
