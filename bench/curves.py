"""Suite `curves`: what a transaction costs against keys, history, features and rules; how state grows.

Windows alone (admission and features), or rules alone: processor time of one core, each point in a process
of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from fraudstream.bench import child
from fraudstream.bench.chart import Chart, Point
from fraudstream.bench.points import days, spread_over
from fraudstream.bench.report import Table

Tables = tuple[list[Table], dict[str, object], list[Chart]]

COST = "fraudstream.bench.points:cost"
RULES = "fraudstream.bench.points:rules_cost"
RULE_SETS = (1, 2, 5, 10)
"""Of 200 rules each."""
GROWTH = "fraudstream.bench.points:growth"
KEYS = (10_000, 100_000, 1_000_000, 10_000_000)
KINDS_OF_KEY = 6.5
"""Keys for each account in W1a's five kinds, about."""
EVENTS_PER_KEY = 3.0
DAYS = (1, 3, 7, 14, 30, 60, 90)
FEATURES = (10, 30, 100, 300, 1_000, 1_900)


class Settings:
    """What all curves share."""

    def __init__(self, scale: float, rounds: int, count: int, resolution: str, cap_bytes: int) -> None:
        self.scale, self.rounds, self.count = scale, rounds, count
        self.resolution, self.cap_bytes = resolution, cap_bytes

    def cost(self, label: str, **arguments: Any) -> dict[str, Any] | None:
        """Measure a point; None where it needs more memory than it may have."""
        print(label, file=sys.stderr)
        given = {
            "resolution": self.resolution,
            "count": self.count,
            "rounds": self.rounds,
            "batches": [1_000],
        }
        try:
            return child.run(COST, cap_bytes=self.cap_bytes, **(given | arguments))
        except child.TooLargeError as problem:
            print(f"{label}: {problem}", file=sys.stderr)
            return None


def _spread(point: dict[str, Any]) -> tuple[float, float, float]:
    run = point["runs"]["1000"]
    return run["us"], run["min_us"], run["max_us"]


def _curve(
    title: str,
    note: str,
    x: tuple[str, Callable[[dict[str, Any]], float]],
    lines: dict[str, list[dict[str, Any]]],
    *,
    name: str,
    log_x: bool,
) -> tuple[Table, Chart]:
    """Make a table and a chart of points with a spread."""
    table = Table(
        title,
        ["windows", x[0], "keys", "us", "min", "max", "admission us", "state bytes", "resident bytes"],
        note=note,
    )
    chart = Chart(name, title, x[0], "us a transaction", log_x=log_x)
    for line, points in lines.items():
        drawn = []
        for point in points:
            median, low, high = _spread(point)
            keys = sum(point["keys"].values())
            admit = point["runs"]["1000"]["admit_us"]
            table.rows.append(
                [
                    line,
                    x[1](point),
                    keys,
                    median,
                    low,
                    high,
                    admit,
                    point["state_bytes"],
                    point["resident_bytes"],
                ]
            )
            drawn.append(Point(x[1](point), median, low, high))
        if drawn:
            chart.lines[line] = drawn
    return table, chart


def keys(settings: Settings) -> Tables:
    """Cost against the number of keys in memory."""
    points = []
    for wanted in KEYS:
        accounts = max(int(wanted * settings.scale / KINDS_OF_KEY), 200)
        fill = int(accounts * EVENTS_PER_KEY)
        # All of it lies in twelve hours: nothing leaves, and every account has the same history.
        mix = {
            "accounts": accounts,
            "per_day": spread_over(accounts, 12, EVENTS_PER_KEY),
            "skew": 0.0,
            "every_key": True,
        }
        point = settings.cost(f"keys: {accounts:,} accounts", workload="W1a", mix=mix, fill=fill)
        if point is not None:
            points.append(point)
    table, chart = _curve(
        "Cost against keys",
        "W1a's windows; every transaction has all five keys, accounts are drawn evenly, about "
        f"{EVENTS_PER_KEY:.0f} events each within twelve hours.",
        ("keys in memory", lambda point: sum(point["keys"].values())),
        {"W1a": points},
        name="keys",
        log_x=True,
    )
    return [table], {"keys": points}, [chart]


def history(settings: Settings) -> Tables:
    """Cost against days of history."""
    accounts = max(int(4_000 * settings.scale), 100)
    points = []
    for number in DAYS:
        mix = {"accounts": accounts, "per_day": days(accounts, 1)}
        fill = days(accounts, number)
        point = settings.cost(f"history: {number} days", workload="W1", mix=mix, fill=fill)
        if point is not None:
            points.append(point | {"days": number})
    table, chart = _curve(
        "Cost against history",
        f"W1's windows, up to 30 days; the reference bank's mix over {accounts:,} accounts.",
        ("days", lambda point: point["days"]),
        {"W1": points},
        name="history",
        log_x=False,
    )
    return [table], {"history": points}, [chart]


