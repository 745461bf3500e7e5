"""Tests that stand beside a rule: read, checked, and completed to what a runner needs.

A ``given`` test sets values of names; a test with an ``event`` (and a ``history``) becomes whole JSON
records in time order, with everything filled in that the test leaves out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from fraudstream.rules.bundle import Field, Schema, Slot, Type
from fraudstream.rules.compiler import shape as shapes
from fraudstream.rules.compiler.expressions import note
from fraudstream.rules.compiler.reader import Findings, MappingNode, Node, ScalarNode, SequenceNode
from fraudstream.rules.compiler.schema import value_problem
from fraudstream.rules.compiler.shape import Section
from fraudstream.rules.compiler.source import quoted
from fraudstream.rules.compiler.suggest import suggest
from fraudstream.rules.compiler.tokens import DAY_MS
from fraudstream.rules.compiler.types import Constant, Scope, value_for
from fraudstream.rules.compiler.vocabulary import ACTIONS, EXPECT, TEST
from fraudstream.rules.compiler.zones import load_zone, parse_instant

CASES_MAX = 100
RECORDS_MAX = 1_000
"""Events of one test."""
NOON_MS = 1_768_478_400_000
"""2026-01-15 12:00 as if UTC: an ordinary Thursday, when nothing else is said."""
_OFFSET = re.compile(r"-?[0-9a-z]+")
_SAFE_INTEGER = re.compile(r"-?[0-9]{1,15}")


@dataclass(frozen=True, slots=True)
class Expect:
    """What must come out; None: not looked at."""

    match: str | None = None
    """``true``, ``false`` or ``unknown``."""
    action: str | None = None
    score: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One test of a rule."""

    name: str
    place: ScalarNode | MappingNode
    expect: Expect
    time_ms: int
    """Time of the event that is decided."""
    event_type: str
    given: tuple[tuple[Slot, Constant | None], ...] | None = None
    """Values by slot, None: missing on purpose. None as a whole: a test with events."""
    records: tuple[tuple[int, bytes], ...] = ()
    """(event time in ms, JSON) in time order; the last one is decided."""


@dataclass(slots=True)
class _Draft:
    """A record in the making."""

    body: dict[str, object]
    time_ms: int
    position: int
    relative: bool
    """Whether `at` says when it was; only for `history`."""
    given: set[tuple[str, ...]] = field(default_factory=set)
    """Paths that the test sets, to null too."""


def read_cases(
    section: Section,
    on: tuple[str, ...],
    interval: tuple[int | None, int | None],
    scope: Scope,
    schema: Schema,
    findings: Findings,
) -> tuple[Case, ...]:
    """Return the tests of a rule; those with errors are left out.

    Args:
        section: the rule.
        on: its event types.
        interval: its ``effective`` from and until, in ms.
        scope: its names and zone.
        schema: JSON members by field.
        findings: receives what is wrong.
    """
    out: list[Case] = []
    seen: set[str] = set()
    nodes = section.items("tests")
    if len(nodes) > CASES_MAX:
        findings.error(section.key("tests"), f"{len(nodes)} tests, at most {CASES_MAX} are allowed")
    for node in nodes[:CASES_MAX]:
        inner = Section.open(node, TEST, findings)
        if inner is None:
            continue
        name = inner.text("name")
        if name in seen:
            findings.error(inner.key("name"), f"a second test with the name {quoted(name)}", "rename one")
        seen.add(name)
        case = _read_case(inner, name, on, _default_time(interval, scope.zone), scope, schema, findings)
        if case is not None:
            out.append(case)
    return tuple(out)


def _default_time(interval: tuple[int | None, int | None], zone: str) -> int:
    """Return the time of events that name none: noon, or inside the rule's interval."""
    start, until = interval
    time_ms = load_zone(zone).to_utc(NOON_MS) if start is None else start
    return until - 1 if until is not None and time_ms >= until else time_ms


