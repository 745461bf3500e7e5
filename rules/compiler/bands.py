"""Score bands over one number: what no band covers, what two cover, what none leaves to a later one.

Where every band is a conjunction of comparisons of one and the same value with constants, the bands are
intervals of it, and the rule's own condition bounds what they must cover. Anything else is not judged.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fraudstream.rules.bundle import Type
from fraudstream.rules.compiler.declared import Declared
from fraudstream.rules.compiler.logic import Keys, atom_of, bounds, literals, ranges_of, value_text
from fraudstream.rules.compiler.reader import Findings
from fraudstream.rules.compiler.ruleset import DeclaredRule
from fraudstream.rules.compiler.terms import Kind, Term

_WHOLE = (Type.INTEGER, Type.MONEY, Type.DURATION, Type.TIME, Type.DATE)


class Interval(NamedTuple):
    """Values from low to high; an end with 1 behind a low one (-1 behind a high one) is not included."""

    low: tuple[float, int]
    high: tuple[float, int]

    @property
    def empty(self) -> bool:
        """Return whether nothing is inside."""
        return self.low > self.high


def check_bands(declared: Declared, findings: Findings) -> None:
    """Warn about gaps and overlaps of score bands, and about bands that never count."""
    ranges = ranges_of(declared)
    for rule in declared.rules:
        found = _intervals(rule)
        if found is None:
            continue
        term, intervals = found
        name = term.slot.name if term.slot is not None else "the computed value"
        known = bounds([(term, True)], term, Keys(), ranges)
        domain = _interval(known, term.kind)
        if rule.when is not None:
            keys = Keys()
            own = [
                item for item in literals(rule.when.checked.term, positive=True) if _is(item[0], term, keys)
            ]
            domain = _interval(bounds(own, term, keys, ranges), term.kind)
        left = [domain]
        for at, (band, interval) in enumerate(zip(rule.parts.bands, intervals, strict=True)):
            shown = _minus(left, interval, _whole(term.kind))
            place = band.condition.place.part(0, len(band.condition.place.text))
            if shown == left and not domain.empty:
                message = "the band never counts: earlier bands or the rule's condition leave nothing to it"
                findings.warning(place, "band-unused", message, "check the numbers and the order")
            for other in intervals[:at]:
                if _crosses(other, interval):
                    both = Interval(max(other.low, interval.low), min(other.high, interval.high))
                    message = f"two bands hold where `{_words(name, both, term.kind, declared)}`"
                    findings.warning(place, "band-overlap", f"{message}; the earlier one counts", "part them")
                    break
            left = shown
        for gap in left:
            message = f"no band holds where `{_words(name, gap, term.kind, declared)}`: the score is 0 there"
            findings.warning(rule.section.key("score"), "band-gap", message, "add a band")


def _intervals(rule: DeclaredRule) -> tuple[Term, list[Interval]] | None:
    """Return the one value of all bands and the interval of each; None if they are not so simple."""
    keys, term, out = Keys(), None, []
    for band in rule.parts.bands:
        found = literals(band.condition.checked.term, positive=True)
        for item, _ in found:
            atom = atom_of(item)
            if atom is None or atom.op in ("is", "is not"):
                return None
            if term is None:
                term = atom.term
            if keys.of(atom.term) != keys.of(term):
                return None
        if term is None:
            return None
        out.append(_interval(bounds(found, term, keys, {}), term.kind))
    return None if term is None else (term, out)


def _is(item: Term, term: Term, keys: Keys) -> bool:
    atom = atom_of(item)
    return atom is not None and atom.op not in ("is", "is not") and keys.of(atom.term) == keys.of(term)


def _interval(ends: tuple[float, bool, float, bool], kind: Kind) -> Interval:
    low, low_open, high, high_open = ends
    if _whole(kind):
        low = math.floor(low) + 1 if low_open and math.isfinite(low) else low
        high = math.ceil(high) - 1 if high_open and math.isfinite(high) else high
        low_open = high_open = False
    return Interval((low, int(low_open)), (high, -int(high_open)))


def _whole(kind: Kind) -> bool:
    return kind.repr == "i" and kind.type in _WHOLE


def _minus(parts: Sequence[Interval], cut: Interval, whole: bool) -> list[Interval]:
    """Return what is left of disjoint intervals; ``whole``: of whole numbers."""
    out: list[Interval] = []
    for part in parts:
        if cut.empty or cut.high < part.low or part.high < cut.low:
            out.append(part)
            continue
        before = Interval(part.low, _beside(cut.low, -1, whole))
        behind = Interval(_beside(cut.high, 1, whole), part.high)
        out += [piece for piece in (before, behind) if not piece.empty]
    return out


def _beside(end: tuple[float, int], side: int, whole: bool) -> tuple[float, int]:
    """Return the end next to an interval's end, outside of it."""
    value, opened = end
    if whole and math.isfinite(value):
        return value + side, 0
    return value, 0 if opened else side


def _crosses(a: Interval, b: Interval) -> bool:
    """Return whether two intervals share values and neither lies within the other."""
    if a.empty or b.empty or a.high < b.low or b.high < a.low:
        return False
    return not (a.low <= b.low and b.high <= a.high) and not (b.low <= a.low and a.high <= b.high)


def _words(name: str, piece: Interval, kind: Kind, declared: Declared) -> str:
    return " and ".join(_ends(name, piece, kind, declared.schema.base_currency))


def _ends(name: str, piece: Interval, kind: Kind, currency: str) -> Iterator[str]:
    low, high = piece
    if low[0] == high[0]:
        yield f"{name} == {value_text(low[0], kind, currency)}"
        return
    if math.isfinite(low[0]):
        yield f"{name} {'>' if low[1] else '>='} {value_text(low[0], kind, currency)}"
    if math.isfinite(high[0]):
        yield f"{name} {'<' if high[1] else '<='} {value_text(high[0], kind, currency)}"
