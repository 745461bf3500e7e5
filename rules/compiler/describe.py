"""Expressions in plain English, for ``rules explain``."""

from __future__ import annotations

from fraudstream.rules.bundle import Type
from fraudstream.rules.compiler.nodes import (
    And,
    Arithmetic,
    Between,
    Bool,
    Call,
    Compare,
    Duration,
    Items,
    Membership,
    Missing,
    Money,
    Name,
    Negate,
    Node,
    Not,
    Number,
    Or,
    Text,
)
from fraudstream.rules.compiler.terms import Constant, Scope

_UNITS = (
    ("day", 86_400_000),
    ("hour", 3_600_000),
    ("minute", 60_000),
    ("second", 1_000),
    ("millisecond", 1),
)
_COMPARES = {
    "==": "is",
    "!=": "is not",
    "<": "is below",
    "<=": "is at most",
    ">": "is above",
    ">=": "is at least",
}
_NEGATED = {
    "==": "is not",
    "!=": "is",
    "<": "is not below",
    "<=": "is not at most",
    ">": "is not above",
    ">=": "is not at least",
}
_ARITHMETIC = {"+": "plus", "-": "minus", "*": "times", "/": "divided by"}
_CALLS = {
    "abs": "{0} without its sign",
    "round": "{0} rounded to whole units",
    "ratio": "the ratio of {0} to {1}",
    "hour": "the local hour of {0}",
    "weekday": "the weekday (Monday 1) of {0}",
    "local_date": "the local date of {0}",
    "seconds_between": "the seconds from {0} to {1}",
    "minutes_between": "the minutes from {0} to {1}",
    "hours_between": "the hours from {0} to {1}",
    "days_between": "the days from {0} to {1}",
    "distance_km": "the distance in km between {0} and {1}",
    "speed_kmh": "the speed in km/h from {0} at {1} to {2} at {3}",
    "lower": "{0} in small letters",
    "length": "the length of {0}",
}
_CONDITIONS = {
    "is_round": ("{0} is a multiple of {1}", "{0} is not a multiple of {1}"),
    "hour_in": (
        "the local time of {0} is from {1}:00 until {2}:00",
        "the local time of {0} is not from {1}:00 until {2}:00",
    ),
    "is_weekend": ("{0} is at a weekend", "{0} is not at a weekend"),
    "starts_with": ("{0} begins with {1}", "{0} does not begin with {1}"),
    "ends_with": ("{0} ends with {1}", "{0} does not end with {1}"),
    "contains": ("{0} contains {1}", "{0} does not contain {1}"),
}


def describe(node: Node, scope: Scope) -> str:
    """Return the expression in words.

    Parameters appear with their value, conditions by their name; templates take values by position, never
    text of the operator as a format.
    """
    return _Words(scope).say(node)


def duration_words(milliseconds: int) -> str:
    """Return ``1 hour 30 minutes``."""
    parts: list[str] = []
    left = abs(milliseconds)
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}{'' if count == 1 else 's'}")
    return ("minus " if milliseconds < 0 else "") + (" ".join(parts) or "0 seconds")


def _filled(template: str, args: list[str]) -> str:
    """Put arguments into our own template; what operators wrote is never read as one."""
    for i in range(len(args)):
        before, mark, after = template.partition(f"{{{i}}}")
        if mark:
            template = f"{before}\0{i}\0{after}"
    for i, arg in enumerate(args):
        template = template.replace(f"\0{i}\0", arg)
    return template


