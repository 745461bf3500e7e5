"""Deciding equals a slow reading of the contract."""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_HALF_EVEN, Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.policies import make_policy_bundle, make_rule

from fraudstream.rules.bundle import Action, Bundle, Effect, Mode, Rule, Severity, Typology
from fraudstream.stream.decide import compile_plan, decide, row_mask
from fraudstream.stream.kernel_decide import NOISY_FACTORS, noisy_or


def slow_total(combine: str, scores: list[int]) -> int:
    """Return a typology's total from its members' scores; 100 digits hold every product of 40 factors."""
    if combine == "sum":
        return min(100, sum(scores))
    if combine == "max":
        return max(scores)
    with localcontext(prec=100):
        left = Decimal(100)
        for score in scores:
            left *= 1 - Decimal(score) / 100
        return int((100 - left).quantize(Decimal(1), ROUND_HALF_EVEN))


def slow_decide(
    bundle: Bundle, matched: list[Rule], micro: int
) -> tuple[int, int, tuple[tuple[str, str], ...]]:
    """Decide one transaction from docs/reference/rules-language.md, word by word."""
    live = [rule for rule in matched if rule.mode is Mode.LIVE]
    asks: list[tuple[Action, Severity, int, int, str, str]] = [
        (rule.action, rule.severity, rule.priority, rule.score, rule.id, f"text {rule.id}")
        for rule in live
        if rule.action in (Action.ALERT, Action.BLOCK)
    ]
    totals = [rule.score for rule in live if rule.typology < 0]
    for number, typology in enumerate(bundle.typologies):
        members = [rule for rule in live if rule.typology == number]
        if not members:
            continue
        scores = [rule.score for rule in members]
        total = slow_total(typology.combine, scores)
        totals.append(total)
        action = Action.NONE
        if typology.alert_at is not None and total >= typology.alert_at:
            action = Action.ALERT
        if typology.block_at is not None and total >= typology.block_at:
            action = Action.BLOCK
        if action is not Action.NONE:
            worst = max(rule.severity for rule in members)
            asks.append((action, worst, 0, total, f"typology.{typology.id}", f"{typology.id} {total}"))
    score = 10 * max(totals, default=0)
    if micro >= 0:
        p = Decimal(micro) / 10**6
        score = max(score, int((1000 * p).quantize(Decimal(1), ROUND_HALF_EVEN)))
        reached = [band.action for band in bundle.policy.model_bands if p >= Decimal(band.at_micro) / 10**6]
        if reached:
            asks.append((max(reached), Severity.MEDIUM, 0, int(100 * p), "model.champion", f"{p:.6f}"))
    strict = any(rule.action is Action.BLOCK and rule.never_override for rule in live)
    allows = [rule for rule in live if rule.action is Action.PASS]
    if allows and not strict:
        decision = Action.PASS
        asks = [(r.action, r.severity, r.priority, r.score, r.id, f"text {r.id}") for r in allows]
    else:
        decision = max((ask[0] for ask in asks), default=Action.PASS)
    asks.sort(key=lambda ask: (-ask[0], -ask[1], -ask[2], -ask[3], ask[4]))
    return decision - 1, score, tuple((code, text) for *_, code, text in asks[:10])


