"""The command line: one console script whose subcommands are loaded when they are called.

A command module has ``SUMMARY``, ``add_arguments(parser)``, which also sets ``parser.epilog`` to an
example, and ``run(args) -> int``. It is named here by its dotted name and imported only when called:
`fraudstream topics` does not pay for Numba, and `demo` and `generate` may live on the floor above,
in ``bench``.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import NoReturn, Protocol, cast

from fraudstream.rules.compiler.suggest import suggest
from fraudstream.stream.errors import BadUse, Exit, FraudstreamError
from fraudstream.stream.logs import places

COMMANDS = {
    "demo": "fraudstream.bench.demo",
    "worker": "fraudstream.stream.commands.worker",
    "topics": "fraudstream.stream.commands.topics",
    "rules": "fraudstream.stream.commands.rules",
    "reference": "fraudstream.stream.commands.reference",
    "features": "fraudstream.stream.commands.features",
    "models": "fraudstream.stream.commands.models",
    "trainer": "fraudstream.stream.commands.trainer",
    "replay": "fraudstream.stream.commands.replay",
    "why": "fraudstream.stream.commands.why",
    "export": "fraudstream.stream.commands.export",
    "generate": "fraudstream.bench.traffic.command",
    "soak": "fraudstream.bench.soak",
}
"""Name -> module, in the order of ``--help``."""


class Command(Protocol):
    """What a command module has."""

    SUMMARY: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments and set ``parser.epilog`` to an example."""

    def run(self, args: argparse.Namespace) -> int:
        """Do it and return the exit code."""


class Parser(argparse.ArgumentParser):
    """A parser that reports bad use as an error with a suggestion instead of exiting by itself."""

    def error(self, message: str) -> NoReturn:
        """Raise ``BadUse`` that names the command whose help tells more."""
        raise BadUse(f"{message}; see `{self.prog} --help`")

    def _check_value(self, action: argparse.Action, value: object) -> None:
        choices = None if action.choices is None else [str(choice) for choice in action.choices]
        if choices is not None and value not in action.choices:  # type: ignore[operator]
            name = str(action.metavar or action.dest)
            known = ", ".join(choices)
            raise argparse.ArgumentError(None, _unknown(name, str(value), choices) + f"; known: {known}")


def load(name: str) -> Command:
    """Import the module of a command.

    Raises:
        BadUse: No command has this name.
    """
    if name not in COMMANDS:
        raise BadUse(_unknown("command", name, COMMANDS) + "; `fraudstream --help` lists them")
    return cast("Command", importlib.import_module(COMMANDS[name]))


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    hint = suggest(name, known)
    return f"unknown {what} `{name}`" + (f" ({hint})" if hint else "")


def command_parser(name: str) -> Parser:
    """Return the parser of one command, with its help.

    Raises:
        BadUse: No command has this name.
    """
    command = load(name)
    parser = Parser(
        prog=f"fraudstream {name}",
        description=command.SUMMARY,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_arguments(parser)
    return parser


def overview() -> str:
    """Return the text of `fraudstream --help`."""
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {name:<{width}}{load(name).SUMMARY}" for name in COMMANDS]
    return "\n".join(
        [
            "usage: fraudstream COMMAND ...",
            "",
            "Scores bank transactions while they happen: Kafka in, block / alert / pass out.",
            "",
            "commands:",
            *lines,
            "",
            "`fraudstream COMMAND --help` tells more, with an example; settings come from",
            "FRAUDSTREAM_* variables or the TOML file that FRAUDSTREAM_CONFIG names.",
        ]
    )


def dispatch(argv: Sequence[str]) -> int:
    """Run the command that the arguments name and return its exit code.

    Raises:
        FraudstreamError: The command ended with an error.
    """
    if not argv or argv[0] in {"-h", "--help", "help"}:
        print(overview(), file=sys.stdout if argv else sys.stderr)
        return Exit.OK if argv else Exit.BAD_USE
    if argv[0] in {"-V", "--version"}:
        print(f"fraudstream {version('fraudstream')}")  # noqa: T201
        return Exit.OK
    name, *rest = argv
    args = command_parser(name).parse_args(rest)
    return load(name).run(args)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `fraudstream` and return its exit code; nothing but exit codes leaves this function."""
    try:
        code = dispatch(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except FraudstreamError as error:
        return _fail(str(error), error.exit_code)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        if error.filename is None:
            return _internal()
        return _fail(f"cannot open `{error.filename}`: {error.strerror}", Exit.BAD_USE)
    except BrokenPipeError:
        # What is still buffered must not fail once more when the interpreter closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.BROKEN_PIPE
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except Exception:  # noqa: BLE001 - the last frame: a defect must not look like "findings", exit 1
        return _internal()
    return code


def _fail(message: str, code: Exit) -> int:
    print(f"fraudstream: {message}", file=sys.stderr)  # noqa: T201
    return code


def _internal() -> int:
    error = sys.exception()
    assert error is not None
    # No traceback of Python's: it ends with the error's text, which may quote a transaction.
    print("\n".join(f"  at {place}" for place in places(error)), file=sys.stderr)  # noqa: T201
    return _fail(
        "internal error, a defect of fraudstream; please report the places above, the innermost last",
        Exit.INTERNAL,
    )


if __name__ == "__main__":
    sys.exit(main())
