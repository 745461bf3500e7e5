"""`fraudstream replay`: formats, journals with switches and rebuilds, feature rows, refusals."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest
from support.logs import KEY, known_from, rough_log, run_log, small_model
from support.worker_rules import write_rules

from fraudstream.rules.compiler.compile import compile_sources, make_archive, read_directory
from fraudstream.stream.cli import main
from fraudstream.stream.control_store import split_content, version_of
from fraudstream.stream.core import CORE
from fraudstream.stream.envelope import Record, write_envelope
from fraudstream.stream.journal import start_record, take_record, version_record
from fraudstream.stream.pipeline import Pipeline

COUNT = 1_500


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder with rules `a`, `b` (other limit), `c` (another feature), the log raw and as envelopes."""
    folder = tmp_path_factory.mktemp("replay")
    write_rules(folder / "a", 3)
    write_rules(folder / "b", 5)
    write_rules(folder / "c", 5, "account.count_6h: {agg: count, key: account.id, window: 6h}")
    log = rough_log().part(0, COUNT)
    values = [log.value(row) for row in range(COUNT)]
    plain = [value if value is not None and b"\n" not in value else b"" for value in values]
    (folder / "log.raw").write_bytes(b"".join(value + b"\n" for value in plain))
    records = [
        Record(0, int(log.offset[row]), int(log.time_ms[row]), log.key(row), values[row])
        for row in range(COUNT)
    ]
    (folder / "log.envelopes").write_bytes(b"".join(map(write_envelope, records)))
    (folder / "model.json").write_bytes(small_model().data)
    return folder


def bundle_of(folder: Path):
    """Compile a rules directory."""
    bundle = compile_sources(read_directory(folder)).bundle
    assert bundle is not None
    return bundle


def replay(*args: object) -> int:
    """Call the command."""
    return main(["replay", *map(str, args)])


@pytest.mark.parametrize("kind", ["raw", "envelopes"])
def test_any_batch_size_gives_the_same_bytes(site, tmp_path, kind):
    """One decision a line, in order, at batch 1, 7 and 1,000."""
    form = "raw" if kind == "raw" else "envelope"
    found = []
    for size in (1, 7, 1000):
        output = tmp_path / f"{size}.jsonl"
        args = ["--input", site / f"log.{kind}", "--format", form, "--rules", site / "a"]
        args += ["--model", site / "model.json"]
        assert replay(*args, "--batch", size, "--output", output) == 0
        found.append(output.read_bytes())
    assert found[0] == found[1] == found[2]
    lines = found[0].splitlines()
    assert [orjson.loads(line)["src"] for line in lines] == [f"0:{n}" for n in range(COUNT)]
    assert len({orjson.loads(line)["decision"] for line in lines}) == 3
    skewed = sum("clock_skew" in orjson.loads(line)["flags"] for line in lines)
    assert (skewed == 0) == (kind == "raw"), "raw lines have no record timestamp"


def test_standard_input_and_output_are_files_too(site, tmp_path, monkeypatch, capfdbinary):
    """`-` twice gives the bytes of the files."""
    output = tmp_path / "out"
    args = ["--rules", site / "a", "--model", "none"]
    assert replay("--input", site / "log.raw", *args, "--output", output) == 0
    stdin = io.TextIOWrapper(io.BytesIO((site / "log.raw").read_bytes()))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert replay("--input", "-", *args) == 0
    sys.stdout.flush()
    assert capfdbinary.readouterr().out == output.read_bytes()


def journaled(
    site: Path, tmp_path: Path, *versions: tuple[int, dict[str, str | int]], start: int = 0
) -> list[object]:
    """Write a journal and a control topic; returns the arguments that replay by them."""
    records: list[bytes] = [take_record("w", CORE), start_record(0, start, KEY)]
    control = dict(split_content("model", small_model().data))
    for name in ("a", "b", "c"):
        control |= dict(split_content("bundle", make_archive(read_directory(site / name))))
    records += [version_record(0, offset, changes) for offset, changes in versions]
    journal = [Record(0, at, 0, None, value) for at, value in enumerate(records)]
    (tmp_path / "journal").write_bytes(b"".join(map(write_envelope, journal)))
    items = [Record(0, at, 0, key, value) for at, (key, value) in enumerate(control.items())]
    (tmp_path / "control").write_bytes(b"".join(map(write_envelope, items)))
    return [
        *("--input", site / "log.envelopes", "--format", "envelope", "--output", tmp_path / "out"),
        *("--journal", tmp_path / "journal", "--control", tmp_path / "control"),
    ]


def first(site: Path) -> dict[str, str | int]:
    """Return the members of a first version with rules `a` and the model."""
    return {
        "bundle": bundle_of(site / "a").hash,
        "models": small_model().version,
        "core": CORE,
        "mode": "live",
        "state_from": 0,
    }


def test_a_journal_cuts_versions_in_at_their_offsets(site, tmp_path):
    """Rules, model and mode change at their `from`, whatever the batch size; before `start` is no line."""
    bundles = {name: bundle_of(site / name) for name in "ab"}
    versions = [
        (100, first(site)),
        (500, {"bundle": bundles["b"].hash}),
        (777, {"models": "none"}),
        (1001, {"mode": "shadow"}),
    ]
    pipeline = Pipeline(0, KEY, bundles["a"], small_model(), 100)
    log = rough_log().part(0, COUNT)
    expected = run_log(pipeline, log.part(0, 500), []).decisions
    pipeline.switch(bundles["b"], small_model())
    expected |= run_log(pipeline, log.part(500, 777), []).decisions
    pipeline.switch(bundles["b"], None)
    expected |= run_log(pipeline, log.part(777, 1001), []).decisions
    pipeline.switch(bundles["b"], None, live=False)
    expected |= run_log(pipeline, log.part(1001, COUNT), []).decisions
    args = journaled(site, tmp_path, *versions, start=100)
    for size in (1000, 13):
        assert replay(*args, "--batch", size) == 0
        assert (tmp_path / "out").read_bytes().splitlines() == [expected[n] for n in range(100, COUNT)]
    versions_named = {orjson.loads(line)["rules_version"] for line in expected.values()}
    assert versions_named == {bundles["a"].hash, bundles["b"].hash}


