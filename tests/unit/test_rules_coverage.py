"""Coverage of terms: what the tests of a rule have seen of each comparison."""

from __future__ import annotations

from support.sample_rules import SCHEMA

from fraudstream.rules import Compiled, compile_sources, run_tests
from fraudstream.rules.compiler.casefile import HistoryOutcome
from fraudstream.rules.compiler.coverage import coverage, with_terms
from fraudstream.stream.rule_tests import make_history_runner

RULE = """\
apiVersion: fraudstream/v1
kind: RuleSet
defaults: {owner: o@bank.example}
rules:
- id: one
  title: one
  severity: low
  on: payment
  conditions: {large: txn.amount >= 100}
  when: large and (txn.channel == "atm" or not device.trusted)
  exceptions: [{when: 'txn.country in ["CH"]', owner: o@bank.example, until: 2027-01-01}]
  score: [{when: txn.amount > 500, score: 50}]
  mode: {state: STATE}
  tests:
  - {name: atm, given: {txn.amount: 100, txn.channel: atm}, expect: {match: true}}
  - {name: small, given: {txn.amount: 99, txn.channel: web}, expect: {match: false}}
  - name: by event
    event: {amount: "900", channel: mobile, device: {id: d, trusted: false}, country: CH}
    expect: {match: false}
"""


def seen(state: str) -> dict[str, str]:
    """Return what the tests saw of each term."""
    files = {"schema.yaml": SCHEMA.encode(), "rulesets/r.yaml": RULE.replace("STATE", state).encode()}
    compiled: Compiled = compile_sources(files)
    compiled, terms = with_terms(compiled)
    assert compiled.bundle is not None
    runner, events = make_history_runner(compiled.bundle, None), {}

    def recording(records: object) -> HistoryOutcome:
        events[id(records)] = runner(records)
        return events[id(records)]

    results = run_tests(compiled, recording)
    assert [item.status for item in results][:2] == ["passed", "passed"]
    found = coverage(compiled, terms, events)
    return {item.term.text: "T" * item.true + "F" * item.false for item in found}


def test_each_comparison_by_both_kinds_of_tests() -> None:
    """Values and events are seen; a missing value shows neither; the sequence is that of the conditions."""
    assert seen("shadow") == {
        "txn.amount >= 100": "TF",
        'txn.channel == "atm"': "TF",
        "device.trusted": "F",
        'txn.country in ["CH"]': "T",
        "txn.amount > 500": "TF",
    }


def test_a_draft_is_covered_by_its_tests_with_values() -> None:
    """Nothing runs a draft on events."""
    assert seen("draft") == {
        "txn.amount >= 100": "TF",
        'txn.channel == "atm"': "TF",
        "device.trusted": "",
        'txn.country in ["CH"]': "",
        "txn.amount > 500": "F",
    }
