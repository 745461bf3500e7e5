"""The worker's log: declared messages as JSON or for a console; repeats collapse; nothing of a transaction.

What a message may be stands in ``messages.py``. Libraries log too: of their messages the first line is
kept, and of an error, theirs or ours, its kind and its places: its text may quote what it stumbled over.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from fraudstream.stream import messages
from fraudstream.stream.errors import FraudstreamError
from fraudstream.stream.messages import Message

INTERVAL_S = 10.0
"""A message that comes again within this time is counted; the count is written after it."""
LIBRARIES = ("aiokafka", "faust", "mode")
CLIENTS = ("aiokafka", "confluent_kafka", "cimpl")
"""Their errors name topics, brokers and codes; records they do not read."""
KEPT = 1_000
"""Different messages that are remembered; there are some dozens."""
LIBRARY_CHARACTERS = 300
PLACES = 12
"""Of an error: the innermost functions on its way."""

_log = logging.getLogger("fraudstream")


def tell(message: Message, *, error: BaseException | None = None, **fields: object) -> None:
    """Log a declared message.

    Args:
        message: its declaration.
        error: whose places are written too.
        fields: values of exactly the declared fields.
    """
    assert set(fields) == set(message.fields), (message.event, sorted(fields))
    if _log.isEnabledFor(message.level):
        _log.log(
            message.level,
            message.text.format(**fields),
            exc_info=error,
            extra={"declared": message, "fields": fields},
        )


def set_up(level: str, form: str, stream: TextIO | None = None) -> None:
    """Send everything that is logged to one sink.

    Args:
        level: least level, a name of ``logging``.
        form: ``json`` or ``console``.
        stream: None: standard error.
    """
    sink = Sink(as_json if form == "json" else as_text, stream or sys.stderr)
    logging.basicConfig(level=level.upper(), handlers=[sink], force=True)
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.root.level))


def sweep() -> None:
    """Let every sink write the counts whose interval is over."""
    for handler in logging.root.handlers:
        if isinstance(handler, Sink):
            handler.sweep()


@dataclass(frozen=True, slots=True)
class Line:
    """What is written of one record."""

    at: float
    level: str
    message: Message
    text: str
    fields: dict[str, object]
    places: tuple[str, ...] = ()
    repeated: int = 0
    """How often it came besides, in ``over_s`` seconds."""
    over_s: int = 0


@dataclass(slots=True)
class _Held:
    written_s: float
    dropped: int = 0
    last: logging.LogRecord | None = None


class Sink(logging.Handler):
    """Writes records; one that repeats is written once per interval, with how often it came."""

    def __init__(
        self,
        render: Callable[[Line], str],
        stream: TextIO,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._render = render
        self._stream = stream
        self._now = now
        self._held: dict[tuple[object, ...], _Held] = {}
        self._swept_s = now()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or count it."""
        now_s = self._now()
        if now_s - self._swept_s >= 1.0:
            self.sweep()
        key = _key(record)
        held = self._held.get(key)
        if held is not None and now_s - held.written_s < INTERVAL_S:
            held.dropped, held.last = held.dropped + 1, record
            return
        if held is None and len(self._held) >= KEPT:
            self.sweep(everything=True)
        self._held[key] = _Held(now_s)
        self._write(record)

    def sweep(self, *, everything: bool = False) -> None:
        """Write the counts whose interval is over, or all; call it once a second."""
        assert self.lock is not None
        with self.lock:
            now_s = self._swept_s = self._now()
            for key, held in list(self._held.items()):
                if now_s - held.written_s < INTERVAL_S and not everything:
                    continue
                if held.last is None:
                    del self._held[key]
                else:
                    self._write(held.last, held.dropped, round(now_s - held.written_s))
                    self._held[key] = _Held(now_s)
            if everything:
                self._held.clear()

    def close(self) -> None:
        """Write what was only counted."""
        self.sweep(everything=True)
        super().close()

    def _write(self, record: logging.LogRecord, repeated: int = 0, over_s: int = 0) -> None:
        try:
            self._stream.write(self._render(line_of(record, repeated, over_s)) + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            # Whoever read the log is gone; decisions go on.
            return


def _key(record: logging.LogRecord) -> tuple[object, ...]:
    declared: Message | None = getattr(record, "declared", None)
    if declared is None:
        return record.name, str(record.msg)
    fields: dict[str, object] = record.fields  # type: ignore[attr-defined]
    return declared.event, *(str(fields[name]) for name in declared.per)


def line_of(record: logging.LogRecord, repeated: int = 0, over_s: int = 0) -> Line:
    """Return what is written of a record."""
    declared: Message | None = getattr(record, "declared", None)
    error = record.exc_info[1] if record.exc_info else None
    found = places(error) if error is not None else ()
    if declared is not None:
        fields: dict[str, object] = record.fields  # type: ignore[attr-defined]
        text = record.getMessage()
    else:
        declared = messages.LIBRARY
        said = _library_text(record)
        if error is not None:
            said += f" ({kind(error)})"
        fields = {"logger": record.name, "text": said}
        text = declared.text.format(**fields)
    return Line(record.created, record.levelname, declared, text, fields, found, repeated, over_s)


def _library_text(record: logging.LogRecord) -> str:
    """Return the first line of a library's message; of errors among its arguments only their kind."""
    args = record.args
    safe: Any = args
    if isinstance(args, tuple):
        safe = tuple(_Kind(kind(arg)) if isinstance(arg, BaseException) else arg for arg in args)
    try:
        text = str(record.msg) % safe if safe else str(record.msg)
    except (TypeError, ValueError, KeyError):
        text = str(record.msg)
    return (text.splitlines() or [""])[0][:LIBRARY_CHARACTERS]


class _Kind(str):
    """The kind of an error: `%r` shows it like `%s`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def kind(error: BaseException) -> str:
    """Name an error without its text, unless that is ours, a Kafka client's or the system's."""
    name = type(error).__name__
    if type(error).__module__.split(".")[0] in CLIENTS:
        return f"{name}: {str(error)[:LIBRARY_CHARACTERS]}"
    if isinstance(error, FraudstreamError):
        return f"{name}: {error}"
    if isinstance(error, OSError) and error.strerror:
        return f"{name}: {error.strerror}"
    return name


def places(error: BaseException) -> tuple[str, ...]:
    """Return where an error came from, the innermost last; of its causes too. No text, no source line."""
    found: list[str] = []
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        seen.add(id(at))
        frames = traceback.extract_tb(at.__traceback__)[-PLACES:]
        own = [f"{'/'.join(Path(f.filename).parts[-2:])}:{f.lineno} {f.name}" for f in frames]
        found = [*own, f"= {kind(at)}", *found]
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)
    return tuple(found)


def as_json(line: Line) -> str:
    """Return one JSON object: `time`, `level`, `event`, `text`, `action`, and the message's fields."""
    shown: dict[str, object] = {
        "time": _time(line.at),
        "level": line.level.lower(),
        "event": line.message.event,
        "text": line.text,
        "action": line.message.action,
    }
    shown |= {name: value for name, value in line.fields.items() if name not in shown}
    if line.places:
        shown["places"] = list(line.places)
    if line.repeated:
        shown |= {"repeated": line.repeated, "over_s": line.over_s}
    return json.dumps(shown, ensure_ascii=False, separators=(",", ":"), default=str)


def as_text(line: Line) -> str:
    """Return lines for people: time, level, event and text; below what to do unless that is nothing."""
    again = f" (and {line.repeated} times in the {line.over_s} s before)" if line.repeated else ""
    lines = [f"{_time(line.at)} {line.level} {line.message.event}: {line.text}{again}"]
    if "problem" in line.message.more:
        lines += str(line.fields["problem"]).splitlines()
    lines += [f"  at {place}" for place in line.places]
    if line.level not in {"INFO", "DEBUG"}:
        lines.append(f"  -> {line.message.action}")
    return "\n".join(lines)


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
