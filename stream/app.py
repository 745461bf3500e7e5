"""The Faust app: created by a function, with nothing global and no web server of its own."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

import faust
from mode import CrashingSupervisor

from fraudstream.stream.agents import Ownership, attach_agent
from fraudstream.stream.collector import Metrics
from fraudstream.stream.failpoints import Failpoints
from fraudstream.stream.health import Health
from fraudstream.stream.lease import Lease
from fraudstream.stream.observe import Observer
from fraudstream.stream.partition import Partition
from fraudstream.stream.services import Services
from fraudstream.stream.settings import Settings
from fraudstream.stream.transport import SliceTransport

REBALANCE_TIMEOUT_S = 60.0
"""Others wait this long for a member that still stops its partitions."""
POLL_INTERVAL_MAX_S = 3_600.0
"""With the broker away nothing is fetched on purpose; the lease, not this, ends a hanging worker."""


class WorkerApp(faust.App):  # type: ignore[misc]
    """Faust app whose transport delivers slices."""

    logger = logging.getLogger("faust.app")

    def __init__(self, settings: Settings, owner: Any, **options: Any) -> None:
        self.settings = settings
        self.owner = owner
        self.lease = Lease(settings.session_timeout_ms)
        super().__init__(settings.app_id, **options)

    async def commit_snapshots(self) -> None:
        """Commit the offsets of the newest snapshots, for lag tools."""
        await self.consumer.commit()

    def _create_directories(self) -> None:
        """Make none: they are for tables, of which there are none, and would lie where one happens to be."""

    def _new_transport(self) -> SliceTransport:
        return SliceTransport(self.conf.broker_consumer, self)

    def _new_producer_transport(self) -> SliceTransport:
        return SliceTransport(self.conf.broker_producer, self)


def create_app(
    settings: Settings,
    *,
    failpoints: Failpoints | None = None,
    make_partition: Callable[[int, Services], Partition] = Partition,
) -> WorkerApp:
    """Create the app of one worker; nothing is connected before it is started.

    Args:
        settings: Connections, paths and resources.
        failpoints: Of this process; None: from the environment.
        make_partition: Constructor of the state machine of a partition.
    """
    if failpoints is None:
        failpoints = Failpoints.from_environment(os.environ)
    health = Health()
    return make_app(settings, Ownership(health, failpoints, make_partition), health, failpoints)


def make_app(
    settings: Settings,
    owner: Any,
    health: Health,
    failpoints: Failpoints,
    observer: Observer | None = None,
) -> WorkerApp:
    """Create an app that reads the input topic of ``settings`` for an owner of its partitions."""
    session_s = settings.session_timeout_ms / 1000
    app = WorkerApp(
        settings,
        owner,
        broker=[f"kafka://{server}" for server in settings.broker.split(",")],
        autodiscover=False,
        web_enabled=False,
        store="memory://",
        topic_allow_declare=False,
        topic_disable_leader=True,
        agent_supervisor=CrashingSupervisor,
        broker_session_timeout=session_s,
        broker_heartbeat_interval=settings.heartbeat_interval_ms / 1000,
        broker_request_timeout=max(settings.request_timeout_ms / 1000, session_s),
        broker_rebalance_timeout=REBALANCE_TIMEOUT_S,
        broker_max_poll_interval=POLL_INTERVAL_MAX_S,
        broker_commit_interval=5.0,
        # Slices: the intake bounds them per partition, the stream must never be what blocks.
        stream_buffer_maxsize=4_096,
        stream_wait_empty=False,
        producer_acks=-1,
        producer_linger=0.0,
        producer_max_batch_size=512 * 1024,
        producer_request_timeout=settings.request_timeout_ms / 1000,
        producer_compression_type=None,
    )
    app.failpoints = failpoints
    app.health = health
    app.observer = Observer(Metrics()) if observer is None else observer
    app.decide = attach_agent(app, owner)
    return app
