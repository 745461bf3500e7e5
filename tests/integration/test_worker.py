"""The worker on a real broker: what it decides, how it stops and changes, what it refuses."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions
from support.kafka import Topics
from support.worker import Feed, Site, effective, same_as_reference, sources, traffic
from support.worker_rules import write_rules

from fraudstream.bench.traffic.hostile import Record
from fraudstream.stream.localkafka.client import quiet

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]
DEVICE_FEATURE = "device.count_1h: {agg: count, key: device.id, window: 1h}"
MAX_FEATURE = "account.max_1h: {agg: max, of: txn.amount, key: account.id, window: 1h}"


def make(topics: Topics, home: Path, partitions: int = 1, **settings: str) -> Site:
    """Return a site with the small rules directory."""
    return Site(topics, home, write_rules(home / "first"), partitions, **settings)


def refused(site: Site, *words: str, arguments: tuple[str, ...] = (), **environment: str) -> None:
    """Check that a worker exits 78 with a message that has these words."""
    worker = site.start(*arguments, **environment)
    assert worker.wait_exit() == 78, worker.text
    message = worker.text[worker.text.rindex("fraudstream: ") :]
    assert [word for word in words if word not in message] == [], message


def test_everything_is_decided_as_replay_does_and_a_restart_repeats_nothing(
    topics: Topics, tmp_path: Path
) -> None:
    """Hostile records get the bytes of one undisturbed run; SIGTERM drains, a resume repeats none."""
    site = make(topics, tmp_path)
    feed, records = Feed(site), traffic(3_000, 11)
    worker = site.start()
    feed.send(records[:1500])
    worker.wait_decided(1500)
    assert worker.stop() == 0
    assert site.journal(0).ends[-1].at == 1500
    worker = site.start()
    feed.send(records[1500:])
    worker.wait_decided(len(records))
    assert worker.stop() == 0
    same_as_reference(site)
    assert len(site.read("decisions", 0)) == len(effective(site, 0)) == len(records)


def test_a_valid_change_is_in_force_within_three_seconds_and_a_broken_one_is_refused(
    topics: Topics, tmp_path: Path
) -> None:
    """Edits of rules take effect at a journaled offset; what does not compile changes nothing."""
    site = make(topics, tmp_path)
    feed, records = Feed(site), traffic(1_200, 12)
    worker = site.start()
    feed.send(records[:400])
    worker.wait_decided(400)
    began_s = time.monotonic()
    write_rules(site.rules, 2)
    worker.wait_for(lambda: len(site.journal(0).versions) == 2, "the change")
    assert time.monotonic() - began_s < 6.0  # 3 s on a quiet machine
    feed.send(records[400:800])
    worker.wait_decided(800)
    broken = site.rules / "rulesets" / "account.yaml"
    broken.write_text(broken.read_text().replace("account.count_1h >= 2", "account.cuont_1h >= 3"))
    worker.wait_for(lambda: "did you mean" in worker.text or "account.cuont_1h" in worker.text, "the refusal")
    write_rules(site.rules, 2, MAX_FEATURE)
    worker.wait_for(lambda: "needs a restart" in worker.text, "the other refusal")
    feed.send(records[800:])
    worker.wait_decided(len(records))
    assert worker.stop() == 0
    same_as_reference(site)
    assert [version.from_offset for version in site.journal(0).versions] == [0, 400]


def test_other_features_at_a_restart_rebuild_the_state_from_the_log(topics: Topics, tmp_path: Path) -> None:
    """The journaled definitions run up to the border, then the state is built again from the start."""
    site = make(topics, tmp_path)
    feed, records = Feed(site), traffic(900, 13)
    worker = site.start()
    feed.send(records[:500])
    worker.wait_decided(500)
    worker.kill()
    write_rules(site.rules, 3, MAX_FEATURE)
    worker = site.start()
    worker.wait_for(lambda: "building the state from 0 to 500" in worker.text, "the rebuild")
    feed.send(records[500:])
    worker.wait_decided(len(records))
    assert worker.stop() == 0
    same_as_reference(site)


def test_broken_rules_at_a_restart_leave_the_journaled_ones_in_force(topics: Topics, tmp_path: Path) -> None:
    """A crash after a bad edit is no outage; a first start with such a directory is refused."""
    site = make(topics, tmp_path)
    feed, records = Feed(site), traffic(300, 14)
    (site.rules / "schema.yaml").write_text("nonsense: [")
    refused(site, "starts for the first time", "schema.yaml")
    write_rules(site.rules)
    worker = site.start()
    feed.send(records[:100])
    worker.wait_decided(100)
    worker.kill()
    (site.rules / "schema.yaml").write_text("nonsense: [")
    worker = site.start()
    feed.send(records[100:])
    worker.wait_decided(len(records))
    assert worker.stop() == 0
    assert len(site.journal(0).versions) == 1
    same_as_reference(site)


def test_shadow_mode_passes_everything_and_says_what_it_would_do(topics: Topics, tmp_path: Path) -> None:
    """From a journaled offset on decisions pass without alerts; a header has what they would be."""
    site = make(topics, tmp_path)
    feed, records = Feed(site), traffic(900, 15)
    worker = site.start()
    feed.send(records[:400])
    worker.wait_decided(400)
    assert worker.stop() == 0
    live = sources(site, "alerts")
    assert live
    worker = site.start("--shadow")
    worker.wait_for(lambda: len(site.journal(0).versions) == 2, "shadow mode")
    feed.send(records[400:])
    worker.wait_decided(len(records))
    assert worker.stop() == 0
    same_as_reference(site)
    assert sources(site, "alerts") == live
    shadow = [r for r in site.read("decisions", 0) if int(r.headers["src"][2:]) >= 400]
    kinds = {json.loads(r.value or b"")["decision"] for r in shadow if b'"duplicate"' not in (r.value or b"")}
    assert kinds == {"pass"}
    assert {b"pass", b"block"} <= {r.headers["would_be"] for r in shadow}


def test_a_record_as_large_as_the_broker_takes_is_answered(topics: Topics, tmp_path: Path) -> None:
    """It is malformed; its dead letter is cut to fit instead of ending the worker for ever."""
    site = make(topics, tmp_path)
    worker = site.start()
    Feed(site).send([Record(b"k", b"x" * 999_000, 0, "too_large"), *traffic(50, 16)])
    worker.wait_decided(50)
    assert worker.stop() == 0
    same_as_reference(site)


def test_a_first_start_on_a_topic_with_history_needs_to_be_told_where(topics: Topics, tmp_path: Path) -> None:
    """Without FRAUDSTREAM_START it is refused; with `latest` history only builds the state."""
    site = make(topics, tmp_path)
    feed, records = Feed(site), traffic(400, 17)
    feed.send(records[:200])
    refused(site, "FRAUDSTREAM_START", "0 to 199", FRAUDSTREAM_START="")
    worker = site.start(FRAUDSTREAM_START="latest")
    worker.wait_for(lambda: bool(site.journal(0).versions), "the start")
    feed.send(records[200:])
    worker.wait_decided(len(records) - 200)
    assert worker.stop() == 0
    assert min(effective(site, 0)) == 200
    same_as_reference(site)


def test_features_that_see_only_a_share_are_refused_on_two_partitions(topics: Topics, tmp_path: Path) -> None:
    """The partition guard names the features and what to do."""
    site = make(topics, tmp_path, partitions=2)
    write_rules(site.rules, 4, DEVICE_FEATURE)
    refused(site, "`device.count_1h`", "2 partitions", "account_only")


def test_times_that_producers_make_up_are_refused(topics: Topics, tmp_path: Path) -> None:
    """CreateTime needs `trust_create_time`."""
    site = make(topics, tmp_path)
    topics.delete()
    for name in ("decisions", "alerts", "dead-letters", "journal", "control"):
        topics(name)
    topics("transactions", message_timestamp_type="CreateTime")
    refused(site, "CreateTime", "trust_create_time")


def test_missing_topics_and_unequal_partitions_are_refused(topics: Topics, tmp_path: Path) -> None:
    """The message names the topics and the command that makes them."""
    site = make(topics, tmp_path)
    admin = AdminClient(quiet(site.bootstrap))
    for future in admin.create_partitions([NewPartitions(site.prefix + "transactions", 2)]).values():
        future.result()
    refused(site, "has 2 partitions", "has 1")
    topics.delete()
    refused(site, "fraudstream topics create", "transactions")


def test_a_topic_that_was_deleted_and_refilled_is_refused(topics: Topics, tmp_path: Path) -> None:
    """Shorter, or as long with other records: the state is not of this log."""
    site = make(topics, tmp_path)
    worker = site.start()
    Feed(site).send(traffic(200, 18))
    worker.wait_decided(200)
    assert worker.stop() == 0
    name = site.prefix + "transactions"
    topics.kafka.delete_topics(name)
    topics("transactions", message_timestamp_type="LogAppendTime")
    Feed(site).send(traffic(50, 19))
    refused(site, "the newest snapshot goes on at")
    Feed(site).send(traffic(400, 19))
    refused(site, "deleted and refilled")
    for path in (tmp_path / "state").rglob("*.snapshot"):
        path.unlink()
    topics.kafka.delete_topics(name)
    topics("transactions", message_timestamp_type="LogAppendTime")
    Feed(site).send(traffic(50, 19))
    refused(site, "has a decision for input offset")
