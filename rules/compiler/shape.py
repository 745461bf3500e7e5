"""What a mapping in a rule file may contain, and the checks that follow from that alone.

A shape is declared once (:mod:`fraudstream.rules.compiler.vocabulary`) and serves the readers and the
JSON Schema for editors, so that both know the same keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from fraudstream.rules.compiler.reader import FLOW_HINT, Findings, MappingNode, Node, ScalarNode, SequenceNode
from fraudstream.rules.compiler.source import quoted
from fraudstream.rules.compiler.suggest import suggest
from fraudstream.rules.compiler.tokens import UNIT_MS

T = TypeVar("T")

TEXT_CHARS_MAX = 1_000
NAME = re.compile(r"[a-z_][a-zA-Z0-9_]*(\.[a-z_][a-zA-Z0-9_]*)*")
"""Names of fields, features, rules, lists: words of letters, digits and `_`, joined by dots."""
NAME_CHARS_MAX = 128
NAME_HINT = "use letters, digits and `_`, joined by dots, starting with a small letter"
_DURATION = re.compile(r"([0-9]{1,12})(ms|s|m|h|d|w)")
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_MISSING_VALUE = "nothing was given for `{}`"


@dataclass(frozen=True, slots=True)
class Word:
    """A scalar in a place: its kind, and the values or bounds that are allowed."""

    kind: str
    """text, name, expression, integer, boolean, duration, date, decimal or constant."""
    values: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """A list of one form; ``or_one``: a single one may stand without brackets."""

    form: Form
    or_one: bool = False


@dataclass(frozen=True, slots=True)
class Mapped:
    """A mapping from names to one form."""

    form: Form


@dataclass(frozen=True, slots=True)
class Either:
    """One of several forms."""

    forms: tuple[Form, ...]


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a mapping."""

    doc: str
    form: Form
    required: bool = False


@dataclass(frozen=True, slots=True)
class Shape:
    """A mapping with fixed keys."""

    title: str
    """With article, for messages: ``a rule``."""
    keys: Mapping[str, Key]
    later: frozenset[str] = field(default_factory=frozenset)
    """Keys of the language that this version does not support yet."""
    one_of: tuple[str, ...] = ()
    """Keys of which exactly one must be there."""


Form = Word | Listed | Mapped | Either | Shape


