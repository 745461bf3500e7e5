"""Changes of the rules in a running worker: looked at when they are proposed, put in force by their pointer.

Every worker follows the control topic. A proposed change is judged and answered with a report; it gets its
pointer from the proposer once the owners of all partitions are ready, and then every owner journals it. A
pointer that does not hold up to a second look changes nothing and is replaced by the one before. The rules
directory goes the same way, the worker being proposer and owner of all partitions at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from aiokafka.errors import KafkaError

from fraudstream.models.model import Model
from fraudstream.rules.bundle import Bundle
from fraudstream.stream import messages
from fraudstream.stream.changes import (
    CHANGE_PREFIX,
    KEPT,
    POINTER_KEY,
    BadChange,
    Change,
    Pointer,
    Report,
    State,
    new_id,
    read_change,
    read_pointer,
    write_change,
    write_pointer,
    write_report,
)
from fraudstream.stream.directory import Checked
from fraudstream.stream.errors import NotDelivered, Refusal
from fraudstream.stream.journal import Journal
from fraudstream.stream.judging import Ground, Judged, judge, judge_checked, off_after
from fraudstream.stream.logreader import LogReader
from fraudstream.stream.logs import tell
from fraudstream.stream.opening import FAR
from fraudstream.stream.partition import Partition
from fraudstream.stream.recovery import check_bundle
from fraudstream.stream.reference_keeper import ReferenceKeeper
from fraudstream.stream.services import Services
from fraudstream.stream.switching import switch_all
from fraudstream.stream.wire.batches_out import Outgoing

POLL_S = 0.2
"""Between two looks at the control topic."""
CHANGES_KEPT = 1_000
JUDGED_KEPT = 8


class ChangeKeeper:
    """Follows the changes of one worker."""

    def __init__(
        self,
        services: Services,
        model: Model | None,
        tables: ReferenceKeeper,
        partitions: Callable[[], Iterable[Partition]],
        reader: LogReader,
    ) -> None:
        self._services = services
        self._model = model
        self._tables = tables
        self._partitions = partitions
        self._reader = reader
        self._topic = services.settings.topics.control
        self._position = 0
        self._changes: dict[str, Change] = {}
        self._judged: dict[str, Judged] = {}
        self._pointer: Pointer | None = None
        """The newest that held."""
        self._seen: Pointer | None = None
        """The newest on the topic."""
        self._kept: list[str] = []
        self._edit: Judged | None = None
        """The directory was edited while no worker ran; it is announced once it is journaled."""
        self._told: Report | None = None
        self._last: tuple[str, State, str] = ("", "active", "")
        self.directory = ""
        """Why the rules directory is not in force, for the report; whoever looks at the directory sets it."""
        self._gone = False
        self._turn = asyncio.Lock()

    # Start -------------------------------------------------------------------------------------------

    async def begin(
        self, checked: Checked, journals: Sequence[Journal]
    ) -> tuple[Bundle | None, Checked | None, str]:
        """Decide what a starting worker wants in force.

        Args:
            checked: the rules directory.
            journals: of all partitions.

        Returns:
            The bundle, what was checked of it here if it was, and why the directory is not in force.
        """
        await self._scan()
        journals = [journal for journal in journals if journal.versions]
        self._kept = _kept(journals)
        newest = list(dict.fromkeys(journal.in_force(FAR).bundle for journal in journals))
        base = await self._services.catalogue.bundle(newest[0]) if newest else None
        found: Checked | None = None
        if (seen := self._seen) is not None:
            if seen.bundle in newest:
                self._pointer, base = seen, await self._services.catalogue.bundle(seen.bundle)
            elif (judged := await self._judge_pointer(seen, base, running=False)).good:
                self._pointer, base, found = seen, judged.checked.bundle, judged.checked
            else:
                self._refused(judged)
        if checked.bundle is None:
            return base, found, checked.problem
        if base is None or checked.bundle.hash == base.hash:
            if self._pointer is None:
                self._edit = self._of_directory(checked, None, running=False)
            return checked.bundle, checked, ""
        if self._pointer is not None and checked.bundle.hash == self._pointer.directory:
            return base, found, ""
        edit = self._of_directory(checked, base, running=False)
        if not edit.good:
            return base, found, edit.problem
        self._edit = edit
        return checked.bundle, checked, ""

    def assigned(self, partitions: set[int]) -> None:
        """Note what the group gave: a worker that is not alone takes no edit from its own directory."""
        edit = self._edit
        if edit is None or not edit.base or len(partitions) == self._services.facts.partitions:
            return
        self._edit = None
        self.directory = problem = self._not_alone(len(partitions))
        tell(messages.RULES_NOT_IN_FORCE, rules_dir=self._services.settings.rules_dir, problem=problem)
        self._services.observer.refuse("unapproved", problem)
        self._services.target = self._services.target._replace(bundle=edit.base, tables={})

    # Directory ---------------------------------------------------------------------------------------

    async def submit(self, checked: Checked) -> tuple[str, str]:
        """Put the directory's content in force; returns what became of it and why not."""
        assert checked.bundle is not None
        async with self._turn:
            await self._follow()
            base = await self._base()
            if base is not None and checked.bundle.hash == base.hash:
                self._services.target = self._services.target._replace(bundle=base.hash)
                return "unchanged", ""
            if self._pointer is not None and checked.bundle.hash == self._pointer.directory:
                # Touched, not edited: what was applied since stays in force.
                return "unchanged", ""
            owned = len(list(self._partitions()))
            if owned != self._services.facts.partitions:
                return "unapproved", self._not_alone(owned)
            judged = self._of_directory(checked, base, running=True)
            if not judged.good:
                return judged.result, judged.problem
            problem = await self._activate(judged)
            if problem:
                return "invalid", problem
            await self._announce(judged.change)
            return "applied", ""

    def _of_directory(self, checked: Checked, base: Bundle | None, *, running: bool) -> Judged:
        assert checked.bundle is not None
        now_ms = time.time_ns() // 1_000_000
        by = f"{self._services.settings.rules_dir} at {self._services.owner}"
        change = Change(new_id(now_ms), "directory", checked.bundle.hash, by, now_ms)
        return self._fitting(judge_checked(change, checked, self._ground(base), running=running))

    def _not_alone(self, owned: int) -> str:
        return (
            f"this worker owns {owned} of {self._services.facts.partitions} partitions, so other workers "
            "run: the directory of one of them changes nothing; use `fraudstream rules apply`"
        )

    # Following ---------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Follow the control topic until cancelled."""
        while True:
            await asyncio.sleep(POLL_S)
            async with self._turn:
                await self._announce_edit()
                await self._follow()
            await self._report()

    async def farewell(self) -> None:
        """Take back the report: this worker owns nothing any more."""
        told, self._told, self._gone = self._told, None, True
        if told is not None:
            key, _ = write_report(told)
            await self._append(key, None)

    async def _follow(self) -> None:
        try:
            found = await self._scan()
        except (KafkaError, NotDelivered):
            return  # the broker is away, which health and the log show; it is read again
        for key, value in found:
            if key == POINTER_KEY:
                await self._point(value)
            else:
                await self._consider(key, value)

    async def _scan(self) -> list[tuple[bytes, bytes]]:
        """Read what is new; keep what is known of changes; return the records that were appended."""
        end = await self._reader.end(self._topic, 0)
        found: list[tuple[bytes, bytes]] = []
        if not self._position:
            self._position = (await self._reader.bounds(self._topic, 0)).begin
        async for records in self._reader.read(self._topic, 0, self._position, end):
            for record in records:
                key, value = record.key or b"", record.value
                if value is None or not (key == POINTER_KEY or key.startswith(CHANGE_PREFIX)):
                    continue
                found.append((key, value))
                try:
                    if key == POINTER_KEY:
                        self._seen = read_pointer(value)
                    else:
                        change = read_change(key, value)
                        self._changes.setdefault(change.id, change)
                except BadChange as problem:
                    tell(messages.CONTROL_RECORD_BAD, offset=record.offset, problem=problem)
        self._position = max(self._position, end)
        while len(self._changes) > CHANGES_KEPT:
            self._changes.pop(next(iter(self._changes)))
        return found

    async def _consider(self, key: bytes, value: bytes) -> None:
        """Look at a proposed change and answer."""
        try:
            change = read_change(key, value)
        except BadChange as problem:
            name = key.removeprefix(CHANGE_PREFIX).decode("utf-8", "replace")
            await self._answer(name, "refused", str(problem), "invalid")
            return
        if change.id in self._judged or (self._pointer is not None and change.id == self._pointer.change):
            return
        judged = await self._judge(change, await self._base(), running=True)
        self._judged[change.id] = judged
        while len(self._judged) > JUDGED_KEPT:
            self._judged.pop(next(iter(self._judged)))
        if judged.good:
            await self._answer(change.id, "ready", "")
        else:
            self._refused(judged)
            await self._answer(change.id, "refused", judged.problem)

    async def _point(self, value: bytes) -> None:
        """Put in force what a pointer names, or put the pointer before in its place."""
        try:
            pointer = read_pointer(value)
        except BadChange as problem:
            await self._heal("", str(problem))
            return
        if self._pointer is not None and pointer.change == self._pointer.change:
            if pointer != self._pointer:
                await self._heal(pointer.change, "a pointer was written again with other content")
            return
        base = await self._base()
        judged = self._judged.get(pointer.change)
        if (
            judged is None
            or judged.base != ("" if base is None else base.hash)
            or judged.change.bundle != pointer.bundle
        ):
            judged = await self._judge_pointer(pointer, base, running=True)
        if not judged.good:
            self._services.observer.reloaded(judged.result, judged.problem)
            await self._heal(pointer.change, judged.problem)
            return
        if lacking := await self._activate(judged):
            self._services.observer.reloaded("invalid", lacking)
            await self._answer(pointer.change, "refused", lacking)
            return
        self._pointer = replace(pointer, off=off_after(self._pointer, judged.change))
        self._services.observer.reloaded("applied")
        await self._answer(pointer.change, "active", "")
        if pointer != self._pointer:
            await self._append(*write_pointer(self._pointer))

    async def _heal(self, change: str, problem: str) -> None:
        tell(messages.POINTER_REFUSED, problem=problem)
        await self._answer(change, "refused", problem)
        if self._pointer is not None:
            self._seen = self._pointer
            await self._append(*write_pointer(self._pointer))

    # Judging -----------------------------------------------------------------------------------------

    async def _judge_pointer(self, pointer: Pointer, base: Bundle | None, *, running: bool) -> Judged:
        change = self._changes.get(pointer.change)
        if change is None or change.bundle != pointer.bundle:
            unknown = Change(pointer.change, "apply", pointer.bundle, "nobody known", 0)
            problem = (
                f"the pointer names change `{pointer.change:.80}`, which the log has not with this bundle"
            )
            return Judged(unknown, Checked(None, problem, 1), "invalid", problem, "")
        return await self._judge(change, base, running=running)

    async def _judge(self, change: Change, base: Bundle | None, *, running: bool) -> Judged:
        ground = self._ground(base)
        try:
            archive = await self._services.catalogue.archive(change.bundle)
        except Refusal as problem:
            return Judged(change, Checked(None, str(problem), 1), "invalid", str(problem), "")
        try:
            judged = await asyncio.to_thread(
                judge,
                change,
                archive,
                ground,
                self._model,
                self._tables.files,
                self._services.catalogue.forms,
                running=running,
            )
        except Exception as problem:  # noqa: BLE001 - who may write to the topic must not end workers by it
            text = f"the change could not be judged: {problem!r}"
            return Judged(change, Checked(None, text, 1), "failed", text, "")
        return self._fitting(judged)

    def _fitting(self, judged: Judged) -> Judged:
        """Refuse what these topics can not carry."""
        if judged.good:
            assert judged.checked.bundle is not None
            try:
                check_bundle(
                    judged.checked.bundle, self._services.facts, self._services.settings.topics.input
                )
            except Refusal as problem:
                return replace(judged, result="invalid", problem=str(problem))
        return judged

    def _ground(self, base: Bundle | None) -> Ground:
        return Ground(base, {} if self._pointer is None else self._pointer.off, self._kept[:KEPT])

    async def _base(self) -> Bundle | None:
        wanted = self._services.target.bundle
        if wanted is None:
            running = [p.running.bundle for p in self._partitions() if p.running is not None]
            wanted = running[0] if running else None
        return None if wanted is None else await self._services.catalogue.bundle(wanted)

    # In force ----------------------------------------------------------------------------------------

    async def _activate(self, judged: Judged) -> str:
        """Make a change the target and wait until all partitions have journaled it; returns why not."""
        bundle = judged.checked.bundle
        assert bundle is not None
        self._services.catalogue.add_bundle(bundle)
        if problems := await self._tables.adopt(bundle, judged.checked.tables):
            return "\n".join(problems.values())
        told = await switch_all(self._partitions(), bundle.hash)
        self._kept = [bundle.hash, *(name for name in self._kept if name != bundle.hash)]
        tell(
            messages.CHANGE_APPLIED,
            change=judged.change.action,
            by=judged.change.by,
            bundle=bundle.hash,
            partitions=told,
        )
        return ""

    async def _announce_edit(self) -> None:
        """Write into the log what the directory asked for at the start, once it is journaled."""
        edit, partitions = self._edit, list(self._partitions())
        if edit is None or not partitions:
            return
        if all(p.running is not None and p.switched.is_set() for p in partitions):
            self._edit = None
            if self._kept[:1] != [edit.change.bundle]:
                self._kept.insert(0, edit.change.bundle)
            await self._announce(edit.change)

    async def _announce(self, change: Change) -> None:
        """Write a change of the directory, which is in force, and its pointer."""
        await self._services.catalogue.publish(change.bundle, self._services.target.models)
        self._pointer = Pointer(change.id, change.bundle, change.bundle, off_after(self._pointer, change))
        self._changes[change.id] = change
        await self._append(*write_change(change))
        await self._append(*write_pointer(self._pointer))
        self._last = (change.id, "active", "")

    # Reports -----------------------------------------------------------------------------------------

    def document(self) -> dict[str, Any]:
        """Return what the status shows of changes."""
        pointer = self._pointer
        return {
            "change": "" if pointer is None else pointer.change,
            "bundle": self._services.target.bundle or "",
            "off": [] if pointer is None else sorted(pointer.off),
            "kept": self._kept[:KEPT],
        }

    def _refused(self, judged: Judged) -> None:
        tell(messages.CHANGE_REFUSED, change=judged.change.id, by=judged.change.by, problem=judged.problem)
        self._services.observer.reloaded(judged.result, judged.problem)

    async def _answer(self, change: str, state: State, problem: str, result: str = "") -> None:
        self._last = (change, state, problem)
        if result:
            self._services.observer.reloaded(result, problem)
        await self._report()

    async def _report(self) -> None:
        """Write what is in force here if it is something new."""
        partitions = {
            p.number: (p.running.bundle, p.bundle_since)
            for p in self._partitions()
            if p.running is not None and p.phase.value == "running"
        }
        change, state, problem = self._last
        told = Report(self._services.owner, 0, change, state, problem, partitions, self.directory)
        if self._gone or told == self._told or (self._told is None and not partitions and not change):
            return
        self._told = told
        await self._append(*write_report(replace(told, at_ms=time.time_ns() // 1_000_000)))

    async def _append(self, key: bytes, value: bytes | None) -> None:
        appender = self._services.appender
        sent = await appender.append(self._topic, 0, [Outgoing(key, value)])
        await appender.settle(sent, f"control topic `{self._topic}`")


def _kept(journals: Sequence[Journal]) -> list[str]:
    """Return the bundles that were in force on any partition, the last ones first."""
    ranks: dict[str, int] = {}
    for journal in journals:
        for rank, name in enumerate(reversed(journal.bundles())):
            ranks[name] = min(rank, ranks.get(name, rank))
    return sorted(ranks, key=lambda name: ranks[name])
