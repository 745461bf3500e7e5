"""The verdict of a soak: trends like SciPy's, stalls with what happened at their time, records read back."""

from __future__ import annotations

import io
import json
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from fraudstream.bench.soak_load import Minute, Stall, read_records, write_records
from fraudstream.bench.soak_report import Run, verdict, write_report
from fraudstream.bench.soak_verdict import Explained, Measured, trend
from fraudstream.bench.soak_watch import Watch, place
from fraudstream.bench.workloads import START_MS

STALL = Stall(begin=1000.0, end=1000.2, worst_ms=100.0, decisions=90, worst_due=1000.1, published_ms=98.0)


def explain(
    stall: Stall,
    watched: list[dict[str, object]],
    sender_late: list[tuple[float, float]],
    probe_slow: list[tuple[float, float]],
    reloads: list[float],
) -> Explained:
    """Explain one stall."""
    return Measured(watched, sender_late, probe_slow, reloads).explain(stall)


def test_trends_are_those_of_scipy() -> None:
    """Theil-Sen's slope over rows of all lengths, with ties."""
    rng = np.random.default_rng(5)
    for size in range(3, 60):
        row = rng.integers(1, 40, size).tolist()
        found = trend(row)
        slope = stats.theilslopes(row, np.arange(size))[0]
        assert found.growth == pytest.approx(slope * (size - 1) / float(np.median(row)))
        assert 0 <= found.p <= 1


def test_a_probability_is_that_of_the_published_example() -> None:
    """Without ties the variance is n(n-1)(2n+5)/18; a row that only rises has S = n(n-1)/2."""
    n = 20
    z = (n * (n - 1) / 2 - 1) / np.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    assert trend(range(1, n + 1)).p == pytest.approx(2 * stats.norm.sf(z))


def test_a_growth_counts_when_it_matters_and_is_no_chance() -> None:
    """A little growth of a quiet row, a wild row, and a real growth."""
    rng = np.random.default_rng(3)
    assert not trend([100 + 0.01 * n for n in range(40)]).grows(0.02)
    assert not trend(rng.normal(100, 30, 40).tolist()).grows(0.2)
    assert trend([100 + n + rng.normal(0, 3) for n in range(40)]).grows(0.2)


def test_a_stall_is_explained_by_what_was_measured_at_its_time() -> None:
    """By the loop, split into waiting for a processor and working; not by what lies elsewhere."""
    note = {"at": 1000.19, "ms": 80.0, "kind": "loop", "what": "stream.partition:_loop", "cpu_wait_ms": 50.0}
    found = explain(STALL, [note], [], [], [999.0])
    assert found.causes == {
        "worker waited for a processor": pytest.approx(50.0),
        "worker was in stream.partition:_loop": pytest.approx(30.0),
    }
    assert found.explained
    assert found.during == ["reload"]
    assert not explain(STALL, [note | {"at": 1010.0}], [], [], []).causes
    assert not explain(STALL, [note | {"ms": 30.0, "cpu_wait_ms": 0}], [], [], []).explained
    many = [note | {"at": 900.0 + n, "ms": 500.0} for n in range(500)]
    assert not explain(STALL, [item for item in many if item["at"] != 1000.0], [], [], []).explained
    assert explain(STALL, [*many, note], [], [], []).causes == found.causes


def test_what_was_under_way_explains_nothing() -> None:
    """A snapshot that took ten minutes is no reason for a stall."""
    note = {"at": 1100.0, "ms": 600_000.0, "kind": "snapshot", "what": ""}
    found = explain(STALL, [note], [], [], [])
    assert (found.causes, found.during, found.explained) == ({}, ["snapshot"], False)


