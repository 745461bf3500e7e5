"""Reads a feature log: the columns that something needs, as kernels take them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fraudstream.rules.bundle import Slot, Source
from fraudstream.rules.compiler import opcodes
from fraudstream.rules.compiler.program import BoundProgram, Inputs, Program
from fraudstream.rules.siphash import hash_spans, key_words
from fraudstream.stream.backtest import layout as at
from fraudstream.stream.backtest.layout import Column, Manifest, Runs
from fraudstream.stream.errors import CannotCheck
from fraudstream.stream.wire.types import PAD_BYTES

I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]

_EMPTY = np.zeros(PAD_BYTES, np.uint8)


class Group(NamedTuple):
    """One row group of a file."""

    file: str
    number: int
    first: int
    """Its first row."""
    rows: int


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts of n rows: places in a buffer."""

    start: NDArray[np.int32]
    size: NDArray[np.int32]
    buffer: U8
    low: I64
    high: I64


class FeatureLog:
    """A feature log, open for reading; one thread at a time."""

    def __init__(self, directory: Path) -> None:
        """Open a feature log.

        Raises:
            CannotCheck: it is none, or it is damaged.
        """
        self.directory = directory
        self.manifest = Manifest.read(directory)
        self.runs = Runs.load(directory)
        self.hash_key = bytes.fromhex(self.manifest.hash_key)
        self._keys = key_words(self.hash_key)
        self._texts = [column.name for column in self.manifest.fields.values() if column.text]
        self._files: dict[str, Any] = {}
        self.groups = tuple(self._listed())
        self.rows = self.manifest.rows

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def column_of(self, slot: Slot) -> Column:
        """Return where a slot's values are.

        Raises:
            CannotCheck: the feature log does not have it.
        """
        known = self.manifest.fields.get(slot.name)
        if slot.source is Source.FEATURE:
            known = self.manifest.features.get(slot.column)
        if known is None:
            raise CannotCheck(
                f"the feature log {self.directory} has no `{slot.name}`; backtest the log again"
            )
        return known

    def tables(self, names: Sequence[str], groups: Sequence[Group]) -> Iterator[tuple[Group, Any]]:
        """Yield columns of row groups as Arrow tables; the next is read while one is used."""
        if not groups:
            return
        with ThreadPoolExecutor(1) as pool:
            ahead = pool.submit(self._read, groups[0], names)
            for at_, group in enumerate(groups):
                table = ahead.result()
                if at_ + 1 < len(groups):
                    ahead = pool.submit(self._read, groups[at_ + 1], names)
                yield group, table

    def numbers(self, name: str, rows: I64, missing: int = -1) -> I64:
        """Return a column of whole numbers at some rows (ascending)."""
        out = np.empty(len(rows), np.int64)
        for group, begin, end in self._touched(rows):
            table = self._read(group, [name])
            values, state = words_of(table.column(name), group.rows)
            picked = rows[begin:end] - group.first
            out[begin:end] = np.where(state[picked] != 0, values[picked], missing)
        return out

    def texts(self, name: str, rows: I64) -> list[str | None]:
        """Return a column of text at some rows (ascending)."""
        out: list[str | None] = []
        for group, begin, end in self._touched(rows):
            column = self._read(group, [name]).column(name)
            out += column.take(rows[begin:end] - group.first).to_pylist()
        return out

    def _touched(self, rows: I64) -> Iterator[tuple[Group, int, int]]:
        starts = np.array([group.first for group in self.groups] + [self.rows])
        borders = np.searchsorted(rows, starts)
        for number, group in enumerate(self.groups):
            begin, end = int(borders[number]), int(borders[number + 1])
            if begin < end:
                yield group, begin, end

    def _listed(self) -> Iterator[Group]:
        first = 0
        for name, rows in self.manifest.parts:
            path = self.directory / name
            if not path.is_file():
                raise CannotCheck(f"{path} is missing; delete {self.directory} and backtest again")
            file = self._files[name] = pq.ParquetFile(path, read_dictionary=self._texts)
            if file.metadata.num_rows != rows:
                raise CannotCheck(f"{path} has {file.metadata.num_rows:,} rows, expected {rows:,}; delete it")
            for number in range(file.metadata.num_row_groups):
                count = file.metadata.row_group(number).num_rows
                yield Group(name, number, first, count)
                first += count

    def _read(self, group: Group, names: Iterable[str]) -> Any:
        return self._files[group.file].read_row_group(group.number, columns=list(names), use_threads=True)

    def hashed(self, column: Any, n: int) -> tuple[Texts, U8]:
        """Return the texts of a dictionary column with their keyed hashes, and their states."""
        array = _single(column)
        state = _state(array, n)
        codes = _content(array.indices, np.int32, n)
        words = array.dictionary
        count = len(words)
        if not count:
            zero = np.zeros(n, np.int32)
            return Texts(zero, zero, _EMPTY, np.zeros(n, np.int64), np.zeros(n, np.int64)), state
        _, offsets, data = words.buffers()
        ends = np.frombuffer(offsets, np.int32)[words.offset : words.offset + count + 1]
        buffer = np.frombuffer(data, np.uint8) if data is not None and data.size else _EMPTY
        low, high = np.empty(count, np.int64), np.empty(count, np.int64)
        start, size = ends[:-1], np.diff(ends)
        hash_spans(buffer, start, size, np.ones(count, np.uint8), *self._keys, low, high)
        safe = np.where(state != 0, codes, 0)
        return Texts(start[safe], size[safe], buffer, low[safe], high[safe]), state


