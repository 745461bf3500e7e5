"""Expressions in plain English, for ``rules explain``."""

from __future__ import annotations

from fraudstream.rules.compiler.nodes import Node
from fraudstream.rules.compiler.types import Scope


def describe(node: Node, scope: Scope) -> str:
    """Return the expression in words."""
    raise NotImplementedError
