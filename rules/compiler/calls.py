"""What each function becomes; arguments have been counted and their types checked by the table."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from fraudstream.rules.bundle import Source, Type
from fraudstream.rules.compiler import build
from fraudstream.rules.compiler.alignment import Report, align
from fraudstream.rules.compiler.nodes import Call, Node
from fraudstream.rules.compiler.terms import (
    CONDITION,
    DATE,
    DURATION,
    INTEGER,
    NUMBER,
    TIME,
    Constant,
    Kind,
    Term,
    phrase,
)
from fraudstream.rules.compiler.tokens import DAY_MS, HOUR_MS
from fraudstream.rules.compiler.zones import load_zone

_UNITS_MS = {"seconds": 1_000, "minutes": 60_000, "hours": HOUR_MS, "days": DAY_MS}


class BadCallError(Exception):
    """An argument that the table's types can not refuse."""

    def __init__(self, node: Node, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.node, self.message, self.hint = node, message, hint


Builder = Callable[[Report, Call, list[Term]], Term | None]


def _number(value: float) -> Term:
    return build.const(Constant(NUMBER, value))


def _duration(milliseconds: int) -> Term:
    return build.const(Constant(DURATION, milliseconds))


def _abs(_: Report, __: Call, args: list[Term]) -> Term | None:
    return Term("abs", args[0].kind, (args[0],))


def _pick(op: str, report: Report, node: Call, args: list[Term]) -> Term | None:
    aligned = align(report, args, node.args)
    if aligned is None:
        return None
    result = aligned[0]
    for term in aligned[1:]:
        result = Term(op, term.kind, (result, term))
    return result


def _coalesce(report: Report, node: Call, args: list[Term]) -> Term | None:
    for term, arg in zip(args[:-1], node.args, strict=False):
        if term.constant is not None:
            raise BadCallError(arg, "a constant is never missing", "put it last in `coalesce`")
    if any(term.kind.type is Type.BOOL for term in args):
        for term, arg in zip(args, node.args, strict=True):
            if term.kind.type is not Type.BOOL:
                raise BadCallError(arg, f"`coalesce` of a condition and {phrase(term.kind)}")
        aligned: list[Term] | None = args
    else:
        aligned = align(report, args, node.args)
    if aligned is None:
        return None
    result = aligned[-1]
    for term in reversed(aligned[:-1]):
        result = Term("coalesce", term.kind, (term, result))
    return result


def _round(report: Report, _: Call, args: list[Term]) -> Term | None:
    (x,) = args
    step = 1
    if x.kind.type is Type.MONEY:
        step = 10 ** (report.scope.decimals(report.scope.base_currency) or 0)
    if x.kind.repr == "i" and step == 1:
        return x
    return Term("round", x.kind, (x,), step)


def _is_round(report: Report, node: Call, args: list[Term]) -> Term | None:
    aligned = align(report, args, node.args)
    if aligned is None:
        return None
    step = aligned[1].constant
    if step is not None and not isinstance(step.value, str | tuple) and step.value <= 0:
        raise BadCallError(node.args[1], "`step` of `is_round` must be above 0")
    return Term("multiple", CONDITION, tuple(aligned))


def _ratio(report: Report, node: Call, args: list[Term]) -> Term | None:
    aligned = align(report, args, node.args)
    if aligned is None:
        return None
    ratio = build.apply("div", NUMBER, build.to_float(aligned[0]), build.to_float(aligned[1]))
    if ratio is None:
        raise BadCallError(node, "this constant has no value", "it divides by zero or is too large")
    return ratio


def _local(report: Report, time: Term) -> Term:
    return Term("local", TIME, (time,), report.scope.zone)


def _hour(report: Report, _: Call, args: list[Term]) -> Term | None:
    return Term("hour", INTEGER, (_local(report, args[0]),))


def _hour_in(report: Report, node: Call, args: list[Term]) -> Term | None:
    bounds: list[int] = []
    for term, arg, last in zip(args[1:], node.args[1:], (23, 24), strict=True):
        value = term.constant.value if term.constant else None
        if not isinstance(value, int) or not 0 <= value <= last:
            raise BadCallError(arg, f"an hour from 0 to {last} is expected")
        bounds.append(value)
    begin, end = bounds
    if begin == end:
        raise BadCallError(node, "this part of the day is empty", "`from` and `to` must differ")
    hour = _hour(report, node, args)
    assert hour is not None
    after = build.compare(">=", hour, build.const(Constant(INTEGER, begin)))
    before = build.compare("<", hour, build.const(Constant(INTEGER, end)))
    return build.join("and" if begin < end else "or", [after, before])


def _date_of(report: Report, moment: Term) -> Term:
    if moment.kind.type is Type.DATE:
        return moment
    return Term("day", DATE, (_local(report, moment),))


def _local_date(report: Report, _: Call, args: list[Term]) -> Term | None:
    return _date_of(report, args[0])


def _weekday(report: Report, _: Call, args: list[Term]) -> Term | None:
    return Term("weekday", INTEGER, (_date_of(report, args[0]),))


def _is_weekend(report: Report, node: Call, args: list[Term]) -> Term | None:
    weekday = _weekday(report, node, args)
    assert weekday is not None
    return build.compare(">=", weekday, build.const(Constant(INTEGER, 6)))


def _instant(report: Report, moment: Term) -> Term:
    """Return the time at which a date begins; a time as it is."""
    if moment.kind.type is Type.TIME:
        return moment
    value = moment.constant
    if value is not None and isinstance(value.value, int):
        return build.const(Constant(TIME, load_zone(report.scope.zone).to_utc(value.value * DAY_MS)))
    return Term("midnight", TIME, (moment,), report.scope.zone)


def _elapsed(unit: str, report: Report, _: Call, args: list[Term]) -> Term | None:
    a, b = args
    if a.kind.type is Type.DATE and b.kind.type is Type.DATE:
        between = build.elapsed_days(b, a)
    else:
        between = Term("sub", DURATION, (_instant(report, b), _instant(report, a)))
    return Term("div", NUMBER, (build.to_float(between), _number(float(_UNITS_MS[unit]))))


def _distance(_: Report, __: Call, args: list[Term]) -> Term | None:
    return Term("distance", NUMBER, (args[0], args[1]))


def _speed(_: Report, __: Call, args: list[Term]) -> Term | None:
    a, ta, b, tb = args
    distance = Term("distance", NUMBER, (a, b))
    elapsed = Term("abs", DURATION, (Term("sub", DURATION, (tb, ta)),))
    at_least = Term("max", DURATION, (elapsed, _duration(1_000)))
    hours = Term("div", NUMBER, (build.to_float(at_least), _number(float(HOUR_MS))))
    return Term("div", NUMBER, (distance, hours))


def _field_text(node: Call, term: Term) -> Term:
    """Return the read below: functions on texts need the bytes, which only fields of the event have."""
    read = term.args[0] if term.op == "lower" else term
    if read.slot is None or read.slot.source is not Source.FIELD:
        hint = "features and constants keep no text to look into"
        raise BadCallError(node.args[0], f"`{node.function}` works on text fields of the event only", hint)
    return read


def _lower(_: Report, node: Call, args: list[Term]) -> Term | None:
    read = _field_text(node, args[0])
    return Term("lower", Kind(read.kind.type), (read,))


def _length(_: Report, node: Call, args: list[Term]) -> Term | None:
    return Term("length", INTEGER, (_field_text(node, args[0]),))


def _search(op: str, _: Report, node: Call, args: list[Term]) -> Term | None:
    _field_text(node, args[0])
    part = args[1].constant.value if args[1].constant else ""
    if not isinstance(part, str) or not part:
        raise BadCallError(node.args[1], "an empty text is part of every text")
    if args[0].op == "lower" and part != build.lower_text(part):
        message = f"`lower` never holds `{part}`"
        raise BadCallError(node.args[1], message, f'write `"{build.lower_text(part)}"`')
    return Term(op, CONDITION, (args[0],), part)


CALLS: dict[str, Builder] = {
    "abs": _abs,
    "min": partial(_pick, "min"),
    "max": partial(_pick, "max"),
    "round": _round,
    "is_round": _is_round,
    "ratio": _ratio,
    "coalesce": _coalesce,
    "hour": _hour,
    "hour_in": _hour_in,
    "weekday": _weekday,
    "is_weekend": _is_weekend,
    "local_date": _local_date,
    **{f"{unit}_between": partial(_elapsed, unit) for unit in _UNITS_MS},
    "distance_km": _distance,
    "speed_kmh": _speed,
    "starts_with": partial(_search, "starts_with"),
    "ends_with": partial(_search, "ends_with"),
    "contains": partial(_search, "contains"),
    "lower": _lower,
    "length": _length,
}
