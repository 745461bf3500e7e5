"""Measurements of snapshots, each called in a process of its own (``child.py``)."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudstream.bench.columns import Mix, Traffic
from fraudstream.bench.points import BATCH, CHUNK, HASH_KEY, bundle_of, feed, resident
from fraudstream.stream.pipeline import Pipeline
from fraudstream.stream.progress import Progress
from fraudstream.stream.snapshots import Header, SnapshotFile, SnapshotStore, read_snapshot
from fraudstream.stream.windows.copying import Copy
from fraudstream.stream.windows.store import WindowStore
from fraudstream.stream.wire.types import Batch

QUIET_SLICES = 300
"""Slices timed without a snapshot, for comparison."""


@dataclass(slots=True)
class Times:
    """What the slices and the steps between them took, wall clock and processor time of the worker, ns."""

    slice: list[int] = field(default_factory=list)
    step: list[int] = field(default_factory=list)
    slice_cpu: list[int] = field(default_factory=list)
    step_cpu: list[int] = field(default_factory=list)
    moving: list[int] = field(default_factory=list)
    """Processor time of the slices in which a table moved to an area of another size."""

    def summary(self) -> dict[str, dict[str, float]]:
        """Return median, 99th percentile and largest in milliseconds."""
        return {
            name: summary_of(np.array(getattr(self, name))) for name in self.__slots__ if getattr(self, name)
        }


def summary_of(ns: NDArray[np.int64]) -> dict[str, float]:
    """Return median, 99th percentile and largest in milliseconds."""
    return {
        "median": float(np.median(ns)) / 1e6,
        "p99": float(np.quantile(ns, 0.99)) / 1e6,
        "max": float(ns.max()) / 1e6,
    }


class Slices:
    """Slices of traffic through a store, timed."""

    def __init__(self, store: WindowStore, traffic: Traffic, size: int) -> None:
        self._store = store
        self._made = self._make(traffic, size)

    def _make(self, traffic: Traffic, size: int) -> Iterator[tuple[Batch, NDArray[np.uint64]]]:
        while True:
            yield from list(traffic.batches(CHUNK, size))

    def process(self, times: Times) -> None:
        """Take the next slice through admission and windows."""
        batch, masks = next(self._made)
        moving = self._store.moving
        cpu, wall = time.thread_time_ns(), time.perf_counter_ns()
        self._store.advance(batch, self._store.admit(batch, 0), masks)
        took, took_cpu = time.perf_counter_ns() - wall, time.thread_time_ns() - cpu
        if moving or self._store.moving:
            times.moving.append(took_cpu)
        times.slice.append(took)
        times.slice_cpu.append(took_cpu)


def write_down(copy: Copy, file: SnapshotFile, slices: Slices, times: Times) -> None:
    """Do what a worker does: a step between two slices, parts to the file in a thread."""
    with ThreadPoolExecutor(1) as thread:
        writing: Future[None] | None = thread.submit(file.write, copy.head)
        own = False
        while not copy.ended or writing is not None or copy.waiting_words:
            cpu, wall = time.thread_time_ns(), time.perf_counter_ns()
            if writing is not None and writing.done():
                writing.result()
                if own:
                    copy.give_back()
                writing = None
            copy.step()
            if writing is None and (part := copy.take()) is not None:
                writing, own = thread.submit(file.write, part.data), True
            times.step.append(time.perf_counter_ns() - wall)
            times.step_cpu.append(time.thread_time_ns() - cpu)
            slices.process(times)
    copy.close()


def take(
    workload: str,
    resolution: str,
    accounts: int,
    transactions: int,
    path: str,
    rounds: int,
    size: int = BATCH,
) -> dict[str, Any]:
    """Fill a partition, snapshot it several times while slices go on, leave the last snapshot in ``path``."""
    bundle = bundle_of(workload, resolution)
    store = WindowStore(bundle.features, bundle.schema)
    # Everybody once, then the usual mix, within eight hours.
    mix = Mix(accounts, transactions * 3, in_turn=True)
    traffic = Traffic(bundle.schema, len(bundle.features.filters), mix)
    Pipeline(0, HASH_KEY, bundle, None).warm()
    with Progress("fill", transactions, "transactions") as progress:
        feed(store, traffic, transactions, tell=progress.at)
    pipeline = Pipeline(0, HASH_KEY, bundle, None, store=store)
    before = resident()
    slices, quiet = Slices(store, traffic, size), Times()
    for _ in range(QUIET_SLICES):
        slices.process(quiet)
    directory = SnapshotStore(Path(path), kept=rounds + 1)
    runs = []
    for number in range(rounds):
        print(f"snapshot {number + 1} of {rounds}", file=sys.stderr)
        times = Times()
        begin = time.perf_counter()
        copy = pipeline.begin_snapshot()
        begun = time.perf_counter()
        file = directory.begin(_header(number), lambda: None)
        write_down(copy, file, slices, times)
        copied = time.perf_counter()
        published = directory.publish(file.finish())
        runs.append(
            {
                "begin_ms": (begun - begin) * 1e3,
                "copied_s": copied - begin,
                "durable_s": time.perf_counter() - begin,
                "slices": len(times.slice),
                "bytes": published.stat().st_size,
                "times": times.summary(),
            }
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    begin = time.perf_counter()
    size_at_once = len(pipeline.snapshot())
    return {
        "keys": dict(store.keys),
        "state_bytes": store.state_bytes,
        "slice_rows": size,
        "quiet": quiet.summary(),
        "runs": runs,
        "at_once_s": time.perf_counter() - begin,
        "at_once_bytes": size_at_once,
        "resident_bytes": before,
        "peak_bytes": peak,
    }


def restore(workload: str, resolution: str, path: str, rounds: int) -> dict[str, Any]:
    """Read the newest snapshot of a directory, restore a partition and decide a batch, several times."""
    bundle = bundle_of(workload, resolution)
    Pipeline(0, HASH_KEY, bundle, None).warm()
    read, restored, processor, first = [], [], [], []
    pipeline: Pipeline | None = None
    newest = max(Path(path).glob("*.snapshot"))
    for number in range(rounds):
        print(f"restore {number + 1} of {rounds}", file=sys.stderr)
        pipeline = None
        begin = time.perf_counter()
        snapshot = read_snapshot(newest)
        middle, cpu = time.perf_counter(), time.thread_time()
        pipeline = Pipeline.restore(snapshot.state, bundle, None, checked=True)
        end = time.perf_counter()
        processor.append(time.thread_time() - cpu)
        read.append(middle - begin)
        restored.append(end - middle)
        del snapshot
        traffic = Traffic(bundle.schema, len(bundle.features.filters), Mix(1_000, 1e6, seed=2))
        traffic.now_ms = pipeline.store.watermark_ms
        begin = time.perf_counter()
        feed(pipeline.store, traffic, 64, 64)
        first.append(time.perf_counter() - begin)
    assert pipeline is not None
    return {
        "read_s": read,
        "restore_s": restored,
        "restore_cpu_s": processor,
        "first_batch_s": first,
        "resident_bytes": resident(),
        "state_bytes": pipeline.store.state_bytes,
        "keys": dict(pipeline.store.keys),
    }


def _header(number: int) -> Header:
    return Header(
        cluster="bench",
        input_topic="i",
        decisions_topic="d",
        journal_topic="j",
        partitions=1,
        partition=0,
        next_offset=number,
        decision_offset=0,
        last_offset=-1,
        last_value_sha256="",
        start_from=0,
        hash_key="",
        bundle="",
        models="",
        core="",
        mode="live",
        state_from=0,
        watermark_ms=0,
        epoch=0,
        taken_ms=0,
    )
