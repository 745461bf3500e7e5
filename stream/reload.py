"""Hot reload: the rules directory is watched; a good change takes effect at a journaled offset.

A change is looked at when nobody has written for two looks in a row, and always as a whole. What does not
compile, or fails its own tests, changes nothing: the old rules go on. New features begin to warm; another
schema or other time settings need a restart, since the state has to be built again.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from fraudstream.models.model import Model
from fraudstream.stream import messages
from fraudstream.stream.change_keeper import ChangeKeeper
from fraudstream.stream.directory import Stamp, check_directory, stamp
from fraudstream.stream.enrichment.directory import TableFiles
from fraudstream.stream.logs import tell
from fraudstream.stream.services import Services

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
        changes: ChangeKeeper,
        seen: Stamp,
        files: TableFiles,
    ) -> None:
        self._path = path
        self._interval_s = interval_ms / 1000
        self._model = model
        self._services = services
        self._changes = changes
        self._seen = seen
        self._files = files

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
            result, problem = await self.reload()
            self._changes.directory = problem
            self._services.observer.reloaded(result, problem)

    async def reload(self) -> tuple[str, str]:
        """Look at the directory once; return what became of it, a value of ``reload_total``, and why not."""
        forms = self._services.catalogue.forms
        checked = await asyncio.to_thread(check_directory, self._path, self._model, self._files, forms)
        if checked.bundle is None:
            tell(messages.RULES_REFUSED, rules_dir=self._path, problem=checked.problem)
            return "invalid", checked.problem
        result, problem = await self._changes.submit(checked)
        if problem:
            tell(messages.RULES_REFUSED, rules_dir=self._path, problem=problem)
        return result, problem
