"""The feature log: records of the features topic as Parquet, one folder a day (UTC, by the input's times).

``<directory>/day=2026-11-24/p<partition>-<first offset on the input>.parquet``, zstd. Columns: ``src``,
``transaction_id``, ``event_type``, ``at`` and ``event_time`` (UTC timestamps in ms), ``rules_version``, of a
label event ``label``, ``label_of`` (its transaction's ``src``) and ``label_source``, then every value that a
row of the file has, by name. Records that come again after a restart of a worker are left out.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from fraudstream.stream.envelope import Record
from fraudstream.stream.errors import BadUse

ROWS_MAX = 100_000
"""Rows of a file; they are in memory until it is written."""

_SRC = re.compile(r"(0|[1-9]\d{0,5}):(0|[1-9]\d{0,17})")
_TIME = pa.timestamp("ms", "UTC")
_FIXED = {
    "src": pa.string(),
    "transaction_id": pa.string(),
    "event_type": pa.string(),
    "at": _TIME,
    "event_time": _TIME,
    "rules_version": pa.string(),
    "label": pa.string(),
    "label_of": pa.string(),
    "label_source": pa.string(),
}


def write_feature_log(records: Iterable[Record], directory: Path) -> tuple[int, int]:
    """Write records of the features topic; returns how many rows, and how many records came again.

    Raises:
        BadUse: the directory is not empty, or a record is none of the features topic.
    """
    if directory.exists() and any(directory.iterdir()):
        raise BadUse(f"`{directory}` is not empty; each feature log has a directory of its own")
    newest: dict[int, int] = {}
    waiting: defaultdict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    written = again = 0
    for record in records:
        row, partition, offset = _row(record)
        if offset <= newest.get(partition, -1):
            again += 1
            continue
        newest[partition] = offset
        key = datetime.fromtimestamp(row["at"] / 1000, UTC).strftime("%Y-%m-%d"), partition
        waiting[key].append(row)
        if len(waiting[key]) >= ROWS_MAX:
            written += _write(directory, *key, waiting.pop(key))
    for (day, partition), rows in waiting.items():
        written += _write(directory, day, partition, rows)
    return written, again


def _row(record: Record) -> tuple[dict[str, Any], int, int]:
    try:
        item = orjson.loads(record.value or b"")
        found = _SRC.fullmatch(item["src"])
        label: Mapping[str, Any] = item.get("label", {})
        row = {name: item[name] for name in ("src", "transaction_id", "event_type", "at", "event_time")}
        row["rules_version"] = item["rules_version"]
        row |= {
            "label": label.get("label"),
            "label_of": label.get("original_src"),
            "label_source": label.get("source"),
        }
        assert found is not None
        return {**item["values"], **row}, int(found[1]), int(found[2])
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError):
        raise BadUse(
            f"record {record.partition}:{record.offset} is none of the features topic; expected "
            "`fraudstream export --topic features`"
        ) from None


def _write(directory: Path, day: str, partition: int, rows: list[dict[str, Any]]) -> int:
    names = sorted({name for row in rows for name in row} - set(_FIXED))
    columns = {name: pa.array([row[name] for row in rows], kind) for name, kind in _FIXED.items()}
    columns |= {name: pa.array([row.get(name) for row in rows]) for name in names}
    folder = directory / f"day={day}"
    folder.mkdir(parents=True, exist_ok=True)
    offset = int(rows[0]["src"].partition(":")[2])
    pq.write_table(pa.table(columns), folder / f"p{partition}-{offset}.parquet", compression="zstd")
    return len(rows)
