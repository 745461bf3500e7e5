"""What all partitions of a worker are to go on with: told to each, and waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from fraudstream.stream import messages
from fraudstream.stream.logs import tell
from fraudstream.stream.partition import Partition

SWITCH_S = 60.0
"""For all partitions to journal a change; one that was given away meanwhile is its new owner's business."""


async def switch_all(partitions: Iterable[Partition], version: str, limit_s: float = SWITCH_S) -> int:
    """Let partitions look at the target again and wait until they have journaled it, ``limit_s`` at most.

    Args:
        partitions: all that this worker owns.
        version: what they go on with, for the log.
        limit_s: after it a warning is logged, and nobody waits any more.

    Returns:
        How many partitions were told.
    """
    told = list(partitions)
    for partition in told:
        partition.retarget()
    try:
        async with asyncio.timeout(limit_s):
            await asyncio.gather(*(partition.switched.wait() for partition in told))
    except TimeoutError:
        tell(messages.CHANGE_SLOW, version=version, seconds=round(limit_s))
    return len(told)
