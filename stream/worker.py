"""The life of a worker process: prepare, decide until told to stop, drain."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from aiokafka.errors import KafkaError

from fraudstream.models.inputs import ModelError
from fraudstream.models.model import Model
from fraudstream.stream import messages
from fraudstream.stream.app import WorkerApp
from fraudstream.stream.change_keeper import ChangeKeeper
from fraudstream.stream.compiled_forms import CompiledForms
from fraudstream.stream.control import Catalogue, Target
from fraudstream.stream.core import CORE
from fraudstream.stream.directory import Checked, check_directory, stamp
from fraudstream.stream.enrichment.directory import TableFiles
from fraudstream.stream.errors import Refusal, RestartMe
from fraudstream.stream.facts import read_facts
from fraudstream.stream.health import HealthServer
from fraudstream.stream.journal import Journal, read_journal
from fraudstream.stream.logreader import LogReader
from fraudstream.stream.logs import sweep, tell
from fraudstream.stream.lost_rights import as_not_permitted
from fraudstream.stream.model_watch import ModelWatch
from fraudstream.stream.opening import FAR
from fraudstream.stream.pipeline import Pipeline
from fraudstream.stream.pseudonyms import hide_by
from fraudstream.stream.recovery import Facts
from fraudstream.stream.reference_keeper import ReferenceKeeper
from fraudstream.stream.reload import Reloader
from fraudstream.stream.scoring import NO_MODEL
from fraudstream.stream.security import is_open
from fraudstream.stream.services import Services
from fraudstream.stream.shipped import shipped_model
from fraudstream.stream.status import Status

STOP_S = 10.0
"""For leaving the group and closing connections; then the process ends anyway."""


class _Appender:
    """The producer of an app that starts later."""

    def __init__(self, app: WorkerApp) -> None:
        self._app = app

    async def append(self, topic: str, partition: int, records: Any) -> list[asyncio.Future[Any]]:
        """Queue records; one future a batch."""
        sent: list[asyncio.Future[Any]] = await self._app.producer.append(topic, partition, records)
        return sent

    async def settle(self, sent: Sequence[asyncio.Future[Any]], what: str) -> list[Any]:
        """Await the acknowledgement of sends."""
        results: list[Any] = await self._app.producer.settle(sent, what)
        return results


class Worker:
    """One worker process around an app."""

    def __init__(
        self,
        app: WorkerApp,
        *,
        shadow: bool = False,
        accept_short_history: bool = False,
        backfill: bool = False,
    ) -> None:
        self._app = app
        self._settings = app.settings
        self._shadow = shadow
        self._accept_short_history = accept_short_history
        self._backfill = backfill
        self._owner_name = f"{socket.gethostname()}:{os.getpid()}"
        about = {
            "app": app.settings.app_id,
            "worker": self._owner_name,
            "version": version("fraudstream"),
            "core": CORE,
        }
        self._status = Status(app.observer.metrics, about, app.settings.deadline_ms)
        self._server = HealthServer(
            app.health,
            app.observer.metrics,
            app.settings.metrics_host,
            app.settings.metrics_port,
            self._document,
        )
        self._reader = LogReader(app.settings)
        self._control_reader = LogReader(app.settings)
        self._changes: ChangeKeeper | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def _document(self) -> dict[str, Any]:
        changes = None if self._changes is None else self._changes.document()
        return self._status.document(self._app.health.why_not_ready(), self._app.observer.refused, changes)

    async def run(self) -> None:
        """Work until SIGTERM or SIGINT.

        Raises:
            FraudstreamError: why the process has to end; its exit code says what to do.
        """
        owner = self._app.owner
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, owner.ended.set)
        tell(
            messages.STARTS,
            version=version("fraudstream"),
            app=self._settings.app_id,
            broker=self._settings.broker,
            core=CORE,
            rules_dir=self._settings.rules_dir,
        )
        try:
            await self._server.start()
            await self._prepare()
            if not owner.ended.is_set():
                await self._app.start()
                await owner.ended.wait()
                await self._stop_partitions()
        except KafkaError as problem:
            raise as_not_permitted(problem) or RestartMe(
                f"the broker at {self._settings.broker} went away: {problem!r}"
            ) from problem
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            with contextlib.suppress(Exception):
                async with asyncio.timeout(STOP_S):
                    await self._app.stop()
            await self._reader.close()
            await self._control_reader.close()
            await self._server.stop()
        if owner.problem is not None:
            raise owner.problem

    async def _prepare(self) -> None:
        app, settings = self._app, self._settings
        appender = _Appender(app)
        forms = CompiledForms(settings.state_dir / settings.app_id / "compiled")
        catalogue = Catalogue(settings.topics.control, appender, self._reader, forms)
        if is_open(settings):
            tell(messages.NOT_ENCRYPTED, broker=settings.broker)
        hide = hide_by(settings)
        if not settings.pseudonym_key_file:
            tell(messages.NO_PSEUDONYMS)
        facts = await asyncio.to_thread(read_facts, settings)
        await self._reader.start()
        await self._control_reader.start()
        model = _load_model(catalogue, settings.model_path)
        seen = await asyncio.to_thread(stamp, settings.rules_dir)
        files = TableFiles(settings.rules_dir)
        checked = await asyncio.to_thread(check_directory, settings.rules_dir, model, files, forms)
        if checked.bundle is None:
            tell(
                messages.RULES_UNUSABLE,
                rules_dir=settings.rules_dir,
                errors=checked.errors,
                problem=checked.problem,
            )
            app.observer.refuse("invalid", checked.problem)
        else:
            catalogue.add_bundle(checked.bundle)
        services = Services(
            settings=settings,
            facts=facts,
            appender=appender,
            catalogue=catalogue,
            lease=app.lease,
            failpoints=app.failpoints,
            observer=app.observer,
            hide=hide,
            target=Target(
                bundle=None,
                models=NO_MODEL if model is None else model.version,
                mode="shadow" if self._shadow else "live",
            ),
            commit=app.commit_snapshots,
            fail=app.owner.failed,
            owner=self._owner_name,
            rules_problem=checked.problem,
            accept_short_history=self._accept_short_history,
            backfill=self._backfill,
        )
        keeper = ReferenceKeeper(services, model, files, lambda: list(app.owner.partitions.values()))
        changes = ChangeKeeper(
            services, model, keeper, lambda: list(app.owner.partitions.values()), self._control_reader
        )
        await self._decide_rules(services, changes, keeper, checked)
        app.owner.services = services
        self._changes = changes
        reloader = Reloader(
            settings.rules_dir, settings.reload_interval_ms, model, services, changes, seen, files
        )
        self._spawn(self._keep_house(services), "housekeeping")
        self._spawn(reloader.run(), "reload")
        self._spawn(keeper.run(), "reference tables")
        self._spawn(changes.run(), "changes of the rules")
        if settings.model_path:
            watch = ModelWatch(
                Path(settings.model_path),
                settings.reload_interval_ms,
                services,
                lambda: list(app.owner.partitions.values()),
            )
            self._spawn(watch.run(), "model file")
        # What the start made stays to the end: no full collection has to walk it while decisions wait.
        gc.collect()
        gc.freeze()

    async def _decide_rules(
        self, services: Services, changes: ChangeKeeper, tables: ReferenceKeeper, checked: Checked
    ) -> None:
        """Choose what is to be in force: the directory, what was applied, or what the journal says."""
        journals = await self._journals(services.facts)
        bundle, found, problem = await changes.begin(checked, journals)
        changes.directory = problem
        if problem and checked.bundle is not None:
            tell(messages.RULES_NOT_IN_FORCE, rules_dir=services.settings.rules_dir, problem=problem)
            services.observer.refuse("unapproved", problem)
        services.assigned = changes.assigned
        services.target = services.target._replace(bundle=None if bundle is None else bundle.hash)
        if bundle is None:
            return
        services.catalogue.add_bundle(bundle)
        model = await services.catalogue.model(services.target.models)
        await asyncio.to_thread(Pipeline(0, bytes(16), bundle, model).warm)
        self._app.health.kernels_warm()
        loaded = await asyncio.to_thread(tables.files.load, bundle, model) if found is None else found.tables
        journaled = {name: at for journal in journals for name, at in journal.in_force(FAR).tables.items()}
        if problems := await tables.begin(bundle, loaded, journaled):
            services.rules_problem = "\n".join(problems.values())
            services.target = services.target._replace(bundle=None)

    async def _journals(self, facts: Facts) -> list[Journal]:
        """Return the journals of all partitions that have a version."""
        found = []
        for number in range(facts.partitions):
            topic = self._settings.topics.journal
            bounds = await self._reader.bounds(topic, number)
            records = [
                (record.offset, record.value or b"")
                async for step in self._reader.read(topic, number, bounds.begin, bounds.end)
                for record in step
            ]
            journal = read_journal(records)
            if journal.versions:
                found.append(journal)
        return found

    async def _stop_partitions(self) -> None:
        owner = self._app.owner
        if owner.problem is None:
            tell(messages.DRAINS, partitions=len(owner.partitions))
            await owner.drain()
            if self._changes is not None and owner.problem is None:
                await self._changes.farewell()
        if owner.problem is not None:
            await owner.kill()

    async def _keep_house(self, services: Services) -> None:
        """Once a second: health and metrics."""
        app = self._app
        while True:
            if app.lease.broker_answers():
                app.health.broker_seen()
            partitions = list(app.owner.partitions.values())
            for partition in partitions:
                if partition.caught_up:
                    app.health.kernels_warm()
                    app.health.replayed(partition.number)
            running = {partition.running.bundle for partition in partitions if partition.running is not None}
            bundles = [bundle for name in running if (bundle := services.catalogue.known(name)) is not None]
            app.observer.publish(partitions, bundles)
            self._status.sample(partitions, bundles)
            sweep()
            if app.crashed:
                app.owner.failed(app.crash_reason or RestartMe("the consumer or the producer ended"))
            await asyncio.sleep(1.0)

    def _spawn(self, work: Any, name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.append(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (problem := task.exception()) is not None:
            self._app.owner.failed(problem)


def _load_model(catalogue: Catalogue, path: str) -> Model | None:
    content = Path(path).read_bytes() if path else shipped_model()
    if content is None:
        return None
    try:
        return catalogue.add_model(content)
    except ModelError as problem:
        raise Refusal(f"model {path or 'of this installation'} cannot be used: {problem}") from problem
