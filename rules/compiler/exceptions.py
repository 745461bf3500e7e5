"""``exceptions`` and score bands of a rule, checked one by one."""

from __future__ import annotations

from fraudstream.rules.compiler.expressions import checked
from fraudstream.rules.compiler.lists import instant
from fraudstream.rules.compiler.parts import Condition, Exemption, ScoreBand
from fraudstream.rules.compiler.reader import Findings, SequenceNode
from fraudstream.rules.compiler.shape import Section
from fraudstream.rules.compiler.types import Scope
from fraudstream.rules.compiler.vocabulary import EXCEPTION, SCORE_BAND

EXCEPTIONS_MAX = 100
"""More belong into a list with ends of their own."""
BANDS_MAX = 20


def read_exceptions(section: Section, scope: Scope, findings: Findings) -> tuple[Exemption, ...]:
    """Return the exceptions of a rule; those with errors are left out."""
    out: list[Exemption] = []
    nodes = section.items("exceptions")
    if len(nodes) > EXCEPTIONS_MAX:
        message = f"{len(nodes)} exceptions, at most {EXCEPTIONS_MAX} are allowed"
        findings.error(section.key("exceptions"), message, "put the values into a list whose items have ends")
    for node in nodes[:EXCEPTIONS_MAX]:
        inner = Section.open(node, EXCEPTION, findings)
        if inner is None:
            continue
        condition = _condition(inner, "exceptions", scope, findings)
        until = inner.scalar("until")
        until_ms = instant(until, scope.zone, findings)
        owner = inner.text("owner")
        if condition is not None and until is not None and until_ms is not None:
            out.append(Exemption(condition, owner, until_ms, until))
    return tuple(out)


def read_bands(section: Section, scope: Scope, findings: Findings) -> tuple[ScoreBand, ...]:
    """Return the score bands of a rule, none where ``score`` is a number."""
    node = section.node("score")
    if not isinstance(node, SequenceNode):
        return ()
    out: list[ScoreBand] = []
    if not node.items:
        findings.error(
            section.key("score"), "`score` was an empty list", "give a number or at least one band"
        )
    if len(node.items) > BANDS_MAX:
        message = f"{len(node.items)} score bands, at most {BANDS_MAX} are allowed"
        findings.error(section.key("score"), message)
    for item in node.items[:BANDS_MAX]:
        inner = Section.open(item, SCORE_BAND, findings)
        if inner is None:
            continue
        condition = _condition(inner, "score", scope, findings)
        score = inner.integer("score", 0, 100, 0)
        if condition is not None:
            out.append(ScoreBand(condition, score))
    return tuple(out)


def _condition(section: Section, label: str, scope: Scope, findings: Findings) -> Condition | None:
    node = section.scalar("when")
    found = None if node is None else checked(node, scope, findings)
    if node is None or found is None:
        return None
    return Condition(found, node, section.source.entries["when"][0], label)
