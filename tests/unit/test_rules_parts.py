# ruff: noqa: E501 (one test case a line)
"""Exceptions, score bands and tables of rules: what a match becomes through them."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest
from support.sample_rules import SCHEMA

from fraudstream.rules import Compiled, compile_sources, run_tests
from fraudstream.rules.compiler.casefile import HASH_KEY, inputs_of
from fraudstream.rules.compiler.terms import Constant, Kind
from fraudstream.stream.collector import Metrics
from fraudstream.stream.metrics import RULE_OUTCOMES
from fraudstream.stream.observe import Observer
from fraudstream.stream.pipeline import Pipeline
from fraudstream.stream.wire.types import Slice

RULE = """\
apiVersion: fraudstream/v1
kind: RuleSet
defaults: {owner: o@bank.example, timezone: Asia/Shanghai}
rules:
- id: one
  title: one
  severity: low
  on: payment
  when: f.a
  exceptions:
  - {when: f.b, owner: x@bank.example, until: 2026-06-01}
  - {when: f.c, owner: y@bank.example, until: 2026-07-01T00:00:00Z}
  score: [{when: f.d, score: 40}, {when: f.e, score: 15}]
  mode: {state: shadow}
"""
FIELDS = "".join(f"  f.{name}: {{path: f_{name}, type: bool}}\n" for name in "abcde")
STATES = {"true": 1, "false": 0, "unknown": None}
ENDS_MS = {"b": 1_780_243_200_000, "c": 1_782_864_000_000}
"""2026-06-01 00:00 in Shanghai; 2026-07-01 00:00 UTC."""


def compiled(rules: str, typologies: str | None = None) -> Compiled:
    """Compile one rule set over the sample's schema with five flags."""
    files = {"schema.yaml": (SCHEMA + FIELDS).encode(), "rulesets/r.yaml": rules.encode()}
    if typologies is not None:
        files["typologies.yaml"] = typologies.encode()
    found = compile_sources(files)
    assert found.bundle is not None, [item.text for item in found.errors]
    return found


def oracle(states: dict[str, str], time_ms: int) -> tuple[str, int, str]:
    """Return match, points and the match without exceptions, from the guide's sentences."""
    before = states["a"]
    off = any(states[name] == "true" and time_ms < ENDS_MS[name] for name in "bc")
    match = "false" if off else before
    points = 40 if states["d"] == "true" else 15 if states["e"] == "true" else 0
    return match, points if match == "true" else 0, before


@pytest.mark.parametrize("time_ms", [ENDS_MS["b"] - 1, ENDS_MS["b"], ENDS_MS["c"] - 1, ENDS_MS["c"]])
def test_every_combination_of_parts(time_ms: int) -> None:
    """All 3^5 combinations of true, false and unknown, before and at the ends of the exceptions."""
    bundle = compiled(RULE).bundle
    assert bundle is not None
    (rule,) = bundle.rules
    combinations = [dict(zip("abcde", item, strict=True)) for item in product(STATES, repeat=5)]
    kind, time = bundle.slots["event.type"], bundle.slots["event.time"]
    rows = []
    for states in combinations:
        values: dict[object, Constant | None] = {
            kind: Constant(Kind(kind.type, values=kind.values), kind.values.index("payment")),
            time: Constant(Kind(time.type), time_ms),
        }
        for name, state in states.items():
            slot = bundle.slots[f"f.{name}"]
            value = STATES[state]
            values[slot] = None if value is None else Constant(Kind(slot.type), value)
        rows.append(values)
    true, unknown = bundle.program.bind(HASH_KEY).evaluate(inputs_of(bundle, rows), len(rows))

    def bits(masks: np.ndarray, output: int) -> np.ndarray:
        return np.unpackbits(masks[output].view(np.uint8), bitorder="little")[: len(rows)]

    for row, states in enumerate(combinations):
        match = (
            "true"
            if bits(true, rule.index)[row]
            else "unknown"
            if bits(unknown, rule.index)[row]
            else "false"
        )
        points = [effect.score for effect in rule.effects if bits(true, effect.output)[row]]
        before = (
            "true"
            if bits(true, rule.before)[row]
            else "unknown"
            if bits(unknown, rule.before)[row]
            else "false"
        )
        assert len(points) == (match == "true"), "the bands part the matches"
        assert (match, sum(points), before) == oracle(states, time_ms), states


