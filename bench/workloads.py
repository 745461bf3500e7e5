"""Workloads with permanent ids: seeded, no network, no clock. Treat a published one as frozen.

W1a (steady, first form): the reference bank's mix of traffic over 400,000 accounts, 60 features over five
kinds of key with windows from 1 m to 24 h, 200 rules written by a seeded generator over these
features, one linear champion.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files

from fraudstream.models.linear import Input, dump_model

W1A_ACCOUNTS = 400_000
W1A_SEED = 20_260_101
W1A_RULES = 200

_WINDOWS = ("1m", "10m", "1h", "6h", "24h")

FEATURES_HEAD = """\
apiVersion: fraudstream/v1
kind: Features
time: {allowed_lateness: 1h, max_skew: 60s, dedup: 24h, max_events_per_key: 1000000, trust_create_time: true}
"""


@dataclass(frozen=True, slots=True)
class Workload:
    """A frozen workload: rules directory, traffic and model."""

    id: str
    accounts: int
    seed: int
    files: Callable[[], dict[str, bytes]]
    """Content of the rules directory by relative path."""
    model: Callable[[], bytes]
    """The champion's file."""


def _w1a_features() -> dict[str, tuple[str, str]]:
    """Return name -> (declaration, kind of threshold) of the 60 features."""
    out: dict[str, tuple[str, str]] = {}

    def add(name: str, declaration: str, unit: str) -> None:
        out[name] = ("{" + declaration + "}", unit)

    account = "key: account.id"
    outgoing = "where: 'txn.direction == \"out\"'"
    for window in _WINDOWS:
        add(f"account.count_{window}", f"agg: count, {account}, window: {window}", "count")
        add(f"account.sum_{window}", f"agg: sum, of: txn.amount, {account}, window: {window}", "money")
    for window in ("10m", "1h", "6h", "24h"):
        add(f"account.out_count_{window}", f"agg: count, {account}, window: {window}, {outgoing}", "count")
        add(
            f"account.out_sum_{window}",
            f"agg: sum, of: txn.amount, {account}, window: {window}, {outgoing}",
            "money",
        )
    baseline = "current: exclude, min_count: 2"
    for agg in ("mean", "std", "max"):
        for window in ("6h", "24h"):
            add(
                f"account.{agg}_{window}",
                f"agg: {agg}, of: txn.amount, {account}, window: {window}, {baseline}",
                "money",
            )
    add(
        "account.payees_1h", f"agg: distinct, of: counterparty.id, {account}, window: 1h, max: 50", "distinct"
    )
    add(
        "account.payees_24h",
        f"agg: distinct, of: counterparty.id, {account}, window: 24h, max: 50",
        "distinct",
    )
    add(
        "account.merchants_24h",
        f"agg: distinct, of: merchant.id, {account}, window: 24h, max: 50",
        "distinct",
    )
    add("account.devices_24h", f"agg: distinct, of: device.id, {account}, window: 24h, max: 20", "distinct")
    add("account.idle", f"agg: since_last, {account}, window: 24h", "duration")
    add("account.since_first_24h", f"agg: since_first, {account}, window: 24h", "duration")
    add("account.min_24h", f"agg: min, of: txn.amount, {account}, window: 24h", "money")
    add(
        "account.declines_24h",
        f"agg: count, {account}, window: 24h, where: 'txn.status == \"declined\"'",
        "count",
    )

    card = "key: card.id"
    for window in ("1m", "10m", "1h", "24h"):
        add(f"card.count_{window}", f"agg: count, {card}, window: {window}", "count")
    for window in ("1h", "24h"):
        add(f"card.sum_{window}", f"agg: sum, of: txn.amount, {card}, window: {window}", "money")
    add("card.max_24h", f"agg: max, of: txn.amount, {card}, window: 24h", "money")
    add("card.merchants_1h", f"agg: distinct, of: merchant.id, {card}, window: 1h, max: 50", "distinct")
    add("card.merchants_24h", f"agg: distinct, of: merchant.id, {card}, window: 24h, max: 50", "distinct")
    add(
        "card.small_10m",
        f"agg: count, {card}, window: 10m, where: 'event.type == \"card_auth\" and txn.amount < 20'",
        "count",
    )

    merchant = "key: merchant.id"
    for window in ("10m", "1h", "24h"):
        add(f"merchant.count_{window}", f"agg: count, {merchant}, window: {window}", "busy")
    add("merchant.sum_24h", f"agg: sum, of: txn.amount, {merchant}, window: 24h", "bulk")
    add("merchant.mean_24h", f"agg: mean, of: txn.amount, {merchant}, window: 24h, {baseline}", "money")
    add("merchant.max_1h", f"agg: max, of: txn.amount, {merchant}, window: 1h", "money")
    add("merchant.cards_10m", f"agg: distinct, of: card.id, {merchant}, window: 10m, max: 100", "busy")
    add("merchant.cards_1h", f"agg: distinct, of: card.id, {merchant}, window: 1h, max: 100", "busy")

    payee = "key: counterparty.id"
    for window in ("1h", "24h"):
        add(f"payee.count_{window}", f"agg: count, {payee}, window: {window}", "count")
        add(f"payee.sum_{window}", f"agg: sum, of: txn.amount, {payee}, window: {window}", "money")
        add(
            f"payee.senders_{window}",
            f"agg: distinct, of: account.id, {payee}, window: {window}, max: 100",
            "distinct",
        )

    pair = "key: [account.id, counterparty.id]"
    add("pair.count_1h", f"agg: count, {pair}, window: 1h", "count")
    add("pair.count_24h", f"agg: count, {pair}, window: 24h", "count")
    add("pair.sum_24h", f"agg: sum, of: txn.amount, {pair}, window: 24h", "money")
    add("pair.age", f"agg: since_first, {pair}, window: 24h", "duration")
    return out


