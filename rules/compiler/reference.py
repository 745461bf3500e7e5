"""``reference.yaml``: keyed tables whose columns are joined to every event.

A column is read as ``<table>.<column>``; ``<table>.found`` and ``<table>.stale`` say whether there is a row,
and whether the content is too old. Columns that some file mentions get the first rows behind the fields, so
that tables nobody reads take no place in a batch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from fraudstream.rules.bundle import (
    Field,
    Reference,
    ReferenceColumn,
    ReferenceTable,
    Schema,
    Slot,
    Source,
    Type,
)
from fraudstream.rules.compiler.canonical import digest
from fraudstream.rules.compiler.reader import Findings, Node, ScalarNode
from fraudstream.rules.compiler.schema import KEYWORDS, RESERVED, enum_values
from fraudstream.rules.compiler.shape import NAME, Section
from fraudstream.rules.compiler.slots import MODEL_SLOTS, stored_as
from fraudstream.rules.compiler.source import quoted
from fraudstream.rules.compiler.suggest import suggest
from fraudstream.rules.compiler.tokens import DAY_MS
from fraudstream.rules.compiler.vocabulary import (
    CLASSES,
    COLUMN,
    FIELD_TYPES,
    SOURCE,
    TABLE,
    WHEN_STALE,
)

TABLES_MAX = 256
COLUMNS_MAX = 48
"""A record's presence bits are one word; eight bits of it are spare for a layout to come."""
SUFFIXES = (".parquet", ".csv", ".jsonl")
KEY_TYPES = (Type.ID, Type.CATEGORY, Type.COUNTRY)
FOUND, STALE = "found", "stale"
_WORD = re.compile(r"[a-z_][a-zA-Z0-9_]*")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_PATH_CHARS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class DeclaredReference:
    """The tables of a file with what messages and explanations need."""

    tables: tuple[ReferenceTable, ...] = ()
    slots: Mapping[str, Slot] = field(default_factory=dict)
    places: Mapping[str, ScalarNode] = field(default_factory=dict)
    """Table name -> where it was declared."""
    shapes: Mapping[str, str] = field(default_factory=dict)
    """Slot name -> hash of what its values depend on, the content left out."""


NO_REFERENCE = DeclaredReference()


def read_reference(
    section: Section | None, schema: Schema, files: Mapping[str, bytes], findings: Findings
) -> DeclaredReference:
    """Return the tables; those with errors are left out.

    Args:
        section: the file, None if there is none.
        schema: fields that keys may name.
        files: all files of the directory; they show which columns are mentioned anywhere.
        findings: collects errors.
    """
    if section is None:
        return DeclaredReference()
    fields = {item.name: item for item in schema.fields}
    taken = dict.fromkeys(fields, "a field") | {slot.name: "a model" for slot in MODEL_SLOTS}
    entries = section.table("tables")
    if len(entries) > TABLES_MAX:
        findings.error(section.key("tables"), f"{len(entries)} tables, at most {TABLES_MAX} are allowed")
    tables: list[ReferenceTable] = []
    places: dict[str, ScalarNode] = {}
    for key, node in entries[:TABLES_MAX]:
        errors = len(findings.items)
        table = _read_table(key, node, fields, taken, schema, findings)
        if table is None or len(findings.items) > errors:
            findings.broken_prefixes.append(f"{key.text}.")
            continue
        tables.append(table)
        places[table.name] = key
    numbered = _numbered(tables, schema.words, files)
    shapes = {
        slot.name: digest([table.key, table.hash, table.stale_after_ms, table.keep_stale])
        for table in numbered
        for slot in table.slots
    }
    slots = {slot.name: slot for table in numbered for slot in table.slots}
    return DeclaredReference(numbered, slots, places, shapes)


def reference_of(declared: DeclaredReference, read: Iterable[Slot]) -> Reference:
    """Return the tables of a bundle.

    Args:
        declared: the tables.
        read: everything that rules and filters read.
    """
    wanted = {slot.name: slot for slot in read if slot.name in declared.slots}
    return Reference(
        tables=declared.tables,
        read=tuple(wanted[name] for name in sorted(wanted)),
        hash=digest([[item.name, item.key, item.hash] for item in declared.tables]),
    )


