"""A rules directory as an editor has it: files of the disk, open documents over them, and what they say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from fraudstream.rules.bundle import Slot, Source
from fraudstream.rules.compiler.compile import Compiled, compile_sources, read_directory
from fraudstream.rules.compiler.declared import Declared
from fraudstream.rules.compiler.documents import kind_of_file
from fraudstream.rules.compiler.explain import describe_feature
from fraudstream.rules.compiler.functions import FUNCTIONS
from fraudstream.rules.compiler.reader import Findings, MappingNode, Node, ScalarNode, SequenceNode, read
from fraudstream.rules.compiler.source import Diagnostic, Span

WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*\.?")
_TYPOLOGY = re.compile(r"^\s*(?:- )?typology:\s*[\w.]*$")
ITEMS_SHOWN = 12


class Known(NamedTuple):
    """A name that may be written."""

    name: str
    kind: str
    """field, feature, reference, model, list, typology, param, condition or function."""
    title: str
    """One line."""
    text: str
    """Markdown."""
    place: Span | None


class Word(NamedTuple):
    """The name under a cursor."""

    text: str
    begin: int
    """Column, from 0."""
    end: int


@dataclass(slots=True)
class RulesDirectory:
    """One directory; ``open`` holds documents that the editor has, by path relative to it."""

    root: Path
    open: dict[str, str] = field(default_factory=dict)
    compiled: Compiled | None = None
    _declared: Declared | None = None
    """The newest that could be read: names stay known while a line is being written."""

    def files(self) -> dict[str, bytes]:
        """Return all files, open documents in place of what the disk has."""
        try:
            found = read_directory(self.root)
        except OSError:
            found = {}
        return found | {path: text.encode("utf-8", "replace") for path, text in self.open.items()}

    def check(self) -> Mapping[str, list[Diagnostic]]:
        """Compile everything; return the findings of every file, also of those without any."""
        files = self.files()
        self.compiled = compile_sources(files)
        declared = self.compiled.declared
        if declared is not None:
            if not declared.complete and self._declared is not None:
                declared = _filled(declared, self._declared)
            self._declared = declared
        found: dict[str, list[Diagnostic]] = {path: [] for path in files}
        for item in self.compiled.diagnostics:
            found.setdefault(item.span.file, []).append(item)
        return found

    def names(self, path: str, line: int) -> dict[str, Known]:
        """Return the names that may be written on a line (from 0) of a file."""
        if self._declared is None:
            return {item.name: item for item in _functions()}
        found = {item.name: item for item in _names(self._declared)}
        found |= {item.name: item for item in self._of_rule(path, line)}
        return found

    def complete(self, path: str, line: int, column: int) -> tuple[Word, list[Known]]:
        """Return what could stand before a cursor, and the word that it would take the place of."""
        text = self._line(path, line)[:column]
        found = re.search(r"[A-Za-z_][\w.]*$", text)
        word = Word(text[found.start() :] if found else "", found.start() if found else column, column)
        names = self.names(path, line).values()
        if _TYPOLOGY.match(text):
            chosen = [item for item in names if item.kind == "typology"]
        else:
            chosen = [item for item in names if item.kind != "typology"]
        wanted = word.text.lower()
        hits = [item for item in chosen if wanted in item.name.lower()]
        return word, sorted(hits, key=lambda item: (not item.name.lower().startswith(wanted), item.name))

    def known_at(self, path: str, line: int, column: int) -> tuple[Word, Known] | None:
        """Return the name under a cursor, None if it is none."""
        for match in WORD.finditer(self._line(path, line)):
            if match.start() <= column <= match.end():
                text = match[0].rstrip(".")
                known = self.names(path, line).get(text)
                return (
                    None if known is None else (Word(text, match.start(), match.start() + len(text)), known)
                )
        return None

    def text(self, path: str) -> str:
        """Return a file's text, empty if there is none."""
        if path in self.open:
            return self.open[path]
        try:
            return (self.root / path).read_text("utf-8", "replace")
        except OSError:
            return ""

    def _line(self, path: str, line: int) -> str:
        lines = self.text(path).split("\n")
        return lines[line].removesuffix("\r") if 0 <= line < len(lines) else ""

    def _of_rule(self, path: str, line: int) -> Iterator[Known]:
        """Yield the params and conditions of the rule in which a line stands."""
        root = read(path, self.text(path).encode("utf-8", "replace"), Findings())
        rules = None if root is None else root.entries.get("rules")
        if rules is None or not isinstance(rules[1], SequenceNode):
            return
        rule = _enclosing(rules[1], line + 1)
        if rule is None:
            return
        for kind, key, prefix in (("param", "params", "params."), ("condition", "conditions", "")):
            entry = rule.entries.get(key)
            if entry is None or not isinstance(entry[1], MappingNode):
                continue
            for name, (place, node) in entry[1].entries.items():
                shown = _source(node)
                yield Known(prefix + name, kind, f"{kind} of this rule", f"```yaml\n{shown}\n```", place.span)


