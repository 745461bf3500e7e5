"""The trainer's kill test: wherever it dies, no label is lost or learned twice, to the bit."""

from __future__ import annotations

import json
import random
import signal
from pathlib import Path

import orjson
import pytest
from support.kafka import Topics, produce
from support.worker import Running, Site
from support.worker_rules import write_rules

pytestmark = [pytest.mark.kafka, pytest.mark.chaos]

CLI = "fraudstream.stream.cli"
HOUR_MS = 3_600_000
START_MS = 1_795_305_600_000
HOURS, PER_HOUR = 30, 60
POINTS = (
    ("after_fetch", 2),
    ("mid_process", 4),
    ("mid_snapshot", 2),
    ("before_rename", 3),
    ("after_rename", 2),
    ("mid_process", 9),
    ("before_commit", 1),
    ("after_commit", 1),
)
MODEL = """\
kind: Model
id: {id}
family: {family}
owner: tests
purpose: a test
events: [payment]
settings: {settings}
inputs:
  - {{name: txn.amount, transform: log1p}}
  - account.count_1h
"""


def log() -> list[list[bytes]]:
    """Return the features topic of two partitions: vectors, label events, and ranges that come again."""
    draw = random.Random(3)
    partitions: list[list[tuple[int, dict[str, object]]]] = [[], []]
    fate: list[tuple[int, int, str, int]] = []
    events = [(START_MS + draw.randrange(HOURS * HOUR_MS), "payment") for _ in range(HOURS * PER_HOUR)]
    for at, _ in sorted(events):
        partition, large = draw.randrange(2), draw.random() < 0.1
        made = partitions[partition]
        for due in [one for one in fate if one[0] <= at and one[1] == partition]:
            fate.remove(due)
            label = {"original_src": f"{partition}:{due[3]}", "original_id": due[2]}
            label |= {"label": "fraud", "source": draw.choice(["analyst", "customer"])}
            made.append((due[0], {"event_type": "label", "label": label, "values": {}}))
        amount = draw.randrange(200_000, 900_000) if large else draw.randrange(100, 50_000)
        values = {"txn.amount": amount, "account.count_1h": draw.randrange(1, 9)}
        name = f"T{partition}-{len(made)}"
        if draw.random() < (0.6 if large else 0.01):
            fate.append((at + 3 * HOUR_MS, partition, name, len(made)))
        made.append((at, {"event_type": "payment", "values": values}))
    found: list[list[bytes]] = []
    for partition, made in enumerate(partitions):
        names = [f"T{partition}-{offset}" for offset in range(len(made))]
        records = [
            orjson.dumps(
                {"src": f"{partition}:{offset}", "transaction_id": name, "event_time": at, "at": at, **event}
            )
            for offset, (name, (at, event)) in enumerate(zip(names, made, strict=True))
        ]
        third = len(records) // 3
        found.append([*records[: 2 * third], b"{", *records[third:]])
    return found


def trainer(site: Site, name: str, **environment: str) -> Running:
    """Start a trainer with a registry, a state and a group of its own."""
    registry = site.home / name / "registry"
    if not registry.exists():
        registry.mkdir(parents=True)
        for model, family, settings in (
            ("line", "logistic", "{legitimate_share: 0.5, rate: 0.05}"),
            ("bins", "binned", "{legitimate_share: 0.5, bins: 8}"),
            ("trees", "adaptive_forest", "{trees: 3, legitimate_share: 0.3, max_features: 2}"),
        ):
            text = MODEL.format(id=model, family=family, settings=settings)
            (registry / f"{model}.yaml").write_text(text)
    more = ("--mature", "8h", "--keep", "20h", "--export", "5h", "--idle-grace", "1s", "--begin", "200")
    return site.start(
        "trainer",
        "--registry",
        str(registry),
        *more,
        module=CLI,
        FRAUDSTREAM_STATE_DIR=str(site.home / name / "state"),
        FRAUDSTREAM_APP_ID=f"{name}-{site.prefix}",
        FRAUDSTREAM_LOG_FORMAT="json",
        FRAUDSTREAM_SNAPSHOT_RECORDS="1",
        FRAUDSTREAM_SLICE_RECORDS_MAX="100",
        **environment,
    )


def snapshots(worker: Running) -> dict[str, str]:
    """Return border -> digest, as the log says."""
    lines = [json.loads(line) for line in worker.text.splitlines() if line.startswith("{")]
    return {line["to"]: line["digest"] for line in lines if line["event"] == "trainer_snapshot"}


def versions(worker: Running) -> dict[tuple[str, str], str]:
    """Return (model, border) -> version, as the log says."""
    lines = [json.loads(line) for line in worker.text.splitlines() if line.startswith("{")]
    told = [line for line in lines if line["event"] == "trainer_version"]
    return {(line["model"], line["to"]): line["version"] for line in told}


def files(site: Site, name: str) -> set[str]:
    """Return the versions in a registry."""
    return {f"sha256:{path.stem}" for path in (site.home / name / "registry" / "versions").glob("*.model")}


@pytest.mark.timeout(1_200)
def test_killed_anywhere_it_learns_what_one_undisturbed_run_learns(topics: Topics, tmp_path: Path) -> None:
    """State and versions after eight kills equal those of a run without one, border by border."""
    site = Site(topics, tmp_path, write_rules(tmp_path / "first"), partitions=2)
    topics("labels", 1)
    topics("features", 2)
    for partition, records in enumerate(log()):
        produce(site.bootstrap, site.prefix + "features", [(b"k", value) for value in records], partition)
    last = "2026-11-23T06:00:00Z"

    whole = trainer(site, "whole")
    whole.wait_for(lambda: last in snapshots(whole), "everything learned", 280)
    assert whole.stop() == 0, whole.text
    expected, made = snapshots(whole), versions(whole)
    assert len(expected) >= HOURS
    assert len({model for model, _ in made}) == 3
    assert len(made) >= 3 * 4
    assert files(site, "whole") == set(made.values())

    fired = tmp_path / "fired"
    seen: dict[str, str] = {}
    told: dict[tuple[str, str], str] = {}
    for point, nth in (*POINTS, ("", 0)):
        failpoint = {"FRAUDSTREAM_FAILPOINT": f"{point}:{nth}", "FRAUDSTREAM_FAILPOINT_LOG": str(fired)}
        broken = trainer(site, "broken", **failpoint if point else {})
        if point:
            assert broken.wait_exit(200) == -signal.SIGKILL, f"{point}\n{broken.text}"
        else:
            broken.wait_for(lambda: last in seen or last in snapshots(broken), "everything learned", 280)  # noqa: B023
            broken.wait_for(lambda: "trainer_starts" in broken.text, "a start")  # noqa: B023
            assert broken.stop() == 0, broken.text
        # What is done again after a kill is what was done before.
        for border, digest in snapshots(broken).items():
            assert seen.setdefault(border, digest) == digest
        for key, version in versions(broken).items():
            assert told.setdefault(key, version) == version
    assert fired.read_text().split() == [point for point, _ in POINTS]
    common = expected.keys() & seen.keys()
    assert len(common) >= HOURS / 3
    assert {at: seen[at] for at in common} == {at: expected[at] for at in common}
    assert seen[last] == expected[last]
    assert {key: told.get(key, version) for key, version in made.items()} == made
    assert files(site, "whole") <= files(site, "broken")
