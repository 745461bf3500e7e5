"""`fraudstream rules`: what an operator sees, and the exit codes that a script acts on."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from support.worker_rules import write_rules

from fraudstream.models.inputs import Input
from fraudstream.models.linear import dump_model
from fraudstream.stream.cli import main


@pytest.fixture
def folder(tmp_path) -> Path:
    """A rules directory without findings that stop it."""
    return write_rules(tmp_path / "rules")


def rules(*args: object) -> int:
    """Call the command without a model."""
    extra = ["--model", "none"] if args[0] in ("lint", "test") else []
    return main(["rules", *map(str, args), *extra])


def break_rule(folder: Path, old: str, new: str) -> None:
    """Change the rule set's text."""
    file = folder / "rulesets" / "account.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_lint_of_a_clean_directory_ends_with_0(folder, capsys):
    """It says what would be in force."""
    assert rules("lint", folder) == 0
    assert "0 errors" in capsys.readouterr().out.splitlines()[-1]


def test_lint_shows_an_error_with_its_line_and_ends_with_1(folder, capsys):
    """Place, source line, caret and suggestion; the same facts as JSON and for GitHub."""
    break_rule(folder, "account.sum_24h > 5000", "account.sum_24 > 5000")
    assert rules("lint", folder) == 1
    out = capsys.readouterr().out
    assert f"{folder}/rulesets/account.yaml:" in out
    assert "error: unknown name `account.sum_24`" in out
    assert "account.sum_24h" in out
    assert "^" in out
    assert rules("lint", folder, "--format", "json") == 1
    (item,) = [item for item in json.loads(capsys.readouterr().out) if item["level"] == "error"]
    line = (folder / "rulesets" / "account.yaml").read_text().splitlines()[item["line"] - 1]
    assert line[item["column"] - 1 :].startswith("account.sum_24")
    assert item["length"] == len("account.sum_24")
    assert rules("lint", folder, "--format", "github") == 1
    note = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("::error "))
    assert f"line={item['line']},col={item['column']},endColumn={item['column'] + item['length']}" in note


def test_warnings_end_with_1_only_when_strict(folder, capsys):
    """A warning is advice."""
    break_rule(folder, "account.count_1h >= 4", "account.count_1h >= 4 and account.count_1h >= 0")
    assert rules("lint", folder) == 0
    assert "warning" in capsys.readouterr().out
    assert rules("lint", folder, "--strict") == 1


def test_a_model_that_does_not_fit_is_a_warning(folder, tmp_path, capsys):
    """A declared input of the wrong type, and one that is not declared."""
    for name, transform, expected in (
        ("txn.country", "log1p", "the model does not fit: `txn.country` is country, not fit for `log1p`"),
        ("account.nothing", "log1p", "account.nothing"),
    ):
        inputs = [Input(name, transform)]
        (tmp_path / "m.json").write_bytes(dump_model(["payment"], inputs, [0.0], [1.0], [1.0], 0.0, {}))
        assert main(["rules", "lint", str(folder), "--model", str(tmp_path / "m.json")]) == 0
        assert expected in capsys.readouterr().out


def test_tests_pass_or_say_what_was_otherwise(folder, tmp_path, capsys):
    """A failing test is named with its line; the JUnit report counts it."""
    assert rules("test", folder) == 0
    assert "4 tests of 2 rules: 4 passed, 0 failed" in capsys.readouterr().out
    break_rule(
        folder,
        "{account.count_1h: 99}, expect: {match: true}",
        "{account.count_1h: 1}, expect: {match: true}",
    )
    assert rules("test", folder, "--junit", tmp_path / "j.xml") == 1
    out = capsys.readouterr().out
    assert "failed: `account.many`, test `fires`" in out
    assert "3 passed, 1 failed" in out
    suites = ET.parse(tmp_path / "j.xml").getroot()
    assert {suite.get("name"): suite.get("failures") for suite in suites} == {
        "account.many": "1",
        "account.much": "0",
    }
    assert rules("test", folder, "--rule", "account.much", "--verbose") == 0
    assert capsys.readouterr().out.count("passed: `account.much`") == 2
    assert rules("test", folder, "--rule", "nobody") == 3


def test_tests_with_events_run_through_the_whole_pipeline(folder, capsys):
    """Windows, policy and decision are the real ones."""
    record = "event_type: payment, amount: '10.00'"
    tests = [
        f"- {{name: {name}, history: [{', '.join(f'{{at: {at}, {record}}}' for at in times)}], "
        f"event: {{{record}}}, expect: {{match: {match}, action: {action}}}}}"
        for name, times, match, action in (
            ("four in an hour", ("-9m", "-5m", "-1m"), "true", "block"),
            ("three", ("-2h", "-5m", "-1m"), "false", "pass"),
        )
    ]
    break_rule(folder, "- {name: one event,", "\n      ".join([*tests, "- {name: one event,"]))
    assert rules("test", folder) == 0
    assert "6 tests of 2 rules: 6 passed" in capsys.readouterr().out


def test_files_with_errors_are_not_tested(folder, capsys):
    """The errors are shown instead."""
    break_rule(folder, "severity: high", "severity: loud")
    assert rules("test", folder) == 1
    assert "error" in capsys.readouterr().err


