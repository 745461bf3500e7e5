"""Reference tables for tests: declarations, rows as plain texts, batches, and a join by dictionary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from fraudstream.rules.bundle import Bundle, ReferenceTable, Type
from fraudstream.rules.compiler.compile import compile_sources
from fraudstream.rules.siphash import hash_text
from fraudstream.stream.enrichment.bound import TableVersion
from fraudstream.stream.enrichment.content import Content
from fraudstream.stream.enrichment.directory import version_from
from fraudstream.stream.enrichment.rows import Row, RowReader, content_of_rows
from fraudstream.stream.wire.types import Batch

KEY = bytes(range(16))
NOW_MS = 1_795_514_400_000
DAY_MS = 86_400_000

SCHEMA = """\
apiVersion: fraudstream/v1
kind: Schema
base_currency: CNY
partition_key: account.id
fields:
  event.id:    {path: transaction_id, type: id, required: true}
  event.type:  {path: event_type, type: enum, values: [payment], default: payment}
  event.time:  {path: event_time, type: time, required: true}
  account.id:  {path: account_id, type: id, required: true}
  txn.mcc:     {path: mcc, type: category}
  txn.country: {path: country, type: country}
"""
COLUMNS = {
    "band": "{type: enum, values: [low, high]}",
    "score": "{type: integer}",
    "rate": "{type: number}",
    "limit": "{type: money}",
    "opened": "{type: date}",
    "seen": "{type: time}",
    "wait": "{type: duration}",
    "trusted": "{type: bool}",
    "city": "{type: category}",
    "twin": "{type: id}",
    "home": "{type: geo, from: [lat, lon]}",
    "born": "{type: country}",
}
"""Name -> declaration: a column of every type."""


def declaration(**tables: Mapping[str, object]) -> str:
    """Return ``reference.yaml``: table -> ``key``, further lines in ``more``, ``columns``."""
    lines = ["apiVersion: fraudstream/v1", "kind: Reference", "tables:"]
    for name, options in tables.items():
        lines += [f"  {name}:", f"    key: {options['key']}"]
        source = options.get("source", f"{{file: {name}.csv}}")
        lines += [f"    source: {source}", *(f"    {line}" for line in options.get("more", ()))]  # type: ignore[attr-defined]
        lines.append("    columns:")
        lines += [f"      {column}: {text}" for column, text in options.get("columns", COLUMNS).items()]  # type: ignore[attr-defined]
    return "\n".join(lines) + "\n"


def reference_bundle(reference: str, names: Iterable[str], features: str = "") -> Bundle:
    """Compile a directory in which a rule reads these columns."""
    when = " or ".join(f"{name} is missing" for name in names) or "event.id is missing"
    rules = (
        "apiVersion: fraudstream/v1\nkind: RuleSet\nrules:\n"
        "- {id: r, title: t, severity: low, on: payment, score: 1, owner: o, mode: {state: shadow}, "
        f"when: '{when}'}}\n"
    )
    files = {"schema.yaml": SCHEMA, "reference.yaml": reference, "rulesets/r.yaml": rules}
    if features:
        files["features.yaml"] = f"apiVersion: fraudstream/v1\nkind: Features\nfeatures:\n  {features}\n"
    compiled = compile_sources({path: text.encode() for path, text in files.items()})
    assert compiled.bundle is not None, [item.text for item in compiled.errors]
    return compiled.bundle


def all_names(table: str) -> list[str]:
    """Return every name of a table with all columns."""
    return [f"{table}.{name}" for name in (*COLUMNS, "found", "stale")]


def content_of(
    table: ReferenceTable,
    rows: Mapping[str, Mapping[str, object]],
    as_of_ms: int = NOW_MS,
    parent: str = "",
    removed: Sequence[str] = (),
) -> Content:
    """Return content of rows given as members."""
    reader = RowReader(table, 2)
    made = [Row(reader.key(key), reader.values(members)) for key, members in rows.items()]
    return content_of_rows(table, made, as_of_ms, parent=parent, removed=[key.encode() for key in removed])


def version_of_rows(
    table: ReferenceTable,
    rows: Mapping[str, Mapping[str, object]],
    as_of_ms: int = NOW_MS,
    before: TableVersion | None = None,
    removed: Sequence[str] = (),
) -> TableVersion:
    """Return a version, a delta if there is one ``before``."""
    parent = "" if before is None else before.version
    return version_from(content_of(table, rows, as_of_ms, parent, removed), before)[0]


def batch_of(bundle: Bundle, events: Sequence[Mapping[str, object]]) -> Batch:
    """Return decoded columns of events given by field: texts, countries, times in milliseconds."""
    schema, n = bundle.schema, len(events)
    value, state = np.zeros((schema.words, n), np.int64), np.zeros((schema.words, n), np.uint8)
    start, size = np.zeros((2, schema.words, n), np.int32)
    text = bytearray()
    for row, event in enumerate(events):
        for name, item in event.items():
            field = schema.field(name)
            if item is None:
                continue
            state[field.column : field.column + field.type.width, row] = 1
            if field.type.is_text:
                data = str(item).encode()
                value[field.column : field.column + 2, row] = hash_text(data, KEY)
                start[field.column, row], size[field.column, row] = len(text), len(data)
                text += data
            elif field.type is Type.COUNTRY:
                value[field.column, row] = ord(str(item)[0]) << 8 | ord(str(item)[1])
            else:
                value[field.column, row] = item
    row = np.arange(n, dtype=np.int32)
    offsets = row.astype(np.int64)
    buffer = np.frombuffer(bytes(text) + bytes(32), np.uint8)
    return Batch(schema, row, offsets, offsets, value, state, start, size, buffer, np.zeros((2, n), np.int64))


def plain_rows(bundle: Bundle, batch: Batch, table: str) -> list[dict[str, object]]:
    """Return the joined columns of a batch as plain values."""
    out: list[dict[str, object]] = [{} for _ in range(len(batch))]
    declared = bundle.reference.table(table)
    assert declared is not None
    read = {slot.name: slot for slot in bundle.reference.read}
    for slot in declared.slots:
        if slot.name not in read:
            continue
        name = slot.name.partition(".")[2]
        at = slot.column
        for row in range(len(batch)):
            words = tuple(batch.value[at : at + slot.type.width, row].tolist())
            states = set(batch.state[at : at + slot.type.width, row].tolist())
            assert len(states) == 1, name
            item: object = None
            if states == {1}:
                item = words[0] if len(words) == 1 else words
                if slot.type.is_text:
                    text = batch.text(at, row) or ""
                    assert words == hash_text(text.encode(), KEY), name
                    item = text
            else:
                assert not any(words), f"{name}: words of missing values are 0"
            out[row][name] = item
    return out


def shifted(version: TableVersion, as_of_ms: int) -> TableVersion:
    """Return a version of the same rows with another time."""
    return version_from(replace(version.content, as_of_ms=as_of_ms), version.parent)[0]
