"""What conditions mean: parts that are never or always true, rules that equal or contain each other.

The analysis looks at one value at a time: a conjunction of comparisons of one value with constants
leaves a region of it; if the region is empty, the conjunction is never true. A disjunction is always
true (where its values are present) iff the conjunction of the opposites is never true.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from fraudstream.rules.bundle import Agg, Source, Type
from fraudstream.rules.compiler.declared import Declared
from fraudstream.rules.compiler.nodes import names
from fraudstream.rules.compiler.parts import Condition
from fraudstream.rules.compiler.reader import Findings
from fraudstream.rules.compiler.ruleset import DeclaredRule
from fraudstream.rules.compiler.shape import duration_text
from fraudstream.rules.compiler.source import Span
from fraudstream.rules.compiler.terms import Constant, Kind, Term, every
from fraudstream.rules.iso4217 import DECIMALS

_ORDERED = (Type.NUMBER, Type.INTEGER, Type.MONEY, Type.DURATION, Type.TIME, Type.DATE)
_ATOMS = ("lt", "eq", "in")
_OPPOSITE = {"<": ">=", ">=": "<", ">": "<=", "<=": ">", "is": "is not", "is not": "is"}

Value = int | float | str | tuple[float, float]


@dataclass(frozen=True, slots=True)
class Atom:
    """A value compared with constants: ``op`` is ``< <= > >= is`` or ``is not``."""

    term: Term
    op: str
    values: tuple[Constant, ...]


@dataclass(slots=True)
class Region:
    """What is left of one value."""

    low: float = -math.inf
    low_open: bool = False
    high: float = math.inf
    high_open: bool = False
    allowed: set[Value] | None = None
    """None: every value."""
    excluded: set[Value] = field(default_factory=set)

    def cut(self, atom: Atom) -> None:
        """Leave only what satisfies the atom."""
        values = {item.value for item in atom.values}
        if atom.op == "is":
            self.allowed = values if self.allowed is None else self.allowed & values
        elif atom.op == "is not":
            self.excluded |= values
        else:
            (value,) = values
            assert not isinstance(value, str | tuple)
            opened = atom.op in ("<", ">")
            if atom.op in ("<", "<=") and (value, not opened) < (self.high, not self.high_open):
                self.high, self.high_open = value, opened
            if atom.op in (">", ">=") and (value, opened) > (self.low, self.low_open):
                self.low, self.low_open = value, opened

    def empty(self, whole: bool) -> bool:
        """Return whether nothing is left; ``whole``: the values are whole numbers."""
        if self.allowed is not None:
            return not any(self._inside(value) for value in self.allowed - self.excluded)
        low, high = self.low, self.high
        if whole and math.isfinite(low) and math.isfinite(high):
            low = math.floor(low) + 1 if self.low_open else math.ceil(low)
            high = math.ceil(high) - 1 if self.high_open else math.floor(high)
            return low > high or (low == high and low in self.excluded)
        if low == high:
            return self.low_open or self.high_open or low in self.excluded
        return low > high

    def _inside(self, value: Value) -> bool:
        if isinstance(value, str | tuple):
            return True
        above = value > self.low or (value == self.low and not self.low_open)
        return above and (value < self.high or (value == self.high and not self.high_open))


class Keys:
    """Numbers terms so that equal ones have one number."""

    def __init__(self) -> None:
        self._numbers: dict[object, int] = {}
        self._known: dict[int, tuple[Term, int]] = {}

    def of(self, root: Term) -> int:
        """Return the number of a term."""
        for term in every([root]) if id(root) not in self._known else ():
            if id(term) in self._known:
                continue
            args = tuple(self._known[id(arg)][1] for arg in term.args)
            if term.op in ("and", "or"):
                args = tuple(sorted(set(args)))
            content = (term.op, term.kind.type, term.kind.repr, _hashable(term.data), args)
            number = self._numbers.setdefault(content, len(self._numbers))
            self._known[id(term)] = (term, number)
        return self._known[id(root)][1]


def _hashable(data: object) -> object:
    if isinstance(data, Constant):
        return data.kind.type, data.kind.repr, data.value, data.currency
    if isinstance(data, tuple):
        return tuple(_hashable(item) for item in data)
    try:
        hash(data)
    except TypeError:
        return id(data)
    return data


def check_truth(declared: Declared, findings: Findings) -> None:
    """Warn about conditions that are never or always true."""
    ranges = ranges_of(declared)
    for rule in declared.rules:
        told: set[str] = set()
        variants = [("", part) for part in rule.parts]
        variants += [
            (f"in segment `{name}`: ", part) for name, parts in rule.variants.items() for part in parts
        ]
        for where, part in variants:
            for code, message, name in _verdicts(part.checked.term, ranges, declared.schema.base_currency):
                if message not in told:
                    told.add(message)
                    hint = "check the numbers and `and` / `or`"
                    findings.warning(place_of(part, name), code, where + message, hint)


def _verdicts(root: Term, ranges: Mapping[str, Region], currency: str) -> Iterator[tuple[str, str, str]]:
    """Yield (code, message, name) for each part that is decided by its constants."""
    keys = Keys()
    if root.constant is not None:
        word = "always" if root.constant.value else "never"
        yield f"{word}-true", f"the condition is {word} true: it reads nothing", ""
        return
    terms = list(every([root]))
    inner = {id(term.args[0]) for term in terms if term.op == "not"}
    judged = {
        id(arg)
        for term in terms
        if term.op == "and"
        for item in term.args
        for arg in (item, *(item.args if item.op == "not" else ()))
    }
    for term in terms:
        if term.op == "or" and id(term) not in inner:
            clash = _clash(literals(term, positive=False), keys, ranges)
            if clash is not None:
                text = " or ".join(_phrase(_opposite(atom), currency) for atom in clash)
                yield "always-true", f"always true: {text} holds for every value", _name(clash[0].term)
        elif term.op == "and" or (term.op in (*_ATOMS, "not") and id(term) not in inner | judged):
            clash = _clash(literals(term, positive=True), keys, ranges)
            if clash is not None:
                text = " and ".join(_phrase(atom, currency) for atom in clash)
                end = "is impossible" if len(clash) == 1 else "can not hold together"
                yield "never-true", f"never true: {text} {end}", _name(clash[0].term)
        if term.op in (*_ATOMS, "not") and id(term) not in inner:
            clash = _clash(literals(term, positive=False), keys, ranges)
            if clash is not None:
                text = _phrase(_opposite(clash[0]), currency)
                yield "always-true", f"always true: {text} holds for every value", _name(clash[0].term)


def literals(root: Term, *, positive: bool) -> list[tuple[Term, bool]]:
    """Flatten a conjunction into terms and whether they must hold."""
    out: list[tuple[Term, bool]] = []
    pending = [(root, positive)]
    while pending:
        term, holds = pending.pop()
        if term.op == "not":
            pending.append((term.args[0], not holds))
        elif term.op == ("and" if holds else "or"):
            pending.extend((arg, holds) for arg in reversed(term.args))
        else:
            out.append((term, holds))
    return out


def _clash(found: list[tuple[Term, bool]], keys: Keys, ranges: Mapping[str, Region]) -> list[Atom] | None:
    """Return the comparisons of one value that leave nothing of it."""
    groups: dict[int, list[Atom]] = {}
    for term, holds in found:
        atom = atom_of(term)
        if atom is not None:
            groups.setdefault(keys.of(atom.term), []).append(atom if holds else _opposite(atom))
    for atoms in groups.values():
        kind = atoms[0].term.kind
        region = _start(atoms[0].term, ranges)
        for atom in atoms:
            region.cut(atom)
        if region.empty(whole=kind.repr == "i" and kind.type in _ORDERED):
            return atoms
    return None


def atom_of(term: Term) -> Atom | None:
    """Return what a condition compares with constants, None if it is not so simple."""
    if term.op == "in" and isinstance(term.data, tuple):
        return Atom(term.args[0], "is", term.data)
    if term.op not in ("lt", "eq"):
        return None
    left, right = term.args
    if (left.constant is None) == (right.constant is None):
        return None
    constant = left.constant or right.constant
    assert constant is not None
    value = right if left.constant is not None else left
    if term.op == "eq":
        return Atom(value, "is", (constant,))
    return Atom(value, "<" if right.constant is not None else ">", (constant,))


def bounds(
    found: list[tuple[Term, bool]], term: Term, keys: Keys, ranges: Mapping[str, Region]
) -> tuple[float, bool, float, bool]:
    """Return (low, low_open, high, high_open) that comparisons leave of one value."""
    region = _start(term, ranges)
    for item, holds in found:
        atom = atom_of(item)
        if atom is not None and keys.of(atom.term) == keys.of(term):
            region.cut(atom if holds else _opposite(atom))
    return region.low, region.low_open, region.high, region.high_open


def value_text(value: float, kind: Kind, currency: str) -> str:
    """Return a number of some kind as it is written in expressions."""
    whole = kind.repr == "i" and math.isfinite(value)
    return constant_text(Constant(kind, int(value) if whole else float(value)), currency)


def _opposite(atom: Atom) -> Atom:
    return Atom(atom.term, _OPPOSITE[atom.op], atom.values)


def _start(term: Term, ranges: Mapping[str, Region]) -> Region:
    """Return the values that a term can have at all."""
    slot = term.slot if term.op == "read" else term.args[0].slot if term.op == "float" else None
    known = ranges.get(slot.name) if slot is not None else None
    if known is not None:
        return Region(known.low, known.low_open, known.high, known.high_open)
    if term.kind.type is Type.ENUM and term.kind.values:
        return Region(allowed=set(range(len(term.kind.values))))
    return Region()


def ranges_of(declared: Declared) -> dict[str, Region]:
    """Return the bounds of names that have some by their declaration."""
    out: dict[str, Region] = {}
    fields = {item.name: item for item in declared.schema.fields}
    for item in declared.schema.fields:
        if item.type is Type.MONEY and not item.signed:
            out[item.name] = Region(low=0)
    for feature in declared.features.feature_set.features:
        of = fields.get(feature.of[0]) if feature.of else None
        unsigned = of is not None and of.type is Type.MONEY and not of.signed
        for slot in feature.outputs:
            if feature.agg is Agg.DISTINCT:
                out[slot.name] = Region(low=0, high=feature.max_distinct)
            elif feature.agg in (Agg.COUNT, Agg.STD, Agg.SINCE_FIRST, Agg.SINCE_LAST) or unsigned:
                out[slot.name] = Region(low=0)
    for slot in declared.slots.values():
        if slot.source is Source.MODEL:
            out[slot.name] = Region(low=0, high=1)
    return out


def _name(term: Term) -> str:
    if term.op == "float":
        term = term.args[0]
    return term.slot.name if term.slot is not None else ""


def _phrase(atom: Atom, currency: str) -> str:
    name = _name(atom.term)
    shown = name or "the computed value"
    values = ", ".join(constant_text(item, currency) for item in atom.values[:4])
    values += ", …" if len(atom.values) > 4 else ""
    if atom.op in ("is", "is not"):
        single = len(atom.values) == 1
        op = ("==" if single else "in") if atom.op == "is" else ("!=" if single else "not in")
        text = f"{shown} {op} {values if single else f'[{values}]'}"
    else:
        text = f"{shown} {atom.op} {values}"
    return f"`{text}`"


def constant_text(value: Constant, currency: str) -> str:
    """Return a constant as it is written in expressions."""
    kind: Kind = value.kind
    if kind.type is Type.ENUM and isinstance(value.value, int):
        return f'"{kind.values[value.value]}"'
    if kind.type is Type.MONEY and not isinstance(value.value, str | tuple):
        return f"{value.value / 10 ** DECIMALS.get(value.currency or currency, 2):.10g}"
    if kind.type is Type.DURATION and not isinstance(value.value, str | tuple):
        return duration_text(int(value.value)) if value.value >= 0 else f"{value.value} ms"
    return (
        f"{value.value:g}"
        if isinstance(value.value, float)
        else f'"{value.value}"'
        if isinstance(value.value, str)
        else str(value.value)
    )


def place_of(part: Condition, name: str) -> Span:
    """Return where an expression reads a name, the whole expression if it does so through a condition."""
    for item in names(part.checked.node) if name and part.checked.node is not None else ():
        if item.name == name:
            return part.part(item.begin, item.end)
    return part.place.part(0, len(part.place.text))


def check_tables(declared: Declared, findings: Findings) -> None:
    """Warn about rows of decision tables that match only where another row does."""
    keys = Keys()
    for rule in declared.rules:
        rows = [frozenset(keys.of(cell.checked.term) for cell in row) for row in rule.parts.rows]
        for at, row in enumerate(rows):
            wider = [i for i, other in enumerate(rows) if other < row or (other == row and i < at)]
            if wider:
                cell = rule.parts.rows[at][0]
                line = rule.parts.rows[wider[0]][0].key.span.line
                message = f"the row matches only where the row on line {line} does"
                findings.warning(cell.key, "table-row", message, "remove it")


def check_duplicates(declared: Declared, findings: Findings) -> None:
    """Warn about rules with one condition, and rules that match only where a stronger one does."""
    keys = Keys()
    rules = [rule for rule in declared.rules if rule.evaluated and rule.full is not None]
    first: dict[int, DeclaredRule] = {}
    parts: list[tuple[DeclaredRule, frozenset[tuple[int, bool]]]] = []
    for rule in rules:
        assert rule.full is not None
        whole = keys.of(rule.full.term)
        other = first.setdefault(whole, rule)
        if other is not rule:
            message = f"the rule `{rule.id}` has the same condition as `{other.id}`"
            findings.warning(rule.place, "duplicate", message, "merge them")
            continue
        needed = literals(rule.full.term, positive=True)
        parts.append((rule, frozenset((keys.of(term), holds) for term, holds in needed)))
    for rule, other in _contained(parts):
        message = f"the rule `{rule.id}` matches only where `{other.id}` does, which asks for as much"
        findings.warning(rule.place, "subsumed", message, "remove it, or make it stronger")


def _contained(
    parts: list[tuple[DeclaredRule, frozenset[tuple[int, bool]]]],
) -> Iterator[tuple[DeclaredRule, DeclaredRule]]:
    """Yield (narrow, wide): all parts of the wide rule are parts of the narrow one."""
    uses = Counter(part for _, needed in parts for part in needed)
    by_rarest: dict[tuple[int, bool], list[tuple[DeclaredRule, frozenset[tuple[int, bool]]]]] = {}
    for rule, needed in parts:
        if needed:
            rarest = min(needed, key=lambda item: (uses[item], item))
            by_rarest.setdefault(rarest, []).append((rule, needed))
    for rule, needed in parts:
        for wide, wanted in (entry for part in sorted(needed) for entry in by_rarest.get(part, ())):
            if wide is not rule and wanted < needed and _as_strong(wide, rule):
                yield rule, wide
                break


def _as_strong(wide: DeclaredRule, narrow: DeclaredRule) -> bool:
    return (
        wide.mode is narrow.mode
        and wide.share == narrow.share
        and wide.typology == narrow.typology
        and wide.action >= narrow.action
        and wide.score >= narrow.score
        and wide.severity >= narrow.severity
        and wide.never_override >= narrow.never_override
    )
