"""The log: every message is declared and looks as it did; repeats collapse; no error's text gets in."""

from __future__ import annotations

import ast
import io
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import log_messages

from fraudstream.stream import cli, logs, messages
from fraudstream.stream.commands import worker
from fraudstream.stream.errors import Refusal
from fraudstream.stream.logs import KEPT, Sink, as_json, as_text, line_of, tell
from fraudstream.stream.messages import MESSAGES

ROOT = Path(__file__).resolve().parents[2]


class Log:
    """A sink on a clock that a test moves."""

    def __init__(self, render: Callable[[logs.Line], str] = as_text) -> None:
        self.now = 0.0
        self.stream = io.StringIO()
        self.sink = Sink(render, self.stream, lambda: self.now)

    def say(self, name: str, message: str, *args: object, error: BaseException | None = None) -> list[str]:
        """Log as a library does; return what was written."""
        info = (type(error), error, error.__traceback__) if error else None
        self.sink.handle(logging.LogRecord(name, logging.ERROR, "", 0, message, args, info))
        return self.written()

    def written(self) -> list[str]:
        """Return what was written since the last time."""
        text = self.stream.getvalue()
        self.stream.seek(0)
        self.stream.truncate()
        return text.splitlines()


@pytest.fixture
def log() -> Iterator[Log]:
    """A sink for all that is logged, INFO and up."""
    found = Log()
    root = logging.getLogger()
    before = root.handlers[:], root.level
    root.handlers, root.level = [found.sink], logging.INFO
    yield found
    root.handlers, root.level = before


def test_every_message_is_that_of_the_golden_file() -> None:
    """Text, action and fields, for people and as JSON; a JSON line is one line."""
    assert log_messages.samples() == (ROOT / "tests/golden/log_messages.txt").read_text()
    for message in MESSAGES:
        assert "\n" not in as_json(line_of(log_messages.make_record(message)))


def test_every_message_says_what_happened_and_what_to_do() -> None:
    """Names are unique, `per` names fields, all have an action."""
    assert len({message.event for message in MESSAGES}) == len(MESSAGES)
    for message in MESSAGES:
        assert message.text
        assert message.action.endswith(".")
        assert set(message.per) <= set(message.fields)


def test_the_worker_says_nothing_that_is_not_declared() -> None:
    """No module logs by itself; every call of `tell` gives exactly the declared fields; every one is told."""
    told: set[str] = set()
    for path in sorted((ROOT / "stream").rglob("*.py")):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            function = node.func
            if isinstance(function, ast.Attribute) and path.name != "logs.py":
                name = ast.unparse(function.value)
                logged = function.attr in {"debug", "info", "warning", "error", "exception", "critical"}
                assert not (logged and name.lower().endswith(("log", "logger", "logging"))), (
                    f"{path}:{node.lineno}"
                )
            if isinstance(function, ast.Name) and function.id == "tell":
                declared = getattr(messages, ast.unparse(node.args[0]).removeprefix("messages."))
                given = {keyword.arg for keyword in node.keywords} - {"error"}
                assert given == set(declared.fields), f"{path}:{node.lineno}"
                told.add(declared.event)
    assert told == {message.event for message in MESSAGES} - {"library"}


def test_a_message_of_a_library_passes_once_per_interval_with_the_count_of_the_others() -> None:
    """Arguments may differ: it is the same message; the count comes by itself."""
    log = Log()
    said = [log.say("aiokafka.client", "no node %d", number) for number in range(100)]
    assert said[0][0].endswith("ERROR library: aiokafka.client: no node 0")
    assert not any(said[1:])
    log.now = 9.9
    log.sink.sweep()
    assert not log.written()
    log.now = 10.0
    log.sink.sweep()
    (counted, _) = log.written()
    assert counted.endswith("aiokafka.client: no node 99 (and 99 times in the 10 s before)")
    log.now = 25.0
    assert log.say("aiokafka.client", "no node %d", 8)[0].endswith("no node 8")


def test_own_messages_collapse_by_what_makes_them_the_same(log: Log) -> None:
    """A failing snapshot of one partition is told once; that of another partition too."""
    for number in range(5):
        tell(messages.SNAPSHOT_FAILED, partition=0, problem=f"no space at {number}")
    tell(messages.SNAPSHOT_FAILED, partition=1, problem="no space")
    first = [line for line in log.written() if "snapshot_failed" in line]
    assert [line.split("snapshot_failed: ")[1] for line in first] == [
        "partition 0: no space at 0",
        "partition 1: no space",
    ]
    log.sink.close()
    assert "no space at 4 (and 4 times in the 0 s before)" in log.written()[0]


def test_memory_is_bounded() -> None:
    """A library that puts ids into its messages cannot fill it."""
    log = Log()
    for number in range(3 * KEPT):
        assert log.say("mode", f"task {number}")
    assert len(log.sink._held) <= KEPT


def test_an_error_is_written_without_its_text() -> None:
    """Kind and places; neither its own text nor that of its cause or an argument, nor more than a line."""
    canary = "4000123412341234"

    def fail() -> None:
        try:
            int(canary + "x")
        except ValueError as cause:
            raise KeyError(canary) from cause

    log = Log(as_json)
    with pytest.raises(KeyError) as caught:
        fail()
    (line,) = log.say("mode", "crashed: %r", caught.value, error=caught.value)
    assert canary not in line
    shown = json.loads(line)
    assert shown["text"] == "mode: crashed: KeyError (KeyError)"
    assert shown["places"][1] == "= ValueError"
    assert shown["places"][-1] == "= KeyError"
    assert "test_logs.py:" in shown["places"][0]
    (line,) = log.say(
        "asyncio", "Task exception was never retrieved\nfuture: <Task ValueError('%s')>", canary
    )
    assert canary not in line


def test_the_text_of_our_own_and_the_systems_errors_is_kept() -> None:
    """They quote no transaction: what they say is what to do."""
    assert logs.kind(Refusal("set X")) == "Refusal: set X"
    assert logs.kind(OSError(28, "No space left on device")) == "OSError: No space left on device"
    assert logs.kind(UnicodeDecodeError("utf-8", b"secret\xff", 6, 7, "invalid")) == "UnicodeDecodeError"


def test_a_log_whose_reader_is_gone_stops_nobody() -> None:
    """A closed pipe is no reason to stop deciding."""
    log = Log()
    log.stream.close()
    log.sink.handle(log_messages.make_record(messages.DRAINS))


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_worker_that_ends_says_why_once(
    form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In JSON as its last message, else as the command line's last line; with the same exit code."""
    root = logging.getLogger()
    before = root.handlers[:], root.level

    async def refuse(*_: object, **__: object) -> None:
        raise Refusal("do this")

    monkeypatch.setattr(worker, "serve", refuse)
    monkeypatch.setenv("FRAUDSTREAM_LOG_FORMAT", form)
    try:
        assert cli.main(["worker"]) == 78
    finally:
        root.handlers, root.level = before
    (line,) = capsys.readouterr().err.splitlines()
    if form == "console":
        assert line == "fraudstream: do this"
    else:
        shown = json.loads(line)
        assert (shown["event"], shown["exit_code"], shown["problem"]) == ("worker_ends", 78, "do this")
