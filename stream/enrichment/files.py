"""Files of reference tables: Parquet, CSV and JSON lines to content, or every reason why not.

A file is read whole. Values are checked like those of transactions; one that is wrong, a row without key or a
key that comes twice refuses the file, and what was loaded before stays.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fraudstream.rules.bundle import ReferenceColumn, ReferenceTable, Type
from fraudstream.rules.compiler.suggest import suggest
from fraudstream.stream.enrichment.content import NO_TIME, ROWS_MAX, Column, Content, Texts, narrow
from fraudstream.stream.enrichment.rows import Row, RowReader, content_of_rows, parse_object, time_of_row
from fraudstream.stream.enrichment.values import (
    CATEGORY_BYTES_MAX,
    BadValue,
    geo_words,
    key_of,
    reader_of,
    text_of,
    told,
    typed_words,
    words_at_once,
)

FILE_BYTES_MAX = 4 << 30
PARQUET_BYTES_MAX = 8 << 30
"""Of a Parquet file's columns, decompressed: a small file may unpack to any size."""
LINES_MAX = 2_000_000
"""Rows of a .jsonl file: each is a Python object while it is read."""
PROBLEMS_MAX = 20
"""Problems of one file that are told."""
_ID_PATTERN = r"^[!#-\[\]-~]{1,128}$"
_HALF = 2


class FileRefused(ValueError):  # noqa: N818 - named for what became of the file
    """A file that cannot be used; the message holds up to 20 reasons, one a line."""


class _Problems:
    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: list[str] = []
        self.count = 0

    def add(self, text: str) -> None:
        self.count += 1
        if self.count <= PROBLEMS_MAX:
            self.lines.append(f"{self.name}: {text}")

    def check(self) -> None:
        if self.count:
            more = self.count - len(self.lines)
            raise FileRefused("\n".join([*self.lines, *([f"and {more:,} more"] if more else [])]))


def read_file(table: ReferenceTable, directory: Path, decimals: int) -> Content:
    """Read a table's file.

    Args:
        table: its declaration.
        directory: where relative paths begin.
        decimals: of the base currency.

    Raises:
        FileRefused: it is not there, changes while it is read, or is not as declared.
    """
    path = directory / table.file
    name = f"{table.name}: {table.file}"
    problems = _Problems(name)
    try:
        before = path.stat()
        _check_size(name, before.st_size)
        kind = path.suffix.lower()
        if kind == ".jsonl":
            content = _read_lines(table, path, decimals, problems)
        else:
            read = _read_parquet if kind == ".parquet" else _read_csv
            arrow = read(table, path, problems)
            problems.check()
            content = _convert(table, arrow, decimals, problems)
        problems.check()
        after = path.stat()
    except OSError as problem:
        raise FileRefused(f"{name}: cannot be read: {problem.strerror or problem}") from None
    except FileRefused:
        raise
    except UnicodeError:
        raise FileRefused(f"{name}: not UTF-8") from None
    except MemoryError:
        raise FileRefused(f"{name}: there is not enough memory to read it") from None
    except pa.ArrowException as problem:
        raise FileRefused(f"{name}: {_without_row(problem)}") from None
    except Exception as problem:
        raise FileRefused(f"{name}: cannot be read: {type(problem).__name__}") from problem
    if any(getattr(before, name) != getattr(after, name) for name in ("st_mtime_ns", "st_size", "st_ino")):
        raise FileRefused(f"{name}: it was written while it was read; write another file and rename it")
    return content if table.as_of else replace(content, as_of_ms=before.st_mtime_ns // 1_000_000)


def _check_size(name: str, size: int) -> None:
    if size > FILE_BYTES_MAX:
        raise FileRefused(f"{name}: {size:,} bytes, at most {FILE_BYTES_MAX:,} are read")


def _wanted(table: ReferenceTable, there: list[str], problems: _Problems) -> list[str]:
    names = [table.key_origin, *(name for column in table.columns for name in column.origin)]
    names += [table.as_of] if table.as_of else []
    names = list(dict.fromkeys(names))
    for name in names:
        if there.count(name) != 1:
            what = "is there twice" if there.count(name) else "is not there"
            hint = suggest(name, there) or f"it has {len(there)} others"
            problems.add(f"the column `{name}` {what}; {hint}")
    problems.check()
    return names


def _read_parquet(table: ReferenceTable, path: Path, problems: _Problems) -> Any:
    with pq.ParquetFile(path) as file:
        meta = file.metadata
        if meta.num_rows > ROWS_MAX:
            raise FileRefused(f"{problems.name}: {meta.num_rows:,} rows, at most {ROWS_MAX:,} are read")
        names = _wanted(table, file.schema_arrow.names, problems)
        total = sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups))
        if total > PARQUET_BYTES_MAX:
            raise FileRefused(f"{problems.name}: {total:,} bytes, at most {PARQUET_BYTES_MAX:,} are read")
        return file.read(columns=names)


