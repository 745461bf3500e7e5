"""Tables from the files that a rules directory names."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import NamedTuple

from fraudstream.models.model import Model
from fraudstream.rules.bundle import Bundle, ReferenceTable
from fraudstream.rules.iso4217 import DECIMALS
from fraudstream.stream.enrichment.bound import TableVersion
from fraudstream.stream.enrichment.content import Content, version_of, write_content
from fraudstream.stream.enrichment.files import FileRefused, read_file
from fraudstream.stream.enrichment.store import reads_reference

Mark = tuple[str, int, int, int]
"""(hash of the declaration, inode, size, time of change) of a file that was read."""


class Loaded(NamedTuple):
    """What the files of a bundle's tables gave."""

    contents: dict[str, Content]
    """By table."""
    problems: dict[str, str]
    """Why a file was refused, by table."""
    marks: dict[str, Mark | None]
    """Which file was looked at, by table; None: it is not there."""


NOTHING_LOADED = Loaded({}, {}, {})


class TableFiles:
    """Reads the files of one rules directory; what did not change is not read again."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._kept: dict[str, tuple[Mark, Content]] = {}
        self._turn = threading.Lock()

    def load(self, bundle: Bundle, model: Model | None) -> Loaded:
        """Read the files of all tables of which something is read. Blocks: seconds for millions of rows."""
        loaded = Loaded({}, {}, {})
        decimals = DECIMALS[bundle.schema.base_currency]
        tables = [table for table in read_tables(bundle, model) if table.file]
        with self._turn:
            for table in tables:
                mark = loaded.marks[table.name] = self._mark(table)
                kept = self._kept.get(table.name)
                if kept is not None and mark is not None and kept[0] == mark:
                    loaded.contents[table.name] = kept[1]
                    continue
                try:
                    content = read_file(table, self._directory, decimals)
                except FileRefused as problem:
                    loaded.problems[table.name] = str(problem)
                    continue
                loaded.contents[table.name] = content
                if mark is not None:
                    self._kept[table.name] = (mark, content)
            names = {table.name for table in tables}
            self._kept = {name: item for name, item in self._kept.items() if name in names}
        return loaded

    def marks(self, bundle: Bundle, model: Model | None) -> dict[str, Mark | None]:
        """Return the marks of all files as they are now, by table."""
        return {table.name: self._mark(table) for table in read_tables(bundle, model) if table.file}

    def _mark(self, table: ReferenceTable) -> Mark | None:
        try:
            state = (self._directory / table.file).stat()
        except OSError:
            return None
        return (table.hash, state.st_ino, state.st_size, state.st_mtime_ns)


def read_tables(bundle: Bundle, model: Model | None) -> tuple[ReferenceTable, ...]:
    """Return the tables of which rules, filters or the model read something."""
    names = reads_reference(bundle, model)
    return tuple(table for table in bundle.reference.tables if table.name in names)


def version_from(content: Content, parent: TableVersion | None = None) -> tuple[TableVersion, bytes]:
    """Return content with its name, and its bytes."""
    data = write_content(content)
    return TableVersion(version_of(data), content, parent), data
