"""One unit for several values: what may be compared, added or chosen from, and what literals mean there."""

from __future__ import annotations

from collections.abc import Sequence

from fraudstream.rules.bundle import Type
from fraudstream.rules.compiler import build
from fraudstream.rules.compiler.functions import PLAIN
from fraudstream.rules.compiler.grammar import MAX_PROBLEMS
from fraudstream.rules.compiler.literals import Refusal, adapt, mismatch
from fraudstream.rules.compiler.nodes import Node, Number, Problem
from fraudstream.rules.compiler.terms import MONEY, Constant, Kind, Scope, Term, phrase
from fraudstream.rules.compiler.tokens import shorten


class Report:
    """Problems of one expression, with what messages need to quote it."""

    def __init__(self, text: str, scope: Scope) -> None:
        self.text = text
        self.scope = scope
        self.problems: list[Problem] = []

    @property
    def full(self) -> bool:
        """Return whether more problems would be cut anyway."""
        return len(self.problems) > MAX_PROBLEMS

    def add(self, node: Node, message: str, hint: str = "") -> None:
        """Report a problem of a node."""
        if not self.full:
            self.problems.append(Problem(node.begin, node.end, message, hint))

    def refuse(self, node: Node, refusal: Refusal) -> None:
        """Report why a constant can not stand where it stands."""
        self.add(node, refusal.message, refusal.hint)

    def source(self, node: Node) -> str:
        """Return what was written, cut for a message."""
        return shorten(self.text[node.begin : node.end])


def align(report: Report, terms: list[Term], nodes: Sequence[Node]) -> list[Term] | None:
    """Bring values that are compared, added or chosen from to one kind; None: reported."""
    lead = next((i for i, term in enumerate(terms) if term.constant is None), None)
    if lead is None:
        lead = _strongest(terms)
    base = terms[lead].kind
    if base.currency is not None:
        return _own_currency(report, terms, nodes, lead)
    aligned: list[Term] = []
    for i, (term, node) in enumerate(zip(terms, nodes, strict=True)):
        accepted = term if i == lead else _fit(report, term, node, base, nodes[lead])
        if accepted is None:
            return None
        aligned.append(accepted)
    if any(term.kind.repr == "f" for term in aligned):
        return [build.to_float(term) for term in aligned]
    return aligned


def _fit(report: Report, term: Term, node: Node, base: Kind, lead: Node) -> Term | None:
    value = term.constant
    if value is not None:
        if isinstance(node, Number) and node.percent and base.type in (Type.MONEY, Type.DURATION):
            hint = f"say of what: `{report.source(node)} * ...`"
            report.add(node, f"a percentage can not stand beside {phrase(base)}", hint)
            return None
        fitted = adapt(value, base, report.scope, report.source(lead))
        if isinstance(fitted, Constant):
            return build.const(fitted)
        report.refuse(node, fitted)
        return None
    kind = term.kind
    plain = kind.type in PLAIN and base.type in PLAIN
    if kind.currency is None and (plain or (kind.type is base.type and kind.values == base.values)):
        return term
    if kind.currency is not None:
        report.refuse(node, _only_one_currency(report.source(node)))
    elif kind.type is base.type:
        report.add(node, "two fields with different values can not be compared")
    else:
        report.refuse(
            node, mismatch(base, kind, None if kind.type is not Type.CATEGORY else Constant(kind, ""))
        )
    return None


def _own_currency(report: Report, terms: list[Term], nodes: Sequence[Node], lead: int) -> list[Term] | None:
    """Compare money as sent with amounts of one currency: rows in another one are unknown."""
    codes = []
    shown = report.source(nodes[lead])
    for i, (term, node) in enumerate(zip(terms, nodes, strict=True)):
        if i == lead:
            continue
        value = term.constant
        if value is None or not value.currency:
            example = report.source(node) if value is not None and value.kind.type in PLAIN else "100"
            refusal = _only_one_currency(shown)
            report.refuse(node, Refusal(refusal.message, f"write `{example} {report.scope.base_currency}`"))
            return None
        codes.append(value.currency)
    if len(set(codes)) > 1:
        report.refuse(nodes[lead], _only_one_currency(shown))
        return None
    read, slot = terms[lead], terms[lead].kind.currency
    assert slot is not None
    currency = build.read(slot, report.scope.kind_of(slot))
    own = Term("own", MONEY, (read, currency), codes[0] if codes else "")
    return [own if i == lead else term for i, term in enumerate(terms)]


def _only_one_currency(shown: str) -> Refusal:
    return Refusal(f"`{shown}` keeps the currency sent; it is compared with amounts of one currency only")


def _strongest(terms: Sequence[Term]) -> int:
    """Return which of several constants decides what the others mean."""
    order = [i for i, term in enumerate(terms) if term.kind.type not in (*PLAIN, Type.CATEGORY)]
    if order:
        return order[0]
    return next((i for i, term in enumerate(terms) if term.kind.type is Type.NUMBER), 0)
