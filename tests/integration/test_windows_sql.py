"""W1's features over a generated log, computed by the engine and by a database."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.windows_sql import differences, load, values

from fraudstream.bench.traffic.generate import generate
from fraudstream.bench.workloads import WORKLOADS
from fraudstream.rules.bundle import Agg, Bundle
from fraudstream.rules.compiler.compile import compile_sources
from fraudstream.stream.feature_rows import feature_slots, slot_column
from fraudstream.stream.pipeline import Pipeline
from fraudstream.stream.wire.types import Slice

EVENTS = 20_000
ACCOUNTS = 100
"""20,000 events of 100 accounts are a month: the longest windows fill and move."""
DELAY_MS = 1_800_000
"""Every fifth event may come half an hour late, which is within the allowed lateness."""
MORE = """\
  account.first_amount_24h: {agg: first, of: txn.amount, key: account.id, window: 24h}
  account.last_amount_24h:  {agg: last, of: txn.amount, key: account.id, window: 24h, current: exclude}
  account.last_country_1h:  {agg: last, of: txn.country, key: account.id, window: 1h}
"""


def bundle_of(name: str, resolution: str = "") -> Bundle:
    """Compile a workload with more features: `first` and `last` are not among W1's."""
    files = WORKLOADS[name].files(resolution)
    files["features.yaml"] += MORE.encode()
    compiled = compile_sources(files)
    assert compiled.bundle is not None, compiled.errors
    return compiled.bundle


def log(disorder: bool) -> list[bytes]:
    """Return generated records, in order of event time or with delays."""
    chunks = list(generate(EVENTS, 5, accounts=ACCOUNTS))
    records = [value for chunk in chunks for value in chunk.values]
    if disorder:
        times = [time for chunk in chunks for time in chunk.times_ms.tolist()]
        sent = [time + (n * 7_919 % DELAY_MS if n % 5 == 0 else 0) for n, time in enumerate(times)]
        records = [records[n] for n in sorted(range(len(records)), key=sent.__getitem__)]
    return records


def engine(bundle: Bundle, records: list[bytes]) -> Mapping[str, list[Any]]:
    """Return every feature of every record as the pipeline computes it."""
    pipeline = Pipeline(0, bytes(16), bundle, None)
    found: dict[str, list[Any]] = {slot.name: [] for slot in feature_slots(bundle)}
    for begin in range(0, len(records), 777):
        part = records[begin : begin + 777]
        offsets = range(begin, begin + len(part))
        result = pipeline.process(Slice.from_records(0, part, [None] * len(part), offsets, [-1] * len(part)))
        assert len(result.batch) == len(part)
        assert not (result.outcome.flags & 0b111).any(), "no duplicate, reused id or late event is meant"
        for slot in feature_slots(bundle):
            found[slot.name] += slot_column(slot, result.matrix.value, result.matrix.state)
    return found


@pytest.mark.parametrize(
    ("name", "resolution", "disorder"),
    [("W1a", "", False), ("W1", "", True), pytest.param("W1", "exact", True, marks=pytest.mark.long)],
)
def test_a_database_finds_the_same_features(
    name: str, resolution: str, disorder: bool, tmp_path: Path
) -> None:
    """Every feature of every event, long windows in panes or exact: integers equal, fractions to 1e-9."""
    bundle = bundle_of(name, resolution)
    records = log(disorder)
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"\n".join(records))
    expected = values(load(path), bundle.features)
    was = engine(bundle, records)
    assert expected.keys() == was.keys()
    wrong = differences(expected, was)
    assert not wrong, f"{len(wrong):,} differ, e.g. {wrong[:5]}"


def test_the_comparison_sees_a_millisecond(tmp_path: Path) -> None:
    """Otherwise equality above proves little."""
    bundle = bundle_of("W1a")
    records = log(disorder=False)[:2_000]
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"\n".join(records))
    expected = values(load(path), bundle.features)
    was = engine(bundle, records)
    assert not differences(expected, was)
    spoilt = dict(was) | {"account.idle": [x and x + 1 for x in was["account.idle"]]}
    assert differences(expected, spoilt)
    assert {item.agg for item in bundle.features.features} == set(Agg) - {"ewma", "sequence"}
