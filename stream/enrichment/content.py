"""Content of a reference table: immutable, typed, named by the SHA-256 of its bytes.

Layout, little endian::

    8 bytes   b"FSTABLE1"
    u32       length of the header
    header    JSON: kind (base, delta), parent (a delta's), as_of_ms, table, key, columns, rows,
              and the bytes of each block before and after compression
    blocks    zstd: keys (ends, bytes); for each column presence, then numbers or texts (ends, bytes);
              of a delta also the removed keys

A delta holds whole rows: those that are new or changed, and the keys of rows that are gone. Numbers lie in
the smallest integers that hold them; what a word means is in :mod:`fraudstream.rules.bundle`.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from fraudstream.rules.bundle import ReferenceTable, Type

MAGIC = b"FSTABLE1"
ROWS_MAX = 50_000_000
TEXT_BYTES_MAX = 1 << 31
"""Of all texts of one column."""
HEADER_BYTES_MAX = 1 << 20
NO_TIME = -(1 << 62)
"""As-of time of content that has none."""
_LENGTH = struct.Struct("<I")
_CODEC = pa.Codec("zstd", 3)
_NARROW = (np.int8, np.int16, np.int32, np.int64)

U8 = NDArray[np.uint8]
I64 = NDArray[np.int64]


class ContentError(ValueError):
    """Bytes that are no content of a reference table."""


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """n texts in one buffer."""

    data: U8
    ends: I64
    """[n] where each ends; the next begins there."""

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.ends)

    @property
    def starts(self) -> I64:
        """Return where each text begins, [n]."""
        return np.concatenate([np.zeros(1, np.int64), self.ends[:-1]]) if len(self.ends) else self.ends

    def text(self, row: int) -> bytes:
        """Return one text."""
        begin = int(self.ends[row - 1]) if row else 0
        return self.data[begin : int(self.ends[row])].tobytes()

    def all(self) -> list[bytes]:
        """Return all texts."""
        data, at = self.data.tobytes(), 0
        out = []
        for end in self.ends.tolist():
            out.append(data[at:end])
            at = end
        return out

    @staticmethod
    def of(items: Iterable[bytes]) -> Texts:
        """Join texts."""
        parts = list(items)
        sizes = np.fromiter(map(len, parts), np.int64, len(parts))
        return Texts(np.frombuffer(b"".join(parts), np.uint8), np.cumsum(sizes))

    def take(self, rows: I64) -> Texts:
        """Return the texts of some rows."""
        taken = self.arrow().take(pa.array(rows))
        _, offsets, data = taken.buffers()
        if not len(taken) or data is None:
            return Texts(np.zeros(0, np.uint8), np.zeros(len(rows), np.int64))
        ends = np.frombuffer(offsets, np.int64)[1 : len(taken) + 1]
        return Texts(np.frombuffer(data, np.uint8)[: ends[-1]], ends)

    def part(self, begin: int, end: int) -> Texts:
        """Return neighbouring texts; the bytes are shared."""
        first = int(self.ends[begin - 1]) if begin else 0
        ends = self.ends[begin:end]
        return Texts(self.data[first : int(ends[-1]) if len(ends) else first], ends - first)

    def arrow(self) -> Any:
        """Return the texts as a pyarrow large_binary array; the bytes are shared."""
        offsets = np.concatenate([np.zeros(1, np.int64), self.ends])
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(self.data))]
        return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(self), buffers)

    @staticmethod
    def concatenated(parts: Sequence[Texts]) -> Texts:
        """Return all texts of all parts."""
        shifts = np.cumsum([0, *(len(part.data) for part in parts[:-1])])
        return Texts(
            np.concatenate([part.data for part in parts]),
            np.concatenate([part.ends + shift for part, shift in zip(parts, shifts, strict=True)]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One column of n rows."""

    name: str
    type: Type
    values: tuple[str, ...]
    """Names of an enum's codes."""
    present: U8
    """[n] 1: there is a value."""
    words: NDArray[Any]
    """[n] or, of a geo point, [n, 2] integers; [0] of texts."""
    texts: Texts | None = None
    """Of ids and categories."""

    @property
    def shape(self) -> tuple[str, str, tuple[str, ...]]:
        """Return what has to be equal for two columns to hold the same kind of values."""
        return (self.name, self.type.value, self.values)

    def part(self, begin: int, end: int) -> Column:
        """Return neighbouring rows; the values are shared."""
        texts = None if self.texts is None else self.texts.part(begin, end)
        words = self.words if self.texts is not None else self.words[begin:end]
        return Column(self.name, self.type, self.values, self.present[begin:end], words, texts)

    def take(self, rows: I64) -> Column:
        """Return some rows."""
        texts = None if self.texts is None else self.texts.take(rows)
        words = self.words if self.texts is not None else self.words[rows]
        return Column(self.name, self.type, self.values, self.present[rows], words, texts)


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """A table's rows, or with a ``parent`` what is different from it."""

    table: str
    key_type: Type
    shape_hash: str
    """``ReferenceTable.hash`` of the declaration that it was read with."""
    as_of_ms: int
    keys: Texts
    columns: tuple[Column, ...]
    parent: str = ""
    removed: Texts = field(default_factory=lambda: Texts.of(()))

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.keys)

    @property
    def size(self) -> int:
        """Return the bytes that it takes in memory."""
        texts = [self.keys, self.removed, *(c.texts for c in self.columns if c.texts is not None)]
        arrays = [array for text in texts for array in (text.data, text.ends)]
        arrays += [array for c in self.columns for array in (c.present, c.words)]
        return sum(array.nbytes for array in arrays)

    def fits(self, table: ReferenceTable) -> bool:
        """Return whether it was read with this declaration."""
        return self.shape_hash == table.hash


