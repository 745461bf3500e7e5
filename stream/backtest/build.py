"""Makes the feature log of a recorded log, once: later runs find it by its fingerprint."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from fraudstream.rules.bundle import Bundle
from fraudstream.rules.compiler.canonical import canonical_json
from fraudstream.rules.compiler.program import compile_outputs
from fraudstream.stream.backtest import layout as at
from fraudstream.stream.backtest.candidate import Candidate
from fraudstream.stream.backtest.layout import Manifest
from fraudstream.stream.backtest.simulate import Simulation
from fraudstream.stream.backtest.writer import RowWriter
from fraudstream.stream.core import CORE
from fraudstream.stream.enrichment.store import Enrichment
from fraudstream.stream.envelope import Record
from fraudstream.stream.errors import BadUse, NothingToCheck
from fraudstream.stream.pipeline import Pipeline
from fraudstream.stream.progress import Progress
from fraudstream.stream.recorded import RecordedLog, refuse_partial_counts
from fraudstream.stream.replay import slice_of
from fraudstream.stream.scoring import NO_MODEL

HASH_KEY = bytes(16)
"""As `fraudstream replay` has without a journal."""
BATCH = 1_000
_ENDS = 1 << 20
"""Bytes at both ends of a log that tell it from another of the same size and time."""


@dataclass(frozen=True, slots=True)
class Source:
    """A recorded log in a file."""

    path: Path
    kind: str
    """``raw`` or ``envelope``."""

    def identity(self) -> dict[str, Any]:
        """Return what tells the log from others, without reading all of it.

        Raises:
            BadUse: it is no file.
        """
        if not self.path.is_file():
            raise BadUse(f"`--input {self.path}` is no file; a backtest reads a log more than once")
        state = self.path.stat()
        with self.path.open("rb") as file:
            ends = hashlib.sha256(file.read(_ENDS))
            file.seek(max(0, state.st_size - _ENDS))
            ends.update(file.read(_ENDS))
        return {
            "kind": self.kind,
            "bytes": state.st_size,
            "time_ns": state.st_mtime_ns,
            "ends": ends.hexdigest(),
        }


def made_of(source: Source, candidate: Candidate, *, simulated: bool) -> dict[str, Any]:
    """Return everything that the rows of a feature log depend on."""
    bundle, model = candidate.bundle, candidate.model
    return {
        "format": at.FORMAT,
        "core": CORE,
        "log": source.identity(),
        "schema": bundle.schema.hash,
        "features": bundle.features.hash,
        "reference": bundle.reference.hash,
        "tables": {name: candidate.tables[name].version for name in sorted(candidate.tables)},
        "rates": sorted([name, *rate] for name, rate in bundle.rates.items.items()),
        "zone": bundle.policy.zone,
        "models": NO_MODEL if model is None else model.version,
        "simulated": bundle.hash if simulated else None,
    }


def fingerprint_of(source: Source, candidate: Candidate, *, simulated: bool = False) -> str:
    """Return the name of a log's feature log; its directory has the first sixteen digits."""
    return _fingerprint(made_of(source, candidate, simulated=simulated))


def _fingerprint(parts: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_json(parts)).hexdigest()


def feature_log(root: Path, source: Source, candidate: Candidate, *, simulated: bool = False) -> Path:
    """Return the directory of a log's feature log; it is made if it is not there.

    Args:
        root: where feature logs of this log are kept.
        source: the log.
        candidate: its schema, features, tables and model count; with ``simulated`` its rules too.
        simulated: blocked payments do not happen.

    Raises:
        NothingToCheck: the log is empty.
        Refusal: features that see only a share of a log with several partitions.
    """
    parts = made_of(source, candidate, simulated=simulated)
    fingerprint = _fingerprint(parts)
    directory = root / fingerprint[:16]
    if (directory / at.MANIFEST).is_file() and Manifest.read(directory).fingerprint == fingerprint:
        return directory
    part = root / f".{fingerprint[:16]}.{os.getpid()}.part"
    root.mkdir(parents=True, exist_ok=True)
    try:
        _build(part, source, candidate, parts, fingerprint, simulated=simulated)
        shutil.rmtree(directory, ignore_errors=True)
        part.rename(directory)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return directory


def _build(
    directory: Path,
    source: Source,
    candidate: Candidate,
    parts: dict[str, Any],
    fingerprint: str,
    *,
    simulated: bool,
) -> None:
    if not simulated:
        writer = _opened(directory, candidate)
        _fill(writer, source, candidate)
        writer.close(fingerprint, parts, HASH_KEY)
        return
    # Each pass decides one by one what was blocked in an earlier one; the last finds no further block.
    simulation = Simulation(candidate.bundle, lambda partition: _pipeline(partition, candidate, None))
    while True:
        writer = _opened(directory, candidate)
        simulation.begin(writer)
        _read(source, candidate.bundle, simulation.take, f"simulate, pass {simulation.passes}")
        if simulation.complete:
            writer.close(fingerprint, parts, HASH_KEY)
            return


def _opened(directory: Path, candidate: Candidate) -> RowWriter:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return RowWriter(directory, candidate.bundle)


def _fill(writer: RowWriter, source: Source, candidate: Candidate) -> None:
    pipelines: dict[int, Pipeline] = {}

    def take(partition: int, records: list[Record]) -> None:
        if partition not in pipelines:
            pipelines[partition] = empty_pipeline(partition, candidate)
        writer.add(pipelines[partition].process(slice_of(partition, records)))

    _read(source, candidate.bundle, take, "compute features")


def _pipeline(partition: int, candidate: Candidate, bundle: Bundle | None) -> Pipeline:
    bundle = candidate.bundle if bundle is None else bundle
    enrichment = Enrichment(bundle, candidate.model, HASH_KEY, candidate.tables)
    return Pipeline(partition, HASH_KEY, bundle, candidate.model, enrichment=enrichment)


def empty_pipeline(partition: int, candidate: Candidate) -> Pipeline:
    """Return a pipeline for features and scores alone: no rule runs, nothing is decided."""
    return _pipeline(partition, candidate, _without_rules(candidate.bundle))


def _without_rules(bundle: Bundle) -> Bundle:
    """Return the bundle without what decides: features and scores depend on no decision."""
    policy = replace(bundle.policy, model_bands=())
    return replace(bundle, rules=(), program=compile_outputs([]), typologies=(), policy=policy)


def _read(source: Source, bundle: Bundle, take: Callable[[int, list[Record]], None], text: str) -> None:
    """Give all records to ``take``, those of one partition at a time."""
    seen: set[int] = set()
    with (
        RecordedLog.open(str(source.path), source.kind, keep=False) as log,
        Progress(text, log.bytes, "bytes", 2.0) as progress,
    ):
        records = log.records()
        while batch := list(islice(records, BATCH)):
            for partition, part in _by_partition(batch):
                if partition not in seen:
                    seen.add(partition)
                    refuse_partial_counts(len(seen), bundle)
                take(partition, part)
            progress.at(log.position)
    if not seen:
        raise NothingToCheck(f"{source.path} has no records")


def _by_partition(batch: list[Record]) -> Iterator[tuple[int, list[Record]]]:
    parts: dict[int, list[Record]] = {}
    for record in batch:
        parts.setdefault(record.partition, []).append(record)
    yield from parts.items()
