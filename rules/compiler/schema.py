"""``schema.yaml``: how JSON members become typed columns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from fraudstream.rules.bundle import Field, Schema, Type
from fraudstream.rules.compiler import shape as shapes
from fraudstream.rules.compiler.canonical import digest
from fraudstream.rules.compiler.reader import Findings, Node, ScalarNode, SequenceNode
from fraudstream.rules.compiler.shape import Section
from fraudstream.rules.compiler.source import quoted
from fraudstream.rules.compiler.suggest import suggest
from fraudstream.rules.compiler.vocabulary import CLASSES, FIELD, FIELD_TYPES
from fraudstream.rules.compiler.zones import parse_instant
from fraudstream.rules.iso4217 import DECIMALS

FIELDS_MAX = 256
ENUM_VALUES_MAX = 1_000
PATH_DEPTH_MAX = 15
"""A record's JSON is at most 16 deep, its root included."""
EVENT_ID_CHARS_MAX = 64
RESERVED = ("params", "lists", "model", "typology", "sequence")
"""First words of names that belong to the language."""
KEYWORDS = frozenset({"and", "or", "not", "in", "is", "missing", "between", "true", "false"})

_TYPES_OF_KEY = {
    "from": (Type.ID, Type.CATEGORY),
    "values": (Type.ENUM,),
    "signed": (Type.MONEY,),
    "currency": (Type.MONEY,),
    "convert": (Type.MONEY,),
    "decimals": (Type.NUMBER,),
    "max_chars": (Type.ID, Type.CATEGORY),
}
_NEEDED = (
    ("event.id", (Type.ID,), "the transaction id"),
    ("event.type", (Type.ENUM,), "the event type"),
    ("event.time", (Type.TIME,), "the event time"),
)
_TEXT_VALUE = re.compile(r"[!#-\[\]-~]{1,128}")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?")


def read_schema(section: Section, findings: Findings) -> Schema | None:
    """Return the event schema without the fields that have errors.

    None where other files can not be judged: without base currency or one of the event's own fields.
    """
    base = section.scalar("base_currency")
    if base is not None and base.text not in DECIMALS:
        findings.error(
            base, f"`base_currency` was {quoted(base.text)}, expected an ISO 4217 code", "e.g. `CNY`"
        )
    fields: list[Field] = []
    nodes: dict[str, Section] = {}
    column = 0
    entries = section.table("fields")
    if len(entries) > FIELDS_MAX:
        findings.error(section.key("fields"), f"{len(entries)} fields, at most {FIELDS_MAX} are allowed")
    for key, node in entries[:FIELDS_MAX]:
        name = declared_name(key, "a field", findings)
        inner = Section.open(node, FIELD, findings)
        item = None if inner is None or not name else _read_field(name, inner, findings)
        if item is None or inner is None:
            findings.broken.add(key.text)
            continue
        item = replace(item, column=column)
        column += item.type.width
        fields.append(item)
        nodes[name] = inner
    fields = [_with_currency(item, fields, nodes, findings) for item in fields]
    _check_needed(section, fields, nodes, findings)
    _check_required_for(fields, nodes, findings)
    _check_paths(fields, nodes, findings)
    partition = _partition_key(section, fields, findings)
    needed = {name for name, _, _ in _NEEDED} <= {field.name for field in fields}
    if base is None or base.text not in DECIMALS or not needed:
        return None
    schema = Schema(base.text, partition, tuple(fields), column)
    return replace(schema, hash=_hash(schema))


def event_types(section: Section, schema: Schema, findings: Findings) -> tuple[str, ...]:
    """Return the event types that ``on`` of a section names; unknown ones are errors."""
    known = next((item.values for item in schema.fields if item.name == schema.event_type), ())
    out: dict[str, None] = {}
    nodes = section.words("on")
    for node in nodes:
        if known and node.text not in known:
            hint = suggest(node.text, known) or f"known: {', '.join(known)}"
            findings.error(node, f"unknown event type {quoted(node.text)}", hint)
        elif node.text in out:
            findings.error(node, f"the event type {quoted(node.text)} is given twice", "remove one")
        out[node.text] = None
    if not nodes and section.node("on") is not None:
        findings.error(section.key("on"), "`on` was empty", "name at least one event type")
    return tuple(out)


def declared_name(key: ScalarNode, what: str, findings: Findings) -> str:
    """Return the name of a field or feature; empty after an error."""
    found = shapes.name(key, f"the name of {what}", findings)
    first = found.split(".", 1)[0]
    if first in RESERVED or found in KEYWORDS:
        findings.error(key, f"{quoted(found)} can not be {what}: {quoted(first)} belongs to the language")
        return ""
    return found


