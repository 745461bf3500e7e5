"""Suite `core`: the deterministic core without Kafka, per step and end to end, for several batch sizes."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from rich.progress import Progress

from fraudstream.bench.report import Table
from fraudstream.bench.traffic.generate import generate
from fraudstream.bench.workloads import Workload
from fraudstream.models.linear import load_model
from fraudstream.rules.compiler.compile import compile_sources
from fraudstream.stream.pipeline import Pipeline
from fraudstream.stream.wire.types import Slice

START_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z: event times of workloads are fixed."""
HASH_KEY = bytes(16)
LOAD_BATCH = 1000
STEPS = ("decode", "join", "admit", "features", "score", "rules", "decide", "encode")
"""Names that the pipeline tells its `on_step`."""


@dataclass(slots=True)
class Laps:
    """Nanoseconds per step, filled by the pipeline's lap calls."""

    total_ns: dict[str, int] = field(default_factory=dict)
    _last_ns: int = 0

    def begin(self) -> None:
        """Start the clock."""
        self._last_ns = time.perf_counter_ns()

    def __call__(self, step: str) -> None:
        """Book the time since the last call on ``step``."""
        now = time.perf_counter_ns()
        self.total_ns[step] = self.total_ns.get(step, 0) + now - self._last_ns
        self._last_ns = now


@dataclass(frozen=True, slots=True)
class CoreRun:
    """One batch size: microseconds per transaction."""

    batch: int
    transactions: int
    step_us: dict[str, float]
    decided_us: float
    """Decoded columns to decided columns."""
    end_us: float
    """Bytes to bytes."""
    rounds_us: tuple[float, ...]
    """The same in consecutive fifths of the run, for the spread."""


def build(workload: Workload) -> Pipeline:
    """Compile the workload's rules and make an empty partition."""
    compiled = compile_sources(workload.files())
    if compiled.bundle is None:
        raise SystemExit("\n".join(d.message for d in compiled.diagnostics))
    return Pipeline(0, HASH_KEY, compiled.bundle, load_model(workload.model()))


def slices(workload: Workload, count: int) -> list[Slice]:
    """Generate ``count`` records as slices of ``LOAD_BATCH``."""
    out: list[Slice] = []
    offset = 0
    for chunk in generate(count, seed=workload.seed, start_ms=START_MS, accounts=workload.accounts):
        times = np.asarray(chunk.times_ms)
        for at in range(0, len(chunk.values), LOAD_BATCH):
            values = chunk.values[at : at + LOAD_BATCH]
            keys = chunk.keys[at : at + LOAD_BATCH]
            n = len(values)
            # Record timestamps of workloads are fixed too: event time + 0 to 200 ms.
            stamps = times[at : at + n] + (np.arange(offset, offset + n) * 7919) % 201
            out.append(Slice.from_records(0, values, keys, range(offset, offset + n), stamps.tolist()))
            offset += n
    return out


def recut(source: Sequence[Slice], batch: int) -> list[Slice]:
    """Cut slices to pieces of ``batch`` records; the buffers are shared."""
    return [piece.part(at, at + batch) for piece in source for at in range(0, len(piece), batch)]


def measure(pipeline: Pipeline, source: Sequence[Slice], batch: int) -> CoreRun:
    """Run prepared slices through the pipeline and time every step."""
    laps = Laps()
    pipeline.on_step = laps
    pieces = recut(source, batch)
    n = sum(len(piece) for piece in pieces)
    rounds: list[float] = []
    fifth = max(len(pieces) // 5, 1)
    for at in range(0, len(pieces), fifth):
        part = pieces[at : at + fifth]
        begin = time.perf_counter_ns()
        for piece in part:
            laps.begin()
            pipeline.process(piece)
        rounds.append((time.perf_counter_ns() - begin) / sum(len(piece) for piece in part) / 1000)
    step_us = {step: laps.total_ns.get(step, 0) / n / 1000 for step in STEPS}
    decided = sum(us for step, us in step_us.items() if step not in ("decode", "encode"))
    return CoreRun(batch, n, step_us, decided, statistics.median(rounds), tuple(rounds[:5]))


def run(
    workload: Workload, history: int, count: int, batches: Sequence[int]
) -> tuple[list[Table], dict[str, object]]:
    """Fill state with ``history`` events, then time ``count`` events for each batch size."""
    pipeline = build(workload)
    pipeline.warm()
    with Progress(transient=True) as progress:
        generating = progress.add_task("generate", total=None)
        source = slices(workload, history + count * len(batches))
        progress.remove_task(generating)
        filling = progress.add_task("history", total=history)
        while source and pipeline.next_offset < history:
            piece = source.pop(0)
            pipeline.process(piece)
            progress.advance(filling, len(piece))
        runs = []
        timing = progress.add_task("measure", total=len(batches))
        for batch in batches:
            part, source = source[: count // LOAD_BATCH], source[count // LOAD_BATCH :]
            runs.append(measure(pipeline, part, batch))
            progress.advance(timing)
    columns = ["batch", *(f"{step} us" for step in STEPS)]
    columns += ["columns to decided us", "bytes to bytes us", "decided tx/s", "bytes tx/s"]
    table = Table(
        f"Core, {workload.id}",
        columns,
        note=f"One core, microseconds per transaction, after {history:,} events of history over "
        f"{workload.accounts:,} accounts; {count:,} transactions timed for each batch size.",
    )
    for item in runs:
        table.rows.append([item.batch, *item.step_us.values(), item.decided_us, item.end_us,
                           1e6 / item.decided_us, 1e6 / item.end_us])  # fmt: skip
    memory = Table("Memory", ["what", "value"])
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    store = pipeline.store
    keys = sum(store.keys.values())
    memory.rows += [
        ["keys", keys],
        ["state bytes", store.state_bytes],
        ["state bytes per key", store.state_bytes / max(keys, 1)],
        ["peak resident bytes of the process, records of the run included", rss],
    ]
    memory.rows += [[f"keys of {kind}", number] for kind, number in store.keys.items()]
    data = {
        "runs": [
            {
                "batch": item.batch,
                "transactions": item.transactions,
                "step_us": item.step_us,
                "decided_us": item.decided_us,
                "bytes_us": item.end_us,
                "rounds_us": item.rounds_us,
            }
            for item in runs
        ],
        "keys": dict(store.keys),
        "state_bytes": store.state_bytes,
        "peak_rss_bytes": rss,
    }
    return [table, memory], data
