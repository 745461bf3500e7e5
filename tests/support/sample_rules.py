"""A small rules directory that uses every kind of file and nearly every key."""

# ruff: noqa: E501 (one declaration a line)
from __future__ import annotations

SCHEMA = """\
apiVersion: fraudstream/v1
kind: Schema
base_currency: CNY
partition_key: account.id
fields:
  event.id:        {path: transaction_id, type: id, required: true}
  event.type:      {path: event_type, type: enum, values: [payment, card_auth, login, outcome], default: payment}
  event.time:      {path: event_time, type: time, required: true}
  account.id:      {path: account_id, type: id, from: [string, integer], required: true, class: personal}
  account.opened:  {path: account_opened, type: date}
  customer.id:     {path: customer_id, type: id, class: personal}
  card.id:         {path: card_id, type: id, class: personal}
  counterparty.id: {path: counterparty_id, type: id, class: personal}
  device.id:       {path: device.id, type: id}
  device.trusted:  {path: device.trusted, type: bool}
  merchant.mcc:    {path: mcc, type: category}
  txn.currency:    {path: currency, type: category, required_for: [payment, card_auth]}
  txn.amount:      {path: amount, type: money, currency: currency, required_for: [payment, card_auth]}
  txn.amount_original: {path: amount, type: money, currency: currency, convert: false}
  txn.balance_before:  {path: balance_before, type: money, currency: txn.currency, signed: true}
  txn.direction:   {path: direction, type: enum, values: [in, out], default: out}
  txn.channel:     {path: channel, type: enum, values: [mobile, web, atm, pos], default: null}
  txn.country:     {path: country, type: country}
  txn.geo:         {path: [lat, lon], type: geo}
  txn.status:      {path: status, type: category}
  risk.points:     {path: points, type: number, decimals: 2}
  source.bank:     {const: ICBC, type: category}
"""

REFERENCE = """\
apiVersion: fraudstream/v1
kind: Reference
tables:
  customer_profile:
    key: customer.id
    source: {file: data/customers.parquet, key: customer, as_of: exported_at}
    stale_after: 7d
    when_stale: missing
    class: personal
    columns:
      band:   {type: enum, values: [low, medium, high]}
      income: {type: money, from: yearly_income}
      since:  {type: date, class: public}
      home:   {type: geo, from: [lat, lon]}
  watch_list:
    key: counterparty.id
    source: {topic: bank.watch-list, refresh: 30s}
    columns:
      listed: {type: bool}
      reason: {type: category}
"""

FEATURES = """\
apiVersion: fraudstream/v1
kind: Features
time: {allowed_lateness: 30m, max_skew: 60s, dedup: 24h, max_events_per_key: 5000}
features:
  card.small_auths_10m:
    agg: count
    key: card.id
    window: 10m
    where: |
      event.type == "card_auth"
      and txn.amount < 2
  card.declines_10m:     {agg: count, key: card.id, window: 10m, where: 'txn.status == "declined"'}
  account.amount_mean_7d:
    {agg: mean, of: txn.amount, key: account.id, window: 7d, current: exclude, min_count: 2, resolution: exact}
  device.customers_24h:  {agg: distinct, of: customer.id, key: device.id, window: 24h, max: 50}
  account.last_pos:
    {agg: last, of: [event.time, txn.geo, txn.country], key: account.id, current: exclude,
     where: 'txn.channel == "pos"'}
  pair.first_seen:       {agg: first, of: event.time, key: [account.id, counterparty.id], current: exclude}
  account.idle:          {agg: since_last, key: account.id}
  account.points_1h:     {agg: max, of: risk.points, key: account.id, window: 1h}
families:
  account.velocity:
    agg: [count, sum, max]
    of: txn.amount
    key: account.id
    window: [10m, 24h]
    where: {out: 'txn.direction == "out"', atm: 'txn.channel == "atm"'}
"""

LISTS = """\
apiVersion: fraudstream/v1
kind: Lists
lists:
  charity_mcc: {type: category, items: ["8398", 0742, {value: "8661", until: 2027-01-31}]}
  risky: {type: country, items: [NO, KP, IR]}
  rates: {type: money_rate, items: {USD: "7.1034", JPY: 0.0481}}
"""

TYPOLOGIES = """\
apiVersion: fraudstream/v1
kind: Typologies
typologies:
  card_testing: {combine: max, alert_at: 50, block_at: 60}
  mule: {combine: sum, alert_at: 40}
policy:
  language: en
  timezone: Asia/Shanghai
  model_bands: [{at: 0.97, action: block}, {at: 0.9, action: alert}]
"""