def test_changed_features_rebuild_the_state_from_the_log(site, tmp_path):
    """From `from` on decisions are those of a state that saw everything under the new definitions."""
    bundles = {name: bundle_of(site / name) for name in "ac"}
    log = rough_log().part(0, COUNT)
    before = run_log(Pipeline(0, KEY, bundles["a"], small_model(), 0), log.part(0, 900), [])
    rebuilt = Pipeline(0, KEY, bundles["c"], small_model(), 0)
    silent = run_log(rebuilt, log.part(0, 900), [], known_from(before, 900))
    assert silent.decisions == {}
    after = run_log(rebuilt, log.part(900, COUNT), [])
    args = journaled(site, tmp_path, (0, first(site)), (900, {"bundle": bundles["c"].hash, "state_from": 0}))
    for size in (1000, 450):
        assert replay(*args, "--batch", size) == 0
        expected = before.decisions | after.decisions
        assert (tmp_path / "out").read_bytes().splitlines() == [expected[n] for n in range(COUNT)]


def test_feature_rows_are_what_rules_see(site, tmp_path):
    """Parquet and JSON lines agree; money in minor units, missing is null, unreadable records have a row."""
    args = [
        "--input",
        site / "log.raw",
        "--rules",
        site / "a",
        "--model",
        "none",
        "--output",
        tmp_path / "out",
    ]
    assert replay(*args, "--features", tmp_path / "f.parquet", "--batch", 400) == 0
    assert replay(*args, "--features", tmp_path / "f.jsonl", "--batch", 7) == 0
    rows = [orjson.loads(line) for line in (tmp_path / "f.jsonl").read_bytes().splitlines()]
    assert pq.read_table(tmp_path / "f.parquet").to_pylist() == rows
    assert len(rows) == COUNT
    names = ["account.count_1h", "account.sum_24h", "account.payees_24h", "account.idle"]
    assert list(rows[0]) == ["src", "transaction_id", *names]
    decisions = [orjson.loads(line) for line in (tmp_path / "out").read_bytes().splitlines()]
    for row, decision in zip(rows, decisions, strict=True):
        assert (row["src"], row["transaction_id"]) == (decision["src"], decision["transaction_id"])
        if {"malformed", "late", "duplicate"} & set(decision["flags"]):
            assert all(row[name] is None for name in names)
        else:
            assert isinstance(row["account.count_1h"], int)
            assert isinstance(row["account.sum_24h"], int)


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (lambda s, t: ["--batch", 0], 2, "`--batch` was 0, expected 1 or more"),
        (lambda s, t: ["--journal", t / "journal"], 2, "`--journal` and `--control` go together"),
        (lambda s, t: ["--features", t / "f.csv"], 2, "was not a .parquet or .jsonl file"),
        (lambda s, t: ["--format", "envelope"], 4, "log.raw:1: not an envelope"),
        (lambda s, t: ["--model", s / "log.raw"], 2, "model file is not JSON"),
        (lambda s, t: ["--rules", t / "nothing"], 2, "nothing is not a directory; expected schema.yaml"),
    ],
)
def test_bad_use_says_what_to_do(site, tmp_path, capsys, change, code, message):
    """Exit codes are those of the contract."""
    args = ["--input", site / "log.raw", "--rules", site / "a", "--output", tmp_path / "out"]
    assert replay(*args, *change(site, tmp_path)) == code
    assert message in capsys.readouterr().err


def test_a_log_that_cannot_be_reproduced_is_refused(site, tmp_path, capsys):
    """Another core, a log that begins too late, content that is not there."""
    args = journaled(site, tmp_path, (0, {**first(site), "core": "0"}))
    assert replay(*args) == 78
    assert "core 0 is in force at 0, this is core" in capsys.readouterr().err
    args = journaled(site, tmp_path, (0, {**first(site), "bundle": version_of(b"?")}))
    assert replay(*args) == 4
    assert "is not on the control topic" in capsys.readouterr().err
    args = journaled(site, tmp_path, (0, first(site)))
    args[1] = tmp_path / "late"
    lines = (site / "log.envelopes").read_bytes().splitlines(keepends=True)
    args[1].write_bytes(b"".join(lines[5:]))
    assert replay(*args) == 4
    assert "partition 0 begins at offset 5, its journal's state at 0" in capsys.readouterr().err


def test_partial_counts_over_several_partitions_are_refused(site, tmp_path, capsys):
    """Features over other keys than the partition's see only a share of the events."""
    folder = write_rules(tmp_path / "rules", 3, "device.count_1h: {agg: count, key: device.id, window: 1h}")
    lines = [
        write_envelope(Record(partition, offset, 0, None, b"{}"))
        for offset in range(2)
        for partition in (0, 1)
    ]
    (tmp_path / "two").write_bytes(b"".join(lines))
    args = [
        "--input",
        tmp_path / "two",
        "--format",
        "envelope",
        "--model",
        "none",
        "--output",
        tmp_path / "out",
    ]
    assert replay(*args, "--rules", folder) == 78
    assert "`device.count_1h`" in capsys.readouterr().err
    assert replay(*args, "--rules", site / "a") == 0
    sources = [orjson.loads(line)["src"] for line in (tmp_path / "out").read_bytes().splitlines()]
    assert sources == ["0:0", "1:0", "0:1", "1:1"]
