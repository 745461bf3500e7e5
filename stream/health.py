"""Is the worker alive, is it ready, and what does it count: `/livez`, `/readyz`, `/metrics`, and a page.

The worker tells :class:`Health` what happens; the server, in the worker's own loop, answers from it.
Probes get 200 or 503, with one reason a line, so that `curl` says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import time
from collections.abc import Callable, Iterable
from typing import Any

import orjson
from aiohttp import web

from fraudstream.stream.collector import Metrics
from fraudstream.stream.errors import Refusal
from fraudstream.stream.status import page

SILENT_S = 30.0
"""A loop that ran nothing for this long hangs: no kernel and no snapshot holds it even for a second."""
BROKER_SEEN_S = 10.0
"""Heartbeats are a second apart; without an answer for this long the broker is away."""
BEAT_INTERVAL_S = 1.0
RULES_MEMBERS = ("app", "worker", "core", "partitions", "rules_change", "refused")
"""What `/status` shows: what is in force from which offset on, and what was refused last."""
QUIET_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
METRICS_TYPE = "text/plain; version=1.0.0; charset=utf-8; escaping=underscores"


class Health:
    """What is known about the worker; ``now`` is a monotonic clock in seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._beat_at = now()
        self._broker_at: float | None = None
        self._replayed: dict[int, bool] | None = None
        self._warm = False

    def beat(self) -> None:
        """The loop runs."""
        self._beat_at = self._now()

    def broker_seen(self) -> None:
        """The broker answered."""
        self._broker_at = self._now()

    def kernels_warm(self) -> None:
        """Nothing will be compiled any more."""
        self._warm = True

    def assigned(self, partitions: Iterable[int]) -> None:
        """The group gave these partitions, and no others; none is an assignment too."""
        before = self._replayed or {}
        self._replayed = {partition: before.get(partition, False) for partition in sorted(partitions)}

    def unassigned(self) -> None:
        """The group took the partitions; what it gives next is not known yet."""
        self._replayed = None

    def replayed(self, partition: int) -> None:
        """The state of a partition is that of its log end."""
        if self._replayed is not None and partition in self._replayed:
            self._replayed[partition] = True

    def why_not_live(self) -> list[str]:
        """Return the reasons to restart this process; empty: it lives."""
        silent_s = self._now() - self._beat_at
        return [f"the loop was silent for {silent_s:.0f} s"] if silent_s > SILENT_S else []

    def why_not_ready(self) -> list[str]:
        """Return what is missing until transactions are decided; empty: they are."""
        reasons = self.why_not_live()
        if not self._warm:
            reasons.append("kernels are being compiled")
        if self._replayed is None:
            reasons.append("no partitions are assigned yet")
        else:
            reasons += [f"partition {p} is being replayed" for p, done in self._replayed.items() if not done]
        if self._broker_at is None:
            reasons.append("the broker was not seen yet")
        elif (away_s := self._now() - self._broker_at) > BROKER_SEEN_S:
            reasons.append(f"the broker was not seen for {away_s:.0f} s")
        return reasons


class HealthServer:
    """Serves probes, metrics and the status page; runs in the loop in which it is started."""

    def __init__(
        self,
        health: Health,
        metrics: Metrics,
        host: str,
        port: int,
        status: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        """Prepare a server.

        Args:
            health: What the probes say.
            metrics: What a scrape shows.
            host: Address to listen on.
            port: Port, 0: any free one.
            status: What the page shows, asked each time.
        """
        self._health = health
        self._metrics = metrics
        self._status = status
        self._page, self._policy = page()
        self._address = (host, port)
        self._runner: web.AppRunner | None = None
        self._beating: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """Return the port that is listened on; it differs from the wanted one if that was 0."""
        assert self._runner is not None
        return int(self._runner.addresses[0][1])

    async def start(self) -> None:
        """Listen, and beat once a second.

        Raises:
            Refusal: The address cannot be listened on.
        """
        app = web.Application()
        app.add_routes(
            [
                web.get("/metrics", self._get_metrics),
                web.get("/livez", self._get_livez),
                web.get("/readyz", self._get_readyz),
                web.get("/", self._get_page),
                web.get("/status.json", self._get_status),
                web.get("/status", self._get_rules),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        host, port = self._address
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            await self.stop()
            raise Refusal(
                f"`/metrics` cannot be served on {host}:{port}: {error.strerror}; set "
                "FRAUDSTREAM_METRICS_HOST and FRAUDSTREAM_METRICS_PORT, 0 takes any free port"
            ) from error
        self._beating = asyncio.create_task(self._beat(), name="health heartbeat")

    async def stop(self) -> None:
        """Stop listening; may be called twice."""
        if self._beating is not None:
            self._beating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._beating
            self._beating = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _beat(self) -> None:
        while True:
            self._health.beat()
            await asyncio.sleep(BEAT_INTERVAL_S)

    async def _get_metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.text(), headers={"Content-Type": METRICS_TYPE})

    async def _get_livez(self, _request: web.Request) -> web.Response:
        return _answer(self._health.why_not_live())

    async def _get_page(self, _request: web.Request) -> web.Response:
        headers = {"Content-Security-Policy": self._policy, **QUIET_HEADERS}
        return web.Response(text=self._page, content_type="text/html", headers=headers)

    async def _get_status(self, _request: web.Request) -> web.Response:
        body = orjson.dumps(self._status())
        return web.Response(body=body, content_type="application/json", headers=QUIET_HEADERS)

    async def _get_rules(self, request: web.Request) -> web.Response:
        # Errors of a refused change quote rule files: they stay on this machine.
        if not _is_loopback(request.remote):
            return web.Response(text="/status is answered on this machine only\n", status=403)
        document = self._status()
        body = orjson.dumps({name: document[name] for name in RULES_MEMBERS if name in document})
        return web.Response(body=body, content_type="application/json", headers=QUIET_HEADERS)

    async def _get_readyz(self, _request: web.Request) -> web.Response:
        return _answer(self._health.why_not_ready())


def _is_loopback(address: str | None) -> bool:
    try:
        return ipaddress.ip_address(address or "").is_loopback
    except ValueError:
        return False


def _answer(reasons: list[str]) -> web.Response:
    return web.Response(
        text="".join(f"{reason}\n" for reason in reasons or ["ok"]), status=503 if reasons else 200
    )
