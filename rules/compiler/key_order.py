"""The order of a rule's keys: what it is, when it matches, what follows, and how it is tested."""

from __future__ import annotations

from fraudstream.rules.compiler.reader import MappingNode, Node, ScalarNode, SequenceNode
from fraudstream.rules.compiler.vocabulary import RULE

RANKS = {key: at for at, key in enumerate(RULE.keys)}


def ordered(root: MappingNode) -> str:
    """Return the text of a file with the keys of its rules in order; the layout must be canonical.

    A key moves with its value, the comment behind it and the comment lines above it. Rules on one line, or
    with keys that nobody knows, stay as they are.
    """
    text = root.lines.text
    entry = root.entries.get("rules")
    if entry is None or not isinstance(entry[1], SequenceNode) or entry[1].flow:
        return text
    lines = text.split("\n")
    for rule in entry[1].items:
        if isinstance(rule, MappingNode) and not rule.flow and rule.entries.keys() <= RANKS.keys():
            _order(rule, lines)
    return "\n".join(lines)


def _order(rule: MappingNode, lines: list[str]) -> None:
    """Put the keys of one rule in order; its lines stay as many as they are."""
    names = list(rule.entries)
    wanted = sorted(names, key=RANKS.__getitem__)
    if names == wanted:
        return
    begins: list[int] = []
    end = 0
    for key, value in rule.entries.values():
        begin = _line(key, key.begin)
        # Whatever stands between two entries is comments and blank lines, and belongs to the later one.
        begins.append(end if begins else begin)
        end = _last_line(key, value) + 1
    pieces = {
        name: lines[begin:stop] for name, begin, stop in zip(names, begins, [*begins[1:], end], strict=True)
    }
    # The dash stands before the first key.
    indent = lines[begins[0]].index("-")
    first = pieces[names[0]]
    first[0] = f"{' ' * indent}  {first[0][indent + 2 :]}"
    moved = [line for name in wanted for line in pieces[name]]
    dash = next(at for at, line in enumerate(moved) if line.strip() and not line.lstrip().startswith("#"))
    moved[dash] = f"{' ' * indent}- {moved[dash][indent + 2 :]}"
    lines[begins[0] : end] = moved


def _line(node: Node, at: int) -> int:
    return node.lines.text.count("\n", 0, at)


def _last_line(key: ScalarNode, value: Node) -> int:
    """Return the last line of an entry, comments below it not included."""
    if isinstance(value, MappingNode) and not value.flow and value.entries:
        return max(_last_line(*entry) for entry in value.entries.values())
    if isinstance(value, SequenceNode) and not value.flow and value.items:
        return max(_last_line(key, item) for item in value.items)
    if value.begin == value.end:
        return _line(key, key.end)
    body = value.lines.text[value.begin : value.end].rstrip()
    return max(_line(key, key.end), _line(value, value.begin + max(len(body) - 1, 0)))
