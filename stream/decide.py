"""From rule outcomes and the champion's score to a decision, its score and its reasons.

The meaning is docs/reference/rules-language.md, "From rules to a decision": a block that no pass rule
may undo, then a matching pass rule, then block, alert, pass; typologies and model bands ask for block or
alert like an ordinary rule. Reasons are ordered by strength, severity, priority (high first), score
(high first), code. Where they are ordered with rules,

- a typology has the highest severity of its matched rules, priority 0 and its total as score;
- a model band has severity medium, priority 0 and the champion's score in whole hundredths.

A row that a pass rule decided gives its matched pass rules as reasons, whatever they overruled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraudstream.rules.bundle import Action, Bundle, Mode, Rule, Severity, Typology
from fraudstream.stream.brakes import limited_rules
from fraudstream.stream.kernel_decide import (
    COMBINES,
    COUNT_EVALUATED,
    COUNT_EXCEPTED,
    COUNT_LIMITED,
    COUNT_POINTS,
    COUNT_TRUE,
    COUNT_UNKNOWN,
    COUNT_WORDS,
    KIND_ALERT,
    KIND_BLOCK,
    KIND_LIMITED,
    KIND_NEVER_OVERRIDE,
    KIND_NONE,
    KIND_PASS,
    NEVER,
    collect_matches,
    count_rules,
    decide_rows,
)
from fraudstream.stream.kernel_rows import pack_rows
from fraudstream.stream.per_slice import per_slice

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]

MAX_REASONS = 10
"""Enough for an analyst, and a record keeps its size limit."""

Reasons = tuple[tuple[str, str], ...]
Texts = Callable[[Rule, int], str]
"""Renders the reason text of a rule for a row."""

_UNLIMITED: U64 = np.zeros((0, 0), np.uint64)
_KINDS = {Action.NONE: KIND_NONE, Action.PASS: KIND_PASS, Action.ALERT: KIND_ALERT, Action.BLOCK: KIND_BLOCK}


@dataclass(frozen=True, slots=True)
class DecidePlan:
    """A bundle's live rules, typologies and policy as the kernel's tables."""

    bundle: Bundle
    live: tuple[Rule, ...]
    """Live rules and canaries in id order, one with score bands once for each band; the kernel's
    matches are positions in it."""
    rules: I64
    typologies: I64
    bands: I64
    outputs: I64
    """[R] program output of each evaluated rule, shadow ones included."""
    gates: I64
    """[R] output of its event type and effective interval."""
    excepting: I64
    """[X, 2] position of each rule with exceptions, its output without them."""
    scores: I64
    """[R] points of a match, 0 where they depend on the row."""
    split: I64
    """[E, 3] where they do: position of the rule, output, points."""
    limited: I64
    """[A, 2] of limited rules' effects: number among the limited rules, output. Their ``rules`` have outputs
    behind the program's: A for matches that block, then A for those that only alert."""
    at_limit: I64
    """[M] position of each limited rule."""


@per_slice(frozen=True, slots=True)
class RuleCounts:
    """What became of each rule of ``Bundle.rules``, shadow ones included; int64 [R], transactions."""

    counts: I64
    """[6, R] in the order of the properties."""

    def _of(self, which: int) -> I64:
        found: I64 = self.counts[which]
        return found

    @property
    def true(self) -> I64:
        """It held."""
        return self._of(COUNT_TRUE)

    @property
    def unknown(self) -> I64:
        """It was unknown."""
        return self._of(COUNT_UNKNOWN)

    @property
    def evaluated(self) -> I64:
        """Its event type and effective interval applied."""
        return self._of(COUNT_EVALUATED)

    @property
    def excepted(self) -> I64:
        """An exception turned its match off."""
        return self._of(COUNT_EXCEPTED)

    @property
    def points(self) -> I64:
        """Sum of the scores of its matches."""
        return self._of(COUNT_POINTS)

    @property
    def limited(self) -> I64:
        """Its block was an alert because of its limit."""
        return self._of(COUNT_LIMITED)


class Decided(NamedTuple):
    """Columns of n rows; rows that are not active have decision and score 0 and no reasons."""

    decision: NDArray[np.uint8]
    score: NDArray[np.int32]
    reasons: dict[int, Reasons]
    matches: dict[int, tuple[Rule, ...]]
    """Matched live rules of the rows in ``reasons``."""
    counts: RuleCounts


