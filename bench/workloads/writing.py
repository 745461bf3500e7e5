"""What the generated rules directories of all workloads have in common."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files

FEATURES_HEAD = """\
apiVersion: fraudstream/v1
kind: Features
time: {allowed_lateness: 1h, max_skew: 60s, dedup: 24h, max_events_per_key: 1000000, trust_create_time: true}
"""
LISTS = """\
apiVersion: fraudstream/v1
kind: Lists
lists: {rates: {type: money_rate, items: {USD: '7.1034'}}}
"""
TYPOLOGIES = """\
apiVersion: fraudstream/v1
kind: Typologies
typologies: {}
policy: {language: en, timezone: Asia/Shanghai, \
model_bands: [{at: 0.97, action: block}, {at: 0.90, action: alert}]}
"""
RULES_HEAD = (
    "apiVersion: fraudstream/v1\nkind: RuleSet\n"
    "defaults: {owner: bench@bank.example, timezone: Asia/Shanghai}\nrules:\n"
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison of one feature: ``text`` behind its name, values that satisfy and do not satisfy it."""

    text: str
    hit: str
    miss: str


def write_rule(rng: random.Random, rule_id: str, number: int, tests: Mapping[str, Comparison]) -> str:
    """Return a rule that matches when all comparisons do; it draws effect and score from ``rng``."""
    terms = [f"{name} {test.text}" for name, test in tests.items()]
    hit = [f"{name}: {test.hit}" for name, test in tests.items()]
    miss = [
        f"{name}: {test.hit if position else test.miss}"
        for position, (name, test) in enumerate(tests.items())
    ]
    if rng.random() < 0.5:
        terms.append('txn.channel != "branch"')
        hit.append("txn.channel: mobile")
        miss.append("txn.channel: mobile")
    action = rng.choice(("none", "none", "alert", "block"))
    return (
        f"- id: {rule_id}\n"
        f"  title: generated rule {number}\n"
        f"  severity: {rng.choice(('low', 'medium', 'high'))}\n"
        f"  on: [payment, card_auth]\n"
        f"  when: '{' and '.join(terms)}'\n"
        f"  action: {action}\n"
        f"  score: {rng.randint(5, 60)}\n"
        f'  reason: {{en: "{{{next(iter(tests))}}} is unusual"}}\n'
        f"  tests:\n"
        f"  - {{name: hit, given: {{{', '.join(hit)}}}, expect: {{match: true}}}}\n"
        f"  - {{name: miss, given: {{{', '.join(miss)}}}, expect: {{match: false}}}}\n"
    )


def write_directory(features: str, rule_sets: Mapping[str, Iterable[str]]) -> dict[str, bytes]:
    """Return a rules directory: the workloads' own schema, ``features.yaml`` and rule sets by name."""
    schema = files(__package__).joinpath("schema.yaml").read_bytes()
    return {
        "schema.yaml": schema,
        "features.yaml": features.encode(),
        "lists.yaml": LISTS.encode(),
        "typologies.yaml": TYPOLOGIES.encode(),
    } | {f"rulesets/{name}.yaml": (RULES_HEAD + "".join(rules)).encode() for name, rules in rule_sets.items()}
