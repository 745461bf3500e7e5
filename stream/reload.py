"""Hot reload: the rules directory is watched; a good change takes effect at a journaled offset.

A change is looked at when nobody has written for two looks in a row, and always as a whole. What does not
compile, or fails its own tests, changes nothing: the old rules go on. Other definitions of schema or
features need a restart, since the state has to be built again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from fraudstream.models.linear import LinearModel
from fraudstream.stream.directory import Stamp, check_directory, stamp
from fraudstream.stream.partition import Partition
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
        model: LinearModel | None,
        services: Services,
        partitions: Callable[[], Iterable[Partition]],
        seen: Stamp,
    ) -> None:
        self._path = path
        self._interval_s = interval_ms / 1000
        self._model = model
        self._services = services
        self._partitions = partitions
        self._seen = seen

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
        checked = await asyncio.to_thread(check_directory, self._path, self._model)
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
            changed = [
                name
                for name, was, now in (
                    ("schema", known.schema.hash, bundle.schema.hash),
                    ("features", known.features.hash, bundle.features.hash),
                )
                if was != now
            ]
            if changed:
                names = " and other ".join(changed)
                problem = (
                    f"{self._path} has another {names}, which needs a restart: the state has to be built "
                    "again from the input; the rules before stay in force"
                )
                log.error("%s", problem)
                return "needs_restart", problem
        catalogue.add_bundle(bundle)
        services.target = services.target._replace(bundle=bundle.hash)
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
