"""Opening a partition: its first journal records, a changed core, and the snapshot to begin with.

Parts of steps 1 to 4 of ``start(p)`` in docs/reference/delivery.md; every check that fails says what to do.
"""

from __future__ import annotations

import secrets

from fraudstream.stream import messages
from fraudstream.stream.core import CORE
from fraudstream.stream.errors import Refusal
from fraudstream.stream.journal import start_record, version_record
from fraudstream.stream.journaling import JournalLog
from fraudstream.stream.logreader import Bounds, LogReader
from fraudstream.stream.logs import tell
from fraudstream.stream.recovery import check_bundle, check_empty, check_snapshot, refilled
from fraudstream.stream.services import Services
from fraudstream.stream.snapshots import Header, Snapshot, SnapshotStore, value_hash

FAR = 2**62
"""Beyond every offset: what is in force there was journaled last."""


class Opening:
    """Opens one partition under one epoch."""

    def __init__(
        self,
        number: int,
        services: Services,
        journal: JournalLog,
        reader: LogReader,
        store: SnapshotStore,
    ) -> None:
        self._number = number
        self._services = services
        self._topics = services.settings.topics
        self._journal = journal
        self._reader = reader
        self._store = store

    async def journal_first(self, bounds: Bounds) -> None:
        """Take the partition, and see to it that `start` and a version of this core are journaled.

        Raises:
            Refusal: what is wanted may not decide here, or nobody said where to begin.
            RestartMe: no lease, or somebody else took the partition.
        """
        services = self._services
        await self._journal.take(services.owner, CORE)
        if services.target.bundle is not None:
            wanted = await services.catalogue.bundle(services.target.bundle)
            check_bundle(wanted, services.facts, self._topics.input)
        if self._journal.journal.start is None:
            await self._first_start(bounds)
        if not self._journal.journal.versions:
            await self._first_version(bounds)
        await self._change_core()

    async def _first_start(self, bounds: Bounds) -> None:
        setting = self._services.settings.start
        if bounds.end > bounds.begin and not setting:
            raise Refusal(
                f"`{self._topics.input}`-{self._number} holds offsets {bounds.begin} to {bounds.end - 1}, "
                f"and `{self._services.settings.app_id}` starts on it for the first time. Set "
                "FRAUDSTREAM_START to `earliest` to decide them all, `latest` to decide what comes from "
                "now on, or to an RFC 3339 time"
            )
        start_from = bounds.end
        if setting == "earliest":
            start_from = bounds.begin
        elif (time_ms := self._services.settings.start_time_ms) is not None:
            found = await self._reader.offset_at(self._topics.input, self._number, time_ms)
            start_from = bounds.end if found is None else found
        await self._journal.append(start_record(self._journal.epoch, start_from, secrets.token_bytes(16)))

    async def _first_version(self, bounds: Bounds) -> None:
        target = self._services.target
        start = self._journal.journal.start
        assert start is not None
        if target.bundle is None:
            raise Refusal(
                f"`{self._services.settings.app_id}` starts for the first time and "
                f"{self._services.settings.rules_dir} cannot be used:\n{self._services.rules_problem}"
            )
        await self._services.catalogue.publish(target.bundle, target.models)
        await self._services.catalogue.publish_tables(target.tables.values())
        await self._journal.append(
            version_record(
                self._journal.epoch,
                start.from_offset,
                {
                    "bundle": target.bundle,
                    "models": target.models,
                    "core": CORE,
                    "mode": target.mode,
                    "state_from": min(bounds.begin, start.from_offset),
                },
                target.tables,
            )
        )

    async def _change_core(self) -> None:
        journal = self._journal.journal
        was = journal.in_force(FAR).core
        if was == CORE:
            return
        at = journal.core_change_at(CORE)
        if at is None:
            raise Refusal(
                f"partition {self._number} was decided by core {was} and not stopped cleanly; this is core "
                f"{CORE}. Run the previous version once and stop it with SIGTERM"
            )
        await self._journal.append(version_record(self._journal.epoch, at, {"core": CORE}))

    async def choose_snapshot(self, bounds: Bounds) -> Snapshot | None:
        """Return the newest snapshot that is whole and fits the topics, None if there are none.

        Raises:
            Refusal: one does not fit.
        """
        decisions = await self._reader.bounds(self._topics.decisions, self._number)
        beyond: list[int] = []
        for snapshot in self._store.newest_first(
            lambda text: tell(messages.SNAPSHOT_SKIPPED, partition=self._number, problem=text)
        ):
            header = snapshot.header
            check_snapshot(header, self._services.facts, self._topics, bounds)
            if decisions.end < header.decision_offset:
                beyond.append(header.decision_offset)
                continue
            await self._check_last_value(header, bounds)
            return snapshot
        if beyond:
            raise Refusal(
                f"`{self._topics.decisions}`-{self._number} ends at {decisions.end}, but every snapshot has "
                f"seen decisions up to {min(beyond)} or more: decisions were lost. Restore the topic, or "
                f"remove the snapshots in {self._store.directory} to publish the lost ones again"
            )
        return None

    async def _check_last_value(self, header: Header, bounds: Bounds) -> None:
        if header.last_offset < bounds.begin:
            return
        found = [
            value_hash(record.value)
            async for records in self._reader.read(
                self._topics.input, self._number, header.last_offset, header.last_offset + 1
            )
            for record in records
        ]
        if found != [header.last_value_sha256]:
            raise refilled(header, self._topics)

    def begin_state(self, bounds: Bounds, state_from: int, *, decided: bool) -> int:
        """Return where an empty state begins."""
        start = self._journal.journal.start
        assert start is not None
        check_empty(self._number, self._topics, bounds, start.from_offset, state_from, decided=decided)
        return max(bounds.begin, min(state_from, start.from_offset))
