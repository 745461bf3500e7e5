"""A table bound to a partition: rows by the keyed hash of their key, only the columns that are joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fraudstream.rules.bundle import ReferenceTable, Slot, Type
from fraudstream.rules.siphash import hash_spans, key_words
from fraudstream.stream.enrichment import kernel_join as kernel
from fraudstream.stream.enrichment import layout as at
from fraudstream.stream.enrichment.content import Column, Content, Texts

PIECE_ROWS = 65_536
"""Rows that are turned into records at once: NumPy keeps the interpreter meanwhile."""

I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class TableVersion:
    """Content with its name, and what it is a delta of."""

    version: str
    content: Content
    parent: TableVersion | None = None

    @property
    def chain(self) -> tuple[TableVersion, ...]:
        """Return the base, then every delta up to this one."""
        out = [self]
        while (before := out[-1].parent) is not None:
            out.append(before)
        return tuple(reversed(out))


@dataclass(frozen=True, slots=True)
class Placed:
    """A joined column: where its words stand in a record."""

    slot: Slot
    """Its column is the row in ``Batch.value``."""
    name: str
    values: tuple[str, ...]
    offset: int

    @property
    def stored(self) -> tuple[str, Type, tuple[str, ...], int]:
        """Return what has to be equal for two layouts of records to be one."""
        return (self.name, self.slot.type, self.values, self.offset)


def record_layout(table: ReferenceTable, slots: Mapping[str, Slot]) -> tuple[tuple[Placed, ...], int]:
    """Return the joined columns of a table and the words of a record.

    Args:
        table: its declaration.
        slots: what is read, by name, with rows in ``Batch.value``.
    """
    offset = at.R_WORDS
    placed = []
    for column in table.columns:
        if (slot := slots.get(column.slot.name)) is not None:
            placed.append(Placed(slot, column.name, column.values, offset))
            offset += 3 if column.type.is_text else column.type.width
    return tuple(placed), offset


class BoundTable:
    """Rows of one table under one partition's hash key.

    Memory: 8 bytes for each word of a record, 16 to 32 bytes a row for the index, and joined texts once.
    """

    def __init__(self, table: ReferenceTable, placed: Sequence[Placed], stride: int, hash_key: bytes) -> None:
        self.stored = tuple(item.stored for item in placed)
        self.key_type = table.key_type
        self.hash_key = hash_key
        self.stride = stride
        self.version = ""
        self.as_of_ms = 0
        self.rows = 0
        """Rows that are there; those that were removed are not."""
        self.index = np.zeros(at.EMPTY_SLOTS, np.int64)
        self.records = np.zeros(stride, np.int64)
        self.texts = np.zeros(0, np.uint8)
        self._placed = tuple(placed)
        self._used = 0
        self._text_end = 0

    @property
    def nbytes(self) -> int:
        """Return the bytes allocated."""
        return self.index.nbytes + self.records.nbytes + self.texts.nbytes

    def build(self, version: TableVersion) -> None:
        """Fill an empty table with the rows of a version."""
        chain = version.chain
        total = sum(len(item.content) for item in chain)
        capacity = total + total // 8 + at.CAPACITY_SPARE
        slots = at.EMPTY_SLOTS
        while slots < 2 * capacity:
            slots *= 2
        self.index = np.zeros(slots, np.int64)
        self.records = np.zeros(capacity * self.stride, np.int64)
        text_bytes = sum(self._text_bytes(item.content) for item in chain)
        self.texts = np.zeros(text_bytes + text_bytes // 8 + 64 * at.CAPACITY_SPARE, np.uint8)
        for item in chain:
            self._put(item)

    def fits(self, deltas: Sequence[TableVersion]) -> bool:
        """Return whether deltas can be entered without building anew."""
        rows = sum(len(item.content) for item in deltas)
        text_bytes = sum(self._text_bytes(item.content) for item in deltas)
        free = len(self.records) // self.stride - self._used
        return rows <= free and text_bytes <= len(self.texts) - self._text_end

    def advance(self, deltas: Sequence[TableVersion]) -> None:
        """Enter deltas, which :meth:`fits` has allowed."""
        for item in deltas:
            self._put(item)

    def _put(self, item: TableVersion) -> None:
        content = item.content
        for begin in range(0, len(content), PIECE_ROWS):
            rows = self._records_of(content, begin, min(begin + PIECE_ROWS, len(content)))
            self._used, there = kernel.put_rows(
                self.index, self.records, self.stride, self._used, rows, len(rows)
            )
            self.rows += len(rows) - there
        if len(content.removed):
            low, high = self._key_words(content.removed)
            self.rows -= kernel.remove_rows(self.index, self.records, self.stride, low, high)
        self.version, self.as_of_ms = item.version, content.as_of_ms

    def _records_of(self, content: Content, begin: int, end: int) -> I64:
        rows = np.zeros((end - begin, self.stride), np.int64)
        rows[:, at.R_LOW], rows[:, at.R_HIGH] = self._key_words(content.keys.part(begin, end))
        columns = {column.name: column for column in content.columns}
        for bit, item in enumerate(self._placed):
            column = columns.get(item.name)
            if column is None or column.type is not item.slot.type:
                continue
            column = column.part(begin, end)
            present = column.present
            if column.texts is not None:
                self._put_texts(rows, item.offset, column.texts, present)
            elif column.type is Type.GEO:
                rows[:, item.offset : item.offset + 2] = column.words
            elif column.type is Type.ENUM and column.values != item.values:
                codes, present = _recoded(column, item.values)
                rows[:, item.offset] = codes
            else:
                rows[:, item.offset] = column.words
            rows[:, at.R_MASK] |= present.astype(np.int64) << bit
        return rows

    def _put_texts(self, rows: I64, offset: int, texts: Texts, present: U8) -> None:
        end = self._text_end + len(texts.data)
        self.texts[self._text_end : end] = texts.data
        starts = texts.starts
        sizes = texts.ends - starts
        rows[:, offset], rows[:, offset + 1] = self._hashes(texts, present)
        rows[:, offset + 2] = (starts + self._text_end) << at.TEXT_SHIFT | sizes
        self._text_end = end

    def _key_words(self, keys: Texts) -> tuple[I64, I64]:
        if self.key_type is Type.COUNTRY:
            letters = keys.data.astype(np.int64).reshape(-1, 2)
            return letters[:, 0] << 8 | letters[:, 1], np.zeros(len(letters), np.int64)
        return self._hashes(keys, np.ones(len(keys), np.uint8))

    def _hashes(self, texts: Texts, present: U8) -> tuple[I64, I64]:
        low, high = np.zeros(len(texts), np.int64), np.zeros(len(texts), np.int64)
        data = np.require(texts.data if len(texts.data) else np.zeros(1, np.uint8), np.uint8, ("C", "W"))
        starts = texts.starts
        k0, k1 = key_words(self.hash_key)
        hash_spans(
            data, starts, texts.ends - starts, np.require(present, np.uint8, ("C", "W")), k0, k1, low, high
        )
        return low, high

    def _text_bytes(self, content: Content) -> int:
        names = {item.name for item in self._placed if item.slot.type.is_text}
        return sum(len(c.texts.data) for c in content.columns if c.texts is not None and c.name in names)


def _recoded(column: Column, values: tuple[str, ...]) -> tuple[I64, U8]:
    """Return codes of an enum in the order of another declaration; what it does not know is missing."""
    codes = np.array([values.index(text) if text in values else -1 for text in column.values], np.int64)
    found = codes[column.words] if len(codes) else np.zeros(len(column.words), np.int64)
    return np.maximum(found, 0), ((found >= 0) & (column.present == 1)).astype(np.uint8)
