"""A schema compiled for reading: paths as a trie, defaults and constants as tokens.

Objects of a record are numbered: node 0 is the root, every object on a path has a node after its
parent, and the last node is a made-up object that holds the schema's constants, so that constant
and sent fields are read alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from fraudstream.rules.bundle import Field, Schema, Type
from fraudstream.rules.iso4217 import DECIMALS
from fraudstream.stream.wire.codes import Unreadable
from fraudstream.stream.wire.flat import FlatTables, flatten
from fraudstream.stream.wire.readers import ABSENT, ID_CHARS, READERS, FieldTable, Place, Row, amount_of
from fraudstream.stream.wire.tokens import FloatText, IntText

MAX_ID_CHARS = 128
MAX_EVENT_ID_CHARS = 64
"""Ids of transactions are repeated in every output; downstream systems reserve this much."""

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Node:
    """An object that some path passes through."""

    parent: int
    name: str
    """Member of the parent."""
    members: frozenset[str]
    """Members that the schema reads: repeats of others do not matter."""


@dataclass(frozen=True, slots=True)
class MoneyTable:
    """A money field and where its currency stands."""

    field: FieldTable
    currency: FieldTable
    twin: FieldTable | None
    """An earlier field that reads the same member in the same way (`txn.amount_original`)."""


@dataclass(frozen=True, slots=True)
class SchemaTables:
    """Everything that reading records of one schema takes."""

    schema: Schema
    nodes: tuple[Node, ...]
    """Objects in an order where parents come first; 0 is the root."""
    constants: dict[str, object]
    """Field name -> token of constant fields: the object behind the last node."""
    fields: tuple[FieldTable, ...]
    """In the schema's order."""
    plain: tuple[tuple[FieldTable, int, str, TextTest | None, bool], ...]
    """(field, node, member, test, needed) of fields with one member and nothing else to look at.

    Most members are texts: one that passes ``test`` is its own value, all else goes to the reader.
    Only ``needed`` fields may make a record incomplete.
    """
    money: tuple[MoneyTable, ...]
    geo: tuple[FieldTable, ...]
    chains: tuple[tuple[str, tuple[tuple[int, str], ...]], ...]
    """(path, (node, member) from the root) of every path in the schema's order; for repeated members."""
    event_id: FieldTable | None
    event_type: FieldTable | None
    event_time: FieldTable | None
    text_columns: tuple[int, ...]
    """First columns of ids and categories."""
    flat: FlatTables
    """The same for the kernels of the fast lane."""


TextTest = Callable[[str], object]


class _Trie:
    """Numbers objects while paths are added."""

    def __init__(self) -> None:
        self.nodes: dict[tuple[str, ...], int] = {(): 0}
        self.members: list[set[str]] = [set()]
        self.leaves: dict[tuple[str, ...], str] = {}

    def add(self, path: tuple[str, ...], field: str) -> tuple[tuple[int, str], ...]:
        """Return the chain of (node, member) of a path."""
        if not path or not all(path):
            raise ValueError(f"field `{field}`: the path {path!r} has an empty member name")
        self.leaves.setdefault(path, field)
        for size in range(1, len(path)):
            self.nodes.setdefault(path[:size], len(self.nodes))
            if len(self.members) < len(self.nodes):
                self.members.append(set())
        chain = tuple((self.nodes[path[:size]], path[size]) for size in range(len(path)))
        for node, member in chain:
            self.members[node].add(member)
        return chain

    def check(self) -> None:
        """Refuse a path that ends where another goes on."""
        for path, field in self.leaves.items():
            if path in self.nodes:
                raise ValueError(
                    f"field `{field}`: the path `{'.'.join(path)}` is read as a value, "
                    "but other fields read members of it; give one of them another path"
                )

    def built(self) -> tuple[Node, ...]:
        paths = sorted(self.nodes, key=self.nodes.__getitem__)
        return tuple(
            Node(self.nodes[path[:-1]] if path else -1, path[-1] if path else "", frozenset(members))
            for path, members in zip(paths, self.members, strict=True)
        )


def _token(field: Field, text: str) -> object:
    """Return the token that stands for a default or constant written as ``text``."""
    match field.type:
        case Type.BOOL if text in ("true", "false"):
            return text == "true"
        case Type.NUMBER | Type.INTEGER | Type.DURATION | Type.TIME if _INTEGER.fullmatch(text):
            return IntText(text)
        case Type.NUMBER if _NUMBER.fullmatch(text):
            return FloatText(text)
        case _:
            return text