def test_what_exceptions_and_bands_read_is_part_of_the_evidence() -> None:
    """The rule reads all five flags."""
    bundle = compiled(RULE).bundle
    assert bundle is not None
    assert {slot.name for slot in bundle.rules[0].reads} >= {f"f.{name}" for name in "abcde"}


def test_embedded_tests_see_the_score_of_the_band() -> None:
    """``given`` tests of evaluated and of resting rules expect points by row."""
    tests = """  tests:
  - {name: first, given: {f.a: true, f.d: true, f.e: true}, expect: {match: true, score: 40}}
  - {name: second, given: {f.a: true, f.e: true}, expect: {match: true, score: 15}}
  - {name: none, given: {f.a: true}, expect: {match: true, score: 0}}
  - {name: excepted, given: {f.a: true, f.b: true, f.e: true}, expect: {match: false, score: 0}}
  - {name: over, given: {f.a: true, f.b: true, f.e: true, event.time: 2026-06-01T00:00:00+08:00}, expect: {match: true, score: 15}}
  - {name: wrong, given: {f.a: true, f.e: true}, expect: {match: true, score: 40}}
"""
    for state in ("shadow", "draft"):
        results = run_tests(compiled(RULE.replace("state: shadow", f"state: {state}") + tests))
        assert {item.name: item.status for item in results} == {
            "first": "passed", "second": "passed", "none": "passed", "excepted": "passed", "over": "passed", "wrong": "failed",
        }  # fmt: skip
        assert results[-1].problems == ("expected `score: 40`, was `15`",)


def test_expired_exceptions_are_warned_about_by_the_clock_of_the_caller() -> None:
    """Without a clock nothing is said: a bundle means the same on every day."""
    files = {"schema.yaml": (SCHEMA + FIELDS).encode(), "rulesets/r.yaml": RULE.encode()}

    def told(now_ms: int | None) -> list[int]:
        found = compile_sources(files, now_ms=now_ms)
        return [item.span.line for item in found.diagnostics if item.code == "expired-exception"]

    assert told(None) == []
    assert told(ENDS_MS["b"] - 1) == []
    assert told(ENDS_MS["b"]) == [11]
    assert told(ENDS_MS["c"]) == [11, 12]


@pytest.mark.parametrize(
    ("bands", "codes"),
    [
        ("[{when: txn.amount >= 500, score: 40}, {when: txn.amount < 500, score: 20}]", []),
        ("[{when: txn.amount >= 500, score: 40}, {when: txn.amount >= 100, score: 20}]", []),
        ("[{when: txn.amount > 500, score: 40}, {when: txn.amount <= 499.99, score: 20}]", ["band-gap"]),
        ("[{when: txn.amount > 500, score: 40}, {when: txn.amount between 0 and 500, score: 20}]", []),
        (
            "[{when: txn.amount >= 500, score: 40}, {when: txn.amount between 100 and 600, score: 20}]",
            ["band-overlap"],
        ),
        ("[{when: txn.amount >= 100, score: 20}, {when: txn.amount >= 500, score: 40}]", ["band-unused"]),
        ("[{when: txn.amount >= 500, score: 40}]", ["band-gap"]),
        ("[{when: txn.amount >= 500, score: 40}, {when: f.b, score: 20}]", []),
    ],
)
def test_gaps_and_overlaps_of_bands(bands: str, codes: list[str]) -> None:
    """Bands over one amount must cover what the rule's condition leaves, each value once."""
    text = RULE.replace("[{when: f.d, score: 40}, {when: f.e, score: 15}]", bands).replace(
        "when: f.a", "when: f.a and txn.amount >= 100"
    )
    found = compiled(text).diagnostics
    assert [item.code for item in found if item.code.startswith("band")] == codes


def test_the_gap_is_named() -> None:
    """An operator reads which values get no points."""
    text = RULE.replace(
        "{when: f.d, score: 40}, {when: f.e, score: 15}",
        "{when: txn.amount >= 500, score: 40}, {when: txn.amount < 300, score: 9}",
    )
    messages = [item.message for item in compiled(text).diagnostics if item.code == "band-gap"]
    assert messages == [
        "no band holds where `txn.amount >= 300 and txn.amount <= 499.99`: the score is 0 there"
    ]