def compile_plan(bundle: Bundle) -> DecidePlan:
    """Write a bundle's tables for the kernel."""
    braked = limited_rules(bundle)
    acts = [(number, effect.output) for number, rule in enumerate(braked) for effect in rule.effects]
    live = _live(bundle, bundle.program.outputs if braked else 0, {rule.id for rule in braked}, len(acts))
    rules = np.array([(r.index, _kind(r), r.score, r.typology) for r in live], np.int64).reshape(-1, 4)
    typologies = np.array(
        [
            (COMBINES.index(t.combine), _threshold(t.alert_at), _threshold(t.block_at))
            for t in bundle.typologies
        ],
        np.int64,
    ).reshape(-1, 3)
    bands = np.array([(b.at_micro, b.action) for b in bundle.policy.model_bands], np.int64).reshape(-1, 2)
    outputs = np.array([rule.index for rule in bundle.rules], np.int64)
    gates = np.array([rule.gate for rule in bundle.rules], np.int64)
    every = list(enumerate(bundle.rules))
    excepting = np.array([(at, rule.before) for at, rule in every if rule.before >= 0], np.int64).reshape(
        -1, 2
    )
    scores = np.array([0 if rule.split else rule.score for rule in bundle.rules], np.int64)
    split = [(at, effect.output, effect.score) for at, rule in every for effect in rule.split]
    parts = np.array(split, np.int64).reshape(-1, 3)
    at_limit = np.array([at for at, rule in every if rule.id in {one.id for one in braked}], np.int64)
    limited = np.array(acts, np.int64).reshape(-1, 2)
    return DecidePlan(
        bundle, live, rules, typologies, bands, outputs, gates, excepting, scores, parts, limited, at_limit
    )


def _live(bundle: Bundle, outputs: int, braked: set[str], acts: int) -> tuple[Rule, ...]:
    """Return what acts: a rule for each of its effects, and for each that its limit makes an alert."""
    live: list[Rule] = []
    held = 0
    for rule in bundle.rules:
        if rule.mode not in (Mode.LIVE, Mode.CANARY):
            continue
        for effect in rule.effects:
            if rule.id not in braked:
                live.append(replace(rule, index=effect.output, score=effect.score))
                continue
            one = replace(rule, index=outputs + held, score=effect.score)
            live += [one, replace(one, index=outputs + acts + held, action=Action.ALERT, limited=True)]
            held += 1
    return tuple(live)


def decide(
    plan: DecidePlan,
    true: U64,
    unknown: U64,
    active: U64,
    champion_micro: I64,
    texts: Texts,
    limited: U64 | None = None,
    replayed: U64 | None = None,
) -> Decided:
    """Decide the active rows of a batch.

    Args:
        plan: of :func:`compile_plan`.
        true: uint64 [outputs, W] masks of the bundle's program.
        unknown: the same for unknown.
        active: uint64 [W], rows that are decided now (no duplicates, nothing already published).
        champion_micro: int64 [n], -1 missing.
        texts: called only for rules that give a reason.
        limited: uint64 [limited rules, W] of :meth:`Brakes.judge`, None: no block is limited.
        replayed: uint64 [W], further rows that are decided again and not counted.
    """
    n = len(champion_micro)
    counts = _count(plan, true, unknown, active, _UNLIMITED if limited is None else limited)
    if replayed is not None:
        active = active | replayed
    if len(plan.limited):
        true = with_limits(plan, true, limited)
    decision = np.empty(n, np.uint8)
    score = np.empty(n, np.int32)
    allowed = np.empty(n, np.uint8)
    begin, matched = collect_matches(true, active, plan.rules, n)
    stands_out = decide_rows(
        begin,
        matched,
        active,
        champion_micro,
        plan.rules,
        plan.typologies,
        plan.bands,
        decision,
        score,
        allowed,
    )
    reasons: dict[int, Reasons] = {}
    matches: dict[int, tuple[Rule, ...]] = {}
    if not stands_out:
        return Decided(decision, score, reasons, matches, counts)
    for row in np.flatnonzero(decision | allowed).tolist():
        rules = tuple(plan.live[at] for at in matched[begin[row] : begin[row + 1]].tolist())
        matches[row] = rules
        reasons[row] = _reasons(plan, rules, int(champion_micro[row]), bool(allowed[row]), row, texts)
    return Decided(decision, score, reasons, matches, counts)


def with_limits(plan: DecidePlan, true: U64, limited: U64 | None) -> U64:
    """Append what limited rules block, and what they only alert; ``limited`` as in :func:`decide`."""
    acts = true[plan.limited[:, 1]]
    held = np.zeros_like(acts) if limited is None else limited[plan.limited[:, 0]]
    return np.concatenate([true, acts & ~held, acts & held])