def test_explain_puts_a_rule_into_words(folder, capsys):
    """With the features it reads; an unknown rule is bad use."""
    assert rules("explain", "account.many", "--rules", folder) == 0
    out = capsys.readouterr().out
    assert "account.many: many events in an hour" in out
    assert "number of events with the same account.id in the last 1h" in out
    assert rules("explain", "account.mani", "--rules", folder) == 2
    assert "no rule `account.mani`" in capsys.readouterr().err


def test_schema_is_json_schema(capsys):
    """Of all kinds, or of one."""
    assert rules("schema") == 0
    assert "definitions" in json.loads(capsys.readouterr().out)
    assert rules("schema", "--kind", "RuleSet") == 0
    assert json.loads(capsys.readouterr().out)["type"] == "object"


def test_no_directory_is_bad_use(tmp_path, capsys):
    """The message says what was expected there."""
    assert rules("lint", tmp_path / "none") == 2
    assert "is not a directory; expected schema.yaml" in capsys.readouterr().err


def test_fmt_writes_what_check_only_tells(folder, capsys):
    """`--check` changes nothing and ends with 1; afterwards there is nothing to do; a broken file stays."""
    break_rule(folder, "rules:", "rules:  # all of them\n\n")
    file = folder / "rulesets" / "account.yaml"
    before = file.read_bytes()
    assert rules("fmt", folder, "--check") == 1
    assert str(file) in capsys.readouterr().out
    assert file.read_bytes() == before
    assert rules("fmt", folder) == 0
    assert b"# all of them" in file.read_bytes()
    assert rules("fmt", folder, "--check") == 0
    file.write_bytes(b"rules: [\n")
    assert rules("fmt", folder) == 1
    assert "is not closed" in capsys.readouterr().err
    assert file.read_bytes() == b"rules: [\n"


def test_coverage_names_what_no_test_saw(folder, capsys):
    """Each comparison with one outcome only has a line, and the sum stands below."""
    assert rules("test", folder, "--coverage") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("coverage of ")
    assert last.endswith(" %)")


def test_explain_with_an_event_shows_terms_and_what_would_have_passed(folder, tmp_path, capsys):
    """The rule's comparison has its value; the change that undoes the match is named; mistakes end with 2."""
    event = tmp_path / "event.json"
    body = {"transaction_id": "t1", "account_id": "a1", "event_time": "2026-01-15T04:00:00Z"}
    event.write_text(json.dumps(body | {"event_type": "payment", "amount": "10", "currency": "CNY"}))
    rule, values = "account.much", ["--given", "account.sum_24h=9000", "--given", "account.payees_24h=2"]
    assert rules("explain", rule, event, "--rules", folder, *values) == 0
    out = capsys.readouterr().out
    assert "account.sum_24h > 5000" in out
    assert "account.sum_24h = 9,000.00" in out
    assert "With account.sum_24h = 5,000.00 instead of 9,000.00 it would not match." in out
    assert "With account.sum_24h = 5,000.00 instead of 9,000.00 the event would pass." in out
    assert rules("explain", rule, event, "--rules", folder, "--given", "account.sum=1") == 2
    assert "did you mean" in capsys.readouterr().err
    event.write_text("{}")
    assert rules("explain", rule, event, "--rules", folder) == 2
    assert "the event is not readable: missing_field transaction_id" in capsys.readouterr().err


def test_lint_as_sarif_is_a_log_that_others_read(folder, capsys):
    """Version, rules by index, levels, and places with lines and columns."""
    assert rules("lint", folder, "--format", "sarif") == 0
    log = json.loads(capsys.readouterr().out)
    assert (log["version"], [item["ruleId"] for item in log["runs"][0]["results"]]) == (
        "2.1.0",
        ["unused-feature"],
    )
    break_rule(folder, "account.sum_24h > 5000", "account.sum_24 > 5000")
    assert rules("lint", folder, "--format", "sarif") == 1
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    result = run["results"][0]
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == "error"
    assert (result["level"], "account.sum_24" in result["message"]["text"]) == ("error", True)
    place = result["locations"][0]["physicalLocation"]
    line = (folder / "rulesets" / "account.yaml").read_text().split("\n")[place["region"]["startLine"] - 1]
    marked = line[place["region"]["startColumn"] - 1 : place["region"]["endColumn"] - 1]
    assert marked == "account.sum_24"
    assert place["artifactLocation"]["uri"].endswith("rulesets/account.yaml")


def test_diff_tells_words_and_with_text_the_lines(folder, tmp_path, capsys):
    """A threshold in words; the lines only when asked for; a broken side ends with 1 after its errors."""
    other = write_rules(tmp_path / "other", count=3)
    assert rules("diff", folder, other) == 0
    out = capsys.readouterr().out
    assert "rule account.many: condition when `account.count_1h >= 4` -> `account.count_1h >= 3`" in out
    assert "+++ b/" not in out
    assert rules("diff", folder, other, "--text") == 0
    assert "+++ b/rulesets/account.yaml" in capsys.readouterr().out
    assert rules("diff", folder, folder) == 0
    assert "nothing changed" in capsys.readouterr().out
    break_rule(folder, "account.sum_24h > 5000", "account.sum_24 > 5000")
    assert rules("diff", folder, other) == 1
    assert "unknown name" in capsys.readouterr().err
