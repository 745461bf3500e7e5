"""How the life of a process ends: asked to, or with the first reason that makes it impossible to go on."""

from __future__ import annotations

import asyncio

from fraudstream.stream import messages
from fraudstream.stream.errors import FraudstreamError, RestartMe
from fraudstream.stream.logs import kind, tell
from fraudstream.stream.lost_rights import as_not_permitted


class Ending:
    """Whether the process has to stop, and why."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        """Set when it has to stop; :attr:`problem` says why, None: it was asked to."""
        self.problem: BaseException | None = None

    def failed(self, reason: BaseException) -> None:
        """Give everything up; the first reason counts."""
        if self.problem is None:
            self.problem = reason = as_not_permitted(reason) or reason
            if not isinstance(reason, FraudstreamError):
                tell(messages.UNEXPECTED, error=reason, kind=kind(reason))
                self.problem = RestartMe(f"unexpected error: {kind(reason)}; the log says where")
                self.problem.__cause__ = reason
        self.ended.set()
