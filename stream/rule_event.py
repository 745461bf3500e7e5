"""What a rule makes of one event: each term's outcome and values, and the smallest change that undoes it.

The event's fields come from its JSON, as a worker decodes and joins them. Features have no history here:
those that are given have their values, the others are missing. All else stays equal when a number is changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraudstream.rules.bundle import Bundle, Rule, Segment, Slot, Source, Type
from fraudstream.rules.compiler.casefile import HASH_KEY, bit
from fraudstream.rules.compiler.compile import Compiled, build_bundle
from fraudstream.rules.compiler.coverage import Term, terms_of
from fraudstream.rules.compiler.literals import words
from fraudstream.rules.compiler.logic import ranges_of
from fraudstream.rules.compiler.program import Inputs
from fraudstream.rules.compiler.ruleset import DeclaredRule
from fraudstream.rules.compiler.suggest import suggest
from fraudstream.rules.compiler.terms import Constant, names_read
from fraudstream.rules.compiler.text import render
from fraudstream.rules.compiler.types import value_for
from fraudstream.rules.iso4217 import DECIMALS
from fraudstream.stream.decide import compile_plan, decide, row_mask
from fraudstream.stream.errors import BadUse
from fraudstream.stream.pipeline import Pipeline
from fraudstream.stream.reading import Decoded
from fraudstream.stream.wire.types import Batch, Slice

_NUMERIC = (Type.INTEGER, Type.MONEY, Type.NUMBER, Type.DURATION)
_STEPS = 62
"""Doublings of a change that are tried in each direction."""
_BISECTIONS = 64
_LIMIT = 1 << 62
_ANY_TIME_MS = 1 << 47
"""Timestamp of the record: far enough ahead that no event is in its future."""


class UnreadableEventError(ValueError):
    """A record that a worker would put aside; the message is its code and field."""


class Seen(NamedTuple):
    """One term on the event."""

    term: Term
    outcome: str
    """``true``, ``false`` or ``unknown``."""
    values: tuple[tuple[str, str], ...]
    """Names that it reads, with their values as reasons print them."""


class Change(NamedTuple):
    """Another value of one number."""

    slot: Slot
    old: float
    new: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of the event."""

    applies: bool
    """Whether the rule's event types and effective interval do."""
    outcome: str
    decision: str
    """Of the whole bundle."""
    terms: tuple[Seen, ...]
    unmatched: Change | None
    """With it the rule does not match; None: it does not match now, or no single number does it."""
    passed: Change | None
    """With it the decision is pass; None: it is pass now, or no single number does it."""


