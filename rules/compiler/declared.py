"""Everything that a rules directory declares, checked part by part; what the checks over all files see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fraudstream.rules.bundle import Policy, Schema, Slot
from fraudstream.rules.compiler.features import DeclaredFeatures
from fraudstream.rules.compiler.lists import DeclaredLists
from fraudstream.rules.compiler.nodes import Name, Node, walk
from fraudstream.rules.compiler.parts import Condition
from fraudstream.rules.compiler.reference import NO_REFERENCE, DeclaredReference
from fraudstream.rules.compiler.ruleset import DeclaredRule
from fraudstream.rules.compiler.source import Span
from fraudstream.rules.compiler.typologies import DeclaredTypologies


@dataclass(frozen=True, slots=True)
class Expression:
    """One condition of a rule with its syntax nodes."""

    rule: DeclaredRule
    condition: Condition
    nodes: tuple[Node, ...]
    """All of them, parents first."""

    @property
    def names(self) -> tuple[Name, ...]:
        """Return every name that occurs, in the order written."""
        return tuple(node for node in self.nodes if isinstance(node, Name))

    def span(self, node: Node) -> Span:
        """Return where a node stands in the file."""
        return self.condition.part(node.begin, node.end)


def expressions_of(rules: tuple[DeclaredRule, ...]) -> dict[str, tuple[Expression, ...]]:
    """Return each rule's expressions by the rule's id, in the order of ``Parts``."""
    out: dict[str, tuple[Expression, ...]] = {}
    for rule in rules:
        out[rule.id] = tuple(
            Expression(rule, part, tuple(walk(part.checked.node)))
            for part in rule.parts
            if part.checked.node is not None
        )
    return out


@dataclass(frozen=True, slots=True)
class Declared:
    """A directory's declarations; parts with errors are left out."""

    schema: Schema
    features: DeclaredFeatures
    lists: DeclaredLists
    typologies: DeclaredTypologies
    policy: Policy
    rules: tuple[DeclaredRule, ...]
    expressions: Mapping[str, tuple[Expression, ...]]
    """By rule id."""
    slots: Mapping[str, Slot]
    model_inputs: frozenset[str] | None
    """Names that the model in force reads; empty: there is no model; None: not known here."""
    complete: bool
    """Whether every file could be looked into: only then can something be called unused."""
    reference: DeclaredReference = NO_REFERENCE
    now_ms: int | None = None
    """Clock of whoever asks for warnings about what is over; None: nobody does."""