def _check_source(field: Field, table: FieldTable, what: str, text: str) -> None:
    """Refuse a default or constant that a record could not send."""
    row = Row(field.column + 2)
    try:
        if field.type is Type.GEO:
            raise ValueError(f"field `{field.name}`: a geo field has no {what}; give it a path")
        if field.type is Type.MONEY:
            amount_of(table, _token(field, text))
        else:
            table.read(table, _token(field, text), row)
    except Unreadable as fault:
        raise ValueError(
            f"field `{field.name}`: the {what} `{text}` is no {field.type} ({fault.code})"
        ) from None
    if row.counted:
        raise ValueError(f"field `{field.name}`: the {what} `{text}` is not one of its values")


def _field_table(index: int, field: Field, place: Place, place2: Place | None, max_chars: int) -> FieldTable:
    default = ABSENT if field.default is None else _token(field, field.default)
    return FieldTable(
        index=index,
        name=field.name,
        column=field.column,
        read=READERS[field.type],
        place=place,
        place2=place2,
        required=field.required,
        required_for=frozenset(field.required_for),
        when_absent=default,
        when_null=default if field.type is Type.ENUM and default is not ABSENT else None,
        codes={text: code for code, text in enumerate(field.values)},
        from_integer=field.from_integer,
        signed=field.signed,
        max_chars=max_chars,
    )


def _currency(schema: Schema, field: Field, tables: dict[str, FieldTable]) -> FieldTable:
    table = tables.get(field.currency or "")
    if table is None:
        raise ValueError(f"field `{field.name}`: its currency `{field.currency}` is no field of the schema")
    known = schema.field(table.name)
    for text in (known.const, known.default):
        if text is not None and text not in DECIMALS:
            raise ValueError(f"field `{known.name}`: `{text}` is no currency of ISO 4217 with a minor unit")
    return table


def _text_test(field: Field, table: FieldTable) -> TextTest | None:
    """Return a test that is true for texts which need no further look."""
    if field.type is Type.ID:
        return re.compile(ID_CHARS + f"{{1,{table.max_chars}}}").fullmatch
    return len if field.type is Type.CATEGORY else None  # an empty category takes the long way


def _money_tables(schema: Schema, tables: dict[str, FieldTable]) -> tuple[MoneyTable, ...]:
    made: list[MoneyTable] = []
    for field in schema.fields:
        if field.type is not Type.MONEY:
            continue
        table, currency = tables[field.name], _currency(schema, field, tables)
        twins = (
            other.field
            for other in made
            if other.currency is currency
            and (other.field.place, other.field.signed) == (table.place, table.signed)
            and other.field.when_absent == table.when_absent
        )
        made.append(MoneyTable(table, currency, next(twins, None)))
    return tuple(made)


def compile_schema(schema: Schema) -> SchemaTables:
    """Prepare a schema for reading records.

    Raises:
        ValueError: a path that is a value and an object at once, a default or constant that no
            record could send, a money field without a known currency field.
    """
    trie = _Trie()
    chains: list[tuple[str, tuple[tuple[int, str], ...]]] = []
    constants: dict[str, object] = {}
    for field in schema.fields:
        for path in (field.path, field.path2) if field.path2 else (field.path,):
            if field.const is None:
                chains.append((".".join(path), trie.add(path, field.name)))
            else:
                constants[field.name] = _token(field, field.const)
    trie.check()
    nodes = trie.built()
    tables: dict[str, FieldTable] = {}
    for index, field in enumerate(schema.fields):
        longest = MAX_EVENT_ID_CHARS if field.name == schema.event_id else MAX_ID_CHARS
        if field.const is None:
            place = Place(trie.nodes[field.path[:-1]], field.path[-1], field.path_text)
        else:
            place = Place(len(nodes), field.name, field.name)
        place2 = None
        if field.type is Type.GEO:
            if not field.path2:
                raise ValueError(f"field `{field.name}`: a geo field has two paths, latitude and longitude")
            place2 = Place(trie.nodes[field.path2[:-1]], field.path2[-1], ".".join(field.path2))
        table = _field_table(index, field, place, place2, min(field.max_chars, longest))
        tables[field.name] = table
        for what, text in (("default", field.default), ("constant", field.const)):
            if text is not None:
                _check_source(field, table, what, text)
    typed = [(field, tables[field.name]) for field in schema.fields]
    return SchemaTables(
        schema=schema,
        nodes=nodes,
        constants=constants,
        fields=tuple(tables.values()),
        plain=tuple(
            (t, t.place.node, t.place.member, _text_test(f, t), f.required or bool(f.required_for))
            for f, t in typed
            if f.type not in (Type.MONEY, Type.GEO)
        ),
        money=_money_tables(schema, tables),
        geo=tuple(t for f, t in typed if f.type is Type.GEO),
        chains=tuple(chains),
        event_id=tables.get(schema.event_id),
        event_type=tables.get(schema.event_type),
        event_time=tables.get(schema.event_time),
        text_columns=tuple(f.column for f in schema.fields if f.type.is_text),
        flat=flatten(schema.fields, tables, nodes, constants, schema.event_type),
    )
