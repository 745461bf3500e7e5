"""Probes say whether the worker lives and decides, and why not."""

from __future__ import annotations

import asyncio
import socket

import aiohttp
import pytest

from fraudstream.stream import metrics as declared
from fraudstream.stream.collector import Metrics
from fraudstream.stream.errors import Refusal
from fraudstream.stream.health import Health, HealthServer


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def ready(clock: Clock) -> Health:
    """Return the health of a worker that decides."""
    health = Health(clock)
    health.kernels_warm()
    health.assigned([0, 1])
    health.replayed(0)
    health.replayed(1)
    health.broker_seen()
    return health


def test_a_new_worker_lives_and_lacks_everything() -> None:
    """All that is missing is named at once."""
    health = Health(Clock())
    assert health.why_not_live() == []
    assert health.why_not_ready() == [
        "kernels are being compiled",
        "no partitions are assigned yet",
        "the broker was not seen yet",
    ]


def test_a_worker_is_ready_when_all_its_partitions_are_replayed() -> None:
    """One partition that is still behind keeps the worker unready."""
    health = ready(Clock())
    assert health.why_not_ready() == []
    health.assigned([0, 1, 2])
    assert health.why_not_ready() == ["partition 2 is being replayed"]
    health.replayed(2)
    assert health.why_not_ready() == []


def test_a_partition_that_comes_back_is_replayed_again() -> None:
    """What was replayed before a partition was lost says nothing about its state now."""
    health = ready(Clock())
    health.assigned([0])
    health.assigned([0, 1])
    assert health.why_not_ready() == ["partition 1 is being replayed"]
    health.unassigned()
    assert health.why_not_ready() == ["no partitions are assigned yet"]


def test_a_worker_without_partitions_is_ready() -> None:
    """More workers than partitions: the rest stands by and must not look broken."""
    health = ready(Clock())
    health.assigned([])
    assert health.why_not_ready() == []


def test_a_replay_of_a_lost_partition_does_not_count() -> None:
    """A late report about a partition that was taken is ignored."""
    health = ready(Clock())
    health.assigned([0])
    health.replayed(7)
    assert health.why_not_ready() == []


def test_an_absent_broker_costs_readiness_after_ten_seconds_but_not_life() -> None:
    """Restarting a worker does not bring a broker back."""
    clock = Clock()
    health = ready(clock)
    clock.now += 10
    health.beat()
    assert health.why_not_ready() == []
    clock.now += 1
    assert health.why_not_ready() == ["the broker was not seen for 11 s"]
    assert health.why_not_live() == []


def test_a_silent_loop_costs_life_after_thirty_seconds() -> None:
    """A loop that hangs for more than 30 s is to be restarted."""
    clock = Clock()
    health = ready(clock)
    clock.now += 30
    health.broker_seen()
    assert health.why_not_live() == []
    clock.now += 1
    assert health.why_not_live() == ["the loop was silent for 31 s"]
    assert health.why_not_ready() == ["the loop was silent for 31 s"]


async def test_the_pages_answer_with_status_and_reasons() -> None:
    """`/livez`, `/readyz` and `/metrics` are served on loopback; the heartbeat goes by itself."""
    clock = Clock()
    health, metrics = Health(clock), Metrics()
    metrics.add(declared.RELOADS, 1, "applied")
    server = HealthServer(health, metrics, "127.0.0.1", 0)
    clock.now += 60
    await server.start()
    await asyncio.sleep(0)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
            async with session.get("/livez") as answer:
                assert (answer.status, await answer.text()) == (200, "ok\n")
            async with session.get("/readyz") as answer:
                assert answer.status == 503
                assert "kernels are being compiled\n" in await answer.text()
            async with session.get("/metrics") as answer:
                assert answer.status == 200
                assert 'fraudstream_reload_total{result="applied"} 1.0' in await answer.text()
                assert answer.headers["Content-Type"].startswith("text/plain; version=")
            clock.now += 31
            async with session.get("/livez") as answer:
                assert (answer.status, await answer.text()) == (503, "the loop was silent for 31 s\n")
    finally:
        await server.stop()
        await server.stop()


async def test_a_port_in_use_is_refused_with_the_setting_to_change() -> None:
    """The message names the settings."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = HealthServer(Health(), Metrics(), "127.0.0.1", taken.getsockname()[1])
        with pytest.raises(Refusal, match="FRAUDSTREAM_METRICS_PORT"):
            await server.start()