class EventView:
    """One event under a bundle, with one rule's terms, open to changes of its numbers."""

    def __init__(
        self,
        compiled: Compiled,
        rule: DeclaredRule,
        record: bytes,
        given: Mapping[Slot, Constant],
    ) -> None:
        declared, bundle = compiled.declared, compiled.bundle
        if declared is None or bundle is None or rule.full is None or rule.gate is None:
            raise ValueError("the rule files have errors")
        self.rule, self.terms = rule, terms_of(rule)
        extra = [rule.full, rule.gate, *(term.checked for term in self.terms)]
        self.bundle: Bundle = build_bundle(declared, bundle.archive, extra)
        self._first = self.bundle.program.outputs - len(extra)
        self._program = self.bundle.program.bind(HASH_KEY)
        self._plan = compile_plan(self.bundle)
        self._ranges = ranges_of(declared)
        source = Slice.from_records(0, [record], [None], [0], [_ANY_TIME_MS])
        result = Pipeline(0, HASH_KEY, bundle, None).process(source)
        if not len(result.batch):
            rejected = result.dead_letters[0]
            raise UnreadableEventError(
                f"the event is not readable: {rejected.code} {rejected.field}".rstrip()
            )
        self._batch: Batch = result.batch
        self._feature_value = np.zeros((1, self.bundle.features.words), np.int64)
        self._feature_state = np.zeros((1, self.bundle.features.words), np.uint8)
        self._model_value, self._model_state = np.zeros((1, 1), np.int64), np.zeros((1, 1), np.uint8)
        for slot, value in given.items():
            for at, word in enumerate(words(value, HASH_KEY), slot.column):
                values, state = self._columns(slot)
                values[at], state[at] = word, 1

    def _columns(self, slot: Slot) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Return the words and states of the event in the matrix of a slot."""
        if slot.source is Source.FIELD:
            return self._batch.value[:, 0], self._batch.state[:, 0]
        if slot.source is Source.FEATURE:
            return self._feature_value[0], self._feature_state[0]
        return self._model_value[:, 0], self._model_state[:, 0]

    def value(self, slot: Slot) -> float | None:
        """Return a number of the event, None where it is missing."""
        values, state = self._columns(slot)
        if not state[slot.column]:
            return None
        word = values[slot.column : slot.column + 1]
        return float(word.view(np.float64)[0]) if _is_float(slot) else int(word[0])

    def run(self, slot: Slot | None = None, candidates: list[float] | None = None) -> _Run:
        """Evaluate the event once for each value of one number, or as it is."""
        n = 1 if candidates is None else len(candidates)
        batch = self._batch
        field_value, field_state = np.repeat(batch.value, n, axis=1), np.repeat(batch.state, n, axis=1)
        start, size = np.repeat(batch.start, n, axis=1), np.repeat(batch.size, n, axis=1)
        feature_value = np.repeat(self._feature_value, n, axis=0)
        feature_state = np.repeat(self._feature_state, n, axis=0)
        model_value = np.repeat(self._model_value, n, axis=1)
        model_state = np.repeat(self._model_state, n, axis=1)
        if slot is not None and candidates is not None:
            new = np.array(candidates, np.float64 if _is_float(slot) else np.int64).view(np.int64)
            if slot.source is Source.FEATURE:
                feature_value[:, slot.column] = new
            else:
                (field_value if slot.source is Source.FIELD else model_value)[slot.column] = new
        inputs = Inputs(
            field_value,
            field_state,
            start,
            size,
            batch.buffer,
            feature_value,
            feature_state,
            model_value,
            model_state,
        )
        true, unknown = self._program.evaluate(inputs, n)
        score = np.rint(model_value[0].view(np.float64) * 1_000_000).astype(np.int64)
        champion = np.where(model_state[0] > 0, score, -1)
        active = row_mask(np.ones(n, np.bool_))
        decided = decide(self._plan, true, unknown, active, champion, _no_text)
        return _Run(true, unknown, decided.decision, self._first)

    def verdict(self) -> Verdict:
        """Return what came of the event, with the smallest changes that undo it."""
        found = self.run()
        numbers = sorted(
            {
                slot
                for rule in self.bundle.rules
                if rule.id == self.rule.id or bit(found.true, rule.index, 0)
                for slot in rule.reads
            }
            | set(self.rule.reads),
            key=lambda slot: slot.name,
        )
        mine = [slot for slot in numbers if slot in self.rule.reads]
        matches = found.outcome(0, 0) == "true"
        unmatched = self._smallest(mine, lambda run, row: run.outcome(0, row) != "true") if matches else None
        stopped = found.decision[0] > 0
        passed = self._smallest(numbers, lambda run, row: run.decision[row] == 0) if stopped else None
        return Verdict(
            applies=found.outcome(1, 0) == "true",
            outcome=found.outcome(0, 0),
            decision=("pass", "alert", "block")[found.decision[0]],
            terms=tuple(
                Seen(term, found.outcome(2 + at, 0), self._values(term)) for at, term in enumerate(self.terms)
            ),
            unmatched=unmatched,
            passed=passed,
        )

    def show(self, slot: Slot, value: float | str | None) -> str:
        """Return a value as reasons print it."""
        decimals = DECIMALS[self.bundle.schema.base_currency]
        return render([Segment("", slot)], lambda _: value, self.rule.zone, decimals)

    def _values(self, term: Term) -> tuple[tuple[str, str], ...]:
        decoded = Decoded(self._batch, self._feature_value, self._feature_state, np.full(1, -1, np.int64))
        out = []
        for slot in names_read(term.checked):
            if slot.type in _NUMERIC:
                shown = self.show(slot, self.value(slot))
            else:
                hidden = decoded.plain(slot, 0)
                value = decoded.read(slot, 0)
                shown = str(hidden) if value is None and hidden is not None else self.show(slot, value)
            out.append((slot.name, shown))
        return tuple(out)

    def _smallest(self, slots: list[Slot], holds: Callable[[_Run, int], bool]) -> Change | None:
        """Return the change of one number, smallest against its size, after which something holds."""
        best: tuple[float, Change] | None = None
        for slot in slots:
            old = self.value(slot) if slot.type in _NUMERIC else None
            if old is None:
                continue
            for side in (-1, 1):
                new = self._search(slot, old, side, holds)
                if new is None:
                    continue
                size = abs(new - old) / max(abs(old), 1.0)
                if best is None or size < best[0]:
                    best = size, Change(slot, old, new)
        return None if best is None else best[1]

    def _search(self, slot: Slot, old: float, side: int, holds: Callable[[_Run, int], bool]) -> float | None:
        """Return the nearest value on one side: doubling steps, then bisection between the last two."""
        region = self._ranges.get(slot.name)
        low = -math.inf if region is None else region.low
        high = math.inf if region is None else region.high
        floats = _is_float(slot)
        unit = max(abs(old), 1.0) * 2.0**-20 if floats else 1
        values: list[float] = []
        for power in range(_STEPS):
            step = unit * 2**power
            value = min(max(old + side * step, low, -_LIMIT), high, _LIMIT)
            if value != old and value not in values:
                values.append(value if floats else int(value))
        run = self.run(slot, values)
        at = next((row for row in range(len(values)) if holds(run, row)), None)
        if at is None:
            return None
        near, far = old if at == 0 else values[at - 1], values[at]
        for _ in range(_BISECTIONS):
            middle = near + (far - near) / 2 if floats else (near + far) // 2
            if middle in (near, far):
                break
            near, far = (near, middle) if holds(self.run(slot, [middle]), 0) else (middle, far)
        return self._rounded(slot, old, far, holds) if floats else far

    def _rounded(self, slot: Slot, old: float, far: float, holds: Callable[[_Run, int], bool]) -> float:
        """Return a value with few digits near the nearest one."""
        for digits in range(12):
            short = round(far, digits)
            near_enough = short != old and abs(short - old) <= 2 * abs(far - old)
            if near_enough and holds(self.run(slot, [short]), 0):
                return short
        return far


class _Run(NamedTuple):
    """Outcomes of n variants of the event."""

    true: NDArray[np.uint64]
    unknown: NDArray[np.uint64]
    decision: NDArray[np.uint8]
    first: int

    def outcome(self, at: int, row: int) -> str:
        """Return the outcome of an extra output."""
        if bit(self.true, self.first + at, row):
            return "true"
        return "unknown" if bit(self.unknown, self.first + at, row) else "false"


def _no_text(_: Rule, __: int) -> str:
    """Leave reasons without text: nobody reads those of a variant."""
    return ""


def _is_float(slot: Slot) -> bool:
    return slot.type is Type.NUMBER or slot.repr == "f"


def event_lines(compiled: Compiled, rule_id: str, record: bytes, given: Sequence[str]) -> list[str]:
    """Return what a rule makes of an event, as lines for a terminal.

    Args:
        compiled: without errors, with a rule of this id.
        rule_id: which rule.
        record: JSON of the event.
        given: ``name=value`` of features and `model.score`, values as in tests.

    Raises:
        BadUse: the event or a value can not be read.
    """
    rule = next(item for item in compiled.rules if item.id == rule_id)
    try:
        view = EventView(compiled, rule, record, _given(rule, given))
    except UnreadableEventError as problem:
        raise BadUse(str(problem)) from None
    found = view.verdict()
    word = {"true": "matches", "false": "does not match", "unknown": "is unknown: values are missing"}
    reason = "" if found.applies else " (its event types or effective interval do not apply)"
    lines = [f"On this event the rule {word[found.outcome]}{reason}; the decision is {found.decision}."]
    width = max((len(seen.term.text) for seen in found.terms), default=0)
    for seen in found.terms:
        values = ", ".join(f"{name} = {value}" for name, value in seen.values)
        lines.append(f"  {seen.outcome:<7}  {seen.term.text:<{width}}  {values}".rstrip())
    for change, effect in ((found.unmatched, "it would not match"), (found.passed, "the event would pass")):
        if change is not None:
            old, new = view.show(change.slot, change.old), view.show(change.slot, change.new)
            lines.append(f"With {change.slot.name} = {new} instead of {old} {effect}.")
    if found.decision != "pass" and found.passed is None:
        lines.append("No change of a single number alone would let the event pass.")
    return lines


def _given(rule: DeclaredRule, items: Sequence[str]) -> dict[Slot, Constant]:
    out: dict[Slot, Constant] = {}
    for item in items:
        name, equals, text = item.partition("=")
        slot = rule.scope.slots.get(name)
        if not equals or slot is None:
            hint = suggest(name, rule.scope.slots) or "write `NAME=VALUE`"
            raise BadUse(f"`--given {item}` names no field or feature; {hint}")
        value, problems = value_for(text, slot, rule.scope)
        if value is None:
            raise BadUse(f"`--given {item}`: {problems[0].message}")
        out[slot] = value
    return out
