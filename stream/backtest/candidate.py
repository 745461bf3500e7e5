"""A rules directory with all that its decisions depend on: what a backtest compares."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from fraudstream.models.model import Model
from fraudstream.rules.bundle import Bundle
from fraudstream.rules.compiler.compile import Compiled, compile_sources
from fraudstream.rules.compiler.source import render_all
from fraudstream.stream.enrichment.bound import TableVersion
from fraudstream.stream.enrichment.directory import TableFiles, version_from
from fraudstream.stream.enrichment.store import reads_reference
from fraudstream.stream.shipped import named_model, read_rules


@dataclass(frozen=True, slots=True)
class Candidate:
    """Rules that could be in force."""

    path: Path
    compiled: Compiled
    bundle: Bundle
    """Reads every column of the reference tables that have content, so that any rule finds its columns."""
    model: Model | None
    tables: Mapping[str, TableVersion]


def load_candidate(directory: Path, model: str | None) -> Candidate | None:
    """Compile a rules directory and load its model and tables; None: errors, which were printed."""
    files = read_rules(directory)
    chosen = named_model(model)
    compiled = compile_sources(files, None if chosen is None else list(chosen.reads))
    if compiled.bundle is None:
        print(render_all(compiled.errors, files, f"{directory}/"), file=sys.stderr)  # noqa: T201
        return None
    needed = reads_reference(compiled.bundle, chosen)
    wide = _reading_all(compiled.bundle, {table.name for table in compiled.bundle.reference.tables})
    loaded = TableFiles(directory).load(wide, chosen)
    problems = [text for name, text in loaded.problems.items() if name in needed]
    if problems:
        print("\n".join(problems), file=sys.stderr)  # noqa: T201
        return None
    tables = {name: version_from(content)[0] for name, content in loaded.contents.items()}
    bundle = _reading_all(compiled.bundle, needed | tables.keys())
    return Candidate(directory, compiled, bundle, chosen, tables)


def _reading_all(bundle: Bundle, tables: set[str] | frozenset[str]) -> Bundle:
    slots = {
        slot.name: slot for table in bundle.reference.tables if table.name in tables for slot in table.slots
    }
    read = tuple(slots[name] for name in sorted(slots))
    return replace(bundle, reference=replace(bundle.reference, read=read))
