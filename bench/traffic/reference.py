"""Reference data of a generated bank: 42 internal and 30 external tables, the reference bank's number.

:func:`write_reference` writes ``reference.yaml`` and one Parquet file a table into a rules directory; keys
are those that :func:`~fraudstream.bench.traffic.generate.generate` with the same seed and accounts puts into
its records. The same arguments give the same rows; content has the time of ``start_ms``, so a table is as old
as the first event whenever it was written.

A pipeline with these tables, from a directory whose rules read some of them::

    loaded = TableFiles(directory).load(bundle, model)
    versions = {name: version_from(content)[0] for name, content in loaded.contents.items()}
    Pipeline(0, key, bundle, model, enrichment=Enrichment(bundle, model, key, versions))
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fraudstream.bench.traffic.generate import START_MS
from fraudstream.bench.traffic.records import Printer
from fraudstream.bench.traffic.world import DAY_MS, build_world, stream

TOPIC = 90
"""Number of this module's random streams."""
DATA = "reference"
"""Directory of the files, below the rules directory."""
TRUE, FALSE = 2, 3
"""Places of values in a condition of :func:`rule_set`."""
BANDS = ("low", "medium", "high", "critical")
KINDS = ("none", "notice", "case", "listed")

_PROFILE = "band:band score:score since:date active:bool"
_LIST = "listed:bool kind:kind score:score listed_at:date reason:category"
_MONEY = "amount:money limit:money score:score updated:date"


class Spec(NamedTuple):
    """One table."""

    name: str
    key: str
    share: float
    """Part of the keys that have a row."""
    columns: str
    """``name:kind`` separated by spaces."""
    stale_after: str = ""

    @property
    def fields(self) -> list[tuple[str, str]]:
        """Return (name, kind) of the columns."""
        return [(name, kind) for name, _, kind in (item.partition(":") for item in self.columns.split())]


def _group(key: str, share: float, columns: str, stale_after: str, names: str) -> tuple[Spec, ...]:
    return tuple(Spec(name, key, share, columns, stale_after) for name in names.split())


INTERNAL = (
    *_group("customer.id", 1.0, f"{_PROFILE} city:category", "7d",
            "customer_profile customer_kyc customer_rating customer_relationship customer_digital"),
    *_group("customer.id", 1.0, _MONEY, "7d",
            "customer_income customer_wealth customer_exposure customer_credit_line customer_spending"),
    *_group("customer.id", 0.6, "count:count last:date band:band", "3d",
            "customer_complaints customer_contacts customer_products customer_disputes customer_household "
            "customer_insurance"),
    *_group("account.id", 1.0, f"{_PROFILE} product:category", "2d",
            "account_profile account_product account_dormancy account_ownership"),
    *_group("account.id", 1.0, _MONEY, "2d",
            "account_limits account_balances account_overdraft account_turnover"),
    *_group("account.id", 0.1, _LIST, "1d", "account_freezes account_mandates"),
    *_group("card.id", 1.0, f"{_PROFILE} limit:money", "2d",
            "card_profile card_limits card_controls card_lifecycle"),
    *_group("device.id", 1.0, f"{_PROFILE} model:category", "7d",
            "device_profile device_trust device_ownership device_software"),
    *_group("merchant.id", 1.0, f"{_PROFILE} turnover:money", "7d",
            "merchant_profile merchant_terminals merchant_settlement merchant_chargebacks"),
    *_group("counterparty.id", 0.5, "count:count first:date score:score", "7d",
            "payee_history payee_verification payee_tenure payee_network"),
)  # fmt: skip
EXTERNAL = (
    *_group("customer.id", 1.0, f"{_PROFILE} debt:money", "30d",
            "credit_bureau social_security telecom_risk employment_registry"),
    *_group("customer.id", 0.02, _LIST, "3d",
            "judicial_enforcement judicial_restrictions sanctions_screening political_exposure tax_arrears "
            "bankruptcies"),
    *_group("counterparty.id", 0.01, _LIST, "1d",
            "mule_list police_list account_registry bank_risk escrow_registry collection_cases"),
    *_group("merchant.id", 0.8, f"{_PROFILE} capital:money", "30d",
            "business_registry business_penalties platform_rating acquirer_risk licences"),
    *_group("device.id", 0.03, _LIST, "1d", "device_reputation emulator_list sim_swaps"),
    *_group("txn.ip", 0.05, _LIST, "1d", "ip_reputation ip_hosting proxy_exits"),
    *_group("txn.country", 1.0, _PROFILE, "90d", "country_risk sanctioned_countries"),
    *_group("merchant.mcc", 1.0, _PROFILE, "90d", "category_risk"),
)  # fmt: skip
TABLES = INTERNAL + EXTERNAL

_DECLARED = {
    "band": f"{{type: enum, values: [{', '.join(BANDS)}]}}",
    "kind": f"{{type: enum, values: [{', '.join(KINDS)}]}}",
    "score": "{type: integer}",
    "count": "{type: integer}",
    "date": "{type: date}",
    "bool": "{type: bool}",
    "money": "{type: money}",
    "category": "{type: category}",
}


def declaration() -> str:
    """Return ``reference.yaml``; it does not depend on the bank's size."""
    return "\n".join(["apiVersion: fraudstream/v1", "kind: Reference", "tables:", *_declared()]) + "\n"


