"""Suite `start`: from the process's start until it is ready, with and without compiled kernels."""

from __future__ import annotations

import os
import time
import urllib.request
from collections.abc import Sequence
from typing import Any

from fraudstream.bench.kafka import Bench
from fraudstream.bench.observe import free_port
from fraudstream.bench.processes import running_worker
from fraudstream.bench.report import Table
from fraudstream.stream.errors import FraudstreamError
from fraudstream.stream.topics import create_topics

PATIENCE_S = 600.0
LOOK_S = 0.02


def run(bench: Bench, rounds: int) -> tuple[list[Table], dict[str, Any]]:
    """Start a worker once with no kernel compiled, then ``rounds`` times with the kernels of that start."""
    os.environ["NUMBA_CACHE_DIR"] = str(bench.home / "kernels")
    try:
        cold = _start(bench, "cold")
        warm = sorted(_start(bench, f"warm{number}") for number in range(rounds))
    finally:
        del os.environ["NUMBA_CACHE_DIR"]
    rows: list[Sequence[Any]] = [
        ["kernels compiled at this start", cold, cold, cold],
        ["kernels compiled before", warm[len(warm) // 2], warm[0], warm[-1]],
    ]
    table = Table(
        f"From start to ready, {bench.workload.id}",
        ["what", "median s", "min", "max"],
        rows,
        note="Until `/readyz` is 200: packages imported, kernels there, rules compiled, the group joined, an "
        "empty partition taken over. An image has its kernels compiled.",
    )
    return [table], {"cold_s": cold, "warm_s": warm}


def _start(bench: Bench, name: str) -> float:
    """Return seconds until a worker is ready that owns an empty partition."""
    create_topics(bench.bootstrap, partitions=1, prefix=f"{name}.")
    port = free_port()
    begin = time.monotonic()
    with running_worker(
        bench.bootstrap,
        bench.home,
        name,
        f"{name}.",
        rules_dir=str(bench.rules),
        model_path=str(bench.model),
        metrics_port=str(port),
    ) as process:
        while not _is_ready(port):
            process.check()
            if time.monotonic() - begin > PATIENCE_S:
                raise FraudstreamError(f"{name}: not ready after {PATIENCE_S:g} s:\n{process.tail()}")
            time.sleep(LOOK_S)
        return time.monotonic() - begin


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2):
            return True
    except OSError:
        return False
