"""Three planted bugs of the protocol: each scenario is green with the worker and red with its bug."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
from confluent_kafka import Producer
from support.kafka import Topics
from support.worker import Feed, Running, Site, reference, same_as_reference, traffic
from support.worker_rules import write_rules

from fraudstream.bench.traffic.hostile import Record
from fraudstream.stream.localkafka.client import quiet

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.timeout(240)]
MODULE = "support.buggy_worker"


def make_site(topics: Topics, home: Path, **settings: str) -> Site:
    """Return one partition with small pieces."""
    return Site(topics, home, write_rules(home / "first"), slice_records_max="32", **settings)


def start(site: Site, bug: str, failpoint: str = "", **environment: str) -> Running:
    """Start the worker with a bug, none for ``""``."""
    points = {"FRAUDSTREAM_FAILPOINT": failpoint} if failpoint else {}
    return site.start(module=MODULE, FRAUD_TEST_BUG=bug, **points, **environment)


def finish(site: Site, bug: str, rest: Sequence[Record] = (), versions: int = 1) -> None:
    """Let a worker journal so many versions and do the rest, then compare with the reference run."""
    worker = start(site, bug)
    try:
        worker.wait_for(lambda: bool(bug) or len(site.journal(0).versions) >= versions, "versions")
        Feed(site).send(rest)
        end = site.end("transactions", 0)
        worker.wait_for(lambda: done(site, end), "the rest")
        assert worker.stop() == 0, worker.text
    finally:
        worker.kill()
    same_as_reference(site)


def done(site: Site, end: int) -> bool:
    """Return whether the last record has its decision."""
    return any(record.headers["src"] == b"0:%d" % (end - 1) for record in site.read("decisions", 0))


def snapshot_before_acks(site: Site, bug: str) -> None:
    """Die when a snapshot was renamed while decisions were slow."""
    Feed(site).send(traffic(600, 3))
    worker = start(site, bug, "after_rename:1", FRAUD_TEST_SLOW_DECISIONS_S="0.4")
    assert worker.wait_exit() == -signal.SIGKILL, worker.text
    finish(site, bug)


def late_owner(site: Site, bug: str) -> None:
    """Resume where correct decisions of a later slice lie already, as a late owner leaves them."""
    feed, records = Feed(site), traffic(600, 4)
    feed.send(records[:300])
    worker = start(site, bug)
    worker.wait_decided(300)
    worker.kill()
    feed.send(records[300:])
    right = reference(site, 0).decisions
    producer = Producer(quiet(site.bootstrap, acks="all"))
    for offset in range(450, 500):
        headers = [("src", b"0:%d" % offset), ("epoch", b"0")]
        producer.produce(site.prefix + "decisions", right[offset], b"k", 0, headers=headers)
    assert producer.flush(30) == 0
    alerts = {src for src in reference(site, 0).alerts if 450 <= int(src[2:]) < 500}
    letters = {src for src in reference(site, 0).dead_letters if 450 <= int(src[2:]) < 500}
    for topic, sources in (("alerts", alerts), ("dead-letters", letters)):
        for src in sources:
            producer.produce(site.prefix + topic, b"{}", b"k", 0, headers=[("src", src.encode())])
    assert producer.flush(30) == 0
    finish(site, bug)


def journal_not_awaited(site: Site, bug: str) -> None:
    """Die when a version was sent to the journal, its place not known."""
    feed, records = Feed(site), traffic(900, 6)
    feed.send(records[:300])
    worker = start(site, bug)
    worker.wait_decided(300)
    assert worker.stop() == 0
    write_rules(site.rules, 2)
    worker = start(site, bug, "before_journal_ack:2")
    try:
        if bug:
            worker.wait_for(lambda: "from offset 300 on" in worker.text, "a switch")
        feed.send(records[300:600])
        assert worker.wait_exit() == -signal.SIGKILL, worker.text
    finally:
        worker.kill()
    finish(site, bug, records[600:], versions=2)
    border = site.journal(0).versions[1].from_offset
    assert 0 < border < site.end("transactions", 0)


SCENARIOS = {
    "snapshot_before_acks": (snapshot_before_acks, {"snapshot_records": "100"}),
    "highest_offset": (late_owner, {}),
    "journal_not_awaited": (journal_not_awaited, {}),
}


@pytest.mark.parametrize("bug", SCENARIOS)
def test_the_worker_passes_where_a_planted_bug_would_not(bug: str, topics: Topics, tmp_path: Path) -> None:
    """The scenario of each bug leaves the worker's decisions as the reference run's."""
    scenario, settings = SCENARIOS[bug]
    scenario(make_site(topics, tmp_path, **settings), "")


@pytest.mark.parametrize("bug", SCENARIOS)
def test_each_planted_bug_turns_its_scenario_red(bug: str, topics: Topics, tmp_path: Path) -> None:
    """With the bug the same scenario loses or changes decisions, and the comparison says so."""
    scenario, settings = SCENARIOS[bug]
    with pytest.raises(AssertionError, match=r"decided,|decisions differ|two decisions"):
        scenario(make_site(topics, tmp_path, **settings), bug)
