"""Types and units of expressions: from syntax nodes to checked terms.

``check`` resolves names, decides what bare literals mean, refuses what can not be compared or added,
and returns a tree of :class:`Term` that needs neither the scope nor the text any more.

Seams for documents (rule sets, features, tests):

- ``check(text, scope, expect)`` for conditions and filters;
- ``constant(text, scope)`` for ``params`` values and bounds;
- ``value_for(text, slot, scope)`` for the values of ``given`` in tests;
- ``list_value(text, type, scope)`` for items of lists;
- ``gate`` and ``both`` for event types and the effective interval.

A problem is shown to the operator as ``message; hint``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from fraudstream.rules.bundle import Repr, Slot, Type
from fraudstream.rules.compiler.nodes import Node, Problem


@dataclass(frozen=True, slots=True)
class Kind:
    """Type of an expression with what its values need to be understood."""

    type: Type
    repr: Repr = "i"
    values: tuple[str, ...] = ()
    """Names of an enum's codes."""
    currency: Slot | None = None
    """Money left as sent: the field that names its currency. None: base currency."""


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """One operation of a checked expression; terms may be shared, they form a graph without cycles."""

    op: str
    kind: Kind
    args: tuple[Term, ...] = ()
    data: object = None


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that is known when rules are loaded."""

    kind: Kind
    value: int | float | str | tuple[float, float]
    """bool, integer, money (minor units), duration and time (ms), date (days), enum (code): int; number:
    float; text, id, category, country: str; geo: (latitude, longitude)."""
    exact: Fraction | None = None
    """Numbers, money and durations exactly as written, for bounds."""
    currency: str = ""
    """Set where the text named a currency."""


class ListItem(NamedTuple):
    """One item of a declared list."""

    value: int | float | str
    """As ``list_value`` returns it."""
    until_ms: int | None = None
    """The item counts for event times before this instant."""


@dataclass(frozen=True, slots=True, eq=False)
class ListDecl:
    """A list of ``lists.yaml``."""

    name: str
    """Without ``lists.``."""
    type: Type
    items: tuple[ListItem, ...]


@dataclass(frozen=True, slots=True)
class Scope:
    """Everything that an expression may name."""

    slots: Mapping[str, Slot]
    """Fields, features, models."""
    base_currency: str
    decimals: Callable[[str], int | None]
    """Digits of an ISO 4217 currency; None: no such currency."""
    zone: str = "UTC"
    params: Mapping[str, Constant] = field(default_factory=dict)
    """Names without ``params.``."""
    lists: Mapping[str, ListDecl] = field(default_factory=dict)
    """Names without ``lists.``."""
    conditions: Mapping[str, Checked] = field(default_factory=dict)
    currencies: Mapping[str, Slot] = field(default_factory=dict)
    """Money fields with ``convert: false`` -> the field that names their currency."""
    event_time: Slot | None = None
    """Judges dates; needed for lists with ``until`` and for gates."""
    event_type: Slot | None = None
    allow: frozenset[str] = frozenset({"fields", "features", "models", "params", "lists", "conditions"})
    """What may be named here; a feature's ``where`` has {"fields"}."""


@dataclass(frozen=True, slots=True, eq=False)
class Checked:
    """An expression without problems."""

    text: str
    node: Node | None
    """None for gates and combinations."""
    term: Term

    @property
    def kind(self) -> Kind:
        """Return the expression's type."""
        return self.term.kind


def check(
    text: str, scope: Scope, expect: Type | None = Type.BOOL
) -> tuple[Checked | None, tuple[Problem, ...]]:
    """Parse and check an expression.

    Returns:
        The checked expression and no problems, or None and all problems found.
    """
    raise NotImplementedError


def constant(text: str, scope: Scope) -> tuple[Constant | None, tuple[Problem, ...]]:
    """Read a constant: ``4``, ``-2``, ``200 CNY``, ``10m``, ``50%``, ``"x"``, ``true``."""
    raise NotImplementedError


def value_for(text: str, slot: Slot, scope: Scope) -> tuple[Constant | None, tuple[Problem, ...]]:
    """Read a value for a name, as tests write it.

    Texts need no quotes, money no currency, a geo point is ``30.5, 104.1``.
    """
    raise NotImplementedError


def list_value(
    text: str, item_type: Type, scope: Scope
) -> tuple[int | float | str | None, tuple[Problem, ...]]:
    """Read one item of a list; texts need no quotes."""
    raise NotImplementedError


def words(value: Constant, hash_key: bytes) -> tuple[int, ...]:
    """Return a constant's column words (one or two int64), texts hashed under ``hash_key``."""
    raise NotImplementedError


def gate(scope: Scope, on: Sequence[str], from_ms: int | None, until_ms: int | None) -> Checked:
    """Return "event type is one of ``on`` and from <= event time < until", never unknown."""
    raise NotImplementedError


def both(first: Checked, second: Checked) -> Checked:
    """Return ``first and second``."""
    raise NotImplementedError


def names_read(checked: Checked) -> tuple[Slot, ...]:
    """Return every slot that the expression reads, sorted by name, conditions included."""
    raise NotImplementedError


def suggest(name: str, candidates: Sequence[str]) -> str:
    """Return ``did you mean `x`?`` for the nearest candidate, or an empty text."""
    raise NotImplementedError
