"""The checker: types every node of one expression and reports all that is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence

from fraudstream.rules.bundle import Source, Type
from fraudstream.rules.compiler import build
from fraudstream.rules.compiler.alignment import Report, align
from fraudstream.rules.compiler.arithmetic import arithmetic, built
from fraudstream.rules.compiler.calls import CALLS, BadCallError
from fraudstream.rules.compiler.functions import AMOUNTS, FUNCTIONS, ORDERED, PLAIN
from fraudstream.rules.compiler.literals import (
    Refusal,
    adapt,
    duration_constant,
    money_constant,
    number_constant,
)
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
from fraudstream.rules.compiler.suggest import nearest, suggest
from fraudstream.rules.compiler.terms import (
    CONDITION,
    DATE,
    TEXT,
    TIME,
    Constant,
    ListDecl,
    Scope,
    Term,
    phrase,
)
from fraudstream.rules.compiler.tokens import shorten

_TEXTUAL = (Type.ENUM, Type.CATEGORY, Type.ID, Type.COUNTRY)
_GROUPS = {Source.FIELD: "fields", Source.FEATURE: "features", Source.MODEL: "models"}


class Checker:
    """Types one expression; ``infer`` gives None where a problem has been reported."""

    def __init__(self, text: str, scope: Scope) -> None:
        self.report = Report(text, scope)
        self.scope = scope

    def infer(self, node: Node) -> Term | None:
        """Return the checked term of a node; None: at least one problem has been reported."""
        match node:
            case Name():
                return self._name(node)
            case Number():
                return self._constant(node, number_constant(node.digits, percent=node.percent))
            case Text():
                return build.const(Constant(TEXT, node.value))
            case Compare():
                return self._compare(node)
            case And():
                return self._join("and", node.terms)
            case Or():
                return self._join("or", node.terms)
            case Not():
                return self._not(node)
            case Call():
                return self._call(node)
            case Membership():
                return self._membership(node)
            case Between():
                return self._between(node)
            case Missing():
                return self._missing(node)
            case Arithmetic():
                return self._arithmetic(node)
            case Negate():
                return self._negate(node)
            case Money():
                return self._constant(node, money_constant(node.digits, node.currency, self.scope))
            case Duration():
                return build.const(duration_constant(node.milliseconds))
            case Bool():
                return build.flag(node.value)
        self.report.add(node, "a list can not stand here", "lists stand on the right of `in`")
        return None

    def _constant(self, node: Node, value: Constant | Refusal) -> Term | None:
        if isinstance(value, Refusal):
            self.report.refuse(node, value)
            return None
        return build.const(value)

    # Names.

    def _name(self, node: Name) -> Term | None:
        name = node.name
        if name.startswith("params.") and "params" in self.scope.allow:
            value = self.scope.params.get(name[7:])
            if value is not None:
                return build.const(value)
        elif name in self.scope.conditions and "conditions" in self.scope.allow:
            return self.scope.conditions[name].term
        elif name in self.scope.slots:
            slot = self.scope.slots[name]
            if _GROUPS[slot.source] in self.scope.allow:
                read = build.read(slot, self.scope.kind_of(slot))
                return Term("truth", CONDITION, (read,)) if slot.type is Type.BOOL else read
            self.report.add(node, f"`{name}` may not be used here", "only fields of the event itself may")
            return None
        self._unknown(node)
        return None

    def _candidates(self) -> list[str]:
        scope, found = self.scope, []
        if "params" in scope.allow:
            found += [f"params.{name}" for name in scope.params]
        if "conditions" in scope.allow:
            found += list(scope.conditions)
        return found + [name for name, slot in scope.slots.items() if _GROUPS[slot.source] in scope.allow]

    def _unknown(self, node: Name) -> None:
        if self.report.full:
            return
        name = node.name
        if name in FUNCTIONS:
            self.report.add(node, f"`{name}` is a function", f"write `{FUNCTIONS[name].signature}`")
        elif name.removeprefix("lists.") in self.scope.lists:
            self.report.add(node, f"`{name}` is a list", "lists stand on the right of `in`")
        else:
            self.report.add(node, f"unknown name `{shorten(name)}`", suggest(name, self._candidates()))

    def _bare_word(self, node: Node, beside: Term | None) -> bool:
        """Report a text that was written without quotes beside a text field."""
        if not isinstance(node, Name) or "." in node.name or beside is None:
            return False
        if beside.kind.type not in _TEXTUAL or node.name in self._candidates():
            return False
        meant = nearest(node.name, beside.kind.values) or node.name
        self.report.add(
            node, f"unknown name `{shorten(node.name)}`", f'texts stand in quotes: `"{shorten(meant)}"`'
        )
        return True

    # Conditions.

    def _condition(self, node: Node, word: str) -> Term | None:
        term = self.infer(node)
        if term is None or term.kind.type is Type.BOOL:
            return term
        hint = "compare it with something, such as `> 0`"
        if term.kind.type in _TEXTUAL:
            hint = 'compare it with something, such as `== "..."`'
        self.report.add(node, f"`{word}` joins conditions; this is {phrase(term.kind)}", hint)
        return None

    def _join(self, word: str, nodes: tuple[Node, ...]) -> Term | None:
        terms = [self._condition(node, word) for node in nodes]
        found = [term for term in terms if term is not None]
        return build.join(word, found) if len(found) == len(terms) else None

    def _not(self, node: Not) -> Term | None:
        term = self._condition(node.operand, "not")
        return None if term is None else build.negated(term)

    def _compare(self, node: Compare) -> Term | None:
        unquoted = self._unquoted(node.left, node.right)
        if unquoted:
            return None
        left, right = self.infer(node.left), self.infer(node.right)
        if left is None or right is None:
            return None
        if left.kind.type is Type.BOOL and right.kind.type is Type.BOOL:
            if node.op in ("==", "!="):
                same = Term("same", CONDITION, (left, right))
                return same if node.op == "==" else build.negated(same)
            self.report.add(node, f"`{node.op}` does not work on conditions", "conditions have no order")
            return None
        aligned = align(self.report, [left, right], [node.left, node.right])
        if aligned is None or not self._comparable(node, node.op, aligned):
            return None
        return build.compare(node.op, *aligned)

    def _unquoted(self, left: Node, right: Node) -> bool:
        """Report ``txn.channel == ecom``, on either side."""
        for word, other in ((right, left), (left, right)):
            if isinstance(word, Name) and isinstance(other, Name) and other.name in self.scope.slots:
                read = build.read(
                    self.scope.slots[other.name], self.scope.kind_of(self.scope.slots[other.name])
                )
                if self._bare_word(word, read):
                    return True
        return False

    def _comparable(self, node: Node, op: str, terms: Sequence[Term]) -> bool:
        kind = terms[0].kind
        if kind.type is Type.GEO:
            self.report.add(node, "places can not be compared", "use `distance_km(a, b)`")
            return False
        if op not in ("==", "!=", "in") and kind.type not in ORDERED:
            self.report.add(node, f"`{op}` does not work on {phrase(kind)}", "use `==`, `!=` or `in`")
            return False
        lowered = any(term.op == "lower" for term in terms)
        for term in terms:
            value = term.constant.value if term.constant else ""
            if lowered and isinstance(value, str) and value != build.lower_text(value):
                hint = f'write `"{build.lower_text(value)}"`'
                self.report.add(node, f'`lower` is never equal to `"{shorten(value)}"`', hint)
                return False
        return True

    def _between(self, node: Between) -> Term | None:
        nodes: list[Node] = [node.value, node.low, node.high]
        terms = [self.infer(item) for item in nodes]
        found = [term for term in terms if term is not None]
        if len(found) < 3:
            return None
        aligned = align(self.report, found, nodes)
        if aligned is None or not self._comparable(node, "between", aligned):
            return None
        low, high = aligned[1].constant, aligned[2].constant
        if low and high and build.compare_constants(">", low, high):
            hint = f"write `between {self.report.source(node.high)} and {self.report.source(node.low)}`"
            self.report.add(node, "the ends of `between` are in the wrong order", hint)
            return None
        term = build.between(*aligned)
        return build.negated(term) if node.negated else term

    def _missing(self, node: Missing) -> Term | None:
        term = self.infer(node.value)
        if term is None:
            return None
        if term.constant is not None:
            self.report.add(node.value, "a constant is never missing")
            return None
        present = Term("present", CONDITION, (term,))
        return present if node.negated else build.negated(present)

    def _membership(self, node: Membership) -> Term | None:
        value = self.infer(node.value)
        if isinstance(node.items, Items):
            term = self._in_items(node, value, node.items)
        else:
            assert isinstance(node.items, Name)
            term = self._in_list(node, value, node.items)
        return build.negated(term) if term is not None and node.negated else term

    def _in_items(self, node: Membership, value: Term | None, items: Items) -> Term | None:
        terms = [None if self._bare_word(item, value) else self.infer(item) for item in items.items]
        if value is None or any(term is None for term in terms):
            return None
        found = [term for term in terms if term is not None]
        for term, item in zip(found, items.items, strict=True):
            if term.constant is None:
                self.report.add(item, "lists in an expression hold constants only")
                return None
        if value.kind.type in (Type.BOOL, Type.GEO):
            self.report.add(node.value, f"`in` does not work on {phrase(value.kind)}")
            return None
        aligned = align(self.report, [value, *found], [node.value, *items.items])
        if aligned is None or not self._comparable(node, "in", aligned):
            return None
        constants = tuple(term.constant for term in aligned[1:])
        return Term("in", CONDITION, (aligned[0],), constants)

    def _in_list(self, node: Membership, value: Term | None, name: Name) -> Term | None:
        found = self.scope.lists.get(name.name.removeprefix("lists."))
        if "lists" not in self.scope.allow:
            self.report.add(name, "lists may not be used here", "only fields of the event itself may")
            return None
        if found is None or not name.name.startswith("lists."):
            hint = suggest(name.name, [f"lists.{item}" for item in self.scope.lists])
            if found is not None:
                hint = f"write `lists.{name.name}`"
            self.report.add(name, f"unknown list `{shorten(name.name)}`", hint)
            return None
        return None if value is None else self._in_declared(node, value, found)

    def _in_declared(self, node: Membership, value: Term, declared: ListDecl) -> Term | None:
        kind = value.kind
        numeric = kind.type in PLAIN and declared.type in PLAIN
        if kind.currency is not None or kind.type in (Type.BOOL, Type.GEO):
            self.report.add(node.value, f"`in lists.{declared.name}` does not work on this value")
            return None
        if kind.type is not declared.type and not numeric:
            message = (
                f"{phrase(kind)} is never in `lists.{declared.name}`, a list of type {declared.type.value}"
            )
            self.report.add(node, message, f"give the list the type {kind.type.value}")
            return None
        if kind.type is Type.ENUM:
            strange = next(
                (str(item.value) for item in declared.items if item.value not in kind.values), None
            )
            if strange is not None:
                shown = self.report.source(node.value)
                message = f"`{shorten(strange)}` of `lists.{declared.name}` is not a value of `{shown}`"
                self.report.add(node, message, suggest(strange, kind.values))
                return None
        if declared.type is Type.NUMBER:
            value = build.to_float(value)
        if not declared.expires:
            return Term("in_list", CONDITION, (value,), declared)
        if self.scope.event_time is None:
            self.report.add(node, f"items of `lists.{declared.name}` end, which needs the event's time")
            return None
        return Term("in_list", CONDITION, (value, build.read(self.scope.event_time, TIME)), declared)

    # Values.

    def _negate(self, node: Negate) -> Term | None:
        term = self.infer(node.operand)
        if term is None:
            return None
        if term.kind.type not in AMOUNTS or term.kind.currency is not None:
            self.report.add(node, f"`-` does not work on {phrase(term.kind)}")
            return None
        return built(self.report, node, build.apply("neg", term.kind, term))

    def _arithmetic(self, node: Arithmetic) -> Term | None:
        left, right = self.infer(node.left), self.infer(node.right)
        if left is None or right is None:
            return None
        return arithmetic(self.report, node, left, right)

    def _call(self, node: Call) -> Term | None:
        function = FUNCTIONS.get(node.function)
        terms = [self.infer(arg) for arg in node.args]
        if function is None:
            self.report.add(
                node, f"unknown function `{shorten(node.function)}`", suggest(node.function, FUNCTIONS)
            )
            return None
        wanted, given = len(function.params), len(node.args)
        if given < wanted or (given > wanted and not function.repeats):
            verb = "takes" if not function.repeats else "takes at least"
            plural = "" if wanted == 1 else "s"
            hint = f"write `{function.signature}`"
            self.report.add(node, f"`{node.function}` {verb} {wanted} argument{plural}, was {given}", hint)
            return None
        found = [term for term in terms if term is not None]
        if len(found) < given:
            return None
        ready: list[Term] = []
        for i, (term, arg) in enumerate(zip(found, node.args, strict=True)):
            param = function.params[min(i, wanted - 1)]
            accepted = self._argument(term, arg, node.function, param.name, param.types)
            if accepted is None:
                continue
            if param.constant and accepted.constant is None:
                self.report.add(arg, f"`{param.name}` of `{node.function}` must be a constant")
                continue
            ready.append(accepted)
        if len(ready) < given:
            return None
        try:
            return CALLS[node.function](self.report, node, ready)
        except BadCallError as error:
            self.report.add(error.node, error.message, error.hint)
            return None

    def _argument(
        self, term: Term, node: Node, function: str, name: str, types: tuple[Type, ...]
    ) -> Term | None:
        if term.kind.currency is not None:
            hint = "it keeps the currency sent; use a converted amount"
            self.report.add(node, f"`{self.report.source(node)}` can not be calculated with", hint)
            return None
        if term.kind == TEXT and term.constant is not None and Type.CATEGORY not in types:
            # A text beside times: a date if it is one.
            for target in (DATE, TIME):
                if target.type in types:
                    value = adapt(term.constant, target, self.scope)
                    if isinstance(value, Constant):
                        return build.const(value)
        if term.kind.type in types:
            return term
        wanted = " or ".join(dict.fromkeys(phrase(item) for item in types))
        hint = "remove the quotes" if term.constant is not None and term.kind == TEXT else ""
        if types == (Type.TIME,) and term.kind.type is Type.DATE:
            hint = "a date has no hour"
        self.report.add(node, f"`{name}` of `{function}` is {wanted}, this is {phrase(term.kind)}", hint)
        return None
