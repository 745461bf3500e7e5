"""The parts of a rule that are conditions, and what they mean together.

A rule holds where its gate (event types, effective interval) and ``when`` are true and no exception that
has not ended is true. An exception or score band that is unknown counts as false: it takes nothing away
and gives nothing. The first true band gives the points; a match without a true band gives none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fraudstream.rules.compiler import build
from fraudstream.rules.compiler.reader import ScalarNode
from fraudstream.rules.compiler.source import Span
from fraudstream.rules.compiler.terms import TIME, Checked, Constant, Scope, Term


@dataclass(frozen=True, slots=True)
class Condition:
    """An expression of a rule: a named part, ``when``, an exception or a band."""

    checked: Checked
    place: ScalarNode
    """The expression in the file."""
    key: ScalarNode
    label: str
    """What operators call it: the name of a condition, or the key of the rule that it stands in."""
    shift: int = 0
    """Characters of the expression before what stands in the file: a cell lacks its column's name."""

    def part(self, begin: int, end: int) -> Span:
        """Return where characters of the expression stand in the file."""
        return self.place.part(max(0, begin - self.shift), max(1, end - self.shift))


@dataclass(frozen=True, slots=True)
class Exemption:
    """One of ``exceptions``: turns a match off until an instant of event time."""

    condition: Condition
    owner: str
    until_ms: int
    until: ScalarNode


@dataclass(frozen=True, slots=True)
class ScoreBand:
    """One of the bands of ``score``."""

    condition: Condition
    score: int


@dataclass(frozen=True, slots=True)
class Parts:
    """All conditions of a rule; ``when`` is None where an error left nothing to run."""

    conditions: Mapping[str, Condition] = field(default_factory=dict)
    when: Condition | None = None
    rows: tuple[tuple[Condition, ...], ...] = ()
    """Cells of a decision table, whose whole is ``when``."""
    exceptions: tuple[Exemption, ...] = ()
    bands: tuple[ScoreBand, ...] = ()

    def __iter__(self) -> Iterator[Condition]:
        """Iterate over all of them, named ones first."""
        yield from self.conditions.values()
        if self.rows:
            yield from (cell for row in self.rows for cell in row)
        elif self.when is not None:
            yield self.when
        yield from (item.condition for item in self.exceptions)
        yield from (item.condition for item in self.bands)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outputs of a rule."""

    full: Checked
    """Whether the rule holds; counted, and shown to tests."""
    before: Checked | None = None
    """The same without exceptions; None: there are none."""
    effects: tuple[tuple[Checked, int], ...] = ()
    """Disjoint parts of ``full`` with their points; empty: ``full`` itself with the rule's score."""


def outcome(
    scope: Scope, gate: Checked, parts: Parts, variants: Sequence[tuple[Term, Parts]] = ()
) -> Outcome | None:
    """Put the parts of a rule together; None where it has no ``when``.

    ``variants``: other parts where a condition that is never unknown holds; at most one of these does.
    """
    others = [item for _, item in variants]
    if any(item.when is None or len(item.bands) != len(parts.bands) for item in (parts, *others)):
        return None
    marks = [mark for mark, _ in variants]
    plain = _pieces(scope, gate, parts)
    found = [_pieces(scope, gate, item) for item in others]

    def chosen(at: int) -> Checked:
        return Checked("", None, choose(marks, [terms[at] for terms in found], plain[at]))

    scores = [*(band.score for band in parts.bands), 0] if parts.bands else []
    return Outcome(
        chosen(1),
        chosen(0) if parts.exceptions else None,
        tuple((chosen(at), score) for at, score in enumerate(scores, 2)),
    )


def choose(marks: Sequence[Term], terms: Sequence[Term], otherwise: Term) -> Term:
    """Return the term whose mark is true, ``otherwise`` if none is. At most one mark is."""
    if not marks:
        return otherwise
    cases = [build.join("and", [mark, term]) for mark, term in zip(marks, terms, strict=True)]
    rest = build.join("and", [*(build.negated(mark) for mark in marks), otherwise])
    return build.join("or", [*cases, rest])


def _pieces(scope: Scope, gate: Checked, parts: Parts) -> list[Term]:
    """Return the match without exceptions, the match, where each band counts, and where none does."""
    assert parts.when is not None
    held = build.join("and", [gate.term, parts.when.checked.term])
    full = held
    if parts.exceptions:
        off = build.join("or", [_in_force(scope, item) for item in parts.exceptions])
        full = build.join("and", [held, build.negated(off)])
    terms, earlier = [held, full], list[Term]()
    for band in parts.bands:
        own = build.definite(band.condition.checked.term)
        terms.append(build.join("and", [full, own, *earlier]))
        earlier.append(build.negated(own))
    return [*terms, build.join("and", [full, *earlier])]


def _in_force(scope: Scope, item: Exemption) -> Term:
    terms = [item.condition.checked.term]
    if scope.event_time is not None:
        time = build.read(scope.event_time, TIME)
        terms.append(build.compare("<", time, build.const(Constant(TIME, item.until_ms))))
    return build.definite(build.join("and", terms))
