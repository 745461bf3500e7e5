"""All partitions of a worker go on with something else; one that was given away keeps nobody waiting."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from fraudstream.stream.switching import switch_all


def partition(*, journals: bool) -> SimpleNamespace:
    """Return what is asked of a partition: one that journals what it is told, or one that was given away."""
    made = SimpleNamespace(switched=asyncio.Event(), told=0)

    def retarget() -> None:
        made.told += 1
        if journals:
            made.switched.set()

    made.retarget = retarget
    return made


async def test_a_partition_that_was_given_away_is_not_waited_for(caplog) -> None:
    """Each is told once; the wait ends, and the log says so."""
    stays, goes = partition(journals=True), partition(journals=False)
    async with asyncio.timeout(30):
        assert await switch_all([stays, goes], "sha256:5f2c", 0.05) == 2
    assert (stays.told, goes.told) == (1, 1)
    assert "not every partition has journaled `sha256:5f2c`" in caplog.text


async def test_nothing_is_said_where_all_have_journaled(caplog) -> None:
    """The usual case."""
    assert await switch_all([partition(journals=True)], "sha256:5f2c") == 1
    assert not caplog.records
