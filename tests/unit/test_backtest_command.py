"""`fraudstream rules backtest` and `rules diff --on`: figures equal those of a replay, counted by hand."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import orjson
import pytest
from support.logs import rough_log
from support.worker_rules import write_rules

from fraudstream.stream.backtest import layout
from fraudstream.stream.backtest.statistics import Share
from fraudstream.stream.cli import main

COUNT = 2_000


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Rules `a` and `b` (another limit), a log line by line, labels of some of its transactions."""
    folder = tmp_path_factory.mktemp("backtest")
    write_rules(folder / "a", 4)
    write_rules(folder / "b", 3)
    log = rough_log().part(0, COUNT)
    values = [log.value(row) for row in range(COUNT)]
    lines = [value if value is not None and b"\n" not in value else b"" for value in values]
    (folder / "log.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    labels = []
    for decision in replay(folder, "a"):
        offset = int(decision["src"].partition(":")[2])
        if offset % 3 == 0 and decision["transaction_id"] is not None:
            label = ("fraud", "legitimate", "disputed")[offset // 3 % 3]
            item = {"transaction_id": decision["transaction_id"], "label": label, "labelled_at": "2026-02-01"}
            labels.append(item | ({"src": decision["src"]} if offset % 2 else {}))
    (folder / "labels.jsonl").write_bytes(b"".join(orjson.dumps(item) + b"\n" for item in labels))
    return folder


def replay(site: Path, rules: str) -> list[dict[str, object]]:
    """Return the decisions that `fraudstream replay` writes."""
    output = site / f"{rules}.decisions"
    args = ["--input", site / "log.jsonl", "--rules", site / rules, "--model", "none", "--output", output]
    assert main(["replay", *map(str, args)]) == 0
    return [orjson.loads(line) for line in output.read_bytes().splitlines()]


def backtest(site: Path, *args: object) -> int:
    """Call the command."""
    fixed = ["--input", site / "log.jsonl", "--model", "none"]
    return main(["rules", "backtest", *map(str, [*args, *fixed])])


def first_decisions(site: Path, rules: str) -> dict[str, str]:
    """Return decisions by `src`, without repeats and unreadable records."""
    odd = {"duplicate", "malformed"}
    return {item["src"]: item["decision"] for item in replay(site, rules) if not odd & set(item["flags"])}


def labelled(site: Path) -> dict[str, str]:
    """Return labels by `src`, found by hand: one without `src` is of the first record with its id."""
    first: dict[object, str] = {}
    for item in replay(site, "a"):
        first.setdefault(item["transaction_id"], item["src"])
    found = {}
    for line in (site / "labels.jsonl").read_bytes().splitlines():
        item = orjson.loads(line)
        found[item.get("src") or first[item["transaction_id"]]] = item["label"]
    return found


@pytest.fixture(scope="module")
def compared(site) -> dict[str, object]:
    """The figures of `b` against `a` as JSON."""
    args = [site / "b", "--base", site / "a", "--labels", site / "labels.jsonl"]
    assert backtest(site, *args, "--json", site / "out.json", "--markdown", site / "out.md") == 0
    return json.loads((site / "out.json").read_text())


def test_alerts_and_blocks_are_those_of_the_replay(site, compared):
    """Of both rule sets."""
    for run, rules in zip(compared["runs"], "ab", strict=True):
        kinds = Counter(first_decisions(site, rules).values())
        assert (run["alerts"]["count"], run["blocks"]["count"]) == (kinds["alert"], kinds["block"])
        assert run["events"] == sum(kinds.values())
        assert sum(day["blocks"] for day in run["days"]) == kinds["block"]
    assert compared["runs"][0]["blocks"] != compared["runs"][1]["blocks"]


def test_precision_and_recall_are_counted_right(site, compared):
    """Against the labels, each record by itself; disputed is neither fraud nor legitimate."""
    decisions, labels = first_decisions(site, "b"), labelled(site)
    quality = compared["runs"][1]["quality"]
    stopped = {src for src, decision in decisions.items() if decision != "pass"}
    caught = sum(labels.get(src) == "fraud" for src in stopped)
    known = sum(labels.get(src) in ("fraud", "legitimate") for src in stopped)
    assert quality["precision"] == {"count": caught, "of": known}
    assert quality["precision_floor"] == {"count": caught, "of": len(stopped)}
    frauds = sum(label == "fraud" for label in labels.values())
    assert quality["recall"] == {"count": caught, "of": frauds}
    assert 0 < caught < known < len(stopped)
    assert compared["runs"][1]["blocks"]["by_class"]["disputed"][0] > 0


def test_changed_decisions_are_those_that_two_replays_differ_in(site, compared, capsys):
    """By kind of change; `rules diff --on` says the same."""
    before, after = first_decisions(site, "a"), first_decisions(site, "b")
    expected = Counter((before[src], after[src]) for src in before if before[src] != after[src])
    found = {(item["before"], item["after"]): item["tally"]["count"] for item in compared["changes"]}
    assert found == dict(expected)
    assert expected
    moved = {src for src in before if before[src] != after[src]}
    for item in compared["changes"]:
        assert {text.partition(" ")[0] for text in item["examples"]} <= moved
    args = ["rules", "diff", site / "a", site / "b", "--on", site / "log.jsonl", "--model", "none"]
    capsys.readouterr()
    assert main(list(map(str, args))) == 0
    out = capsys.readouterr().out
    assert "rule account.many: " in out
    assert f"{len(moved):,} of {len(before):,} decisions of {site / 'log.jsonl'} change" in out
    for (first, last), count in expected.items():
        assert f"  {first} -> {last}: {count:,} (" in out


def test_alerts_are_compared_with_the_budget_day_by_day(site, tmp_path):
    """Days of the policy's zone on which analysts can not work off what they get, counted by hand."""
    alerts: Counter[str] = Counter()
    odd = {"duplicate", "malformed"}
    for item in replay(site, "b"):
        if item["decision"] == "alert" and not odd & set(item["flags"]):
            alerts[
                str(datetime.fromtimestamp(item["event_time"] / 1000, ZoneInfo("Asia/Shanghai")).date())
            ] += 1
    most = max(alerts.values())
    assert most > 1
    policy = site / "b" / "typologies.yaml"
    for budget in (most - 1, most):
        shutil.copytree(site / "b", tmp_path / str(budget), dirs_exist_ok=True)
        text = policy.read_text().replace("policy: {", f"policy: {{alert_budget: {budget}, ")
        (tmp_path / str(budget) / "typologies.yaml").write_text(text)
        output = tmp_path / "out.md"
        assert backtest(site, tmp_path / str(budget), "--base", site / "b", "--markdown", output) == 0
        (row,) = [line for line in output.read_text().splitlines() if "against the alert budget" in line]
        over = sum(count > budget for count in alerts.values())
        cells = [cell.strip() for cell in row.split("|")[2:4]]
        assert cells[0] == "no budget"
        if over:
            assert re.fullmatch(rf"above {budget:,} on {over:,} of [0-9]+ days", cells[1])
        else:
            assert cells[1] == f"within {budget:,} on every day"


def test_what_only_one_rule_stops_passes_without_it(site, compared, tmp_path):
    """Incremental value is the replay's without the rule."""
    for rule in compared["runs"][1]["rules"]:
        shutil.copytree(site / "b", tmp_path / rule["id"])
        file = tmp_path / rule["id"] / "rulesets" / "account.yaml"
        before, mark, after = file.read_text().partition(f"- id: {rule['id']}\n")
        file.write_text(before + mark + "    mode: {state: retired}\n" + after)
        output = tmp_path / "decisions"
        args = ["--input", site / "log.jsonl", "--rules", tmp_path / rule["id"], "--model", "none"]
        assert main(["replay", *map(str, [*args, "--output", output])]) == 0
        decisions = first_decisions(site, "b")
        lines = [orjson.loads(line) for line in output.read_bytes().splitlines()]
        without = {item["src"]: item["decision"] for item in lines}
        passing = sum(decisions[src] != "pass" and without[src] == "pass" for src in decisions)
        assert rule["incremental"]["count"] == passing


def test_the_terminal_and_markdown_say_the_same(site, compared, capsys):
    """Only the changed rule has a row of its own."""
    args = [site / "b", "--base", site / "a", "--changed", "--labels", site / "labels.jsonl"]
    assert backtest(site, *args) == 0
    out = capsys.readouterr().out
    assert "account.many" in out
    assert "account.much" not in out
    assert "Attempts count as in production" in out
    text = (site / "out.md").read_text()
    assert text.startswith("# Backtest of ")
    for name in ("Summary", "Rules", "Matches by label", "Overlap", "Days", "Examples"):
        assert f"\n## {name}\n" in text
    rows = [line for line in text.splitlines() if line.startswith("| account.m")]
    assert len(rows) >= 4


def test_features_are_made_once_and_anew_where_their_definitions_change(site, tmp_path):
    """A rule's change keeps the feature log; other features, rates, model or log make another."""
    store = tmp_path / "kept"

    def names() -> set[str]:
        return {path.name for path in store.iterdir()}

    assert backtest(site, site / "a", "--store", store) == 0
    first = names()
    assert len(first) == 1
    (made,) = store.iterdir()
    written = (made / "part-00000.parquet").stat().st_mtime_ns
    assert backtest(site, site / "b", "--store", store) == 0
    assert names() == first
    assert (made / "part-00000.parquet").stat().st_mtime_ns == written
    assert len(list((made / layout.MATCHES).glob("*.npz"))) == 3, "two rules, one of them twice"
    write_rules(tmp_path / "c", 4, "account.count_6h: {agg: count, key: account.id, window: 6h}")
    assert backtest(site, tmp_path / "c", "--store", store) == 0
    assert len(names()) == 2
    write_rules(tmp_path / "d", 4)
    lists = tmp_path / "d" / "lists.yaml"
    lists.write_text(lists.read_text().replace("7.1034", "7.2"))
    assert backtest(site, tmp_path / "d", "--store", store) == 0
    assert len(names()) == 3
    shutil.copy(site / "log.jsonl", tmp_path / "log.jsonl")
    with (tmp_path / "log.jsonl").open("ab") as file:
        file.write(b"{}\n")
    args = ["rules", "backtest", site / "a", "--input", tmp_path / "log.jsonl", "--model", "none"]
    assert main(list(map(str, [*args, "--store", store]))) == 0
    assert len(names()) == 4


def test_damaged_files_are_found(site, tmp_path, capsys):
    """Kept matches are worked out again; a missing part is an error that says what to do."""
    store = tmp_path / "kept"
    assert backtest(site, site / "a", "--store", store, "--json", tmp_path / "1.json") == 0
    (made,) = store.iterdir()
    for path in (made / layout.MATCHES).glob("*.npz"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0x55
        path.write_bytes(data)
    assert backtest(site, site / "a", "--store", store, "--json", tmp_path / "2.json") == 0
    one, two = (json.loads((tmp_path / f"{n}.json").read_text())["runs"] for n in (1, 2))
    assert one == two
    (made / "part-00000.parquet").unlink()
    assert backtest(site, site / "a", "--store", store) == 4
    assert "is missing; delete" in capsys.readouterr().err


def test_bad_use_says_what_to_do(site, tmp_path, capsys):
    """Exit codes are those of the contract."""
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "odd").write_bytes(b'{"label": 3}\n')
    broken = shutil.copytree(site / "a", tmp_path / "broken")
    (broken / "features.yaml").write_text("apiVersion: fraudstream/v1\nkind: Features\nfeatures: 3\n")
    cases = [
        ([site / "a", "--changed"], 2, "`--changed` needs `--base DIR`"),
        ([site / "a", "--rule", "account.mony"], 2, "no rule `account.mony`"),
        ([site / "a", "--label-lag", "soon"], 2, "`--label-lag soon` is no duration"),
        ([site / "a", "--labels", tmp_path / "odd"], 4, "odd:1: not a label"),
        ([broken], 1, "error"),
    ]
    for args, code, message in cases:
        assert backtest(site, *args) == code, args
        assert message in capsys.readouterr().err
    for name, code, message in (("empty", 3, "has no records"), ("none", 2, "is no file")):
        args = ["rules", "backtest", site / "a", "--input", tmp_path / name, "--model", "none"]
        assert main(list(map(str, args))) == code
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_intervals_are_the_published_ones(count, of, low, high):
    """R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3."""
    found = Share(count, of).interval
    assert found == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))
