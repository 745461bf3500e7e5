"""Log lines of libraries that repeat themselves are written once in a while, with how often they came."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

INTERVAL_S = 10.0
LIBRARIES = ("aiokafka", "faust", "mode")
KEPT = 1_000
"""Different messages that are remembered; libraries have some dozens."""


class Repeats(logging.Filter):
    """Lets a message of a library pass once per interval; other arguments make no other message."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._passed: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is written."""
        if not record.name.startswith(LIBRARIES):
            return True
        key, now_s = (record.name, str(record.msg)), self._now()
        at_s, dropped = self._passed.get(key, (float("-inf"), 0))
        if now_s - at_s < INTERVAL_S:
            self._passed[key] = (at_s, dropped + 1)
            return False
        if key not in self._passed and len(self._passed) >= KEPT:
            self._passed.clear()
        self._passed[key] = (now_s, 0)
        if dropped:
            record.msg = f"{record.getMessage()} (and {dropped} times in the {now_s - at_s:.0f} s before)"
            record.args = ()
        return True