def _read_table(
    key: ScalarNode,
    node: Node,
    fields: Mapping[str, Field],
    taken: Mapping[str, str],
    schema: Schema,
    findings: Findings,
) -> ReferenceTable | None:
    inner = Section.open(node, TABLE, findings)
    name = key.text
    if _WORD.fullmatch(name) is None or len(name) > 64:
        findings.error(
            key, f"the name of a table {quoted(name)} is not one word", "use small letters, digits and `_`"
        )
        return None
    if name in RESERVED or name in KEYWORDS:
        findings.error(key, f"{quoted(name)} can not be a table: it belongs to the language")
        return None
    if inner is None:
        return None
    found = _key_field(inner, fields, findings)
    columns = _read_columns(name, inner, taken, findings)
    source = inner.section("source", SOURCE)
    for word in (FOUND, STALE):
        if f"{name}.{word}" in taken:
            hint = "rename the table"
            findings.error(key, f"`{name}.{word}` is already {taken[f'{name}.{word}']}", hint)
    stale_after = inner.duration("stale_after", 1_000, 3_650 * DAY_MS, None)
    keep = inner.choice("when_stale", WHEN_STALE, "keep") == "keep"
    if inner.has("when_stale") and not inner.has("stale_after"):
        findings.error(inner.key("when_stale"), "`when_stale` needs `stale_after`", "e.g. `stale_after: 7d`")
    if source is None or found is None or columns is None:
        return None
    file, topic = _read_source(source, findings)
    table = ReferenceTable(
        name=name,
        key=found.name,
        key_type=found.type,
        key_origin=_plain(source, "key", findings) or found.name.rsplit(".", 1)[-1],
        columns=columns,
        found=Slot(f"{name}.{FOUND}", Type.BOOL, "i", Source.FIELD, 0),
        stale=Slot(f"{name}.{STALE}", Type.BOOL, "i", Source.FIELD, 0),
        file=file,
        topic=topic,
        as_of=_plain(source, "as_of", findings),
        refresh_ms=source.duration("refresh", 1_000, DAY_MS, 10_000) or 10_000,
        stale_after_ms=stale_after,
        keep_stale=keep,
    )
    content = {
        "key": [table.key_type.value, table.key_origin],
        "columns": [list(column.shape) for column in columns],
        "currency": schema.base_currency,
        "source": [table.file, table.topic, table.as_of],
    }
    return replace(table, hash=digest(content))


def _key_field(section: Section, fields: Mapping[str, Field], findings: Findings) -> Field | None:
    node = section.scalar("key")
    if node is None:
        return None
    found = fields.get(node.text)
    if found is None:
        if not findings.excuses(node.text):
            hint = suggest(node.text, fields)
            findings.error(node, f"`key` names the unknown field {quoted(node.text)}", hint)
        return None
    if found.type not in KEY_TYPES:
        expected = ", ".join(f"`{item}`" for item in KEY_TYPES)
        findings.error(
            node, f"`{found.name}` is `{found.type}` and can not be a table's key", f"expected {expected}"
        )
        return None
    return found


def _read_columns(
    table: str, section: Section, taken: Mapping[str, str], findings: Findings
) -> tuple[ReferenceColumn, ...] | None:
    entries = section.table("columns")
    if len(entries) > COLUMNS_MAX:
        findings.error(section.key("columns"), f"{len(entries)} columns, at most {COLUMNS_MAX} are allowed")
        return None
    usual = section.choice("class", CLASSES, "public")
    columns: list[ReferenceColumn] = []
    for key, node in entries:
        inner = Section.open(node, COLUMN, findings)
        name = f"{table}.{key.text}"
        if _WORD.fullmatch(key.text) is None or NAME.fullmatch(name) is None or len(name) > 128:
            message = f"the name of a column {quoted(key.text)} is not one word"
            findings.error(key, message, "use small letters, digits and `_`")
        elif key.text in (FOUND, STALE):
            findings.error(key, f"`{name}` is given by every table", "rename the column")
        elif name in taken:
            findings.error(key, f"`{name}` is already {taken[name]}", "rename the column or the table")
        elif inner is not None and (column := _read_column(key.text, name, inner, usual, findings)):
            columns.append(column)
    if section.has("columns") and not entries:
        findings.error(section.key("columns"), "a table needs at least one column")
    return tuple(columns)


