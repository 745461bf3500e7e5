"""The small rules directory with reference tables: one from a file, one from a topic."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from support.worker_rules import write_rules

REFERENCE = """\
apiVersion: fraudstream/v1
kind: Reference
tables:
  profile:
    key: account.id
    source: {file: data/profile.csv, key: account}
    stale_after: 7d
    class: personal
    columns:
      band: {type: enum, values: [low, high]}
      limit: {type: money}
      city: {type: category}
  watch:
    key: counterparty.id
    source: {topic: $TOPIC$, refresh: 1s}
    columns:
      listed: {type: bool}
      reason: {type: category}
"""

RULES = """\
apiVersion: fraudstream/v1
kind: RuleSet
defaults: {owner: tests@bank.example, timezone: Asia/Shanghai}
rules:
  - id: ref.band
    title: an account of a high risk band above its limit
    on: [payment, card_auth]
    when: profile.band == "high" and txn.amount > profile.limit
    severity: high
    action: block
    score: 70
    reason: {en: "{profile.band} band, limit {profile.limit:money}"}
    tests:
      - {name: fires, given: {profile.band: high, profile.limit: 10, txn.amount: 11}, expect: {match: true}}
      - {name: low, given: {profile.band: low, profile.limit: 10, txn.amount: 11}, expect: {match: false}}
  - id: ref.watch
    title: a listed counterparty
    on: [payment, card_auth]
    when: watch.listed
    severity: high
    action: alert
    score: 50
    reason: {en: "listed: {watch.reason}"}
    tests:
      - {name: fires, given: {watch.listed: true}, expect: {match: true}}
      - {name: not listed, given: {watch.listed: false}, expect: {match: false}}
  - id: ref.odd
    title: several payments of accounts in a high band
    on: [payment, card_auth]
    when: account.high_24h >= 3
    severity: low
    action: alert
    score: 20
    reason: {en: "{account.high_24h} payments"}
    tests:
      - {name: fires, given: {account.high_24h: 3}, expect: {match: true}}
      - {name: two, given: {account.high_24h: 2}, expect: {match: false}}
"""
FEATURE = "account.high_24h: {agg: count, key: account.id, window: 24h, where: 'profile.band == \"high\"'}"


def write_reference_rules(directory: Path, topic: str = "", count: int = 4) -> Path:
    """Write the rules directory; without ``topic`` there is no table from one."""
    write_rules(directory, count, FEATURE)
    tables, rules = REFERENCE.replace("$TOPIC$", topic), RULES
    if not topic:
        tables = tables[: tables.index("  watch:")]
        begin, end = rules.index("  - id: ref.watch"), rules.index("  - id: ref.odd")
        rules = rules[:begin] + rules[end:]
    (directory / "reference.yaml").write_text(tables)
    (directory / "rulesets" / "reference.yaml").write_text(rules)
    return directory


def write_profiles(directory: Path, bands: Mapping[str, tuple[str, str]], as_of_s: int = 0) -> None:
    """Put a new profile file in place: account -> (band, limit); ``as_of_s`` is its time."""
    path = directory / "data" / "profile.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{account},{band},{limit},Chengdu" for account, (band, limit) in bands.items()]
    written = path.with_suffix(".new")
    written.write_text("\n".join(["account,band,limit,city", *lines]) + "\n")
    if as_of_s:
        os.utime(written, (as_of_s, as_of_s))
    written.rename(path)
