"""The rules directory: read whole, compiled apart, tested, and only then wanted in force.

Nothing here decides; what comes out is a bundle or the reasons why there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fraudstream.models.model import Model
from fraudstream.rules.bundle import Bundle
from fraudstream.rules.compiler.casefile import run_tests
from fraudstream.rules.compiler.compile import Compiled, compile_sources, make_archive, read_directory
from fraudstream.rules.compiler.isolated import compile_isolated
from fraudstream.rules.compiler.source import render_all
from fraudstream.stream.compiled_forms import CompiledForms
from fraudstream.stream.enrichment.directory import NOTHING_LOADED, Loaded, TableFiles
from fraudstream.stream.rule_tests import make_history_runner

Stamp = tuple[tuple[str, int, int, int], ...]
"""(file, inode, size, time of change) of every file that may matter."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of the content of a directory."""

    bundle: Bundle | None
    problem: str = ""
    """All errors, one finding after the other, where there is no bundle."""
    errors: int = 0
    tables: Loaded = NOTHING_LOADED
    """What the files of reference tables gave; a refused file does not refuse the rules."""
    compiled: Compiled | None = None
    """What the files declare, where there is a bundle."""


def stamp(path: Path) -> Stamp:
    """Return a cheap fingerprint: equal twice in a row means that nobody is writing."""
    found = []
    rule_sets, lists = (path / "rulesets").glob("*.yaml"), (path / "lists").glob("*")
    for file in sorted([*path.glob("*.yaml"), *rule_sets, *lists]):
        try:
            state = file.stat()
        except OSError:  # removed or replaced just now: the next look will tell
            continue
        found.append((str(file), state.st_ino, state.st_size, state.st_mtime_ns))
    return tuple(found)


def check_directory(
    path: Path,
    model: Model | None,
    table_files: TableFiles | None = None,
    forms: CompiledForms | None = None,
) -> Checked:
    """Read, compile in a child process with limits, and run the embedded tests. Blocks for a second or so.

    ``table_files`` remembers the files of reference tables between two calls. With ``forms`` a content that
    compiled here before is not compiled apart again, and what is good is kept there.
    """
    try:
        files = read_directory(path)
    except OSError as problem:
        return Checked(None, f"{path} cannot be read: {problem}", 1)
    return check_files(files, model, table_files or TableFiles(path), forms)


def check_files(
    files: Mapping[str, bytes],
    model: Model | None,
    table_files: TableFiles | None = None,
    forms: CompiledForms | None = None,
) -> Checked:
    """Compile rule files and run their embedded tests; without ``table_files`` tables have no rows."""
    inputs = None if model is None else list(model.reads)
    harmless = forms is not None and _was_compiled(files, forms)
    compiled = (compile_sources if harmless else compile_isolated)(files, inputs)
    if compiled.bundle is None:
        return Checked(None, render_all(compiled.errors, files), len(compiled.errors))
    tables = NOTHING_LOADED if table_files is None else table_files.load(compiled.bundle, model)
    results = run_tests(compiled, make_history_runner(compiled.bundle, model, tables.contents))
    failed = [result for result in results if result.status == "failed"]
    if failed:
        lines = [
            f"{item.span.file}:{item.span.line}: test `{item.name}` of `{item.rule}` failed: "
            + "; ".join(item.problems)
            for item in failed
        ]
        return Checked(None, "\n".join(lines), len(failed))
    if forms is not None:
        forms.keep(compiled.bundle)
    return Checked(compiled.bundle, tables=tables, compiled=compiled)


def _was_compiled(files: Mapping[str, bytes], forms: CompiledForms) -> bool:
    try:
        return forms.find(make_archive(files)) is not None
    except UnicodeDecodeError:
        return False