class Section:
    """A mapping of a file, checked against its shape, with typed access to its keys.

    Every getter notes an error and returns the default (or None) where the file is wrong, so that
    reading goes on and all errors of a file appear in one run.
    """

    def __init__(self, node: MappingNode, shape: Shape, findings: Findings) -> None:
        self.source = node
        self.shape = shape
        self.findings = findings
        self._check_keys()

    @classmethod
    def open(cls, node: Node, shape: Shape, findings: Findings) -> Section | None:
        """Return the section, or None after an error if the node is no mapping."""
        table = mapping(node, shape.title, findings)
        return None if table is None else cls(table, shape, findings)

    def has(self, key: str) -> bool:
        """Return whether the key is there, with or without a value."""
        return key in self.source.entries

    def key(self, key: str) -> ScalarNode | MappingNode:
        """Return the key's own node for positions, the mapping's where it is absent."""
        entry = self.source.entries.get(key)
        return self.source if entry is None else entry[0]

    def node(self, key: str) -> Node | None:
        """Return the value, None where the key is absent or null."""
        entry = self.source.entries.get(key)
        if entry is None or (isinstance(entry[1], ScalarNode) and entry[1].is_null):
            return None
        return entry[1]

    def scalar(self, key: str) -> ScalarNode | None:
        """Return the value as text with its place."""
        node = self.node(key)
        return None if node is None else scalar(node, f"`{key}`", self.findings)

    def text(self, key: str, default: str = "") -> str:
        """Return a short printable text."""
        node = self.scalar(key)
        if node is None:
            return default
        return plain_text(node, f"`{key}`", self.findings) or default

    def name(self, key: str) -> str:
        """Return a name; empty after an error."""
        node = self.scalar(key)
        return "" if node is None else name(node, f"`{key}`", self.findings)

    def choice(self, key: str, options: Iterable[str], default: str) -> str:
        """Return one of the options."""
        node = self.scalar(key)
        if node is None:
            return default
        found = choice(node, f"`{key}`", tuple(options), self.findings)
        return default if found is None else found

    def integer(self, key: str, low: int, high: int, default: int) -> int:
        """Return a whole number between ``low`` and ``high``, both included."""
        node = self.scalar(key)
        if node is None:
            return default
        found = integer(node, f"`{key}`", low, high, self.findings)
        return default if found is None else found

    def boolean(self, key: str, default: bool = False) -> bool:
        """Return ``true`` or ``false``."""
        node = self.scalar(key)
        if node is None:
            return default
        found = choice(node, f"`{key}`", ("true", "false"), self.findings)
        return default if found is None else found == "true"

    def duration(self, key: str, low_ms: int, high_ms: int, default: int | None) -> int | None:
        """Return a duration in milliseconds."""
        node = self.scalar(key)
        if node is None:
            return default
        found = duration(node, f"`{key}`", low_ms, high_ms, self.findings)
        return default if found is None else found

    def words(self, key: str) -> list[ScalarNode]:
        """Return a list of texts; a single text counts as a list of one."""
        node = self.node(key)
        if node is None:
            return []
        if isinstance(node, SequenceNode):
            found = (scalar(item, f"an item of `{key}`", self.findings) for item in node.items)
            return [item for item in found if item is not None]
        one = scalar(node, f"`{key}`", self.findings)
        return [] if one is None else [one]

    def section(self, key: str, shape: Shape) -> Section | None:
        """Return a nested mapping with fixed keys."""
        node = self.node(key)
        return None if node is None else Section.open(node, shape, self.findings)

    def table(self, key: str) -> list[tuple[ScalarNode, Node]]:
        """Return the entries of a nested mapping with free keys."""
        node = self.node(key)
        if node is None:
            return []
        found = mapping(node, f"`{key}`", self.findings)
        return [] if found is None else self._unsplit(found)

    def declared(self, key: str) -> set[str]:
        """Return the keys of a nested mapping as written, those with errors included."""
        node = self.node(key)
        return set(node.entries) if isinstance(node, MappingNode) else set()

    def _unsplit(self, table: MappingNode) -> list[tuple[ScalarNode, Node]]:
        """Report texts that YAML split at a comma; both halves are left out."""
        out: list[tuple[ScalarNode, Node]] = []
        for key, node in table.entries.values():
            bare = table.flow and isinstance(node, ScalarNode) and node.begin == node.end
            if not bare or NAME.fullmatch(key.text):
                out.append((key, node))
                continue
            self.findings.error(key, f"{quoted(key.text)} was read as a key", FLOW_HINT)
            if out:
                out.pop()
        return out

    def items(self, key: str) -> list[Node]:
        """Return the items of a list."""
        node = self.node(key)
        if node is None:
            return []
        if not isinstance(node, SequenceNode):
            self.findings.error(
                node, f"`{key}` was {kind_of(node)}, expected a list", "write `- ` items or […]"
            )
            return []
        return node.items

    def _check_keys(self) -> None:
        shape, findings = self.shape, self.findings
        for key, (node, value) in self.source.entries.items():
            if key in shape.keys:
                empty = isinstance(value, ScalarNode) and value.is_null
                if empty and shape.keys[key].required:
                    findings.error(node, _MISSING_VALUE.format(key))
            elif key in shape.later:
                findings.error(node, f"`{key}` in {shape.title} is not supported yet", "remove it")
            elif self.source.flow and isinstance(value, ScalarNode) and value.begin == value.end:
                findings.error(node, f"{quoted(key)} was read as a key of {shape.title}", FLOW_HINT)
            else:
                hint = suggest(key, shape.keys) or f"known: {', '.join(shape.keys)}"
                findings.error(node, f"unknown key {quoted(key)} in {shape.title}", hint)
        given = [key for key in shape.one_of if key in self.source.entries]
        names = " or ".join(f"`{key}`" for key in shape.one_of)
        if shape.one_of and not given and not self.source.entries.keys() & shape.later:
            findings.error(self.source, f"{shape.title} needs {names}")
        for key in given[1:]:
            message = f"`{given[0]}` and `{key}` can not stand together"
            findings.error(self.source.entries[key][0], message, f"give either {names}")
        for key, spec in shape.keys.items():
            if spec.required and key not in self.source.entries:
                meaning = spec.doc[:1].lower() + spec.doc[1:].rstrip(".")
                findings.error(self.source, f"{shape.title} needs `{key}`", meaning)


