"""The model file is watched: a good change takes effect at a journaled offset, like a change of the rules.

What can not be loaded changes nothing: the models before stay in force. Nothing is compiled for a new model;
the kernels are those that scored before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

from fraudstream.models.inputs import ModelError
from fraudstream.stream import messages
from fraudstream.stream.logs import tell
from fraudstream.stream.partition import Partition
from fraudstream.stream.services import Services
from fraudstream.stream.switching import switch_all


class ModelWatch:
    """Watches one file; it is replaced as a whole, as ``models promote`` does."""

    def __init__(
        self,
        path: Path,
        interval_ms: int,
        services: Services,
        partitions: Callable[[], Iterable[Partition]],
    ) -> None:
        self._path = path
        self._interval_s = interval_ms / 1000
        self._services = services
        self._partitions = partitions
        self._seen = _stamp(path)

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await asyncio.sleep(self._interval_s)
            now = await asyncio.to_thread(_stamp, self._path)
            if now is not None and now != self._seen:
                self._seen = now
                await self.reload()

    async def reload(self) -> bool:
        """Look at the file once; return whether other models were journaled."""
        services = self._services
        try:
            data = await asyncio.to_thread(self._path.read_bytes)
            model = await asyncio.to_thread(services.catalogue.add_model, data)
        except (ModelError, OSError) as problem:
            tell(messages.MODEL_REFUSED, path=self._path, problem=str(problem))
            return False
        if model.version == services.target.models:
            return False
        services.target = services.target._replace(models=model.version)
        told = await switch_all(self._partitions(), model.version)
        tell(messages.MODEL_APPLIED, path=self._path, models=model.version, partitions=told)
        return True


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Return what tells one content from another; None: there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
