"""Single measurements of a window store, each called in a process of its own (``child.py``)."""

from __future__ import annotations

import resource
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import psutil

from fraudstream.bench.columns import DAY_MS, PER_ACCOUNT_DAY, Mix, Traffic
from fraudstream.bench.core import LOAD_BATCH, recut, slices
from fraudstream.bench.workloads import WORKLOADS
from fraudstream.rules.bundle import Bundle, Feature
from fraudstream.rules.compiler.compile import compile_sources
from fraudstream.stream.pipeline import Pipeline
from fraudstream.stream.progress import Progress
from fraudstream.stream.windows.store import WindowStore
from fraudstream.stream.windows.warm import warm as warm_windows

CHUNK = 100_000
"""Transactions made at once."""
BATCH = 1_000
HASH_KEY = bytes(16)
SUBSET_SEED = 20_260_301


def bundle_of(workload: str, resolution: str) -> Bundle:
    """Compile a workload's rules directory."""
    compiled = compile_sources(WORKLOADS[workload].files(resolution))
    if compiled.bundle is None:
        raise SystemExit("\n".join(item.message for item in compiled.errors))
    return compiled.bundle


def chosen(bundle: Bundle, *, kind: str = "", aggs: tuple[str, ...] = (), number: int = 0) -> Bundle:
    """Return the bundle with some of its features: of a kind of key, of aggregates, or so many at random."""
    features: tuple[Feature, ...] = bundle.features.features
    if kind:
        features = tuple(item for item in features if "+".join(item.key) == kind)
    if aggs:
        features = tuple(item for item in features if item.agg.value in aggs)
    if number:
        order = np.random.default_rng(SUBSET_SEED).permutation(len(features))[:number]
        features = tuple(features[place] for place in sorted(order.tolist()))
    return replace(bundle, features=replace(bundle.features, features=features))


def warm(bundle: Bundle) -> None:
    """Load the kernels, so that they are in no measurement."""
    warm_windows()
    store = WindowStore(bundle.features, bundle.schema)
    feed(store, Traffic(bundle.schema, len(bundle.features.filters), Mix(1_000, 1e6)), 2_000)


def resident() -> int:
    """Return resident bytes of this process."""
    return int(psutil.Process().memory_info().rss)


def feed(
    store: WindowStore,
    traffic: Traffic,
    count: int,
    size: int = BATCH,
    tell: Callable[[int], object] = lambda _: None,
) -> tuple[float, float]:
    """Send transactions; return microseconds of processor time for each: admission, features."""
    admit = features = done = 0
    while done < count:
        part = min(CHUNK, count - done)
        for batch, masks in list(traffic.batches(part, size)):
            begin = time.thread_time_ns()
            admission = store.admit(batch, 0)
            middle = time.thread_time_ns()
            store.advance(batch, admission, masks)
            admit += middle - begin
            features += time.thread_time_ns() - middle
        done += part
        tell(done)
    return admit / count / 1e3, features / count / 1e3


def cost(
    workload: str,
    resolution: str,
    mix: Mapping[str, Any],
    fill: int,
    count: int,
    rounds: int,
    batches: list[int],
    kind: str = "",
    aggs: tuple[str, ...] = (),
    number: int = 0,
) -> dict[str, Any]:
    """Fill a store, then time it for each batch size."""
    bundle = chosen(bundle_of(workload, resolution), kind=kind, aggs=tuple(aggs), number=number)
    store = WindowStore(bundle.features, bundle.schema)
    traffic = Traffic(bundle.schema, len(bundle.features.filters), Mix(**mix))
    warm(bundle)
    before = resident()
    with Progress("fill", fill, "transactions") as progress:
        feed(store, traffic, fill, tell=progress.at)
    runs, counts = {}, [min(count, 20_000 * size) for size in batches]
    timed = 0

    def tell(done: int) -> None:
        progress.at(timed + done)

    with Progress("measure", sum(counts) * rounds, "transactions") as progress:
        for size, timings in zip(batches, counts, strict=True):
            found = []
            for _ in range(rounds):
                found.append(feed(store, traffic, timings, size, tell))
                timed += timings
            runs[str(size)] = spread(found)
    return {
        "features": len(bundle.features.features),
        "runs": runs,
        "keys": dict(store.keys),
        "state_bytes": store.state_bytes,
        "resident_bytes": resident() - before,
    }


def spread(found: list[tuple[float, float]]) -> dict[str, float]:
    """Return the median of (admission, features), and the features' fastest and slowest."""
    return {
        "admit_us": statistics.median(one[0] for one in found),
        "us": statistics.median(one[1] for one in found),
        "min_us": min(one[1] for one in found),
        "max_us": max(one[1] for one in found),
    }


