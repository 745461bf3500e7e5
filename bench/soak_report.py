"""The report of a soak: tables, charts, verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fraudstream.bench import report
from fraudstream.bench.chart import Chart, Point
from fraudstream.bench.report import Table
from fraudstream.bench.soak_load import STALL_MS, Minute, Stall
from fraudstream.bench.soak_verdict import (
    EXPLAINED_SHARE,
    LATENCY_GROWTH_MAX,
    MEMORY_GROWTH_MAX,
    TREND_P,
    Explained,
    Measured,
    Trend,
    trend,
)

QUANTILES = (50.0, 90.0, 99.0, 99.9)
MINUTES_MIN = 10
"""Of the measured part: even a row that only rises could be chance in fewer."""
STALLS_SHOWN = 60
CAUSES_SHOWN = 4
CAUSE_SHOWN = 0.05
"""Of the worst latency: smaller causes are in the JSON only."""


@dataclass(frozen=True)
class Run:
    """What a soak found; times are Unix seconds."""

    seconds: float
    warm_s: float
    rate: int
    began: float
    sent: int
    failed: int
    answered: int
    repeated: int
    odd: int
    """Records that W5 made of others, history included."""
    history: int
    minutes: Sequence[Minute]
    stalls: Sequence[Stall]
    memory: Sequence[tuple[float, int]]
    edits: Sequence[tuple[float, str]]
    """When, and what the worker should make of it: a value of ``reload_total``."""
    reloads: Mapping[str, int]
    """What it counted."""
    watched: Sequence[Mapping[str, Any]]
    sender_late: Sequence[tuple[float, float]]
    probe_slow: Sequence[tuple[float, float]]
    cut_short: bool
    note: str

    @property
    def whole_minutes(self) -> int:
        """Return how many minutes were sent in full."""
        return min(len(self.minutes), int(self.sent / self.rate // 60))

    @property
    def warm_minutes(self) -> int:
        """Return how many whole minutes the verdict leaves out."""
        return round(self.warm_s / 60)

    def quantile_ms(self, minute: int, share: float) -> float:
        """Return a quantile of a minute's latency."""
        return float(self.minutes[minute].histogram.get_value_at_percentile(share)) / 1000

    def memory_mib(self) -> list[float]:
        """Return the median of each whole minute."""
        at = np.array([int((when - self.began) // 60) for when, _ in self.memory])
        size = np.array([value for _, value in self.memory], np.float64) / 2**20
        return [float(np.median(size[at == minute])) for minute in range(self.whole_minutes)]

    def trends(self) -> dict[str, Trend]:
        """Return the trend of memory and of each quantile over the measured minutes."""
        measured = range(self.warm_minutes, self.whole_minutes)
        if len(measured) < MINUTES_MIN:
            return {}
        rows = {"resident memory MiB": [self.memory_mib()[minute] for minute in measured]}
        for share in QUANTILES[:3]:
            rows[f"p{share:g} ms"] = [self.quantile_ms(minute, share) for minute in measured]
        return {name: trend(row) for name, row in rows.items()}

    @cached_property
    def explained(self) -> list[Explained]:
        """Return all stalls with what was measured meanwhile."""
        reloads = [at for at, _ in self.edits]
        measured = Measured(self.watched, self.sender_late, self.probe_slow, reloads)
        return [measured.explain(stall) for stall in self.stalls]


def verdict(run: Run) -> list[str]:
    """Return what does not hold; empty: everything does."""
    problems: list[str] = []
    if run.answered != run.sent or run.failed:
        problems.append(
            f"{run.answered:,} of {run.sent:,} records have a decision, {run.failed} were not taken"
        )
    if run.repeated:
        problems.append(f"{run.repeated:,} decisions were out of order or repeated")
    meant = Counter(what for _, what in run.edits)
    was = Counter(run.reloads)
    problems += [
        f"{meant[what]} edits should be {what}, {was[what]} were"
        for what in sorted(meant | was)
        if meant[what] != was[what]
    ]
    trends = run.trends()
    if not trends:
        problems.append(f"too short for a verdict: fewer than {MINUTES_MIN} minutes after the warm-up")
    for name, found in trends.items():
        limit = MEMORY_GROWTH_MAX if name.startswith("resident") else LATENCY_GROWTH_MAX
        if found.grows(limit):
            problems.append(f"{name} grew by {found.growth:.1%} (p = {found.p:.2g})")
    unexplained = sum(not stall.explained for stall in run.explained)
    if unexplained:
        problems.append(f"{unexplained} of {len(run.stalls)} stalls above {STALL_MS:g} ms are not explained")
    return problems


def write_report(run: Run, command: str, accounts: int, directory: Path) -> Path:
    """Write the report and return the path of its page."""
    parameters = {
        "workload": "W1a, hostile mix W5",
        "rate": run.rate,
        "duration": f"{run.seconds:g} s",
        "left out of the verdict": f"{run.warm_minutes} min",
        "accounts": accounts,
        "history": run.history,
    }
    explained = run.explained
    tables = [_verdict(run), _trends(run), _stalls(explained, run.began), _causes(explained), _minutes(run)]
    charts = _charts(run)
    data = {
        "answered": run.answered,
        "sent": run.sent,
        "cut_short": run.cut_short,
        "note": run.note,
        "edits": [[round(at - run.began, 1), what] for at, what in run.edits],
        "memory_bytes": [[round(at - run.began, 1), size] for at, size in run.memory[::10]],
        "latency_histograms": [minute.histogram.encode().decode() for minute in run.minutes],
        "stalls": [
            asdict(item.stall)
            | {name: getattr(item.stall, name) - run.began for name in ("begin", "end", "worst_due")}
            | {"causes": dict(item.causes), "during": list(item.during), "explained": item.explained}
            for item in explained
        ],
        "trends": {name: asdict(found) for name, found in run.trends().items()},
        "problems": verdict(run),
    }
    return report.write("W1a-soak", command, parameters, tables, data, directory, charts)[1]


def _verdict(run: Run) -> Table:
    problems = verdict(run)
    snapshots = sum(note["kind"] == "snapshot" for note in run.watched)
    note = "**Does not hold:** " + "; ".join(problems) + "." if problems else "**Holds.**"
    if run.cut_short:
        note += " It was ended early."
    if run.note:
        note += " " + run.note
    table = Table("Verdict", ["what", "was"], note=note)
    table.rows += [
        ["records sent", run.sent],
        ["decisions, each in the order of its record", run.answered],
        ["records that the mix W5 made, history included", run.odd],
        ["edits of the rules put in force", run.reloads.get("applied", 0)],
        ["edits of the rules refused", run.reloads.get("invalid", 0)],
        ["snapshots", snapshots],
        [f"stalls above {STALL_MS:g} ms", len(run.stalls)],
    ]
    return table


def _trends(run: Run) -> Table:
    table = Table(
        "Trends after the warm-up",
        ["minute by minute", "median", "growth of the whole run", "p", "trend"],
        note="Growth: Theil-Sen slope times length, as a share of the median; p: Mann-Kendall. "
        f"A trend is a growth above {MEMORY_GROWTH_MAX:.0%} (memory) or {LATENCY_GROWTH_MAX:.0%} (latency) "
        f"with p < {TREND_P}.",
    )
    for name, found in run.trends().items():
        limit = MEMORY_GROWTH_MAX if name.startswith("resident") else LATENCY_GROWTH_MAX
        row = [name, found.median, f"{found.growth:+.2%}", f"{found.p:.3f}"]
        table.rows.append([*row, "yes" if found.grows(limit) else "no"])
    return table


def _stalls(explained: Sequence[Explained], began: float) -> Table:
    table = Table(
        f"Stalls above {STALL_MS:g} ms",
        ["at minute", "worst ms", "decisions", "measured meanwhile", "under way", "explained"],
        note=f"A stall is a row of decisions later than {STALL_MS:g} ms after their records were due. It "
        f"is explained when causes that were measured while its worst decision was under way fill at least "
        f"{EXPLAINED_SHARE:.0%} of that time; waiting may count under two causes."
        + (f" The {STALLS_SHOWN} worst of {len(explained)}." if len(explained) > STALLS_SHOWN else ""),
    )
    worst = sorted(explained, key=lambda item: -item.stall.worst_ms)[:STALLS_SHOWN]
    for item in sorted(worst, key=lambda item: item.stall.begin):
        least = CAUSE_SHOWN * item.stall.worst_ms
        largest = sorted(item.causes.items(), key=lambda cause: -cause[1])[:CAUSES_SHOWN]
        causes = ", ".join(f"{name} {ms:.0f} ms" for name, ms in largest if ms >= least)
        table.rows.append(
            [
                (item.stall.begin - began) / 60,
                item.stall.worst_ms,
                item.stall.decisions,
                causes or "nothing",
                ", ".join(item.during) or "-",
                "yes" if item.explained else "no",
            ]
        )
    return table


def _causes(explained: Sequence[Explained]) -> Table:
    table = Table(
        "Largest cause of each stall", ["cause", "stalls"], note="Of all stalls, those not shown too."
    )
    largest = Counter(
        max(item.causes, key=lambda name: item.causes[name]) if item.causes else "nothing was measured"
        for item in explained
    )
    table.rows += [[name, count] for name, count in largest.most_common(15)]
    return table


def _minutes(run: Run) -> Table:
    names = [f"p{share:g} ms" for share in QUANTILES]
    table = Table("Minutes", ["minute", "decisions", *names, "max ms", "resident MiB", "block", "alert"])
    memory = run.memory_mib()
    for minute in range(run.whole_minutes):
        found = run.minutes[minute]
        table.rows.append(
            [
                minute + 1,
                sum(found.decisions.values()),
                *(run.quantile_ms(minute, share) for share in QUANTILES),
                float(found.histogram.get_max_value()) / 1000,
                memory[minute],
                found.decisions["block"],
                found.decisions["alert"],
            ]
        )
    return table


def _charts(run: Run) -> list[Chart]:
    if run.whole_minutes < 2:
        return []
    minutes = range(run.whole_minutes)
    latency = Chart("latency", "Latency by minute", "minute", "ms")
    for share in QUANTILES[:3]:
        latency.lines[f"p{share:g}"] = [Point(n + 1, run.quantile_ms(n, share)) for n in minutes]
    memory = Chart("memory", "Resident memory of the worker", "minute", "MiB")
    memory.lines["median"] = [Point(n + 1, size) for n, size in enumerate(run.memory_mib())]
    return [latency, memory]
