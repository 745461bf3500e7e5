"""Read a YAML file into nodes with positions, and refuse what can hide or explode.

Scalars keep their source text (``0742`` and ``NO`` stay what they are); the place where they stand
gives them a type. Anchors, aliases, merge keys, tags, duplicate keys and a second document are
errors: they say one thing to a reader and another to a program, or grow without bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from fraudstream.rules.compiler.positions import positions
from fraudstream.rules.compiler.source import Diagnostic, SourceLines, Span, quoted

FILE_BYTES_MAX = 1 << 20
DEPTH_MAX = 12
NODES_MAX = 200_000
"""2,000 rules with reasons and tests have about 150,000."""
NODES_TOTAL_MAX = 400_000
"""Of all files: 5,000 rules. Reading them takes a second."""
LINES_MAX = 100_000
TWICE_MAX = 100
"""Keys of a file that may be given twice before it is read no further."""
FLOW_HINT = (
    "inside `{…}` text with `, [ ] { } #` or a leading quote must be quoted as a whole, "
    'e.g. {when: \'txn.kind in ["transfer", "instant"]\'}'
)

# Line ends that YAML knows and editors do not, invisible direction marks that make a rule read
# differently from what it says, control characters.
_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]|\r(?!\n)"
)


class Findings:
    """Collects what is wrong over all files of one run."""

    def __init__(self) -> None:
        self.items: list[Diagnostic] = []
        self.broken: set[str] = set()
        """Declared names that have errors of their own: those who use them are not at fault."""
        self.broken_prefixes: list[str] = []
        """Beginnings of names that a broken family would have declared."""
        self.broken_groups: set[str] = set()
        """Kinds (``Reference``, ``Features``, ``Lists``, ``Typologies``) whose file could not be read."""
        self.nodes = 0
        """Values read in all files."""

    @property
    def exhausted(self) -> bool:
        """Return whether there is more in the files than is read."""
        return self.nodes > NODES_TOTAL_MAX

    def error(self, where: Node | Span, message: str, hint: str = "") -> None:
        """Note an error at a node or a span."""
        span = where if isinstance(where, Span) else where.span
        self.items.append(Diagnostic("error", message, span, hint))

    def warning(self, where: Node | Span, code: str, message: str, hint: str = "") -> None:
        """Note a lint finding; ``code`` names the lint."""
        span = where if isinstance(where, Span) else where.span
        self.items.append(Diagnostic("warning", message, span, hint, code))

    def excuses(self, name: str) -> bool:
        """Return whether a name is unknown only because of an error elsewhere."""
        first = name.split(".", 1)[0]
        if first in ("lists", "params"):
            return name in self.broken or (first == "lists" and "Lists" in self.broken_groups)
        if {"Features", "Reference"} & self.broken_groups and "." in name:
            return True
        if name in self.broken or name.rsplit(".", 1)[0] in self.broken:
            return True
        return any(name.startswith(prefix) for prefix in self.broken_prefixes)

    @property
    def failed(self) -> bool:
        """Return whether any error was noted."""
        return any(item.level == "error" for item in self.items)


@dataclass(slots=True, eq=False)
class ScalarNode:
    """A text; ``begin`` and ``end`` are its characters in the file."""

    lines: SourceLines
    begin: int
    end: int
    text: str
    style: str
    """`` `` plain, ``'``, ``"``, ``|`` or ``>``."""
    _map: list[int] | None = field(default=None, repr=False)

    @property
    def span(self) -> Span:
        """Return where the text stands; for a block the first line of its content."""
        if self.style in ("|", ">") and self.text.strip():
            return self.part(len(self.text) - len(self.text.lstrip()), len(self.text))
        return self.lines.span(self.begin, self.end)

    @property
    def is_null(self) -> bool:
        """Return whether nothing was given: empty, ``null`` or ``~``, unquoted."""
        return self.style == "" and self.text in ("", "null", "~")

    def part(self, begin: int, end: int) -> Span:
        """Return where characters ``begin`` to ``end`` of the text stand in the file."""
        if self._map is None:
            self._map = positions(self.lines.text, (self.begin, self.end), self.text, self.style)
        last = len(self._map) - 1
        start = self._map[max(0, min(begin, last))]
        stop = self._map[max(0, min(end - 1, last))] + 1 if end > begin else start + 1
        return self.lines.span(start, max(stop, start + 1))


@dataclass(slots=True, eq=False)
class MappingNode:
    """Keys with values, in the file's order, without duplicates."""

    lines: SourceLines
    begin: int
    end: int
    flow: bool
    entries: dict[str, tuple[ScalarNode, Node]]

    @property
    def span(self) -> Span:
        """Return where the mapping begins."""
        return self.lines.span(self.begin, self.end)


@dataclass(slots=True, eq=False)
class SequenceNode:
    """A list."""

    lines: SourceLines
    begin: int
    end: int
    flow: bool
    items: list[Node]

    @property
    def span(self) -> Span:
        """Return where the list begins."""
        return self.lines.span(self.begin, self.end)


