"""Changes of the rules as they lie on the control topic: what was wanted by whom, and what is in force.

Keys and values, JSON; nothing of it is ever deleted but a worker's report::

    change:<id>      {"action":..,"bundle":..,"by":..,"at_ms":..,"note":..,"rule":..,"switch_on":[..],
                      "signatures":[{"signer":..,"value":base64},..]}                        the log
    active:bundle    {"change":<id>,"bundle":..,"directory":..,"off":{rule:{"by":..,"at_ms":..}}}
    worker:<owner>   {"at_ms":..,"change":..,"state":"ready|active|refused","problem":..,
                      "partitions":{"0":{"bundle":..,"from":..},..}}                         a worker's answer

A change is a proposal. Its pointer puts it in force; whoever owns a partition then journals it there, and the
journal alone says what decided. Whoever reads these records trusts none of them.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

import orjson

from fraudstream.stream.signing import SIGNATURES_MAX, Signature

Action = Literal["apply", "rollback", "disable", "directory"]
State = Literal["ready", "active", "refused"]
ACTIONS: tuple[str, ...] = get_args(Action)
STATES: tuple[str, ...] = get_args(State)
POINTER_KEY = b"active:bundle"
CHANGE_PREFIX, WORKER_PREFIX = b"change:", b"worker:"
KEPT = 10
"""Bundles that were in force last and can be gone back to."""
RECORD_BYTES_MAX = 100_000
TEXT_MAX = 1_000
PROBLEM_MAX = 8_000


class BadChange(ValueError):  # noqa: N818 - named for what it is
    """A record that no proposer and no worker writes."""


@dataclass(frozen=True, slots=True)
class Change:
    """Somebody wants a bundle in force."""

    id: str
    action: Action
    bundle: str
    by: str
    at_ms: int
    note: str = ""
    rule: str = ""
    """``disable``: which."""
    switch_on: tuple[str, ...] = ()
    """Rules that were switched off and may act again."""
    signatures: tuple[Signature, ...] = ()


@dataclass(frozen=True, slots=True)
class Off:
    """A rule that was switched off."""

    by: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Pointer:
    """What is to be in force."""

    change: str
    bundle: str
    directory: str = ""
    """The bundle that the rules directory last asked for: the same again is no edit."""
    off: Mapping[str, Off] = field(default_factory=dict)
    """Rules that were switched off and must not act until somebody says so."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker made of the last change that it looked at."""

    worker: str
    at_ms: int
    change: str
    state: State
    problem: str
    partitions: Mapping[int, tuple[str, int]]
    """Number -> bundle in force and the offset from which on."""
    directory: str
    """Why its own rules directory is not in force; empty: it is, or was not looked at."""


def new_id(at_ms: int) -> str:
    """Return a name for a change: ids sort by time."""
    return f"{at_ms:013d}-{secrets.token_hex(4)}"


def write_change(change: Change) -> tuple[bytes, bytes]:
    """Return key and value."""
    value = {
        "action": change.action,
        "bundle": change.bundle,
        "by": change.by[:TEXT_MAX],
        "at_ms": change.at_ms,
        "note": change.note[:TEXT_MAX],
        "rule": change.rule,
        "switch_on": list(change.switch_on),
        "signatures": [
            {"signer": item.signer, "value": base64.b64encode(item.value).decode()}
            for item in change.signatures
        ],
    }
    return CHANGE_PREFIX + change.id.encode(), orjson.dumps(value)


def read_change(key: bytes, value: bytes) -> Change:
    """Read a change.

    Raises:
        BadChange: it is none.
    """
    item = _Item(value)
    signatures = item.items("signatures", SIGNATURES_MAX)
    try:
        signed = tuple(
            Signature(str(one["signer"])[:TEXT_MAX], base64.b64decode(one["value"], validate=True))
            for one in signatures
        )
    except (KeyError, TypeError, ValueError):
        raise BadChange("`signatures` was not a list of signer and value") from None
    return Change(
        id=key.removeprefix(CHANGE_PREFIX).decode("utf-8", "replace"),
        action=cast("Action", item.choice("action", ACTIONS)),
        bundle=item.text("bundle"),
        by=item.text("by"),
        at_ms=item.whole("at_ms"),
        note=item.text("note"),
        rule=item.text("rule"),
        switch_on=tuple(str(name) for name in item.items("switch_on", TEXT_MAX)),
        signatures=signed,
    )


