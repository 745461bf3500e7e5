"""The feature log as DuckDB reads it: each transaction once, on its day, with its values."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest

from fraudstream.stream import cli

DAY_MS = 86_400_000
START_MS = 1_795_305_600_000  # 2026-11-22T00:00:00Z


def line(position: int, offset: int, at_ms: int, partition: int = 0, **more: Any) -> str:
    """Return a record of the features topic as an envelope."""
    value = {
        "src": f"{partition}:{offset}",
        "transaction_id": f"T{offset}",
        "event_type": "payment",
        "event_time": at_ms - 5,
        "at": at_ms,
        "rules_version": "sha256:5f",
        "values": {"txn.amount": 1_250 + offset, "txn.channel": "web"},
        **more,
    }
    return envelope(position, orjson.dumps(value), partition)


def envelope(position: int, value: bytes, partition: int = 0) -> str:
    """Return any record as an envelope."""
    return json.dumps(
        {"p": partition, "o": position, "ts": 1, "k": None, "v": base64.b64encode(value).decode()}
    )


def test_duckdb_reads_each_transaction_once_on_its_day(tmp_path: Path) -> None:
    """Two days, two partitions, a range that came again, a label, and a value that only some rows have."""
    label = {"original_src": "0:0", "original_id": "T0", "label": "fraud", "source": "analyst"}
    lines = [
        line(0, 0, START_MS + 5),
        line(1, 1, START_MS + 10),
        line(2, 0, START_MS + 5),
        line(3, 1, START_MS + 10),
        line(4, 3, START_MS + DAY_MS, values={"txn.amount": 7, "account.mean": 2.5, "flag": True}),
        line(5, 4, START_MS + DAY_MS + 1, event_type="label", label=label, values={}),
        line(0, 0, START_MS + DAY_MS - 1, partition=1),
    ]
    source = tmp_path / "features.jsonl"
    source.write_text("\n".join(lines) + "\n")
    log = tmp_path / "log"
    assert cli.main(["features", "log", "--input", str(source), "--output", str(log)]) == 0
    read = f"read_parquet('{log}/*/*.parquet', union_by_name = true)"
    names = 'day::varchar, src, epoch_ms("at"), "txn.amount", "account.mean", flag, label, label_of'
    rows = duckdb.sql(f"select {names} from {read} order by src").fetchall()
    assert rows == [
        ("2026-11-22", "0:0", START_MS + 5, 1_250, None, None, None, None),
        ("2026-11-22", "0:1", START_MS + 10, 1_251, None, None, None, None),
        ("2026-11-23", "0:3", START_MS + DAY_MS, 7, 2.5, True, None, None),
        ("2026-11-23", "0:4", START_MS + DAY_MS + 1, None, None, None, "fraud", "0:0"),
        ("2026-11-22", "1:0", START_MS + DAY_MS - 1, 1_250, None, None, None, None),
    ]
    codec = duckdb.sql(f"select distinct compression from parquet_metadata('{log}/*/*.parquet')").fetchall()
    assert codec == [("ZSTD",)]


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b'{"src":"0:1"}', b'{"src":7}', b'{"src":"0:-1"}'])
def test_another_topic_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], value: bytes) -> None:
    """The message names the record and the command that exports the right one."""
    source = tmp_path / "features.jsonl"
    source.write_text(envelope(0, value))
    assert cli.main(["features", "log", "--input", str(source), "--output", str(tmp_path / "log")]) == 2
    assert "record 0:0 is none of the features topic" in capsys.readouterr().err


def test_a_directory_with_something_in_it_is_refused(tmp_path: Path) -> None:
    """Two logs in one directory would say things twice."""
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "kept").write_text("x")
    source = tmp_path / "features.jsonl"
    source.write_text(line(0, 0, START_MS))
    assert cli.main(["features", "log", "--input", str(source), "--output", str(tmp_path / "log")]) == 2
