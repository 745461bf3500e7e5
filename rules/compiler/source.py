"""Where something stands in a file, what is wrong there, and how that is shown."""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

QUOTE_CHARS_MAX = 60
"""Operator text quoted in a message is cut here: messages stay one line on a screen."""
LINE_CHARS_MAX = 160
"""A longer source line is shown as the part around the caret."""

Level = Literal["error", "warning"]


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A piece of one line of a file; ``line`` and ``column`` count from 1, in characters."""

    file: str
    line: int
    column: int
    length: int = 1


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding about the rule files."""

    level: Level
    message: str
    span: Span
    hint: str = ""
    """What to do or what was probably meant; shown behind the message."""
    code: str = ""
    """Name of the lint for warnings; empty for errors."""

    @property
    def text(self) -> str:
        """Return message and hint as one line."""
        return f"{self.message}; {self.hint}" if self.hint else self.message

    def render(self, lines: SourceLines | None = None, prefix: str = "") -> str:
        """Return the finding as operators see it: place, message, source line and caret.

        Args:
            lines: lines of the file; without it only the first line is given.
            prefix: put before the file name, e.g. ``rules/``.
        """
        span = self.span
        tail = f" [{self.code}]" if self.code else ""
        head = f"{prefix}{span.file}:{span.line}:{span.column}: {self.level}: {self.text}{tail}"
        shown = lines.line(span.line) if lines is not None else None
        if shown is None:
            return head
        text, column = _window(shown, span.column)
        before, marked = text[: column - 1], text[column - 1 : column - 1 + span.length]
        caret = "".join("\t" if char == "\t" else " " * _cells(char) for char in before)
        width = max(1, sum(map(_cells, marked)))
        return f"{head}\n{span.line:>6} | {printable(text)}\n       | {caret}{'^' * width}"


class SourceLines:
    """Text of one file with the positions of its lines."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.text = text
        self._starts = [0]
        at = text.find("\n")
        while at >= 0:
            self._starts.append(at + 1)
            at = text.find("\n", at + 1)

    def line(self, number: int) -> str | None:
        """Return line ``number`` (from 1) without its end, None if there is no such line."""
        if not 1 <= number <= len(self._starts):
            return None
        begin = self._starts[number - 1]
        end = self._starts[number] - 1 if number < len(self._starts) else len(self.text)
        return self.text[begin:end].removesuffix("\r")

    def span(self, begin: int, end: int) -> Span:
        """Return the place of characters ``begin`` to ``end``, cut at the end of the first line."""
        begin = max(0, min(begin, len(self.text)))
        row = bisect_right(self._starts, begin) - 1
        column = begin - self._starts[row]
        shown = self.line(row + 1) or ""
        rest = max(1, len(shown.rstrip()) - column)
        return Span(self.file, row + 1, column + 1, max(1, min(end - begin, rest)))


def printable(text: str) -> str:
    """Return text that can not steer a terminal: control and format characters become ``\ufffd``."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\t" else "\ufffd" for char in text)


def quoted(text: str) -> str:
    """Return operator text for a message: in backticks, one line, cut, printable."""
    flat = printable(" ".join(text.split())) if len(text) < 10_000 else printable(text[:100])
    return f"`{flat}`" if len(flat) <= QUOTE_CHARS_MAX else f"`{flat[: QUOTE_CHARS_MAX - 1]}…`"


def sorted_diagnostics(items: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Return findings by place, errors before warnings at the same place, repeats dropped."""
    unique = dict.fromkeys(items)
    return tuple(sorted(unique, key=lambda item: (item.span, item.level, item.message)))


def render_all(items: Iterable[Diagnostic], files: Mapping[str, bytes], prefix: str = "") -> str:
    """Return all findings as text, one after the other."""
    cache: dict[str, SourceLines] = {}
    out = []
    for item in items:
        file = item.span.file
        if file not in cache and file in files:
            cache[file] = SourceLines(file, files[file].decode("utf-8-sig", "replace"))
        out.append(item.render(cache.get(file), prefix))
    return "\n".join(out)


def _cells(char: str) -> int:
    """Return how many terminal cells a character takes."""
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _window(line: str, column: int) -> tuple[str, int]:
    """Return the part of a long line around ``column`` and the column's place in it."""
    if len(line) <= LINE_CHARS_MAX:
        return line, column
    begin = max(0, min(column - 1 - LINE_CHARS_MAX // 3, len(line) - LINE_CHARS_MAX))
    return line[begin : begin + LINE_CHARS_MAX], column - begin
