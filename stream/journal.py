"""The journal of one partition, read: who owned it, and which versions are in force at an offset.

Pure: records in, answers out; appending and leases are the worker's business. Protocol:
docs/reference/delivery.md. One JSON object a record, ``k`` says which::

    {"k":"take","owner":..,"core":..}                  epoch := the offset of this record
    {"k":"start","epoch":..,"from":..,"hash_key":..}   once: first offset decided, key of id hashes (hex)
    {"k":"version","epoch":..,"from":..,"bundle":..,"models":..,"core":..,"mode":..,"state_from":..,
     "tables":{name:hash,..}}                          only what changes; all of them in the first, but for
                                                       `tables`, of which each name is a member of its own
    {"k":"step","epoch":..,"from":..,"step":..}        a step of the deadline ladder begins
    {"k":"end","epoch":..,"at":..}                     clean stop: everything below `at` is acknowledged

A start, version, step or end counts only if its epoch is the newest take before it in the log: what
a displaced owner still lands counts for nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

Mode = Literal["live", "shadow"]

MEMBERS = ("bundle", "models", "core", "mode", "state_from")
"""What a version record may change, each member by itself; the first names all of them."""
STATE = "state"
"""Member that says how the state came to its definitions; records of before 0.2 have none."""
BUILT, CARRIED = "built", "carried"
"""From the input, or from the state before: new features are warming."""


class JournalError(Exception):
    """A journal that can not be what a worker wrote."""


@dataclass(frozen=True, slots=True)
class Take:
    """An owner took the partition; its epoch is the record's offset."""

    epoch: int
    owner: str
    core: str


@dataclass(frozen=True, slots=True)
class Start:
    """The first offset that gets a decision, and the key of the partition's id hashes."""

    epoch: int
    from_offset: int
    hash_key: bytes


@dataclass(frozen=True, slots=True)
class Version:
    """A counting version record; ``changes`` holds the members that it names."""

    position: int
    epoch: int
    from_offset: int
    changes: Mapping[str, str | int]
    tables: Mapping[str, str] = field(default_factory=dict)
    """Reference tables whose content changes."""


@dataclass(frozen=True, slots=True)
class Step:
    """A counting step of the deadline ladder."""

    position: int
    epoch: int
    from_offset: int
    step: str


@dataclass(frozen=True, slots=True)
class End:
    """A counting clean stop."""

    position: int
    epoch: int
    at: int


@dataclass(frozen=True, slots=True)
class InForce:
    """What decides at one offset."""

    bundle: str
    """``sha256:<hex>`` of the bundle's archive."""
    models: str
    """``sha256:<hex>`` of the model file, ``none`` without a model."""
    core: str
    mode: Mode
    state_from: int
    """Input offset from which the state under this bundle was built."""
    tables: Mapping[str, str] = field(default_factory=dict)
    """Reference table -> ``sha256:<hex>`` of its content."""
    state: str = BUILT

    def rebuilds(self, before: InForce, *, other_definitions: bool) -> bool:
        """Return whether the state is built anew from the input where this follows ``before``."""
        built_again = self.state == BUILT and (other_definitions or before.state == CARRIED)
        return built_again or self.state_from != before.state_from


@dataclass(frozen=True, slots=True)
class Journal:
    """All counting records of one partition, in log order."""

    takes: tuple[Take, ...] = ()
    start: Start | None = None
    versions: tuple[Version, ...] = ()
    steps: tuple[Step, ...] = ()
    ends: tuple[End, ...] = ()

    @property
    def epoch(self) -> int:
        """Return the epoch of the newest take, -1 before the first."""
        return self.takes[-1].epoch if self.takes else -1

    def in_force(self, offset: int) -> InForce:
        """Return the versions in force at an input offset, member by member.

        For each member the counting version with the largest ``from`` at or below ``offset``, at equal
        ``from`` the later one; the first version also holds for what lies before it.

        Raises:
            JournalError: no version counts yet.
        """
        if not self.versions:
            raise JournalError("journal has no version in force; the partition was never started")
        members: dict[str, Any] = {}
        for name in (*MEMBERS, STATE):
            best = self.versions[0]
            found = best.from_offset <= offset
            for version in self.versions[1:]:
                if name not in version.changes or version.from_offset > offset:
                    continue
                if not found or version.from_offset >= best.from_offset:
                    best, found = version, True
            members[name] = best.changes.get(name, BUILT)
        return InForce(**members, tables=self._tables(offset))

    def _tables(self, offset: int) -> dict[str, str]:
        best: dict[str, tuple[int, str]] = {}
        for at, version in enumerate(self.versions):
            # The first version holds for what lies before it, too.
            begin = version.from_offset if at or version.from_offset <= offset else -1
            if begin > offset:
                continue
            for name, content in version.tables.items():
                if name not in best or begin >= best[name][0]:
                    best[name] = (begin, content)
        return {name: content for name, (_, content) in sorted(best.items())}

    def borders(self) -> tuple[int, ...]:
        """Return the offsets, ascending, at which what is in force may change; slices are cut there."""
        return tuple(sorted({version.from_offset for version in self.versions}))

    def next_border(self, offset: int) -> int | None:
        """Return the first border above ``offset``, None after the last."""
        borders = self.borders()
        at = bisect_right(borders, offset)
        return borders[at] if at < len(borders) else None

    def bundle_since(self, bundle: str, offset: int) -> int:
        """Return the offset from which on a bundle is in force at ``offset`` without a break."""
        since = self.versions[0].from_offset if self.versions else 0
        running = ""
        for border in self.borders():
            if border > offset:
                break
            now = self.in_force(border).bundle
            if now == bundle and running != bundle:
                since = border
            running = now
        return since

    def bundles(self) -> tuple[str, ...]:
        """Return the bundles that were journaled, each once, in the order of their last version."""
        found: dict[str, None] = {}
        for version in self.versions:
            if isinstance(name := version.changes.get("bundle"), str):
                found.pop(name, None)
                found[name] = None
        return tuple(found)

    def core_change_at(self, core: str) -> int | None:
        """Return where a changed scoring code may take over, None if it may not.

        That needs a counting ``end`` which only takes of the same new core follow; it takes effect at the
        end's ``at``.
        """
        if not self.ends:
            return None
        end = self.ends[-1]
        after = [take for take in self.takes if take.epoch > end.position]
        return end.at if all(take.core == core for take in after) else None


