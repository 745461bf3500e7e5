"""Features computed by a database from the same log: a second reading of the contract that shares no code.

DuckDB parses the JSON itself, converts the money itself and joins every event with the earlier events of
its key; nothing is taken from the engine but the declarations.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from fraudstream.rules.bundle import Agg, Feature, FeatureSet

COLUMNS = {
    "account.id": "account_id",
    "card.id": "card_id",
    "device.id": "device_id",
    "merchant.id": "merchant_id",
    "counterparty.id": "counterparty_id",
    "event.time": "t",
    "txn.amount": "amount",
    "txn.country": "country",
}
FILTERS = {
    'txn.direction == "out"': "p.direction = 'out'",
    'txn.status == "declined"': "p.status = 'declined'",
    'event.type == "card_auth" and txn.amount < 20': "p.event_type = 'card_auth' and p.amount < 2000",
}
TEXTS = (
    *("transaction_id", "event_type", "event_time", "account_id", "card_id", "device_id", "merchant_id"),
    *("counterparty_id", "direction", "status", "currency", "country"),
)

# Half a unit goes to the even neighbour: money converts exactly.
_LOAD = """
create table event as
with read as (
  select row_number() over () - 1 as n, {texts}, cast(cast(amount as decimal(18, 4)) * 100 as bigint) as minor
  from read_json(?, format = 'newline_delimited', columns = {{{types}}})
)
select *,
  epoch_ms(cast(event_time as timestamp)) as t,
  case currency
    when 'CNY' then minor
    when 'USD' then (minor * 71034) // 10000 + case
      when (minor * 71034) % 10000 > 5000 then 1
      when (minor * 71034) % 10000 = 5000 then ((minor * 71034) // 10000) % 2
      else 0 end
  end as amount
from read order by n
"""


def load(log: Path) -> duckdb.DuckDBPyConnection:
    """Return a database with the log's events; ``amount`` is in minor units of the base currency."""
    database = duckdb.connect()
    types = ", ".join(f"{name}: 'varchar'" for name in (*TEXTS, "amount"))
    database.execute(_LOAD.format(texts=", ".join(TEXTS), types=types), [str(log)])
    return database


def values(database: duckdb.DuckDBPyConnection, features: FeatureSet) -> dict[str, list[Any]]:
    """Return every feature of every event in log order; missing is None."""
    groups: dict[tuple[tuple[str, ...], str, bool], list[Feature]] = defaultdict(list)
    for item in features.features:
        groups[item.key, _begin(item), _excludes(item)].append(item)
    found: dict[str, list[Any]] = {}
    for (key, begin, excludes), items in groups.items():
        columns = [COLUMNS[name] for name in key]
        terms = ", ".join(f"{_term(item, features.filters)} as f{at}" for at, item in enumerate(items))
        known = " and ".join(f"e.{column} is not null" for column in columns)
        same = " and ".join(f"p.{column} = e.{column}" for column in columns)
        rows = database.execute(
            f"select {terms} from event e left join event p on {same} "
            f"and p.n {'<' if excludes else '<='} e.n and p.t > {begin} and p.t <= e.t "
            f"group by e.n, e.t, {known} order by e.n"
        ).fetchall()
        presence = database.execute(f"select {known} from event e order by n").fetchall()
        for at, item in enumerate(items):
            found[item.name] = [
                row[at] if there else None for row, (there,) in zip(rows, presence, strict=True)
            ]
    return found


def _begin(item: Feature) -> str:
    """Return where a window begins: panes of r begin at multiples of r."""
    assert item.window_ms is not None
    if not item.resolution_ms:
        return f"e.t - {item.window_ms}"
    return f"(e.t - {item.window_ms}) // {item.resolution_ms} * {item.resolution_ms}"


def _excludes(item: Feature) -> bool:
    return item.exclude_current or item.agg in (Agg.SINCE_FIRST, Agg.SINCE_LAST)


def _term(item: Feature, filters: Sequence[str]) -> str:
    """Return the aggregate of one feature over the joined events ``p`` of an event ``e``."""
    wheres = ["p.n is not null"]
    if item.where is not None:
        wheres.append(FILTERS[filters[item.where]])
    wheres += [f"p.{COLUMNS[name]} is not null" for name in item.of]
    only = f"filter (where {' and '.join(wheres)})"
    of = f"p.{COLUMNS[item.of[0]]}" if item.of else "p.n"
    n = f"count(*) {only}"
    exact = f"coalesce(sum({of}::hugeint) {only}, 0)"
    square = f"coalesce(sum({of}::hugeint * {of}::hugeint) {only}, 0)"
    text = {
        Agg.COUNT: n,
        Agg.SUM: exact,
        Agg.MEAN: f"avg({of}::double) {only}",
        Agg.STD: f"case when {n} > 0 then sqrt(({n} * {square} - {exact} * {exact})::double) / {n} end",
        Agg.MIN: f"min({of}) {only}",
        Agg.MAX: f"max({of}) {only}",
        Agg.DISTINCT: f"least(count(distinct {of}) {only}, {item.max_distinct})",
        Agg.FIRST: f"first({of} order by p.t, p.n) {only}",
        Agg.LAST: f"last({of} order by p.t, p.n) {only}",
        Agg.SINCE_FIRST: f"e.t - min(p.t) {only}",
        Agg.SINCE_LAST: f"e.t - max(p.t) {only}",
    }[item.agg]
    return f"case when {n} >= {item.min_count} then {text} end" if item.min_count else text


def differences(expected: Mapping[str, list[Any]], was: Mapping[str, list[Any]]) -> list[str]:
    """Return what differs: integers and texts by value, fractions by more than 1e-9 of them."""
    out = []
    for name, column in expected.items():
        for row, (right, value) in enumerate(zip(column, was[name], strict=True)):
            if right is None or value is None or not isinstance(value, float):
                equal = right == value
            else:
                equal = abs(right - value) <= 1e-9 * max(abs(right), abs(value))
            if not equal:
                out.append(f"{name}, event {row}: SQL says {right!r}, the engine {value!r}")
    return out
