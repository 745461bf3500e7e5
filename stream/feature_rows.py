"""The feature vector of each record as rows of a file: Parquet or JSON lines.

One row per record of the input: ``src``, ``transaction_id`` and every feature as rules see it, money in minor
units, durations and times in milliseconds, enums and countries by name, missing null. Hashes of ids are never
written: a feature that is an id or a category says only whether there is one (true or null). A record
that could not be read has a row without features.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from fraudstream.rules.bundle import Bundle, Slot, Type
from fraudstream.stream.errors import BadUse, Refusal
from fraudstream.stream.pipeline import Result
from fraudstream.stream.wire.types import Batch

SUFFIXES = (".parquet", ".jsonl")

Columns = dict[str, list[Any]]


class FeatureRows:
    """Writes rows; the kind of file is its suffix."""

    def __init__(self, path: Path) -> None:
        if path.suffix not in SUFFIXES:
            raise BadUse(f"`--features {path}` was not a {' or '.join(SUFFIXES)} file")
        self._path = path
        self._file: BinaryIO | None = None
        self._parquet: pq.ParquetWriter | None = None
        self._slots: tuple[Slot, ...] | None = None

    def __enter__(self) -> Self:
        """Create the file."""
        self._file = self._path.open("wb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the file."""
        if self._parquet is not None:
            self._parquet.close()
        if self._file is not None:
            self._file.close()

    def write(self, bundle: Bundle, results: Sequence[Result], order: Sequence[tuple[int, int]]) -> None:
        """Append rows.

        Args:
            bundle: the bundle that the results were made with.
            results: of one batch of input.
            order: (place in ``results``, slice row) in the order of the input.
        """
        slots = feature_slots(bundle)
        if self._slots not in (None, slots):
            raise Refusal("`--features`: the journal changes the features; replay the parts with a file each")
        self._slots = slots
        parts = [_columns(result, slots) for result in results]
        rows: Columns = {name: [parts[at][name][row] for at, row in order] for name in _names(slots)}
        assert self._file is not None
        if self._path.suffix == ".jsonl":
            names = list(rows)
            for values in zip(*rows.values(), strict=True):
                self._file.write(
                    orjson.dumps(dict(zip(names, values, strict=True)), option=orjson.OPT_APPEND_NEWLINE)
                )
            return
        table = pa.table(rows, schema=_arrow_schema(slots))
        if self._parquet is None:
            self._parquet = pq.ParquetWriter(self._file, table.schema, compression="zstd")
        self._parquet.write_table(table)


def feature_slots(bundle: Bundle) -> tuple[Slot, ...]:
    """Return every output of every feature, in the order of the matrix."""
    return tuple(slot for feature in bundle.features.features for slot in feature.outputs)


def slot_column(slot: Slot, value: np.ndarray[Any, Any], state: np.ndarray[Any, Any]) -> list[Any]:
    """Return a feature of n rows as Python values, missing None.

    Args:
        slot: the feature.
        value: int64 [n, F].
        state: uint8 [n, F].
    """
    words = np.ascontiguousarray(value[:, slot.column])
    items: list[Any]
    if slot.type is Type.GEO:
        second = np.ascontiguousarray(value[:, slot.column + 1])
        items = [
            list(pair) for pair in zip(words.view("f8").tolist(), second.view("f8").tolist(), strict=True)
        ]
    elif slot.type.is_text:
        items = [True] * len(words)
    elif slot.type is Type.NUMBER or slot.repr == "f":
        items = words.view("f8").tolist()
    elif slot.type is Type.BOOL:
        items = (words != 0).tolist()
    elif slot.type is Type.ENUM:
        items = [slot.values[code] for code in words.tolist()]
    elif slot.type is Type.COUNTRY:
        items = [chr(code >> 8) + chr(code & 0xFF) for code in words.tolist()]
    elif slot.type is Type.DATE:
        items = words.astype("M8[D]").astype(str).tolist()
    else:
        items = words.tolist()
    there = state[:, slot.column].tolist()
    return [item if known else None for item, known in zip(items, there, strict=True)]


def _columns(result: Result, slots: tuple[Slot, ...]) -> Columns:
    """Return the columns of a slice's rows, unreadable records included."""
    source, batch, matrix = result.slice, result.batch, result.matrix
    ids = _ids(batch)
    columns: Columns = {
        "src": [f"{source.partition}:{offset}" for offset in source.offset.tolist()],
        "transaction_id": [None] * len(source),
    }
    places = batch.row.tolist()
    for row, text in zip(places, ids, strict=True):
        columns["transaction_id"][row] = text
    for item in batch.rejected:
        columns["transaction_id"][item.row] = item.transaction_id
    for slot in slots:
        column: list[Any] = [None] * len(source)
        for row, value in zip(places, slot_column(slot, matrix.value, matrix.state), strict=True):
            column[row] = value
        columns[slot.name] = column
    return columns


def _ids(batch: Batch) -> list[str | None]:
    column = batch.schema.field(batch.schema.event_id).column
    return [batch.text(column, row) for row in range(len(batch))]


def _names(slots: tuple[Slot, ...]) -> list[str]:
    return ["src", "transaction_id", *(slot.name for slot in slots)]


def _arrow_schema(slots: tuple[Slot, ...]) -> Any:
    fields = [pa.field("src", pa.string()), pa.field("transaction_id", pa.string())]
    return pa.schema(fields + [pa.field(slot.name, _arrow_type(slot)) for slot in slots])


def _arrow_type(slot: Slot) -> Any:
    if slot.type is Type.GEO:
        return pa.list_(pa.float64())
    if slot.type.is_text or slot.type is Type.BOOL:
        return pa.bool_()
    if slot.type in (Type.ENUM, Type.COUNTRY, Type.DATE):
        return pa.string()
    return pa.float64() if slot.type is Type.NUMBER or slot.repr == "f" else pa.int64()
