"""The life of a trainer process: labels become events, models learn; no decision waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Coroutine
from dataclasses import replace
from importlib.metadata import version
from typing import Any, NamedTuple

from aiokafka.errors import KafkaError

from fraudstream.models.registry_store import Registry
from fraudstream.models.training import Training
from fraudstream.stream import messages
from fraudstream.stream.agents import Offered
from fraudstream.stream.app import WorkerApp, make_app
from fraudstream.stream.cluster import Cluster
from fraudstream.stream.collector import Metrics
from fraudstream.stream.ending import Ending
from fraudstream.stream.errors import CannotCheck, Refusal, RestartMe
from fraudstream.stream.failpoints import Failpoints
from fraudstream.stream.feedback import Feedback, Targets
from fraudstream.stream.following import Follower
from fraudstream.stream.health import Health, HealthServer
from fraudstream.stream.learning import Learning, Pace
from fraudstream.stream.logreader import LogReader
from fraudstream.stream.logs import sweep, tell
from fraudstream.stream.lost_rights import as_not_permitted
from fraudstream.stream.observe import Observer
from fraudstream.stream.permissions import trainer_rights
from fraudstream.stream.settings import Settings
from fraudstream.stream.trainer_state import TrainerStore

FINISH_S = 120.0
"""For the interval that is being learned and a last snapshot; without them they are made again."""
STOP_S = 10.0
"""For leaving a group and closing connections; then the process ends anyway."""


class Lessons(NamedTuple):
    """What a trainer learns, and where its versions go."""

    training: Training
    registry: Registry
    pace: Pace
    released: tuple[str, ...] = ()
    """Sources of labels that are trusted again."""


class Trainer:
    """One trainer process."""

    def __init__(self, settings: Settings, failpoints: Failpoints, lessons: Lessons | None = None) -> None:
        """Prepare a trainer; without ``lessons`` it makes events of labels and learns nothing."""
        self._settings = settings
        self._lessons = lessons
        self._reader = LogReader(settings)
        self._learning: Learning | None = None
        self._learner: asyncio.Task[None] | None = None
        self._failpoints = failpoints
        self._observer = Observer(Metrics())
        self._health = Health()
        self._server = HealthServer(
            self._health, self._observer.metrics, settings.metrics_host, settings.metrics_port
        )
        self._ending = Ending()
        self._apps: list[WorkerApp] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Work until SIGTERM or SIGINT.

        Raises:
            FraudstreamError: why the process has to end; its exit code says what to do.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ending.ended.set)
        settings = self._settings
        tell(
            messages.TRAINER_STARTS,
            version=version("fraudstream"),
            app=settings.app_id,
            broker=settings.broker,
            models=[] if self._lessons is None else list(self._lessons.training.names),
        )
        try:
            await self._server.start()
            targets = await asyncio.to_thread(read_targets, settings, learns=self._lessons is not None)
            follower = Follower(self._failpoints, self._ending)
            app = self._app(settings.topic_labels, "feedback", follower)
            await app.start()
            self._tasks.append(self._spawn(Feedback(app, follower, targets).run(), "feedback"))
            if self._lessons is not None:
                await self._learn(self._lessons, targets.partitions)
            self._tasks.append(self._spawn(self._keep_house(), "housekeeping"))
            await self._ending.ended.wait()
        except KafkaError as problem:
            raise as_not_permitted(problem) or RestartMe(
                f"the broker at {settings.broker} went away: {problem!r}"
            ) from problem
        finally:
            await self._close()
        if self._ending.problem is not None:
            raise self._ending.problem

    async def _learn(self, lessons: Lessons, partitions: int) -> None:
        settings = self._settings
        follower = Follower(self._failpoints, self._ending)
        app = self._app(settings.topic_features, "trainer", follower)
        directory = settings.state_dir / settings.app_id / "trainer"
        self._learning = Learning(
            app,
            follower,
            partitions,
            lessons.training,
            lessons.registry,
            TrainerStore(directory, self._failpoints.hit),
            self._reader,
            lessons.pace._replace(
                snapshot_s=float(settings.snapshot_interval_s), snapshot_records=settings.snapshot_records
            ),
        )
        await asyncio.to_thread(self._learning.resume)
        lessons.training.quarantine -= set(lessons.released)
        await self._reader.start()
        await app.start()
        self._learner = self._spawn(self._learning.run(), "learning")

    def _app(self, topic: str, kind: str, follower: Follower) -> WorkerApp:
        """Return an app whose one input topic is ``topic``, in a group of its own."""
        own = replace(self._settings, topic_input=topic, app_id=f"{self._settings.app_id}-{kind}")
        owner: Offered = follower
        app = make_app(own, owner, self._health, self._failpoints, self._observer)
        self._apps.append(app)
        return app

    async def _keep_house(self) -> None:
        """Once a second: health, metrics, and whether the consumers live."""
        self._health.kernels_warm()
        self._health.assigned(())
        while True:
            if all(app.lease.broker_answers() for app in self._apps):
                self._health.broker_seen()
            self._observer.publish([], [])
            sweep()
            for app in self._apps:
                if app.crashed:
                    self._ending.failed(app.crash_reason or RestartMe("the consumer or the producer ended"))
            await asyncio.sleep(1.0)

    async def _close(self) -> None:
        if self._learning is not None and self._learner is not None:
            self._learning.finish()
            await asyncio.wait([self._learner], timeout=FINISH_S)
            self._tasks.append(self._learner)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for app in self._apps:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(STOP_S):
                    if self._ending.problem is None:
                        await app.commit_snapshots()
                    await app.stop()
        await self._reader.close()
        await self._server.stop()

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (problem := task.exception()) is not None:
            self._ending.failed(problem)


def read_targets(settings: Settings, *, learns: bool = False) -> Targets:
    """Ask the broker about the topics; blocks until it answers.

    Raises:
        Refusal: a topic is missing, or partition counts do not fit.
        NotPermitted: the broker does not let this user do what a trainer does; names every missing right.
        RestartMe: the broker did not answer.
    """
    names = settings.topics
    wanted = [names.input, names.dead_letters, names.labels, *([names.features] if learns else [])]
    try:
        cluster = Cluster.of(settings)
        found = cluster.describe(wanted).topics
        cluster.require(trainer_rights(settings, learns=learns))
    except CannotCheck as problem:
        raise RestartMe(str(problem)) from problem
    if missing := [name for name in wanted if name not in found]:
        raise Refusal(
            f"{settings.broker} has no topic {', '.join(f'`{name}`' for name in missing)}; make them with "
            "`fraudstream topics create --learning`"
        )
    partitions = found[names.input].partitions
    if learns and found[names.features].partitions != partitions:
        raise Refusal(
            f"`{names.input}` has {partitions} partitions and `{names.features}` has "
            f"{found[names.features].partitions}; make the latter anew with the input's count"
        )
    dead = found[names.dead_letters]
    return Targets(names, partitions, dead.partitions, int(dead.config["max.message.bytes"]))
