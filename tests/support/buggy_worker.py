"""A worker with one planted bug of the protocol, to see the tests of the protocol turn red.

``FRAUD_TEST_BUG`` names the bug, empty: none. ``FRAUD_TEST_SLOW_DECISIONS_S`` delays every append of
decisions as a slow broker would, which is no bug.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from fraudstream.stream.app import create_app
from fraudstream.stream.errors import FraudstreamError
from fraudstream.stream.journal import read_journal
from fraudstream.stream.journaling import Appender, JournalLog
from fraudstream.stream.partition import Partition
from fraudstream.stream.recovery import DecisionLog, Published
from fraudstream.stream.services import Services
from fraudstream.stream.settings import load_settings
from fraudstream.stream.snapshotting import Snapshotter
from fraudstream.stream.wire.batches_out import Outgoing
from fraudstream.stream.worker import Worker

BUGS = ("", "snapshot_before_acks", "highest_offset", "journal_not_awaited")
JOURNAL_DELAY_S = 2.0


class SlowDecisions:
    """An appender that takes its time with decisions."""

    def __init__(self, inner: Appender, topic: str, delay_s: float) -> None:
        self._inner = inner
        self._topic = topic
        self._delay_s = delay_s

    async def append(self, topic: str, partition: int, records: Iterable[Outgoing]) -> list[Any]:
        """Queue records, decisions late."""
        if topic == self._topic:
            await asyncio.sleep(self._delay_s)
        return await self._inner.append(topic, partition, records)

    async def settle(self, sent: Sequence[asyncio.Future[Any]], what: str) -> list[Any]:
        """Await the acknowledgement of sends."""
        return await self._inner.settle(sent, what)


class EarlySnapshots(Snapshotter):
    """Bug: a snapshot counts before the decisions below it are acknowledged."""

    async def _wait_for_acks(self, offset: int) -> None:
        pass


class Early(Partition):
    """A partition with that bug."""

    def _make_snapshotter(self) -> Snapshotter:
        made = super()._make_snapshotter()
        made.__class__ = EarlySnapshots
        return made


class HighestOffset(DecisionLog):
    """Bug: everything up to the highest published offset is taken for published."""

    async def read_from(self, begin: int, src_from: int) -> Published:
        """Read, and fill the holes with nonsense."""
        real = await super().read_from(begin, src_from)
        offset = np.arange(src_from, real.last + 1)
        decision, score = np.zeros(len(offset), np.uint8), np.zeros(len(offset), np.int32)
        at = np.searchsorted(offset, real.offset)
        decision[at], score[at] = real.decision, real.score
        return Published(offset, decision, score)


class Hasty(JournalLog):
    """Bug: a version is in force before its place in the journal is known."""

    async def append(self, record: bytes) -> None:
        """Put a version in force and append it later."""
        if b'"version"' not in record or not self.journal.versions:
            await super().append(record)
            return
        self.later = asyncio.create_task(self._append_later(record))
        self.journal = read_journal([*self._records, (self._position, record)])

    async def _append_later(self, record: bytes) -> None:
        await asyncio.sleep(JOURNAL_DELAY_S)
        await super().append(record)


def make_partition(number: int, services: Services) -> Partition:
    """Make a partition with the bug of this process."""
    bug = os.environ.get("FRAUD_TEST_BUG", "")
    assert bug in BUGS
    if delay_s := float(os.environ.get("FRAUD_TEST_SLOW_DECISIONS_S", "0")):
        slow = SlowDecisions(services.appender, services.settings.topics.decisions, delay_s)
        services = dataclasses.replace(services, appender=slow)
    partition = (Early if bug == "snapshot_before_acks" else Partition)(number, services)
    if bug == "highest_offset":
        partition._decisions.__class__ = HighestOffset
    if bug == "journal_not_awaited":
        partition._journal.__class__ = Hasty
    return partition


def main() -> int:
    """Run the worker; exit codes are those of the product."""
    logging.basicConfig(level="INFO", stream=sys.stderr)

    async def run() -> None:
        await Worker(create_app(load_settings(), make_partition=make_partition)).run()

    try:
        asyncio.run(run())
    except FraudstreamError as problem:
        sys.stderr.write(f"fraudstream: {problem}\n")
        return int(problem.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