Node = ScalarNode | MappingNode | SequenceNode


def read(file: str, data: bytes, findings: Findings) -> MappingNode | None:
    """Read one YAML file.

    Args:
        file: name for positions.
        data: raw content.
        findings: receives what is wrong.

    Returns:
        The root mapping, or None if the file could not be read at all.
    """
    text = _decode(file, data, findings)
    if text is None:
        return None
    if text.count("\n") > LINES_MAX:
        findings.error(
            Span(file, 1, 1), f"more than {LINES_MAX:,} lines in one file", "split it into several files"
        )
        return None
    lines = SourceLines(file, text)
    bad = _FORBIDDEN.search(text)
    if bad is not None:
        name = f"U+{ord(bad[0][0]):04X}"
        findings.error(
            lines.span(bad.start(), bad.start() + 1),
            f"the character {name} is not allowed in a rule file",
            "remove it: it is invisible or ends a line only for some programs",
        )
        return None
    root = _Composer(lines, findings).compose()
    if root is None:
        return None
    if not isinstance(root, MappingNode):
        findings.error(root, "a rule file was not a mapping", "start it with `apiVersion: fraudstream/v1`")
        return None
    return root


def _decode(file: str, data: bytes, findings: Findings) -> str | None:
    if len(data) > FILE_BYTES_MAX:
        findings.error(
            Span(file, 1, 1),
            f"the file was {len(data):,} bytes, at most {FILE_BYTES_MAX:,} (1 MiB) are read",
            "split it into several files",
        )
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", "replace")
        line = before.count("\n") + 1
        column = len(before) - (before.rfind("\n") + 1) + 1
        findings.error(Span(file, line, column), "the file was not UTF-8", "save it with the encoding UTF-8")
        return None


class _Refused(Exception):  # noqa: N818 (it ends the reading of one file; the finding is already noted)
    pass


