"""Small constructors of terms, with folding of constants.

Folded constants keep an exact value beside the binary64 one: ``txn.amount > 3 * 0.10`` means 0.30, while
numbers compare as binary64 arithmetic gives them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from fraudstream.rules.bundle import Slot, Type
from fraudstream.rules.compiler.literals import MAX_INT64, MIN_INT64, as_float
from fraudstream.rules.compiler.terms import CONDITION, DATE, DURATION, NUMBER, Constant, Kind, Term
from fraudstream.rules.compiler.tokens import DAY_MS


def const(value: Constant) -> Term:
    """Return a constant term."""
    return Term("const", value.kind, (), value)


def flag(value: bool) -> Term:
    """Return a condition that is always true or always false."""
    return const(Constant(CONDITION, int(value)))


def read(slot: Slot, kind: Kind) -> Term:
    """Return a term that reads a slot."""
    return Term("read", kind, (), slot)


def negated(term: Term) -> Term:
    """Return ``not term``."""
    return term.args[0] if term.op == "not" else Term("not", CONDITION, (term,))


def definite(term: Term) -> Term:
    """Return the condition with unknown turned into false."""
    return Term("coalesce", CONDITION, (term, flag(False)))


def join(word: str, terms: Sequence[Term]) -> Term:
    """Return the conjunction or disjunction; of nothing: true."""
    if not terms:
        return flag(True)
    return terms[0] if len(terms) == 1 else Term(word, CONDITION, tuple(terms))


def to_float(term: Term) -> Term:
    """Return the value as binary64."""
    if term.kind.repr == "f":
        return term
    if term.constant is not None:
        return const(as_float(term.constant))
    kind = NUMBER if term.kind.type is Type.INTEGER else term.kind.as_float()
    return Term("float", kind, (term,))


def compare(op: str, left: Term, right: Term) -> Term:
    """Return ``left op right`` of two values of one kind, by ``lt``, ``eq`` and ``not``."""
    a, b = left.constant, right.constant
    if a is not None and b is not None:
        return flag(compare_constants(op, a, b))
    if op in ("==", "!="):
        term = Term("eq", CONDITION, (left, right))
    elif op in ("<", ">="):
        term = Term("lt", CONDITION, (left, right))
    else:
        term = Term("lt", CONDITION, (right, left))
    return negated(term) if op in ("!=", ">=", "<=") else term


def compare_constants(op: str, a: Constant, b: Constant) -> bool:
    """Compare two constants of one kind."""
    if op == "==":
        return a.value == b.value
    if op == "!=":
        return a.value != b.value
    assert not isinstance(a.value, str | tuple)
    assert not isinstance(b.value, str | tuple)
    return {
        "<": a.value < b.value,
        "<=": a.value <= b.value,
        ">": a.value > b.value,
        ">=": a.value >= b.value,
    }[op]


def between(value: Term, low: Term, high: Term) -> Term:
    """Return ``value between low and high``; unknown if one of the three is missing."""
    if low.constant is not None and high.constant is not None:
        return join("and", [compare(">=", value, low), compare("<=", value, high)])
    return Term("between", CONDITION, (value, low, high))


def apply(op: str, kind: Kind, *args: Term) -> Term | None:
    """Return an arithmetic term, folded if all args are constants; None: the constant has no value."""
    values = [arg.constant for arg in args]
    found = [value for value in values if value is not None]
    if len(found) < len(args):
        return Term(op, kind, args)
    value = _fold_int(op, found) if kind.repr == "i" else _fold_float(op, found)
    if value is None:
        return None
    return const(Constant(kind, value, _fold_exact(op, found)))


def _fold_int(op: str, values: list[Constant]) -> int | None:
    numbers = [value.value for value in values if isinstance(value.value, int)]
    result = (
        -numbers[0] if op == "neg" else numbers[0] + numbers[1] if op == "add" else numbers[0] - numbers[1]
    )
    return result if MIN_INT64 <= result <= MAX_INT64 else None


def _fold_float(op: str, values: list[Constant]) -> float | None:
    a = float(values[0].value) if not isinstance(values[0].value, tuple) else math.nan
    b = float(values[-1].value) if not isinstance(values[-1].value, tuple) else math.nan
    if op == "div":
        result = a / b if b != 0 else math.nan
    else:
        result = {"neg": -a, "add": a + b, "sub": a - b, "mul": a * b}[op]
    return result + 0.0 if math.isfinite(result) else None


def _fold_exact(op: str, values: list[Constant]) -> Fraction | None:
    a, b = values[0].exact, values[-1].exact
    if a is None or b is None:
        return None
    if op == "div":
        return a / b if b else None
    return {"neg": -a, "add": a + b, "sub": a - b, "mul": a * b}[op]


def elapsed_days(later: Term, earlier: Term) -> Term:
    """Return the duration between two dates."""
    a, b = later.constant, earlier.constant
    if a is not None and b is not None and isinstance(a.value, int) and isinstance(b.value, int):
        return const(Constant(DURATION, (a.value - b.value) * DAY_MS))
    return Term("scale", DURATION, (Term("sub", DURATION, (later, earlier)),), DAY_MS)


def whole_days(by: Term) -> Term | None:
    """Return a constant duration as days for date arithmetic; None: not constant or not whole."""
    value = by.constant
    if value is None or value.exact is None or value.exact % DAY_MS:
        return None
    return const(Constant(DATE, int(value.exact) // DAY_MS))


def lower_text(text: str) -> str:
    """Return the text with A-Z made a-z and nothing else changed, as the kernel does it."""
    return "".join(chr(ord(char) + 32) if "A" <= char <= "Z" else char for char in text)
