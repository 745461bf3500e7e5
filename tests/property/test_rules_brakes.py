"""Limits and suppression of rules against a naive reading, whatever the batches, restarts and owners."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.sample_rules import SCHEMA

from fraudstream.rules import compile_sources
from fraudstream.rules.bundle import Bundle
from fraudstream.rules.compiler.casefile import HASH_KEY
from fraudstream.stream.collector import Metrics
from fraudstream.stream.metrics import RULE_LIMITED, RULE_OUTCOMES
from fraudstream.stream.observe import Observer
from fraudstream.stream.outcome import Flag
from fraudstream.stream.pipeline import Known, Pipeline
from fraudstream.stream.wire.types import Slice

SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000
NOON_MS = 1_768_478_400_000
PER, PANE, SHARE, LEAST = 10 * MINUTE, MINUTE, 25, 4
FOR = 20 * MINUTE
RULES = """\
apiVersion: fraudstream/v1
kind: RuleSet
defaults: {owner: o@bank.example}
rules:
- id: big
  title: Too much
  severity: high
  typology: t
  on: payment
  when: txn.amount >= 1000
  action: block
  score: 60
  limits: {share: 25%, per: 10m, min_count: 4, reset: RESET}
  suppress: {by: counterparty.id, for: 20m}
  reason: {en: "too much"}
  tests:
  - {name: yes, given: {txn.amount: 1000}, expect: {match: true}}
  - {name: no, given: {txn.amount: 999}, expect: {match: false}}
- id: round
  title: A round amount
  severity: low
  on: payment
  when: is_round(txn.amount, 100)
  action: alert
  suppress: {by: [account.id, counterparty.id], for: 20m}
  reason: {en: "round"}
  tests:
  - {name: yes, given: {txn.amount: 500}, expect: {match: true}}
  - {name: no, given: {txn.amount: 550}, expect: {match: false}}
- id: web
  title: On the web
  severity: low
  on: payment
  when: txn.channel == "web" and txn.amount >= 500
  action: alert
  reason: {en: "web"}
  tests:
  - {name: yes, given: {txn.channel: web, txn.amount: 500}, expect: {match: true}}
  - {name: no, given: {txn.channel: web, txn.amount: 100}, expect: {match: false}}
"""
TYPOLOGIES = """\
apiVersion: fraudstream/v1
kind: Typologies
typologies: {t: {combine: sum, block_at: 60}}
"""
TOLD = "too much (an alert instead of a block: more than 25% in 10m)"


def bundle_of(reset: int = 0) -> Bundle:
    """Compile the rules; another ``reset`` is what an operator does after a limit was exceeded."""
    files = {
        "schema.yaml": SCHEMA.encode(),
        "typologies.yaml": TYPOLOGIES.encode(),
        "rulesets/r.yaml": RULES.replace("RESET", str(reset)).encode(),
    }
    found = compile_sources(files)
    assert found.bundle is not None, [item.text for item in found.errors]
    return found.bundle


BUNDLE, RESET = bundle_of(), bundle_of(1)
Event = dict[str, Any]


class Naive:
    """The contract read event by event."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, bool]] = []
        self.tripped = False
        self.newest = -1
        self.alerted: dict[tuple[str, Any], int] = {}

    def decide(self, event: Event) -> tuple[str, bool, bool]:
        """Return decision, whether it says that a block was limited, whether it is suppressed."""
        amount, time, late = event["amount"], event["time"], event["late"]
        payment = event["type"] == "payment"
        big, web = payment and amount >= 1000, payment and event["web"] and amount >= 500
        rounded = payment and amount % 100 == 0
        if payment:
            self.newest = max(self.newest, time // PANE)
            if time // PANE > self.newest - 10:
                self.seen.append((time // PANE, big))
                recent = [hit for pane, hit in self.seen if pane > self.newest - 10]
                if big and len(recent) >= LEAST and 100 * sum(recent) > SHARE * len(recent):
                    self.tripped = True
        limited = big and self.tripped
        decision = "block" if big and not limited else "alert" if big or rounded or web else "pass"
        causes = [("big", event["to"])] * big + [("round", event["to"])] * rounded
        return decision, limited, self._suppressed(decision, causes, web, time) and not late

    def _suppressed(self, decision: str, causes: list[tuple[str, Any]], other: bool, time: int) -> bool:
        if decision == "pass" or self.late:
            return False
        repeated = [
            to is not None and abs(time - self.alerted.get((rule, to), -(2**62))) < FOR for rule, to in causes
        ]
        if decision == "alert" and not other and all(repeated):
            return True
        for (rule, to), again in zip(causes, repeated, strict=True):
            if to is not None and not again:
                self.alerted[rule, to] = time
        return False

    late = False


def _judge(events: Sequence[Event], reset_at: int) -> list[tuple[str, bool, bool]]:
    naive, out = Naive(), []
    for at, event in enumerate(events):
        if at == reset_at:
            naive.seen, naive.tripped, naive.newest = [], False, -1
        naive.late = event["late"]
        out.append(naive.decide(event))
    return out


def _record(number: int, event: Event) -> bytes:
    seconds, ms = divmod(event["time"] - NOON_MS, 1000)
    day, seconds = divmod(seconds + 12 * 3600, 86_400)
    stamp = f"2026-01-{15 + day:02}T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ms:03}Z"
    body = {
        "transaction_id": f"t{number}",
        "event_type": event["type"],
        "account_id": "a",
        "counterparty_id": event["to"],
        "event_time": stamp,
        "amount": str(event["amount"]),
        "currency": "CNY",
        "channel": "web" if event["web"] else "pos",
    }
    return json.dumps({name: value for name, value in body.items() if value is not None}).encode()


EVENT = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["payment", "payment", "payment", "login"]),
        "step": st.sampled_from([0, SECOND, MINUTE, 3 * MINUTE, 9 * MINUTE, 20 * MINUTE - 1]),
        "back": st.sampled_from([0, 0, 0, 0, MINUTE, 12 * MINUTE, 3 * HOUR]),
        "to": st.sampled_from(["x", "x", "y", None]),
        "web": st.sampled_from([False, False, False, True]),
        "amount": st.sampled_from([50, 100, 550, 1000, 1050]),
    }
)


