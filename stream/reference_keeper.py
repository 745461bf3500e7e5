"""Reference tables of a running worker: files and topics are looked at, what changed is put in force.

A change goes the way of a changed rule: content is published under its hash and acknowledged, then every
partition journals it from an offset on. What is large is prepared for each partition beside its loop, so that
the switch takes no longer than entering a few changed rows.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from fraudstream.models.model import Model
from fraudstream.rules.bundle import Bundle, ReferenceTable
from fraudstream.rules.iso4217 import DECIMALS
from fraudstream.stream import messages
from fraudstream.stream.enrichment.bound import TableVersion
from fraudstream.stream.enrichment.changes import compacted, successor
from fraudstream.stream.enrichment.content import Content
from fraudstream.stream.enrichment.directory import Loaded, Mark, TableFiles, read_tables, version_from
from fraudstream.stream.errors import FraudstreamError
from fraudstream.stream.logs import tell
from fraudstream.stream.partition import Partition
from fraudstream.stream.reference_topics import TopicFollower, TopicUnreadable
from fraudstream.stream.services import Services

RETRY_S = 5.0
"""Between two attempts to find content that a first start, or a changed declaration, lacks."""
SETTLE_S = 0.15
"""A file that did not change for this long is not being written."""


class ReferenceKeeper:
    """Keeps the tables of one worker."""

    def __init__(
        self,
        services: Services,
        model: Model | None,
        files: TableFiles,
        partitions: Callable[[], Iterable[Partition]],
    ) -> None:
        self.files = files
        self._services = services
        self._model = model
        self._partitions = partitions
        self._bundle: Bundle | None = None
        self._versions: dict[str, TableVersion] = {}
        self._followers: dict[str, TopicFollower] = {}
        self._due_s: dict[str, float] = {}
        self._told: dict[str, str] = {}
        self._seen: dict[str, Mark | None] = {}
        self._sources: dict[str, Content] = {}
        """Content of files as they were read last."""
        self._waiting: Bundle | None = None
        """Bundle of the directory whose tables have no content yet."""
        self._turn = asyncio.Lock()

    async def begin(self, bundle: Bundle, loaded: Loaded, journaled: Mapping[str, str]) -> dict[str, str]:
        """Find content for the tables of a bundle before the first partition starts.

        Args:
            bundle: of the directory.
            loaded: its files.
            journaled: versions in force when the worker stopped.

        Returns:
            Why tables have no content, by name; empty: all have.
        """
        async with self._turn:
            for table in read_tables(bundle, self._model):
                if (name := journaled.get(table.name)) is not None:
                    try:
                        self._versions[table.name] = await self._services.catalogue.table(name)
                    except FraudstreamError as problem:
                        tell(messages.TABLE_UNAVAILABLE, table=table.name, problem=problem)
            return await self._adopt(bundle, loaded)

    async def adopt(self, bundle: Bundle, loaded: Loaded) -> dict[str, str]:
        """Find content for the tables of a changed bundle, and make both the target.

        Returns:
            Why tables have no content, by name; not empty: nothing was changed.
        """
        async with self._turn:
            return await self._adopt(bundle, loaded)

    async def _adopt(self, bundle: Bundle, loaded: Loaded) -> dict[str, str]:
        found: dict[str, TableVersion] = {}
        problems: dict[str, str] = {}
        followers: dict[str, TopicFollower] = {}
        for table in read_tables(bundle, self._model):
            before = self._versions.get(table.name)
            fits = before is not None and before.content.fits(table)
            problem = loaded.problems.get(table.name, "")
            content = loaded.contents.get(table.name)
            if table.topic:
                follower = self._follower(table, bundle)
                followers[table.name] = follower
                if not fits:
                    try:
                        content = await follower.collect()
                    except TopicUnreadable as unreadable:
                        problem = str(unreadable)
            if problem:
                self._tell(table.name, problem)
            if content is not None:
                known = fits and self._sources.get(table.name) is content
                found[table.name] = (
                    before if known and before is not None else await self._stored(before, content)
                )
                self._sources[table.name] = content
            elif fits:
                assert before is not None
                found[table.name] = before
            else:
                problems[table.name] = problem or f"{table.name}: no content"
        kept = self._followers if problems else followers
        for follower in {*followers.values(), *self._followers.values()} - set(kept.values()):
            await follower.close()
        self._waiting = bundle if problems and self._bundle is None else None
        if problems:
            return problems
        self._bundle, self._versions, self._followers = bundle, found, followers
        self._seen = dict(loaded.marks)
        await self._put_in_force()
        return {}

    async def run(self) -> None:
        """Look at files and topics until cancelled."""
        interval_s = self._services.settings.reload_interval_ms / 1000
        try:
            while True:
                await asyncio.sleep(interval_s)
                async with self._turn:
                    changed = await self._look()
                if changed:
                    self._wake()
        finally:
            for follower in self._followers.values():
                await follower.close()

    async def _look(self) -> bool:
        """Look once; return whether there is something new to journal."""
        if self._bundle is not None:
            changed = await self._look_at_files() | await self._look_at_topics()
            if changed:
                await self._put_in_force()
            return bool(changed)
        if self._waiting is None or time.monotonic() < self._due_s.get("", 0.0):
            return False
        self._due_s[""] = time.monotonic() + RETRY_S
        loaded = await asyncio.to_thread(self.files.load, self._waiting, self._model)
        return not await self._adopt(self._waiting, loaded)

    async def _look_at_files(self) -> set[str]:
        assert self._bundle is not None
        bundle = self._bundle
        marks = await asyncio.to_thread(self.files.marks, bundle, self._model)
        if marks == self._seen:
            return set()
        await asyncio.sleep(SETTLE_S)
        if await asyncio.to_thread(self.files.marks, bundle, self._model) != marks:
            return set()
        loaded = await asyncio.to_thread(self.files.load, bundle, self._model)
        looked, self._seen = self._seen, dict(loaded.marks)
        changed: set[str] = set()
        for name in [name for name, mark in loaded.marks.items() if looked.get(name) != mark]:
            if (problem := loaded.problems.get(name)) is not None:
                self._tell(name, problem)
                self._services.observer.reloaded("invalid")
                continue
            self._told.pop(name, None)
            before, content = self._versions[name], loaded.contents[name]
            self._versions[name] = await self._stored(before, content)
            self._sources[name] = content
            if self._versions[name] is before:
                self._services.observer.reloaded("unchanged")
            else:
                changed.add(name)
                self._services.observer.reloaded("applied")
        return changed

    async def _look_at_topics(self) -> set[str]:
        changed: set[str] = set()
        for name, follower in self._followers.items():
            now_s = time.monotonic()
            if now_s < self._due_s.get(name, 0.0):
                continue
            self._due_s[name] = now_s + follower.table.refresh_ms / 1000
            bad = follower.bad
            try:
                content = await follower.collect()
            except TopicUnreadable as problem:
                self._tell(name, str(problem))
                continue
            finally:
                self._services.observer.passed_over(name, follower.bad - bad)
            self._told.pop(name, None)
            if content is None:
                continue
            before = self._versions[name]
            version = await self._collected(follower, before, content)
            if version is not before:
                self._versions[name] = version
                changed.add(name)
        return changed

    async def _collected(
        self, follower: TopicFollower, before: TableVersion, content: Content
    ) -> TableVersion:
        # Compaction takes removals away, and their times with them: content does not grow older by that.
        content = replace(content, as_of_ms=max(content.as_of_ms, before.content.as_of_ms))
        if follower.is_whole:
            return await self._stored(before, content)
        if not len(content) and not len(content.removed):
            return before
        delta = replace(content, parent=before.version)
        return await self._added(await asyncio.to_thread(compacted, before, delta), before)

    async def _stored(self, before: TableVersion | None, content: Content) -> TableVersion:
        """Return the version with this whole content: the one before, or a new one."""
        following = await asyncio.to_thread(successor, before, content)
        if following is None:
            assert before is not None
            return before
        return await self._added(following, before)

    async def _added(self, content: Content, before: TableVersion | None) -> TableVersion:
        parent = None
        if content.parent:
            assert before is not None
            parent = next(item for item in before.chain if item.version == content.parent)
        version, data = await asyncio.to_thread(version_from, content, parent)
        self._services.catalogue.add_table(version, data)
        tell(
            messages.TABLE_CONTENT,
            table=content.table,
            kind="delta" if content.parent else "whole",
            rows=len(content),
            removed=len(content.removed),
            bytes=len(data),
        )
        return version

    async def _put_in_force(self) -> None:
        services, bundle = self._services, self._bundle
        assert bundle is not None
        wanted = {name: version.version for name, version in self._versions.items()}
        partitions = list(self._partitions())
        if partitions:
            await services.catalogue.publish_tables(wanted.values())
            for partition in partitions:
                await partition.prepare(bundle, self._model, self._versions)
        # At once: tables of one declaration and rules of another do not fit.
        services.target = services.target._replace(bundle=bundle.hash, tables=wanted)
        in_use = {name for p in partitions if p.running is not None for name in p.running.tables.values()}
        services.catalogue.keep_tables({*wanted.values(), *in_use})

    def _wake(self) -> None:
        """Let every partition journal the target; one that goes away meanwhile has nobody waiting for it."""
        for partition in self._partitions():
            partition.retarget()

    def _follower(self, table: ReferenceTable, bundle: Bundle) -> TopicFollower:
        before = self._followers.get(table.name)
        if before is not None and before.table.hash == table.hash:
            before.table = table
            return before
        settings = self._services.settings
        decimals = DECIMALS[bundle.schema.base_currency]
        return TopicFollower(table, decimals, settings)

    def _tell(self, name: str, problem: str) -> None:
        """Log a problem once, not at every look."""
        if self._told.get(name) != problem:
            self._told[name] = problem
            tell(messages.TABLE_REFUSED, table=name, problem=problem)
            self._services.observer.table_refused(name)