def _read_csv(table: ReferenceTable, path: Path, problems: _Problems) -> Any:
    with path.open("rb") as file:
        head = file.readline(1 << 20)
    there = pv.read_csv(pa.BufferReader(head.rstrip(b"\r\n") + b"\n")).column_names
    names = _wanted(table, there, problems)
    options = pv.ConvertOptions(
        include_columns=names,
        column_types=dict.fromkeys(names, pa.large_string()),
        null_values=[""],
        strings_can_be_null=True,
    )
    return pv.read_csv(path, convert_options=options)


def _read_lines(table: ReferenceTable, path: Path, decimals: int, problems: _Problems) -> Content:
    reader = RowReader(table, decimals)
    rows: list[Row] = []
    seen: dict[bytes, int] = {}
    newest = NO_TIME
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            if len(rows) >= LINES_MAX:
                raise FileRefused(
                    f"{problems.name}: more than {LINES_MAX:,} rows; write a .parquet or .csv file"
                )
            try:
                members = parse_object(line)
                key = reader.key(text_of(members.get(table.key_origin)))
                if key in seen:
                    problems.add(f"line {number}: the key of line {seen[key]} comes again")
                seen[key] = number
                rows.append(Row(key, reader.values(members)))
                newest = max(newest, time_of_row(table, members, NO_TIME))
            except ValueError as problem:
                problems.add(f"line {number}: {problem}")
    problems.check()
    return content_of_rows(table, rows, newest)


def _time_column(table: ReferenceTable) -> ReferenceColumn:
    return ReferenceColumn(table.as_of, Type.TIME, table.found, (table.as_of,))


def _convert(table: ReferenceTable, arrow: Any, decimals: int, problems: _Problems) -> Content:
    keys = _keys(table, _texts(arrow[table.key_origin], Type.ID, table.key_origin, problems), problems)
    columns = []
    for column in table.columns:
        if column.type is Type.GEO:
            parts = [_texts(arrow[name], Type.NUMBER, name, problems) for name in column.origin]
            columns.append(_geo(column, parts[0], parts[1], problems))
            continue
        array = _flat(arrow[column.origin[0]])
        words = typed_words(column, array, decimals)
        if words is None:
            columns.append(
                _column(column, _texts(array, column.type, column.origin[0], problems), decimals, problems)
            )
        else:
            present = np.asarray(pc.is_valid(array).to_numpy(zero_copy_only=False), np.uint8)
            columns.append(Column(column.name, column.type, column.values, present, narrow(words)))
    newest = NO_TIME
    if table.as_of:
        times = _texts(arrow[table.as_of], Type.TIME, table.as_of, problems)
        words, there = _one_by_one(_time_column(table), times, decimals, problems)
        newest = int(words[there == 1].max(initial=NO_TIME))
    problems.check()
    return Content(table.name, table.key_type, table.hash, newest, keys, tuple(columns))


def _texts(array: Any, kind: Type, name: str, problems: _Problems) -> Any:
    """Return a column as texts, missing ones null."""
    array = _flat(array)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    was = array.type
    if pa.types.is_string(was) or pa.types.is_large_string(was) or pa.types.is_null(was):
        texts = pc.cast(array, pa.large_string())
        texts.validate(full=True)  # a Parquet file may say that any bytes are text
        return pc.if_else(pc.equal(pc.binary_length(texts), 0), None, texts) if len(texts) else texts
    if pa.types.is_timestamp(was) and kind is Type.TIME:
        return pc.cast(pc.cast(pc.cast(array, pa.timestamp("ms"), safe=False), pa.int64()), pa.large_string())
    fits = {
        Type.BOOL: (pa.types.is_boolean,),
        Type.DATE: (pa.types.is_date,),
        Type.NUMBER: (pa.types.is_integer, pa.types.is_decimal, pa.types.is_floating),
        Type.MONEY: (pa.types.is_integer, pa.types.is_decimal),
    }.get(kind, (pa.types.is_integer,))
    if not any(test(was) for test in fits):
        hint = "; money never passes through a float, write a decimal" if kind is Type.MONEY else ""
        problems.add(f"the column `{name}` is `{was}`, expected what reads as `{kind}`{hint}")
        return pa.nulls(len(array), pa.large_string())
    if pa.types.is_floating(was):
        array = pc.if_else(pc.is_finite(array), array, None)
    return pc.cast(pc.cast(array, pa.date32()) if pa.types.is_date64(was) else array, pa.large_string())


def _flat(array: Any) -> Any:
    """Return a column in one piece."""
    if not isinstance(array, pa.ChunkedArray):
        return array
    if array.num_chunks == 1:
        return array.chunk(0)
    return pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)