def _timed(drawn: Sequence[Event]) -> list[Event]:
    now, newest, out = NOON_MS, NOON_MS, []
    for event in drawn:
        now += event["step"]
        time = max(NOON_MS - 4 * HOUR, now - event["back"])
        # The window settings' default: an hour behind the newest admitted event.
        late = bool(out) and time < newest - HOUR
        newest = max(newest, time) if out else time
        out.append(event | {"time": time, "late": late})
    return out


def _slice(events: Sequence[Event]) -> Slice:
    records = [_record(number, event) for number, event in enumerate(events)]
    times = [event["time"] for event in events]
    return Slice.from_records(0, records, [None] * len(records), range(len(records)), times)


@given(
    st.lists(EVENT, min_size=1, max_size=70),
    st.sampled_from([1, 3, 40]),
    st.integers(0, 80),
    st.integers(0, 80),
)
@settings(deadline=None, max_examples=150)
def test_limits_and_suppression_are_what_the_contract_says(
    drawn: list[Event], batch: int, restart: int, reset_at: int
) -> None:
    """Out of order and late, in batches, over a restart, over a reset, and for an owner who only replays."""
    events = _timed(drawn)
    wanted = _judge(events, reset_at)
    part, pipeline = _slice(events), Pipeline(0, HASH_KEY, BUNDLE, None)
    borders = sorted({*range(0, len(events), batch), *(at for at in (restart, reset_at) if at < len(events))})
    decisions, scores = np.zeros(len(events), np.uint8), np.zeros(len(events), np.int32)
    for begin, end in zip(borders, [*borders[1:], len(events)], strict=True):
        if begin == restart:
            saved = pipeline.snapshot()
            again = Pipeline.restore(saved, pipeline.bundle, None)
            assert again.state_hash() == pipeline.state_hash()
            pipeline = again
        if begin == reset_at:
            pipeline.switch(RESET, None)
        result = pipeline.process(part.part(begin, end))
        decisions[begin:end], scores[begin:end] = result.outcome.decision, result.outcome.score
        alerts = {row for row, _ in result.alerts}
        for row in range(end - begin):
            decision, limited, suppressed = wanted[begin + row]
            texts = dict(result.outcome.reasons.get(row, ()))
            flags = Flag(int(result.outcome.flags[row]))
            assert ("pass", "alert", "block")[result.outcome.decision[row]] == decision, begin + row
            assert (texts.get("big") == TOLD) == limited
            assert (Flag.SUPPRESSED in flags) == suppressed, (begin + row, events[begin + row])
            assert (row in alerts) == (decision != "pass" and not suppressed)
    # A new owner to whom all decisions are known has the same state.
    known = Known(np.arange(len(events)), decisions, scores)
    other = Pipeline(0, HASH_KEY, BUNDLE, None)
    middle = min(reset_at, len(events))
    if middle:
        assert other.process(part.part(0, middle), known).alerts == ()
    if reset_at < len(events):
        other.switch(RESET, None)
        other.process(part.part(middle, len(events)), known)
    assert other.state_hash() == pipeline.state_hash()


def test_a_limit_is_visible_in_metrics() -> None:
    """The share is exceeded by the fourth event: that one and what follows are counted as limited."""
    event: Event = {"type": "payment", "step": SECOND, "back": 0, "to": None, "web": False, "amount": 1050}
    pipeline, metrics = Pipeline(0, HASH_KEY, BUNDLE, None), Metrics()
    observer = Observer(metrics)
    observer.processed(BUNDLE, pipeline.process(_slice(_timed([event] * 6))))
    assert pipeline.limited_rules == {"big": NOON_MS + 4 * SECOND}

    class Watched:
        number = 0

    watched: Any = Watched()
    watched.pipeline = pipeline
    observer.publish([], [BUNDLE])
    assert metrics.value(RULE_LIMITED, "big") == 0
    observer._publish_limits([BUNDLE], [watched])
    assert metrics.value(RULE_LIMITED, "big") == 1
    assert metrics.value(RULE_OUTCOMES, "big", "limited") == 3