def narrow(words: NDArray[Any]) -> NDArray[Any]:
    """Return integers in the smallest type that holds them all."""
    low, high = (int(words.min()), int(words.max())) if words.size else (0, 0)
    for kind in _NARROW:
        info = np.iinfo(kind)
        if info.min <= low and high <= info.max:
            return np.ascontiguousarray(words, kind)
    raise AssertionError("int64 holds every word")


def write_content(content: Content) -> bytes:
    """Return the bytes of content; equal content gives equal bytes."""
    blocks: list[bytes] = []
    sizes: list[tuple[int, int]] = []

    def put(array: NDArray[Any]) -> None:
        data = np.ascontiguousarray(array).tobytes()
        packed = _CODEC.compress(data, asbytes=True) if data else b""
        sizes.append((len(data), len(packed)))
        blocks.append(packed)

    def put_texts(texts: Texts) -> None:
        put(np.diff(texts.ends, prepend=np.int64(0)).astype("<u4"))
        put(texts.data)

    put_texts(content.keys)
    columns = []
    for column in content.columns:
        put(column.present)
        kind = "text"
        if column.texts is None:
            kind = column.words.dtype.newbyteorder("<").str
            put(column.words.astype(kind))
        else:
            put_texts(column.texts)
        columns.append(
            {"name": column.name, "type": column.type.value, "values": list(column.values), "kind": kind}
        )
    put_texts(content.removed)
    header = orjson.dumps(
        {
            "kind": "delta" if content.parent else "base",
            "parent": content.parent,
            "as_of_ms": content.as_of_ms,
            "table": content.table,
            "key": content.key_type.value,
            "shape": content.shape_hash,
            "rows": len(content.keys),
            "removed": len(content.removed),
            "columns": columns,
            "blocks": sizes,
        }
    )
    return b"".join([MAGIC, _LENGTH.pack(len(header)), header, *blocks])


def version_of(data: bytes) -> str:
    """Return the name of content in journals."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def read_content(data: bytes) -> Content:
    """Read the bytes of content.

    Raises:
        ContentError: cut, altered, or of another format.
    """
    try:
        return _read(data)
    except ContentError:
        raise
    except (
        KeyError,
        TypeError,
        ValueError,
        IndexError,
        OverflowError,
        pa.ArrowException,
        OSError,
    ) as problem:
        raise ContentError(f"not content of a reference table: {problem!r}") from None


def _read(data: bytes) -> Content:
    begin = len(MAGIC) + _LENGTH.size
    if not data.startswith(MAGIC) or len(data) < begin:
        raise ContentError(f"content of a reference table is not of format {MAGIC.decode()}")
    (length,) = _LENGTH.unpack_from(data, len(MAGIC))
    if length > HEADER_BYTES_MAX:
        raise ContentError(f"header of {length:,} bytes")
    header = orjson.loads(data[begin : begin + length])
    rows, removed = int(header["rows"]), int(header["removed"])
    if not 0 <= rows <= ROWS_MAX or not 0 <= removed <= ROWS_MAX:
        raise ContentError(f"{rows:,} rows, at most {ROWS_MAX:,} are read")
    view, at = memoryview(data), begin + length
    sizes = iter(header["blocks"])

    def take(kind: str, count: int | None, width: int = 1) -> NDArray[Any]:
        nonlocal at
        full, packed = next(sizes)
        expected = None if count is None else count * width * np.dtype(kind).itemsize
        if (expected is not None and full != expected) or full > 8 * TEXT_BYTES_MAX:
            raise ContentError(f"a block of {full} bytes where {expected} were expected")
        part = view[at : at + packed]
        at += packed
        raw = pa.decompress(part, decompressed_size=full, codec="zstd", asbytes=True) if full else b""
        return np.frombuffer(raw, kind)

    def take_texts(count: int) -> Texts:
        ends = np.cumsum(take("<u4", count), dtype=np.int64)
        texts = take("u1", None)
        if len(texts) != (int(ends[-1]) if len(ends) else 0):
            raise ContentError("texts and their lengths do not fit")
        return Texts(texts, ends)

    keys = take_texts(rows)
    columns = []
    for item in header["columns"]:
        kind = Type(item["type"])
        present = take("u1", rows)
        texts: Texts | None = None
        words: NDArray[Any] = np.zeros(0, np.int8)
        if kind.is_text:
            texts = take_texts(rows)
        else:
            words = take(item["kind"], rows, kind.width)
            words = words.reshape(rows, 2) if kind.width == 2 else words
        columns.append(Column(item["name"], kind, tuple(item["values"]), present, words, texts))
    gone = take_texts(removed)
    return Content(
        header["table"],
        Type(header["key"]),
        header["shape"],
        int(header["as_of_ms"]),
        keys,
        tuple(columns),
        header["parent"],
        gone,
    )
