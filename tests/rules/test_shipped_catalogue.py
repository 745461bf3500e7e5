"""The patterns that fraud teams ask for: each has its rule, each rule its tests, as the docs say."""

from __future__ import annotations

import json
import re

import pytest
from support.worker import ROOT

from fraudstream.rules.bundle import Action, Mode, Source
from fraudstream.rules.compiler.compile import Compiled, compile_sources, read_directory
from fraudstream.rules.compiler.ruleset import DeclaredRule
from fraudstream.stream.rule_tests import make_history_runner

PAGE = ROOT / "docs/guide/shipped-rules.md"
EVENTS = ("step_up", "outcome", "card_auth")
GRAPH = {10, 12}
"""Patterns that no rule without a graph of accounts can say."""
CATALOGUE: dict[int, tuple[str, ...]] = {
    1: ("card.velocity.auths_10m",),
    2: ("account.velocity.all_channels_24h",),
    3: ("takeover.failed_logins_payment",),
    4: ("aml.structuring.same_day",),
    5: ("aml.structuring.branches",),
    6: ("aml.smurfing.cash_senders",),
    7: ("mule.pass_through",),
    8: ("mule.fan_in_new_account",),
    9: ("account.velocity.new_payees_1h",),
    11: ("takeover.shared_device",),
    13: ("card.copied.impossible_travel",),
    14: ("card.copied.app_at_home",),
    15: ("card.copied.new_country_large",),
    16: ("account.dormant.reactivated",),
    17: ("payee.new.above_habit",),
    18: ("payee.new.instant_at_night",),
    19: ("card.testing.small_auths",),
    20: ("card.velocity.ip_cards_10m",),
    21: ("merchant.bin_attack",),
    22: ("takeover.reset_device_payment",),
    23: ("takeover.contact_changed",),
    24: ("takeover.sim_swapped",),
    25: ("takeover.night_device",),
    26: ("takeover.hidden_login_payee",),
    27: ("sanctions.counterparty",),
    28: ("mule.known_account",),
    29: ("merchant.watched", "merchant.minor_gambles"),
    30: ("allow.trusted_payee",),
    31: ("payee.round_sums",),
    32: ("account.repeated_amount",),
    33: ("account.outlier.amount",),
    34: ("card.copied.cash_out_abroad",),
    35: ("account.new.bust_out",),
    36: ("corridor.business_high_risk",),
    37: ("corridor.new_and_suspicious",),
    38: ("merchant.refunds",),
    39: ("card.declined_then_approved",),
    40: ("account.credit.salary_stopped",),
}
USUAL: dict[str, dict[str, str]] = {
    "card.velocity.auths_10m": {"n": "6"},
    "account.velocity.all_channels_24h": {"limit": "10000 CNY"},
    "mule.pass_through": {"senders": "5", "low": "85%", "high": "105%"},
    "mule.fan_in_new_account": {"senders": "5", "days": "30"},
    "takeover.shared_device": {"n": "3"},
    "card.copied.impossible_travel": {"km": "100", "kmh": "900"},
    "payee.new.above_habit": {"floor": "1500 CNY", "times": "4"},
    "card.testing.small_auths": {"declines": "2"},
}
"""The patterns' usual thresholds where the shipped ones differ."""


@pytest.fixture(scope="module")
def pack() -> Compiled:
    """Compile the shipped pack."""
    return compile_sources(read_directory(ROOT / "rules"))


def rules_of(pack: Compiled) -> dict[str, DeclaredRule]:
    """Return the rules of the catalogue by id."""
    known = {rule.id: rule for rule in pack.rules}
    return {name: known[name] for names in CATALOGUE.values() for name in names}


def remembers(rule: DeclaredRule) -> bool:
    """Tell whether a rule depends on earlier events."""
    return any(slot.source is Source.FEATURE for slot in rule.reads)


def test_all_but_the_graph_patterns_are_covered_by_live_rules(pack: Compiled) -> None:
    """Forty patterns, two of them left out on purpose; none of the others is only in shadow."""
    assert set(CATALOGUE) == set(range(1, 41)) - GRAPH
    rules = rules_of(pack)
    assert not [name for name, rule in rules.items() if rule.mode is not Mode.LIVE]
    idle = [name for name, rule in rules.items() if rule.action is Action.NONE and not rule.score]
    assert not idle


