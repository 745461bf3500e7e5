"""Labels of a log: what became known about its transactions."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fraudstream.stream.backtest.reader import FeatureLog
from fraudstream.stream.errors import CannotCheck

I64 = NDArray[np.int64]

FRAUD, CLEARED = "fraud", "legitimate"
UNLABELLED = "unlabelled"


@dataclass(frozen=True, slots=True)
class Label:
    """One line."""

    transaction_id: str
    src: tuple[int, int] | None
    label: str
    labelled_at: str


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels by row of a feature log."""

    row: I64
    """[k] ascending."""
    kind: NDArray[np.uint8]
    """[k] place in ``names``."""
    names: tuple[str, ...]
    """Label classes, never merged; 0 is unlabelled, 1 fraud, 2 legitimate."""
    unmatched: int
    """Labels of transactions that are not in the log."""

    def of(self, rows: I64) -> NDArray[np.uint8]:
        """Return the class of each row, 0 where there is no label."""
        if not len(self.row):
            return np.zeros(len(rows), np.uint8)
        place = np.minimum(np.searchsorted(self.row, rows), len(self.row) - 1)
        return np.where(self.row[place] == rows, self.kind[place], 0).astype(np.uint8)


def read_labels(path: Path) -> list[Label]:
    """Read labels, one JSON object a line, or envelopes of them.

    Raises:
        CannotCheck: a line is no label.
    """
    found: list[Label] = []
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                found.append(_label(orjson.loads(line)))
            except (ValueError, KeyError, TypeError, AttributeError) as problem:
                wanted = '{"transaction_id","src","label","labelled_at"}'
                raise CannotCheck(f"{path}:{number}: not a label {wanted} ({problem})") from None
    return found


def place_labels(log: FeatureLog, labels: Iterable[Label], id_name: str) -> Labels:
    """Find the rows of labels: by ``src``, else by transaction id; of several the latest counts.

    ``id_name``: the field with the transaction id.
    """
    items = list(labels)
    names = [UNLABELLED, FRAUD, CLEARED]
    names += sorted({item.label for item in items} - set(names))
    rows = np.full(len(items), -1, np.int64)
    there = [at for at, item in enumerate(items) if item.src is not None]
    if there:
        sources = np.array([items[at].src for at in there], np.int64)
        rows[there] = log.runs.rows_of(sources[:, 0], sources[:, 1])
    rest = [at for at, item in enumerate(items) if item.src is None]
    if rest:
        known = _rows_by_id(log, {items[at].transaction_id for at in rest}, id_name)
        rows[rest] = [known.get(items[at].transaction_id, -1) for at in rest]
    newest: dict[int, tuple[str, int]] = {}
    for row, item in zip(rows.tolist(), items, strict=True):
        if row >= 0 and (row not in newest or newest[row][0] <= item.labelled_at):
            newest[row] = (item.labelled_at, names.index(item.label))
    order = sorted(newest)
    return Labels(
        np.array(order, np.int64),
        np.array([newest[row][1] for row in order], np.uint8),
        tuple(names),
        int((rows < 0).sum()),
    )


def _label(item: Any) -> Label:
    if "v" in item and "label" not in item:
        item = orjson.loads(base64.b64decode(item["v"]))
    src = item.get("src")
    place = None if src is None else tuple(int(part) for part in src.split(":"))
    if place is not None and len(place) != 2:
        raise ValueError(f"`src` was {src!r}, expected partition:offset")
    if not isinstance(item["label"], str):
        raise TypeError("`label` is not text")
    source = None if place is None else (place[0], place[1])
    return Label(str(item["transaction_id"]), source, item["label"], str(item.get("labelled_at", "")))


def _rows_by_id(log: FeatureLog, ids: set[str], name: str) -> dict[str, int]:
    """Return the first row of each transaction id."""
    wanted = pa.array(sorted(ids), pa.string())
    found: dict[str, int] = {}
    for group, table in log.tables([name], log.groups):
        column = table.column(name).cast(pa.string())
        places = np.flatnonzero(pc.is_in(column, wanted).to_numpy(zero_copy_only=False))
        for place, text in zip(places.tolist(), column.take(places).to_pylist(), strict=True):
            found.setdefault(text, group.first + place)
    return found