def place_of(path: Path) -> tuple[Path, str] | None:
    """Return the rules directory of a file and its path in there; None: it belongs to none."""
    for root, name in ((path.parent, path.name), (path.parent.parent, f"{path.parent.name}/{path.name}")):
        if kind_of_file(name) is not None and (name == "schema.yaml" or (root / "schema.yaml").is_file()):
            return root, name
    return None


def _filled(declared: Declared, before: Declared) -> Declared:
    """Return declarations with those of unreadable files as they were."""
    features = declared.features if declared.features.places else before.features
    lists = declared.lists if declared.lists.places else before.lists
    typologies = declared.typologies if declared.typologies.places else before.typologies
    reference = declared.reference if declared.reference.places else before.reference
    slots = {**before.slots, **declared.slots}
    return replace(
        declared, features=features, lists=lists, typologies=typologies, reference=reference, slots=slots
    )


def _names(declared: Declared) -> Iterator[Known]:
    yield from _functions()
    for slot in declared.slots.values():
        yield _slot(declared, slot)
    for name, items in declared.lists.lists.items():
        shown = ", ".join(str(item.value) for item in items.items[:ITEMS_SHOWN])
        more = f" and {len(items.items) - ITEMS_SHOWN:,} more" if len(items.items) > ITEMS_SHOWN else ""
        where = f" in `{items.file}`" if items.file else ""
        text = f"List of `{items.type.value}`, {len(items.items):,} items{where}: {shown}{more}"
        node = declared.lists.places.get(name)
        yield Known(f"lists.{name}", "list", f"list of {items.type.value}", text, _span(node))
    for item in declared.typologies.typologies:
        ends = [
            f"{word} {at}" for word, at in (("alert at", item.alert_at), ("block at", item.block_at)) if at
        ]
        text = ", ".join([f"Typology: `{item.combine}` of the scores of its rules", *ends])
        yield Known(item.id, "typology", "typology", text, declared.typologies.places[item.id].span)


def _functions() -> Iterator[Known]:
    for name, function in FUNCTIONS.items():
        text = f"`{function.signature}` → {function.result}\n\n{function.meaning}"
        yield Known(name, "function", function.signature, text, None)


def _slot(declared: Declared, slot: Slot) -> Known:
    kind = slot.type.value if not slot.values else f"{slot.type.value} of {', '.join(slot.values)}"
    if slot.source is Source.MODEL:
        return Known(slot.name, "model", kind, "The champion's score, 0 to 1", None)
    for feature in declared.features.feature_set.features:
        for at, output in enumerate(feature.outputs):
            if output.name == slot.name:
                several = at if len(feature.outputs) > 1 else None
                words = describe_feature(declared, feature, several)
                node = declared.features.places.get(feature.name)
                shown = _declaration(node)
                text = f"Feature, `{kind}`: {words}\n\n{shown}"
                return Known(slot.name, "feature", f"feature, {kind}", text, _span(node))
    table = declared.reference.places.get(slot.name.split(".", 1)[0])
    if slot.name in declared.reference.slots and table is not None:
        text = f"Column of the reference table `{table.text}`, `{kind}`"
        return Known(slot.name, "reference", f"reference table, {kind}", text, table.span)
    field_ = declared.schema.field(slot.name)
    where = f"member `{field_.path_text}`" if field_.path else f"always `{field_.const}`"
    facts = [f"Field, `{kind}`: {where} of the event"]
    if field_.required:
        facts.append("required")
    elif field_.required_for:
        facts.append(f"required for {', '.join(field_.required_for)}")
    if field_.personal:
        facts.append(f"class `{field_.personal}`")
    return Known(slot.name, "field", f"field, {kind}", ", ".join(facts), None)


def _declaration(node: ScalarNode | None) -> str:
    """Return a feature's declaration as it is written, with where it stands."""
    if node is None:
        return ""
    line = node.lines.line(node.span.line) or ""
    return f"`{node.span.file}:{node.span.line}`\n```yaml\n{line.strip()}\n```"


def _span(node: ScalarNode | None) -> Span | None:
    return None if node is None else node.span


def _enclosing(rules: SequenceNode, line: int) -> MappingNode | None:
    found = None
    for item in rules.items:
        if item.span.line <= line and isinstance(item, MappingNode):
            found = item
    return found


def _source(node: Node) -> str:
    return node.lines.text[node.begin : node.end].strip()
