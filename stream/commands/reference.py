"""`fraudstream reference`: the files of reference tables against their declaration."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from fraudstream.models.model import Model
from fraudstream.rules.bundle import Bundle, ReferenceTable
from fraudstream.rules.compiler.compile import compile_sources
from fraudstream.rules.compiler.source import render_all
from fraudstream.rules.iso4217 import DECIMALS
from fraudstream.stream.enrichment.content import NO_TIME, Content
from fraudstream.stream.enrichment.directory import version_from
from fraudstream.stream.enrichment.files import FileRefused, read_file
from fraudstream.stream.enrichment.store import reads_reference
from fraudstream.stream.errors import Exit, NothingToCheck
from fraudstream.stream.shipped import default_rules, named_model, read_rules

SUMMARY = "check the files of reference tables against reference.yaml"
EXAMPLE = """\
example:
  fraudstream reference check rules/

Reads every file that reference.yaml names, whether something reads its table or not, and prints rows, columns
that are read, published bytes, as-of time and hash. Topics are named, not read.
"""
HEAD = ("table", "rows", "read", "bytes", "as of", "content", "source")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EXAMPLE
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    text = "read every file and print what it holds"
    check = actions.add_parser("check", help=text, description=text, allow_abbrev=False)
    check.add_argument("directory", nargs="?", type=Path, metavar="DIR", help="default: rules/")
    check.add_argument("--model", metavar="F", help="model file, or none (default: the shipped model)")


def run(args: argparse.Namespace) -> int:
    """Check."""
    directory: Path = args.directory or default_rules()
    files = read_rules(directory)
    compiled = compile_sources(files)
    if compiled.bundle is None:
        print(render_all(compiled.errors, files, f"{directory}/"), file=sys.stderr)
        return Exit.FINDINGS
    if not compiled.bundle.reference.tables:
        raise NothingToCheck(f"{directory} declares no reference tables (reference.yaml)")
    return _check(compiled.bundle, named_model(args.model), directory)


def _check(bundle: Bundle, model: Model | None, directory: Path) -> int:
    decimals = DECIMALS[bundle.schema.base_currency]
    rows: list[tuple[str, ...]] = [HEAD]
    refused = 0
    for table in bundle.reference.tables:
        if table.topic:
            rows.append(_line(bundle, model, table, None))
            continue
        try:
            rows.append(_line(bundle, model, table, read_file(table, directory, decimals)))
        except FileRefused as problem:
            refused += 1
            print(problem, file=sys.stderr)
    widths = [max(len(row[at]) for row in rows) for at in range(len(HEAD))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print(f"\n{len(bundle.reference.tables)} tables, {refused} refused")
    return Exit.FINDINGS if refused else Exit.OK


def _line(
    bundle: Bundle, model: Model | None, table: ReferenceTable, content: Content | None
) -> tuple[str, ...]:
    """Return the cells of one table; without content it comes from a topic."""
    names = {slot.name for slot in bundle.reference.read}
    names |= set() if model is None else set(model.reads)
    read = f"{sum(slot.name in names for slot in table.slots)} of {len(table.columns)}"
    if table.name not in reads_reference(bundle, model):
        read = "nothing"
    if content is None:
        return (table.name, "-", read, "-", "-", "-", f"topic {table.topic}")
    version, data = version_from(content)
    return (
        table.name,
        f"{len(content):,}",
        read,
        f"{len(data):,}",
        _time(content.as_of_ms),
        version.version[:19],
        table.file,
    )


def _time(time_ms: int) -> str:
    if time_ms == NO_TIME:
        return "unknown"
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
