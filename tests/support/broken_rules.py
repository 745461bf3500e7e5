"""Mistakes in rule files, one at a time, and what an operator reads about each.

``tests/golden/rule_messages.txt`` holds the expected text; write it anew after a change of messages::

    PYTHONPATH=tests python -m support.broken_rules > tests/golden/rule_messages.txt
"""

# ruff: noqa: E501 (a mistake a line)
from __future__ import annotations

import sys

from support.sample_rules import changed, sample_files

from fraudstream.rules.compiler.compile import compile_sources
from fraudstream.rules.compiler.source import render_all

CARD, PAYMENT = "rulesets/card.yaml", "rulesets/payment.yaml"
SCHEMA, FEATURES, LISTS, TYPOLOGIES = "schema.yaml", "features.yaml", "lists.yaml", "typologies.yaml"
REFERENCE, PROFILE = "reference.yaml", "rulesets/profile.yaml"
BURST = "  conditions: {burst: card.small_auths_10m >= params.n}\n"
WHEN = "when: burst and card.declines_10m >= 2"
CHARITY_WHEN = "when: merchant.mcc in lists.charity_mcc"
DECLINES = "{agg: count, key: card.id, window: 10m, where: 'txn.status == \"declined\"'}"
CUSTOMERS = "{agg: distinct, of: customer.id, key: device.id, window: 24h, max: 50}"
POINTS = "{agg: max, of: risk.points, key: account.id, window: 1h}"
IDLE = "{agg: since_last, key: account.id}"
NO_DECLINES = "given: {card.small_auths_10m: 9, card.declines_10m: 0}"
LAST_EVENT = 'event: {event_type: card_auth, card_id: c1, amount: "1.20"}'

