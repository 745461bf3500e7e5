"""What the operator wants goes into a partition's journal: the `switch` of the protocol."""

from __future__ import annotations

import asyncio

from fraudstream.stream import messages
from fraudstream.stream.control import Target
from fraudstream.stream.errors import Refusal
from fraudstream.stream.journal import BUILT, CARRIED, STATE, InForce, Journal, version_record
from fraudstream.stream.journaling import JournalLog
from fraudstream.stream.logreader import Bounds, LogReader
from fraudstream.stream.logs import tell
from fraudstream.stream.opening import FAR
from fraudstream.stream.pipeline import needs_rebuild
from fraudstream.stream.recovery import check_bundle
from fraudstream.stream.services import Services


class TargetKeeper:
    """Compares ``Services.target`` with the journal of one partition under one epoch."""

    def __init__(self, number: int, services: Services, journal: JournalLog, reader: LogReader) -> None:
        self.switched = asyncio.Event()
        """Set when the journal says what the operator wants."""
        self._number = number
        self._input = services.settings.topics.input
        self._services = services
        self._journal = journal
        self._reader = reader
        self._starting = True
        self._met: tuple[Journal, Target] | None = None
        """Where nothing was left to be journaled."""

    async def meet(self) -> None:
        """Journal what the operator wants and the journal does not say yet; between two pieces."""
        journal, target = self._journal.journal, self._services.target
        if self._met is not None and self._met[0] is journal and self._met[1] is target:
            self.switched.set()
            return
        newest = journal.in_force(FAR)
        wanted = target.bundle or newest.bundle
        both = {
            "bundle": (wanted, newest.bundle),
            "models": (target.models, newest.models),
            "mode": (target.mode, newest.mode),
        }
        changes: dict[str, str | int] = {name: to for name, (to, now) in both.items() if to != now}
        tables = {name: to for name, to in target.tables.items() if newest.tables.get(name) != to}
        backfill = self._starting and self._services.backfill and newest.state == CARRIED
        if not changes and not tables and not backfill:
            self._met, self._starting = (journal, target), False
            self.switched.set()
            return
        if not self._services.lease.broker_answers():
            return  # it is looked at again when the broker is back
        starting, self._starting = self._starting, False
        catalogue = self._services.catalogue
        bundle, before = await catalogue.bundle(wanted), await catalogue.bundle(newest.bundle)
        check_bundle(bundle, self._services.facts, self._input)
        await catalogue.publish(wanted, target.models)
        await catalogue.publish_tables(tables.values())
        # Nothing is processed between reading the log end and the version's place in the journal: this loop
        # does both. So nothing at or beyond `from` is decided before the version is journaled.
        bounds = await self._reader.bounds(self._input, self._number)
        other = bundle.definitions != before.definitions
        if backfill or (other and (starting or needs_rebuild(before, bundle) is not None)):
            changes["state_from"] = self._rebuild_from(bounds, newest)
            changes[STATE] = BUILT
        elif other:
            changes[STATE] = CARRIED
        await self._journal.append(version_record(self._journal.epoch, bounds.end, changes, tables))
        tell(
            messages.VERSION_JOURNALED,
            partition=self._number,
            offset=bounds.end,
            changes={**changes, **tables},
        )
        self.switched.set()

    def _rebuild_from(self, bounds: Bounds, newest: InForce) -> int:
        if bounds.begin > newest.state_from and not self._services.accept_short_history:
            raise Refusal(
                f"schema or features changed, so the state of partition {self._number} has to be built "
                f"again, but `{self._input}` now begins at {bounds.begin}; the state before was "
                f"built from {newest.state_from}. Windows would be shorter for a while: go back to the old "
                "definitions, or start once with --accept-short-history"
            )
        return bounds.begin
