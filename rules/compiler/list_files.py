"""Lists whose items stand in a file of their own: ``lists/*.csv`` and ``lists/*.txt``, one item a line.

A line is ``value`` or ``value,until``; ``#`` begins a line of comment; a value with a comma stands in double
quotes. A first line ``value`` or ``value,until`` is a heading. Like every rule file these are hostile input:
bounded in size and items, and every wrong line is told with its place.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Mapping

from fraudstream.rules.bundle import ListVersion, Type
from fraudstream.rules.compiler.canonical import canonical_json
from fraudstream.rules.compiler.documents import LIST_FILE, kind_of_file
from fraudstream.rules.compiler.reader import Findings
from fraudstream.rules.compiler.shape import Section
from fraudstream.rules.compiler.source import Span, quoted
from fraudstream.rules.compiler.suggest import suggest
from fraudstream.rules.compiler.types import ListDecl, ListItem, Scope, list_value
from fraudstream.rules.compiler.zones import parse_instant

ITEMS_MAX = 100_000
"""Of one list. A larger one is a reference table with a column."""
LIST_BYTES_MAX = 4 << 20
"""Room for as many items of forty characters."""
VALUE_CHARS_MAX = 128
"""No id or text of an event is longer, so that nothing longer can ever be found."""
ERRORS_MAX = 20
"""Of one file: who exports a wrong column has as many errors as lines."""
_HEADINGS = (["value"], ["value", "until"])


def list_files(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return those of the rule files that hold items of lists."""
    return {path: data for path, data in files.items() if kind_of_file(path) == LIST_FILE}


def version_of_list(found: ListDecl) -> ListVersion:
    """Return a list's version: a hash of its type, values and ends, not of their order or file."""
    items = sorted([str(item.value), item.until_ms] for item in found.items)
    digest = hashlib.sha256(canonical_json({"items": items, "type": found.type.value})).hexdigest()
    return ListVersion(found.name, found.type, len(found.items), f"sha256:{digest}", found.file)


class ListFiles:
    """The list files of a directory; each is read by the lists that name it."""

    def __init__(self, files: Mapping[str, bytes], scope: Scope, findings: Findings) -> None:
        self._files = files
        self._scope = scope
        self._findings = findings
        self._read: set[str] = set()

    def read(self, name: str, kind: Type, section: Section) -> ListDecl:
        """Return the list that a section of lists.yaml takes from a file."""
        node = section.scalar("file")
        path = "" if node is None else node.text
        if node is not None and path not in self._files:
            hint = suggest(path, self._files) or "it stands in `lists/` beside lists.yaml, as .csv or .txt"
            self._findings.error(node, f"there is no list file {quoted(path)}", hint)
            self._findings.broken.add(f"lists.{name}")
        if path not in self._files:
            return ListDecl(name, kind, ())
        self._read.add(path)
        return ListDecl(name, kind, tuple(self._items(path, kind)), path)

    def check_unread(self) -> None:
        """Warn about files that no list names; what can not be read is an error even there."""
        for path in self._files.keys() - self._read:
            if self._text(path) is not None:
                place = Span(path, 1, 1)
                hint = f"declare one with `file: {path}` in lists.yaml, or remove the file"
                self._findings.warning(place, "unused-list", "no list has its items in this file", hint)

    def _text(self, path: str) -> str | None:
        data, findings = self._files[path], self._findings
        if len(data) > LIST_BYTES_MAX:
            message = f"the file was larger than {LIST_BYTES_MAX:,} bytes (4 MiB), more is not read"
            findings.error(Span(path, 1, 1), message, "make it a reference table")
            return None
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as problem:
            line = data.count(b"\n", 0, problem.start) + 1
            findings.error(Span(path, line, 1), "the file was not UTF-8", "save it with the encoding UTF-8")
            return None

    def _items(self, path: str, kind: Type) -> Iterator[ListItem]:
        text, before = self._text(path), len(self._findings.items)
        seen: dict[object, int] = {}
        for number, line in enumerate(() if text is None else text.split("\n"), 1):
            cells = self._cells(path, number, line.rstrip("\r"))
            if not cells or (not seen and cells in _HEADINGS):
                continue
            found = self._item(Span(path, number, 1, max(1, len(line.rstrip()))), cells, kind)
            if found is not None and found.value in seen:
                message = f"{quoted(cells[0])} is in the list twice"
                self._findings.error(
                    Span(path, number, 1), message, f"the first is on line {seen[found.value]}"
                )
            elif found is not None:
                seen[found.value] = number
                yield found
            if len(seen) > ITEMS_MAX:
                message = f"more than {ITEMS_MAX:,} items, no more are allowed"
                self._findings.error(Span(path, number, 1), message, "make it a reference table")
                return
            if len(self._findings.items) - before >= ERRORS_MAX:
                message = f"{ERRORS_MAX} errors in this file, the rest of it was not looked at"
                self._findings.error(Span(path, number, 1), message, "is it the right file, and type?")
                return

    def _cells(self, path: str, number: int, line: str) -> list[str]:
        """Return the cells of a line, none for a comment and an empty line."""
        if not line.strip() or line.lstrip().startswith("#"):
            return []
        if '"' not in line:
            return [cell.strip() for cell in line.split(",")]
        try:
            (cells,) = csv.reader([line.strip()], strict=True, skipinitialspace=True)
        except (csv.Error, ValueError):
            message = f"the quotes of {quoted(line)} do not fit"
            self._findings.error(Span(path, number, 1), message, 'write `"a ""quoted"" value",2027-01-31`')
            return []
        return [cell.strip() for cell in cells]

    def _item(self, place: Span, cells: list[str], kind: Type) -> ListItem | None:
        text, findings = cells[0], self._findings
        if len(cells) > 2:
            message = f"{len(cells)} columns, expected `value` or `value,until`"
            findings.error(place, message, "a value with a comma stands in double quotes")
            return None
        if not text or len(text) > VALUE_CHARS_MAX or not text.isprintable():
            what = "empty" if not text else f"longer than {VALUE_CHARS_MAX} characters"
            what = what if not text or len(text) > VALUE_CHARS_MAX else "not printable"
            findings.error(place, f"the value was {what}", "no field of an event can equal it")
            return None
        value, problems = list_value(text, kind, self._scope)
        until: int | None = None
        if len(cells) == 2 and cells[1]:
            until, wrong = parse_instant(cells[1], self._scope.zone)
            problems = (*problems, *wrong)
        for problem in problems[:1]:
            findings.error(place, problem.message, problem.hint)
        return None if problems or value is None else ListItem(value, until)