CARD = """\
apiVersion: fraudstream/v1
kind: RuleSet
defaults: {owner: cards@bank.example, timezone: Asia/Shanghai}
rules:
- id: card.testing.small_auths
  was: card.small
  title: Many tiny authorisations, then declines
  severity: high
  typology: card_testing
  on: [card_auth]
  params: {n: {value: 4, min: 2, max: 20}}
  conditions: {burst: card.small_auths_10m >= params.n}
  when: burst and card.declines_10m >= 2
  action: block
  score: 60
  priority: 100
  effective: {from: 2026-01-01T00:00:00+08:00, until: 2026-12-31}
  reason:
    en: "{card.small_auths_10m} small authorisations and {card.declines_10m} declines in 10 minutes"
    zh: "10分钟内{card.small_auths_10m}笔小额授权、{card.declines_10m}笔被拒"
  tests:
  - name: fires
    given: {card.small_auths_10m: 4, card.declines_10m: 2}
    expect:
      match: true
      action: block
      score: 60
      reason: 4 small authorisations and 2 declines in 10 minutes
  - {name: no declines, given: {card.small_auths_10m: 9, card.declines_10m: 0}, expect: {match: false}}
  - {name: nothing known, given: {card.small_auths_10m: 9}, expect: {match: unknown}}
  - name: three in nine minutes
    history:
    - {at: -9m, event_type: card_auth, card_id: c1, amount: "1.10"}
    - {at: -5m, event_type: outcome, card_id: c1, amount: "1.00", status: declined}
    event: {event_type: card_auth, card_id: c1, amount: "1.20"}
    expect: {match: false, action: none}
- id: card.far_away
  title: Card used far from its last place
  severity: medium
  on: [card_auth, payment]
  when: |
    distance_km(txn.geo, account.last_pos.geo) > 500
    and account.last_pos.country not in lists.risky
  action: alert
  reason: {en: "far from {account.last_pos.country}", zh: "远离{account.last_pos.country}"}
  tests:
  - name: far
    given: {txn.geo: [52.5, 13.4], account.last_pos.geo: [6.5, 3.4], account.last_pos.country: DE}
    expect: {match: true, reason: far from DE}
  - name: near
    given: {txn.geo: [52.5, 13.4], account.last_pos.geo: [52.5, 13.3], account.last_pos.country: DE}
    expect: {match: false}
"""

PAYMENT = """\
apiVersion: fraudstream/v1
kind: RuleSet
rules:
- id: pay.charity
  title: Known charity
  owner: retail@bank.example
  severity: low
  on: payment
  when: merchant.mcc in lists.charity_mcc
  action: pass
  reason: {en: known charity, zh: 慈善机构}
  tests:
  - {name: listed, given: {merchant.mcc: 0742}, expect: {match: true}}
  - {name: other, given: {merchant.mcc: 5411}, expect: {match: false}}
- id: pay.large_for_account
  title: Far above the account's habit
  owner: retail@bank.example
  severity: high
  typology: mule
  on: payment
  params: {times: {value: 5, min: 2}, floor: {value: 1000 CNY, min: 100 CNY, max: 20000}}
  when: >
    txn.amount > params.floor and
    txn.amount > params.times * account.amount_mean_7d
  action: alert
  score: 45
  reason:
    en: "{txn.amount:money} is far above {account.amount_mean_7d:money}"
    zh: "{txn.amount:money}远高于{account.amount_mean_7d:money}"
  tests:
  - {name: large, given: {txn.amount: 9000, account.amount_mean_7d: 100 CNY}, expect: {match: true, action: alert}}
  - {name: usual, given: {txn.amount: 200 CNY, account.amount_mean_7d: 100}, expect: {match: false}}
- id: pay.shadow_model
  title: Model is sure
  owner: retail@bank.example
  severity: high
  on: payment
  when: model.score > 0.5 and account.velocity_count_out_24h >= 1 and device.trusted
  score: 10
  mode: {state: shadow}
  tests:
  - {name: sure, given: {model.score: 0.9, account.velocity_count_out_24h: 2, device.trusted: true}, expect: {match: true}}
- id: pay.draft
  title: Not ready yet
  owner: retail@bank.example
  severity: low
  on: payment
  when: device.customers_24h > 3 or (pair.first_seen is missing and account.idle > 90d) or account.points_1h > 3.5
  mode: {state: draft}
  tests:
  - {name: many, given: {device.customers_24h: 4}, expect: {match: true}}
"""


PROFILE = """\
apiVersion: fraudstream/v1
kind: RuleSet
defaults: {owner: retail@bank.example, timezone: Asia/Shanghai}
rules:
- id: ref.watch
  title: A payment to a listed counterparty
  severity: high
  on: payment
  when: watch_list.listed and not watch_list.stale and customer_profile.band in ["medium", "high"]
  action: alert
  score: 30
  reason: {en: "listed: {watch_list.reason}", zh: "名单 {watch_list.reason}"}
  tests:
  - {name: watched, given: {watch_list.listed: true, watch_list.stale: false, customer_profile.band: high}, expect: {match: true}}
  - {name: watched but calm, given: {watch_list.listed: true, watch_list.stale: false, customer_profile.band: low}, expect: {match: false}}
"""


def sample_files() -> dict[str, bytes]:
    """Return the files by path; change a copy to see what a change does."""
    texts = {
        "schema.yaml": SCHEMA,
        "reference.yaml": REFERENCE,
        "features.yaml": FEATURES,
        "lists.yaml": LISTS,
        "typologies.yaml": TYPOLOGIES,
        "rulesets/card.yaml": CARD,
        "rulesets/payment.yaml": PAYMENT,
        "rulesets/profile.yaml": PROFILE,
    }
    return {path: text.encode() for path, text in texts.items()}


def changed(path: str, old: str, new: str) -> dict[str, bytes]:
    """Return the sample with one text of one file replaced."""
    files = sample_files()
    text = files[path].decode()
    assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times"
    files[path] = text.replace(old, new).encode()
    return files
