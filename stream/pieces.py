"""How many records are processed in one go, so that the event loop is never held for long."""

from __future__ import annotations

TARGET_S = 0.02
"""Aim for one piece; the loop may be held for 50 ms, and a piece can cost more than the last ones."""
FIRST_RECORDS = 128
LEAST_RECORDS = 16


class PieceSize:
    """Follows what a record costs. Decisions do not depend on it: batch borders are invisible."""

    def __init__(self, records_max: int, target_s: float = TARGET_S) -> None:
        self._max = records_max
        self._target_s = target_s
        self._cost_s = 0.0
        self.records = min(FIRST_RECORDS, records_max)

    def took(self, records: int, seconds: float) -> None:
        """Learn from a piece: dearer counts at once, cheaper slowly. Small pieces say nothing."""
        if records < LEAST_RECORDS:
            return
        cost_s = seconds / records
        self._cost_s = max(cost_s, 0.8 * self._cost_s + 0.2 * cost_s)
        wanted = int(self._target_s / max(self._cost_s, 1e-9))
        # At most doubled at a time: the next records may be dearer than the last.
        self.records = max(LEAST_RECORDS, min(wanted, 2 * self.records, self._max))
