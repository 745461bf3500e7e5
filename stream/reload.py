"""Hot reload: the rules directory is watched; a good change takes effect at a journaled offset.

A change is looked at when nobody has written for two looks in a row, and always as a whole. What does not
compile, or fails its own tests, changes nothing: the old rules go on. New features begin to warm; another
schema or other time settings need a restart, since the state has to be built again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from fraudstream.models.model import Model
from fraudstream.stream.directory import Stamp, check_directory, stamp
from fraudstream.stream.partition import Partition
from fraudstream.stream.pipeline import needs_rebuild
from fraudstream.stream.reference_keeper import ReferenceKeeper
from fraudstream.stream.services import Services

log = logging.getLogger(__name__)

SETTLE_S = 0.15
"""Between two looks after a change: longer than an editor needs between two files of one save."""


class Reloader:
    """Watches one directory."""

    def __init__(
        self,
        path: Path,
        interval_ms: int,
        model: Model | None,
        services: Services,
        partitions: Callable[[], Iterable[Partition]],
        seen: Stamp,
        keeper: ReferenceKeeper,
    ) -> None:
        self._path = path
        self._interval_s = interval_ms / 1000
        self._model = model
        self._services = services
        self._partitions = partitions
        self._seen = seen
        self._keeper = keeper

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await asyncio.sleep(self._interval_s)
            now = await asyncio.to_thread(stamp, self._path)
            if now == self._seen:
                continue
            while True:
                await asyncio.sleep(SETTLE_S)
                again = await asyncio.to_thread(stamp, self._path)
                if again == now:
                    break
                now = again
            self._seen = now
            self._services.observer.reloaded(*await self.reload())

    async def reload(self) -> tuple[str, str]:
        """Look at the directory once; return what became of it, a value of ``reload_total``, and why not."""
        services, catalogue = self._services, self._services.catalogue
        checked = await asyncio.to_thread(check_directory, self._path, self._model, self._keeper.files)
        if checked.bundle is None:
            log.error(
                "%s was changed and is refused, %d errors; the rules before stay in force:\n%s",
                self._path,
                checked.errors,
                checked.problem,
            )
            return "invalid", checked.problem
        bundle = checked.bundle
        before = services.target.bundle or self._running()
        if bundle.hash == before:
            services.target = services.target._replace(bundle=bundle.hash)
            return "unchanged", ""
        if before is not None:
            known = await catalogue.bundle(before)
            if (other := needs_rebuild(known, bundle)) is not None:
                problem = (
                    f"{self._path} has another {other}, which needs a restart: the state has to be built "
                    "again from the input; the rules before stay in force"
                )
                log.error("%s", problem)
                return "needs_restart", problem
        catalogue.add_bundle(bundle)
        if problems := await self._keeper.adopt(bundle, checked.tables):
            problem = "\n".join(problems.values())
            log.error(
                "%s was changed and is refused, %d reference tables have no content; the rules before stay "
                "in force:\n%s",
                self._path,
                len(problems),
                problem,
            )
            return "invalid", problem
        partitions = list(self._partitions())
        for partition in partitions:
            partition.retarget()
        await asyncio.gather(*(partition.switched.wait() for partition in partitions))
        log.info(
            "%s was changed: `%s` is journaled on %d partitions", self._path, bundle.hash, len(partitions)
        )
        return "applied", ""

    def _running(self) -> str | None:
        for partition in self._partitions():
            if (running := partition.running) is not None:
                return running.bundle
        return None
