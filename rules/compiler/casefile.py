"""Run the tests that stand beside rules.

``given`` tests set the values of names and run through the compiled program, the same one that decides
live. Tests with events need the whole pipeline, which stands on a higher floor: the caller passes a
``HistoryRunner``, which takes the finished JSON records of one test and answers for the last of them::

    def runner(records: Sequence[tuple[int, bytes]]) -> HistoryOutcome: ...

A runner makes a fresh pipeline for partition 0 with an all-zero hash key, the bundle and the model in
force, feeds the records in the order given with offsets from 0 and their event times as record
timestamps, and reports the last decision. ``match`` has an entry for each evaluated rule.

``expect`` means: ``match`` the rule's outcome; ``action`` in a ``given`` test the rule's own action
(``none`` without a match), in a test with events the decision of the whole bundle (``none`` is ``pass``);
``score`` the rule's own points (0 without a match, and with events for a canary outside of its share);
``reason`` the rule's text in the policy's language.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fraudstream.rules.bundle import Action, Bundle, Effect, Slot, Source
from fraudstream.rules.compiler.cases import Case
from fraudstream.rules.compiler.compile import Compiled
from fraudstream.rules.compiler.literals import words
from fraudstream.rules.compiler.program import Inputs, compile_outputs
from fraudstream.rules.compiler.ruleset import DeclaredRule
from fraudstream.rules.compiler.source import Span
from fraudstream.rules.compiler.terms import Checked, Constant, Kind
from fraudstream.rules.compiler.text import render
from fraudstream.rules.iso4217 import DECIMALS

HASH_KEY = bytes(16)
"""Tests see no other partition's hashes, so any fixed key will do."""

Match = Literal["true", "false", "unknown"]
Status = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class HistoryOutcome:
    """What the pipeline made of the last record of a test."""

    match: Mapping[str, str]
    """Rule id -> ``true``, ``false`` or ``unknown``, for every live and shadow rule."""
    decision: str
    """``pass``, ``alert`` or ``block``."""
    score: int
    """Of the decision, 0 to 1000."""
    reasons: tuple[tuple[str, str], ...] = ()
    """(code, text), strongest first."""
    points: Mapping[str, int] = field(default_factory=dict)
    """Rule id -> points that its match gave; a rule that is left out gives its highest."""


HistoryRunner = Callable[[Sequence[tuple[int, bytes]]], HistoryOutcome]


@dataclass(frozen=True, slots=True)
class TestResult:
    """Outcome of one test."""

    __test__ = False  # not a test class of pytest
    rule: str
    name: str
    status: Status
    span: Span
    kind: Literal["given", "event"]
    problems: tuple[str, ...] = ()
    """What was not as expected, or why the test was skipped."""


def run_tests(compiled: Compiled, history_runner: HistoryRunner | None = None) -> list[TestResult]:
    """Run all embedded tests of a bundle, drafts and retired rules included.

    Args:
        compiled: result of ``compile_sources`` without errors.
        history_runner: runs tests with events; without one they are skipped.

    Raises:
        ValueError: the files did not compile.
    """
    bundle = compiled.bundle
    if bundle is None:
        raise ValueError("the rule files have errors; tests run only on a compiled bundle")
    pairs = [(rule, case) for rule in compiled.rules for case in rule.cases]
    verdicts = _given_verdicts(bundle, compiled.rules, [pair for pair in pairs if pair[1].given is not None])
    out: list[TestResult] = []
    for rule, case in pairs:
        if case.given is not None:
            problems = _judge_given(bundle, rule, case, verdicts[id(case)])
            status: Status = "failed" if problems else "passed"
            out.append(TestResult(rule.id, case.name, status, case.place.span, "given", tuple(problems)))
        else:
            out.append(_run_history(rule, case, history_runner))
    return out


def _given_verdicts(
    bundle: Bundle, rules: Sequence[DeclaredRule], pairs: Sequence[tuple[DeclaredRule, Case]]
) -> dict[int, tuple[Match, int]]:
    """Run all ``given`` tests at once, each is one row; return match and points by the id of the case."""
    if not pairs:
        return {}
    inputs = inputs_of(bundle, [values_of(bundle, case) for _, case in pairs])
    index = {rule.id: rule.index for rule in bundle.rules}
    bands = {rule.id: rule.split for rule in bundle.rules}
    resting: list[Checked] = []
    for rule in rules:
        # Tests with values look at a canary's condition, whatever share the key is in.
        if rule.outcome is not None and (rule.id not in index or rule.canary is not None):
            index[rule.id] = at = bundle.program.outputs + len(resting)
            resting.append(rule.outcome.full)
            resting += [output for output, _ in rule.outcome.effects]
            bands[rule.id] = tuple(
                Effect(at + i, score) for i, (_, score) in enumerate(rule.outcome.effects, 1)
            )
    true, unknown = bundle.program.bind(HASH_KEY).evaluate(inputs, len(pairs))
    if resting:
        more = compile_outputs(resting).bind(HASH_KEY).evaluate(inputs, len(pairs))
        true, unknown = np.concatenate([true, more[0]]), np.concatenate([unknown, more[1]])
    out: dict[int, tuple[Match, int]] = {}
    for row, (rule, case) in enumerate(pairs):
        output = index[rule.id]
        if bit(true, output, row):
            points = [effect.score for effect in bands[rule.id] if bit(true, effect.output, row)]
            out[id(case)] = "true", sum(points) if bands[rule.id] else rule.score
        else:
            out[id(case)] = "unknown" if bit(unknown, output, row) else "false", 0
    return out