@st.composite
def cases(draw: st.DrawFn) -> tuple[Bundle, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draw a bundle, matches [rules, n], the band that counts [rules, n], active rows [n], scores [n]."""
    typologies = [
        Typology(
            f"t{i}",
            draw(st.sampled_from(["sum", "max", "noisy_or", "noisy_or"])),
            *draw(st.tuples(threshold, threshold)),
        )
        for i in range(draw(st.integers(0, 3)))
    ]
    count = draw(st.integers(0, 14))
    rules = [
        make_rule(
            2 * i,
            2 * i + 1,
            severity=draw(st.sampled_from(Severity)),
            mode=draw(st.sampled_from([Mode.LIVE, Mode.LIVE, Mode.SHADOW])),
            action=draw(
                st.sampled_from([Action.NONE, Action.ALERT, Action.BLOCK, Action.BLOCK, Action.PASS])
            ),
            never_override=draw(st.booleans()),
            score=draw(st.integers(0, 100) | st.sampled_from([5, 10, 50])),
            priority=draw(st.integers(0, 1)),
            typology=draw(st.integers(-1, len(typologies) - 1)),
        )
        for i in range(count)
    ]
    rules = [
        replace(rule, split=tuple(Effect(2 * count + BANDS * i + b, 7 * b) for b in range(BANDS)))
        if draw(st.booleans())
        else rule
        for i, rule in enumerate(rules)
    ]
    at = sorted(draw(st.lists(st.sampled_from([0, 1, 500_500, 900_000, 970_000, 1_000_000]), max_size=2)))
    bands = list(zip(reversed(at), (Action.BLOCK, Action.ALERT), strict=False))
    n = draw(st.sampled_from([0, 1, 5, 63, 64, 65, 130]))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    match = random.random((count, n)) < draw(st.sampled_from([0.03, 0.3, 1.0]))
    band = random.integers(0, BANDS, (count, n))
    active = random.random(n) < 0.9
    micro = random.choice([-1, 0, 1, 500, 1500, 2500, 2501, 499_999, 500_500, 900_000, 969_999, 10**6], n)
    return make_policy_bundle(rules, typologies, bands), match, band, active, micro.astype(np.int64)


threshold = st.none() | st.integers(0, 100)
BANDS = 3


def masks(match: np.ndarray, band: np.ndarray) -> np.ndarray:
    """Pack matches [rules, n] into program outputs.

    Even ones rules, odd ones gates (always true); behind them the bands of each rule.
    """
    n = match.shape[1]
    rows = [mask for row in match for mask in (row_mask(row), row_mask(np.ones(n, bool)))]
    rows += [row_mask(hit & (at == b)) for hit, at in zip(match, band, strict=True) for b in range(BANDS)]
    return np.array(rows, np.uint64).reshape((2 + BANDS) * len(match), -(-n // 64))


@settings(max_examples=400, deadline=None)
@given(cases())
def test_decide_equals_the_contract_read_slowly(case):
    """Decision, score, reasons and their order are those of the slow reading, on every active row."""
    bundle, match, band, active, micro = case
    true = masks(match, band)
    plan = compile_plan(bundle)
    decided = decide(
        plan, true, np.zeros_like(true), row_mask(active), micro, lambda rule, row: f"text {rule.id}"
    )
    for row in range(len(micro)):
        if not active[row]:
            assert (decided.decision[row], decided.score[row], row in decided.reasons) == (0, 0, False)
            continue
        matched = [
            replace(rule, score=7 * int(at)) if rule.split else rule
            for rule, hit, at in zip(bundle.rules, match[:, row], band[:, row], strict=True)
            if hit
        ]
        expected = slow_decide(bundle, matched, int(micro[row]))
        assert (
            int(decided.decision[row]),
            int(decided.score[row]),
            decided.reasons.get(row, ()),
        ) == expected
    assert decided.counts.true.tolist() == [int((match[i] & active).sum()) for i in range(len(match))]
    points = np.array(
        [[7 * at if r.split else r.score for at in row] for r, row in zip(bundle.rules, band, strict=True)]
    )
    wanted = (points.reshape(match.shape) * (match & active)).sum(axis=1)
    assert decided.counts.points.tolist() == wanted.tolist()
    assert decided.counts.evaluated.tolist() == [int(active.sum())] * len(match)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 100) | st.sampled_from([1, 2, 10, 20, 50]), max_size=40))
def test_noisy_or_is_exact(scores):
    """The kernel's digits equal decimal arithmetic, ties included."""
    array = np.array([*scores, 0], np.int64)
    assert noisy_or(array, len(scores), np.zeros(NOISY_FACTORS, np.int64)) == slow_total("noisy_or", scores)


@pytest.mark.parametrize(
    ("scores", "total"),
    [
        ([50, 1], 50),
        ([50, 3], 52),
        ([10, 5], 14),
        ([50, 50], 75),
        ([1] * 5_000, 100),
        ([100, 0], 100),
        ([0], 0),
    ],
)
def test_noisy_or_of_known_scores(scores, total):
    """50.5 and 51.5 go to even; thousands of small scores end at 100."""
    assert noisy_or(np.array(scores, np.int64), len(scores), np.zeros(NOISY_FACTORS, np.int64)) == total


@pytest.mark.parametrize("n", [0, 1, 63, 64, 65, 200])
def test_row_mask_sets_bit_i_of_word_w_for_row_64w_plus_i(n):
    """The packing is the program's."""
    rows = np.arange(n) % 3 == 0
    words = row_mask(rows)
    assert len(words) == -(-n // 64)
    assert [bool(int(words[i // 64]) >> (i % 64) & 1) for i in range(n)] == rows.tolist()


def test_a_block_that_nothing_overrides_beats_a_pass_rule():
    """Sanctions stay blocked; the pass rule gives no reason then, and alone it gives the only one."""
    rules = [
        make_rule(0, 3, action=Action.BLOCK, never_override=True),
        make_rule(1, 3, action=Action.PASS),
        make_rule(2, 3, action=Action.BLOCK, severity=Severity.CRITICAL),
    ]
    plan = compile_plan(make_policy_bundle(rules))
    #                 rows: 0 all, 1 pass and block, 2 pass alone
    true = np.array([[0b001], [0b111], [0b011], [0b111]], np.uint64)
    micro = np.full(3, -1, np.int64)
    decided = decide(plan, true, true, row_mask(np.ones(3, bool)), micro, lambda rule, row: f"{row}")
    assert decided.decision.tolist() == [2, 0, 0]
    assert decided.reasons == {
        0: (("r002", "0"), ("r000", "0")),
        1: (("r001", "1"),),
        2: (("r001", "2"),),
    }
