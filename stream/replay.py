"""The reference run: a log decided without Kafka by the same core, one partition after the other's journal.

A partition's journal says which versions are in force from which offset on. Slices are cut there; changed
definitions build the state again from ``state_from``, silently, as a worker does. What was decided stays
decided: a rebuilt state takes the answers that were given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Protocol

import numpy as np

from fraudstream.models.model import Model
from fraudstream.rules.bundle import Bundle
from fraudstream.stream.core import CORE
from fraudstream.stream.enrichment.bound import TableVersion
from fraudstream.stream.enrichment.store import Enrichment, reads_reference
from fraudstream.stream.envelope import Record
from fraudstream.stream.errors import CannotCheck, Refusal
from fraudstream.stream.journal import InForce, Journal, Start, Version
from fraudstream.stream.pipeline import Known, Pipeline, Result
from fraudstream.stream.wire.types import Slice

REBUILD_RECORDS = 1_000
"""Records of a slice while state is built again; the size does not show in results."""

Reread = Callable[[int, int, int], Iterable[Record]]
"""(partition, begin, end) -> the partition's records in [begin, end), once more."""


class Content(Protocol):
    """Where bundles and models are had by version."""

    def bundle(self, version: str) -> Bundle:
        """Return a bundle."""

    def model(self, version: str) -> Model | None:
        """Return a model, None for ``none``."""

    def table(self, version: str) -> TableVersion:
        """Return the content of a reference table."""


def fixed_journal(bundle: str, models: str, tables: Mapping[str, str] | None = None) -> Journal:
    """Return a journal that has one version in force from offset 0 on; the hash key is all zeros."""
    changes: dict[str, str | int] = {
        "bundle": bundle,
        "models": models,
        "core": CORE,
        "mode": "live",
        "state_from": 0,
    }
    return Journal(start=Start(0, 0, bytes(16)), versions=(Version(0, 0, 0, changes, tables or {}),))


class PartitionReplay:
    """Replays one partition; feed it the records in offset order."""

    def __init__(self, partition: int, journal: Journal, content: Content, reread: Reread) -> None:
        self.partition = partition
        self.pipeline: Pipeline | None = None
        self._journal = journal
        self._content = content
        self._reread = reread
        self._start = _checked_start(partition, journal)
        self._running: InForce | None = None
        self._offset: list[np.ndarray[tuple[int], np.dtype[np.int64]]] = []
        self._decision: list[np.ndarray[tuple[int], np.dtype[np.uint8]]] = []
        self._score: list[np.ndarray[tuple[int], np.dtype[np.int32]]] = []

    def run(self, records: Sequence[Record]) -> Iterator[Result]:
        """Decide records, slice by slice between the journal's borders; skip those before the state."""
        at = 0
        while at < len(records):
            offset = records[at].offset
            version = self._journal.in_force(offset)
            if self.pipeline is None and offset < min(version.state_from, self._start.from_offset):
                at += 1
                continue
            self._put_in_force(version, offset)
            border = self._journal.next_border(offset)
            stop = at + 1
            while stop < len(records) and (border is None or records[stop].offset < border):
                stop += 1
            result = self._pipeline.process(slice_of(self.partition, records[at:stop]))
            self._remember(result)
            yield result
            at = stop

    @property
    def _pipeline(self) -> Pipeline:
        assert self.pipeline is not None
        return self.pipeline

    def _put_in_force(self, version: InForce, offset: int) -> None:
        if version == self._running:
            return
        if version.core != CORE:
            raise Refusal(
                f"partition {self.partition}: core {version.core} is in force at {offset}, this is core "
                f"{CORE}; replay it with the fraudstream version that wrote the journal"
            )
        bundle, model = self._content.bundle(version.bundle), self._content.model(version.models)
        before, self._running = self._running, version
        other = self.pipeline is not None and bundle.definitions != self.pipeline.bundle.definitions
        if before is None:
            self._begin(version, bundle, model, offset)
        elif version.rebuilds(before, other_definitions=other):
            self._rebuild(version, bundle, model, offset)
        else:
            pipeline = self._pipeline
            enrichment = pipeline.enrichment.switched(bundle, model, self._tables(version, bundle, model))
            pipeline.switch(bundle, model, live=version.mode == "live", enrichment=enrichment)

    def _begin(self, version: InForce, bundle: Bundle, model: Model | None, offset: int) -> None:
        wanted = min(version.state_from, self._start.from_offset)
        if offset > wanted:
            raise CannotCheck(
                f"partition {self.partition} begins at offset {offset}, its journal's state at {wanted}; "
                "export the input from there on"
            )
        self.pipeline = self._make(version, bundle, model)

    def _rebuild(self, version: InForce, bundle: Bundle, model: Model | None, offset: int) -> None:
        self.pipeline = self._make(version, bundle, model)
        known = self._known()
        records = iter(self._reread(self.partition, version.state_from, offset))
        while part := list(islice(records, REBUILD_RECORDS)):
            self.pipeline.process(slice_of(self.partition, part), known)

    def _make(self, version: InForce, bundle: Bundle, model: Model | None) -> Pipeline:
        start = self._start
        live = version.mode == "live"
        donors = () if self.pipeline is None else self.pipeline.enrichment.bound.values()
        versions = self._tables(version, bundle, model)
        enrichment = Enrichment(bundle, model, start.hash_key, versions, donors)
        return Pipeline(
            self.partition,
            start.hash_key,
            bundle,
            model,
            start.from_offset,
            live=live,
            enrichment=enrichment,
        )

    def _tables(self, version: InForce, bundle: Bundle, model: Model | None) -> dict[str, TableVersion]:
        wanted = reads_reference(bundle, model) & version.tables.keys()
        return {name: self._content.table(version.tables[name]) for name in sorted(wanted)}

    def _remember(self, result: Result) -> None:
        """Keep what was decided while a later version may need it again."""
        last = int(result.slice.offset[-1])
        if self._journal.next_border(last) is None:
            return
        decision = np.full(len(result.slice), int(result.malformed), np.uint8)
        score = np.zeros(len(result.slice), np.int32)
        decision[result.batch.row] = result.outcome.decision
        score[result.batch.row] = result.outcome.score
        self._offset.append(result.slice.offset[result.rows])
        self._decision.append(decision[result.rows])
        self._score.append(score[result.rows])

    def _known(self) -> Known:
        return Known(
            np.concatenate([np.zeros(0, np.int64), *self._offset]),
            np.concatenate([np.zeros(0, np.uint8), *self._decision]),
            np.concatenate([np.zeros(0, np.int32), *self._score]),
        )


def slice_of(partition: int, records: Sequence[Record]) -> Slice:
    """Copy records of one partition into a slice."""
    return Slice.from_records(
        partition,
        [record.value for record in records],
        [record.key for record in records],
        [record.offset for record in records],
        [record.time_ms for record in records],
    )


def _checked_start(partition: int, journal: Journal) -> Start:
    if journal.start is None or not journal.versions:
        raise CannotCheck(
            f"the journal of partition {partition} has no counting `start` and `version`; export it whole"
        )
    if journal.steps:
        raise Refusal(
            f"the journal of partition {partition} has degraded steps, which core {CORE} does not know; "
            "replay it with the fraudstream version that wrote it"
        )
    return journal.start
