"""`fraudstream replay`: the same core without Kafka."""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from fraudstream.models.file import load_model
from fraudstream.models.inputs import ModelError
from fraudstream.models.model import Model
from fraudstream.rules.bundle import Bundle
from fraudstream.rules.compiler.compile import (
    BundleError,
    compile_archive,
    compile_sources,
)
from fraudstream.rules.compiler.source import render_all
from fraudstream.stream.control_store import ControlError, find_content
from fraudstream.stream.enrichment.bound import TableVersion
from fraudstream.stream.enrichment.chain import Assembly
from fraudstream.stream.enrichment.content import ContentError
from fraudstream.stream.enrichment.directory import TableFiles, version_from
from fraudstream.stream.envelope import EnvelopeError, Record, read_envelopes
from fraudstream.stream.errors import BadUse, CannotCheck, Exit, Refusal
from fraudstream.stream.feature_rows import FeatureRows
from fraudstream.stream.journal import Journal, JournalError, read_journal
from fraudstream.stream.pipeline import Result
from fraudstream.stream.progress import Progress
from fraudstream.stream.recorded import RecordedLog, refuse_partial_counts
from fraudstream.stream.replay import PartitionReplay, fixed_journal
from fraudstream.stream.scoring import NO_MODEL
from fraudstream.stream.shipped import default_rules, named_model, read_rules

SUMMARY = "decide a recorded log without Kafka; the reference for every other run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--input", required=True, metavar="F", help="the log; - is standard input")
    parser.add_argument(
        "--format",
        choices=("raw", "envelope"),
        default="raw",
        help="raw: one transaction a line (default); envelope: what `export` writes",
    )
    parser.add_argument("--rules", type=Path, metavar="DIR", help="rules directory (default: rules/)")
    parser.add_argument("--model", metavar="F", help="model file, or none (default: the shipped model)")
    parser.add_argument("--journal", type=Path, metavar="F", help="exported journal: versions come from it")
    parser.add_argument("--control", type=Path, metavar="F", help="exported control topic: their content")
    parser.add_argument("--output", default="-", metavar="F", help="decisions, one a line (default: -)")
    parser.add_argument("--features", type=Path, metavar="F", help="feature vectors, .parquet or .jsonl")
    parser.add_argument(
        "--batch",
        type=int,
        default=1000,
        metavar="N",
        help="records at once; any number gives the same bytes",
    )
    parser.epilog = (
        "examples:\n"
        "  fraudstream generate --count 10000 --seed 7 | fraudstream replay --input - --output out.jsonl\n"
        "  fraudstream replay --input input.jsonl --format envelope --journal journal.jsonl "
        "--control control.jsonl"
    )


def run(args: argparse.Namespace) -> int:
    """Replay."""
    if args.batch < 1:
        raise BadUse(f"`--batch` was {args.batch}, expected 1 or more")
    if (args.journal is None) != (args.control is None):
        raise BadUse("`--journal` and `--control` go together: versions and their content")
    if args.journal is not None and (args.rules is not None or args.model is not None):
        raise BadUse("`--rules` and `--model` cannot be given with `--journal`, which names the versions")
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(RecordedLog.open(args.input, args.format, keep=args.journal is not None))
        versions: Journaled | Fixed
        if args.journal is not None:
            versions = Journaled(args.journal, args.control)
        else:
            fixed = _compile(args.rules or default_rules(), args.model)
            if fixed is None:
                return Exit.FINDINGS
            versions = fixed
        output = stack.enter_context(_output(args.output))
        rows = None if args.features is None else stack.enter_context(FeatureRows(args.features))
        _replay(log, versions, output, rows, args.batch)
    return Exit.OK


def _replay(
    log: RecordedLog, versions: Journaled | Fixed, output: BinaryIO, rows: FeatureRows | None, size: int
) -> None:
    partitions: dict[int, PartitionReplay] = {}
    records = log.records()
    with Progress("replay", log.bytes, "bytes", quiet_s=2.0 if log.bytes else math.inf) as progress:
        while batch := list(islice(records, size)):
            results: list[Result] = []
            lines: dict[tuple[int, int], bytes] = {}
            places: dict[tuple[int, int], tuple[int, int]] = {}
            bundle: Bundle | None = None
            for number, part in _by_partition(batch).items():
                if number not in partitions:
                    partitions[number] = PartitionReplay(
                        number, versions.journal(number), versions, log.of_partition
                    )
                replay = partitions[number]
                for result in replay.run(part):
                    pipeline = replay.pipeline
                    assert pipeline is not None
                    refuse_partial_counts(len(partitions), pipeline.bundle)
                    for at, row in enumerate(result.rows.tolist()):
                        lines[number, int(result.slice.offset[row])] = result.encoded.record(at)
                    if rows is not None:
                        if bundle is not None and bundle.features.hash != pipeline.bundle.features.hash:
                            raise Refusal("`--features`: the journal changes the features within this log")
                        bundle = pipeline.bundle
                        offsets = result.slice.offset.tolist()
                        places |= {(number, at): (len(results), row) for row, at in enumerate(offsets)}
                        results.append(result)
            keys = [(record.partition, record.offset) for record in batch]
            output.writelines(lines[key] + b"\n" for key in keys if key in lines)
            if rows is not None and bundle is not None:
                rows.write(bundle, results, [places[key] for key in keys if key in places])
            progress.at(log.position)


