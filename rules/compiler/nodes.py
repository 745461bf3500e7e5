"""Syntax nodes of rule expressions: what was written and where.

Every node carries ``begin`` and ``end``, offsets in characters of the expression's text. Nodes have no
types yet: a bare ``1000`` means money only once it stands beside money (see ``types.py``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal, NamedTuple

CompareOp = Literal["==", "!=", "<", "<=", ">", ">="]
ArithmeticOp = Literal["+", "-", "*", "/"]


class Problem(NamedTuple):
    """Something wrong with a text, shown as ``message; hint``."""

    begin: int
    """First character, 0-based offset in the text."""
    end: int
    """Character after the last."""
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """A piece of an expression."""

    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Number(Node):
    """``1000``, ``0.5``, ``50%``."""

    digits: str
    """As written, without the percent sign."""
    percent: bool


@dataclass(frozen=True, slots=True)
class Duration(Node):
    """``10m``, ``1h30m``."""

    milliseconds: int


@dataclass(frozen=True, slots=True)
class Money(Node):
    """``100 CNY``."""

    digits: str
    currency: str


@dataclass(frozen=True, slots=True)
class Text(Node):
    """``"ecom"``."""

    value: str


@dataclass(frozen=True, slots=True)
class Bool(Node):
    """``true`` or ``false``."""

    value: bool


@dataclass(frozen=True, slots=True)
class Name(Node):
    """``txn.amount``, ``params.limit``, ``lists.mules``, a condition."""

    name: str


@dataclass(frozen=True, slots=True)
class Call(Node):
    """``hour(event.time)``."""

    function: str
    args: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Items(Node):
    """``["pos", "atm"]``."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Negate(Node):
    """``-x``."""

    operand: Node


@dataclass(frozen=True, slots=True)
class Arithmetic(Node):
    """``a + b``."""

    op: ArithmeticOp
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Compare(Node):
    """``a >= b``."""

    op: CompareOp
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Between(Node):
    """``x between a and b``, both ends included."""

    value: Node
    low: Node
    high: Node
    negated: bool


@dataclass(frozen=True, slots=True)
class Membership(Node):
    """``x in [...]`` or ``x in lists.name``."""

    value: Node
    items: Node
    """``Items`` or ``Name``."""
    negated: bool


@dataclass(frozen=True, slots=True)
class Missing(Node):
    """``x is missing``."""

    value: Node
    negated: bool


@dataclass(frozen=True, slots=True)
class Not(Node):
    """``not x``."""

    operand: Node


@dataclass(frozen=True, slots=True)
class And(Node):
    """``a and b and c``."""

    terms: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or(Node):
    """``a or b or c``."""

    terms: tuple[Node, ...]


_MEMBERS: dict[type[Node], tuple[str, ...]] = {}
"""Class of nodes -> names of what it has besides its place."""


def _members(kind: type[Node]) -> tuple[str, ...]:
    found = _MEMBERS.get(kind)
    if found is None:
        names = (item.name for item in fields(kind))
        found = _MEMBERS[kind] = tuple(name for name in names if name not in ("begin", "end"))
    return found


def children(node: Node) -> tuple[Node, ...]:
    """Return the nodes directly under ``node``, from left to right."""
    found: list[Node] = []
    for name in _members(type(node)):
        value = getattr(node, name)
        if isinstance(value, Node):
            found.append(value)
        elif isinstance(value, tuple):
            found.extend(child for child in value if isinstance(child, Node))
    return tuple(found)


def walk(node: Node) -> Iterator[Node]:
    """Yield ``node`` and everything under it, parents first."""
    pending = [node]
    while pending:
        current = pending.pop()
        yield current
        pending.extend(reversed(children(current)))


def names(node: Node) -> tuple[Name, ...]:
    """Return every name that occurs, in the order written, repeats included."""
    return tuple(item for item in walk(node) if isinstance(item, Name))