def _read_case(
    section: Section,
    name: str,
    on: tuple[str, ...],
    time_ms: int,
    scope: Scope,
    schema: Schema,
    findings: Findings,
) -> Case | None:
    before = len(findings.items)
    expect = _read_expect(section, findings)
    event_type = on[0] if on else ""
    given: tuple[tuple[Slot, Constant | None], ...] | None = None
    records: tuple[tuple[int, bytes], ...] = ()
    if section.has("given") == section.has("event"):
        message = "a test needs either `given` or `event`"
        findings.error(
            section.source, message, "`given` sets values, `event` is a JSON record with a `history`"
        )
    elif section.has("given"):
        if section.has("history"):
            findings.error(
                section.key("history"), "`history` needs `event`, not `given`", "windows are given"
            )
        given = tuple(_read_given(section, scope, findings))
    else:
        builder = _Records(schema, event_type, scope.zone, time_ms, findings)
        records = builder.build(section)
        time_ms = records[-1][0] if records else time_ms
    if len(findings.items) > before or expect is None:
        return None
    return Case(name, section.key("name"), expect, time_ms, event_type, given, records)


def _read_expect(section: Section, findings: Findings) -> Expect | None:
    inner = section.section("expect", EXPECT)
    if inner is None:
        return None
    if not any(inner.has(key) for key in EXPECT.keys):
        findings.error(inner.source, "`expect` was empty", "e.g. `expect: {match: true}`")
    return Expect(
        match=inner.choice("match", ("true", "false", "unknown"), "") or None,
        action=inner.choice("action", ACTIONS, "") or None,
        score=inner.integer("score", 0, 100, 0) if inner.has("score") else None,
        reason=inner.text("reason") or None,
    )


def _read_given(section: Section, scope: Scope, findings: Findings) -> Iterator[tuple[Slot, Constant | None]]:
    for key, node in section.table("given"):
        slot = scope.slots.get(key.text)
        if slot is None and findings.excuses(key.text):
            continue
        if slot is None:
            hint = suggest(key.text, scope.slots)
            if key.text.startswith(("params.", "lists.")) or key.text in scope.conditions:
                hint = "tests set fields, features and `model.score`"
            findings.error(key, f"unknown name {quoted(key.text)} in `given`", hint)
            continue
        if isinstance(node, SequenceNode) and slot.type is Type.GEO:
            parts = [item.text for item in node.items if isinstance(item, ScalarNode)]
            value, problems = value_for(", ".join(parts), slot, scope)
            for problem in problems[:1]:
                findings.error(node, problem.message, problem.hint)
            if value is not None:
                yield slot, value
            continue
        if isinstance(node, ScalarNode) and (node.is_null or (node.text == "missing" and not node.style)):
            yield slot, None
            continue
        text = shapes.scalar(node, f"`{key.text}`", findings)
        if text is None:
            continue
        value, problems = value_for(text.text, slot, scope)
        note(problems, text, findings)
        if value is not None:
            yield slot, value