def causes(plan: DecidePlan, rules: Sequence[Rule], micro: int) -> list[Rule | None]:
    """Return the matched rules because of which a row is an alert or a block, None for a model band.

    Members of a typology that was reached are among them.
    """
    found: list[Rule | None] = [rule for rule in rules if rule.action in (Action.ALERT, Action.BLOCK)]
    for at in {rule.typology for rule in rules if rule.typology >= 0}:
        members = [rule for rule in rules if rule.typology == at]
        if _reached(plan.bundle.typologies[at], members) is not None:
            found += [rule for rule in members if rule.score and rule not in found]
    if any(0 <= band.at_micro <= micro for band in plan.bundle.policy.model_bands):
        found.append(None)
    return found


def row_mask(rows: NDArray[np.bool_]) -> U64:
    """Pack bool [n] into uint64 [ceil(n / 64)], bit i of word w = row 64 * w + i."""
    words = np.empty((len(rows) + 63) // 64, np.uint64)
    pack_rows(rows, words)
    return words


class _Ranked(NamedTuple):
    """A reason in order: smaller is stronger."""

    strength: int
    severity: int
    priority: int
    score: int
    code: str
    rule: Rule | None
    text: str


def _reasons(
    plan: DecidePlan, rules: Sequence[Rule], micro: int, allowed: bool, row: int, texts: Texts
) -> Reasons:
    wanted = (Action.PASS,) if allowed else (Action.ALERT, Action.BLOCK)
    ranked = [
        _Ranked(-rule.action, -rule.severity, -rule.priority, -rule.score, rule.id, rule, "")
        for rule in rules
        if rule.action in wanted
    ]
    if not allowed:
        ranked += _typology_reasons(plan, rules)
        reached = [band.action for band in plan.bundle.policy.model_bands if 0 <= band.at_micro <= micro]
        if reached:
            text = f"{micro // 1_000_000}.{micro % 1_000_000:06d}"
            ranked.append(
                _Ranked(-max(reached), -Severity.MEDIUM, 0, -(micro // 10_000), "model.champion", None, text)
            )
    if len(ranked) > 1:
        ranked.sort(key=lambda item: item[:5])
    return tuple(
        (item.code, item.text if item.rule is None else texts(item.rule, row))
        for item in ranked[:MAX_REASONS]
    )


def _typology_reasons(plan: DecidePlan, rules: Sequence[Rule]) -> list[_Ranked]:
    found: list[_Ranked] = []
    for at in sorted({rule.typology for rule in rules if rule.typology >= 0}):
        typology = plan.bundle.typologies[at]
        members = [rule for rule in rules if rule.typology == at]
        action = _reached(typology, members)
        if action is None:
            continue
        total = _total(typology, [rule.score for rule in members])
        severity = max(rule.severity for rule in members)
        code = f"typology.{typology.id}"
        found.append(_Ranked(-action, -severity, 0, -total, code, None, f"{typology.id} {total}"))
    return found


def _reached(typology: Typology, members: Sequence[Rule]) -> Action | None:
    """Return what a typology asks for; points of limited blocks count for alerts only."""
    total = _total(typology, [rule.score for rule in members])
    blocking = [rule.score for rule in members if not rule.limited]
    if typology.block_at is not None and blocking and _total(typology, blocking) >= typology.block_at:
        return Action.BLOCK
    least = [at for at in (typology.alert_at, typology.block_at) if at is not None]
    return Action.ALERT if least and total >= min(least) else None


def _total(typology: Typology, scores: Sequence[int]) -> int:
    """Return what the kernel gave."""
    if typology.combine == "sum":
        return min(sum(scores), 100)
    if typology.combine == "max":
        return max(scores)
    return round(100 - 100 * prod((Fraction(100 - score, 100) for score in scores), start=Fraction(1)))


def _count(plan: DecidePlan, true: U64, unknown: U64, active: U64, limited: U64) -> RuleCounts:
    counts = np.zeros((COUNT_WORDS, len(plan.outputs)), np.int64)
    count_rules(
        true,
        unknown,
        active,
        limited,
        plan.outputs,
        plan.gates,
        plan.scores,
        plan.excepting,
        plan.split,
        plan.at_limit,
        counts,
    )
    return RuleCounts(counts)


def _kind(rule: Rule) -> int:
    if rule.limited:
        return KIND_LIMITED
    if rule.action is Action.BLOCK and rule.never_override:
        return KIND_NEVER_OVERRIDE
    return _KINDS[rule.action]


def _threshold(value: int | None) -> int:
    return NEVER if value is None else value
