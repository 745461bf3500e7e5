"""Event times as days of an operator's calendar."""

from __future__ import annotations

import datetime as dt

import numpy as np
from numpy.typing import NDArray

from fraudstream.rules.compiler.zones import load_zone

I64 = NDArray[np.int64]

DAY_MS = 86_400_000
_EPOCH = dt.date(1970, 1, 1)


class Calendar:
    """Days of a time zone."""

    def __init__(self, zone: str) -> None:
        self.zone = zone
        found = load_zone(zone)
        self._instant, self._offset = np.asarray(found.instant), np.asarray(found.offset)

    def days(self, times_ms: I64) -> I64:
        """Return the local day of each instant, counted from 1970-01-01."""
        at = np.maximum(np.searchsorted(self._instant, times_ms, "right") - 1, 0)
        return np.asarray((times_ms + self._offset[at]) // DAY_MS)

    @staticmethod
    def name(day: int) -> str:
        """Return a day as people write it: 2026-01-05."""
        return str(_EPOCH + dt.timedelta(days=day))
