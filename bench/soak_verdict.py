"""Verdict of a soak: is memory flat, do latencies grow, and is every stall explained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fraudstream.bench.soak_load import Stall

MEMORY_GROWTH_MAX = 0.02
"""Of the median, over the measured part: beyond it memory is not flat."""
LATENCY_GROWTH_MAX = 0.20
"""Of the median: a smaller growth is no trend that anybody would see."""
TREND_P = 0.01
"""A growth that chance makes oftener than this is no trend."""
EXPLAINED_SHARE = 0.4
"""Of a stall's worst latency that causes measured at the same time must add up to."""
NEAR_S = 0.1
"""A cause may end this long before a stall shows."""


@dataclass(frozen=True, slots=True)
class Trend:
    """How a row of figures, one a minute, changed from its begin to its end."""

    median: float
    growth: float
    """Theil and Sen's slope over the whole row, as a share of the median."""
    p: float
    """Mann and Kendall's probability that a row without a trend looks like this, two-sided."""

    def grows(self, limit: float) -> bool:
        """Return whether it grew by more than a share that matters, and not by chance."""
        return self.growth > limit and self.p < TREND_P


def trend(values: Sequence[float]) -> Trend:
    """Return the trend of at least two values: Theil 1950 and Sen 1968; Mann 1945 and Kendall 1975."""
    row = np.array(values, np.float64)
    n = len(row)
    first, second = np.triu_indices(n, 1)
    slope = float(np.median((row[second] - row[first]) / (second - first)))
    s = float(np.sign(row[second] - row[first]).sum())
    ties = np.unique(row, return_counts=True)[1]
    variance = (n * (n - 1) * (2 * n + 5) - float((ties * (ties - 1) * (2 * ties + 5)).sum())) / 18
    z = 0.0 if variance <= 0 else (s - math.copysign(1, s) * (s != 0)) / math.sqrt(variance)
    median = float(np.median(row))
    return Trend(median, slope * (n - 1) / median if median else 0.0, math.erfc(abs(z) / math.sqrt(2)))


@dataclass(frozen=True, slots=True)
class Explained:
    """A stall with what was measured at the same time."""

    stall: Stall
    causes: Mapping[str, float]
    """Name -> milliseconds."""
    during: Sequence[str]
    """What was under way: no cause, an orientation."""

    @property
    def explained(self) -> bool:
        """Return whether the causes add up to a good part of it."""
        return sum(self.causes.values()) >= EXPLAINED_SHARE * self.stall.worst_ms


def explain(
    stall: Stall,
    watched: Sequence[Mapping[str, Any]],
    sender_late: Sequence[tuple[float, float]],
    probe_slow: Sequence[tuple[float, float]],
    reloads: Sequence[float],
) -> Explained:
    """Look for what happened at the time of a stall.

    Args:
        stall: what was seen.
        watched: notes of the worker's watch.
        sender_late: (at, ms) at which records were sent late.
        probe_slow: (at, ms) of slow acknowledgements of the broker, measured without the worker.
        reloads: times at which the rules directory was edited.
    """
    begin, end = stall.begin - NEAR_S, stall.end + NEAR_S
    causes: dict[str, float] = {}
    during: list[str] = []

    def overlap_ms(at: float, ms: float) -> float:
        return max(0.0, min(end, at) - max(begin, at - ms / 1000)) * 1000

    for note in watched:
        at, ms = float(note["at"]), float(note["ms"])
        shared = overlap_ms(at, ms)
        if not shared:
            continue
        if note["kind"] == "snapshot":
            during.append("snapshot")
        elif note["kind"] == "gc":
            causes[f"garbage collection, {note['what']}"] = shared
        else:
            wait = min(float(note["cpu_wait_ms"]), shared)
            if wait >= 1:
                _add(causes, "worker waited for a processor", wait)
            if note["kind"] == "loop" and shared - wait >= 1:
                _add(causes, f"worker was in {note['what']}", shared - wait)
    for name, slow in (("sender was late", sender_late), ("broker was slow for the probe", probe_slow)):
        covered = _covered_ms([(max(begin, at - ms / 1000), min(end, at)) for at, ms in slow])
        if covered:
            causes[name] = covered
    behind_ms = stall.worst_ms - stall.published_ms
    if behind_ms > stall.worst_ms / 2:
        causes["after the worker had sent the decision"] = behind_ms
    during += ["reload" for at in reloads if begin - 2 <= at <= end]
    return Explained(stall, causes, tuple(dict.fromkeys(during)))


def _covered_ms(intervals: Sequence[tuple[float, float]]) -> float:
    """Return the length of the union of intervals in milliseconds; a negative one is none."""
    covered, upto = 0.0, -math.inf
    for begin, end in sorted(intervals):
        if end > max(begin, upto):
            covered += end - max(begin, upto)
            upto = end
    return covered * 1000


def _add(causes: dict[str, float], name: str, ms: float) -> None:
    causes[name] = causes.get(name, 0.0) + ms
