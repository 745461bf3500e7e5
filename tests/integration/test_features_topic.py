"""A worker publishes what models may read, at least once and in order, and a trainer learns from it."""

from __future__ import annotations

import signal
import socket
import urllib.request
from pathlib import Path

import orjson
import pytest
from support.kafka import Topics, produce
from support.worker import Feed, Published, Site, reference, same_as_reference, traffic
from support.worker_rules import write_rules

from fraudstream.stream.envelope import Record
from fraudstream.stream.feature_events import FeatureEvents
from fraudstream.stream.replay import PartitionReplay

pytestmark = pytest.mark.kafka

CLI = "fraudstream.stream.cli"
MODEL = """\
kind: Model
id: line
family: logistic
owner: tests
purpose: a test
events: [payment]
settings: {legitimate_share: 1.0}
inputs:
  - {name: txn.amount, transform: log1p}
  - account.count_1h
"""


def expected(site: Site, partition: int) -> dict[int, bytes]:
    """Return offset -> record, from a replay of the log in one piece."""
    log = [
        Record(partition, r.offset, r.time_ms, r.key, r.value) for r in site.read("transactions", partition)
    ]
    published = Published(site.read("control", 0))
    replay = PartitionReplay(
        partition,
        site.journal(partition),
        published,
        lambda _, begin, end: (r for r in log if begin <= r.offset < end),
    )
    found: dict[int, bytes] = {}
    for result in replay.run(log):
        assert replay.pipeline is not None
        for record in FeatureEvents(replay.pipeline.bundle).records(result, 0):
            value = record.value or b""
            found[int(orjson.loads(value)["src"].partition(":")[2])] = value
    return found


@pytest.mark.timeout(580)
def test_features_come_at_least_once_in_order_and_are_learned(topics: Topics, tmp_path: Path) -> None:
    """A worker dies with features under way; all of them are there in the end, and so is what was learned."""
    site = Site(
        topics,
        tmp_path,
        write_rules(tmp_path / "first"),
        publish_features="on",
        slice_records_max="40",
        snapshot_records="100",
    )
    topics("features", 1)
    topics("labels", 1)
    records = traffic(500, 11)
    Feed(site).send(records)
    fired = tmp_path / "fired"
    broken = site.start(FRAUDSTREAM_FAILPOINT="after_ack:5", FRAUDSTREAM_FAILPOINT_LOG=str(fired))
    assert broken.wait_exit() == -signal.SIGKILL, broken.text
    worker = site.start()
    worker.wait_decided(len(records))

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    registry = tmp_path / "registry"
    registry.mkdir()
    (registry / "line.yaml").write_text(MODEL)
    trainer = site.start(
        *("trainer", "--registry", str(registry), "--idle-grace", "1s"),
        *("--interval", "2s", "--mature", "10s", "--keep", "1h", "--export", "2s", "--begin", "50"),
        module=CLI,
        FRAUDSTREAM_METRICS_PORT=str(port),
    )
    paid = [
        (offset, orjson.loads(value))
        for offset, value in sorted(expected(site, 0).items())
        if orjson.loads(value)["event_type"] == "payment"
    ]
    told = [
        {
            "transaction_id": record["transaction_id"],
            "src": record["src"],
            "account_id": "a1",
            "label": "fraud",
            "labelled_at": "2026-12-01T09:00:00Z",
            "source": "analyst",
        }
        for _, record in paid[:20]
    ]
    produce(site.bootstrap, site.prefix + "labels", [(b"l", orjson.dumps(one)) for one in told])

    def learned() -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        name = 'fraudstream_trainer_labels_total{outcome="learned"}'
        return float(next(line for line in text.splitlines() if line.startswith(name)).rpartition(" ")[2])

    trainer.wait_for(lambda: site.end("transactions", 0) == len(records) + len(told), "label events")
    trainer.wait_for(lambda: list((registry / "versions").glob("*.model")) != [], "a version", 200)
    trainer.wait_for(lambda: learned() == len(told), "labels learned", 200)
    assert trainer.stop() == 0, trainer.text
    worker.wait_decided(len(records) + len(told))
    assert worker.stop() == 0, worker.text

    same_as_reference(site)
    wanted = expected(site, 0)
    seen, last = {}, -1
    again = 0
    for record in site.read("features", 0):
        value = record.value or b""
        offset = int(orjson.loads(value)["src"].partition(":")[2])
        assert seen.setdefault(offset, value) == value
        again += offset <= last
        # Whoever goes on behind the largest has all of them, in order.
        assert offset <= last or not [at for at in wanted if last < at < offset]
        last = max(last, offset)
    assert seen == wanted
    assert again > 0, "the kill has to make records come again"
    assert len(wanted) > len(records) / 2
    assert reference(site, 0).decisions
