"""A real Prometheus beside a worker on this machine: for `demo --observe` and for the test of every query."""

from __future__ import annotations

import json
import shutil
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fraudstream.bench.processes import running
from fraudstream.stream.errors import CannotCheck

ALERTS = Path(__file__).resolve().parents[1] / "k8s" / "monitoring" / "alerts.yaml"
"""In a source tree; an installed package has no alert rules."""
READY_S = 30.0
INSTALL = "Debian and Ubuntu: apt-get install prometheus"
CONFIG = """\
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: {rules}
scrape_configs:
  - job_name: fraudstream
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


class Prometheus:
    """A Prometheus that answers at ``url``."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the result of an instant query.

        Raises:
            CannotCheck: The expression is wrong; says what Prometheus says.
        """
        answer = self._get("/api/v1/query?" + urllib.parse.urlencode({"query": expression}))
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that are pending or firing."""
        found: list[dict[str, Any]] = self._get("/api/v1/alerts")["data"]["alerts"]
        return found

    def ready(self) -> bool:
        """Return whether it answers queries."""
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=1):  # noqa: S310 - own process
                return True
        except OSError:
            return False

    def _get(self, path: str) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:  # noqa: S310
                found: dict[str, Any] = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            raise CannotCheck(f"Prometheus does not take this: {error.read().decode()}") from error


def find_prometheus() -> str | None:
    """Return the command of Prometheus, None where it is not installed."""
    return shutil.which("prometheus")


def free_port() -> int:
    """Return a port of loopback on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_prometheus(home: Path, worker_port: int) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes one worker every second; its data are gone afterwards.

    Raises:
        CannotCheck: It is not installed, or does not come up.
    """
    command = find_prometheus()
    if command is None:
        raise CannotCheck(f"Prometheus is not installed; {INSTALL}")
    config = home / "prometheus.yml"
    rules = json.dumps([str(ALERTS)] if ALERTS.exists() else [])
    config.write_text(CONFIG.format(rules=rules, port=worker_port), "utf-8")
    address = f"127.0.0.1:{free_port()}"
    arguments = [
        command,
        f"--config.file={config}",
        f"--storage.tsdb.path={home / 'prometheus'}",
        f"--web.listen-address={address}",
    ]
    with running(arguments, home / "prometheus.log", {}) as process:
        prometheus = Prometheus(f"http://{address}")
        end = time.monotonic() + READY_S
        while not prometheus.ready():
            process.check()
            if time.monotonic() > end:
                raise CannotCheck(f"Prometheus is not ready after {READY_S:.0f} s:\n{process.tail()}")
            time.sleep(0.1)
        yield prometheus