def features(settings: Settings) -> Tables:
    """Cost against the number of features."""
    accounts = max(int(400_000 * settings.scale), 1_000)
    mix = {"accounts": accounts, "per_day": days(accounts, 1), "skew": 0.8}
    lines: dict[str, list[dict[str, Any]]] = {}
    for line, every_key in (("all seven keys", True), ("reference mix", False)):
        lines[line] = []
        for number in FEATURES:
            point = settings.cost(
                f"features: {number}, {line}",
                workload="W2",
                mix=mix | {"every_key": every_key},
                fill=days(accounts, 0.5),
                number=number,
            )
            if point is not None:
                lines[line].append(point)
    table, chart = _curve(
        "Cost against features",
        f"W2's indicators, so many of them drawn at random; {accounts:,} accounts, Zipf 0.8, twelve hours of "
        "history.",
        ("features", lambda point: point["features"]),
        lines,
        name="features",
        log_x=False,
    )
    return [table], {"features": lines}, [chart]


def rules(settings: Settings) -> Tables:
    """Cost of the rules alone against their number."""
    points = []
    for files in RULE_SETS:
        print(f"rules: {files} rule sets", file=sys.stderr)
        point = child.run(
            RULES,
            cap_bytes=settings.cap_bytes,
            workload="W2",
            resolution=settings.resolution,
            accounts=max(int(40_000 * settings.scale), 100),
            files=files,
            count=min(settings.count, 20_000),
            rounds=settings.rounds,
            batches=[8, 64, 1_000],
        )
        points.append(point)
    title = "Cost against rules"
    table = Table(
        title,
        ["rules", "names read", "batch", "us", "min", "max", "ns a rule"],
        note="W2's first rules over all of its 1,900 indicators, generated traffic, the step `rules` alone.",
    )
    chart = Chart("rules", title, "rules", "us a transaction")
    for point in points:
        for batch, run in point["runs"].items():
            each = run["us"] * 1_000 / point["rules"]
            row = [point["rules"], point["names"], int(batch), run["us"], run["min_us"], run["max_us"], each]
            table.rows.append(row)
    for batch in ("64", "1000"):
        runs = [(point["rules"], point["runs"][batch]) for point in points]
        line = [Point(number, run["us"], run["min_us"], run["max_us"]) for number, run in runs]
        chart.lines[f"batches of {int(batch):,}"] = line
    return [table], {"rules": points}, [chart]


def growth(settings: Settings) -> Tables:
    """State over three days with 30 % never-seen accounts, then three quiet days."""
    accounts = max(int(400_000 * settings.scale), 1_000)
    lines: dict[str, list[dict[str, Any]]] = {}
    for line, share in (("30 % never seen", 0.3), ("known accounts", 0.0)):
        print(f"growth: {line}", file=sys.stderr)
        lines[line] = child.run(
            GROWTH,
            cap_bytes=settings.cap_bytes,
            workload="W1a",
            resolution=settings.resolution,
            accounts=accounts,
            never_seen=share,
            hours=72,
            quiet_hours=72,
            every_hours=4,
        )["samples"]
    table = Table(
        "Growth and shrinking",
        ["traffic", "hour", "keys", "state bytes", "resident bytes", "us"],
        note=f"W1a's windows (24 h and 1 h of lateness), {accounts:,} accounts at the reference bank's rate "
        "for 72 hours, then a tenth of it. Resident bytes are the growth of the process.",
    )
    charts = [
        Chart("growth_keys", "Keys in memory", "hours", "keys"),
        Chart("growth_bytes", "Bytes of state", "hours", "bytes"),
    ]
    for line, samples in lines.items():
        for one in samples:
            table.rows.append(
                [line, *(one[name] for name in ("hour", "keys", "state_bytes", "resident_bytes", "us"))]
            )
        charts[0].lines[line] = [Point(one["hour"], one["keys"]) for one in samples]
        charts[1].lines[line] = [Point(one["hour"], one["state_bytes"]) for one in samples]
        charts[1].lines[f"{line}, resident"] = [Point(one["hour"], one["resident_bytes"]) for one in samples]
    return [table], {"growth": lines}, charts


CURVES: dict[str, Callable[[Settings], Tables]] = {
    "keys": keys,
    "history": history,
    "features": features,
    "rules": rules,
    "growth": growth,
}


def run(settings: Settings, names: Sequence[str]) -> Tables:
    """Measure some curves."""
    tables: list[Table] = []
    data: dict[str, object] = {}
    charts: list[Chart] = []
    for name in names:
        more, found, drawn = CURVES[name](settings)
        tables += more
        data |= found
        charts += drawn
    return tables, data, charts
