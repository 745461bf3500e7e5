"""Suite `core`: the deterministic core without Kafka, per step and end to end, for several batch sizes."""

from __future__ import annotations

import resource
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.progress import Progress

from fraudstream.bench.report import Table
from fraudstream.bench.traffic import reference
from fraudstream.bench.workloads import START_MS, Workload
from fraudstream.models.file import load_model
from fraudstream.models.model import Model
from fraudstream.rules.bundle import Bundle
from fraudstream.rules.compiler.compile import compile_sources
from fraudstream.stream.enrichment.directory import TableFiles, version_from
from fraudstream.stream.enrichment.store import Enrichment
from fraudstream.stream.pipeline import Pipeline
from fraudstream.stream.wire.types import Slice

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
    decisions: Mapping[str, int]


def build(workload: Workload, resolution: str = "") -> Pipeline:
    """Compile the workload's rules and make an empty partition."""
    files = workload.files(resolution)
    if workload.reference:
        files["reference.yaml"] = reference.declaration().encode()
        files["rulesets/reference.yaml"] = reference.rule_set(workload.seed).encode()
    compiled = compile_sources(files)
    if compiled.bundle is None:
        raise SystemExit("\n".join(d.message for d in compiled.diagnostics))
    model = None if workload.model is None else load_model(workload.model())
    enrichment = with_tables(workload, compiled.bundle, model) if workload.reference else None
    return Pipeline(0, HASH_KEY, compiled.bundle, model, enrichment=enrichment)


def with_tables(workload: Workload, bundle: Bundle, model: Model | None) -> Enrichment:
    """Write the reference tables of the workload's bank, and load them."""
    with tempfile.TemporaryDirectory() as home:
        reference.write_reference(Path(home), workload.accounts, workload.seed, START_MS)
        contents = TableFiles(Path(home)).load(bundle, model).contents
    versions = {name: version_from(content)[0] for name, content in contents.items()}
    return Enrichment(bundle, model, HASH_KEY, versions)


def slices(workload: Workload, count: int) -> Iterator[Slice]:
    """Generate ``count`` records as slices of ``LOAD_BATCH``, shorter at the end of an hour."""
    offset = 0
    for chunk in workload.traffic(count):
        times = np.asarray(chunk.times_ms)
        for at in range(0, len(chunk.values), LOAD_BATCH):
            values = chunk.values[at : at + LOAD_BATCH]
            keys = chunk.keys[at : at + LOAD_BATCH]
            n = len(values)
            # Record timestamps of workloads are fixed too: event time + 0 to 200 ms.
            stamps = times[at : at + n] + (np.arange(offset, offset + n) * 7919) % 201
            yield Slice.from_records(0, values, keys, range(offset, offset + n), stamps.tolist())
            offset += n


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
    decisions: Counter[str] = Counter()
    fifth = max(len(pieces) // 5, 1)
    for at in range(0, len(pieces), fifth):
        part = pieces[at : at + fifth]
        begin = time.perf_counter_ns()
        for piece in part:
            laps.begin()
            decisions.update(pipeline.process(piece).counts.decisions)
        rounds.append((time.perf_counter_ns() - begin) / sum(len(piece) for piece in part) / 1000)
    step_us = {step: laps.total_ns.get(step, 0) / n / 1000 for step in STEPS}
    decided = sum(us for step, us in step_us.items() if step not in ("decode", "encode"))
    return CoreRun(batch, n, step_us, decided, statistics.median(rounds), tuple(rounds[:5]), decisions)


def run(
    workload: Workload, history: int, count: int, batches: Sequence[int], resolution: str = ""
) -> tuple[list[Table], dict[str, object]]:
    """Fill state with ``history`` events, then time ``count`` events for each batch size."""
    pipeline = build(workload, resolution)
    pipeline.warm()
    with Progress(transient=True) as progress:
        filling = progress.add_task("history", total=history)
        source = slices(workload, history + (count + LOAD_BATCH) * len(batches) + LOAD_BATCH)
        while pipeline.next_offset < history:
            piece = next(source)
            pipeline.process(piece)
            progress.advance(filling, len(piece))
        runs = []
        timing = progress.add_task("measure", total=len(batches))
        for batch in batches:
            part: list[Slice] = []
            while sum(map(len, part)) < count:
                part.append(next(source))
            runs.append(measure(pipeline, part, batch))
            progress.advance(timing)
    columns = ["batch", *(f"{step} us" for step in STEPS)]
    columns += ["columns to decided us", "bytes to bytes us", "min", "max", "decided tx/s", "bytes tx/s"]
    table = Table(
        f"Core, {workload.id}",
        columns,
        note=f"One core, microseconds per transaction, after {history:,} events of history over "
        f"{workload.accounts:,} accounts; about {count:,} transactions timed for each batch size, bytes to "
        "bytes as the median of five parts with the fastest and the slowest. Caches are as the traffic "
        "leaves them; nothing is warmed between runs.",
    )
    for item in runs:
        spread = [min(item.rounds_us), max(item.rounds_us)]
        table.rows.append([item.batch, *item.step_us.values(), item.decided_us, item.end_us, *spread,
                           1e6 / item.decided_us, 1e6 / item.end_us])  # fmt: skip
    decisions: Counter[str] = sum((Counter(item.decisions) for item in runs), Counter())
    shares = Table("Decisions", ["decision", "share"])
    shares.rows += [[name, f"{number / decisions.total():.3%}"] for name, number in decisions.items()]
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
        "decisions": dict(decisions),
        "keys": dict(store.keys),
        "state_bytes": store.state_bytes,
        "peak_rss_bytes": rss,
    }
    return [table, shares, memory], data
