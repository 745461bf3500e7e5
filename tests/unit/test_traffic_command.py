"""`fraudstream generate` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fraudstream.bench.traffic.generate import generate
from fraudstream.stream.cli import main


def test_writes_transactions_and_labels(tmp_path: Path) -> None:
    """Both files hold one JSON object a line, and labels point at lines."""
    log, labels = tmp_path / "log.jsonl", tmp_path / "labels.jsonl"
    code = main(
        ["generate", "--count", "20000", "--seed", "3", "--output", str(log), "--labels", str(labels)]
    )
    assert code == 0
    lines = log.read_bytes().splitlines()
    assert lines == [value for chunk in generate(20000, 3) for value in chunk.values]
    for text in labels.read_text().splitlines():
        label = json.loads(text)
        event = json.loads(lines[int(label["src"].removeprefix("0:"))])
        assert event["transaction_id"] == label["transaction_id"]


def test_start_and_accounts_are_taken(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """The log begins at the given time, in any offset, on standard output."""
    arguments = ["--count", "5", "--seed", "1", "--start", "2026-03-01T08:00:00+08:00", "--accounts", "500"]
    assert main(["generate", *arguments]) == 0
    lines = capfdbinary.readouterr().out.splitlines()
    assert len(lines) == 5
    assert json.loads(lines[0])["event_time"].startswith("2026-03-01T00:")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--count", "5", "--seed", "1", "--start", "2026-03-01T08:00:00"], "no time with an offset"),
        (["--count", "-5", "--seed", "1"], "negative"),
        (["--count", "5", "--seed", "1", "--accounts", "3"], "at least 20"),
    ],
)
def test_bad_use_exits_2(arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What makes no sense is refused with a hint."""
    assert main(["generate", *arguments]) == 2
    assert expected in capsys.readouterr().err
