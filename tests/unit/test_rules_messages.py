"""What operators read about mistakes, and where it points."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.broken_rules import MISTAKES, messages
from support.sample_rules import changed, sample_files

from fraudstream.rules import compile_sources, render_all
from fraudstream.rules.compiler.source import Diagnostic, SourceLines, Span, sorted_diagnostics

GOLDEN = Path(__file__).parents[1] / "golden" / "rule_messages.txt"


def test_messages_are_those_of_the_golden_file() -> None:
    """Every message, position, caret and hint is as written down in tests/golden."""
    assert messages() == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda item: item[0])
def test_each_mistake_is_found(mistake: tuple[str, str, str, str]) -> None:
    """No mistake of the table passes in silence, and the untouched sample has no finding."""
    _, path, old, new = mistake
    compiled = compile_sources(changed(path, old, new))
    assert compiled.diagnostics
    assert (compiled.bundle is None) == bool(compiled.errors)


def test_the_sample_has_no_finding() -> None:
    """A directory that uses nearly every key compiles without a word."""
    assert compile_sources(sample_files()).diagnostics == ()


@pytest.mark.parametrize(
    "condition",
    [
        "txn.amount > 9999.99",
        "txn.amount >= 10000",
        "txn.amount between 8000 and 9999.99",
        "txn.amount < 9990 and txn.amount > 1500",
        "not txn.amount > 9990",
        "txn.amount > 9700",
        "txn.amount > 499",
        "txn.amount >= 498 and account.amount_mean_7d > 9990",
    ],
)
def test_what_ends_under_a_round_amount_is_no_bait(condition: str) -> None:
    """Nor what begins on it or clearly below, nor small change, nor what is no amount of the event."""
    files = changed(
        "rulesets/payment.yaml",
        "txn.amount > params.floor and",
        f"({condition}) and txn.amount > params.floor and",
    )
    assert {item.code for item in compile_sources(files).diagnostics} & {"structuring-bait"} == set()


def test_all_errors_of_all_files_come_in_one_run() -> None:
    """Mistakes in eight files are reported together, sorted by file and line."""
    files = sample_files()
    for path, old, new in (
        ("schema.yaml", "type: country}", "type: contry}"),
        ("reference.yaml", "type: bool}", "type: boolean}"),
        ("features.yaml", "window: 10m, where", "window: 10 m, where"),
        ("lists.yaml", "KP", "Korea"),
        ("typologies.yaml", "combine: sum", "combine: summ"),
        ("rulesets/card.yaml", "severity: medium", "severity: middle"),
        ("rulesets/payment.yaml", "score: 45", "score: 450"),
        ("rulesets/profile.yaml", "score: 30", "score: 300"),
    ):
        files[path] = files[path].replace(old.encode(), new.encode(), 1)
    found = compile_sources(files).errors
    places = [(item.span.file, item.span.line) for item in found]
    assert {file for file, _ in places} == set(files)
    assert places == sorted(places)
    assert len(found) == 8


def test_one_cause_is_told_once() -> None:
    """Rules that read a feature with an error do not complain about an unknown name."""
    files = changed(
        "features.yaml", "{agg: since_last, key: account.id}", "{agg: since_last, key: acount.id}"
    )
    (error,) = compile_sources(files).errors
    assert error.span.file == "features.yaml"


@pytest.mark.parametrize("path", sorted(sample_files()))
def test_every_unreadable_file_leaves_the_others_quiet(path: str) -> None:
    """A file that is not YAML gives one error, in that file only."""
    files = sample_files()
    files[path] = files[path] + b"\n  - ]\n"
    found = compile_sources(files).errors
    assert {item.span.file for item in found} == {path}


def test_caret_stands_below_wide_and_long_lines() -> None:
    """A wide character takes two cells, a long line is shown around the caret."""
    wide = SourceLines("a.yaml", "en: 中文 txn.x\n")
    shown = Diagnostic("error", "m", Span("a.yaml", 1, 8, 5)).render(wide)
    assert shown == "a.yaml:1:8: error: m\n     1 | en: 中文 txn.x\n       |          ^^^^^"
    long = SourceLines("a.yaml", "x" * 5_000 + "HERE" + "y" * 5_000)
    line, caret = Diagnostic("error", "m", Span("a.yaml", 1, 5_001, 4)).render(long).splitlines()[1:]
    assert len(line) < 200
    assert line[caret.index("^") :][:4] == "HERE"


def test_findings_can_not_steer_a_terminal() -> None:
    """Control characters of a file never reach the screen."""
    files = sample_files() | {"lists.yaml": b"a: \x1b]0;title\x07"}
    text = render_all(compile_sources(files).diagnostics, files)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "U+001B" in text


def test_repeated_findings_are_told_once_in_order() -> None:
    """Equal findings are merged; order is file, line, column."""
    first, second = Diagnostic("error", "a", Span("x", 2, 1)), Diagnostic("warning", "b", Span("x", 10, 1))
    assert sorted_diagnostics([second, first, second]) == (first, second)
