"""The meaning of rule expressions, written from the contract: one row at a time, in Python.

It walks syntax nodes with exact integers, Fractions and Python floats, and shares nothing with the checker
or the compiler but the parser. Slow and plain on purpose.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from importlib import resources
from zoneinfo import ZoneInfo

from fraudstream.rules.compiler import nodes as n

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY_MS = 86_400_000


@dataclass(frozen=True)
class V:
    """A value: its unit (number money duration time date bool text geo), content, None where missing."""

    unit: str
    x: object
    exact: Fraction | None = None
    """Literals and calculations with literals only: what was written."""
    currency: str | None = None
    """Of a money literal; of money as sent, the row's."""
    sent: bool = False
    """Money as sent, in its own currency."""
    decimals: int = 0
    real: bool = False
    """A name whose values are binary64, which shows in what it is combined with even where it is missing."""


@dataclass(frozen=True)
class Case:
    """What a row is evaluated against."""

    row: Mapping[str, V]
    params: Mapping[str, str]
    """Texts of constants."""
    conditions: Mapping[str, n.Node]
    lists: Mapping[str, tuple[tuple[object, int | None], ...]]
    """Items with the end of each."""
    zone: ZoneInfo
    time_ms: int | None
    base: str = "CNY"
    digits: Callable[[str], int] = lambda code: 0 if code == "JPY" else 2


def package_zone(name: str) -> ZoneInfo:
    """Return a zone of the tzdata package, whatever the machine has."""
    with resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def _i64(x: int) -> int | None:
    return x if -(2**63) <= x < 2**63 else None


def _real(x: float) -> float | None:
    return x if math.isfinite(x) else None


def value(node: n.Node, case: Case, parse: Callable[[str], n.Node]) -> V:
    """Return the value of a node on one row."""

    def ev(item: n.Node) -> V:
        return value(item, case, parse)

    match node:
        case n.Number():
            exact = Fraction(node.digits) / (100 if node.percent else 1)
            whole = not node.percent and "." not in node.digits
            return V("number", int(exact) if whole else float(exact), exact)
        case n.Money():
            exact = Fraction(node.digits) * 10 ** case.digits(node.currency)
            return V("money", int(exact), exact, node.currency)
        case n.Duration():
            return V("duration", node.milliseconds, Fraction(node.milliseconds))
        case n.Text():
            return V("text", node.value, Fraction(0))
        case n.Bool():
            return V("bool", node.value)
        case n.Name():
            if node.name.startswith("params."):
                return ev(parse(case.params[node.name[7:]]))
            if node.name in case.conditions:
                return ev(case.conditions[node.name])
            return case.row[node.name]
        case n.Negate():
            a = ev(node.operand)
            if a.x is None:
                return a
            x = _i64(-a.x) if isinstance(a.x, int) else -a.x
            return V(a.unit, x, None if a.exact is None else -a.exact)
        case n.Arithmetic():
            return _arithmetic(node.op, ev(node.left), ev(node.right), case)
        case n.Compare():
            return V("bool", _compare(node.op, ev(node.left), ev(node.right), case))
        case n.Between():
            a, low, high = ev(node.value), ev(node.low), ev(node.high)
            first, second = _compare(">=", a, low, case), _compare("<=", a, high, case)
            known = first is not None and second is not None
            return V("bool", (first and second) != node.negated if known else None)
        case n.Membership():
            found = _member(ev(node.value), node, case, ev)
            return V("bool", None if found is None else found != node.negated)
        case n.Missing():
            return V("bool", (ev(node.value).x is None) != node.negated)
        case n.Not():
            a = ev(node.operand)
            return V("bool", None if a.x is None else not a.x)
        case n.And():
            found = [ev(term).x for term in node.terms]
            return V("bool", False if False in found else None if None in found else True)
        case n.Or():
            found = [ev(term).x for term in node.terms]
            return V("bool", True if True in found else None if None in found else False)
        case n.Call():
            return _call(node, [ev(arg) for arg in node.args], case)
    raise TypeError(type(node))


