"""Rules over stored features decide like the full replay of the log."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.backtests import candidate_of, replayed, run_stored, write_log
from support.logs import rough_log, small_model
from support.reference_rules import write_profiles, write_reference_rules
from support.worker_rules import write_rules

from fraudstream.models.file import load_model
from fraudstream.models.inputs import Input
from fraudstream.models.linear import dump_model
from fraudstream.stream.backtest import layout
from fraudstream.stream.backtest.build import Source
from fraudstream.stream.backtest.layout import Kind
from fraudstream.stream.backtest.limits import limited_rows
from fraudstream.stream.backtest.reader import words_of
from fraudstream.stream.errors import Refusal
from fraudstream.stream.shipped import shipped_rules


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A rough log with duplicates, disorder and unreadable records, in a file."""
    return tmp_path_factory.mktemp("backtest")


@pytest.fixture(scope="module")
def source(site) -> Source:
    """The log."""
    return write_log(site / "log.envelopes", rough_log(15_000))


@pytest.mark.parametrize("model", ["none", "small"])
def test_stored_rows_decide_like_the_replay(site, source, model):
    """Decision and score of every record, matches and unknown of every rule."""
    candidate = candidate_of(shipped_rules(), "none")
    if model == "small":
        candidate = replace(candidate, model=small_model(1.0))
    expected = replayed(candidate, rough_log(15_000))
    log, matched, decider = run_stored(site / model, source, candidate)
    assert log.rows == len(rough_log(15_000))
    decisions = decider.decide()
    rows = log.runs.rows_of(np.zeros(len(expected.offset), np.int64), expected.offset)
    assert (rows >= 0).all()
    first = rows.copy()
    repeats = ~expected.decided
    first[repeats] = log.numbers(layout.DUPLICATE_OF, rows)[repeats]
    assert np.array_equal(decisions.of(first), expected.decision)
    assert len(set(expected.decision.tolist())) == 3
    plain = ~np.isin(first, decisions.row)
    micro = log.numbers(layout.SCORE, rows)
    place = np.searchsorted(decisions.row, first[~plain])
    assert np.array_equal(decisions.score[place], expected.score[~plain])
    assert (expected.score[plain & (micro < 0) & expected.decided] == 0).all()
    for rule, found in matched.items():
        assert len(found.full) == expected.true[rule], rule
        assert found.unknown == expected.unknown[rule], rule
        assert found.evaluated == expected.evaluated[rule], rule
    assert sum(expected.true.values()) > 100
    kinds = np.concatenate(
        [
            words_of(table.column(layout.KIND), group.rows)[0]
            for group, table in log.tables([layout.KIND], log.groups)
        ]
    )
    assert (kinds == Kind.UNREADABLE).sum() == len(rough_log(15_000)) - len(expected.offset)
    assert (kinds == Kind.DUPLICATE).sum() == repeats.sum()


ODD_FEATURES = """\
  account.last_payee: {agg: last, of: counterparty.id, key: account.id, current: exclude}
  account.last_place: {agg: last, of: [event.time, txn.geo, txn.country], key: account.id, current: exclude}
  account.mean_24h: {agg: mean, of: txn.amount, key: account.id, window: 24h, current: exclude}
  pair.first: {agg: first, of: event.time, key: [account.id, counterparty.id]}
"""
ODD_RULES = """\
apiVersion: fraudstream/v1
kind: RuleSet
defaults: {owner: tests@bank.example, timezone: Asia/Shanghai}
rules:
- id: odd.same_payee
  title: t
  on: [payment]
  severity: low
  when: counterparty.id == account.last_payee
  mode: {state: shadow}
- id: odd.text
  title: t
  on: [payment]
  severity: low
  when: starts_with(counterparty.id, "62") and lower(counterparty.id) != "x" and length(counterparty.id) > 3
  mode: {state: shadow}
- id: odd.far
  title: t
  on: [payment, card_auth]
  severity: low
  when: distance_km(txn.geo, account.last_place.geo) > 20
  mode: {state: shadow}
- id: odd.abroad
  title: t
  on: [payment, card_auth]
  severity: low
  when: txn.country != account.last_place.country and hour_in(event.time, 22, 12)
  mode: {state: shadow}
- id: odd.young
  title: t
  on: [payment, card_auth]
  severity: low
  when: minutes_between(pair.first, event.time) between 5 and 100000
  mode: {state: shadow}
- id: odd.bands
  title: t
  on: [payment, card_auth]
  severity: medium
  when: txn.amount > 0.5 * account.mean_24h
  typology: velocity
  score: [{when: txn.amount >= 500, score: 60}, {when: txn.amount >= 0, score: 20}]
  exceptions:
  - {when: 'ends_with(account.id, "7")', owner: tests@bank.example, until: 2030-01-01}
  tests:
  - {name: a, given: {txn.amount: 600, account.mean_24h: 100}, expect: {match: true}}
  - {name: b, given: {txn.amount: 1, account.mean_24h: 100}, expect: {match: false}}
- id: odd.canary
  title: t
  on: [payment, card_auth]
  severity: high
  when: txn.amount > 300
  action: alert
  score: 70
  mode: {state: canary, percent: 40, by: account.id}
  reason: {en: "much"}
  tests:
  - {name: a, given: {txn.amount: 600}, expect: {match: true}}
  - {name: b, given: {txn.amount: 1}, expect: {match: false}}
- id: odd.limited
  title: t
  on: [card_auth]
  severity: high
  when: txn.amount > 40
  action: block
  score: 50
  limits: {share: 70%, per: 12h, min_count: 20}
  suppress: {by: account.id, for: 1h}
  reason: {en: "above forty"}
  tests:
  - {name: a, given: {txn.amount: 600}, expect: {match: true}}
  - {name: b, given: {txn.amount: 1}, expect: {match: false}}
- id: odd.sequence
  title: t
  on: [payment, card_auth]
  severity: low
  sequence:
    by: account.id
    within: 6h
    steps:
    - {as: first, on: login}
    - {as: second, on: [payment, card_auth], when: txn.amount > 1}
  mode: {state: shadow}
- id: odd.model
  title: t
  on: [payment, card_auth]
  severity: low
  when: model.score > 0.4
  score: 33
  tests:
  - {name: a, given: {model.score: 0.5}, expect: {match: true}}
  - {name: b, given: {model.score: 0.1}, expect: {match: false}}
"""