def value_problem(kind: Type, text: str, values: tuple[str, ...] = ()) -> str:
    """Return what was expected if ``text`` is no value of a field's type, else an empty text."""
    if kind is Type.ENUM:
        return "" if text in values else f"one of {', '.join(f'`{item}`' for item in values)}"
    if kind is Type.COUNTRY:
        return "" if re.fullmatch("[A-Z]{2}", text) else "a country of two capital letters"
    if kind in (Type.ID, Type.CATEGORY):
        return "" if _TEXT_VALUE.fullmatch(text) else '1 to 128 characters without spaces, `"` and `\\`'
    if kind is Type.BOOL:
        return "" if text in ("true", "false") else "`true` or `false`"
    if kind in (Type.INTEGER, Type.DURATION):
        return "" if re.fullmatch(r"-?(0|[1-9][0-9]{0,17})", text) else "a whole number"
    if kind in (Type.NUMBER, Type.MONEY):
        return "" if _DECIMAL.fullmatch(text) else "a decimal number, e.g. `12.50`"
    if kind is Type.TIME:
        return (
            "" if "T" in text.upper() and parse_instant(text, "UTC")[0] is not None else "a time with offset"
        )
    if kind is Type.DATE:
        whole = re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text) is not None
        return "" if whole and parse_instant(text, "UTC")[0] is not None else "a date, e.g. `2026-01-31`"
    return "no constant: a `geo` has none"


def _read_field(name: str, section: Section, findings: Findings) -> Field | None:
    kind = section.choice("type", FIELD_TYPES, "")
    if not kind:
        return None
    field_type = Type(kind)
    for key, types in _TYPES_OF_KEY.items():
        if section.has(key) and field_type not in types:
            allowed = " or ".join(f"`{item}`" for item in types)
            findings.error(section.key(key), f"`{key}` was given for `{field_type}`, it belongs to {allowed}")
    path, path2 = _paths(section, field_type, findings)
    values = enum_values(section, field_type, findings)
    const = section.scalar("const")
    default = section.scalar("default")
    for key, node in (("const", const), ("default", default)):
        expected = "" if node is None else value_problem(field_type, node.text, values)
        if node is not None and expected:
            hint = suggest(node.text, values) if values else ""
            findings.error(node, f"`{key}` was {quoted(node.text)}, expected {expected}", hint)
    required = section.boolean("required")
    if const is not None and section.has("path"):
        findings.error(section.key("const"), f"`{name}` has a `path` and a `const`", "keep one of them")
    if const is None and not section.has("path"):
        findings.error(
            section.source, f"`{name}` has no `path` and no `const`", "say where its value comes from"
        )
    if default is not None and required:
        findings.error(
            section.key("default"), f"`{name}` is required, so its `default` is never used", "keep one"
        )
    if required and section.has("required_for"):
        findings.error(section.key("required_for"), f"`{name}` is required for every event type", "keep one")
    chars = EVENT_ID_CHARS_MAX if name == "event.id" else 128
    return Field(
        name=name,
        type=field_type,
        column=0,
        path=path,
        path2=path2,
        required=required,
        required_for=tuple(item.text for item in section.words("required_for")),
        default=None if default is None else default.text,
        const=None if const is None else const.text,
        from_integer=_from_integer(section, findings),
        values=values,
        signed=section.boolean("signed"),
        currency=None,
        convert=section.boolean("convert", default=True),
        decimals=section.integer("decimals", 1, 9, 0),
        personal=_personal(section),
        max_chars=section.integer("max_chars", 1, chars, chars),
    )


def _personal(section: Section) -> str | None:
    found = section.choice("class", CLASSES, "public")
    return None if found == "public" else found


def _paths(section: Section, kind: Type, findings: Findings) -> tuple[tuple[str, ...], tuple[str, ...]]:
    node = section.node("path")
    if node is None:
        return (), ()
    if kind is Type.GEO:
        if isinstance(node, SequenceNode) and len(node.items) == 2:
            return _path(node.items[0], findings), _path(node.items[1], findings)
        findings.error(node, "`path` of a `geo` needs latitude and longitude", "e.g. `[lat, lon]`")
        return (), ()
    if isinstance(node, SequenceNode):
        findings.error(node, "`path` was a list, expected one JSON member", "write a nested member as `a.b`")
        return (), ()
    return _path(node, findings), ()


def _path(node: Node, findings: Findings) -> tuple[str, ...]:
    found = shapes.scalar(node, "`path`", findings)
    if found is None:
        return ()
    members = tuple(found.text.split("."))
    if any(not member or not member.isprintable() or len(member) > 128 for member in members):
        findings.error(found, f"`path` was {quoted(found.text)}, expected JSON members joined by dots")
        return ()
    if len(members) > PATH_DEPTH_MAX:
        findings.error(found, f"`path` is {len(members)} deep, at most {PATH_DEPTH_MAX} are read")
        return ()
    return members


def enum_values(section: Section, kind: Type, findings: Findings) -> tuple[str, ...]:
    """Return the ``values`` of an enum; empty for other types."""
    if kind is not Type.ENUM:
        return ()
    values: dict[str, None] = {}
    for item in section.words("values"):
        if value_problem(Type.CATEGORY, item.text):
            findings.error(
                item, f"the value {quoted(item.text)} is not allowed", "use characters without spaces"
            )
        elif item.text in values:
            findings.error(item, f"the value {quoted(item.text)} is given twice")
        values[item.text] = None
    if not 0 < len(values) <= ENUM_VALUES_MAX:
        findings.error(
            section.key("values"), f"an enum needs 1 to {ENUM_VALUES_MAX} `values`", "e.g. `[in, out]`"
        )
    return tuple(values)


