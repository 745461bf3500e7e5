"""From text to syntax nodes."""

from __future__ import annotations

from fraudstream.rules.compiler.nodes import Node, Problem


def parse(text: str) -> tuple[Node | None, tuple[Problem, ...]]:
    """Parse an expression; names are not resolved (``nodes.names`` lists them)."""
    raise NotImplementedError
