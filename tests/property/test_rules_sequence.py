# ruff: noqa: E501 (one rule a line)
"""Sequences of rules against the contract read naively: one timestamp for each step, `unless` clears them."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.sample_rules import SCHEMA

from fraudstream.rules import compile_sources, run_tests
from fraudstream.rules.bundle import Bundle
from fraudstream.rules.compiler.casefile import HASH_KEY
from fraudstream.stream.pipeline import Pipeline
from fraudstream.stream.rule_tests import make_history_runner
from fraudstream.stream.wire.types import Slice

MINUTE = 60_000
NOON_MS = 1_768_478_400_000
TYPES = ("login", "outcome", "payment", "card_auth")
RULES = """\
apiVersion: fraudstream/v1
kind: RuleSet
defaults: {owner: o@bank.example}
rules:
- id: drain
  title: A login, a decline, then a large payment
  severity: critical
  on: payment
  params: {floor: {value: 500}}
  sequence:
    by: customer.id
    within: 30m
    steps:
    - {as: entry, on: login, when: not device.trusted}
    - {as: decline, on: [outcome, card_auth], when: txn.status == "declined"}
    - {as: pay, when: txn.amount >= params.floor}
    unless: {on: login, when: device.trusted}
  action: block
  score: 80
  reason: {en: "unknown device, decline, {txn.amount:money}"}
  tests:
  - {name: given, given: {sequence: true, txn.amount: 500}, expect: {match: true, action: block}}
  - {name: small, given: {sequence: true, txn.amount: 499}, expect: {match: false}}
  - {name: not in order, given: {sequence: false, txn.amount: 900}, expect: {match: false}}
  - {name: no customer, given: {txn.amount: 900}, expect: {match: unknown}}
  - name: in half an hour
    history:
    - {at: -29m, event_type: login, customer_id: c, device: {trusted: false}}
    - {at: -2m, event_type: outcome, customer_id: c, status: declined}
    event: {customer_id: c, amount: "500"}
    expect: {match: true, action: block, reason: "unknown device, decline, 500.00"}
  - name: safe in between
    history:
    - {at: -29m, event_type: login, customer_id: c, device: {trusted: false}}
    - {at: -20m, event_type: login, customer_id: c, device: {trusted: true}}
    - {at: -2m, event_type: outcome, customer_id: c, status: declined}
    event: {customer_id: c, amount: "500"}
    expect: {match: false}
- id: three
  title: Three payments in a row
  severity: low
  on: payment
  sequence: {by: [account.id], within: 10m, steps: [{}, {}, {}]}
  mode: {state: shadow}
"""


def _bundle() -> Bundle:
    files = {"schema.yaml": SCHEMA.encode(), "rulesets/r.yaml": RULES.encode()}
    compiled = compile_sources(files)
    assert compiled.bundle is not None, [item.text for item in compiled.errors]
    results = run_tests(compiled, make_history_runner(compiled.bundle, None))
    assert [(item.name, item.problems) for item in results if item.status != "passed"] == []
    return compiled.bundle


BUNDLE = _bundle()


def naive(events: list[dict[str, Any]], at: int) -> tuple[bool | None, bool | None]:
    """Return whether the rules hold for event ``at``, None: unknown."""
    current = events[at]
    if current["type"] != "payment":
        return False, False
    earlier = [item for item in events[:at] if item["time"] <= current["time"]]
    earlier.sort(key=lambda item: item["time"])  # stable: at equal times the log's order
    return _drain(earlier, current), _three(earlier, current)


def _drain(earlier: list[dict[str, Any]], current: dict[str, Any]) -> bool | None:
    large = current["amount"] >= 500
    if current["customer"] is None:
        return None if large else False
    entry: int | None = None
    both: int | None = None
    for item in earlier:
        if item["customer"] != current["customer"]:
            continue
        if item["type"] == "login" and item["trusted"] is True:
            entry = both = None
        if item["type"] in ("outcome", "card_auth") and item["declined"] and entry is not None:
            both = entry
        if item["type"] == "login" and item["trusted"] is False:
            entry = item["time"]
    return large and both is not None and both > current["time"] - 30 * MINUTE


def _three(earlier: list[dict[str, Any]], current: dict[str, Any]) -> bool:
    begin = current["time"] - 10 * MINUTE
    return sum(item["type"] == "payment" and item["time"] > begin for item in earlier) >= 2


def _record(number: int, item: dict[str, Any]) -> bytes:
    seconds, ms = divmod(item["time"] - NOON_MS, 1000)
    body: dict[str, Any] = {
        "transaction_id": f"t{number}",
        "event_type": item["type"],
        "account_id": "a",
        "event_time": f"2026-01-15T{12 + seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ms:03}Z",
        "amount": str(item["amount"]),
        "currency": "CNY",
        "customer_id": item["customer"],
        "status": "declined" if item["declined"] else None,
        "device": {"trusted": item["trusted"]},
    }
    return json.dumps({name: value for name, value in body.items() if value is not None}).encode()


EVENT = st.fixed_dictionaries(
    {
        "type": st.sampled_from(TYPES),
        "step": st.sampled_from([0, 1, MINUTE, 4 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE]),
        "back": st.sampled_from([0, 0, 0, MINUTE, 8 * MINUTE, 29 * MINUTE]),
        "customer": st.sampled_from(["c", "c", "c", "d", None]),
        "trusted": st.sampled_from([True, False, False, None]),
        "declined": st.booleans(),
        "amount": st.sampled_from([499, 500]),
    }
)
IN_TIME = [("login", 0), ("outcome", 29), ("payment", 0), ("payment", 1)]
"""Types and minutes since the one before: the second payment is too late by nothing."""


@given(st.lists(EVENT, max_size=40), st.sampled_from([1, 1, 1, 2, 7]))
@example(
    [
        {
            "type": kind,
            "step": minutes * MINUTE,
            "back": 0,
            "customer": "c",
            "trusted": False,
            "declined": True,
            "amount": 500,
        }
        for kind, minutes in IN_TIME
    ],
    1,
)
@settings(deadline=None, max_examples=150)
def test_sequences_are_what_the_contract_says(drawn: list[dict[str, Any]], batch: int) -> None:
    """Out of order, at equal times, without keys; with a restart after three batches."""
    now, events = NOON_MS, []
    for item in drawn:
        now += item["step"]
        events.append(item | {"time": max(NOON_MS, now - item["back"])})
    records = [_record(number, item) for number, item in enumerate(events)]
    times = [item["time"] for item in events]
    part = Slice.from_records(0, records, [None] * len(records), range(len(records)), times)
    wanted = [naive(events, at) for at in range(len(events))]
    pipeline = Pipeline(0, HASH_KEY, BUNDLE, None)
    for number, begin in enumerate(range(0, len(records), batch)):
        if number == 3:
            pipeline = Pipeline.restore(pipeline.snapshot(), BUNDLE, None)
        counts = pipeline.process(part.part(begin, min(begin + batch, len(records)))).counts.rules
        expected = wanted[begin : begin + batch]
        for rule in (0, 1):
            answers = [item[rule] for item in expected]
            assert counts.true[rule] == answers.count(True), (begin, rule)
            assert counts.unknown[rule] == answers.count(None), (begin, rule)