def test_the_operators_page_says_the_same() -> None:
    """Number -> ids in the page's table are those of this test."""
    rows = re.findall(r"^\| (\d+) \| [^|]+ \| ([^|]+) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert {int(number): tuple(re.findall("`([^`]+)`", ids)) for number, ids in rows} == CATALOGUE
    assert len(rows) == len(CATALOGUE)


def test_each_rule_is_shown_to_match_and_not_to_match(pack: Compiled) -> None:
    """A test with a match and one without."""
    for name, rule in rules_of(pack).items():
        found = {case.expect.match == "true" for case in rule.cases}
        assert found == {True, False}, name


def test_rules_with_a_memory_are_shown_on_real_histories(pack: Compiled) -> None:
    """Earlier events that make it match, and others that do not, through the windows themselves."""
    rules = {name: rule for name, rule in rules_of(pack).items() if remembers(rule)}
    assert len(rules) > 30
    del rules["corridor.new_and_suspicious"]  # what the model makes of a history is the model's affair
    for name, rule in rules.items():
        histories = [case for case in rule.cases if len(case.records) > 1]
        assert {case.expect.match == "true" for case in histories} == {True, False}, name


def with_usual_thresholds() -> Compiled:
    """Compile the pack with ``USUAL`` in place of the shipped values."""
    sources = read_directory(ROOT / "rules")
    for rule, wanted in USUAL.items():
        for param, value in wanted.items():
            pattern = rf"(- id: {re.escape(rule)}\n(?:(?!- id: ).*\n)*?.*\b{param}: {{value: )[^,}}]+"
            counts = []
            for name, content in sources.items():
                text, count = re.subn(pattern, rf"\g<1>{value}", content.decode(), count=1)
                sources[name] = text.encode()
                counts.append(count)
            assert sum(counts) == 1, (rule, param)
    return compile_sources(sources)


def test_usual_thresholds_lie_within_the_bounds() -> None:
    """An operator may set every pattern's own numbers without touching a condition."""
    changed = with_usual_thresholds()
    assert [item.message for item in changed.diagnostics if item.level == "error"] == []
    rules = {rule.id: rule for rule in changed.rules}
    for name, wanted in USUAL.items():
        assert {param: rules[name].params[param].text for param in wanted} == wanted


@pytest.mark.parametrize(("earlier", "match"), [(4, "false"), (5, "true")])
def test_with_the_usual_threshold_the_sixth_authorisation_matches(earlier: int, match: str) -> None:
    """More than five in ten minutes, through the production core."""
    changed = with_usual_thresholds()
    assert changed.bundle is not None
    begin = 1_768_449_600_000
    records = [
        (
            begin + 60_000 * number,
            json.dumps(
                {
                    "transaction_id": f"t{number}",
                    "event_type": "card_auth",
                    "event_time": begin + 60_000 * number,
                    "account_id": "a1",
                    "card_id": "c1",
                    "amount": "30.00",
                    "currency": "CNY",
                }
            ).encode(),
        )
        for number in range(earlier + 1)
    ]
    outcome = make_history_runner(changed.bundle, None)(records)
    assert outcome.match["card.velocity.auths_10m"] == match


def test_the_page_names_members_that_the_schema_reads(pack: Compiled) -> None:
    """Members that few rules ask for are spelled as in the schema."""
    assert pack.bundle is not None
    text = PAGE.read_text("utf-8").split("## What the feed has to carry")[1]
    members = {
        name
        for row in re.findall(r"^\| ([^|]*`[^|]+) \|", text, re.MULTILINE)
        for name in re.findall(r"`([a-z_]+)(?:: [a-z]+)?`", row)
    } - set(EVENTS)
    paths = {field.path[0] for field in pack.bundle.schema.fields if field.path}
    assert len(members) >= 15
    assert members <= paths, json.dumps(sorted(members - paths))
