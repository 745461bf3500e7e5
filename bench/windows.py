"""Suite `windows`: the windows of a workload alone, by batch size, by kind of key and by aggregates."""

from __future__ import annotations

from typing import Any

from fraudstream.bench.curves import Settings
from fraudstream.bench.points import bundle_of, days
from fraudstream.bench.report import Table

BATCHES = (1, 8, 64, 1_000)
STEPS = (
    ("count", ("count",)),
    ("and sum", ("count", "sum")),
    ("and mean, std", ("count", "sum", "mean", "std")),
    ("and min, max", ("count", "sum", "mean", "std", "min", "max")),
    ("distinct alone", ("distinct",)),
    ("ewma alone", ("ewma",)),
    ("first, last, since_* alone", ("first", "last", "since_first", "since_last")),
)
"""What is added to what."""


def run(
    settings: Settings, workload: str, accounts: int, skew: float, *, profile: bool
) -> tuple[list[Table], dict[str, object]]:
    """Measure after twelve hours of traffic: every transaction has every key, and in the usual mix."""
    fill = days(accounts, 0.5)
    base = {"accounts": accounts, "per_day": days(accounts, 1), "skew": skew}
    note = (
        f"{accounts:,} accounts, Zipf {skew}, {fill:,} transactions of history; microseconds of processor "
        f"time, median of {settings.rounds} rounds. Filters are not evaluated here."
    )
    sizes = Table(
        f"Windows of {workload}",
        ["keys of a transaction", "batch", "admission us", "features us", "min", "max", "ns a feature"],
        note=note,
    )
    data: dict[str, object] = {}
    for name, every_key in (("all", True), ("reference mix", False)):
        point = settings.cost(
            f"{workload}, {name}",
            workload=workload,
            mix=base | {"every_key": every_key},
            fill=fill,
            batches=list(BATCHES),
        )
        if point is None:
            continue
        data[name] = point
        for size, one in point["runs"].items():
            each = one["us"] * 1_000 / point["features"]
            sizes.rows.append(
                [name, int(size), one["admit_us"], one["us"], one["min_us"], one["max_us"], each]
            )
    tables = [sizes]
    if profile:
        kinds = dict.fromkeys(
            "+".join(item.key) for item in bundle_of(workload, settings.resolution).features.features
        )
        parts: list[tuple[str, dict[str, Any]]] = [(kind, {"kind": kind}) for kind in kinds]
        parts += [(label, {"aggs": aggs}) for label, aggs in STEPS]
        table = Table(
            f"Parts of {workload}, each alone",
            ["part", "features", "features us", "min", "max", "ns a feature", "keys", "state bytes"],
            note="Batches of 1,000, every transaction has every key.",
        )
        found = {}
        for label, choice in parts:
            point = settings.cost(
                f"{workload}, {label}", workload=workload, mix=base | {"every_key": True}, fill=fill, **choice
            )
            if point is None or not point["features"]:
                continue
            found[label] = point
            one = point["runs"]["1000"]
            each = one["us"] * 1_000 / point["features"]
            row = [label, point["features"], one["us"], one["min_us"], one["max_us"], each]
            table.rows.append([*row, sum(point["keys"].values()), point["state_bytes"]])
        data["parts"] = found
        tables.append(table)
    return tables, data
