# ruff: noqa: E501 (one test case a line)
"""Params by segment: which threshold holds for whom."""

from __future__ import annotations

import pytest
from support.sample_rules import SCHEMA

from fraudstream.rules import Compiled, compile_sources, explain, run_tests

TYPOLOGIES = """\
apiVersion: fraudstream/v1
kind: Typologies
policy: {segment: account.segment}
"""
RULE = """\
apiVersion: fraudstream/v1
kind: RuleSet
defaults: {owner: o@bank.example}
rules:
- id: one
  title: one
  severity: low
  on: payment
  params:
    low: {value: 100, min: 10, max: 1000, by_segment: {sme: 500, retail: 50}}
    high: {value: 900 CNY, by_segment: {sme: 5000 CNY}}
  conditions: {inside: txn.amount between params.low and params.high}
  when: inside
  score: [{when: txn.amount > params.low, score: 7}]
  mode: {state: shadow}
  tests:
"""


def compiled(rule: str, segment_type: str = "type: enum, values: [retail, sme, vip]") -> Compiled:
    """Compile one rule over the sample's schema with a segment."""
    schema = f"{SCHEMA}  account.segment: {{path: segment, {segment_type}}}\n"
    return compile_sources(
        {
            "schema.yaml": schema.encode(),
            "typologies.yaml": TYPOLOGIES.encode(),
            "rulesets/r.yaml": rule.encode(),
        }
    )


def oracle(segment: str, amount: int) -> tuple[str, int]:
    """Return match and points from a table of thresholds."""
    low, high = {"sme": (500, 5000), "retail": (50, 900)}.get(segment, (100, 900))
    match = low <= amount <= high
    return str(match).lower(), 7 if match and amount > low else 0


@pytest.mark.parametrize("kind", ["type: enum, values: [retail, sme, vip]", "type: category"])
def test_each_segment_has_its_thresholds(kind: str) -> None:
    """Segments of params, one that no param names, and none at all; amounts on every threshold."""
    cases = [
        (segment, amount)
        for segment in ("retail", "sme", "vip", "missing")
        for amount in (49, 50, 51, 99, 100, 101, 499, 500, 501, 900, 901, 5000, 5001)
    ]
    text = RULE
    for segment, amount in cases:
        match, score = oracle(segment, amount)
        text += f"  - {{name: {segment} {amount}, given: {{txn.amount: {amount}, account.segment: {segment}}}, expect: {{match: {match}, score: {score}}}}}\n"
    found = compiled(text, kind)
    assert [item.text for item in found.errors] == []
    results = run_tests(found)
    assert len(results) == len(cases)
    assert [(item.name, item.problems) for item in results if item.status != "passed"] == []


def test_the_segment_is_read_and_explained() -> None:
    """Evidence has the segment, and words say which threshold holds where."""
    found = compiled(RULE.replace("  tests:\n", ""))
    assert found.bundle is not None
    assert "account.segment" in {slot.name for slot in found.bundle.rules[0].reads}
    assert "params.low is 100, but 500 in segment sme, 50 in segment retail" in explain(found, "one")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("retail: 50}", "retial: 50}", "`retial` is not a value"),
        ("retail: 50}", "retail: 5}", "the value `5` is below `min` `10`"),
        ("retail: 50}", "retail: 5m}", "the value for `retail` is `duration`, but `value` is `integer`"),
        ("sme: 5000 CNY", "sme: 400 CNY", "in segment `sme`: "),
        ("  mode:", "  reason: {en: 'above {params.low}'}\n  mode:", "`params.low` differs by segment, a text can not show it"),
    ],
)  # fmt: skip
def test_mistakes_of_segments(old: str, new: str, message: str) -> None:
    """Names, bounds, units, and what only one segment makes impossible."""
    assert old in RULE
    errors = [
        item.message.replace('"', "")
        for item in compiled(RULE.replace(old, new).replace("  tests:\n", "")).errors
    ]
    assert any(message in error for error in errors), errors