@pytest.fixture(scope="module")
def odd(site) -> Path:
    """A rules directory with a value of every kind: texts, places, tables, canaries, bands, exceptions."""
    directory = write_reference_rules(site / "odd")
    features = directory / "features.yaml"
    features.write_text(features.read_text() + ODD_FEATURES)
    (directory / "rulesets" / "odd.yaml").write_text(ODD_RULES)
    return directory


def test_values_of_every_kind_come_back(site, odd, source, monkeypatch):
    """Texts, ids that features repeat, places, reference tables, canaries, bands; row groups of any size."""
    monkeypatch.setattr(layout, "ROW_GROUP_ROWS", 4_096)
    monkeypatch.setattr(layout, "PART_ROWS", 8_192)
    accounts = {value.decode() for value in _accounts()}
    write_profiles(odd, {name: ("high" if name[-1] in "0369" else "low", "100") for name in accounts})
    inputs = [Input("txn.amount", "log1p"), Input("account.count_1h")]
    model = load_model(dump_model(["payment"], inputs, [9.0, 1.0], [4.0, 2.0], [0.9, 1.5], 0.0, {}))
    candidate = replace(candidate_of(odd, "none"), model=model)
    expected = replayed(candidate, rough_log(15_000))
    log, matched, decider = run_stored(site / "odd-kept", source, candidate)
    assert len(log.manifest.parts) > 1
    assert len(log.groups) > 3
    for rule, found in matched.items():
        assert len(found.full) == expected.true[rule], rule
        assert found.unknown == expected.unknown[rule], rule
    idle = [rule for rule in matched if not expected.true[rule]]
    assert idle == []
    held = limited_rows(log, candidate.bundle, candidate.compiled.rules)["odd.limited"]
    assert 0 < len(held) == expected.limited["odd.limited"] < len(matched["odd.limited"].full)
    rows = log.runs.rows_of(np.zeros(len(expected.offset), np.int64), expected.offset)
    decided = expected.decided
    assert np.array_equal(decider.decide().of(rows[decided]), expected.decision[decided])


def test_a_rule_may_read_columns_of_tables_that_the_first_did_not(site, odd, source):
    """A feature log has every column of the tables that have content."""
    write_profiles(odd, {value.decode(): ("high", "100") for value in _accounts()})
    first, _, _ = run_stored(site / "odd-kept", source, candidate_of(odd, "none"))
    rules = odd / "rulesets" / "reference.yaml"
    before = rules.read_text()
    rules.write_text(before.replace('profile.band == "high" and', 'profile.city == "Chengdu" and'))
    candidate = candidate_of(odd, "none")
    second, matched, _ = run_stored(site / "odd-kept", source, candidate)
    rules.write_text(before)
    assert second.directory == first.directory
    expected = replayed(candidate, rough_log(15_000))
    assert len(matched["ref.band"].full) == expected.true["ref.band"] > 0


def test_several_partitions_are_kept_apart(site, odd, tmp_path):
    """Rows of two partitions in one file; features that would see a share of the events are refused."""
    log = rough_log(15_000)
    parts = [replace(log.part(0, 1_000), partition=0), replace(log.part(1_000, 2_500), partition=3)]
    for number, part in enumerate(parts):
        write_log(tmp_path / str(number), part)
    both = tmp_path / "both"
    both.write_bytes(b"".join((tmp_path / str(number)).read_bytes() for number in range(2)))
    candidate = candidate_of(write_rules(tmp_path / "rules", 4), "none")
    stored, _, decider = run_stored(tmp_path / "kept", Source(both, "envelope"), candidate)
    decisions = decider.decide()
    for part in parts:
        expected = replayed(candidate, part)
        rows = stored.runs.rows_of(np.full(len(expected.offset), part.partition), expected.offset)
        decided = expected.decided
        assert np.array_equal(decisions.of(rows[decided]), expected.decision[decided])
        partition, offset = stored.runs.sources_of(rows)
        assert set(partition.tolist()) == {part.partition}
        assert np.array_equal(offset, expected.offset)
    with pytest.raises(Refusal, match="see only one partition's share"):
        run_stored(tmp_path / "kept", Source(both, "envelope"), candidate_of(shipped_rules(), "none"))


def _accounts() -> set[bytes]:
    log = rough_log(15_000)
    found = set()
    for row in range(len(log)):
        value = log.value(row)
        if value is not None and (match := re.search(rb'"account_id":"(\d+)"', value)):
            found.add(match[1])
    return found
