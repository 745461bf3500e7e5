"""The lease: for how long this process may believe that its partitions are its own.

The group coordinator gives a member's partitions away when it has not heard a heartbeat for the session
timeout. It heard each one after we sent it; so until one session timeout after the *sending* of the last
heartbeat that was answered well, nobody else can own them. The clock goes on while the machine sleeps: a
suspended laptop or a paused virtual machine must wake up without a lease.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable

from fraudstream.stream.errors import RestartMe

LOOK_S = 0.1
"""Time between two looks at a lease that is over."""


def boottime_s() -> float:
    """Return seconds of a clock that also runs while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """When the coordinator last answered well. Written by the consumer's thread, read by the loop."""

    def __init__(self, session_timeout_ms: int, clock: Callable[[], float] = boottime_s) -> None:
        self._timeout_s = session_timeout_ms / 1000
        self._clock = clock
        self._sent_s: float | None = None

    def now_s(self) -> float:
        """Return the lease's clock; note it *before* a heartbeat is sent."""
        return self._clock()

    def answered(self, sent_s: float) -> None:
        """Note that the heartbeat sent at ``sent_s`` was answered without an error or a rebalance."""
        if self._sent_s is None or sent_s > self._sent_s:
            self._sent_s = sent_s

    def left_s(self) -> float:
        """Return for how many seconds the lease still holds; not positive: it does not."""
        return -1.0 if self._sent_s is None else self._sent_s + self._timeout_s - self._clock()

    def broker_answers(self) -> bool:
        """Return whether the last good answer is younger than half a session; else the broker is away."""
        return self.left_s() > self._timeout_s / 2

    def check(self, before: str) -> None:
        """Go on only with the lease.

        Args:
            before: What would be done, for the message.

        Raises:
            RestartMe: the lease is over; somebody else may own the partitions.
        """
        left_s = self.left_s()
        if left_s <= 0:
            raise RestartMe(
                f"lease was over for {-left_s:.1f} s before {before}: no heartbeat was answered within the "
                f"session timeout of {self._timeout_s:g} s; another worker may own the partitions"
            )

    async def held(
        self, before: str, ask: Callable[[], Awaitable[bool]], stopped: Callable[[], bool]
    ) -> bool:
        """Go on only with the lease; over an outage of the broker, wait for it.

        While nobody answers, nobody else is given the partitions. When the broker is back, the group says
        whose they are: it prolongs the lease, or takes them away.

        Args:
            before: What would be done, for the message.
            ask: Asks the broker something, and tells whether it answered.
            stopped: Whether the partitions are to be given up.

        Returns:
            Whether there is a lease and nobody wants to stop.

        Raises:
            RestartMe: the broker has answered for a session timeout, and nobody prolonged the lease.
        """
        over_s = math.inf
        while self.left_s() <= 0 and not stopped():
            if self._clock() > over_s:
                self.check(before)
            if math.isinf(over_s) and await ask():
                over_s = self._clock() + self._timeout_s
            await asyncio.sleep(LOOK_S)
        return not stopped()
