"""`fraudstream reference check`, and how `replay` and `rules test` read the files of tables."""

from __future__ import annotations

import os
from pathlib import Path

import orjson
import pytest
from support.reference_rules import write_profiles, write_reference_rules

from fraudstream.stream.cli import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A rules directory with one table from a file and one from a topic."""
    directory = write_reference_rules(tmp_path / "rules", "bank.watch")
    write_profiles(directory, {"a1": ("high", "10"), "a2": ("low", "")}, 1_767_225_600)
    return directory


def test_check_prints_rows_time_and_hash(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line a table; the topic is named."""
    assert main(["reference", "check", str(folder), "--model", "none"]) == 0
    out = capsys.readouterr().out
    profile = next(line for line in out.splitlines() if line.startswith("profile")).split()
    assert profile[1] == "2"
    assert "2026-01-01T00:00:00Z" in profile
    assert any(cell.startswith("sha256:") for cell in profile)
    assert "topic bank.watch" in out
    assert out.splitlines()[-1] == "2 tables, 0 refused"


def test_check_tells_what_is_wrong_and_ends_with_1(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A refused file, files that do not compile, nothing to check."""
    write_profiles(folder, {"a1": ("top", "10")})
    assert main(["reference", "check", str(folder), "--model", "none"]) == 1
    assert "row 1: column `band` was not shown (personal), expected one of" in capsys.readouterr().err
    (folder / "reference.yaml").write_text("nonsense: [")
    assert main(["reference", "check", str(folder), "--model", "none"]) == 1
    (folder / "reference.yaml").unlink()
    for file in ("rulesets/reference.yaml", "features.yaml", "rulesets/account.yaml"):
        (folder / file).unlink()
    assert main(["reference", "check", str(folder), "--model", "none"]) == 3


def replayed(folder: Path, home: Path) -> list[dict[str, object]]:
    """Decide two payments by the directory alone."""
    values = [
        {
            "transaction_id": f"t{number}", "event_time": "2026-01-05T00:00:00Z", "account_id": account,
            "amount": "11.00", "currency": "CNY",
        }
        for number, account in enumerate(["a1", "a2"])
    ]  # fmt: skip
    (home / "in.jsonl").write_bytes(b"\n".join(map(orjson.dumps, values)) + b"\n")
    command = ["replay", "--input", str(home / "in.jsonl"), "--rules", str(folder), "--model", "none"]
    assert main([*command, "--output", str(home / "out.jsonl")]) == 0
    return [orjson.loads(line) for line in (home / "out.jsonl").read_bytes().splitlines()]


def test_replay_without_a_journal_reads_the_files(folder: Path, tmp_path: Path) -> None:
    """What the directory's files say is joined; a refused file ends the command."""
    assert [line["decision"] for line in replayed(folder, tmp_path)] == ["block", "pass"]
    write_profiles(folder, {"a2": ("high", "1")}, 1_767_225_600)
    assert [line["decision"] for line in replayed(folder, tmp_path)] == ["pass", "block"]
    (folder / "data" / "profile.csv").unlink()
    command = ["replay", "--input", os.devnull, "--rules", str(folder), "--model", "none"]
    assert main(command) == 1


def test_tests_with_events_join_the_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`rules test` sees the table's rows in tests with events."""
    rules = folder / "rulesets" / "reference.yaml"
    test = (
        '      - {name: joined, event: {event_type: payment, account_id: a1, amount: "11.00"}, '
        "expect: {match: true}}\n"
    )
    text = rules.read_text()
    begin = text.index("  - id: ref.watch")
    rules.write_text(text[:begin] + test + text[begin:])
    command = ["rules", "test", str(folder), "--model", "none"]
    assert main(command) == 0, capsys.readouterr().out
    write_profiles(folder, {"a1": ("low", "10")})
    assert main(command) == 1
    assert "test `joined`" in capsys.readouterr().out