def _beside(a: V, b: V, case: Case) -> V:
    """Return ``a`` with the meaning that a literal takes beside ``b``."""
    if a.exact is None:
        return a
    if a.unit == "number" and b.unit == "money":
        minor = a.exact * 10 ** case.digits(case.base)
        assert minor.denominator == 1
        return V("money", int(minor), minor)
    if a.unit == "text" and b.unit == "date":
        day = date.fromisoformat(str(a.x))
        return V("date", (day - date(1970, 1, 1)).days)
    if a.unit == "text" and b.unit == "time":
        return V("time", _instant(str(a.x), case))
    return a


def _instant(text: str, case: Case) -> int:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=case.zone)
    return (moment - EPOCH) // timedelta(milliseconds=1)


def _align(values: list[V], case: Case) -> list[V]:
    lead = next((v for v in values if v.exact is None), None)
    if lead is None:
        lead = next((v for v in values if v.unit != "number"), values[0])
    return [_beside(v, lead, case) for v in values]


def _same_currency(a: V, b: V) -> bool:
    """Money as sent is known only where its currency is that of the literal."""
    if a.sent or b.sent:
        return a.currency == b.currency
    return True


def _compare(op: str, a: V, b: V, case: Case) -> bool | None:
    a, b = _align([a, b], case)
    if a.x is None or b.x is None or not _same_currency(a, b):
        return None
    x, y = a.x, b.x
    if isinstance(x, float) or isinstance(y, float):
        x, y = float(x), float(y)
    return {"==": x == y, "!=": x != y, "<": op in "<=" and x < y, "<=": op == "<=" and x <= y,
            ">": op in ">=" and x > y, ">=": op == ">=" and x >= y}[op]  # fmt: skip


def _member(a: V, node: n.Membership, case: Case, ev: Callable[[n.Node], V]) -> bool | None:
    if isinstance(node.items, n.Name):
        if a.x is None:
            return None
        items = case.lists[node.items.name.removeprefix("lists.")]
        if any(until is not None for _, until in items) and case.time_ms is None:
            return None
        return any(item == a.x and (until is None or case.time_ms < until) for item, until in items)
    assert isinstance(node.items, n.Items)
    if a.x is None:
        return None
    found = [_compare("==", a, ev(item), case) for item in node.items.items]
    return None if None in found else True in found