MISTAKES: tuple[tuple[str, str, str, str], ...] = (
    # YAML
    ("a tab", CARD, "  severity: high\n", "\tseverity: high\n"),
    ("an anchor", CARD, "  severity: high\n", "  severity: &s high\n"),
    ("an alias", CARD, "  severity: high\n", "  severity: *s\n"),
    ("a merge key", CARD, "  severity: high\n", "  <<: {severity: high}\n"),
    ("a tag", CARD, "  severity: high\n", "  severity: !!str high\n"),
    ("a key twice", CARD, "  severity: high\n", "  severity: high\n  severity: low\n"),
    ("two documents", LISTS, "lists:\n", "---\nlists:\n"),
    ("an unclosed brace", CARD, "{n: {value: 4, min: 2, max: 20}}", "{n: {value: 4, min: 2, max: 20}"),
    ("an unclosed quote", CARD, '    zh: "10', '    xx: "\n    zh: "10'),
    ("an invisible character", CARD, "Many tiny", "Many\u202e tiny"),
    ("list in an unquoted flow expression", FEATURES, DECLINES, "{agg: count, key: card.id, where: a in [1]}"),
    ("quote first in a flow expression", FEATURES, DECLINES, '{agg: count, key: card.id, where: "x" == txn.status}'),
    ("comma in an unquoted flow expression", CARD, BURST, "  conditions: {burst: min(card.declines_10m, 2) > 1}\n"),
    ("text that begins with a brace", CARD, '    en: "{card.small_auths_10m}', "    en: {card.small_auths_10m}"),
    # Keys
    ("an unknown key", CARD, "  severity: high\n", "  severty: high\n"),
    ("a key of a later version", TYPOLOGIES, "  language: en\n", "  language: en\n  control_group: 200\n"),
    ("a missing key", CARD, "  severity: high\n", ""),
    ("a wrong kind", LISTS, "kind: Lists", "kind: RuleSet"),
    ("a misspelt kind", LISTS, "kind: Lists", "kind: List"),
    ("a wrong version", LISTS, "fraudstream/v1", "fraudstream/v2"),
    ("an unknown choice", CARD, "  severity: high\n", "  severity: hihg\n"),
    ("a number out of range", CARD, "score: 60\n  priority", "score: 160\n  priority"),
    ("a score band without a score", CARD, "score: 60\n  priority", "score: [{when: burst}]\n  priority"),
    ("an empty list of bands", CARD, "score: 60\n  priority", "score: []\n  priority"),
    ("an unknown name in a band", CARD, "score: 60\n  priority", "score: [{when: bursts, score: 20}]\n  priority"),
    ("an exception without an end", CARD, "  action: block\n  score", "  exceptions: [{when: burst, owner: o@bank.example}]\n  action: block\n  score"),
    ("an exception that is no condition", CARD, "  action: block\n  score", "  exceptions: [{when: card.declines_10m, owner: o@bank.example, until: 2026-09-01}]\n  action: block\n  score"),
    ("an exception's bad end", CARD, "  action: block\n  score", "  exceptions: [{when: burst, owner: o@bank.example, until: next week}]\n  action: block\n  score"),
    ("a canary without a key", PAYMENT, "mode: {state: shadow}", "mode: {state: canary, percent: 5}"),
    ("a canary by a number", PAYMENT, "mode: {state: shadow}", "mode: {state: canary, percent: 5, by: txn.amount}"),
    ("a canary by a misspelt field", PAYMENT, "mode: {state: shadow}", "mode: {state: canary, percent: 5, by: acount.id}"),
    ("a canary of nothing", PAYMENT, "mode: {state: shadow}", "mode: {state: canary, percent: 0, by: account.id}"),
    ("a share without a canary", PAYMENT, "mode: {state: shadow}", "mode: {state: shadow, percent: 5}"),
    ("a canary without a negative test", PAYMENT, "mode: {state: shadow}", "mode: {state: canary, percent: 5, by: account.id}"),
    # Schema
    ("an unknown type", SCHEMA, "type: country}", "type: contry}"),
    ("a default outside the enum", SCHEMA, "default: out}", "default: outwards}"),
    ("a constant of the wrong type", SCHEMA, "{const: ICBC, type: category}", "{const: ICBC, type: integer}"),
    ("money without currency", SCHEMA, "currency: txn.currency, signed: true}", "signed: true}"),
    ("an unknown currency field", SCHEMA, "currency: txn.currency, signed", "currency: curency, signed"),
    ("a path through a value", SCHEMA, "{path: device.id, type: id}", "{path: device, type: id}"),
    ("a required field with a default", SCHEMA, "default: payment}", "default: payment, required: true}"),
    ("an unknown event type in required_for", SCHEMA, "required_for: [payment, card_auth]}\n  txn.amount:", "required_for: [paymnt]}\n  txn.amount:"),
    ("an option of another type", SCHEMA, "{path: country, type: country}", "{path: country, type: country, signed: true}"),
    ("no event time", SCHEMA, "  event.time:      {", "  event.tme:       {"),
    ("a bad partition key", SCHEMA, "partition_key: account.id", "partition_key: acount.id"),
    ("a bad base currency", SCHEMA, "base_currency: CNY", "base_currency: RMB"),
    ("a reserved name", SCHEMA, "  risk.points: ", "  model.points:"),
    # Features
    ("panes that do not divide a day", FEATURES, DECLINES, "{agg: count, key: card.id, window: 7d, resolution: 7h}"),
    ("panes longer than the window", FEATURES, DECLINES, "{agg: count, key: card.id, window: 30m, resolution: 1h}"),
    ("panes that are no duration", FEATURES, DECLINES, "{agg: count, key: card.id, window: 7d, resolution: daily}"),
    ("no window", FEATURES, DECLINES, "{agg: count, key: card.id}"),
    ("a bad window", FEATURES, DECLINES, "{agg: count, key: card.id, window: 10 minutes}"),
    ("too long a window", FEATURES, DECLINES, "{agg: count, key: card.id, window: 500d, resolution: exact}"),
    ("count of something", FEATURES, DECLINES, "{agg: count, of: txn.amount, key: card.id, window: 10m}"),
    ("a sum of ids", FEATURES, DECLINES, "{agg: sum, of: card.id, key: account.id, window: 10m}"),
    ("a sum of own currencies", FEATURES, DECLINES, "{agg: sum, of: txn.amount_original, key: card.id, window: 1h}"),
    ("distinct without max", FEATURES, CUSTOMERS, "{agg: distinct, of: customer.id, key: device.id, window: 24h}"),
    ("an unknown key field", FEATURES, DECLINES, "{agg: count, key: card, window: 10m}"),
    ("a key of a place", FEATURES, DECLINES, "{agg: count, key: txn.geo, window: 10m}"),
    ("since with current", FEATURES, IDLE, "{agg: since_last, key: account.id, current: include}"),
    ("ewma without a half-life", FEATURES, IDLE, "{agg: ewma, of: txn.amount, key: account.id}"),
    ("a half-life of a sum", FEATURES, IDLE, "{agg: sum, of: txn.amount, key: account.id, window: 1h, half_life: 1h}"),
    ("ewma with a window", FEATURES, IDLE, "{agg: ewma, of: txn.amount, key: account.id, half_life: 1h, window: 1h}"),
    ("a feature in where", FEATURES, DECLINES, "{agg: count, key: card.id, window: 10m, where: account.idle > 1h}"),
    ("a name taken by a field", FEATURES, "  account.idle:  ", "  account.opened:"),
    ("dedup below lateness", FEATURES, "dedup: 24h", "dedup: 10m"),
    ("an aggregate that is no family's", FEATURES, "agg: [count, sum, max]", "agg: [count, last]"),
    # Lists and typologies
    ("a country that is none", LISTS, "items: [NO, KP, IR]", "items: [NO, Norway, IR]"),
    ("an item twice", LISTS, "items: [NO, KP, IR]", "items: [NO, KP, NO]"),
    ("a rate of zero", LISTS, 'USD: "7.1034"', "USD: 0"),
    ("a rate of no currency", LISTS, 'USD: "7.1034"', 'UDS: "7.1034"'),
    ("a bad end", LISTS, "until: 2027-01-31", "until: 31.01.2027"),
    ("an unknown combination", TYPOLOGIES, "combine: max", "combine: nosy_or"),
    ("thresholds in the wrong order", TYPOLOGIES, "alert_at: 50, block_at: 60", "alert_at: 60, block_at: 50"),
    ("bands in the wrong order", TYPOLOGIES, "at: 0.9,", "at: 0.98,"),
    ("an unknown zone", TYPOLOGIES, "Asia/Shanghai", "Asia/Shangai"),
    # Rules
    ("an unknown name", CARD, WHEN, "when: burst and card.decline_10m >= 2"),
    ("an unknown list", PAYMENT, CHARITY_WHEN, "when: merchant.mcc in lists.charity"),
    ("an unknown param", CARD, BURST, "  conditions: {burst: card.small_auths_10m >= params.m}\n"),
    ("a number where a condition belongs", CARD, WHEN, "when: burst and card.declines_10m"),
    ("a chained comparison", CARD, WHEN, "when: burst and 2 <= card.declines_10m <= 9"),
    ("unlike units", CARD, WHEN, "when: burst and card.declines_10m > 10m"),
    ("a bad enum text", CARD, WHEN, 'when: burst and txn.channel == "mobil"'),
    ("an error in a literal block", CARD, "and account.last_pos.country not in", "and acount.last_pos.country not in"),
    ("an error in a folded text", PAYMENT, "txn.amount > params.times *", "txn.amuont > params.times *"),
    ("conditions in a circle", CARD, BURST, "  conditions: {burst: other and params.n > 1, other: burst}\n"),
    ("a param below its minimum", CARD, "{value: 4, min: 2, max: 20}", "{value: 1, min: 2, max: 20}"),
    ("a bound of another unit", PAYMENT, "min: 100 CNY, max: 20000", "min: 100 CNY, max: 10m"),
    ("segments without a field", CARD, "{value: 4, min: 2, max: 20}", "{value: 4, min: 2, max: 20, by_segment: {web: 5}}"),
    ("a segment's field that is none", TYPOLOGIES, "  language: en\n", "  language: en\n  segment: account.segment\n"),
    ("a segment's field of another type", TYPOLOGIES, "  language: en\n", "  language: en\n  segment: txn.amount\n"),
    ("neither when nor table", CARD, "  " + WHEN + "\n", ""),
    ("when and table", CARD, WHEN, WHEN + "\n  table: [{card.declines_10m: 2}]"),
    ("a table's unknown column", CARD, WHEN, "table: [{card.declins_10m: '>= 2'}]"),
    ("a cell of another type", CARD, WHEN, "table: [{txn.channel: pos, card.declines_10m: '>= 2m'}]"),
    ("a cell's unknown value", CARD, WHEN, "table: [{txn.channel: poz, card.declines_10m: '>= 2'}]"),
    ("rows with other columns", CARD, WHEN, "table: [{txn.channel: pos, card.declines_10m: '>= 2'}, {txn.channel: atm, txn.amount: 1}]"),
    ("a cell of two comparisons", CARD, WHEN, "table: [{card.declines_10m: '>= 2 or burst'}]"),
    ("a row for everything", CARD, WHEN, "table: [{txn.channel: '-'}]"),
    ("a table without rows", CARD, WHEN, "table: []"),
    ("an unknown event type", CARD, "  on: [card_auth]\n", "  on: [card_auht]\n"),
    ("an unknown typology", CARD, "  typology: card_testing\n", "  typology: card_tests\n"),
    ("an empty interval", CARD, "until: 2026-12-31}", "until: 2025-12-31}"),
    ("a protected alert", PAYMENT, "  action: alert\n", "  action: alert\n  override: never\n"),
    ("no reason", PAYMENT, "  reason: {en: known charity, zh: 慈善机构}\n", ""),
    ("no reason in the policy's language", PAYMENT, "{en: known charity, zh: 慈善机构}", "{zh: 慈善机构}"),
    ("unlike placeholders", CARD, "笔小额授权、{card.declines_10m}笔被拒", "笔小额授权"),
    ("an unknown placeholder", CARD, "远离{account.last_pos.country}", "远离{account.last_pos.contry}"),
    ("a reserved id", PAYMENT, "- id: pay.charity", "- id: model.charity"),
    ("an id twice", PAYMENT, "- id: pay.charity", "- id: card.far_away"),
    ("an id of the past", PAYMENT, "- id: pay.charity", "- id: card.small"),
    ("no test that does not match", PAYMENT, "  - {name: other, given: {merchant.mcc: 5411}, expect: {match: false}}\n", ""),
    # Tests of rules
    ("an unknown name in a test", CARD, NO_DECLINES, "given: {card.small_auth_10m: 9, card.declines_10m: 0}"),
    ("a value of the wrong type in a test", CARD, NO_DECLINES, "given: {card.small_auths_10m: many}"),
    ("an unknown member in a test", CARD, LAST_EVENT, 'event: {event_type: card_auth, card: c1, amount: "1.20"}'),
    ("a bad amount in a test", CARD, LAST_EVENT, 'event: {event_type: card_auth, card_id: c1, amount: "1,20"}'),
    ("an event after the last", CARD, "{at: -9m,", "{at: 9m,"),
    ("given and event", CARD, LAST_EVENT, LAST_EVENT + "\n    given: {card.declines_10m: 1}"),
    # Reference tables
    ("a table's key that is no field", REFERENCE, "key: counterparty.id", "key: counterparty.name"),
    ("a table's key of another type", REFERENCE, "key: counterparty.id", "key: txn.amount"),
    ("a table of two words", REFERENCE, "  watch_list:\n", "  watch.list:\n"),
    ("a table with a word of the language", REFERENCE, "  watch_list:\n", "  lists:\n"),
    ("a feature named like a column", FEATURES, "  account.idle: ", "  watch_list.reason: "),
    ("a column named like a field", REFERENCE, "  watch_list:\n", "  device:\n    columns: {trusted: {type: bool}}\n    key: device.id\n    source: {file: d.csv}\n  watch_list:\n"),
    ("a column of every table", REFERENCE, "      listed: {type: bool}", "      found: {type: bool}"),
    ("a column's unknown type", REFERENCE, "{type: date, class: public}", "{type: datum, class: public}"),
    ("values of no enum", REFERENCE, "      listed: {type: bool}", "      listed: {type: bool, values: [a]}"),
    ("an enum without values", REFERENCE, "{type: enum, values: [low, medium, high]}", "{type: enum}"),
    ("a geo column of one part", REFERENCE, "from: [lat, lon]", "from: lat"),
    ("two names for one column", REFERENCE, "from: yearly_income", "from: [income, yearly_income]"),
    ("a file of another kind", REFERENCE, "data/customers.parquet", "data/customers.xlsx"),
    ("two sources", REFERENCE, "{topic: bank.watch-list, refresh: 30s}", "{topic: bank.watch-list, file: w.csv}"),
    ("no source", REFERENCE, "{topic: bank.watch-list, refresh: 30s}", "{refresh: 30s}"),
    ("a topic's bad name", REFERENCE, "topic: bank.watch-list", "topic: bank/watch-list"),
    ("a stale time in words", REFERENCE, "stale_after: 7d", "stale_after: a week"),
    ("stale without a time", REFERENCE, "    stale_after: 7d\n", ""),
    ("an unknown class", REFERENCE, "class: personal", "class: private"),
    ("an unknown key of a table", REFERENCE, "    stale_after: 7d\n", "    stale_after: 7d\n    ttl: 7d\n"),
    ("a misspelt column", PROFILE, "when: watch_list.listed and", "when: watch_list.lsited and"),
    ("a column compared with another type", PROFILE, "not watch_list.stale and", "customer_profile.income > 10m and"),
    ("a table that nothing reads", PROFILE, 'and customer_profile.band in ["medium", "high"]', 'and txn.channel == "pos"'),
    ("a sequence of one step", CARD, WHEN, "sequence: {by: card.id, within: 10m, steps: [{when: burst}]}"),
    ("a sequence without a key", CARD, WHEN, "sequence: {within: 10m, steps: [{on: payment}, {}]}"),
    ("a sequence by a place", CARD, WHEN, "sequence: {by: txn.geo, within: 10m, steps: [{on: payment}, {}]}"),
    ("a sequence by nothing known", CARD, WHEN, "sequence: {by: card, within: 10m, steps: [{on: payment}, {}]}"),
    ("a sequence's unknown event type", CARD, WHEN, "sequence: {by: card.id, within: 10m, steps: [{on: paymnt}, {}]}"),
    ("a step that reads a window", CARD, WHEN, "sequence: {by: card.id, within: 10m, steps: [{on: payment, when: card.declines_10m > 1}, {}]}"),
    ("a last step on other events", CARD, WHEN, "sequence: {by: card.id, within: 10m, steps: [{on: payment}, {on: login}]}"),
    ("two steps with one name", CARD, WHEN, "sequence: {by: card.id, within: 10m, steps: [{as: a, on: payment}, {as: a}]}"),
    ("an unless without anything", CARD, WHEN, "sequence: {by: card.id, within: 10m, steps: [{on: payment}, {}], unless: {}}"),
    ("a sequence without an end", CARD, WHEN, "sequence: {by: card.id, steps: [{on: payment}, {}]}"),
    ("a sequence beside a condition", CARD, WHEN, "when: burst\n  sequence: {by: card.id, within: 10m, steps: [{on: payment}, {}]}"),
    ("a param that only a step's typo reads", CARD, WHEN, "sequence: {by: card.id, within: 10m, steps: [{on: payment}, {when: bursts}]}"),
    ("a limit of an alert", CARD, '  reason: {en: "far from', '  limits: {share: 1%, per: 10m}\n  reason: {en: "far from'),
    ("a limit of a block for ever", CARD, "  action: block\n  score", "  action: block\n  override: never\n  limits: {share: 1%, per: 10m}\n  score"),
    ("a limit without a percent sign", CARD, "  action: block\n  score", "  action: block\n  limits: {share: 0.01, per: 10m}\n  score"),
    ("a limit over nothing", CARD, "  action: block\n  score", "  action: block\n  limits: {share: 1%}\n  score"),
    ("a limit over a month", CARD, "  action: block\n  score", "  action: block\n  limits: {share: 1%, per: 30d}\n  score"),
    ("a suppression of no alert", PAYMENT, "  score: 10\n", "  score: 10\n  suppress: {by: account.id, for: 1h}\n"),
    ("a suppression by a typo", CARD, "  action: block\n  score", "  action: block\n  suppress: {by: [crad.id], for: 1h}\n  score"),
    ("a suppression by an amount", CARD, "  action: block\n  score", "  action: block\n  suppress: {by: txn.amount, for: 1h}\n  score"),
    ("a suppression without a time", CARD, "  action: block\n  score", "  action: block\n  suppress: {by: card.id}\n  score"),
    # Warnings
    ("no owner", CARD, "{owner: cards@bank.example, timezone: Asia/Shanghai}", "{timezone: Asia/Shanghai}"),
    ("an unused list", CARD, "and account.last_pos.country not in lists.risky", "and account.last_pos.country is not missing"),
    ("an unused param", CARD, BURST, "  conditions: {burst: card.small_auths_10m >= 4}\n"),
    ("an unused condition", CARD, WHEN, "when: card.small_auths_10m >= params.n and card.declines_10m >= 2"),
    ("an unused feature", PAYMENT, " or account.points_1h > 3.5", ""),
    ("an unused family", FEATURES, "families:\n", "families:\n  account.spare: {agg: [count, sum], of: txn.amount, key: account.id, window: [10m, 1h]}\n"),
    ("a contradiction", CARD, WHEN, "when: burst and card.declines_10m >= 2 and card.declines_10m < 2"),
    ("a contradiction with a param", CARD, WHEN, "when: burst and card.declines_10m >= 2 and card.small_auths_10m < 3"),
    ("always true", CARD, WHEN, "when: burst and (card.declines_10m >= 2 or card.declines_10m < 5)"),
    ("more than can be counted", PAYMENT, "device.customers_24h > 3", "device.customers_24h > 60"),
    ("two channels at once", CARD, WHEN, 'when: burst and card.declines_10m >= 2 and txn.channel == "pos" and txn.channel == "atm"'),
    ("a percentage", PAYMENT, "params.times * account.amount_mean_7d\n", "params.times * account.amount_mean_7d or ratio(txn.amount, account.amount_mean_7d) > 150\n"),
    ("a budget of no alerts", "typologies.yaml", "policy:\n", "policy:\n  alert_budget: 0\n"),
    ("a bait for structuring", PAYMENT, "txn.amount > params.floor and", "txn.amount >= 9990 and txn.amount > params.floor and"),
    ("a bait in a param", PAYMENT, "value: 1000 CNY", "value: 4950 CNY"),
    ("a bait between", PAYMENT, "txn.amount > params.floor and", "not (txn.amount < 1000 or not txn.amount between 19900 and 30000) and txn.amount > params.floor and"),
    ("one key fills the state", FEATURES, "max_events_per_key: 5000}", "max_events_per_key: 5000, max_state_bytes: 1200000}"),
    ("equality of computed numbers", PAYMENT, "model.score > 0.5", "model.score == 0.5"),
    ("a baseline with the event itself", FEATURES, "window: 7d, current: exclude,", "window: 7d,"),
    ("an exception before the rule", CARD, "  action: block\n  score", "  exceptions: [{when: burst, owner: o@bank.example, until: 2025-09-01}]\n  action: block\n  score"),
    ("a gap between bands", CARD, "score: 60\n  priority", "score: [{when: card.declines_10m > 5, score: 60}, {when: card.declines_10m < 4, score: 30}]\n  priority"),
    ("bands that overlap", CARD, "score: 60\n  priority", "score: [{when: card.declines_10m between 5 and 9, score: 60}, {when: card.declines_10m between 2 and 6, score: 30}, {when: card.declines_10m > 9, score: 90}]\n  priority"),
    ("a band that never counts", CARD, "score: 60\n  priority", "score: [{when: card.declines_10m >= 2, score: 60}, {when: card.declines_10m > 5, score: 90}]\n  priority"),
    ("a row within another", CARD, WHEN, "table: [{burst: true, txn.channel: '-'}, {burst: true, txn.channel: pos}]"),
    ("a rule twice", PAYMENT, "device.customers_24h > 3 or (pair.first_seen is missing and account.idle > 90d) or account.points_1h > 3.5\n  mode: {state: draft}", "merchant.mcc in lists.charity_mcc\n  mode: {state: shadow}"),
    ("a rule inside another", PAYMENT, "device.customers_24h > 3 or (pair.first_seen is missing and account.idle > 90d) or account.points_1h > 3.5\n  mode: {state: draft}", "model.score > 0.5 and account.velocity_count_out_24h >= 1 and device.trusted and account.idle > 90d\n  mode: {state: shadow}"),
    ("a rule without effect", PAYMENT, "  score: 10\n  mode: {state: shadow}\n", ""),
    ("a value that the rule does not read", CARD, NO_DECLINES, "given: {card.small_auths_10m: 9, card.declines_10m: 0, txn.amount: 5}"),
)  # fmt: skip


def messages() -> str:
    """Return what compiling says about every mistake."""
    out = []
    for title, path, old, new in MISTAKES:
        files = changed(path, old, new)
        out.append(f"# {title}\n{render_all(compile_sources(files).diagnostics, files, 'rules/')}\n")
    files = sample_files() | {LISTS: b"apiVersion: fraudstream/v1\nkind: Lists\nlists: {x: \xff}\n"}
    out.append(f"# not UTF-8\n{render_all(compile_sources(files).diagnostics, files, 'rules/')}\n")
    files = sample_files()
    del files[SCHEMA]
    files["ruleset/card.yaml"] = files.pop(CARD)
    out.append(
        f"# files missing and astray\n{render_all(compile_sources(files).diagnostics, files, 'rules/')}\n"
    )
    return "\n".join(out)


if __name__ == "__main__":
    sys.stdout.write(messages())
