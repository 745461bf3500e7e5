"""What a rule makes of one event: terms agree with the rule, and the counterfactual flips the decision."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from support.worker import ROOT

from fraudstream.rules import Compiled, compile_sources, read_directory
from fraudstream.rules.bundle import Action, Slot, Type
from fraudstream.rules.compiler.ruleset import DeclaredRule
from fraudstream.rules.compiler.terms import Constant, Kind
from fraudstream.stream.rule_event import Change, EventView

NUMERIC = (Type.INTEGER, Type.MONEY, Type.NUMBER, Type.DURATION)


@pytest.fixture(scope="module")
def pack() -> Compiled:
    """The shipped rules."""
    return compile_sources(read_directory(ROOT / "rules"))


def record(event_type: str) -> bytes:
    """Return the smallest record of an event type."""
    body = {
        "transaction_id": "t1",
        "account_id": "a1",
        "event_time": "2026-01-15T04:00:00Z",
        "event_type": event_type,
        "amount": "1",
        "currency": "CNY",
    }
    return json.dumps(body).encode()


def corpus(pack: Compiled) -> Iterator[tuple[DeclaredRule, str, dict[Slot, Constant]]]:
    """Yield each matching test with values of each rule that stops, as written and with larger numbers."""
    for rule in pack.rules:
        for case in rule.cases if rule.action in (Action.ALERT, Action.BLOCK) else ():
            if case.given is None or case.expect.match != "true":
                continue
            for factor in (1, 3):
                given = {}
                for slot, value in case.given:
                    if value is None:
                        continue
                    larger = value
                    if slot.type in NUMERIC and isinstance(value.value, int | float):
                        larger = Constant(value.kind, type(value.value)(value.value * factor))
                    given[slot] = larger
                yield rule, case.event_type, given


def applied(given: dict[Slot, Constant], change: Change, by: float = 0) -> dict[Slot, Constant]:
    """Return the values with the change made, or made by a little less or more."""
    slot = change.slot
    value = change.new + by
    if not (slot.type is Type.NUMBER or slot.repr == "f"):
        value = int(value)
    return given | {slot: Constant(Kind(slot.type, slot.repr), value)}


def test_the_change_flips_the_decision_over_every_stopped_event(pack: Compiled) -> None:
    """Applied to the event it lets it pass (or takes the match away); one step less does not."""
    stopped = passed = unmatched = 0
    for rule, event_type, given in corpus(pack):
        view = EventView(pack, rule, record(event_type), given)
        found = view.verdict()
        stopped += found.decision != "pass"
        if found.passed is not None:
            passed += 1
            after = EventView(pack, rule, record(event_type), applied(given, found.passed)).verdict()
            assert after.decision == "pass", (rule.id, found.passed)
        if found.unmatched is None:
            continue
        unmatched += 1
        change = found.unmatched
        after = EventView(pack, rule, record(event_type), applied(given, change)).verdict()
        assert after.outcome != "true", (rule.id, change)
        if change.slot.repr == "i" and change.slot.type is not Type.NUMBER:
            back = 1 if change.new < change.old else -1
            less = EventView(pack, rule, record(event_type), applied(given, change, back)).verdict()
            assert less.outcome == "true", (rule.id, change)
    assert stopped > 20
    assert passed > 0.6 * stopped
    assert unmatched > 20


def test_terms_and_rule_agree(pack: Compiled) -> None:
    """A rule whose terms are joined by `and` holds where all of them do."""
    seen = 0
    for rule, event_type, given in corpus(pack):
        text = rule.when.checked.text if rule.when is not None else " or "
        if rule.conditions or " or " in text or "not " in text or "(" in text:
            continue
        found = EventView(pack, rule, record(event_type), given).verdict()
        if found.applies and found.terms:
            seen += 1
            assert (found.outcome == "true") == all(item.outcome == "true" for item in found.terms)
    assert seen