def write_pointer(pointer: Pointer) -> tuple[bytes, bytes]:
    """Return key and value."""
    off = {rule: {"by": item.by, "at_ms": item.at_ms} for rule, item in sorted(pointer.off.items())}
    value = {"change": pointer.change, "bundle": pointer.bundle, "directory": pointer.directory, "off": off}
    return POINTER_KEY, orjson.dumps(value)


def read_pointer(value: bytes) -> Pointer:
    """Read the pointer.

    Raises:
        BadChange: it is none.
    """
    item = _Item(value)
    off = item.table("off")
    try:
        found = {str(rule): Off(str(one["by"]), int(one["at_ms"])) for rule, one in off.items()}
    except (KeyError, TypeError, ValueError):
        raise BadChange("`off` was not rules with `by` and `at_ms`") from None
    return Pointer(item.text("change"), item.text("bundle"), item.text("directory"), found)


def write_report(report: Report) -> tuple[bytes, bytes]:
    """Return key and value."""
    value = {
        "at_ms": report.at_ms,
        "change": report.change,
        "state": report.state,
        "problem": report.problem[:PROBLEM_MAX],
        "partitions": {
            str(number): {"bundle": bundle, "from": begin}
            for number, (bundle, begin) in sorted(report.partitions.items())
        },
        "directory": report.directory[:PROBLEM_MAX],
    }
    return WORKER_PREFIX + report.worker.encode(), orjson.dumps(value)


def read_report(key: bytes, value: bytes) -> Report:
    """Read a worker's report.

    Raises:
        BadChange: it is none.
    """
    item = _Item(value)
    try:
        partitions = {
            int(number): (str(one["bundle"]), int(one["from"]))
            for number, one in item.table("partitions").items()
        }
    except (KeyError, TypeError, ValueError):
        raise BadChange("`partitions` was not bundles and offsets by number") from None
    return Report(
        key.removeprefix(WORKER_PREFIX).decode("utf-8", "replace"),
        item.whole("at_ms"),
        item.text("change"),
        cast("State", item.choice("state", STATES)),
        item.text("problem"),
        partitions,
        item.text("directory"),
    )


class _Item:
    """One record under reading."""

    def __init__(self, value: bytes) -> None:
        if len(value) > RECORD_BYTES_MAX:
            raise BadChange(f"the record was {len(value):,} bytes, at most {RECORD_BYTES_MAX:,} are read")
        try:
            found = orjson.loads(value)
        except orjson.JSONDecodeError as problem:
            raise BadChange(f"not JSON ({problem})") from None
        if not isinstance(found, dict):
            raise BadChange("not a JSON object")
        self._members: dict[str, Any] = found

    def text(self, name: str) -> str:
        value = self._members.get(name, "")
        if not isinstance(value, str) or len(value) > PROBLEM_MAX:
            raise BadChange(f"`{name}` was {value!r:.80}, expected a text")
        return value

    def choice(self, name: str, known: tuple[str, ...]) -> str:
        value = self.text(name)
        if value not in known:
            raise BadChange(f"`{name}` was `{value:.40}`, expected {', '.join(known)}")
        return value

    def whole(self, name: str) -> int:
        value = self._members.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise BadChange(f"`{name}` was {value!r:.40}, expected a whole number")
        return value

    def items(self, name: str, most: int) -> list[Any]:
        value = self._members.get(name, [])
        if not isinstance(value, list) or len(value) > most:
            raise BadChange(f"`{name}` was {value!r:.40}, expected a list of at most {most}")
        return value

    def table(self, name: str) -> dict[str, Any]:
        value = self._members.get(name, {})
        if not isinstance(value, dict):
            raise BadChange(f"`{name}` was {value!r:.40}, expected a mapping")
        return value
