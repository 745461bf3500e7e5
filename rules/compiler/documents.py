"""Open the file of a kind: which file may hold what, and the header that each needs."""

from __future__ import annotations

from collections.abc import Mapping

from fraudstream.rules.compiler.reader import Findings, ScalarNode, read
from fraudstream.rules.compiler.shape import Section
from fraudstream.rules.compiler.source import Span, quoted
from fraudstream.rules.compiler.suggest import suggest
from fraudstream.rules.compiler.vocabulary import DOCUMENTS

FILES = {
    "schema.yaml": "Schema",
    "reference.yaml": "Reference",
    "features.yaml": "Features",
    "lists.yaml": "Lists",
    "typologies.yaml": "Typologies",
}
RULE_SETS = "rulesets/"
LIST_FILES = "lists/"
LIST_FILE = "ListFile"
"""Kind of a file with the items of a list; it is no YAML."""
_LIST_SUFFIXES = (".csv", ".txt")


def kind_of_file(path: str) -> str | None:
    """Return the kind that a file of a rules directory must have; None: it does not belong there."""
    if path in FILES:
        return FILES[path]
    folder, _, name = path.rpartition("/")
    if f"{folder}/" == RULE_SETS and name.endswith(".yaml"):
        return "RuleSet"
    return LIST_FILE if f"{folder}/" == LIST_FILES and name.endswith(_LIST_SUFFIXES) else None


def open_documents(files: Mapping[str, bytes], findings: Findings) -> dict[str, Section]:
    """Read every file and check its header; the result holds those that can be looked into."""
    out: dict[str, Section] = {}
    for path in sorted(files):
        kind = kind_of_file(path)
        if kind is None:
            hint = suggest(path, FILES) or f"known: {', '.join(FILES)}, rulesets/*.yaml, lists/*.csv"
            findings.error(Span(path, 1, 1), f"{quoted(path)} is not a file of a rules directory", hint)
            continue
        if kind == LIST_FILE:
            continue
        root = None if findings.exhausted else read(path, files[path], findings)
        if root is None:
            findings.broken_groups.add(kind)
            continue
        entry = root.entries.get("kind")
        given = entry[1] if entry is not None else None
        if isinstance(given, ScalarNode) and given.text in DOCUMENTS and given.text != kind:
            findings.error(
                given, f"`kind` was `{given.text}` in {path}, expected `{kind}`", "move it to its own file"
            )
            findings.broken_groups.add(kind)
            continue
        section = Section(root, DOCUMENTS[kind], findings)
        for key in ("apiVersion", "kind"):
            form = DOCUMENTS[kind].keys[key].form
            section.choice(key, getattr(form, "values", ()), "")
        out[path] = section
    return out