def bit(masks: NDArray[np.uint64], output: int, row: int) -> bool:
    """Return one row of one output's mask."""
    return bool(int(masks[output, row >> 6]) >> (row & 63) & 1)


def values_of(bundle: Bundle, case: Case) -> dict[Slot, Constant | None]:
    """Return a test's values with the event's type and time filled in."""
    schema = bundle.schema
    kind, time = bundle.slots[schema.event_type], bundle.slots[schema.event_time]
    values: dict[Slot, Constant | None] = {
        kind: Constant(Kind(kind.type, values=kind.values), kind.values.index(case.event_type)),
        time: Constant(Kind(time.type), case.time_ms),
    }
    values.update(case.given or ())
    return values


def inputs_of(bundle: Bundle, rows: Sequence[Mapping[Slot, Constant | None]]) -> Inputs:
    """Return a batch whose rows have the values given and nothing else."""
    ends = [slot.column + 2 for slot in bundle.slots.values() if slot.source is Source.FIELD]
    n, columns = len(rows), max(1, bundle.schema.words, *ends)
    field_value, field_state = np.zeros((columns, n), np.int64), np.zeros((columns, n), np.uint8)
    start, size = np.zeros((columns, n), np.int32), np.zeros((columns, n), np.int32)
    feature_value = np.zeros((n, bundle.features.words), np.int64)
    feature_state = np.zeros((n, bundle.features.words), np.uint8)
    model_value, model_state = np.zeros((1, n), np.int64), np.zeros((1, n), np.uint8)
    text = bytearray()
    for row, values in enumerate(rows):
        for slot, value in values.items():
            if value is None:
                continue
            for at, word in enumerate(words(value, HASH_KEY), slot.column):
                if slot.source is Source.FIELD:
                    field_value[at, row], field_state[at, row] = word, 1
                elif slot.source is Source.FEATURE:
                    feature_value[row, at], feature_state[row, at] = word, 1
                else:
                    model_value[at, row], model_state[at, row] = word, 1
            if slot.source is Source.FIELD and slot.type.is_text:
                content = str(value.value).encode()
                start[slot.column, row], size[slot.column, row] = len(text), len(content)
                text += content
    buffer = np.frombuffer(bytes(text) + bytes(32), np.uint8)
    return Inputs(
        field_value, field_state, start, size, buffer, feature_value, feature_state, model_value, model_state
    )


def _judge_given(bundle: Bundle, rule: DeclaredRule, case: Case, verdict: tuple[Match, int]) -> list[str]:
    match, points = verdict
    matched = match == "true"
    values = values_of(bundle, case)
    problems = _judge(case, match, rule.action.name.lower() if matched else "none", points)
    if match == "unknown" and problems:
        absent = [slot.name for slot in rule.reads if values.get(slot) is None]
        problems[0] += f"; missing: {', '.join(absent)}" if absent else ""
    if case.expect.reason is not None and matched:

        def read(slot: Slot) -> int | float | str | None:
            value = values.get(slot)
            return None if value is None or isinstance(value.value, tuple) else value.value

        pieces = rule.reason.get(bundle.policy.language, ())
        was = render(pieces, read, rule.zone, DECIMALS[bundle.schema.base_currency])
        problems += _judge_reason(case, was)
    return problems


def _judge(case: Case, match: str, action: str, score: int) -> list[str]:
    problems = []
    for word, expected, was in (
        ("match", case.expect.match, match),
        ("action", case.expect.action, action),
        ("score", case.expect.score, score),
    ):
        if expected is not None and expected != was:
            problems.append(f"expected `{word}: {expected}`, was `{was}`")
    return problems


def _judge_reason(case: Case, was: str) -> list[str]:
    expected = case.expect.reason
    return [] if expected is None or expected == was else [f"expected the reason `{expected}`, was `{was}`"]


def _run_history(rule: DeclaredRule, case: Case, runner: HistoryRunner | None) -> TestResult:
    def result(status: Status, problems: Sequence[str]) -> TestResult:
        return TestResult(rule.id, case.name, status, case.place.span, "event", tuple(problems))

    if runner is None:
        return result("skipped", ["tests with events need the pipeline"])
    if not rule.evaluated:
        return result("skipped", [f"a rule in state `{rule.mode.value}` is not evaluated on events"])
    outcome = runner(case.records)
    match = outcome.match.get(rule.id, "false")
    if case.expect.action == Action.NONE.name.lower():
        action = "none" if outcome.decision == "pass" else outcome.decision
    else:
        action = outcome.decision
    problems = _judge(case, match, action, outcome.points.get(rule.id, rule.score) if match == "true" else 0)
    if case.expect.reason is not None and match == "true":
        texts = [text for code, text in outcome.reasons if code == rule.id]
        problems += _judge_reason(case, texts[0] if texts else "")
    return result("failed" if problems else "passed", problems)
