"""Suite `snapshot`: a partition's state copied while slices go on, and read back: stalls, sizes, times."""

from __future__ import annotations

import statistics
import sys
from typing import Any

from fraudstream.bench import child
from fraudstream.bench.curves import Settings
from fraudstream.bench.processes import temporary_home
from fraudstream.bench.report import Table

TAKE = "fraudstream.bench.snapshot_points:take"
RESTORE = "fraudstream.bench.snapshot_points:restore"


def run(
    settings: Settings, workload: str, accounts: int, events: float
) -> tuple[list[Table], dict[str, object]]:
    """Snapshot and restore ``accounts`` accounts with about ``events`` events each."""
    with temporary_home() as home:
        path = str(home / "state")
        print("snapshot", file=sys.stderr)
        taken = child.run(
            TAKE,
            cap_bytes=settings.cap_bytes,
            workload=workload,
            resolution=settings.resolution,
            accounts=accounts,
            transactions=int(accounts * events),
            path=path,
            rounds=settings.rounds,
        )
        print("restore", file=sys.stderr)
        restored = child.run(
            RESTORE,
            cap_bytes=settings.cap_bytes,
            workload=workload,
            resolution=settings.resolution,
            path=path,
            rounds=settings.rounds,
        )
    stalls, table, sizes = _stalls(taken), _times(taken, restored), _sizes(taken, restored, accounts)
    stalls.title = f"Snapshot of {accounts:,} accounts"
    stalls.note = (
        f"{workload}'s windows, {int(accounts * events):,} transactions in the reference bank's mix; "
        f"slices of {taken['slice_rows']:,} transactions through admission and windows. A step is what the "
        "worker waits for between two slices; a slice copies a key itself before it changes it. Processor "
        "time is the worker thread's own: the wall clock has in it what else runs on the machine."
    )
    return [stalls, table, sizes], {"taken": taken, "restored": restored}


def _stalls(taken: dict[str, Any]) -> Table:
    table = Table("", ["what, ms", "median", "p99", "max"])
    rows = [
        ("slice without a snapshot, processor", taken["quiet"]["slice_cpu"]),
        ("slice without a snapshot, wall clock", taken["quiet"]["slice"]),
    ]
    for number, one in enumerate(taken["runs"], 1):
        rows += [
            (f"snapshot {number}: slice, processor", one["times"]["slice_cpu"]),
            (f"snapshot {number}: slice, wall clock", one["times"]["slice"]),
            (f"snapshot {number}: step, processor", one["times"]["step_cpu"]),
            (f"snapshot {number}: step, wall clock", one["times"]["step"]),
        ]
        if "moving" in one["times"]:
            rows.append(
                (f"snapshot {number}: slice in which a table grew, processor", one["times"]["moving"])
            )
    table.rows += [[label, part["median"], part["p99"], part["max"]] for label, part in rows]
    return table


def _times(taken: dict[str, Any], restored: dict[str, Any]) -> Table:
    table = Table(
        "Times",
        ["what", "median", "min", "max"],
        note="Restoring runs in a new process, the file in the page cache.",
    )
    runs = taken["runs"]
    for label, values in (
        ("beginning, ms", [one["begin_ms"] for one in runs]),
        ("slices until all is copied", [one["slices"] for one in runs]),
        ("from the beginning until all is copied, ms", [one["copied_s"] * 1e3 for one in runs]),
        ("until the file is durable, ms", [one["durable_s"] * 1e3 for one in runs]),
        ("all at once, at a stop, ms", [taken["at_once_s"] * 1e3]),
        ("reading and checking the file, ms", [value * 1e3 for value in restored["read_s"]]),
        ("restoring, wall clock ms", [value * 1e3 for value in restored["restore_s"]]),
        ("restoring, processor ms", [value * 1e3 for value in restored["restore_cpu_s"]]),
        ("first batch of 64 after it, ms", [value * 1e3 for value in restored["first_batch_s"]]),
    ):
        table.rows.append([label, statistics.median(values), min(values), max(values)])
    return table


def _sizes(taken: dict[str, Any], restored: dict[str, Any], accounts: int) -> Table:
    sizes = Table("Sizes", ["what", "value"])
    size = taken["runs"][-1]["bytes"]
    sizes.rows += [
        ["keys", sum(taken["keys"].values())],
        ["state bytes", taken["state_bytes"]],
        ["snapshot bytes", size],
        ["snapshot bytes per account", size / accounts],
        ["resident bytes before", taken["resident_bytes"]],
        ["peak resident bytes while snapshots were taken", taken["peak_bytes"]],
        ["resident bytes after restoring", restored["resident_bytes"]],
    ]
    return sizes
