"""A schema's tables laid flat for the fast lane's kernels (`layout`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fraudstream.rules.bundle import Field, Type
from fraudstream.rules.iso4217 import DECIMALS
from fraudstream.stream.wire import layout as at
from fraudstream.stream.wire.kernel_record import slot_of_name
from fraudstream.stream.wire.money import MAX_MINOR
from fraudstream.stream.wire.readers import ABSENT, MAX_LATITUDE, MAX_LONGITUDE, FieldTable
from fraudstream.stream.wire.times import MAX_TIME_MS, MAX_YEAR, MIN_TIME_MS, MIN_YEAR
from fraudstream.stream.wire.tokens import MAX_BYTES, MAX_DEPTH, FloatText, IntText
from fraudstream.stream.wire.types import I64, PAD_BYTES, U8

if TYPE_CHECKING:
    from fraudstream.stream.wire.tables import Node

_TYPES: Mapping[Type, int] = {
    Type.NUMBER: at.TYPE_NUMBER,
    Type.INTEGER: at.TYPE_INTEGER,
    Type.DURATION: at.TYPE_INTEGER,
    Type.MONEY: at.TYPE_MONEY,
    Type.TIME: at.TYPE_TIME,
    Type.DATE: at.TYPE_DATE,
    Type.BOOL: at.TYPE_BOOL,
    Type.ENUM: at.TYPE_ENUM,
    Type.CATEGORY: at.TYPE_CATEGORY,
    Type.COUNTRY: at.TYPE_COUNTRY,
    Type.ID: at.TYPE_ID,
    Type.GEO: at.TYPE_GEO,
}
_LIMITS: Mapping[int, int] = {
    at.H_MAX_BYTES: MAX_BYTES,
    at.H_MAX_DEPTH: MAX_DEPTH,
    at.H_MAX_MINOR: MAX_MINOR,
    at.H_MIN_TIME: MIN_TIME_MS,
    at.H_MAX_TIME: MAX_TIME_MS,
    at.H_MIN_YEAR: MIN_YEAR,
    at.H_MAX_YEAR: MAX_YEAR,
    at.H_MAX_DIGITS: 15,
    at.H_MAX_POWER: 22,
    at.H_MAX_LATITUDE: int(MAX_LATITUDE),
    at.H_MAX_LONGITUDE: int(MAX_LONGITUDE),
}


@dataclass(frozen=True, slots=True)
class FlatTables:
    """What the kernels take of a schema."""

    plan: I64
    names: U8
    scratch_words: int
    reads: int
    """Largest number of texts that are read from one member."""
    own_bytes: int
    """Largest number of text bytes that constants and defaults give to a row."""
    counted: tuple[tuple[int, str, str], ...]
    """(column, field, cause) of values that may be missing by rule."""


class _Bytes:
    """The plan's bytes while they are laid down."""

    def __init__(self) -> None:
        self.held = bytearray()

    def put(self, more: bytes) -> int:
        """Add bytes; return where they begin."""
        start = len(self.held)
        self.held += more
        return start

    def array(self) -> U8:
        return np.frombuffer(bytes(self.held) + bytes(PAD_BYTES), np.uint8)


def _encoded(text: str) -> bytes:
    return text.encode(errors="surrogatepass")  # such a name is no record's, but a schema may hold it


def _name_table(names: Sequence[tuple[int, bytes, int]], held: _Bytes) -> tuple[int, list[int]]:
    """Return the mask and the words of a table of (space, name, target), at most a quarter full."""
    entries = 1 << (4 * len(names)).bit_length()
    table = [0] * (entries * at.N_WORDS)
    for space, name, target in names:
        padded = np.frombuffer(name + bytes(PAD_BYTES), np.uint8)
        slot = int(slot_of_name(padded, len(name), space, entries - 1))
        while table[slot * at.N_WORDS + at.N_SPACE]:
            slot = (slot + 1) & (entries - 1)
        begin = slot * at.N_WORDS
        table[begin : begin + at.N_WORDS] = space + 1, held.put(name), len(name), target
    return entries - 1, table


def _currencies() -> bytes:
    decimals = bytearray(26**3)
    for code, places in DECIMALS.items():
        first, second, third = (ord(letter) - ord("A") for letter in code)
        decimals[(first * 26 + second) * 26 + third] = places + 1
    return bytes(decimals)


