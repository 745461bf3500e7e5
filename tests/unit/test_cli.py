"""The command line loads commands when they are called and turns errors into messages and codes."""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from types import SimpleNamespace

import pytest

from fraudstream.stream import cli
from fraudstream.stream.errors import (
    BadUse,
    CannotCheck,
    FraudstreamError,
    NothingToCheck,
    NotPermitted,
    Refusal,
    RestartMe,
)


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A command `probe` that raises what a test puts into it."""
    module = SimpleNamespace(SUMMARY="Probes.", raises=None)

    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.epilog = "example:\n  fraudstream probe --count 3"
        parser.add_argument("--count", type=int, default=0)
        parser.add_argument("--kind", choices=["input", "decisions"])

    def run(args: argparse.Namespace) -> int:
        if module.raises is not None:
            raise module.raises
        return args.count

    module.add_arguments, module.run = add_arguments, run
    monkeypatch.setitem(sys.modules, "probe_command", module)
    monkeypatch.setattr(cli, "COMMANDS", {"probe": "probe_command"})
    return module


def test_the_exit_code_is_that_of_the_command(probe: SimpleNamespace) -> None:
    """What run returns leaves the process."""
    assert cli.main(["probe", "--count", "3"]) == 3


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadUse("b"), 2),
        (NothingToCheck("b"), 3),
        (CannotCheck("b"), 4),
        (RestartMe("b"), 75),
        (NotPermitted("b"), 77),
        (Refusal("b"), 78),
        (FraudstreamError("b"), 70),
        (KeyboardInterrupt(), 130),
    ],
)
def test_an_error_is_a_message_and_a_code(
    probe: SimpleNamespace, capsys: pytest.CaptureFixture[str], error: BaseException, code: int
) -> None:
    """No traceback reaches the user for an error that was foreseen."""
    probe.raises = error
    assert cli.main(["probe"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == ("" if code == 130 else "fraudstream: b\n")


def test_a_defect_is_not_taken_for_findings(
    probe: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unforeseen exception ends with 70, its kind and its places, never with 1; its text is left out."""
    probe.raises = ZeroDivisionError("card 4000123412341234")
    assert cli.main(["probe"]) == 70
    told = capsys.readouterr().err
    assert "= ZeroDivisionError\n" in told
    assert "test_cli.py:" in told
    assert "4000123412341234" not in told


def test_a_missing_file_is_bad_use(probe: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that cannot be opened is named without a traceback."""
    probe.raises = FileNotFoundError(2, "No such file or directory", "nowhere.jsonl")
    assert cli.main(["probe"]) == 2
    assert capsys.readouterr().err == "fraudstream: cannot open `nowhere.jsonl`: No such file or directory\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["prob"], "unknown command `prob` (did you mean `probe`?)"),
        (["zzz"], "unknown command `zzz`; `fraudstream --help` lists them"),
        (["probe", "--cuont", "3"], "unrecognized arguments: --cuont 3; see `fraudstream probe --help`"),
        (["probe", "--count", "x"], "argument --count: invalid int value: 'x'"),
        (
            ["probe", "--kind", "inptu"],
            "unknown kind `inptu` (did you mean `input`?); known: input, decisions",
        ),
    ],
)
def test_bad_use_says_what_was_meant(
    probe: SimpleNamespace, capsys: pytest.CaptureFixture[str], argv: list[str], message: str
) -> None:
    """Bad use ends with 2 and a message that helps."""
    assert cli.main(argv) == 2
    assert message in capsys.readouterr().err


def test_help_of_a_command_has_its_example(
    probe: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--help` shows summary and example."""
    with pytest.raises(SystemExit, match="0"):
        cli.main(["probe", "--help"])
    out = capsys.readouterr().out
    assert "Probes." in out
    assert "  fraudstream probe --count 3\n" in out


def test_the_overview_lists_every_command(probe: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    """`fraudstream --help` names commands with their summaries; without arguments it is bad use."""
    assert cli.main(["--help"]) == 0
    assert "  probe  Probes.\n" in capsys.readouterr().out
    assert cli.main([]) == 2
    assert "  probe  Probes.\n" in capsys.readouterr().err


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_every_command_has_a_summary_and_an_example(name: str) -> None:
    """Each command of the table imports, and its help ends with an example of itself."""
    parser = cli.command_parser(name)
    assert importlib.import_module(cli.COMMANDS[name]).SUMMARY
    assert parser.epilog is not None
    assert f"fraudstream {name}" in parser.epilog


def test_a_reader_that_goes_away_is_no_error() -> None:
    """`fraudstream --version` into a closed pipe ends quietly."""
    code = (
        "import os, sys\n"
        "from fraudstream.stream import cli\n"
        "read, write = os.pipe(); os.close(read); os.dup2(write, 1)\n"
        "sys.exit(cli.main(['--version']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (141, b"")
