"""Checked expressions: kinds, constants, terms, and the scope that names come from.

A :class:`Term` is what ``program.py`` lowers to arrays. Terms may be shared (a condition used twice is one
term): they form a graph without cycles, possibly a deep one. Walk it with :func:`every`, never by recursion.

========================= ======================================================================
op                        meaning; args; data
========================= ======================================================================
const                     data: Constant
read                      data: Slot
own                       money as sent, missing unless its currency (args[1]) is data
float, rint               binary64 of an int64; back, half to even
neg abs add sub min max   by ``kind.repr``; overflow is missing
mul div                   binary64
scale                     int64 times data
round                     to a multiple of data, half away from zero, by ``kind.repr``
local                     local time (ms as if UTC) of a time in zone data
hour, day, weekday        of a local time; its date; of a date
midnight                  the time at which a date begins in zone data
distance, speed           km between two places; km/h from km and a duration
lower, length             of a text field
share                     0 to 9,999 by an unkeyed hash of a text field
starts_with ends_with
contains                  of a text field, data: the constant; condition
multiple                  args[0] is not 0 and a multiple of args[1]; condition
truth                     a field of type bool; condition
lt, eq, between           comparison of args; condition
in                        data: tuple of Constant; condition
in_list                   data: ListDecl, args[1] (where an item expires): event time; condition
present                   args[0], value or condition, is not missing; never unknown
and, or, not, same        of conditions
coalesce                  args[0], where missing args[1]; values or conditions
========================= ======================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from fraudstream.rules.bundle import Repr, Slot, Type
from fraudstream.rules.compiler.nodes import Node


@dataclass(frozen=True, slots=True)
class Kind:
    """Type of an expression with what its values need to be understood."""

    type: Type
    repr: Repr = "i"
    values: tuple[str, ...] = ()
    """Names of an enum's codes."""
    currency: Slot | None = None
    """Money left as sent: the field that names its currency. None: base currency."""

    def as_float(self) -> Kind:
        """Return the same type with binary64 content."""
        return Kind(self.type, "f", self.values, self.currency)


CONDITION = Kind(Type.BOOL)
INTEGER = Kind(Type.INTEGER)
NUMBER = Kind(Type.NUMBER, "f")
MONEY = Kind(Type.MONEY)
DURATION = Kind(Type.DURATION)
TIME = Kind(Type.TIME)
DATE = Kind(Type.DATE)
TEXT = Kind(Type.CATEGORY)


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that is known when rules are loaded."""

    kind: Kind
    value: int | float | str | tuple[float, float]
    """bool, integer, money (minor units), duration and time (ms), date (days), enum (code): int; number:
    float; text, id, category, country: str; geo: (latitude, longitude)."""
    exact: Fraction | None = None
    """Numbers, money (minor units) and durations (ms) exactly as written: for bounds."""
    currency: str = ""
    """Set where the text named a currency."""


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """One operation of a checked expression."""

    op: str
    kind: Kind
    args: tuple[Term, ...] = ()
    data: object = None

    @property
    def constant(self) -> Constant | None:
        """Return the value of a constant term."""
        return self.data if isinstance(self.data, Constant) else None

    @property
    def slot(self) -> Slot | None:
        """Return what a ``read`` reads."""
        return self.data if isinstance(self.data, Slot) else None


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
    file: str = ""
    """Path of the file that has the items; empty: lists.yaml has them."""

    @property
    def expires(self) -> bool:
        """Return whether an item has an end."""
        return any(item.until_ms is not None for item in self.items)


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


EVERYTHING = frozenset({"fields", "features", "models", "params", "lists", "conditions"})


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
    allow: frozenset[str] = EVERYTHING
    """What may be named here; a feature's ``where`` has {"fields"}."""

    def kind_of(self, slot: Slot) -> Kind:
        """Return the kind of a slot's values."""
        return Kind(slot.type, slot.repr, slot.values, self.currencies.get(slot.name))


def every(roots: Iterable[Term]) -> Iterator[Term]:
    """Yield each term of a graph once, arguments before the terms that use them, in a fixed order."""
    seen: set[int] = set()
    pending: list[Term | None] = [*reversed(list(roots))]
    while pending:
        term = pending.pop()
        if term is None:
            # The mark of a term whose arguments were given before it.
            ready = pending.pop()
            assert ready is not None
            yield ready
        elif id(term) not in seen:
            seen.add(id(term))
            if term.args:
                pending += (term, None, *term.args[::-1])
            else:
                yield term


def names_read(checked: Checked) -> tuple[Slot, ...]:
    """Return every slot that the expression reads, sorted by name, conditions included."""
    found = {term.slot.name: term.slot for term in every([checked.term]) if term.slot is not None}
    return tuple(found[name] for name in sorted(found))


_PHRASES = {
    Type.NUMBER: "a number",
    Type.INTEGER: "a whole number",
    Type.MONEY: "an amount",
    Type.DURATION: "a duration",
    Type.TIME: "a time",
    Type.DATE: "a date",
    Type.BOOL: "a condition",
    Type.ENUM: "one of a fixed set of texts",
    Type.CATEGORY: "a text",
    Type.COUNTRY: "a country",
    Type.ID: "an id",
    Type.GEO: "a place",
}


def phrase(kind: Kind | Type) -> str:
    """Name a type for an operator, with its article."""
    return _PHRASES[kind.type if isinstance(kind, Kind) else kind]
