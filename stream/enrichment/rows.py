"""Rows of JSON objects: records of a compacted topic, lines of a .jsonl file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fraudstream.rules.bundle import ReferenceColumn, ReferenceTable, Type
from fraudstream.stream.enrichment.content import Column, Content, Texts, narrow
from fraudstream.stream.enrichment.values import (
    BadValue,
    Reader,
    Word,
    geo_words,
    key_of,
    reader_of,
    text_of,
    time_of,
    told,
)

VALUE_BYTES_MAX = 65_536
_Geo = tuple[int, int] | None


class Row(NamedTuple):
    """One row, read."""

    key: bytes
    values: tuple[Word | _Geo, ...]
    """In the order of the table's columns."""


class RowReader:
    """Reads objects of one table."""

    def __init__(self, table: ReferenceTable, decimals: int) -> None:
        self._table = table
        self._readers: list[tuple[ReferenceColumn, Reader | None]] = [
            (column, None if column.type is Type.GEO else reader_of(column, decimals))
            for column in table.columns
        ]

    def key(self, text: str | None) -> bytes:
        """Return a row's key.

        Raises:
            ValueError: missing, or no key.
        """
        if not text:
            raise ValueError(f"no key `{self._table.key_origin}`")
        try:
            return key_of(text, self._table.key_type)
        except BadValue as problem:
            raise ValueError(f"the key was {told(problem, personal=True)}") from None

    def values(self, members: Mapping[str, object]) -> tuple[Word | _Geo, ...]:
        """Return a row's values from the members of its object.

        Raises:
            ValueError: a value of the wrong type; says which column.
        """
        out: list[Word | _Geo] = []
        for column, reader in self._readers:
            try:
                texts = [text_of(members.get(name)) for name in column.origin]
                if reader is None:
                    out.append(geo_words(texts[0], texts[1]))
                else:
                    out.append(None if texts[0] is None else reader(texts[0]))
            except ValueError as problem:
                shown = told(problem, personal=column.personal is not None)
                raise ValueError(f"column `{column.name}` was {shown}") from None
        return tuple(out)


def parse_object(value: bytes) -> dict[str, object]:
    """Return the members of a JSON object; numbers stay text, digit for digit.

    Raises:
        ValueError: no object, or beyond the size limit.
    """
    if len(value) > VALUE_BYTES_MAX:
        raise ValueError(f"{len(value):,} bytes, at most {VALUE_BYTES_MAX:,} are read")
    try:
        found = json.loads(value, parse_int=str, parse_float=str, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("too deep") from None
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except json.JSONDecodeError as problem:
        raise ValueError(f"not JSON ({problem.msg})") from None
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - reported like every other fault
    return found


def _refuse(word: str) -> None:
    raise ValueError(f"`{word}` is no JSON")


def content_of_rows(
    table: ReferenceTable,
    rows: Sequence[Row],
    as_of_ms: int,
    *,
    parent: str = "",
    removed: Iterable[bytes] = (),
) -> Content:
    """Put rows together; their keys are distinct."""
    columns = tuple(
        _column(column, [row.values[at] for row in rows]) for at, column in enumerate(table.columns)
    )
    return Content(
        table.name,
        table.key_type,
        table.hash,
        as_of_ms,
        Texts.of(row.key for row in rows),
        columns,
        parent,
        Texts.of(removed),
    )


def _column(column: ReferenceColumn, values: list[Any]) -> Column:
    present = np.fromiter((value is not None for value in values), np.uint8, len(values))
    if column.type.is_text:
        texts = Texts.of(value or b"" for value in values)
        return Column(column.name, column.type, column.values, present, np.zeros(0, np.int8), texts)
    if column.type is Type.GEO:
        pairs = np.array([value or (0, 0) for value in values], np.int64).reshape(len(values), 2)
        return Column(column.name, column.type, column.values, present, pairs)
    words = np.fromiter((value or 0 for value in values), np.int64, len(values))
    return Column(column.name, column.type, column.values, present, narrow(words))


def time_of_row(table: ReferenceTable, members: Mapping[str, object], usual_ms: int) -> int:
    """Return the time that a row gives its table: of the column ``as_of``, else the usual one.

    Raises:
        ValueError: the column holds no time.
    """
    if not table.as_of or not (text := text_of(members.get(table.as_of))):
        return usual_ms
    return time_of(text)
