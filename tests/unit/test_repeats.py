"""A library that says the same thing all the time is heard once in ten seconds."""

from __future__ import annotations

import logging

from fraudstream.stream.repeats import KEPT, Repeats


class Log:
    """A filter on a clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.repeats = Repeats(lambda: self.now)

    def say(self, name: str, message: str, *args: object) -> str | None:
        """Return what is written, None if nothing is."""
        record = logging.LogRecord(name, logging.ERROR, "", 0, message, args, None)
        return record.getMessage() if self.repeats.filter(record) else None


def test_a_message_passes_once_per_interval_with_the_count_of_the_others() -> None:
    """Arguments may differ: it is the same message."""
    log = Log()
    said = [log.say("aiokafka.client", "no node %d", number) for number in range(100)]
    assert said == ["no node 0", *[None] * 99]
    log.now = 10.0
    assert log.say("aiokafka.client", "no node %d", 7) == "no node 7 (and 99 times in the 10 s before)"
    log.now = 21.0
    assert log.say("aiokafka.client", "no node %d", 8) == "no node 8"


def test_other_messages_other_libraries_and_our_own_are_not_held_back() -> None:
    """What the worker itself says is always written."""
    log = Log()
    assert log.say("aiokafka", "a") == log.say("faust.app", "a") == "a"
    assert log.say("aiokafka", "b") == "b"
    assert [log.say("fraudstream.stream.worker", "x") for _ in range(3)] == ["x"] * 3


def test_memory_is_bounded() -> None:
    """A library that puts ids into its messages cannot fill it."""
    log = Log()
    for number in range(3 * KEPT):
        assert log.say("mode", f"task {number}") is not None
    assert len(log.repeats._passed) <= KEPT