class _Words:
    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    def say(self, node: Node, *, no: bool = False) -> str:
        """Return a value, or a condition or its negation, in words."""
        match node:
            case And() | Or():
                # De Morgan keeps "not" beside what it negates.
                word = "and" if isinstance(node, And) != no else "or"
                parts = [self._part(term, word, no=no) for term in node.terms]
                return f" {word} ".join(parts)
            case Not():
                return self.say(node.operand, no=not no)
            case Compare():
                verb = (_NEGATED if no else _COMPARES)[node.op]
                return f"{self.say(node.left)} {verb} {self.say(node.right)}"
            case Between():
                verb = "is not between" if node.negated != no else "is between"
                return f"{self.say(node.value)} {verb} {self.say(node.low)} and {self.say(node.high)}"
            case Membership():
                return self._membership(node, no=no)
            case Missing():
                return f"{self.say(node.value)} is {'known' if node.negated != no else 'missing'}"
            case Arithmetic():
                return f"{self._factor(node.left)} {_ARITHMETIC[node.op]} {self._factor(node.right)}"
            case Negate():
                return f"minus {self._factor(node.operand)}"
            case Call():
                return self._call(node, no=no)
            case Name():
                return self._name(node.name, no=no)
        return self._literal(node, no=no)

    def _part(self, node: Node, word: str, *, no: bool) -> str:
        text = self.say(node, no=no)
        inner, flip = node, no
        while isinstance(inner, Not):
            inner, flip = inner.operand, not flip
        if isinstance(inner, And | Or) and ("and" if isinstance(inner, And) != flip else "or") != word:
            return f"({text})"
        return text

    def _factor(self, node: Node) -> str:
        text = self.say(node)
        return f"({text})" if isinstance(node, Arithmetic) else text

    def _membership(self, node: Membership, *, no: bool) -> str:
        outside = node.negated != no
        value = self.say(node.value)
        if isinstance(node.items, Name):
            where = f"on the list {node.items.name.removeprefix('lists.')}"
            return f"{value} is {'not ' if outside else ''}{where}"
        assert isinstance(node.items, Items)
        items = [self.say(item) for item in node.items.items]
        listed = " or ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items) or "(nothing)"
        return f"{value} is {'none of' if outside else 'one of' if len(items) > 1 else ''} {listed}".replace(
            "  ", " "
        )

    def _call(self, node: Call, *, no: bool) -> str:
        args = [self.say(arg) for arg in node.args]
        if node.function in ("min", "max"):
            return f"the {'lowest' if node.function == 'min' else 'highest'} of {', '.join(args)}"
        if node.function == "coalesce":
            text = args[0] + "".join(f" (where missing: {arg})" for arg in args[1:])
            return f"not ({text})" if no else text
        if node.function in _CONDITIONS:
            return _filled(_CONDITIONS[node.function][no], args)
        return _filled(_CALLS.get(node.function, node.function), args)

    def _name(self, name: str, *, no: bool) -> str:
        value = self.scope.params.get(name.removeprefix("params.")) if name.startswith("params.") else None
        if value is not None:
            return f"{name} ({self._constant(value)})"
        slot = self.scope.slots.get(name)
        if slot is not None and slot.type is Type.BOOL:
            return f"{name} is {'false' if no else 'true'}"
        if name in self.scope.conditions:
            return f"{'not ' if no else ''}{name}"
        return name

    def _constant(self, value: Constant) -> str:
        if isinstance(value.value, str):
            return f'"{value.value}"'
        if value.kind.type is Type.DURATION:
            return duration_words(int(value.value)) if not isinstance(value.value, tuple) else ""
        if value.kind.type is Type.BOOL:
            return "true" if value.value else "false"
        if value.kind.type is Type.MONEY and value.exact is not None:
            currency = value.currency or self.scope.base_currency
            digits = self.scope.decimals(currency) or 0
            return f"{float(value.exact / 10**digits):,.{digits}f} {currency}"
        return f"{value.value:g}" if isinstance(value.value, float) else str(value.value)

    def _literal(self, node: Node, *, no: bool) -> str:
        match node:
            case Number():
                return node.digits + ("%" if node.percent else "")
            case Money():
                return f"{node.digits} {node.currency}"
            case Duration():
                return duration_words(node.milliseconds)
            case Text():
                return f'"{node.value}"'
            case Bool():
                return "true" if node.value != no else "false"
        return ""
