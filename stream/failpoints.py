"""Failpoints: named places in the worker where a test may kill the process dead.

Inert unless ``FRAUDSTREAM_FAILPOINT=name:nth`` is set: then the nth time that ``name`` is reached the
process gets SIGKILL, so nothing is flushed, closed or said to the broker. The name is first written to
the file of ``FRAUDSTREAM_FAILPOINT_LOG``: a test in which the point never fired has proved nothing.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path

from fraudstream.stream.errors import Refusal

NAMES = (
    "after_fetch",  # a slice was fetched, nothing was done with it
    "mid_process",  # a piece changed the state, its outputs are in memory only
    "before_journal_ack",  # a journal record was sent, its acknowledgement not awaited
    "before_produce",  # alerts and dead letters of a piece are acknowledged, no decision was sent
    "mid_produce",  # the first decisions of a piece are acknowledged, the rest were not sent
    "sent_not_acked",  # all decisions of a piece were sent, none is known to be acknowledged
    "after_ack",  # decisions are acknowledged, the slice is not
    "mid_snapshot",  # some of a snapshot is on disk under its temporary name
    "before_rename",  # the temporary file is whole
    "after_rename",  # the snapshot counts, the committed offset is the old one
    "before_commit",
    "after_commit",
)
"""In the order of a slice's life, snapshots last."""

VARIABLE = "FRAUDSTREAM_FAILPOINT"
LOG_VARIABLE = "FRAUDSTREAM_FAILPOINT_LOG"


class Failpoints:
    """The failpoint of this process, if any."""

    def __init__(self, name: str = "", nth: int = 1, log: Path | None = None) -> None:
        self._name = name
        self._left = nth
        self._log = log

    @staticmethod
    def from_environment(environ: Mapping[str, str]) -> Failpoints:
        """Read ``FRAUDSTREAM_FAILPOINT``.

        Raises:
            Refusal: a name that does not exist, or a count that is none.
        """
        text = environ.get(VARIABLE, "")
        if not text:
            return Failpoints()
        name, _, count = text.partition(":")
        if name not in NAMES or not count.isdigit() or int(count) < 1:
            raise Refusal(
                f"`{VARIABLE}` was `{text}`, expected `name:nth` with a name out of {', '.join(NAMES)}"
            )
        log = environ.get(LOG_VARIABLE)
        return Failpoints(name, int(count), Path(log) if log else None)

    def armed(self, name: str) -> bool:
        """Return whether the next :meth:`hit` of ``name`` kills."""
        return name == self._name and self._left == 1

    def hit(self, name: str) -> None:
        """Pass a failpoint; does not return when it is the one asked for, the nth time."""
        if name != self._name:
            return
        self._left -= 1
        if self._left:
            return
        if self._log is not None:
            with self._log.open("a") as file:
                file.write(name + "\n")
        os.kill(os.getpid(), signal.SIGKILL)
