"""Units of arithmetic: money with money, duration with duration, money by a number."""

from __future__ import annotations

from fraudstream.rules.bundle import Type
from fraudstream.rules.compiler import build
from fraudstream.rules.compiler.alignment import Report, align
from fraudstream.rules.compiler.functions import AMOUNTS, PLAIN
from fraudstream.rules.compiler.nodes import Arithmetic, Node
from fraudstream.rules.compiler.terms import DATE, DURATION, TIME, Kind, Term, phrase


def built(report: Report, node: Node, term: Term | None) -> Term | None:
    """Report a constant that folding found to have no value."""
    if term is None:
        report.add(node, "this constant has no value", "it divides by zero or is too large")
    return term


def arithmetic(report: Report, node: Arithmetic, left: Term, right: Term) -> Term | None:
    """Return ``left op right`` with the unit that follows from theirs; None: reported."""
    for term, item in ((left, node.left), (right, node.right)):
        if term.kind.currency is not None:
            hint = "it keeps the currency sent; use a converted amount"
            report.add(item, f"`{report.source(item)}` can not be calculated with", hint)
            return None
    if node.op in "*/":
        return _product(report, node, left, right)
    return _sum(report, node, left, right)


def _product(report: Report, node: Arithmetic, left: Term, right: Term) -> Term | None:
    a, b = left.kind.type, right.kind.type
    kind: Kind | None = None
    if a in PLAIN and b in PLAIN:
        kind = Kind(Type.NUMBER, "f")
    elif a in (Type.MONEY, Type.DURATION) and b in PLAIN:
        kind = Kind(a, "f")
    elif node.op == "*" and a in PLAIN and b in (Type.MONEY, Type.DURATION):
        kind = Kind(b, "f")
    elif node.op == "/" and a is b and a in (Type.MONEY, Type.DURATION):
        kind = Kind(Type.NUMBER, "f")
    if kind is None:
        word = "multiply" if node.op == "*" else "divide"
        joint = "with" if node.op == "*" else "by"
        hint = ""
        if a in PLAIN and b is Type.MONEY and left.constant is not None:
            hint = f"write `{report.source(node.left)} {report.scope.base_currency}`"
        report.add(node, f"can not {word} {phrase(left.kind)} {joint} {phrase(right.kind)}", hint)
        return None
    op = "mul" if node.op == "*" else "div"
    return built(report, node, build.apply(op, kind, build.to_float(left), build.to_float(right)))


def _sum(report: Report, node: Arithmetic, left: Term, right: Term) -> Term | None:
    a, b = left.kind.type, right.kind.type
    op = "add" if node.op == "+" else "sub"
    moment = {Type.TIME, Type.DATE}
    if a in moment and b is Type.DURATION:
        return _shift(report, node, op, left, right, node.right)
    if op == "add" and a is Type.DURATION and b in moment:
        return _shift(report, node, op, right, left, node.left)
    aligned = align(report, [left, right], [node.left, node.right])
    if aligned is None:
        return None
    left, right = aligned
    kind = left.kind
    if kind.type in AMOUNTS:
        return built(report, node, build.apply(op, kind, left, right))
    if op == "sub" and kind.type is Type.TIME:
        return built(report, node, build.apply("sub", DURATION, left, right))
    if op == "sub" and kind.type is Type.DATE:
        return build.elapsed_days(left, right)
    word, joint = ("add", "to") if op == "add" else ("subtract", "from")
    hint = "subtract one from the other for the duration" if kind.type in moment else ""
    report.add(node, f"can not {word} {phrase(right.kind)} {joint} {phrase(kind)}", hint)
    return None


def _shift(report: Report, node: Arithmetic, op: str, moment: Term, by: Term, by_node: Node) -> Term | None:
    if moment.kind.type is Type.TIME:
        if by.kind.repr == "f":
            by = Term("rint", DURATION, (by,))
        return built(report, node, build.apply(op, TIME, moment, by))
    days = build.whole_days(by)
    if days is None:
        report.add(by_node, "only whole days can be added to a date", "write a constant such as `30d`")
        return None
    return built(report, node, build.apply(op, DATE, moment, days))
