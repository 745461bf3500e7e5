"""Suite `memory`: bytes a key, an event and an idle account, and the state of whole banks."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from fraudstream.bench import child
from fraudstream.bench.chart import Chart, Point
from fraudstream.bench.curves import Settings, Tables
from fraudstream.bench.points import bundle_of
from fraudstream.bench.report import Table

LEVELS = (1, 2, 4, 8, 16, 32, 64, 128)
WINDOW_H, LATENESS_H = 24, 1


def run(settings: Settings, scales: Sequence[float], workload: str = "W1a") -> Tables:
    """Measure single keys, then banks ``scales`` times the reference bank."""
    tables, data, charts = _single_keys(settings, workload)
    banks = Table(
        "Whole banks",
        [
            "bank", "accounts", "transactions", "keys", "kept events and keys", "state bytes",
            "of which duplicates", "bytes a kept event", "resident bytes", "peak resident bytes", "fill s",
        ],
        note=f"{workload}'s windows of {WINDOW_H} h with {LATENESS_H} h of lateness, filled for as long as "
        "they reach with the reference bank's mix; measured, not extrapolated. An event counts once for each "
        "kind of key that it has. State bytes is what the store has allocated, resident bytes the growth of "
        "the process.",
    )  # fmt: skip
    kinds = Table("Keys of whole banks", ["bank", "kind", "keys", "kept events", "events a key"])
    found = []
    for scale in scales:
        arguments: dict[str, Any] = {"workload": workload, "resolution": settings.resolution}
        arguments |= {"scale": scale, "hours": WINDOW_H + LATENESS_H}
        label = f"{scale:g}x"
        print(f"bank: {label}", file=sys.stderr)
        try:
            whole = child.run(BANK, cap_bytes=settings.cap_bytes, **arguments)
            ids = child.run(BANK, cap_bytes=settings.cap_bytes, windows=False, **arguments)
        except child.TooLargeError as problem:
            banks.rows.append([label, int(scale * 400_000), "", "", "", str(problem), "", "", "", "", ""])
            continue
        found.append({"scale": scale, "whole": whole, "duplicates": ids})
        events = sum(whole["entered"].values())
        state, duplicates = whole["state_bytes"], ids["state_bytes"]
        banks.rows.append(
            [
                label, whole["accounts"], whole["transactions"], sum(whole["keys"].values()), events, state,
                duplicates, (state - duplicates) / events, whole["resident_bytes"], whole["peak_bytes"],
                whole["seconds"],
            ]
        )  # fmt: skip
        for kind, number in whole["keys"].items():
            entered = whole["entered"][kind]
            kinds.rows.append([label, kind, number, entered, entered / number])
    return [*tables, banks, kinds], data | {"banks": found}, charts


BANK = "fraudstream.bench.points:bank"
PER_KEY = "fraudstream.bench.points:per_key"


def _single_keys(settings: Settings, workload: str) -> Tables:
    table = Table(
        "One key",
        ["kind", "features", *(f"{n} events" for n in LEVELS), "a key", "a further event", "idle"],
        note=f"Bytes for each key of one kind of {workload}, all with the same number of events within 20 "
        "hours; duplicates taken off. A further event is the slope from 1 to 128 events; a key is what one "
        "with a single event needs less that; idle is a key with a single event.",
    )
    chart = Chart("bytes_per_key", "Bytes of a key", "events of the key", "bytes", log_x=True)
    keys = max(int(10_000 * settings.scale), 500)
    found: list[dict[str, Any]] = []
    features = bundle_of(workload, settings.resolution).features.features
    for kind in dict.fromkeys("+".join(item.key) for item in features):
        print(f"bytes a key: {kind}", file=sys.stderr)
        point = child.run(
            PER_KEY,
            cap_bytes=settings.cap_bytes,
            workload=workload,
            resolution=settings.resolution,
            kind=kind,
            keys=keys,
            levels=list(LEVELS),
        )
        found.append(point)
        sizes = [level["bytes"] for level in point["levels"]]
        slope = (sizes[-1] - sizes[0]) / (LEVELS[-1] - LEVELS[0])
        table.rows.append([kind, point["features"], *sizes, sizes[0] - slope, slope, sizes[0]])
        chart.lines[kind] = [Point(level["events"], level["bytes"]) for level in point["levels"]]
    return [table], {"per_key": found}, [chart]