def test_sender_broker_and_reader_can_be_the_cause() -> None:
    """Each alone."""
    near = [(1000.18, 60.0)]
    assert explain(STALL, [], near, [], []).explained
    assert explain(STALL, [], [], near, []).explained
    late = Stall(1000.0, 1000.2, 100.0, 90, 1000.1, 10.0)
    assert explain(late, [], [], [], []).causes == {
        "after the worker had sent the decision": pytest.approx(90.0)
    }


def test_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    """As many as asked for, null values too, with rejections among them."""
    path = tmp_path / "records"
    odd = write_records(path, 20_000, 500, START_MS)
    with path.open("rb") as file:
        found = list(read_records(file))
    assert len(found) == 20_000
    assert any(record.value is None for record in found)
    assert any(record.value == b"" for record in found)
    assert 0.10 < odd / 20_000 < 0.20
    assert sum((record.value or b"").startswith(b'{"transaction_id"') for record in found) > 15_000


def make_run(**changes: object) -> Run:
    """Twelve quiet minutes."""
    minutes = [Minute() for _ in range(12)]
    for minute in minutes:
        for latency_us in range(2_000, 2_060):
            minute.histogram.record_value(latency_us)
            minute.decisions["pass"] += 1
    values: dict[str, object] = {
        "seconds": 720.0, "warm_s": 60.0, "rate": 1, "began": 0.0, "sent": 720, "failed": 0, "answered": 720,
        "repeated": 0, "odd": 40, "history": 10, "minutes": minutes, "stalls": [],
        "edits": [(5.0, "applied")], "reloads": {"applied": 1, "invalid": 0},
        "memory": [(float(n), 100 << 20) for n in range(720)], "watched": [], "sender_late": [],
        "probe_slow": [], "cut_short": False, "note": "",
    }  # fmt: skip
    return Run(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"answered": 719}, "719 of 720 records have a decision"),
        ({"reloads": {"invalid": 1, "applied": 1}}, "0 edits should be invalid, 1 were"),
        ({"repeated": 1}, "1 decisions were out of order or repeated"),
        ({"stalls": [STALL]}, "1 of 1 stalls above 50 ms are not explained"),
        ({"memory": [(float(n), (100 << 20) + n * 10_000) for n in range(720)]}, "resident memory MiB grew"),
        ({"warm_s": 600.0}, "too short for a verdict"),
    ],
)
def test_a_verdict_names_what_does_not_hold(changes: dict[str, object], said: str) -> None:
    """Each thing alone; nothing for a quiet run."""
    problems = verdict(make_run(**changes))
    assert len(problems) == bool(said)
    assert all(said in problem for problem in problems)


def test_a_report_has_verdict_minutes_and_charts(tmp_path: Path) -> None:
    """The page says what does not hold and shows the stall; the JSON has the same."""
    page = write_report(make_run(stalls=[STALL], note="A note."), "fraudstream soak", 10, tmp_path)
    text = page.read_text()
    assert "**Does not hold:** 1 of 1 stalls" in text
    assert "A note." in text
    assert "| 16.67 | 100.0 | 90 | nothing | - | no |" in text
    assert {path.suffix for path in tmp_path.iterdir()} == {".md", ".json", ".svg"}
    data = json.loads(page.with_suffix(".json").read_text())["data"]
    assert data["problems"] == verdict(make_run(stalls=[STALL]))


def test_the_watch_names_the_function_that_holds_the_loop() -> None:
    """The innermost of ours, and what it called."""
    seen: list[str] = []

    def sleep_inside(record: object) -> str:
        seen.append(place(sys._getframe()))
        return str(record)

    sleep_inside(1)
    assert seen[0].endswith("test_soak.py:sleep_inside")
    sink = io.StringIO()
    watch = Watch(sink)
    watch.note("loop", 0.0123, "stream.partition:_loop", cpu_wait_ms=1.5)
    written = json.loads(sink.getvalue())
    assert (written["ms"], written["what"], written["cpu_wait_ms"]) == (12.3, "stream.partition:_loop", 1.5)
    assert threading.main_thread().is_alive()