def words_of(column: Any, n: int) -> tuple[I64, U8]:
    """Return a column's words as int64 [n] (binary64 by its bits) and their states."""
    array = _single(column)
    kind = np.dtype(array.type.to_pandas_dtype())
    values = _content(array, kind, n)
    words = values.view(np.int64) if kind.itemsize == 8 else values.astype(np.int64)
    return words, _state(array, n)


def _single(column: Any) -> Any:
    return column.chunk(0) if column.num_chunks == 1 else column.unify_dictionaries().combine_chunks()


def _content(array: Any, kind: Any, n: int) -> NDArray[Any]:
    data = array.buffers()[1]
    if data is None or not n:
        return np.zeros(n, kind)
    return np.frombuffer(data, kind)[array.offset : array.offset + n]


def _state(array: Any, n: int) -> U8:
    bits = array.buffers()[0]
    if bits is None or not array.null_count:
        return np.ones(n, np.uint8)
    found = np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little")
    return found[array.offset : array.offset + n]


class ColumnRunner:
    """Runs a program over the stored columns that it reads, and no others."""

    def __init__(self, log: FeatureLog, program: Program) -> None:
        self._log = log
        self.program = program
        columns = [(slot, log.column_of(slot)) for slot in program.slots if slot.source is not Source.MODEL]
        self._columns = columns
        self._scored = any(slot.source is Source.MODEL for slot in program.slots)
        self.names = list(dict.fromkeys(name for _, column in columns for name in column.files))
        self.names += [at.KIND, *([at.SCORE] if self._scored else [])]
        self._first = max((slot.column + 2 for slot, _ in columns if slot.source is Source.FIELD), default=0)
        words = max((slot.column + 2 for slot, _ in columns if slot.source is Source.FEATURE), default=0)
        most = max((group.rows for group in log.groups), default=0)
        shape = (self._first + words, most)
        # Only rows that are read are ever touched, so only they take memory.
        self._value, self._state = np.empty(shape, np.int64), np.empty(shape, np.uint8)
        self._start, self._size = (np.empty((self._first, most), np.int32) for _ in range(2))
        self._bound = _by_column(program, log.hash_key, self._first)

    def inputs(self, table: Any, n: int) -> Inputs:
        """Return the columns of a row group as a program reads them.

        Columns of features stand behind the fields, each in a row of its own.
        """
        buffers: list[U8] = []
        used = 0
        for slot, column in self._columns:
            row = slot.column + (self._first if slot.source is Source.FEATURE else 0)
            if column.text:
                texts, state = self._log.hashed(table.column(column.name), n)
                self._value[row, :n], self._value[row + 1, :n] = texts.low, texts.high
                self._start[row, :n], self._size[row, :n] = texts.start + used, texts.size
                self._state[row, :n] = self._state[row + 1, :n] = state
                buffers.append(texts.buffer)
                used += len(texts.buffer)
                continue
            for word, name in enumerate(column.files):
                self._value[row + word, :n], self._state[row + word, :n] = words_of(table.column(name), n)
        score, there = np.zeros((1, n), np.int64), np.zeros((1, n), np.uint8)
        if self._scored:
            micro, there[0] = words_of(table.column(at.SCORE), n)
            score[0] = np.where(there[0] != 0, micro / 1_000_000, 0.0).view(np.int64)
        nothing = np.zeros((n, 0), np.int64), np.zeros((n, 0), np.uint8)
        buffer = np.concatenate([*buffers, _EMPTY])
        return Inputs(self._value, self._state, self._start, self._size, buffer, *nothing, score, there)

    def evaluate(self, table: Any, n: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Return (true, unknown) of a row group's rows, each [outputs, ceil(n / 64)]."""
        return self._bound.evaluate(self.inputs(table, n), n)


def _by_column(program: Program, hash_key: bytes, first: int) -> BoundProgram:
    """Bind a program so that it reads features like fields, their columns from row ``first`` on."""
    bound = program.bind(hash_key)
    pool = bound.pool
    fields, features = (
        pool[pool[table] : pool[table] + opcodes.GATHER_WIDTH * pool[table + 1]].reshape(-1, 2)
        for table in (opcodes.FIELDS, opcodes.FEATURES)
    )
    moved = features + np.array([first, 0])
    merged = np.concatenate([pool, fields.ravel(), moved.ravel()])
    merged[opcodes.FIELDS], merged[opcodes.FIELDS + 1] = len(pool), len(fields) + len(features)
    merged[opcodes.FEATURES + 1] = 0
    return BoundProgram(program, merged)