def _threshold(unit: str, rng: random.Random) -> tuple[str, str, str]:
    """Return (comparison, a value that satisfies it, a value that does not) for a kind of feature."""
    if unit == "count":
        n = rng.randint(6, 40)
        return f">= {n}", str(n), "0"
    if unit == "busy":
        n = rng.randint(60, 100)
        return f">= {n}", str(n), "0"
    if unit == "distinct":
        n = rng.randint(4, 20)
        return f">= {n}", str(n), "0"
    if unit == "duration":
        n = rng.randint(1, 59)
        return f"< {n}s", "0s", "1h"
    major = rng.randint(20, 400) * (10_000 if unit == "bulk" else 100)
    return f"> {major}", str(major + 1), "0"


def w1a_files() -> dict[str, bytes]:
    """Write W1a's rules directory: the shipped schema, 60 features, 200 generated rules."""
    features = _w1a_features()
    if len(features) != 60:
        raise AssertionError(f"W1a is defined with 60 features, not {len(features)}")
    rng = random.Random(W1A_SEED)
    lines = [FEATURES_HEAD, "features:\n"]
    lines += [f"  {name}: {declaration}\n" for name, (declaration, _) in features.items()]
    names = list(features)
    rules = [
        "apiVersion: fraudstream/v1\nkind: RuleSet\n",
        "defaults: {owner: bench@bank.example, timezone: Asia/Shanghai}\nrules:\n",
    ]
    for number in range(W1A_RULES):
        picked = rng.sample(names, rng.randint(2, 5))
        terms, hit, miss = [], [], []
        for position, name in enumerate(picked):
            comparison, yes, no = _threshold(features[name][1], rng)
            terms.append(f"{name} {comparison}")
            hit.append(f"{name}: {yes}")
            miss.append(f"{name}: {no if position == 0 else yes}")
        if rng.random() < 0.5:
            terms.append('txn.channel != "branch"')
            hit.append("txn.channel: mobile")
            miss.append("txn.channel: mobile")
        action = rng.choice(("none", "none", "alert", "block"))
        rules.append(
            f"- id: w1a.r{number:03d}\n"
            f"  title: generated rule {number}\n"
            f"  severity: {rng.choice(('low', 'medium', 'high'))}\n"
            f"  on: [payment, card_auth]\n"
            f"  when: '{' and '.join(terms)}'\n"
            f"  action: {action}\n"
            f"  score: {rng.randint(5, 60)}\n"
            f'  reason: {{en: "{{{picked[0]}}} is unusual"}}\n'
            f"  tests:\n"
            f"  - {{name: hit, given: {{{', '.join(hit)}}}, expect: {{match: true}}}}\n"
            f"  - {{name: miss, given: {{{', '.join(miss)}}}, expect: {{match: false}}}}\n"
        )
    lists = (
        "apiVersion: fraudstream/v1\nkind: Lists\n"
        "lists: {rates: {type: money_rate, items: {USD: '7.1034'}}}\n"
    )
    typologies = (
        "apiVersion: fraudstream/v1\nkind: Typologies\ntypologies: {}\n"
        "policy: {language: en, timezone: Asia/Shanghai, "
        "model_bands: [{at: 0.97, action: block}, {at: 0.90, action: alert}]}\n"
    )
    schema = files("fraudstream.rules").joinpath("schema.yaml").read_bytes()
    return {
        "schema.yaml": schema,
        "features.yaml": "".join(lines).encode(),
        "lists.yaml": lists.encode(),
        "typologies.yaml": typologies.encode(),
        "rulesets/generated.yaml": "".join(rules).encode(),
    }


def w1a_model() -> bytes:
    """Write W1a's champion: the amount and every feature, seeded weights, a fraud rate below 1 %."""
    rng = random.Random(W1A_SEED + 1)
    inputs = [Input("txn.amount", "log1p")]
    inputs += [Input(name, "log1p") for name in _w1a_features()]
    n = len(inputs)
    return dump_model(
        on=("payment", "card_auth"),
        inputs=inputs,
        mean=[rng.uniform(0.5, 8.0) for _ in range(n)],
        var=[rng.uniform(1.0, 6.0) for _ in range(n)],
        weights=[rng.gauss(0.0, 0.12) for _ in range(n)],
        bias=-6.0,
        training={"note": "seeded weights of workload W1a; learnt from nothing"},
    )


WORKLOADS = {"W1a": Workload("W1a", W1A_ACCOUNTS, W1A_SEED, w1a_files, w1a_model)}