def rules_cost(
    workload: str, resolution: str, accounts: int, files: int, count: int, rounds: int, batches: list[int]
) -> dict[str, Any]:
    """Time the rules of the first ``files`` rule sets over all features, on generated traffic."""
    sources = WORKLOADS[workload].files(resolution)
    sets = sorted(name for name in sources if name.startswith("rulesets/"))
    compiled = compile_sources({name: text for name, text in sources.items() if name not in sets[files:]})
    assert compiled.bundle is not None
    pipeline = Pipeline(0, HASH_KEY, compiled.bundle, None)
    traffic = replace(WORKLOADS[workload], accounts=accounts)
    size = count * len(batches) * rounds
    spent = 0
    last = 0

    def lap(step: str) -> None:
        nonlocal spent, last
        now = time.thread_time_ns()
        if step == "rules":
            spent += now - last
        last = now

    pipeline.on_step = lap
    source = slices(traffic, size + 10 * LOAD_BATCH)
    with Progress("rules", size, "transactions") as progress:
        for _ in range(5):
            pipeline.process(next(source))
        runs: dict[str, Any] = {}
        for batch in batches:
            found = []
            for _ in range(rounds):
                spent = done = 0
                while done < count:
                    for piece in recut([next(source)], batch):
                        pipeline.process(piece)
                        done += len(piece)
                found.append(spent / done / 1e3)
                progress.at(pipeline.next_offset)
            runs[str(batch)] = {"us": statistics.median(found), "min_us": min(found), "max_us": max(found)}
    names = {slot.name for rule in compiled.bundle.rules for slot in rule.reads}
    return {"rules": len(compiled.bundle.rules), "names": len(names), "runs": runs}


def growth(
    workload: str,
    resolution: str,
    accounts: int,
    never_seen: float,
    hours: int,
    quiet_hours: int,
    every_hours: int,
) -> dict[str, Any]:
    """Sample keys and bytes over days of traffic, then over ``quiet_hours`` with a tenth of it.

    Slices are a tenth of their size then.
    """
    bundle = bundle_of(workload, resolution)
    store = WindowStore(bundle.features, bundle.schema)
    per_day = accounts * PER_ACCOUNT_DAY
    traffic = Traffic(
        bundle.schema, len(bundle.features.filters), Mix(accounts, per_day, never_seen=never_seen)
    )
    warm(bundle)
    before = resident()
    samples = []
    with Progress("growth", hours + quiet_hours, "hours") as progress:
        for hour in range(every_hours, hours + quiet_hours + 1, every_hours):
            if hour > hours:
                traffic.per_day = per_day / 10
            size = BATCH if hour <= hours else BATCH // 10
            admit, features = feed(store, traffic, int(traffic.per_day * every_hours / 24), size)
            samples.append(
                {
                    "hour": hour,
                    "keys": sum(store.keys.values()),
                    "state_bytes": store.state_bytes,
                    "resident_bytes": resident() - before,
                    "us": admit + features,
                }
            )
            progress.at(hour)
    return {"samples": samples}


def per_key(workload: str, resolution: str, kind: str, keys: int, levels: list[int]) -> dict[str, Any]:
    """Measure bytes a key at 1, 2, 4 ... events each; what duplicates need is taken off."""
    whole = bundle_of(workload, resolution)
    bundle = chosen(whole, kind=kind)
    nothing = replace(whole.features, features=())
    hours = 20.0
    found = []
    with Progress("bytes a key", len(levels), "levels") as progress:
        for done, events in enumerate(levels, 1):
            mix = Mix(keys, keys * events / hours * 24, every_key=True, in_turn=True, one_each=True)
            sizes = []
            for features in (bundle.features, nothing):
                store = WindowStore(features, bundle.schema)
                feed(store, Traffic(bundle.schema, len(whole.features.filters), mix), keys * events)
                sizes.append(store.state_bytes)
                if features is not nothing:
                    there = sum(store.keys.values())
            found.append({"events": events, "keys": there, "bytes": (sizes[0] - sizes[1]) / there})
            progress.at(done)
    return {"kind": kind, "features": len(bundle.features.features), "levels": found}


def bank(
    workload: str, resolution: str, scale: float, hours: float, *, windows: bool = True
) -> dict[str, Any]:
    """Hold the state of a bank ``scale`` times the reference bank after so many hours.

    Without ``windows`` only what recognising duplicates needs.
    """
    bundle = bundle_of(workload, resolution)
    features = bundle.features if windows else replace(bundle.features, features=())
    store = WindowStore(features, bundle.schema)
    accounts = int(400_000 * scale)
    mix = Mix(accounts, accounts * PER_ACCOUNT_DAY)
    traffic = Traffic(bundle.schema, len(features.filters), mix)
    kinds = {
        "+".join(key): [bundle.schema.field(name).column for name in key]
        for key in dict.fromkeys(item.key for item in features.features)
    }
    count = int(mix.per_day * hours / 24)
    warm(bundle)
    before = resident()
    entered: Counter[str] = Counter()
    begin = time.perf_counter()
    with Progress("bank", count, "transactions") as progress:
        done = 0
        while done < count:
            part = min(CHUNK, count - done)
            for batch, masks in traffic.batches(part, BATCH):
                store.advance(batch, store.admit(batch, 0), masks)
                for name, columns in kinds.items():
                    entered[name] += int((batch.state[columns] == 1).all(axis=0).sum())
            done += part
            progress.at(done)
    return {
        "accounts": accounts,
        "transactions": count,
        "keys": dict(store.keys),
        "entered": dict(entered),
        "state_bytes": store.state_bytes,
        "resident_bytes": resident() - before,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "seconds": time.perf_counter() - begin,
    }


def days(accounts: int, number: float) -> int:
    """Return the transactions of so many days."""
    return int(accounts * PER_ACCOUNT_DAY * number)


def spread_over(accounts: int, hours: float, events: float) -> float:
    """Return the rate a day at which every account has ``events`` events in ``hours``."""
    return accounts * events * (DAY_MS / 3_600_000) / hours