class _Records:
    """Builds the JSON records of one test."""

    def __init__(self, schema: Schema, event_type: str, zone: str, time_ms: int, findings: Findings) -> None:
        self.schema = schema
        self.event_type = event_type
        self.zone = zone
        self.time_ms = time_ms
        self.findings = findings
        self.by_path = {item.path: item for item in schema.fields if item.path}
        self.by_path.update({item.path2: item for item in schema.fields if item.path2})
        self.by_name = {item.name: item for item in schema.fields}

    def build(self, section: Section) -> tuple[tuple[int, bytes], ...]:
        """Return the records of ``history`` and ``event``, empty after errors."""
        before = len(self.findings.items)
        event = shapes.mapping(section.node("event") or section.source, "`event`", self.findings)
        if event is None:
            return ()
        nodes = section.items("history")
        if len(nodes) >= RECORDS_MAX:
            message = f"{len(nodes)} events in `history`, at most {RECORDS_MAX - 1} are allowed"
            self.findings.error(section.key("history"), message)
            return ()
        self.time_ms = self._own_time(event) or self.time_ms
        drafts: list[_Draft] = []
        for position, node in enumerate(nodes):
            inner = shapes.mapping(node, "an item of `history`", self.findings)
            if inner is not None:
                drafts.append(self._draft(inner, self._history_time(inner), position, relative=True))
        drafts.append(self._draft(event, self.time_ms, len(nodes), relative=False))
        drafts.sort(key=lambda draft: (draft.time_ms, draft.position))
        if len(self.findings.items) > before:
            return ()
        for number, draft in enumerate(drafts, 1):
            self._fill(draft, number)
        return tuple(
            (draft.time_ms, json.dumps(draft.body, ensure_ascii=False, separators=(",", ":")).encode())
            for draft in drafts
        )

    def _own_time(self, node: MappingNode) -> int | None:
        """Return the event time that a record gives itself."""
        found: Node | None = node
        for member in self.by_name[self.schema.event_time].path:
            entry = found.entries.get(member) if isinstance(found, MappingNode) else None
            found = None if entry is None else entry[1]
        if self.schema.event_time in node.entries:
            found = node.entries[self.schema.event_time][1]
        if not isinstance(found, ScalarNode) or found.is_null:
            return None
        if _SAFE_INTEGER.fullmatch(found.text):
            return int(found.text)
        value, problems = parse_instant(found.text, self.zone)
        note(problems, found, self.findings)
        return value

    def _history_time(self, node: MappingNode) -> int:
        entry = node.entries.get("at")
        own = self._own_time(node)
        if entry is None:
            if own is None:
                message = "an event of `history` needs `at`"
                self.findings.error(node, message, "how long before the event, e.g. `at: -9m`")
            return own if own is not None else self.time_ms
        at = entry[1]
        text = at.text if isinstance(at, ScalarNode) else ""
        offset = shapes.duration_ms(text.removeprefix("-")) if _OFFSET.fullmatch(text) else None
        if text == "0":
            offset = 0
        if offset is None or offset > 800 * DAY_MS or (offset > 0 and not text.startswith("-")):
            message = f"`at` was {shapes.kind_of(at)}, expected how long before the event"
            self.findings.error(at, message, "e.g. `-9m`, `-2d`")
            return self.time_ms
        if own is not None:
            self.findings.error(entry[0], "an event has `at` and its own time", "keep one of them")
        return self.time_ms - offset

    def _draft(self, node: MappingNode, time_ms: int, position: int, *, relative: bool) -> _Draft:
        draft = _Draft({}, time_ms, position, relative)
        draft.body = self._members(node, (), draft)
        return draft

    def _members(self, node: MappingNode, parent: tuple[str, ...], draft: _Draft) -> dict[str, object]:
        out: dict[str, object] = {}
        for key, value in node.entries.values():
            if not parent and key.text == "at" and draft.relative:
                continue
            path = (*parent, key.text)
            known = self.by_path.get(path)
            inside = any(item[: len(path)] == path for item in self.by_path)
            if not parent and known is None and not inside and key.text in self.by_name:
                self._named(self.by_name[key.text], value, draft, out)
            elif known is not None and isinstance(value, ScalarNode):
                draft.given.add(path)
                out[key.text] = self._value(known, value)
            elif known is None and inside and isinstance(value, MappingNode):
                out[key.text] = self._members(value, path, draft)
            elif known is None and not inside:
                members = {item[len(parent)] for item in self.by_path if item[: len(parent)] == parent}
                hint = suggest(key.text, members) or "use names of fields, or members of the JSON record"
                self.findings.error(key, f"no field reads the member {quoted('.'.join(path))}", hint)
            else:
                expected = "one value" if known is not None else "a mapping"
                self.findings.error(
                    value, f"{quoted('.'.join(path))} was {shapes.kind_of(value)}, expected {expected}"
                )
        return out

    def _named(self, item: Field, node: Node, draft: _Draft, out: dict[str, object]) -> None:
        """Set a field by its name, whatever its member is called."""
        paths = [path for path in (item.path, item.path2) if path]
        values = node.items if isinstance(node, SequenceNode) and len(paths) == 2 else [node] * len(paths)
        if not paths:
            self.findings.error(node, f"{quoted(item.name)} is a constant", "remove it")
        elif len(values) != len(paths) or (len(paths) == 2 and values[0] is node):
            expected = "latitude and longitude, e.g. `[30.5, 104.1]`"
            message = f"{quoted(item.name)} was {shapes.kind_of(node)}, expected {expected}"
            self.findings.error(node, message)
        else:
            for path, value in zip(paths, values, strict=True):
                text = shapes.scalar(value, quoted(item.name), self.findings)
                if text is not None:
                    draft.given.add(path)
                    _set(out, path, self._value(item, text))

    def _value(self, known: Field, node: ScalarNode) -> object:
        """Return a member's value with the JSON type that the schema expects."""
        if node.is_null:
            return None
        text, kind = node.text, known.type
        integer = _SAFE_INTEGER.fullmatch(text) is not None
        if kind is Type.GEO:
            kind = Type.NUMBER
        if kind is Type.TIME and integer:
            return int(text)
        # A record's category may be any text, such as a name; constants of schemas and rules are narrower.
        free = kind is Type.CATEGORY and 0 < len(text) <= known.max_chars and text.isprintable()
        expected = "" if free else value_problem(kind, text, known.values)
        if expected:
            hint = suggest(text, known.values) if known.values else ""
            self.findings.error(
                node, f"{quoted(known.path_text)} was {quoted(text)}, expected {expected}", hint
            )
            return None
        if kind is Type.BOOL:
            return text == "true"
        if kind in (Type.INTEGER, Type.DURATION) or (kind is Type.NUMBER and integer):
            return int(text)
        return float(Decimal(text)) if kind is Type.NUMBER else text

    def _fill(self, draft: _Draft, number: int) -> None:
        """Add what the test leaves out and a record must have."""
        kind = self.by_name[self.schema.event_type]
        if kind.path and kind.path not in draft.given:
            self._put(draft, kind.path, self.event_type)
        event_type = self._get(draft, kind.path) if kind.path else kind.const
        for item in self.schema.fields:
            if not item.path or item.path in draft.given:
                continue
            if item.name == self.schema.event_id:
                self._put(draft, item.path, f"t{number}")
            elif item.name == self.schema.event_time:
                self._put(draft, item.path, _rfc3339(draft.time_ms))
            elif item.required or event_type in item.required_for:
                for path in filter(None, (item.path, item.path2)):
                    self._put(draft, path, self._filler(item, draft.time_ms))
        for item in self.schema.fields:
            if item.type is not Type.MONEY or item.currency is None or not item.path:
                continue
            currency = self.by_name[item.currency]
            absent = currency.path and currency.path not in draft.given and currency.default is None
            if absent and self._get(draft, item.path) is not None:
                self._put(draft, currency.path, self.schema.base_currency)

    def _filler(self, item: Field, time_ms: int) -> object:
        if any(other.currency == item.name for other in self.schema.fields):
            return self.schema.base_currency
        if item.name == self.schema.partition_key:
            return "a1"
        return {
            Type.MONEY: "1",
            Type.NUMBER: 1,
            Type.INTEGER: 1,
            Type.DURATION: 0,
            Type.GEO: 0,
            Type.BOOL: False,
            Type.DATE: "2020-01-01",
            Type.TIME: _rfc3339(time_ms),
            Type.ENUM: item.values[0] if item.values else "",
            Type.COUNTRY: "CN",
        }.get(item.type, "x1")

    @staticmethod
    def _put(draft: _Draft, path: tuple[str, ...], value: object) -> None:
        _set(draft.body, path, value)

    @staticmethod
    def _get(draft: _Draft, path: tuple[str, ...]) -> object:
        found: object = draft.body
        for member in path:
            found = found.get(member) if isinstance(found, dict) else None
        return found


def _set(body: dict[str, object], path: tuple[str, ...], value: object) -> None:
    for member in path[:-1]:
        inner = body.setdefault(member, {})
        body = inner if isinstance(inner, dict) else {}
    body[path[-1]] = value


def _rfc3339(time_ms: int) -> str:
    moment = datetime.fromtimestamp(time_ms / 1_000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time_ms % 1_000:03}Z"
