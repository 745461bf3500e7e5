"""W1a and W1 (steady): the reference bank's mix over 400,000 accounts.

W1a: 60 features over five kinds of key with windows from 1 m to 24 h, 200 rules written by a seeded
generator over these features, one linear champion.

W1: the same features with every window moved up the ladder (10m to 1h, 1h to 24h, 6h to 7d, 24h to 30d),
rules and champion over them. Its challenger, a forest, comes with the models.
"""

from __future__ import annotations

import random

from fraudstream.bench.workloads.writing import FEATURES_HEAD, Comparison, write_directory, write_rule
from fraudstream.models.inputs import Input
from fraudstream.models.linear import dump_model

ACCOUNTS = 400_000
SEED = 20_260_101
RULES = 200
FEATURES = 60

_WINDOWS = ("1m", "10m", "1h", "6h", "24h")
_MOVED = {"1m": "1m", "10m": "1h", "1h": "24h", "6h": "7d", "24h": "30d"}
"""W1a's windows -> W1's."""
_BUSIER = {"24h": 4, "7d": 12, "30d": 40}
"""How much more of a W1 window's events a rule asks for."""


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


def _threshold(unit: str, rng: random.Random, scale: int = 1) -> Comparison:
    """Return a comparison that few transactions satisfy for a kind of feature."""
    if unit == "count":
        n = rng.randint(6, 40) * scale
        return Comparison(f">= {n}", str(n), "0")
    if unit == "busy":
        n = rng.randint(60, 100) if scale == 1 else 100
        return Comparison(f">= {n}", str(n), "0")
    if unit == "distinct":
        n = rng.randint(4, 20)
        return Comparison(f">= {n}", str(n), "0")
    if unit == "duration":
        n = rng.randint(1, 59)
        return Comparison(f"< {n}s", "0s", "1h")
    major = rng.randint(20, 400) * (10_000 if unit == "bulk" else 100) * scale
    return Comparison(f"> {major}", str(major + 1), "0")


def _w1_features(resolution: str) -> dict[str, tuple[str, str]]:
    """Return W1a's features with their windows moved up."""
    out: dict[str, tuple[str, str]] = {}
    for name, (declaration, unit) in _w1a_features().items():
        window = declaration.split("window: ")[1].split(",")[0].rstrip("}")
        moved = _MOVED[window]
        text = declaration.replace(f"window: {window}", f"window: {moved}")
        if resolution and moved in ("7d", "30d"):
            text = f"{text[:-1]}, resolution: {resolution}}}"
        out[name.removesuffix(f"_{window}") + f"_{moved}"] = (text, unit)
    return out


def _files(prefix: str, features: dict[str, tuple[str, str]], scales: dict[str, int]) -> dict[str, bytes]:
    if len(features) != FEATURES:
        raise AssertionError(f"{prefix} is defined with {FEATURES} features, not {len(features)}")
    rng = random.Random(SEED)
    lines = [FEATURES_HEAD, "features:\n"]
    lines += [f"  {name}: {declaration}\n" for name, (declaration, _) in features.items()]
    names = list(features)
    rules = []
    for number in range(RULES):
        picked = rng.sample(names, rng.randint(2, 5))
        tests = {}
        for name in picked:
            unit = features[name][1]
            tests[name] = _threshold(unit, rng, scales.get(name.rsplit("_", 1)[-1], 1))
        rules.append(write_rule(rng, f"{prefix}.r{number:03d}", number, tests))
    return write_directory("".join(lines), {"generated": rules})


def w1a_files(resolution: str = "") -> dict[str, bytes]:  # noqa: ARG001 no window is long enough for it
    """Write W1a's rules directory: a schema, 60 features, 200 generated rules."""
    return _files("w1a", _w1a_features(), {})


def w1_files(resolution: str = "") -> dict[str, bytes]:
    """Write W1's; ``resolution`` of windows beyond 24 hours: by default the engine's."""
    return _files("w1", _w1_features(resolution), _BUSIER)


def _model(workload: str, features: dict[str, tuple[str, str]]) -> bytes:
    """Write a champion: the amount and every feature, seeded weights, a fraud rate below 1 %."""
    rng = random.Random(SEED + 1)
    inputs = [Input("txn.amount", "log1p")]
    inputs += [Input(name, "log1p") for name in features]
    n = len(inputs)
    return dump_model(
        on=("payment", "card_auth"),
        inputs=inputs,
        mean=[rng.uniform(0.5, 8.0) for _ in range(n)],
        var=[rng.uniform(1.0, 6.0) for _ in range(n)],
        weights=[rng.gauss(0.0, 0.12) for _ in range(n)],
        bias=-6.0,
        training={"note": f"seeded weights of workload {workload}; learnt from nothing"},
    )


def w1a_model() -> bytes:
    """Write W1a's champion."""
    return _model("W1a", _w1a_features())


def w1_model() -> bytes:
    """Write W1's champion."""
    return _model("W1", _w1_features(""))
