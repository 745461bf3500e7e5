"""A reference table's topic, followed: its records become content, then deltas.

A record is a row: its key is the row's, its value a JSON object of the columns, null when the row is gone.
A bad record is counted and passed over, here and now: it is in no content, so a replay does not meet it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fraudstream.rules.bundle import ReferenceTable
from fraudstream.stream import messages
from fraudstream.stream.cluster import Cluster
from fraudstream.stream.enrichment.changes import combined
from fraudstream.stream.enrichment.content import NO_TIME, Content, Texts
from fraudstream.stream.enrichment.rows import Row, RowReader, content_of_rows, parse_object, time_of_row
from fraudstream.stream.enrichment.values import KEY_CHARS_MAX
from fraudstream.stream.errors import CannotCheck, FraudstreamError
from fraudstream.stream.logreader import LogReader
from fraudstream.stream.logs import kind, tell
from fraudstream.stream.settings import Settings

DESCRIBE_S = 60.0
"""Between two looks at how many partitions there are."""
PART_ROWS = 100_000
"""Rows that are Python objects at a time while a large topic is read."""
SHOWN_MAX = 5
"""Bad records of one collection that the log shows."""


class TopicUnreadable(Exception):  # noqa: N818 - named for the state of the topic
    """A topic that is not there, or did not answer."""


class TopicFollower:
    """Collects the records of one table's topic."""

    def __init__(self, table: ReferenceTable, decimals: int, settings: Settings) -> None:
        self.table = table
        self.bad = 0
        """Bad records since the start."""
        self._rows = RowReader(table, decimals)
        self._reader = LogReader(settings, committed=True)
        self._cluster = Cluster(settings.broker, settings)
        self._partitions = 0
        self._described_s = 0.0
        self._positions: dict[int, int] = {}
        self._as_of_ms = NO_TIME
        self._started = False
        self._whole = True
        self.is_whole = True
        """Whether the last collection has all rows: the first, and one of a topic that was made anew."""

    async def collect(self) -> Content | None:
        """Return what is new since the last time: everything at first, then a delta; None: nothing.

        A delta has no parent yet.

        Raises:
            TopicUnreadable: try again later; nothing was skipped.
        """
        table, reader = self.table, self._reader
        rows: dict[bytes, Row | None] = {}
        parts: list[Content] = []
        positions = dict(self._positions)
        read = False
        try:
            if not self._started:
                await reader.start()
                self._started = True
            await self._describe()
            numbers = range(self._partitions)
            bounds = {number: await reader.bounds(table.topic, number) for number in numbers}
            if any(
                number not in bounds or not bounds[number].begin <= at <= bounds[number].end
                for number, at in positions.items()
            ):
                tell(messages.TABLE_TOPIC_REPLACED, table=table.name, topic=table.topic)
                positions, self._whole = {}, True
            for number, bound in bounds.items():
                begin = max(positions.get(number, 0), bound.begin)
                async for step in reader.read(table.topic, number, begin, bound.end):
                    await asyncio.to_thread(self._take, step, rows)
                    read = True
                    if len(rows) >= PART_ROWS:
                        parts.append(await asyncio.to_thread(self._part, rows))
                        rows = {}
                positions[number] = bound.end
        except (FraudstreamError, OSError) as problem:
            raise TopicUnreadable(f"{table.name}: topic `{table.topic}`: {problem}") from problem
        except Exception as problem:  # the client's errors have no common name of ours
            raise TopicUnreadable(f"{table.name}: topic `{table.topic}`: {kind(problem)}") from problem
        whole, self._whole = self._whole, False
        self.is_whole, self._positions = whole, positions
        if not read and not whole:
            return None
        parts.append(self._part(rows))
        content = await asyncio.to_thread(combined, parts)
        return replace(content, parent="", removed=Texts.of(()) if whole else content.removed)

    def _part(self, rows: Mapping[bytes, Row | None]) -> Content:
        """Return rows as a delta; the parent's name comes later."""
        there = [row for row in rows.values() if row is not None]
        removed = [key for key, row in rows.items() if row is None]
        return content_of_rows(self.table, there, self._as_of_ms, parent="-", removed=removed)

    async def _describe(self) -> None:
        """Ask how many partitions there are; now and then, since there may be more."""
        now_s = time.monotonic()
        if self._partitions and now_s < self._described_s + DESCRIBE_S:
            return
        topic = self.table.topic
        state = (await asyncio.to_thread(self._cluster.describe, [topic])).topics.get(topic)
        if state is None:
            raise CannotCheck(f"there is no topic `{topic}`")
        if "compact" not in state.config.get("cleanup.policy", "") and not self._partitions:
            tell(
                messages.TABLE_TOPIC_NOT_COMPACTED,
                table=self.table.name,
                topic=topic,
                policy=state.config.get("cleanup.policy"),
            )
        self._partitions, self._described_s = state.partitions, now_s

    async def close(self) -> None:
        """Disconnect."""
        if self._started:
            await self._reader.close()

    def _take(self, records: Sequence[Any], rows: dict[bytes, Row | None]) -> None:
        for record in records:
            try:
                key, row = self._read(record)
            except ValueError as problem:
                self.bad += 1
                if self.bad <= SHOWN_MAX:
                    tell(
                        messages.TABLE_RECORD_BAD,
                        table=self.table.name,
                        topic=self.table.topic,
                        partition=record.partition,
                        offset=record.offset,
                        problem=problem,
                    )
                continue
            rows[key] = row

    def _read(self, record: Any) -> tuple[bytes, Row | None]:
        if record.key is None or len(record.key) > 4 * KEY_CHARS_MAX:
            raise ValueError("no key" if record.key is None else "a key that is too long")
        key = self._rows.key(_text(record.key))
        if record.value is None:
            self._as_of_ms = max(self._as_of_ms, record.timestamp)
            return key, None
        members = parse_object(record.value)
        values = self._rows.values(members)
        self._as_of_ms = max(self._as_of_ms, time_of_row(self.table, members, record.timestamp))
        return key, Row(key, values)


def _text(key: bytes) -> str:
    """Return a key's text; that of a JSON string, as converters of Kafka Connect write it, is unwrapped."""
    try:
        text = key.decode()
    except UnicodeDecodeError:
        raise ValueError("a key that is not UTF-8") from None
    if text.startswith('"') and text.endswith('"') and len(text) > 1:
        try:
            found = json.loads(text)
        except json.JSONDecodeError:
            return text
        return found if isinstance(found, str) else text
    return text
