"""Suite `snapshot`: a partition's state copied out and read back, sizes and times."""

from __future__ import annotations

import statistics
import sys

from fraudstream.bench import child
from fraudstream.bench.curves import Settings
from fraudstream.bench.processes import temporary_home
from fraudstream.bench.report import Table

TAKE = "fraudstream.bench.points:take_snapshot"
RESTORE = "fraudstream.bench.points:restore_snapshot"


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
    table = Table(
        f"Snapshot of {accounts:,} accounts",
        ["what", "median", "min", "max"],
        note=f"{workload}'s windows, {int(accounts * events):,} transactions in the reference bank's mix. "
        "Taking is one call that the worker waits for: its stall. Restoring runs in a new process, the file "
        "in the page cache.",
    )
    for label, seconds in (
        ("taking, ms", taken["take_s"]),
        ("reading the file, ms", restored["read_s"]),
        ("restoring, ms", restored["restore_s"]),
        ("first batch of 64 after it, ms", restored["first_batch_s"]),
    ):
        values = [value * 1_000 for value in seconds]
        table.rows.append([label, statistics.median(values), min(values), max(values)])
    sizes = Table("Sizes", ["what", "value"])
    sizes.rows += [
        ["keys", sum(taken["keys"].values())],
        ["state bytes", taken["state_bytes"]],
        ["snapshot bytes", taken["snapshot_bytes"]],
        ["snapshot bytes per account", taken["snapshot_bytes"] / accounts],
        ["writing and syncing the file, ms", taken["write_s"] * 1_000],
        ["resident bytes before taking", taken["resident_bytes"]],
        ["peak resident bytes while taking", taken["peak_bytes"]],
        ["resident bytes after restoring", restored["resident_bytes"]],
    ]
    return [table, sizes], {"taken": taken, "restored": restored}