def rule_set(seed: int) -> str:
    """Return a rule set of 72 rules, each of which reads two columns of its own table.

    Rules score and do not act: the workload's decisions stay those of its other rules.
    """
    rng = np.random.default_rng([seed, TOPIC])
    lines = [
        "apiVersion: fraudstream/v1",
        "kind: RuleSet",
        "defaults: {owner: bench, timezone: Asia/Shanghai}",
    ]
    lines.append("rules:")
    for table in TABLES:
        picked = [table.fields[int(i)] for i in rng.permutation(len(table.fields))[:2]]
        parts = [(f"{table.name}.{name}", *_condition(kind, rng)) for name, kind in picked]
        when = " and ".join(f"{name} {test}" for name, test, _, _ in parts)
        true, false = (
            ", ".join(f"{part[0]}: {part[at]}" for part in parts[: 1 if at == FALSE else 2])
            for at in (TRUE, FALSE)
        )
        lines += [
            f"- id: ref.{table.name}",
            f"  title: {table.name.replace('_', ' ')}",
            "  severity: low",
            "  on: [payment, card_auth]",
            f"  when: '{when}'",
            f"  score: {int(rng.integers(1, 6))}",
            "  tests:",
            f"  - {{name: fires, given: {{{true}}}, expect: {{match: true}}}}",
            f"  - {{name: not, given: {{{false}}}, expect: {{match: false}}}}",
        ]
    return "\n".join(lines) + "\n"


def _condition(kind: str, rng: np.random.Generator) -> tuple[str, str, str]:
    """Return (comparison, a value that satisfies it, one that does not)."""
    if kind == "band":
        return '== "critical"', "critical", "low"
    if kind == "kind":
        return '== "listed"', "listed", "none"
    if kind == "bool":
        return "== true", "true", "false"
    if kind == "date":
        return "< local_date(event.time)", '"2020-01-01"', '"2099-01-01"'
    if kind == "category":
        return '== "v007"', "v007", "v008"
    limit = int(rng.integers(400, 900)) * (100 if kind == "money" else 1)
    limit = limit % 10 + 3 if kind == "count" else limit
    return f">= {limit}", str(limit), "0"


def write_reference(directory: Path, accounts: int, seed: int, start_ms: int = START_MS) -> int:
    """Write the declaration and the files of all 72 tables.

    Args:
        directory: the rules directory; files go to ``reference/`` below it.
        accounts: size of the bank, as given to ``generate``.
        seed: of the bank, as given to ``generate``.
        start_ms: first event time of the traffic, as given to ``generate``.

    Returns:
        Rows of all tables.
    """
    world = build_world(seed, accounts, start_ms)
    keys = {name: np.array(items, np.str_) for name, items in Printer(world).names().items()}
    (directory / DATA).mkdir(parents=True, exist_ok=True)
    (directory / "reference.yaml").write_text(declaration())
    total = 0
    for number, table in enumerate(TABLES):
        rng = stream(seed, TOPIC, number)
        names = keys[table.key]
        if table.share < 1:
            names = names[np.sort(rng.permutation(len(names))[: max(1, round(table.share * len(names)))])]
        columns = {name: _values(kind, rng, len(names), start_ms) for name, kind in table.fields}
        path = directory / DATA / f"{table.name}.parquet"
        pq.write_table(pa.table({_origin(table.key): pa.array(names), **columns}), path, compression="zstd")
        os.utime(path, ns=(start_ms * 1_000_000, start_ms * 1_000_000))
        total += len(names)
    return total


def _origin(key: str) -> str:
    return key.rsplit(".", 1)[-1]


def _declared() -> Iterator[str]:
    for table in TABLES:
        stale = f"\n    stale_after: {table.stale_after}" if table.stale_after else ""
        yield f"  {table.name}:\n    key: {table.key}"
        yield f"    source: {{file: {DATA}/{table.name}.parquet}}{stale}\n    columns:"
        for name, kind in table.fields:
            yield f"      {name}: {_DECLARED[kind]}"


def _values(kind: str, rng: np.random.Generator, n: int, start_ms: int) -> Any:
    """Return a column; one value in twenty is missing."""
    missing: NDArray[np.bool_] = rng.random(n) < 0.05
    if kind == "band":
        return _chosen(BANDS, [0.7, 0.2, 0.08, 0.02], rng, missing)
    if kind == "kind":
        return _chosen(KINDS, [0.6, 0.2, 0.15, 0.05], rng, missing)
    if kind == "score":
        return pa.array(rng.beta(2, 6, n) * 1000, mask=missing).cast(pa.int64(), safe=False)
    if kind == "count":
        return pa.array(rng.poisson(1.5, n), pa.int64(), mask=missing)
    if kind == "date":
        days = start_ms // DAY_MS - rng.integers(0, 4_000, n)
        return pa.array(days.astype(np.int32), pa.int32(), mask=missing).cast(pa.date32())
    if kind == "bool":
        return pa.array(rng.random(n) < 0.8, mask=missing)
    if kind == "money":
        fen = np.exp(rng.normal(13, 1.5, n)).astype(np.int64)
        text = [
            None if gone else f"{value // 100}.{value % 100:02d}"
            for value, gone in zip(fen.tolist(), missing, strict=True)
        ]
        return pa.array(text, pa.string())
    words = np.array([f"v{i:03d}" for i in range(200)])
    return pa.array(words[(rng.random(n) ** 2 * len(words)).astype(np.int64)], mask=missing)


def _chosen(
    names: tuple[str, ...], shares: list[float], rng: np.random.Generator, missing: NDArray[np.bool_]
) -> Any:
    codes = rng.choice(len(names), len(missing), p=shares).astype(np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(codes, mask=missing), pa.array(names)).dictionary_decode()
