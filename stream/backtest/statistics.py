"""Shares with intervals, and what a set of transactions adds up to."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from fraudstream.stream.backtest import layout as at
from fraudstream.stream.backtest.labels import Labels
from fraudstream.stream.backtest.reader import FeatureLog

I64 = NDArray[np.int64]

Z95 = 1.959963984540054
"""Of a two-sided interval of 95 %."""


@dataclass(frozen=True, slots=True)
class Share:
    """A share with its Wilson interval of 95 % (E. B. Wilson, JASA 22, 1927)."""

    count: int
    of: int

    @property
    def value(self) -> float | None:
        """Return the share, None of nothing."""
        return self.count / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float]:
        """Return the bounds; of nothing everything is possible."""
        n = self.of
        if not n:
            return 0.0, 1.0
        p, z2 = self.count / n, Z95 * Z95
        middle = (p + z2 / (2 * n)) / (1 + z2 / n)
        half = Z95 * sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
        return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True, slots=True)
class Tally:
    """A set of transactions."""

    count: int
    minor: int
    """Amount in minor units of the base currency."""
    by_class: dict[str, tuple[int, int]]
    """Label class -> (count, amount); only classes that occur."""

    def of(self, name: str) -> int:
        """Return the count of a class."""
        return self.by_class.get(name, (0, 0))[0]

    def minor_of(self, name: str) -> int:
        """Return the amount of a class."""
        return self.by_class.get(name, (0, 0))[1]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the rows that matter: matched, decided or labelled ones."""

    row: I64
    """[k] ascending."""
    time_ms: I64
    minor: I64
    key: I64
    label: NDArray[np.uint8]
    """[k] place in ``names``."""
    judged: NDArray[np.bool_]
    """[k] old enough for labels to have come."""
    names: tuple[str, ...]

    def at(self, rows: I64) -> I64:
        """Return the places of rows, all of which are known."""
        return np.searchsorted(self.row, rows)

    def tally(self, rows: I64, *, judged: bool = False) -> Tally:
        """Add up rows; ``judged``: only those old enough for labels."""
        place = self.at(rows)
        if judged:
            place = place[self.judged[place]]
        label, minor = self.label[place], self.minor[place]
        counts = np.bincount(label, minlength=len(self.names))
        sums = np.zeros(len(self.names), np.int64)
        np.add.at(sums, label, minor)
        classes = zip(self.names, counts.tolist(), sums.tolist(), strict=True)
        return Tally(len(place), int(minor.sum()), {name: (n, s) for name, n, s in classes if n})


def gather_facts(
    log: FeatureLog, rows: I64, labels: Labels, time: str, amount: str | None, lag_ms: int
) -> Facts:
    """Read what is known of rows.

    Args:
        log: where they are.
        rows: ascending.
        labels: of the log.
        time: field of the event's time.
        amount: field of the amount, None: events have none.
        lag_ms: how long labels take; younger rows are not judged.
    """
    every = np.union1d(rows, labels.row)
    times = log.numbers(time, every)
    minor = np.zeros(len(every), np.int64) if amount is None else log.numbers(amount, every, 0)
    newest = int(times.max(initial=0))
    return Facts(
        every,
        times,
        minor,
        log.numbers(at.KEY, every),
        labels.of(every),
        times <= newest - lag_ms,
        labels.names,
    )
