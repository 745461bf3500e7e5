"""Canonical layout of rule files: indentation, spaces, blank lines and the order of a rule's keys.

Comments and quotes stay as written.

Block mappings are indented by two, lists stand under their key, ``{a: 1, b: [2, 3]}`` is spaced like this,
several blank lines become one. Values that are aligned with those of a neighbour stay aligned. The result
has the same content, which is checked before it is returned.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from fraudstream.rules.compiler.key_order import ordered
from fraudstream.rules.compiler.reader import Findings, MappingNode, Node, ScalarNode, SequenceNode, read


class FormatError(ValueError):
    """A file that can not be formatted: it has errors of its own, or a form that would change its meaning."""


def format_text(file: str, data: bytes) -> str:
    """Return a file in canonical layout.

    Raises:
        FormatError: the file is no YAML that rules may be written in.
    """
    findings = Findings()
    root = read(file, data, findings)
    if root is None:
        first = findings.items[0]
        raise FormatError(first.render())
    whole = _content(root)
    laid = _read_again(file, _Layout(root.lines.text).apply(root))
    if _content(laid) != whole:
        raise FormatError(f"{file}: its layout can not be changed without changing what it says")
    text = ordered(laid)
    if text == laid.lines.text:
        return text
    # Comments that came before another key stand at its indentation.
    moved = _read_again(file, text)
    done = _read_again(file, _Layout(text).apply(moved))
    if _content(done, rules=True) != _content(root, rules=True):
        raise FormatError(f"{file}: the keys of its rules can not be put in order; write one key a line")
    return done.lines.text


def _read_again(file: str, text: str) -> MappingNode:
    root = read(file, text.encode(), Findings())
    if root is None:
        raise FormatError(f"{file}: its layout can not be changed without changing what it says")
    return root


def _content(node: Node, *, rules: bool = False) -> object:
    """Return what a file says; ``rules``: whatever the order of the keys of its rules."""
    if isinstance(node, ScalarNode):
        return node.text, node.is_null
    if isinstance(node, SequenceNode):
        return [_content(item) for item in node.items]
    found = {key: _content(value) for key, (_, value) in node.entries.items()}
    entry = node.entries.get("rules")
    if rules and entry is not None and isinstance(entry[1], SequenceNode):
        found["rules"] = [
            {key: _content(value) for key, (_, value) in item.entries.items()}
            if isinstance(item, MappingNode)
            else _content(item)
            for item in entry[1].items
        ]
    return list(found.items())


@dataclass(slots=True)
class _Layout:
    """Changes to one text, collected over its nodes."""

    text: str
    starts: list[int] = field(default_factory=list)
    entry: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Line that begins an entry of a block: new indentation, and by how much its continuation moves."""
    inside: set[int] = field(default_factory=set)
    """Lines within a scalar or flow that began on an earlier line."""
    verbatim: set[int] = field(default_factory=set)
    """Those within a block scalar: blanks at their end count."""
    edits: list[tuple[int, int, str]] = field(default_factory=list)

    def apply(self, root: MappingNode) -> str:
        """Return the text in canonical layout."""
        self.starts = [0] + [at + 1 for at, char in enumerate(self.text) if char == "\n"]
        self._block(root, 0)
        text = self.text
        for begin, end, new in sorted(self.edits, reverse=True):
            text = text[:begin] + new + text[end:]
        return self._indented(text.split("\n"))

    def _line(self, at: int) -> int:
        low, high = 0, len(self.starts)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.starts[middle] <= at else (low, middle)
        return low

    def _column(self, at: int) -> int:
        return at - self.starts[self._line(at)]

    def _block(self, node: Node, indent: int) -> None:
        if isinstance(node, ScalarNode) or node.flow:
            self._leaf(node)
        elif isinstance(node, MappingNode):
            entries = list(node.entries.values())
            for at, (key, value) in enumerate(entries):
                self._begin(key.begin, indent, indent)
                self._leaf(key)
                self._gap(entries, at)
                if (isinstance(value, ScalarNode) or value.flow) and value.end > value.begin:
                    self.inside.update(range(self._line(key.end) + 1, self._line(value.begin) + 1))
                self._block(value, indent if isinstance(value, SequenceNode) else indent + 2)
        else:
            for item in node.items:
                begin = item.begin
                dash = self.text.rfind("-", self.starts[self._line(begin)], begin)
                if dash < 0 or self.text[dash + 1 : begin].strip():
                    raise FormatError("a list item stands on a line of its own below its `-`; join the two")
                self._begin(dash, indent, indent + 2, begin)
                if self.text[dash + 1 : begin] != " ":
                    self.edits.append((dash + 1, begin, " "))
                self._block(item, indent + 2)

    def _begin(self, at: int, indent: int, column: int, content: int | None = None) -> None:
        """Note the first token of a line; later tokens of the line only say where continuations move."""
        line = self._line(at)
        delta = column - self._column(at if content is None else content)
        first = not self.text[self.starts[line] : at].strip()
        self.entry[line] = (indent if first else self.entry[line][0], delta)

    def _leaf(self, node: Node) -> None:
        body = self.text[node.begin : node.end].rstrip()
        first, last = self._line(node.begin), self._line(node.begin + max(len(body) - 1, 0))
        self.inside.update(range(first + 1, last + 1))
        if isinstance(node, ScalarNode):
            if node.style in ("|", ">"):
                self.verbatim.update(range(first + 1, last + 1))
        else:
            self._flow(node)

    def _flow(self, node: MappingNode | SequenceNode) -> None:
        """Space a flow node that stands on one line, else those within it that do."""
        if "\n" not in self.text[node.begin : node.end]:
            new = self._spaced(node)
            if new is not None and new != self.text[node.begin : node.end]:
                self.edits.append((node.begin, node.end, new))
            return
        for item in _children(node):
            if not isinstance(item, ScalarNode):
                self._flow(item)

    def _spaced(self, node: Node) -> str | None:
        if isinstance(node, ScalarNode):
            return self.text[node.begin : node.end] or None
        if isinstance(node, SequenceNode):
            items = [self._spaced(item) for item in node.items]
            return None if None in items else f"[{', '.join(map(str, items))}]"
        pairs = [(self._spaced(key), self._spaced(value)) for key, value in node.entries.values()]
        if any(None in pair for pair in pairs):
            return None
        return f"{{{', '.join(f'{key}: {value}' for key, value in pairs)}}}"

    def _gap(self, entries: list[tuple[ScalarNode, Node]], at: int) -> None:
        """Leave one space before a value, or as many as align it with a neighbour's."""
        key, value = entries[at]
        if self._line(key.end) != self._line(value.begin) or value.begin == value.end:
            return
        beside = [entries[i] for i in (at - 1, at + 1) if 0 <= i < len(entries)]
        columns = [self._column(v.begin) for k, v in beside if self._line(k.end) == self._line(v.begin)]
        between = self.text[key.end : value.begin]
        if self._column(value.begin) not in columns and between.startswith(":") and not between[1:].strip():
            self.edits.append((key.end, value.begin, ": "))

    def _indented(self, lines: list[str]) -> str:
        out: list[str] = []
        delta = 0
        for number, line in enumerate(lines):
            if number in self.entry:
                indent, delta = self.entry[number]
                out.append(" " * indent + line.strip())
            elif number in self.inside:
                kept = line if number in self.verbatim else line.rstrip()
                own = len(line) - len(line.lstrip(" "))
                out.append((" " * max(0, own + delta) + kept.lstrip(" ")) if line.strip() else "")
            elif line.strip():
                out.append(" " * self._comment(lines, number) + line.strip())
            elif out and out[-1]:
                out.append("")
        return "\n".join(out).strip("\n") + "\n"

    def _comment(self, lines: list[str], number: int) -> int:
        """Return the indentation of a comment: that of what follows, at the end that of what was before."""
        following = [line for line in self.entry if line > number]
        if following:
            return self.entry[min(following)][0]
        if lines[number].startswith("#") or not self.entry:
            return 0
        return self.entry[max(self.entry)][0]


def _children(node: MappingNode | SequenceNode) -> Iterator[Node]:
    if isinstance(node, SequenceNode):
        yield from node.items
    else:
        yield from (value for _, value in node.entries.values())