class _Composer:
    """Turns libyaml's events into nodes; an explicit stack, so that depth can not hurt."""

    def __init__(self, lines: SourceLines, findings: Findings) -> None:
        self._lines = lines
        self._findings = findings
        self._stack: list[MappingNode | SequenceNode] = []
        self._keys: list[ScalarNode | None] = []
        self._root: Node | None = None
        self._nodes = 0
        self._twice = 0
        self._documents = 0

    def compose(self) -> Node | None:
        try:
            events: Iterator[Any] = yaml.parse(self._lines.text, Loader=yaml.CLoader)
            for event in events:
                self._take(event)
        except _Refused:
            return None
        except yaml.MarkedYAMLError as error:
            self._syntax(error)
            return None
        except yaml.YAMLError as error:
            self._findings.error(self._lines.span(0, 1), f"the file was not YAML: {error}".splitlines()[0])
            return None
        if self._root is None:
            self._findings.error(
                self._lines.span(0, 1), "the file was empty", "start it with `apiVersion: fraudstream/v1`"
            )
        return self._root

    def _take(self, event: Any) -> None:
        kind = type(event)
        if kind is yaml.ScalarEvent:
            self._plain_only(event)
            style = event.style or ""
            begin, end = event.start_mark.index, event.end_mark.index
            self._add(ScalarNode(self._lines, begin, end, event.value, style))
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            self._plain_only(event)
            begin, end = event.start_mark.index, event.end_mark.index
            if len(self._stack) >= DEPTH_MAX:
                self._refuse(begin, end, f"nested deeper than {DEPTH_MAX} levels")
            flow = bool(event.flow_style)
            node: MappingNode | SequenceNode
            if kind is yaml.MappingStartEvent:
                node = MappingNode(self._lines, begin, end, flow, {})
            else:
                node = SequenceNode(self._lines, begin, end, flow, [])
            self._add(node)
            self._stack.append(node)
            self._keys.append(None)
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            ended = self._stack.pop()
            self._keys.pop()
            ended.end = max(ended.begin + 1, event.end_mark.index)
        elif kind is yaml.AliasEvent:
            self._refuse(
                event.start_mark.index,
                event.end_mark.index,
                "aliases (`*name`) are not allowed",
                "write the value out, or quote the text",
            )
        elif kind is yaml.DocumentStartEvent:
            self._document(event)

    def _document(self, event: Any) -> None:
        begin, end = event.start_mark.index, event.end_mark.index
        self._documents += 1
        if self._documents > 1:
            self._refuse(
                begin, end, "a second document (`---`) in one file", "put each `kind` into a file of its own"
            )
        if event.version or event.tags:
            self._refuse(begin, end, "YAML directives (`%…`) are not allowed", "remove the line")

    def _plain_only(self, event: Any) -> None:
        begin, end = event.start_mark.index, event.end_mark.index
        if event.anchor is not None:
            self._refuse(
                begin, end, "anchors (`&name`) are not allowed", "write the value out, or quote the text"
            )
        if event.tag is not None:
            self._refuse(begin, end, "tags (`!name`) are not allowed", "remove the tag, or quote the text")

    def _add(self, node: Node) -> None:
        self._nodes += 1
        self._findings.nodes += 1
        if self._nodes > NODES_MAX:
            self._refuse(
                node.begin, node.end, f"more than {NODES_MAX:,} values in one file", "split it into several"
            )
        if self._findings.exhausted:
            self._refuse(
                node.begin,
                node.end,
                f"more than {NODES_TOTAL_MAX:,} values in all files",
                "remove retired rules",
            )
        if not self._stack:
            self._root = node
            return
        top = self._stack[-1]
        if isinstance(top, SequenceNode):
            top.items.append(node)
            return
        key = self._keys[-1]
        if key is None:
            if not isinstance(node, ScalarNode):
                self._refuse(
                    node.begin, node.end, "a key was not a text", "braces in a text must be quoted: '{…}'"
                )
            self._keys[-1] = node
            return
        self._keys[-1] = None
        if key.text == "<<" and not key.style:
            self._refuse(key.begin, key.end, "merge keys (`<<`) are not allowed", "write the keys out")
        if key.text in top.entries:
            first = top.entries[key.text][0].span.line
            self._twice += 1
            if self._twice > TWICE_MAX:
                self._refuse(key.begin, key.end, f"more than {TWICE_MAX} keys are given twice")
            self._findings.error(
                key, f"{quoted(key.text)} is given twice", f"remove one, the first is on line {first}"
            )
            return
        top.entries[key.text] = (key, node)

    def _refuse(self, begin: int, end: int, message: str, hint: str = "") -> NoReturn:
        self._findings.error(self._lines.span(begin, max(end, begin + 1)), message, hint)
        raise _Refused

    def _syntax(self, error: yaml.MarkedYAMLError) -> None:
        """Say what libyaml's message means to someone who writes rules."""
        text = self._lines.text
        at = error.problem_mark.index if error.problem_mark is not None else 0
        opened = error.context_mark.index if error.context_mark is not None else at
        char = text[at : at + 1]
        problem = error.problem or "syntax error"
        in_flow = any(node.flow for node in self._stack) or "flow" in (error.context or "")
        message, hint = f"not YAML: {problem}", "check quotes and indentation"
        if char == "\t" or (char and text[_line_begin(text, at) : at + 1].strip(" ") == "\t"):
            message, hint = "a tab can not indent", "use spaces"
        elif "quoted scalar" in (error.context or "") and "end of stream" in problem:
            at, message, hint = opened, "the quote is not closed", "end the text with the same quote"
        elif "quoted scalar" in (error.context or "") and "escape" in problem:
            message, hint = f'unknown escape {quoted(text[at : at + 2])} in `"…"`', "use '…' instead"
        elif in_flow:
            if not text[at:].strip():
                at, message = opened, f"the {quoted(text[opened : opened + 1])} is not closed"
            else:
                word = char if char in ",[]{}#'\"" else _word(text, at)
                pair = "[…]" if text[opened : opened + 1] == "[" else "{…}"
                message = f"unexpected {quoted(word)} inside `{pair}`"
            hint = FLOW_HINT
        elif "mapping values" in problem:
            message = "unexpected `:`"
            hint = "check the indentation; text with `: ` must be quoted: '…'"
        elif "cannot start any token" in problem:
            message, hint = f"a text can not start with {quoted(char)}", "quote it: '…'"
        elif "expected key" in problem or "expected '-'" in problem:
            message, hint = self._outside(at)
        elif "document start" in problem:
            message = f"unexpected {quoted(_word(text, at))} behind the end"
        self._findings.error(self._lines.span(at, at + len(_word(text, at))), message, hint)

    def _outside(self, at: int) -> tuple[str, str]:
        """Explain text where a key was expected."""
        text = self._lines.text
        begin = _line_begin(text, at)
        value = re.sub(r"^\s*(- +)*([\w.]+: +)?", "", text[begin:at])
        message = f"unexpected {quoted(_word(text, at))}"
        if value[:1] in ("'", '"', "{", "["):
            return (
                message,
                f"a text that starts with `{value[0]}` must be quoted as a whole, or stand below `|`",
            )
        above = text[_line_begin(text, max(0, begin - 1)) : begin]
        if " #" in above:
            return message, "the line above ends with a comment, which ends a text of several lines; use `|`"
        return message, "check the indentation: expected a key or `- `"


def _line_begin(text: str, at: int) -> int:
    return text.rfind("\n", 0, at) + 1


def _word(text: str, at: int) -> str:
    """Return what stands at a position, up to the next space."""
    found = re.compile(r"\S+").match(text, at)
    return found[0][:40] if found else "end of file" if at >= len(text.rstrip()) else text[at : at + 1]