def read_journal(records: Iterable[tuple[int, bytes]]) -> Journal:
    """Read (offset, value) pairs of one journal partition, in log order.

    Raises:
        JournalError: a record is not what a worker writes, or counting records contradict each other.
    """
    takes: list[Take] = []
    start: Start | None = None
    versions: list[Version] = []
    steps: list[Step] = []
    ends: list[End] = []
    for position, value in records:
        item = _Item(position, value)
        kind = item.text("k")
        if kind == "take":
            takes.append(Take(position, item.text("owner"), item.text("core")))
            continue
        if kind not in ("start", "version", "step", "end"):
            raise item.error(
                f"`k` was `{kind}`, expected take, start, version, step or end; a newer version wrote it?"
            )
        epoch = item.integer("epoch")
        if not takes or epoch != takes[-1].epoch:
            continue
        if kind == "start":
            if start is not None:
                raise item.error("a second `start` counts; a partition starts once")
            start = Start(epoch, item.integer("from"), item.key("hash_key"))
        elif kind == "version":
            versions.append(_version(item, epoch, first=not versions))
        elif kind == "step":
            steps.append(Step(position, epoch, item.integer("from"), item.text("step")))
        else:
            ends.append(End(position, epoch, item.integer("at")))
    return Journal(tuple(takes), start, tuple(versions), tuple(steps), tuple(ends))


def take_record(owner: str, core: str) -> bytes:
    """Write a ``take``."""
    return orjson.dumps({"k": "take", "owner": owner, "core": core})


def start_record(epoch: int, from_offset: int, hash_key: bytes) -> bytes:
    """Write a ``start``."""
    return orjson.dumps({"k": "start", "epoch": epoch, "from": from_offset, "hash_key": hash_key.hex()})


def version_record(
    epoch: int,
    from_offset: int,
    changes: Mapping[str, str | int],
    tables: Mapping[str, str] | None = None,
) -> bytes:
    """Write a ``version``; ``changes`` names members, ``tables`` content by table."""
    if unknown := [name for name in changes if name not in (*MEMBERS, STATE)]:
        raise ValueError(f"a version has no member `{unknown[0]}`")
    ordered = {name: changes[name] for name in (*MEMBERS, STATE) if name in changes}
    more = {"tables": dict(sorted(tables.items()))} if tables else {}
    return orjson.dumps({"k": "version", "epoch": epoch, "from": from_offset, **ordered, **more})


def end_record(epoch: int, at: int) -> bytes:
    """Write an ``end``."""
    return orjson.dumps({"k": "end", "epoch": epoch, "at": at})


class _Item:
    """One journal record under reading."""

    def __init__(self, position: int, value: bytes) -> None:
        self.position = position
        try:
            members = orjson.loads(value)
        except orjson.JSONDecodeError as problem:
            raise self.error(f"not JSON ({problem})") from None
        if not isinstance(members, dict):
            raise self.error("not a JSON object")
        self.members: dict[str, Any] = members

    def error(self, what: str) -> JournalError:
        return JournalError(f"journal record {self.position}: {what}")

    def text(self, name: str) -> str:
        value = self.members.get(name)
        if not isinstance(value, str):
            raise self.error(f"`{name}` was {value!r}, expected text")
        return value

    def texts(self, name: str) -> dict[str, str]:
        found = self.members.get(name, {})
        if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
            raise self.error(f"`{name}` was {found!r:.80}, expected texts by name")
        return found

    def integer(self, name: str) -> int:
        value = self.members.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise self.error(f"`{name}` was {value!r}, expected an offset")
        return value

    def key(self, name: str) -> bytes:
        try:
            key = bytes.fromhex(self.text(name))
        except ValueError:
            key = b""
        if len(key) != 16:
            raise self.error(f"`{name}` was not 32 hexadecimal digits")
        return key


def _version(item: _Item, epoch: int, *, first: bool) -> Version:
    changes: dict[str, str | int] = {}
    for name in MEMBERS:
        if name in item.members:
            changes[name] = item.integer(name) if name == "state_from" else item.text(name)
        elif first:
            raise item.error(f"the first version lacks `{name}`; it names all of {', '.join(MEMBERS)}")
    if STATE in item.members:
        changes[STATE] = item.text(STATE)
        if changes[STATE] not in (BUILT, CARRIED):
            raise item.error(f"`state` was `{changes[STATE]}`, expected {BUILT} or {CARRIED}")
    if changes.get("mode", "live") not in ("live", "shadow"):
        raise item.error(f"`mode` was `{changes['mode']}`, expected live or shadow")
    return Version(item.position, epoch, item.integer("from"), changes, item.texts("tables"))