def kind_of(node: Node) -> str:
    """Return what a node is, in words."""
    if isinstance(node, ScalarNode):
        return "empty" if node.is_null else f"the text {quoted(node.text)}"
    return "a mapping" if isinstance(node, MappingNode) else "a list"


def scalar(node: Node, what: str, findings: Findings) -> ScalarNode | None:
    """Return a text node, or None after an error."""
    if isinstance(node, ScalarNode):
        if node.is_null:
            findings.error(node, f"{what} was empty")
            return None
        return node
    begins = "[" if isinstance(node, SequenceNode) else "{"
    hint = f"text that starts with `{begins}` must be quoted: '{begins}…'" if node.flow else ""
    findings.error(node, f"{what} was {kind_of(node)}, expected one value", hint)
    return None


def mapping(node: Node, what: str, findings: Findings) -> MappingNode | None:
    """Return a mapping node, or None after an error."""
    if isinstance(node, MappingNode):
        return node
    findings.error(node, f"{what} was {kind_of(node)}, expected a mapping", "write `key: value` lines or {…}")
    return None


def plain_text(node: ScalarNode, what: str, findings: Findings) -> str | None:
    """Return text of limited length without control characters."""
    text = node.text.strip()
    if len(text) > TEXT_CHARS_MAX:
        findings.error(node, f"{what} was {len(text):,} characters, at most {TEXT_CHARS_MAX:,} are allowed")
        return None
    if not text:
        findings.error(node, f"{what} was empty")
        return None
    if not text.replace("\n", " ").isprintable():
        findings.error(node, f"{what} contained a control character", "remove it")
        return None
    return " ".join(text.split())


def name(node: ScalarNode, what: str, findings: Findings) -> str:
    """Return a dotted name; empty after an error."""
    if len(node.text) > NAME_CHARS_MAX:
        findings.error(node, f"{what} was longer than {NAME_CHARS_MAX} characters")
        return ""
    if NAME.fullmatch(node.text) is None:
        findings.error(node, f"{what} {quoted(node.text)} is not a name", NAME_HINT)
        return ""
    return node.text


def choice(node: ScalarNode, what: str, options: tuple[str, ...], findings: Findings) -> str | None:
    """Return one of the options, or None after an error."""
    if node.text in options:
        return node.text
    hint = suggest(node.text, options) or f"expected {' or '.join(f'`{item}`' for item in options)}"
    findings.error(node, f"{what} was {quoted(node.text)}", hint)
    return None


def integer(node: ScalarNode, what: str, low: int, high: int, findings: Findings) -> int | None:
    """Return a whole number within bounds, or None after an error."""
    text = node.text.replace("_", "") if re.fullmatch(r"-?[0-9]+(_[0-9]{3})+", node.text) else node.text
    if _INTEGER.fullmatch(text) is None:
        findings.error(node, f"{what} was {quoted(node.text)}, expected a whole number")
        return None
    value = int(text)
    if not low <= value <= high:
        findings.error(node, f"{what} was {value}, expected {low} to {high}")
        return None
    return value


def duration(node: ScalarNode, what: str, low_ms: int, high_ms: int, findings: Findings) -> int | None:
    """Return a duration in milliseconds within bounds, or None after an error."""
    value = duration_ms(node.text)
    if value is None:
        findings.error(
            node, f"{what} was {quoted(node.text)}, expected a duration", "e.g. `10m`, `24h`, `1h30m`"
        )
        return None
    if not low_ms <= value <= high_ms:
        findings.error(
            node,
            f"{what} was {quoted(node.text)}, expected {duration_text(low_ms)} to {duration_text(high_ms)}",
        )
        return None
    return value


def duration_ms(text: str) -> int | None:
    """Return the milliseconds of ``1h30m``, None if the text is no duration."""
    at, total = 0, 0
    while at < len(text):
        part = _DURATION.match(text, at)
        if part is None:
            return None
        total += int(part[1]) * UNIT_MS[part[2]]
        at = part.end()
    return total if text and total < 1 << 53 else None


def duration_text(value_ms: int) -> str:
    """Return a duration as operators write it: ``90d``, ``24h``, ``1h30m``."""
    if value_ms == 0:
        return "0s"
    out = ""
    for unit in ("d", "h", "m", "s", "ms") if value_ms >= 2 * UNIT_MS["d"] else ("h", "m", "s", "ms"):
        count, value_ms = divmod(value_ms, UNIT_MS[unit])
        out += f"{count}{unit}" if count else ""
    return out
