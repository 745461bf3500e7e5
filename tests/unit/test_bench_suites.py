"""The benchmark's parts: columns like the generator's traffic, children, charts, small runs of the suites."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from fraudstream.bench import child, core, points
from fraudstream.bench.__main__ import main
from fraudstream.bench.chart import Chart, Point
from fraudstream.bench.columns import OPTIONAL, REFERENCE, Mix, Traffic
from fraudstream.bench.traffic.generate import generate
from fraudstream.bench.traffic.reference import TABLES
from fraudstream.bench.workloads import WORKLOADS
from fraudstream.stream.errors import FraudstreamError

MEMBERS = {
    "card.id": "card_id",
    "merchant.id": "merchant_id",
    "counterparty.id": "counterparty_id",
    "device.id": "device_id",
    "txn.ip": "ip",
    "txn.amount": "amount",
}
GIB = 1 << 30


def test_the_reference_mix_is_that_of_generated_traffic() -> None:
    """Every combination of keys that one event in a hundred has, to two in a hundred."""
    found: Counter[tuple[str, ...]] = Counter()
    for chunk in generate(30_000, 8, accounts=4_000):
        for value in chunk.values:
            event = json.loads(value)
            found[tuple(name for name in OPTIONAL if MEMBERS[name] in event)] += 1
    assert math.isclose(sum(share for share, _ in REFERENCE), 1.0)
    shares = {names: share for share, names in REFERENCE}
    for names in {name for name, number in found.items() if number >= 300} | set(shares):
        assert abs(shares.get(names, 0.0) - found[names] / 30_000) < 0.02, names


def test_columns_have_the_keys_that_a_mix_says() -> None:
    """Presence as in the mix, all keys on demand, accounts in turn, accounts that are new."""
    bundle = points.bundle_of("W1a", "")
    schema = bundle.schema
    merchant, account = (schema.field(name).column for name in ("merchant.id", "account.id"))
    _, mixed = Traffic(schema, 3, Mix(1_000, 1e6)).columns(20_000)
    assert abs(mixed[merchant].mean() - 0.431) < 0.02
    assert mixed[account].all()
    _, whole = Traffic(schema, 3, Mix(1_000, 1e6, every_key=True)).columns(1_000)
    assert whole.all()
    value, _ = Traffic(schema, 3, Mix(50, 1e6, in_turn=True)).columns(500)
    assert set(np.unique(value[account], return_counts=True)[1].tolist()) == {10}
    value, _ = Traffic(schema, 3, Mix(50, 1e6, never_seen=0.3)).columns(10_000)
    assert abs((len(np.unique(value[account])) - 50) / 10_000 - 0.3) < 0.02


def test_the_same_seed_gives_the_same_columns_for_any_batches() -> None:
    """Masks apart, which are drawn as batches are made."""
    schema = points.bundle_of("W1a", "").schema
    whole = [batch for batch, _ in Traffic(schema, 3, Mix(100, 1e6)).batches(1_000, 1_000)]
    parts = [batch for batch, _ in Traffic(schema, 3, Mix(100, 1e6)).batches(1_000, 64)]
    assert np.array_equal(whole[0].value, np.concatenate([part.value for part in parts], axis=1))
    assert len(parts) == 16


def test_a_child_returns_what_its_function_returns() -> None:
    """Arguments and results travel as JSON."""
    assert child.run("fraudstream.bench.points:days", cap_bytes=GIB, accounts=10, number=2.0) == 130  # type: ignore[comparison-overlap]


def test_a_child_that_fails_or_grows_too_large_is_an_error() -> None:
    """Neither gives a figure."""
    with pytest.raises(FraudstreamError, match="exit code 1"):
        child.run("fraudstream.bench.points:days", cap_bytes=GIB, accounts="x", number="y")
    with pytest.raises(child.TooLargeError):
        child.run("fraudstream.bench.points:days", cap_bytes=1 << 20, accounts=10, number=2.0)


@pytest.mark.parametrize("log_x", [False, True])
def test_a_chart_is_a_picture_with_every_point_in_it(log_x: bool) -> None:
    """Well-formed, inside its frame, higher values higher up."""
    line = [Point(10, 1.0), Point(100, 2.0, 1.5, 4.9), Point(1_900, 3.0)]
    picture = Chart("c", 'a <b> & "c"', "features", "us", log_x, {"W2 & more": line}).svg()
    tree = ET.fromstring(picture)
    circles = [item for item in tree.iter() if item.tag.endswith("circle")]
    heights = [float(item.attrib["cy"]) for item in circles]
    widths = [float(item.attrib["cx"]) for item in circles]
    assert len(circles) == 3
    assert heights == sorted(heights, reverse=True)
    assert widths == sorted(widths)
    assert all(0 < x < 720 for x in widths)
    assert all(0 < y < 400 for y in heights)
    texts = [item.text for item in tree.iter() if item.tag.endswith("text")]
    assert {'a <b> & "c"', "W2 & more", "1.9k"} <= set(texts)


def _long(*values: object) -> object:
    return pytest.param(*values, marks=pytest.mark.long)


@pytest.mark.parametrize(
    ("suite", "more", "names"),
    [
        ("snapshot", ["--scale", "0.001"], ["Snapshot of 1,000 accounts", "Sizes"]),
        ("curves", ["--scale", "0.0001", "--curve", "keys"], ["Cost against keys"]),
        _long("windows", ["--scale", "0.002", "--profile"], ["Windows of W1a", "Parts of W1a, each alone"]),
        _long("curves", ["--scale", "0.01", "--curve", "rules", "history"], ["Cost against rules"]),
        _long("backtest", ["--scale", "0.0005"], ["Features, made once", "One changed rule over the month"]),
        _long("wire", ["--batch", "1", "8"], ["Steps of the wire", "Through a real broker"]),
        _long("memory", ["--scale", "0.001", "--banks", "1"], ["One key", "Whole banks"]),
    ],
)
def test_each_suite_writes_a_report(suite: str, more: list[str], names: list[str], tmp_path: Path) -> None:
    """Tables, data and charts; figures of so small a run mean nothing."""
    assert main([suite, *more, "--count", "1000", "--rounds", "1", "--reports", str(tmp_path)]) == 0
    (page,) = tmp_path.glob("*.md")
    text = page.read_text()
    assert all(f"## {name}" in text for name in names)
    for picture in tmp_path.glob("*.svg"):
        assert f"({picture.name})" in text
        ET.fromstring(picture.read_text())
    (data,) = tmp_path.glob("*.json")
    content = json.loads(data.read_text())
    assert content["command"].startswith(f"python -m fraudstream.bench {suite}")
    assert content["data"]


def test_w2_core_joins_every_reference_table() -> None:
    """All 72 have content for keys of the traffic, a rule each reads them, the join is a step of its own."""
    pipeline = core.build(replace(WORKLOADS["W2"], accounts=400))
    versions = pipeline.enrichment.versions
    assert set(versions) == {table.name for table in TABLES}
    reading = [rule for rule in pipeline.bundle.rules if rule.id.startswith("ref.")]
    assert len(pipeline.bundle.rules) == 2_000 + len(reading) == 2_000 + len(TABLES)
    source = list(core.slices(replace(WORKLOADS["W2"], accounts=400), 2_000))
    assert core.measure(pipeline, source, 1_000).step_us["join"] > 0
