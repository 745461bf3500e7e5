"""Versions by their hash: compiled bundles and models, published to the control topic and read back.

Content is published and acknowledged before a journal names it, so whoever reads a journal can have it.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from fraudstream.models.linear import LinearModel, load_model
from fraudstream.rules.bundle import Bundle
from fraudstream.rules.compiler.compile import compile_archive
from fraudstream.stream.control_store import ControlError, Kind, find_content, split_content
from fraudstream.stream.errors import Refusal
from fraudstream.stream.journaling import Appender
from fraudstream.stream.logreader import LogReader
from fraudstream.stream.scoring import NO_MODEL
from fraudstream.stream.transport import Outgoing, settle


class Target(NamedTuple):
    """What the operator wants in force: the content of the directory, the model, the mode."""

    bundle: str | None
    """None: the directory does not compile; what is journaled stays in force."""
    models: str
    mode: str


class Catalogue:
    """Bundles and models by version, from this process or from the control topic."""

    def __init__(self, topic: str, appender: Appender, reader: LogReader, timeout_s: float) -> None:
        self._topic = topic
        self._appender = appender
        self._reader = reader
        self._timeout_s = timeout_s
        self._bundles: dict[str, Bundle] = {}
        self._models: dict[str, tuple[bytes, LinearModel]] = {}
        self._published: set[tuple[Kind, str]] = set()
        self._turn = asyncio.Lock()

    def add_bundle(self, bundle: Bundle) -> None:
        """Know a bundle that was compiled here."""
        self._bundles[bundle.hash] = bundle

    def add_model(self, content: bytes) -> LinearModel:
        """Know a model of this machine."""
        model = load_model(content)
        self._models[model.version] = (content, model)
        return model

    async def publish(self, bundle: str, models: str) -> None:
        """Publish a bundle and a model, acknowledged; nothing if this process did so before."""
        async with self._turn:
            await self._publish("bundle", bundle, self._bundles[bundle].archive)
            if models != NO_MODEL:
                await self._publish("model", models, self._models[models][0])

    def known(self, version: str) -> Bundle | None:
        """Return a bundle that was loaded before."""
        return self._bundles.get(version)

    async def bundle(self, version: str) -> Bundle:
        """Return a bundle, read from the control topic unless it is known.

        Raises:
            Refusal: it is not there, or damaged.
        """
        async with self._turn:
            if version not in self._bundles:
                content = await self._read("bundle", version)
                self._bundles[version] = await asyncio.to_thread(compile_archive, content)
            return self._bundles[version]

    async def model(self, version: str) -> LinearModel | None:
        """Return a model, read from the control topic unless it is known; None for ``none``.

        Raises:
            Refusal: it is not there, or damaged.
        """
        if version == NO_MODEL:
            return None
        async with self._turn:
            if version not in self._models:
                content = await self._read("model", version)
                self._models[version] = (content, load_model(content))
            return self._models[version][1]

    async def _publish(self, kind: Kind, version: str, content: bytes) -> None:
        if (kind, version) in self._published:
            return
        sent = await self._appender.append(
            self._topic, 0, [Outgoing(key, value) for key, value in split_content(kind, content)]
        )
        await settle(sent, self._timeout_s, f"control topic `{self._topic}`")
        self._published.add((kind, version))

    async def _read(self, kind: Kind, version: str) -> bytes:
        bounds = await self._reader.bounds(self._topic, 0)
        records: dict[bytes, bytes] = {}
        async for step in self._reader.read(self._topic, 0, bounds.begin, bounds.end):
            for record in step:
                if record.key is not None and record.value is not None:
                    records[record.key] = record.value
        try:
            return find_content(records, kind, version)
        except ControlError as problem:
            raise Refusal(f"`{self._topic}`: {problem}") from None
