"""The processes under test: the worker as operations would start it, and the echo workers beside it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from fraudstream.stream.errors import FraudstreamError

STOP_PATIENCE_S = 60
"""A draining worker writes a last snapshot; at a gigabyte of state that takes seconds."""


@dataclass(slots=True)
class Process:
    """A running child with its log."""

    child: subprocess.Popen[bytes]
    log: Path

    def cpu_s(self) -> float:
        """Return the processor seconds, user and system, used so far."""
        times = psutil.Process(self.child.pid).cpu_times()
        return float(times.user + times.system)

    def rss_bytes(self) -> int:
        """Return the resident memory."""
        return int(psutil.Process(self.child.pid).memory_info().rss)

    def tail(self, lines: int = 30) -> str:
        """Return the end of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def check(self) -> None:
        """Raise if the process has ended."""
        if self.child.poll() is not None:
            raise FraudstreamError(
                f"{self.log.stem} stopped with exit code {self.child.returncode}:\n{self.tail()}"
            )


@contextmanager
def running(command: Sequence[str], log: Path, env: Mapping[str, str]) -> Iterator[Process]:
    """Run a command; stop it with SIGTERM and expect exit code 0."""
    with log.open("wb") as sink:
        child = subprocess.Popen(command, env=os.environ | dict(env), stdout=sink, stderr=sink)  # noqa: S603 our own
    process = Process(child, log)
    try:
        yield process
        child.send_signal(signal.SIGTERM)
        if child.wait(STOP_PATIENCE_S) not in (0, -signal.SIGTERM):
            raise FraudstreamError(f"{log.stem} stopped with exit code {child.returncode}:\n{process.tail()}")
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()


def write_rules(files: Mapping[str, bytes], directory: Path) -> Path:
    """Write a rules directory."""
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return directory


@contextmanager
def running_worker(
    bootstrap: str,
    home: Path,
    app_id: str,
    prefix: str,
    *,
    command: Sequence[str] = ("worker",),
    **settings: str,
) -> Iterator[Process]:
    """Run `fraudstream worker`; ``settings`` are further FRAUDSTREAM_* names in lower case.

    Args:
        bootstrap: Servers.
        home: Where state and log go.
        app_id: Of the app.
        prefix: Of topics.
        command: Another service of the same app, with its arguments.
        settings: See above.
    """
    env = {
        "FRAUDSTREAM_BROKER": bootstrap,
        "FRAUDSTREAM_TOPIC_PREFIX": prefix,
        "FRAUDSTREAM_START": "earliest",
        "FRAUDSTREAM_STATE_DIR": str(home / f"{app_id}-state"),
        "FRAUDSTREAM_APP_ID": app_id,
        "FRAUDSTREAM_METRICS_PORT": "0",
    } | {f"FRAUDSTREAM_{name.upper()}": value for name, value in settings.items()}
    whole = [sys.executable, "-m", "fraudstream.stream.cli", *command]
    with running(whole, home / f"{app_id}-{command[0]}.log", env) as process:
        yield process


@contextmanager
def running_echo(client: str, bootstrap: str, home: Path, source: str, target: str) -> Iterator[Process]:
    """Run an echo worker of one client library."""
    group = f"echo-{client}-{os.getpid()}-{len(list(home.iterdir()))}"
    command = [sys.executable, "-m", "fraudstream.bench.echo", "--client", client, "--bootstrap", bootstrap,
               "--source", source, "--target", target, "--group", group]  # fmt: skip
    with running(command, home / f"{group}.log", {}) as process:
        yield process


@contextmanager
def temporary_home() -> Iterator[Path]:
    """Make a directory for state and logs that goes away."""
    with tempfile.TemporaryDirectory(prefix="fraudstream-bench-") as name:
        yield Path(name)