def _from_integer(section: Section, findings: Findings) -> bool:
    node = section.node("from")
    words = section.words("from")
    given = {item.text for item in words}
    for item in words:
        shapes.choice(item, "an item of `from`", ("string", "integer"), findings)
    if node is not None and "string" not in given:
        findings.error(node, "`from` must contain `string`", "write `[string, integer]`")
    return "integer" in given


def _with_currency(field: Field, fields: list[Field], nodes: dict[str, Section], findings: Findings) -> Field:
    """Resolve the currency of a money field to the name of the field that holds it."""
    if field.type is not Type.MONEY:
        return field
    section = nodes[field.name]
    node = section.scalar("currency")
    if node is None:
        hint = "name the field that holds it; for a feed with one currency that field has a `const`"
        findings.error(section.source, f"`{field.name}` is money and needs `currency`", hint)
        return field
    by_name = {item.name: item for item in fields}
    by_path = {item.path_text: item for item in fields if item.path}
    found = by_name.get(node.text) or by_path.get(node.text)
    if found is None:
        hint = suggest(node.text, [*by_name, *by_path])
        findings.error(node, f"`currency` was {quoted(node.text)}, which no field reads", hint)
        return field
    if found.type is not Type.CATEGORY:
        findings.error(
            node, f"`currency` is read from `{found.name}`, a `{found.type}`", "make it a `category`"
        )
    for key, text in (("const", found.const), ("default", found.default)):
        if text is not None and text not in DECIMALS:
            message = f"`{key}` of the currency `{found.name}` was {quoted(text)}, expected an ISO 4217 code"
            findings.error(nodes[found.name].key(key), message)
    return replace(field, currency=found.name)


def _check_needed(
    section: Section, fields: list[Field], nodes: dict[str, Section], findings: Findings
) -> None:
    by_name = {item.name: item for item in fields}
    for name, types, what in _NEEDED:
        found = by_name.get(name)
        if found is None:
            if not any(key.text == name for key, _ in section.table("fields")):
                hint = suggest(name, by_name) or f"add a field with type `{types[0]}`"
                findings.error(section.key("fields"), f"the schema needs `{name}`, {what}", hint)
        elif found.type not in types:
            findings.error(nodes[name].key("type"), f"`{name}` was `{found.type}`, expected `{types[0]}`")
        elif name == "event.type":
            if not found.required and found.default is None and found.const is None:
                findings.error(
                    nodes[name].source, "`event.type` needs a `default`", "e.g. `default: payment`"
                )
        elif not found.required:
            findings.error(nodes[name].source, f"`{name}` must be `required: true`", f"it is {what}")


def _check_required_for(fields: list[Field], nodes: dict[str, Section], findings: Findings) -> None:
    types = next((item.values for item in fields if item.name == "event.type"), ())
    for field in fields:
        for node in nodes[field.name].words("required_for"):
            if types and node.text not in types:
                hint = suggest(node.text, types) or f"known: {', '.join(types)}"
                findings.error(node, f"`required_for` names the unknown event type {quoted(node.text)}", hint)


def _check_paths(fields: list[Field], nodes: dict[str, Section], findings: Findings) -> None:
    """Refuse a member that is a value for one field and an object for another."""
    owners: dict[tuple[str, ...], str] = {}
    for field in fields:
        for path in filter(None, (field.path, field.path2)):
            owners.setdefault(path, field.name)
    for field in fields:
        for path in _parents(field):
            if path in owners:
                outer = f"`{'.'.join(path)}`, which `{owners[path]}` reads as a value"
                message = f"`{field.path_text}` lies inside {outer}"
                findings.error(nodes[field.name].key("path"), message)


def _parents(field: Field) -> Iterator[tuple[str, ...]]:
    for path in (field.path, field.path2):
        for size in range(1, len(path)):
            yield path[:size]


def _partition_key(section: Section, fields: list[Field], findings: Findings) -> str:
    node = section.scalar("partition_key")
    if node is None:
        return ""
    found = next((item for item in fields if item.name == node.text), None)
    if found is None:
        hint = suggest(node.text, [item.name for item in fields])
        findings.error(node, f"`partition_key` names the unknown field {quoted(node.text)}", hint)
    elif found.type is not Type.ID or not found.required:
        findings.error(node, f"`partition_key` is `{found.name}`, expected a field with type `id`, required")
    return node.text


def _hash(schema: Schema) -> str:
    """Return the hash of all that decides how a record becomes columns."""
    fields = [
        [
            item.name, item.type.value, item.column, list(item.path), list(item.path2), item.required,
            list(item.required_for), item.default, item.const, item.from_integer, list(item.values),
            item.signed, item.currency, item.convert, item.decimals, item.max_chars,
        ]
        for item in schema.fields
    ]  # fmt: skip
    return digest(
        {"base_currency": schema.base_currency, "partition_key": schema.partition_key, "fields": fields}
    )
