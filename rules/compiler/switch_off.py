"""Switching one rule off: its source with `mode: {state: draft}`, nothing else changed."""

from __future__ import annotations

from collections.abc import Mapping

from fraudstream.rules.compiler.documents import RULE_SETS
from fraudstream.rules.compiler.reader import Findings, MappingNode, ScalarNode, SequenceNode, read

OFF = "{state: draft}"


def switched_off(files: Mapping[str, bytes], rule: str) -> dict[str, bytes]:
    """Return the files with one rule in state `draft`: checked, not evaluated.

    Raises:
        KeyError: no rule set has a rule of this id.
    """
    for path, data in files.items():
        if not path.startswith(RULE_SETS):
            continue
        root = read(path, data, Findings())
        rules = None if root is None else root.entries.get("rules")
        for node in rules[1].items if rules is not None and isinstance(rules[1], SequenceNode) else ():
            entry = node.entries.get("id") if isinstance(node, MappingNode) else None
            if entry is not None and isinstance(entry[1], ScalarNode) and entry[1].text == rule:
                assert isinstance(node, MappingNode)
                return {**files, path: _edited(node, entry).encode()}
    raise KeyError(rule)


def _edited(rule: MappingNode, identity: tuple[ScalarNode, object]) -> str:
    text = rule.lines.text
    key = identity[0]
    if (mode := rule.entries.get("mode")) is not None:
        begin, end = mode[1].begin, mode[1].end
        shown = text[begin:end]
        # A block mapping ends where the next token begins: blank lines and comments behind it stay.
        end = begin + len(shown.rstrip())
        return text[:begin] + OFF + text[end:]
    if rule.flow:
        return f"{text[: key.begin]}mode: {OFF}, {text[key.begin :]}"
    column = key.begin - (text.rfind("\n", 0, key.begin) + 1)
    return f"{text[: key.begin]}mode: {OFF}\n{' ' * column}{text[key.begin :]}"
