"""``table`` of a rule: rows of cells over the same columns; the rule matches where every cell of a row holds.

A cell is a value (``atm``, ``true``, ``5000``), the rest of a comparison (``>= 5000``, ``in lists.risky``,
``is missing``), or ``"-"``: anything. It means the expression that it makes with its column's name.
"""

from __future__ import annotations

import re

from fraudstream.rules.bundle import Type
from fraudstream.rules.compiler import build
from fraudstream.rules.compiler import shape as shapes
from fraudstream.rules.compiler.nodes import Between, Compare, Membership, Missing
from fraudstream.rules.compiler.parts import Condition
from fraudstream.rules.compiler.reader import Findings, MappingNode, ScalarNode
from fraudstream.rules.compiler.shape import Section
from fraudstream.rules.compiler.source import quoted
from fraudstream.rules.compiler.types import Checked, Scope, check

ROWS_MAX = 200
ANYTHING = "-"
_REST = re.compile(r"(==|!=|<=?|>=?|(not\s+)?in\s+\S|(not\s+)?between\s+\S|is\s+(not\s+)?missing)")
_TEXTS = (Type.ENUM, Type.CATEGORY, Type.ID, Type.COUNTRY)

Rows = tuple[tuple[Condition, ...], ...]


def read_table(section: Section, scope: Scope, findings: Findings) -> tuple[Condition | None, Rows]:
    """Return the condition that a table makes, and its cells by row; None after errors."""
    nodes = section.items("table")
    if not nodes:
        if section.node("table") is not None:
            findings.error(
                section.key("table"), "`table` has no rows", "give `{column: cell, ...}` for each row"
            )
        return None, ()
    if len(nodes) > ROWS_MAX:
        message = f"{len(nodes)} rows, at most {ROWS_MAX} are allowed"
        findings.error(section.key("table"), message, "put the values into lists")
    before = len(findings.items)
    rows: list[tuple[Condition, ...]] = []
    columns: dict[str, None] = {}
    for node in nodes[:ROWS_MAX]:
        row = shapes.mapping(node, "a row of `table`", findings)
        if row is None:
            continue
        columns = columns or dict.fromkeys(row.entries)
        _check_columns(row, columns, findings)
        cells = []
        for key, value in row.entries.values():
            text = shapes.scalar(value, f"the cell {quoted(key.text)}", findings)
            cell = None if text is None else _cell(key, text, scope, findings)
            if cell is not None:
                cells.append(cell)
        if not cells and len(findings.items) == before:
            findings.error(row, "the row holds for every event", "give at least one cell that is not `-`")
        rows.append(tuple(cells))
    if len(findings.items) > before:
        return None, ()
    term = build.join("or", [build.join("and", [cell.checked.term for cell in row]) for row in rows])
    entry = section.source.entries["table"][0]
    return Condition(Checked("", None, term), entry, entry, "table"), tuple(rows)


def _check_columns(row: MappingNode, columns: dict[str, None], findings: Findings) -> None:
    """Refuse a row with other columns than the first."""
    for name in columns:
        if name not in row.entries:
            findings.error(
                row,
                f"the row lacks the column {quoted(name)}",
                f'write `{name}: "{ANYTHING}"` where it does not matter',
            )
    for key, _ in row.entries.values():
        if key.text not in columns:
            findings.error(
                key, f"the first row has no column {quoted(key.text)}", "all rows have the same columns"
            )


def _cell(key: ScalarNode, node: ScalarNode, scope: Scope, findings: Findings) -> Condition | None:
    """Return what a cell means; None where it holds for everything, and after errors."""
    if shapes.name(key, "a column", findings) == "" or node.text == ANYTHING:
        return None
    before, behind = _around(key.text, node.text, scope)
    found, problems = check(before + node.text + behind, scope)
    for problem in problems:
        about_name = problem.end <= len(key.text)
        unknown = problem.message.startswith("unknown name") and about_name and findings.excuses(key.text)
        if not unknown:
            at = key if about_name else node
            shift = 0 if about_name else len(before)
            findings.error(
                at.part(problem.begin - shift, max(1, problem.end - shift)), problem.message, problem.hint
            )
    if found is not None and not isinstance(found.node, Compare | Membership | Between | Missing):
        findings.error(
            node, f"the cell {quoted(node.text)} is more than one comparison", "add a row or a column"
        )
        return None
    return None if found is None else Condition(found, node, key, "table", len(before))


def _around(column: str, text: str, scope: Scope) -> tuple[str, str]:
    """Return what makes an expression of a cell's text: what stands before it, and behind it."""
    if _REST.match(text):
        return f"{column} ", ""
    slot = scope.slots.get(column)
    if slot is not None and slot.type in _TEXTS and text[:1] not in ("'", '"'):
        return f'{column} == "', '"'
    return f"{column} == ", ""
