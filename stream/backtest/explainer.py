"""Why a record was decided as it was: each rule's terms with their values, the parts of the score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraudstream.models.explain import contributions
from fraudstream.models.inputs import Columns
from fraudstream.models.model import Model
from fraudstream.rules.bundle import Bundle, Mode, Rule, Segment, Slot, Source, Type
from fraudstream.rules.compiler.casefile import bit
from fraudstream.rules.compiler.compile import Compiled, build_bundle
from fraudstream.rules.compiler.coverage import Term, terms_of
from fraudstream.rules.compiler.program import Inputs
from fraudstream.rules.compiler.ruleset import DeclaredRule
from fraudstream.rules.compiler.terms import Checked, names_read
from fraudstream.rules.compiler.text import MISSING, render
from fraudstream.rules.iso4217 import DECIMALS
from fraudstream.stream.backtest.row import Row
from fraudstream.stream.decide import compile_plan, decide, row_mask, with_limits
from fraudstream.stream.evidence import mask, personal_names
from fraudstream.stream.kernel_decide import collect_matches, decide_rows
from fraudstream.stream.scoring import bind_model

WORDS = ("pass", "alert", "block")


class Setting(NamedTuple):
    """Another value of one name."""

    slot: Slot
    words: tuple[int, ...] | None
    """As columns have them; None: missing."""
    text: bytes = b""
    """Of an id or category."""


class Variants(NamedTuple):
    """Outcomes of n variants of a record."""

    true: NDArray[np.uint64]
    unknown: NDArray[np.uint64]
    decision: NDArray[np.uint8]
    score: NDArray[np.int32]
    matched: NDArray[np.int64]
    """How many live rules, parts of them counted one by one, hold."""
    micro: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Seen:
    """One term on the record."""

    text: str
    outcome: str
    values: tuple[tuple[str, str], ...]
    """Names that it reads, with their values as reasons print them."""


@dataclass(frozen=True, slots=True)
class RuleSeen:
    """One rule on the record."""

    rule: Rule
    outcome: str
    applies: bool
    terms: tuple[Seen, ...]


@dataclass(frozen=True, slots=True)
class Explained:
    """What came of a record."""

    decision: str
    score: int
    reasons: tuple[tuple[str, str], ...]
    rules: tuple[RuleSeen, ...]
    """Every evaluated rule, in id order."""


class Explainer:
    """Evaluates records under a bundle with all terms of its rules."""

    def __init__(self, compiled: Compiled) -> None:
        """Compile rules with an output for each term.

        Raises:
            ValueError: the files have errors.
        """
        if compiled.bundle is None or compiled.declared is None:
            raise ValueError("only rules without errors explain a decision")
        self.compiled = compiled
        self._terms: list[tuple[DeclaredRule, tuple[Term, ...]]] = [
            (rule, terms_of(rule)) for rule in compiled.rules if rule.evaluated
        ]
        extra: list[Checked] = [term.checked for _, terms in self._terms for term in terms]
        self.bundle: Bundle = build_bundle(compiled.declared, compiled.bundle.archive, extra)
        self._first = self.bundle.program.outputs - len(extra)
        self.plan = compile_plan(self.bundle)
        self._bound = {bytes(16): self.bundle.program.bind(bytes(16))}
        self._decimals = DECIMALS[self.bundle.schema.base_currency]
        self._personal = personal_names(self.bundle)

    def run(self, row: Row, variants: Sequence[Sequence[Setting]] = ((),)) -> Variants:
        """Decide a record once for each list of other values."""
        n = len(variants)
        batch = row.batch
        value, state = np.repeat(batch.value, n, axis=1), np.repeat(batch.state, n, axis=1)
        start, size = np.repeat(batch.start, n, axis=1), np.repeat(batch.size, n, axis=1)
        feature_value = np.repeat(row.feature_value, n, axis=0)
        feature_state = np.repeat(row.feature_state, n, axis=0)
        score = max(row.micro, 0) / 1_000_000
        model_value = np.full((1, n), score).view(np.int64)
        model_state = np.full((1, n), row.micro >= 0, np.uint8)
        texts = [batch.buffer]
        used = len(batch.buffer)
        for at, settings in enumerate(variants):
            for slot, words, text in settings:
                for word in range(slot.type.width):
                    place = slot.column + word
                    new, there = (0, 0) if words is None else (words[word], 1)
                    if slot.source is Source.FEATURE:
                        feature_value[at, place], feature_state[at, place] = new, there
                    elif slot.source is Source.FIELD:
                        value[place, at], state[place, at] = new, there
                    else:
                        model_value[place, at], model_state[place, at] = new, there
                if text and slot.source is Source.FIELD:
                    start[slot.column, at], size[slot.column, at] = used, len(text)
                    texts.append(np.frombuffer(text, np.uint8))
                    used += len(text)
        if row.hash_key not in self._bound:
            self._bound[row.hash_key] = self.bundle.program.bind(row.hash_key)
        buffer = texts[0] if len(texts) == 1 else np.concatenate(texts)
        inputs = Inputs(
            value,
            state,
            start,
            size,
            buffer,
            feature_value,
            feature_state,
            model_value,
            model_state,
        )
        true, unknown = self._bound[row.hash_key].evaluate(inputs, n)
        micro = np.rint(model_value[0].view(np.float64) * 1_000_000).astype(np.int64)
        micro = np.where(model_state[0] > 0, micro, -1)
        active = row_mask(np.ones(n, np.bool_))
        plan = self.plan
        acting = with_limits(plan, true, None) if len(plan.limited) else true
        begin, matched = collect_matches(acting, active, plan.rules, n)
        decision, points = np.empty(n, np.uint8), np.empty(n, np.int32)
        decide_rows(
            begin,
            matched,
            active,
            micro,
            plan.rules,
            plan.typologies,
            plan.bands,
            decision,
            points,
            np.empty(n, np.uint8),
        )
        return Variants(true, unknown, decision, points, np.diff(begin), micro)

    def matched_rules(self, found: Variants, at: int = 0) -> tuple[Rule, ...]:
        """Return the live rules that hold and act on a variant."""
        return tuple(
            rule
            for rule in self.bundle.rules
            if rule.mode in (Mode.LIVE, Mode.CANARY)
            and any(bit(found.true, effect.output, at) for effect in rule.effects)
        )

    def explain(self, row: Row) -> Explained:
        """Return what came of a record, as a first decision of it."""
        found = self.run(row)
        decided = decide(
            self.plan,
            found.true,
            found.unknown,
            row_mask(np.ones(1, np.bool_)),
            found.micro,
            lambda rule, _: self._reason(rule, row),
        )
        rules = {rule.id: rule for rule in self.bundle.rules}
        seen: list[RuleSeen] = []
        at = self._first
        for declared, terms in self._terms:
            rule = rules[declared.id]
            shown = tuple(
                Seen(term.text, _outcome(found, at + number), self._values(term, row))
                for number, term in enumerate(terms)
            )
            at += len(terms)
            seen.append(RuleSeen(rule, _outcome(found, rule.index), bit(found.true, rule.gate, 0), shown))
        return Explained(
            WORDS[int(found.decision[0])],
            int(found.score[0]),
            tuple(decided.reasons.get(0, ())),
            tuple(sorted(seen, key=lambda item: item.rule.id)),
        )

    def show(self, slot: Slot, row: Row) -> str:
        """Return a value of a record as reasons print it; personal texts are masked, hashes never shown."""
        decoded = row.decoded
        value = decoded.read(slot, 0)
        if slot.type.is_text and slot.name in self._personal and value is not None:
            return str(mask(value))
        if value is None and (plain := decoded.plain(slot, 0)) is not None:
            return "present" if plain is True else str(plain)
        return self.show_value(slot, value)

    def show_value(self, slot: Slot, value: float | str | None) -> str:
        """Return any value of a name as reasons print it."""
        zone = self.bundle.policy.zone
        return render([Segment("", slot)], lambda _: value, zone, self._decimals)

    def show_setting(self, item: Setting) -> str:
        """Return another value in words."""
        slot = item.slot
        if item.words is None:
            return "missing"
        if slot.type.is_text:
            return "something else"
        if slot.type is Type.ENUM:
            return f"= {slot.values[item.words[0]]}"
        if slot.type is Type.COUNTRY:
            return "= another country"
        word = np.int64(item.words[0])
        value = float(word.view(np.float64)) if is_real(slot) else int(word)
        return f"= {self.show_value(slot, value)}"

    def features(self, row: Row) -> tuple[tuple[str, str], ...]:
        """Return every feature that is not missing."""
        slots = [slot for item in self.bundle.features.features for slot in item.outputs]
        shown = [(slot.name, self.show(slot, row)) for slot in slots]
        return tuple((name, text) for name, text in shown if text != MISSING)

    def _reason(self, rule: Rule, row: Row) -> str:
        texts = rule.reason
        segments = texts.get(self.bundle.policy.language) or next(iter(texts.values()), ())
        return render(segments, lambda slot: row.decoded.read(slot, 0), rule.zone, self._decimals)

    def _values(self, term: Term, row: Row) -> tuple[tuple[str, str], ...]:
        return tuple((slot.name, self.show(slot, row)) for slot in names_read(term.checked))


def score_parts(model: Model, bundle: Bundle, row: Row) -> list[tuple[str, float]]:
    """Return what each input adds to the champion's log-odds, largest first; empty: no score."""
    bound = bind_model(model, bundle)
    if bound is None or row.micro < 0:
        return []
    columns = Columns(row.batch.value, row.batch.state, row.feature_value, row.feature_state)
    x, present = model.transform(bound.binding, columns, bound.wanted(columns, np.ones(1, np.bool_)))
    return [
        (item.key.rstrip("|").replace("|", " "), part)
        for item, part in contributions(model, x[0], present[0])
    ]


def is_number(slot: Slot) -> bool:
    """Return whether a name's values are ordered numbers."""
    return slot.type in (Type.INTEGER, Type.MONEY, Type.NUMBER, Type.DURATION, Type.DATE, Type.TIME)


def is_real(slot: Slot) -> bool:
    """Return whether a name's words are binary64."""
    return slot.type is Type.NUMBER or slot.repr == "f"


def _outcome(found: Variants, output: int) -> str:
    if bit(found.true, output, 0):
        return "true"
    return "unknown" if bit(found.unknown, output, 0) else "false"