def _keys(table: ReferenceTable, texts: Any, problems: _Problems) -> Texts:
    for row in _first(pc.is_null(texts)):
        problems.add(f"row {row + 1}: no key `{table.key_origin}`")
    if table.key_type is not Type.ID or not _matches(texts, _ID_PATTERN):
        distinct = pc.unique(pc.drop_null(texts))
        for text in distinct.to_pylist():
            try:
                key_of(text, table.key_type)
            except ValueError as problem:
                problems.add(f"the key was {told(problem, personal=True)}")
    if pc.count_distinct(texts).as_py() < len(texts) - texts.null_count:
        counts = pc.value_counts(pc.drop_null(texts))
        twice = pc.filter(counts.field("values"), pc.greater(counts.field("counts"), 1))
        for text in twice.slice(0, PROBLEMS_MAX).to_pylist():
            problems.add(f"the key of row {pc.index(texts, text).as_py() + 1} comes again")
        problems.count += max(0, len(twice) - PROBLEMS_MAX)
    return _arrow_texts(texts)


def _arrow_texts(texts: Any) -> Texts:
    texts = pc.fill_null(texts, "")
    _, offsets, data = texts.buffers()
    at = (
        np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
        if offsets
        else np.zeros(1, np.int64)
    )
    raw = np.frombuffer(data, np.uint8) if data else np.zeros(0, np.uint8)
    return Texts(raw[at[0] : at[-1]].copy(), at[1:] - at[0])


def _column(column: ReferenceColumn, texts: Any, decimals: int, problems: _Problems) -> Column:
    present = np.asarray(pc.is_valid(texts).to_numpy(zero_copy_only=False), np.uint8)
    if column.type.is_text:
        _check_texts(column, texts, problems)
        empty = np.zeros(0, np.int8)
        return Column(column.name, column.type, column.values, present, empty, _arrow_texts(texts))
    words = words_at_once(column, texts, decimals)
    if words is None:
        words, there = _one_by_one(column, texts, decimals, problems)
        present &= there
    return Column(column.name, column.type, column.values, present, narrow(np.where(present == 1, words, 0)))


def _check_texts(column: ReferenceColumn, texts: Any, problems: _Problems) -> None:
    if column.type is Type.ID:
        bad = pc.invert(pc.match_substring_regex(texts, _ID_PATTERN))
        expected = 'an id of 1 to 128 characters without spaces, `"` and `\\`'
    else:
        bad = pc.greater(pc.binary_length(texts), CATEGORY_BYTES_MAX)
        expected = f"at most {CATEGORY_BYTES_MAX} bytes"
    for row in _first(bad):
        problem = BadValue(texts[row].as_py(), expected)
        shown = told(problem, personal=column.personal is not None)
        problems.add(f"row {row + 1}: column `{column.name}` was {shown}")


def _one_by_one(
    column: ReferenceColumn, texts: Any, decimals: int, problems: _Problems
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Read each distinct text once; returns words and which of them are values, [n]."""
    encoded = pc.dictionary_encode(texts)
    reader = reader_of(column, decimals)
    words: list[int] = []
    there: list[int] = []
    for code, text in enumerate(encoded.dictionary.to_pylist()):
        try:
            word = reader(text)
        except ValueError as problem:
            row = pc.index(encoded.indices, pa.scalar(code, encoded.indices.type)).as_py()
            shown = told(problem, personal=column.personal is not None)
            problems.add(f"row {row + 1}: column `{column.name}` was {shown}")
            word = None
        words.append(word if isinstance(word, int) else 0)
        there.append(word is not None)
    codes = np.asarray(pc.fill_null(encoded.indices, len(words)).to_numpy(zero_copy_only=False))
    return np.array([*words, 0], np.int64)[codes], np.array([*there, 0], np.uint8)[codes]


def _geo(column: ReferenceColumn, latitude: Any, longitude: Any, problems: _Problems) -> Column:
    pairs = np.zeros((len(latitude), _HALF), np.int64)
    present = np.zeros(len(latitude), np.uint8)
    for row, (lat, lon) in enumerate(zip(latitude.to_pylist(), longitude.to_pylist(), strict=True)):
        try:
            words = geo_words(lat, lon)
        except ValueError as problem:
            shown = told(problem, personal=column.personal is not None)
            problems.add(f"row {row + 1}: column `{column.name}` was {shown}")
            continue
        if words is not None:
            pairs[row], present[row] = words, 1
    return Column(column.name, column.type, column.values, present, pairs)


def _without_row(problem: BaseException) -> str:
    """Return the first line of Arrow's message without the row that it quotes."""
    return re.sub(
        r"(Expected \d+ columns, got \d+).*|(invalid value).*", r"\1\2", str(problem).splitlines()[0]
    )[:300]


def _matches(texts: Any, pattern: str) -> bool:
    return pc.all(pc.match_substring_regex(texts, pattern), skip_nulls=True).as_py() is not False


def _first(flags: Any) -> list[int]:
    """Return the first rows that are true."""
    rows = np.flatnonzero(pc.fill_null(flags, False).to_numpy(zero_copy_only=False))
    return list(map(int, rows[: PROBLEMS_MAX + 1]))
