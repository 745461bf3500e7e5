"""Everything that a rules directory declares, checked part by part; what the checks over all files see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fraudstream.rules.bundle import Policy, Schema, Slot
from fraudstream.rules.compiler.features import DeclaredFeatures
from fraudstream.rules.compiler.lists import DeclaredLists
from fraudstream.rules.compiler.ruleset import DeclaredRule
from fraudstream.rules.compiler.typologies import DeclaredTypologies


@dataclass(frozen=True, slots=True)
class Declared:
    """A directory's declarations; parts with errors are left out."""

    schema: Schema
    features: DeclaredFeatures
    lists: DeclaredLists
    typologies: DeclaredTypologies
    policy: Policy
    rules: tuple[DeclaredRule, ...]
    slots: Mapping[str, Slot]
    model_inputs: frozenset[str] | None
    """Names that the model in force reads; empty: there is no model; None: not known here."""
    complete: bool
    """Whether every file could be looked into: only then can something be called unused."""