def _arithmetic(op: str, a: V, b: V, case: Case) -> V:
    exact = None
    if a.exact is not None and b.exact is not None and "text" not in (a.unit, b.unit):
        exact = _exact(op, a.exact, b.exact)
    if op in "*/":
        unit = a.unit if b.unit == "number" else b.unit if op == "*" else "number"
        if a.x is None or b.x is None:
            return V(unit, None)
        x, y = float(a.x), float(b.x)
        if op == "*":
            return V(unit, _real(x * y), exact)
        return V(unit, _real(x / y) if y else None, exact)
    moment = next((v.unit for v in (a, b) if v.unit in ("time", "date")), None)
    other = b if moment == a.unit else a
    if moment and other.unit == "duration":
        if a.x is None or b.x is None:
            return V(moment, None)
        x, y = a.x, b.x
        if moment == "date":
            x, y = (x, y // DAY_MS) if a.unit == "date" else (x // DAY_MS, y)
        x, y = (round(z) if isinstance(z, float) else z for z in (x, y))
        if _i64(x) is None or _i64(y) is None:
            return V(moment, None)
        return V(moment, _i64(x + y if op == "+" else x - y))
    a, b = _align([a, b], case)
    unit = "duration" if a.unit in ("time", "date") else a.unit
    if a.x is None or b.x is None:
        return V(unit, None)
    x, y = a.x, b.x
    if isinstance(x, float) or isinstance(y, float):
        x, y = float(x), float(y)
        return V(unit, _real(x + y if op == "+" else x - y), exact)
    result = _i64(x + y if op == "+" else x - y)
    if a.unit == "date" and result is not None:
        result = _i64(result * DAY_MS)
    return V(unit, result, exact)


def _exact(op: str, a: Fraction, b: Fraction) -> Fraction | None:
    if op == "/":
        return a / b if b else None
    return a + b if op == "+" else a - b if op == "-" else a * b


def _local(time_ms: int, case: Case) -> datetime:
    return (EPOCH + timedelta(milliseconds=time_ms)).astimezone(case.zone)


def _midnight(days: int, case: Case) -> int:
    moment = datetime.combine(date(1970, 1, 1) + timedelta(days), datetime.min.time(), tzinfo=case.zone)
    return (moment - EPOCH) // timedelta(milliseconds=1)


def _km(a: tuple[float, float], b: tuple[float, float]) -> float:
    phi, psi = math.radians(a[0]), math.radians(b[0])
    north = math.sin((psi - phi) / 2) ** 2
    east = math.sin((math.radians(b[1]) - math.radians(a[1])) / 2) ** 2
    h = north + math.cos(phi) * math.cos(psi) * east
    return round(2 * 6_371_008.8 * math.asin(min(1.0, math.sqrt(h)))) / 1000


def _lower(text: str) -> str:
    return "".join(c.lower() if c.isascii() else c for c in text)


def _half_away(x: Fraction) -> int:
    return math.floor(abs(x) + Fraction(1, 2)) * (1 if x >= 0 else -1)


def _call(node: n.Call, args: list[V], case: Case) -> V:
    name = node.function
    if name == "coalesce":
        chosen = args if args[0].unit == "bool" else _align(args, case)
        floats = any(isinstance(v.x, float) for v in chosen) or any(v.real for v in args)
        found = next((v for v in chosen if v.x is not None), chosen[-1])
        return V(found.unit, float(found.x) if floats and isinstance(found.x, int) else found.x)
    unit = {"lower": "text", "local_date": "date"}.get(name, "number")
    if name in ("abs", "min", "max", "round"):
        args = _align(args, case)
        unit = args[0].unit
    if name in ("is_round", "hour_in", "is_weekend", "starts_with", "ends_with", "contains"):
        unit = "bool"
    if any(v.x is None for v in args):
        return V(unit, None)
    if name in ("is_round", "ratio"):
        args = _align(args, case)
    x = [v.x for v in args]
    if name in ("min", "max"):
        if any(isinstance(item, float) for item in x):
            x = [float(item) for item in x]
        return V(unit, min(x) if name == "min" else max(x))
    if name == "abs":
        return V(unit, _i64(abs(x[0])) if isinstance(x[0], int) else abs(x[0]))
    if name == "round":
        step = 10 ** case.digits(case.base) if unit == "money" else 1
        if isinstance(x[0], int):
            return V(unit, _i64(_half_away(Fraction(x[0], step)) * step))
        return V(unit, _real(float(_half_away(Fraction(x[0] / step))) * step))
    if name == "is_round":
        if isinstance(x[0], float) or isinstance(x[1], float):
            x = [float(item) for item in x]
        if x[1] <= 0:
            return V("bool", None)
        return V("bool", x[0] != 0 and Fraction(x[0]) % Fraction(x[1]) == 0)
    if name == "ratio":
        return V("number", _real(float(x[0]) / float(x[1])) if x[1] else None)
    if name in ("hour", "hour_in"):
        hour = _local(x[0], case).hour
        if name == "hour":
            return V("number", hour)
        return V("bool", x[1] <= hour < x[2] if x[1] < x[2] else hour >= x[1] or hour < x[2])
    if name in ("weekday", "is_weekend", "local_date"):
        day = date(1970, 1, 1) + timedelta(x[0]) if args[0].unit == "date" else _local(x[0], case).date()
        if name == "local_date":
            return V("date", (day - date(1970, 1, 1)).days)
        return V(unit, day.isoweekday() if name == "weekday" else day.isoweekday() > 5)
    if name.endswith("_between"):
        if args[0].unit == args[1].unit == "date":
            delta = (x[1] - x[0]) * DAY_MS
        else:
            first, last = (_midnight(v.x, case) if v.unit == "date" else v.x for v in args)
            delta = last - first
        size = {"seconds": 1_000, "minutes": 60_000, "hours": 3_600_000, "days": DAY_MS}[name.split("_")[0]]
        return V("number", float(delta) / size if _i64(delta) is not None else None)
    if name == "distance_km":
        return V("number", _km(x[0], x[1]))
    if name == "speed_kmh":
        return V("number", _km(x[0], x[2]) / (max(abs(x[3] - x[1]), 1_000) / 3_600_000))
    if name == "lower":
        return V("text", _lower(x[0]))
    if name == "length":
        return V("number", len(x[0]))
    found = {"starts_with": str.startswith, "ends_with": str.endswith, "contains": str.__contains__}[name]
    return V("bool", found(x[0], x[1]))
