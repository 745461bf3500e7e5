"""The exact lane: one record, read and judged as the contract says.

It makes every rejection code, and it is the oracle for any faster reader: whatever else accepts a
record has to give the same `Row`.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from fraudstream.stream.wire.codes import RANK, REJECTION_CODES, Unreadable
from fraudstream.stream.wire.readers import (
    ABSENT,
    WRONG,
    FieldTable,
    Place,
    Row,
    id_of,
    number_of,
    put_geo,
    put_money,
    time_of,
)
from fraudstream.stream.wire.tables import MoneyTable, Node, SchemaTables
from fraudstream.stream.wire.tokens import MAX_BYTES, parse


class Fault(NamedTuple):
    """Why a record is rejected, with what could still be read of it."""

    code: str
    field: str
    """The schema's path; empty for codes that have none."""
    transaction_id: str | None = None
    event_time: int | None = None


class _Judge:
    """Keeps the first fault in contract order: code, then the schema's field order."""

    __slots__ = ("field", "first")

    def __init__(self) -> None:
        self.first = (len(REJECTION_CODES), 0, 0)
        self.field = ""

    def add(self, code: str, field: FieldTable, place: Place) -> None:
        key = (RANK[code], field.index, 0 if place is field.place else 1)
        if key < self.first:
            self.first, self.field = key, place.path


class _Repeated(Exception):  # noqa: N818
    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class _NoObject(dict[str, object]):
    """Stands for a parent that is a value of another kind: no member of it can be read."""

    def get(self, _name: str, _default: object = None) -> object:
        return WRONG


_NO_OBJECT = _NoObject()
_NO_MEMBERS: dict[str, object] = {}


def _object(token: object, node: Node, number: int, repeated: set[tuple[int, str]]) -> dict[str, object]:
    """Return one object's members; the last of repeated ones, which are noted if the schema reads them."""
    if token is None or token is ABSENT:  # a path that ends early leads to nothing
        return _NO_MEMBERS
    if type(token) is not tuple:
        return _NO_OBJECT
    members: dict[str, object] = dict(token)
    if len(members) != len(token):
        times = Counter(name for name, _ in token)
        repeated.update((number, name) for name in node.members if times[name] > 1)
    return members


def _objects(token: object, tables: SchemaTables) -> list[dict[str, object]]:
    """Return the record's objects by node number, constants last.

    Raises:
        _Repeated: with the path of the first field that a repeated member touches.
    """
    repeated: set[tuple[int, str]] = set()
    objects: list[dict[str, object]] = []
    for number, node in enumerate(tables.nodes):
        inner = token if number == 0 else objects[node.parent].get(node.name, ABSENT)
        objects.append(_object(inner, node, number, repeated))
    if repeated:
        raise _Repeated(next(path for path, chain in tables.chains if not repeated.isdisjoint(chain)))
    objects.append(tables.constants)
    return objects


def _token(objects: list[dict[str, object]], field: FieldTable) -> object:
    """Return a field's token after its default: `ABSENT`, None for null, or a value's."""
    token = objects[field.place.node].get(field.place.member, ABSENT)
    if token is ABSENT:
        return field.when_absent
    return field.when_null if token is None else token


def _event_type(objects: list[dict[str, object]], tables: SchemaTables) -> str | None:
    """Return the declared event type of a record, None for any other."""
    field = tables.event_type
    if field is None:
        return None
    token = _token(objects, field)
    return token if type(token) is str and (token in field.codes or not field.codes) else None


def _is_needed(objects: list[dict[str, object]], tables: SchemaTables, field: FieldTable) -> bool:
    if field.required:
        return True
    return bool(field.required_for) and _event_type(objects, tables) in field.required_for


def _read_plain(objects: list[dict[str, object]], tables: SchemaTables, row: Row, judge: _Judge) -> None:
    texts, columns = row.texts, row.text_columns
    for field, node, member, fits, needed in tables.plain:
        token = objects[node].get(member, ABSENT)
        if type(token) is str and fits is not None and fits(token):
            texts.append(token.encode())
            columns.append(field.column)
            continue
        if token is ABSENT:
            token = field.when_absent
        elif token is None:
            token = field.when_null
        if token is ABSENT or token is None:
            if needed and _is_needed(objects, tables, field):
                judge.add("missing_field" if token is ABSENT else "null_field", field, field.place)
            continue
        try:
            field.read(field, token, row)
        except Unreadable as fault:
            judge.add(fault.code, field, field.place)


def _read_money(
    objects: list[dict[str, object]], tables: SchemaTables, money: MoneyTable, row: Row, judge: _Judge
) -> None:
    field = money.field
    token = _token(objects, field)
    if token is ABSENT or token is None:
        if _is_needed(objects, tables, field):
            judge.add("missing_field" if token is ABSENT else "null_field", field, field.place)
        return
    if money.twin is not None and row.state[money.twin.column]:
        row.words[field.column] = row.words[money.twin.column]
        row.state[field.column] = 1
        return
    currency = _token(objects, money.currency)
    if currency is ABSENT or currency is None:
        code = "missing_field" if currency is ABSENT else "null_field"
        judge.add(code, money.currency, money.currency.place)
        return
    try:
        put_money(field, token, currency, row)
    except Unreadable as fault:
        blamed = money.currency if fault.code == "unknown_currency" else field
        judge.add(fault.code, blamed, blamed.place)


def _read_geo(
    objects: list[dict[str, object]], tables: SchemaTables, field: FieldTable, row: Row, judge: _Judge
) -> None:
    assert field.place2 is not None
    parts: list[float | None] = []
    sent = False
    for place in (field.place, field.place2):
        token = objects[place.node].get(place.member, ABSENT)
        part = None
        if token is ABSENT or token is None:
            if _is_needed(objects, tables, field):
                judge.add("missing_field" if token is ABSENT else "null_field", field, place)
        else:
            sent = True
            try:
                part = number_of(token)
            except Unreadable as fault:
                judge.add(fault.code, field, place)
        parts.append(part)
    if sent:
        put_geo(field, parts[0], parts[1], row)


def _salvage(objects: list[dict[str, object]], tables: SchemaTables) -> tuple[str | None, int | None]:
    """Return the id and time of a rejected record, each if it passes its own checks."""
    transaction_id: str | None = None
    event_time: int | None = None
    try:
        if tables.event_id is not None:
            transaction_id = str(id_of(tables.event_id, _token(objects, tables.event_id)))
    except Unreadable:
        pass
    try:
        if tables.event_time is not None:
            event_time = time_of(_token(objects, tables.event_time))
    except Unreadable:
        pass
    return transaction_id, event_time


def read_record(raw: bytes | None, tables: SchemaTables) -> Row | Fault:
    """Read one record's value; never raises, whatever the bytes."""
    if raw is not None and len(raw) > MAX_BYTES:
        return Fault("too_large", "")
    if not raw:
        return Fault("empty", "")
    try:
        token = parse(raw)
    except Unreadable as fault:
        return Fault(fault.code, "")
    if type(token) is not tuple:
        return Fault("not_object", "")
    try:
        objects = _objects(token, tables)
    except _Repeated as repeated:
        return Fault("duplicate_member", repeated.path)
    row = Row(tables.schema.words)
    judge = _Judge()
    _read_plain(objects, tables, row, judge)
    for money in tables.money:
        _read_money(objects, tables, money, row, judge)
    for field in tables.geo:
        _read_geo(objects, tables, field, row, judge)
    rank = judge.first[0]
    if rank < len(REJECTION_CODES):
        return Fault(REJECTION_CODES[rank], judge.field, *_salvage(objects, tables))
    return row
