"""Versions by their hash: bundles, models and reference tables, published to the control topic and read back.

Content is published and acknowledged before a journal names it, so whoever reads a journal can have it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from fraudstream.models.file import load_model
from fraudstream.models.model import Model
from fraudstream.rules.bundle import Bundle
from fraudstream.stream.compiled_forms import CompiledForms
from fraudstream.stream.control_store import ControlError, Kind, find_content, split_content
from fraudstream.stream.enrichment.bound import TableVersion
from fraudstream.stream.enrichment.chain import Assembly
from fraudstream.stream.enrichment.content import ContentError
from fraudstream.stream.errors import Refusal
from fraudstream.stream.journaling import Appender
from fraudstream.stream.logreader import LogReader
from fraudstream.stream.scoring import NO_MODEL
from fraudstream.stream.wire.batches_out import Outgoing


class Target(NamedTuple):
    """What the operator wants in force: the content of the directory, the model, the mode."""

    bundle: str | None
    """None: the directory does not compile; what is journaled stays in force."""
    models: str
    mode: str
    tables: Mapping[str, str] = MappingProxyType({})
    """Reference table -> version of its content."""


class Catalogue:
    """Bundles, models and reference tables by version, from this process or from the control topic."""

    def __init__(self, topic: str, appender: Appender, reader: LogReader, forms: CompiledForms) -> None:
        self.forms = forms
        self._topic = topic
        self._appender = appender
        self._reader = reader
        self._bundles: dict[str, Bundle] = {}
        self._models: dict[str, tuple[bytes, Model]] = {}
        self._tables: dict[str, TableVersion] = {}
        self._table_data: dict[str, bytes] = {}
        self._index = ControlIndex(topic, reader)
        self._published: set[tuple[Kind, str]] = set()
        self._turn = asyncio.Lock()
        self._publishing = asyncio.Lock()

    def add_bundle(self, bundle: Bundle) -> None:
        """Know a bundle that was compiled here."""
        self._bundles[bundle.hash] = bundle

    def add_model(self, content: bytes) -> Model:
        """Know a model of this machine."""
        model = load_model(content)
        self._models[model.version] = (content, model)
        return model

    def add_table(self, version: TableVersion, data: bytes) -> None:
        """Know content of a reference table; its bytes are kept until they are published."""
        if version.version not in self._tables:
            self._tables[version.version] = version
            self._table_data[version.version] = data

    def keep_tables(self, versions: Iterable[str]) -> None:
        """Forget all content that none of these versions builds upon."""
        kept: dict[str, TableVersion] = {}
        for name in versions:
            if (found := self._tables.get(name)) is not None:
                kept |= {item.version: item for item in found.chain}
        kept |= {name: self._tables[name] for name in self._table_data}
        self._tables = kept

    async def publish_tables(self, versions: Iterable[str]) -> None:
        """Publish content of reference tables, acknowledged; what was read from there is there."""
        for version in versions:
            async with self._publishing:
                if (data := self._table_data.get(version)) is not None:
                    await self._publish("table", version, data)
                    del self._table_data[version]

    async def table(self, version: str) -> TableVersion:
        """Return content of a reference table, read from the control topic unless it is known.

        Raises:
            Refusal: it, or what it builds upon, is not there, or damaged.
        """
        async with self._turn:
            assembly = Assembly(version, self._tables)
            try:
                while assembly.wanted:
                    data = await self._read("table", assembly.wanted)
                    await asyncio.to_thread(assembly.add, data)
                return assembly.result()
            except ContentError as problem:
                raise Refusal(f"`{self._topic}`: {problem}") from None

    async def publish(self, bundle: str, models: str) -> None:
        """Publish a bundle and a model, acknowledged; nothing if this process did so before."""
        async with self._publishing:
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
                self._bundles[version] = await asyncio.to_thread(self.forms.load, content)
            return self._bundles[version]

    async def archive(self, version: str) -> bytes:
        """Return the content of a bundle as it lies on the control topic, not compiled.

        Raises:
            Refusal: it is not there, or damaged.
        """
        if version in self._bundles:
            return self._bundles[version].archive
        async with self._turn:
            return await self._read("bundle", version)

    async def model(self, version: str) -> Model | None:
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
        # Chunk by chunk: decisions on the same connections wait for one of them at most.
        for key, value in split_content(kind, content):
            sent = await self._appender.append(self._topic, 0, [Outgoing(key, value)])
            await self._appender.settle(sent, f"control topic `{self._topic}`")
        self._published.add((kind, version))

    async def _read(self, kind: Kind, version: str) -> bytes:
        try:
            return find_content(await self._index.chunks(kind, version), kind, version)
        except ControlError as problem:
            raise Refusal(f"`{self._topic}`: {problem}") from None


class ControlIndex:
    """Where the chunks of content lie on the control topic, so that each is read alone."""

    def __init__(self, topic: str, reader: LogReader) -> None:
        self._topic = topic
        self._reader = reader
        self._position = 0
        self._offsets: dict[bytes, dict[bytes, int]] = {}

    async def chunks(self, kind: Kind, version: str) -> dict[bytes, bytes]:
        """Return the newest value of every chunk of one version, by key."""
        await self._scan()
        wanted = self._offsets.get(f"{kind}:{version.removeprefix('sha256:')}".encode(), {})
        found: dict[bytes, bytes] = {}
        for begin, end in _runs(sorted(wanted.values())):
            async for step in self._reader.read(self._topic, 0, begin, end):
                for record in step:
                    if record.key in wanted and record.value is not None:
                        found[record.key] = record.value
        return found

    async def _scan(self) -> None:
        bounds = await self._reader.bounds(self._topic, 0)
        async for step in self._reader.read(self._topic, 0, max(self._position, bounds.begin), bounds.end):
            for record in step:
                if record.key is not None and record.value is not None:
                    name, _, _ = record.key.rpartition(b":")
                    self._offsets.setdefault(name, {})[record.key] = record.offset
        self._position = max(self._position, bounds.end)


def _runs(offsets: list[int]) -> list[tuple[int, int]]:
    """Return the runs of neighbouring offsets as (first, last + 1)."""
    runs: list[tuple[int, int]] = []
    for offset in offsets:
        if runs and runs[-1][1] == offset:
            runs[-1] = (runs[-1][0], offset + 1)
        else:
            runs.append((offset, offset + 1))
    return runs
