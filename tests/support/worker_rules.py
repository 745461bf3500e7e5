"""A small rules directory whose features are all local to an account, in versions that differ."""

from __future__ import annotations

from pathlib import Path

SCHEMA = """\
apiVersion: fraudstream/v1
kind: Schema
base_currency: CNY
partition_key: account.id
fields:
  event.id:        {path: transaction_id, type: id, required: true}
  event.type:
    path: event_type
    type: enum
    values: [payment, card_auth, login, password_reset, device_added, payee_added, profile_change, outcome,
      reversal, label]
    default: payment
  event.time:      {path: event_time, type: time, required: true}
  account.id:      {path: account_id, type: id, from: [string, integer], required: true, class: personal}
  counterparty.id: {path: counterparty_id, type: id, class: personal}
  device.id:       {path: device_id, type: id}
  txn.currency:    {path: currency, type: category, required_for: [payment, card_auth]}
  txn.amount:      {path: amount, type: money, currency: currency, required_for: [payment, card_auth]}
  txn.country:     {path: country, type: country}
  txn.geo:         {path: [lat, lon], type: geo}
"""

FEATURES = """\
apiVersion: fraudstream/v1
kind: Features
time: {allowed_lateness: 1h, max_skew: 60s, dedup: 24h, max_events_per_key: 5000}
features:
  account.count_1h: {agg: count, key: account.id, window: 1h}
  account.sum_24h:  {agg: sum, of: txn.amount, key: account.id, window: 24h}
  account.payees_24h: {agg: distinct, of: counterparty.id, key: account.id, window: 24h, max: 50}
  account.idle:     {agg: since_last, key: account.id}
"""

LISTS = """\
apiVersion: fraudstream/v1
kind: Lists
lists:
  rates: {type: money_rate, items: {USD: "7.1034", EUR: "7.8", HKD: "0.91", JPY: "0.0478"}}
"""

POLICY = """\
apiVersion: fraudstream/v1
kind: Typologies
typologies:
  velocity: {combine: max, alert_at: 40, block_at: 80}
policy: {language: en, timezone: Asia/Shanghai}
"""

RULE_SET = """\
apiVersion: fraudstream/v1
kind: RuleSet
defaults: {owner: tests@bank.example, timezone: Asia/Shanghai}
rules:
  - id: account.many
    title: many events in an hour
    on: [payment, card_auth]
    when: account.count_1h >= $COUNT$
    severity: high
    action: block
    typology: velocity
    score: 60
    reason: {en: "{account.count_1h} events in an hour", zh: "一小时内 {account.count_1h} 笔"}
    tests:
      - {name: fires, given: {account.count_1h: 99}, expect: {match: true}}
      - {name: one event, given: {account.count_1h: 1}, expect: {match: false}}
  - id: account.much
    title: much money in a day
    on: [payment, card_auth]
    when: account.sum_24h > 5000 and account.payees_24h >= 2
    severity: medium
    action: alert
    typology: velocity
    score: 45
    reason: {en: "{account.sum_24h:money} in a day", zh: "一天内 {account.sum_24h:money}"}
    tests:
      - {name: fires, given: {account.sum_24h: 5001, account.payees_24h: 2}, expect: {match: true}}
      - {name: one payee, given: {account.sum_24h: 5001, account.payees_24h: 1}, expect: {match: false}}
"""


def write_rules(directory: Path, count: int = 4, extra_feature: str = "") -> Path:
    """Write a rules directory; ``count`` is a limit of one rule, so that versions decide differently."""
    (directory / "rulesets").mkdir(parents=True, exist_ok=True)
    features = FEATURES + (f"  {extra_feature}\n" if extra_feature else "")
    for name, text in (
        ("schema.yaml", SCHEMA),
        ("features.yaml", features),
        ("lists.yaml", LISTS),
        ("typologies.yaml", POLICY),
        ("rulesets/account.yaml", RULE_SET.replace("$COUNT$", str(count))),
    ):
        (directory / name).write_text(text)
    return directory
