"""One line of progress on standard error: rewritten on a terminal, now and then in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

LOG_INTERVAL_S = 5.0
"""In a log file a line at most this often."""
TERMINAL_INTERVAL_S = 0.1


class Progress:
    """Shows ``text: done of total``; shows nothing for work of less than ``quiet_s``."""

    def __init__(self, text: str, total: int, unit: str = "files", quiet_s: float = 0.5) -> None:
        self._text, self._total, self._unit = text, total, unit
        self._terminal = sys.stderr.isatty()
        self._next = time.monotonic() + quiet_s
        self._shown = False

    def __enter__(self) -> Self:
        """Start the clock."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the line."""
        if self._shown and self._terminal:
            sys.stderr.write("\n" if kind else "\r\x1b[K")
            sys.stderr.flush()

    def at(self, done: int) -> None:
        """Show how far the work is, if it is time to."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + (TERMINAL_INTERVAL_S if self._terminal else LOG_INTERVAL_S)
        self._shown = True
        start, end = ("\r", "\x1b[K") if self._terminal else ("", "\n")
        sys.stderr.write(f"{start}{self._text}: {done:,} of {self._total:,} {self._unit}{end}")
        sys.stderr.flush()
