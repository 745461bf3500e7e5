"""Verdict of a soak: is memory flat, do latencies grow, and is every stall explained."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
"""Of a stall's worst latency that has to be filled with causes measured at the same time."""
NEAR_S = 0.05
"""A backlog of less than a stall may have begun this long before."""
RELOAD_S = 2.0
"""An edit may take this long until it is in force."""


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
    """A stall with what was measured while its worst decision was under way."""

    stall: Stall
    causes: Mapping[str, float]
    """Name -> milliseconds."""
    covered_ms: float
    """Of the worst decision's time, with any cause."""
    during: Sequence[str]
    """What was under way: no cause, an orientation."""

    @property
    def explained(self) -> bool:
        """Return whether causes fill a good part of it."""
        return self.covered_ms >= EXPLAINED_SHARE * self.stall.worst_ms


class Times:
    """Things that ended at a moment and took a while, found by interval."""

    def __init__(self, items: Iterable[tuple[float, float, Any]]) -> None:
        """Take (Unix seconds of the end, milliseconds, what)."""
        self._items = sorted(items, key=lambda item: item[0])
        self._ends = [at for at, _, _ in self._items]
        self._longest_s = max((ms for _, ms, _ in self._items), default=0.0) / 1000

    def within(self, begin: float, end: float) -> Iterator[tuple[float, float, Any]]:
        """Yield (begin, end, what) of those that meet an interval, cut to it."""
        for at, ms, what in self._items[bisect_left(self._ends, begin) :]:
            if at - self._longest_s > end:
                return
            first, last = max(begin, at - ms / 1000), min(end, at)
            if last > first:
                yield first, last, what


class Measured:
    """Everything that was measured beside the latencies."""

    def __init__(
        self,
        watched: Iterable[Mapping[str, Any]],
        sender_late: Iterable[tuple[float, float]],
        probe_slow: Iterable[tuple[float, float]],
        reloads: Sequence[float],
    ) -> None:
        """Sort it.

        Args:
            watched: notes of the worker's watch.
            sender_late: (at, ms) at which records were sent late.
            probe_slow: (at, ms) of slow acknowledgements of the broker, measured without the worker.
            reloads: times at which the rules directory was edited.
        """
        notes = [(float(note["at"]), float(note["ms"]), note) for note in watched]
        self._snapshots = Times(note for note in notes if note[2]["kind"] == "snapshot")
        self._notes = Times(note for note in notes if note[2]["kind"] != "snapshot")
        self._slow = {
            "sender was late": Times((at, ms, None) for at, ms in sender_late),
            "broker was slow for the probe": Times((at, ms, None) for at, ms in probe_slow),
        }
        self._reloads = reloads

    def explain(self, stall: Stall) -> Explained:
        """Look for what happened while the worst decision of a stall was under way."""
        end = stall.worst_due + stall.worst_ms / 1000
        begin = stall.worst_due - NEAR_S
        found: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for first, last, note in self._notes.within(begin, end):
            if note["kind"] == "gc":
                found[f"garbage collection, {note['what']}"].append((first, last))
                continue
            wait_s = min(note["cpu_wait_ms"] / 1000, last - first)
            found["worker waited for a processor"].append((first, first + wait_s))
            if note["kind"] == "loop":
                found[f"worker was in {note['what']}"].append((first + wait_s, last))
        for name, times in self._slow.items():
            found[name] += [(first, last) for first, last, _ in times.within(begin, end)]
        behind_ms = stall.worst_ms - stall.published_ms
        if behind_ms > stall.worst_ms / 2:
            found["after the worker had sent the decision"].append((end - behind_ms / 1000, end))
        causes = {name: ms for name, parts in found.items() if (ms := _covered_ms(parts)) >= 1}
        during = ["snapshot"] * any(True for _ in self._snapshots.within(stall.begin, stall.end))
        during += ["reload"] * any(stall.begin - RELOAD_S <= at <= stall.end for at in self._reloads)
        covered_ms = _covered_ms([part for parts in found.values() for part in parts])
        return Explained(stall, causes, covered_ms, during)


def _covered_ms(intervals: Sequence[tuple[float, float]]) -> float:
    """Return the length of the union of intervals in milliseconds; a negative one is none."""
    covered, upto = 0.0, -math.inf
    for begin, end in sorted(intervals):
        if end > max(begin, upto):
            covered += end - max(begin, upto)
            upto = end
    return covered * 1000