def _read_column(
    short: str, name: str, section: Section, usual: str, findings: Findings
) -> ReferenceColumn | None:
    kind = section.choice("type", FIELD_TYPES, "")
    if not kind:
        return None
    column_type = Type(kind)
    if section.has("values") and column_type is not Type.ENUM:
        findings.error(section.key("values"), f"`values` was given for `{kind}`, it belongs to `enum`")
    values = enum_values(section, column_type, findings)
    origin = tuple(item.text for item in section.words("from"))
    wanted = 2 if column_type is Type.GEO else 1
    if column_type is Type.GEO and len(origin) != 2:
        findings.error(
            section.key("from"), "a `geo` column needs latitude and longitude", "e.g. `from: [lat, lon]`"
        )
        return None
    if origin and len(origin) != wanted:
        findings.error(section.key("from"), f"`from` names {len(origin)} columns of the source, expected one")
        return None
    given = section.choice("class", CLASSES, usual)
    slot = Slot(name, column_type, stored_as(column_type), Source.FIELD, 0, values)
    personal = None if given == "public" else given
    return ReferenceColumn(short, column_type, slot, origin or (short,), values, personal)


def _read_source(section: Section, findings: Findings) -> tuple[str, str]:
    file, topic = _plain(section, "file", findings), _plain(section, "topic", findings)
    if section.has("file") and section.has("topic"):
        findings.error(section.key("topic"), "`source` has a `file` and a `topic`", "keep one of them")
    elif not section.has("file") and not section.has("topic"):
        findings.error(section.source, "`source` needs `file` or `topic`", "e.g. `{file: customers.parquet}`")
    if file and not file.lower().endswith(SUFFIXES):
        expected = ", ".join(SUFFIXES)
        findings.error(section.key("file"), f"`file` was {quoted(file)}", f"expected {expected}")
    if topic and _TOPIC.fullmatch(topic) is None:
        findings.error(
            section.key("topic"), f"`topic` was {quoted(topic)}", "use letters, digits, `.`, `_`, `-`"
        )
    for word, other in (("refresh", "topic"), ("key", "file")):
        if section.has(word) and not section.has(other):
            findings.error(section.key(word), f"`{word}` belongs to a {other}", "remove it")
    return file, topic


def _plain(section: Section, key: str, findings: Findings) -> str:
    node = section.scalar(key)
    if node is None:
        return ""
    if not node.text.isprintable() or len(node.text) > _PATH_CHARS_MAX:
        findings.error(node, f"`{key}` was {quoted(node.text)}, expected printable text")
        return ""
    return node.text


def _numbered(
    tables: Iterable[ReferenceTable], begin: int, files: Mapping[str, bytes]
) -> tuple[ReferenceTable, ...]:
    """Give every slot its row: mentioned ones first, the rest behind them."""
    tables = list(tables)
    mentioned: set[str] = set()
    for path, data in files.items():
        if path not in ("schema.yaml", "reference.yaml"):
            mentioned.update(match[0] for match in NAME.finditer(data.decode("utf-8", "replace")))
    slots = [slot for table in tables for slot in table.slots]
    rows: dict[str, int] = {}
    for slot in sorted(slots, key=lambda item: item.name not in mentioned):
        rows[slot.name] = begin
        begin += slot.type.width

    def placed(slot: Slot) -> Slot:
        return replace(slot, column=rows[slot.name])

    return tuple(
        replace(
            table,
            columns=tuple(replace(item, slot=placed(item.slot)) for item in table.columns),
            found=placed(table.found),
            stale=placed(table.stale),
        )
        for table in tables
    )
