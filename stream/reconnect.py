"""A broker that is away: how its clients say so, and a pause before they look for it again.

Without the pause a client of aiokafka 0.14.0 whose broker refuses connections tries thousands of times a
second, and writes a line for each try.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka import errors

AWAY = (
    errors.KafkaConnectionError,
    errors.KafkaTimeoutError,
    errors.LeaderNotAvailableError,
    errors.NodeNotReadyError,
    errors.NotLeaderForPartitionError,
    errors.RequestTimedOutError,
)
"""Errors of a broker that is away or just back; what was asked may be asked again."""

PAUSE_S = 1.0
"""A broker that comes back is found within this time; sessions last ten times as long."""


def pause_between_tries(client: Any) -> None:
    """Make an ``AIOKafkaClient`` wait after each round in which no broker gave metadata."""
    update = client._metadata_update  # noqa: SLF001

    async def update_or_wait(cluster: Any, topics: Any) -> bool:
        done = bool(await update(cluster, topics))
        if not done:
            await asyncio.sleep(PAUSE_S)
        return done

    client._metadata_update = update_or_wait  # noqa: SLF001