def _by_partition(batch: list[Record]) -> dict[int, list[Record]]:
    parts: dict[int, list[Record]] = {}
    for record in batch:
        parts.setdefault(record.partition, []).append(record)
    return parts


class Fixed:
    """One bundle and one model for all offsets and partitions."""

    def __init__(self, bundle: Bundle, model: Model | None, tables: Mapping[str, TableVersion]) -> None:
        self._bundles = {bundle.hash: bundle}
        models = NO_MODEL if model is None else model.version
        self._models = {models: model}
        self._tables = {item.version: item for item in tables.values()}
        names = {name: item.version for name, item in tables.items()}
        self.journal: Callable[[int], Journal] = lambda _: fixed_journal(bundle.hash, models, names)

    def bundle(self, version: str) -> Bundle:
        """Return the bundle."""
        return self._bundles[version]

    def model(self, version: str) -> Model | None:
        """Return the model."""
        return self._models[version]

    def table(self, version: str) -> TableVersion:
        """Return a table."""
        return self._tables[version]


class Journaled:
    """Versions from an exported journal, their content from an exported control topic."""

    def __init__(self, journal: Path, control: Path) -> None:
        self._control_name = str(control)
        self._journals: dict[int, list[tuple[int, bytes]]] = {}
        self._journal_name = str(journal)
        for record in _envelopes(journal):
            if record.value is not None:
                self._journals.setdefault(record.partition, []).append((record.offset, record.value))
        self._control = {
            record.key: record.value
            for record in _envelopes(control)
            if record.key is not None and record.value is not None
        }
        self._bundles: dict[str, Bundle] = {}
        self._models: dict[str, Model] = {}
        self._tables: dict[str, TableVersion] = {}

    def journal(self, partition: int) -> Journal:
        """Return a partition's journal."""
        try:
            return read_journal(self._journals.get(partition, []))
        except JournalError as problem:
            raise CannotCheck(f"{self._journal_name}: partition {partition}: {problem}") from None

    def bundle(self, version: str) -> Bundle:
        """Return a bundle by its hash."""
        if version not in self._bundles:
            try:
                self._bundles[version] = compile_archive(find_content(self._control, "bundle", version))
            except (ControlError, BundleError) as problem:
                raise CannotCheck(f"{self._control_name}: {problem}") from None
        return self._bundles[version]

    def model(self, version: str) -> Model | None:
        """Return a model by its hash."""
        if version == NO_MODEL:
            return None
        if version not in self._models:
            try:
                self._models[version] = load_model(find_content(self._control, "model", version))
            except (ControlError, ModelError) as problem:
                raise CannotCheck(f"{self._control_name}: {problem}") from None
        return self._models[version]

    def table(self, version: str) -> TableVersion:
        """Return the content of a reference table by its hash."""
        try:
            assembly = Assembly(version, self._tables)
            while assembly.wanted:
                assembly.add(find_content(self._control, "table", assembly.wanted))
            return assembly.result()
        except (ControlError, ContentError) as problem:
            raise CannotCheck(f"{self._control_name}: {problem}") from None


def _envelopes(path: Path) -> Iterator[Record]:
    with path.open("rb") as file:
        try:
            yield from read_envelopes(file, str(path))
        except EnvelopeError as problem:
            raise CannotCheck(str(problem)) from None


def _compile(directory: Path, model: str | None) -> Fixed | None:
    files = read_rules(directory)
    compiled = compile_sources(files)
    if compiled.bundle is None:
        print(render_all(compiled.errors, files, f"{directory}/"), file=sys.stderr)
        return None
    chosen = named_model(model)
    loaded = TableFiles(directory).load(compiled.bundle, chosen)
    if loaded.problems:
        print("\n".join(loaded.problems.values()), file=sys.stderr)
        return None
    tables = {name: version_from(content)[0] for name, content in loaded.contents.items()}
    return Fixed(compiled.bundle, chosen, tables)


@contextlib.contextmanager
def _output(name: str) -> Iterator[BinaryIO]:
    if name == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    else:
        with Path(name).open("wb") as file:
            yield file
