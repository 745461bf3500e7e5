"""Canaries: evaluated on everything, acting on a stable share of keys."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from support.sample_rules import SCHEMA

from fraudstream.rules import Compiled, compile_sources, explain, run_tests
from fraudstream.rules.compiler.casefile import HistoryOutcome, inputs_of
from fraudstream.rules.compiler.terms import Constant, Kind
from fraudstream.rules.siphash import hash_text
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
  when: txn.amount >= 100
  action: block
  score: [{when: txn.amount >= 1000, score: 60}, {when: txn.amount >= 0, score: 30}]
  mode: {state: canary, percent: 20, by: account.id}
  reason: {en: large}
  tests:
  - {name: large, given: {txn.amount: 1000}, expect: {match: true, action: block, score: 60}}
  - {name: small, given: {txn.amount: 99}, expect: {match: false}}
"""
NOON_MS = 1_768_478_400_000


def compiled(rule: str = RULE) -> Compiled:
    """Compile the canary over the sample's schema."""
    found = compile_sources({"schema.yaml": SCHEMA.encode(), "rulesets/r.yaml": rule.encode()})
    assert found.bundle is not None, [item.text for item in found.errors]
    return found


def in_share(account: str, percent: float) -> bool:
    """Tell from the documented hash whether a key is in the share."""
    low, _ = hash_text(account.encode(), bytes(16))
    return low % 2**64 % 10_000 < percent * 100


def acted(rule: str, accounts: list[str], hash_key: bytes) -> list[bool]:
    """Return on which accounts the rule acts, on a partition with this key."""
    bundle = compiled(rule).bundle
    assert bundle is not None
    values: dict[str, Constant] = {
        "event.type": Constant(Kind(bundle.slots["event.type"].type), 0),
        "event.time": Constant(Kind(bundle.slots["event.time"].type), NOON_MS),
        "txn.amount": Constant(Kind(bundle.slots["txn.amount"].type), 50_000),
    }
    rows = [
        {bundle.slots[name]: value for name, value in values.items()}
        | {bundle.slots["account.id"]: Constant(Kind(bundle.slots["account.id"].type), account)}
        for account in accounts
    ]
    true, _ = bundle.program.bind(hash_key).evaluate(inputs_of(bundle, rows), len(rows))
    (found,) = bundle.rules
    outputs = [effect.output for effect in found.effects]
    return [any(int(true[at, row >> 6]) >> (row & 63) & 1 for at in outputs) for row in range(len(rows))]


def test_the_share_is_that_of_an_unkeyed_hash_on_every_partition() -> None:
    """Two partitions with other hash keys take the same keys, about as many as asked for."""
    accounts = [f"6222-{number:06}" for number in range(20_000)]
    first, second = acted(RULE, accounts, bytes(16)), acted(RULE, accounts, bytes(range(16)))
    assert first == second == [in_share(account, 20) for account in accounts]
    assert sum(first) == pytest.approx(4_000, abs=5 * (20_000 * 0.2 * 0.8) ** 0.5)


def test_a_larger_share_contains_the_smaller_one() -> None:
    """Whoever was in the canary stays in it when it grows; 100 % is everybody."""
    accounts = [f"a{number}" for number in range(3_000)]
    shares = [
        acted(RULE.replace("percent: 20", f"percent: {percent}"), accounts, bytes(16))
        for percent in ("0.5", "5", "33.33", "100")
    ]
    for small, large in pairwise(shares):
        assert all(b for a, b in zip(small, large, strict=True) if a)
        assert sum(small) < sum(large)
    assert all(shares[-1])


@pytest.mark.parametrize("account", [f"acc-{number}" for number in range(12)])
def test_the_pipeline_blocks_in_the_share_and_counts_outside(account: str) -> None:
    """The rule holds for everybody; decision, points and reasons follow only in the share."""
    bundle = compiled().bundle
    assert bundle is not None
    body = {
        "transaction_id": "t1",
        "account_id": account,
        "event_time": "2026-01-15T12:00:00Z",
        "amount": "2000",
        "currency": "CNY",
    }
    outcome: HistoryOutcome = make_history_runner(bundle, None)([(NOON_MS, json.dumps(body).encode())])
    inside = in_share(account, 20)
    assert outcome.match == {"one": "true"}
    assert (outcome.decision, outcome.score) == (("block", 600) if inside else ("pass", 0))
    assert outcome.reasons == ((("one", "large"),) if inside else ())
    assert outcome.points == {"one": 60 if inside else 0}


def test_both_kinds_of_accounts_were_tried() -> None:
    """The test above sees a share and a rest."""
    assert {in_share(f"acc-{number}", 20) for number in range(12)} == {True, False}


def test_tests_with_values_look_at_the_condition() -> None:
    """`given` tests do not depend on which share a key is in."""
    assert [item.status for item in run_tests(compiled())] == ["passed", "passed"]


def test_words() -> None:
    """The explanation says on whom the rule acts."""
    assert "a canary: acts on 20 % of account.id, counts on the rest" in explain(compiled(), "one")
