"""Reason texts: templates with a fixed set of formats, never ``str.format``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fraudstream.rules.bundle import Segment, Slot
from fraudstream.rules.compiler.nodes import Problem
from fraudstream.rules.compiler.types import Scope

Reader = Callable[[Slot], int | float | str | None]
"""Value of a slot: words as numbers, texts of ids and categories as text, None where missing."""


def compile_text(template: str, scope: Scope) -> tuple[tuple[Segment, ...], tuple[Problem, ...]]:
    """Compile a reason text; placeholders are names of fields, features and models."""
    raise NotImplementedError


def render(segments: Sequence[Segment], read: Reader, zone: str, decimals: int) -> str:
    """Return the text for one row; a missing value is an en dash.

    ``zone`` is for times, ``decimals`` are those of the base currency.
    """
    raise NotImplementedError