def _kind(token: object) -> int:
    """Return the kind of a default's or constant's token."""
    if token is ABSENT:
        return at.ABSENT
    if isinstance(token, bool):
        return at.TRUE if token else at.FALSE
    if type(token) is IntText:
        return at.INTEGER
    return at.NUMBER if type(token) is FloatText else at.STRING


def _flags(field: Field, table: FieldTable) -> int:
    return (
        at.REQUIRED * table.required
        | at.FROM_INTEGER * table.from_integer
        | at.SIGNED * table.signed
        | at.NULL_DEFAULT * (table.when_null is not None and field.const is None)
    )


def _needed(table: FieldTable, event: FieldTable | None, held: _Bytes) -> int:
    if event is None or not table.required_for:
        return at.NEVER
    if not event.codes:
        return at.UNCLEAR
    return held.put(bytes(text in table.required_for for text in event.codes))


def flatten(
    fields: Sequence[Field],
    tables: Mapping[str, FieldTable],
    nodes: Sequence[Node],
    constants: Mapping[str, object],
    event_type: str,
) -> FlatTables:
    """Lay a schema's tables flat; ``tables`` and ``constants`` are by field name."""
    held = _Bytes()
    places = [place for t in tables.values() for place in (t.place, t.place2) if place is not None]
    read = dict.fromkeys((place.node, place.member) for place in places if place.node < len(nodes))
    token_of = {key: number for number, key in enumerate(read)}
    names = [(node, _encoded(member), number) for (node, member), number in token_of.items()]
    names += [(node.parent, _encoded(node.name), len(read) + at_) for at_, node in enumerate(nodes) if at_]
    spaces = {field.name: len(nodes) + number for number, field in enumerate(fields)}
    names += [
        (spaces[name], _encoded(text), code) for name, t in tables.items() for text, code in t.codes.items()
    ]
    mask, name_table = _name_table(names, held)
    record = {field.name: at.H_SIZE + number * at.F_WORDS for number, field in enumerate(fields)}
    plan = [0] * (at.H_SIZE + len(fields) * at.F_WORDS)
    own_bytes = 0
    texts: Counter[int] = Counter()
    for field in fields:
        table = tables[field.name]
        token = table.when_absent if field.const is None else constants[field.name]
        own = _encoded(token) if isinstance(token, str) else b""
        number = token_of.get((table.place.node, table.place.member), -1)
        if field.type.is_text:
            own_bytes += len(own)
            texts[number] += number >= 0
        second = -1 if table.place2 is None else token_of[table.place2.node, table.place2.member]
        begin = record[field.name]
        plan[begin : begin + at.F_WORDS] = (
            _TYPES[field.type],
            field.column,
            number,
            second,
            _flags(field, table),
            _needed(table, tables.get(event_type), held),
            _kind(token),
            held.put(own),
            len(own),
            table.max_chars,
            spaces[field.name],
            record.get(field.currency or "", -1),
        )
    words = sum(field.type.width for field in fields)
    tokens = len(read) + len(nodes)
    columns = [field.column for field in fields if field.type.is_text]
    parts = [at.S_TOKENS + tokens * at.T_WORDS]
    for _ in range(5):
        parts.append(parts[-1] + words)
    plan[: at.H_MAX_BYTES] = (
        len(fields),
        words,
        len(read),
        tokens,
        mask,
        len(plan),
        len(plan) + len(name_table),
        len(columns),
        held.put(_currencies()),
        record.get(event_type, -1),
        *parts,
    )
    for place_of, limit in _LIMITS.items():
        plan[place_of] = limit
    counted = tuple(
        (field.column, field.name, "bad_geo" if field.type is Type.GEO else "undeclared")
        for field in fields
        if field.type in (Type.ENUM, Type.COUNTRY, Type.GEO)
    )
    return FlatTables(
        plan=np.array(plan + name_table + columns, np.int64),
        names=held.array(),
        scratch_words=parts[-1] + at.STACK,
        reads=max(texts.values(), default=1) or 1,
        own_bytes=own_bytes,
        counted=counted,
    )