def test_noisy_or_is_a_combination() -> None:
    """The typology reaches the bundle."""
    text = (
        "apiVersion: fraudstream/v1\nkind: Typologies\ntypologies: {t: {combine: noisy_or, alert_at: 50}}\n"
    )
    found = compiled(RULE, text).bundle
    assert found is not None
    assert found.typologies[0].combine == "noisy_or"


TABLE = """\
apiVersion: fraudstream/v1
kind: RuleSet
defaults: {owner: o@bank.example}
rules:
- id: one
  title: one
  severity: low
  on: payment
  params: {limit: {value: 5000}}
  table:
  - {txn.direction: in, txn.channel: atm, txn.amount: ">= params.limit", f.a: "-"}
  - {txn.direction: out, txn.channel: 'in ["web", "mobile"]', txn.amount: ">= 9000", f.a: true}
  - {txn.direction: "-", txn.channel: is missing, txn.amount: between 10 and 20, f.a: false}
  mode: {state: shadow}
  tests:
"""


def table_oracle(direction: str, channel: str, amount: int, a: str) -> str:
    """Return the outcome of the table above: or of and, by Kleene."""
    flag = STATES[a]
    known = None if channel == "missing" else channel

    def both(cells: list[bool | None]) -> bool | None:
        return False if False in cells else None if None in cells else True

    rows = [
        both([direction == "in", None if known is None else known == "atm", amount >= 5000]),
        both(
            [
                direction == "out",
                None if known is None else known in ("web", "mobile"),
                amount >= 9000,
                None if flag is None else flag == 1,
            ]
        ),
        both([known is None, 10 <= amount <= 20, None if flag is None else flag == 0]),
    ]
    return "true" if True in rows else "unknown" if None in rows else "false"


def test_a_table_matches_where_all_cells_of_a_row_do() -> None:
    """Every combination of values, missing ones included."""
    text, cases = (
        TABLE,
        product(("in", "out"), ("web", "atm", "pos", "missing"), (15, 4999, 5000, 9000), STATES),
    )
    for number, (direction, channel, amount, a) in enumerate(cases):
        given = f"txn.direction: {direction}, txn.channel: {channel}, txn.amount: {amount}, f.a: {'missing' if a == 'unknown' else a}"
        text += f"  - {{name: t{number}, given: {{{given}}}, expect: {{match: {table_oracle(direction, channel, amount, a)}}}}}\n"
    results = run_tests(compiled(text))
    assert len(results) == 96
    assert [(item.name, item.problems) for item in results if item.status != "passed"] == []
    assert {line.rsplit("match: ", 1)[1] for line in text.splitlines() if "match:" in line} == {
        "true}}",
        "false}}",
        "unknown}}",
    }


def test_what_exceptions_turn_off_is_counted_and_published() -> None:
    """Of five events with the condition, three are excepted; the metric says so for this rule."""
    bundle = compiled(RULE).bundle
    assert bundle is not None
    flags = [
        (True, False),
        (True, True),
        (True, None),
        (True, True),
        (True, True),
        (False, True),
        (None, True),
    ]
    bodies = [
        json.dumps(
            {
                "transaction_id": f"t{at}",
                "account_id": "a",
                "event_time": "2026-01-15T12:00:00Z",
                "amount": "1",
                "currency": "CNY",
                "f_e": True,
            }
            | {name: value for name, value in (("f_a", a), ("f_b", b)) if value is not None}
        ).encode()
        for at, (a, b) in enumerate(flags)
    ]
    noon_ms = 1_768_478_400_000
    part = Slice.from_records(0, bodies, [None] * len(bodies), range(len(bodies)), [noon_ms] * len(bodies))
    result = Pipeline(0, HASH_KEY, bundle, None).process(part)
    counts = result.counts.rules
    assert counts.counts.tolist() == [[2], [0], [7], [3], [30], [0]]
    metrics = Metrics()
    observer = Observer(metrics)
    observer.processed(bundle, result)
    observer.processed(bundle, result)
    observer.publish([], [bundle])
    assert metrics.value(RULE_OUTCOMES, "one", "excepted") == 6
