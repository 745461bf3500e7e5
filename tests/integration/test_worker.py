"""The worker on a real broker: what it decides, how it stops and changes, what it refuses."""

from __future__ import annotations

import json
import re
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions
from support.changes import command
from support.kafka import Topics
from support.worker import Feed, Site, effective, same_as_reference, sources, traffic
from support.worker_rules import write_rules

from fraudstream.bench.traffic.hostile import Record
from fraudstream.stream.localkafka.client import quiet

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]
DEVICE_FEATURE = "device.count_1h: {agg: count, key: device.id, window: 1h}"
DEVICE = re.compile(rb'"device_id":"([^"]+)"')
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
    write_rules(site.rules, 2)
    worker.wait_for(lambda: len(site.journal(0).versions) == 2, "the change")
    feed.send(records[400:800])
    worker.wait_decided(800)
    broken = site.rules / "rulesets" / "account.yaml"
    broken.write_text(broken.read_text().replace("account.count_1h >= 2", "account.cuont_1h >= 3"))
    worker.wait_for(lambda: "did you mean" in worker.text or "account.cuont_1h" in worker.text, "the refusal")
    write_rules(site.rules, 2)
    features = site.rules / "features.yaml"
    features.write_text(features.read_text().replace("allowed_lateness: 1h", "allowed_lateness: 2h"))
    worker.wait_for(lambda: "needs a restart" in worker.text, "the other refusal")
    feed.send(records[800:])
    worker.wait_decided(len(records))
    assert worker.stop() == 0
    same_as_reference(site)
    assert [version.from_offset for version in site.journal(0).versions] == [0, 400]


LISTED_RULE = """\
apiVersion: fraudstream/v1
kind: RuleSet
defaults: {owner: tests@bank.example}
rules:
  - id: device.listed
    title: a device on the list
    on: [payment, card_auth]
    when: device.id in lists.devices
    severity: high
    action: block
    reason: {en: "known device", zh: "known device"}
    tests:
      - {name: listed, given: {device.id: d-test}, expect: {match: true}}
      - {name: another, given: {device.id: d-other}, expect: {match: false}}
"""


def test_a_list_changes_without_a_rule_at_a_journaled_offset(topics: Topics, tmp_path: Path) -> None:
    """An item of a list file blocks from the offset on, in replay too; `rules status` names the version."""
    site = make(topics, tmp_path)
    lists, items = site.rules / "lists.yaml", site.rules / "lists" / "devices.csv"
    lists.write_text(lists.read_text() + "  devices: {type: id, file: lists/devices.csv}\n")
    items.parent.mkdir()
    items.write_text("value,until\nd-test\n")
    (site.rules / "rulesets" / "device.yaml").write_text(LISTED_RULE)
    feed, records = Feed(site), traffic(1_200, 19)
    devices = Counter(found[1] for made in records[400:] if (found := DEVICE.search(made.value or b"")))
    worker = site.start()
    feed.send(records[:400])
    worker.wait_decided(400)
    items.write_text(f"value,until\nd-test\n{devices.most_common(1)[0][0].decode()},2099-01-01\n")
    worker.wait_for(lambda: len(site.journal(0).versions) == 2, "the change")
    feed.send(records[400:])
    worker.wait_decided(len(records))
    status = command(site, "rules", "status")
    assert worker.stop() == 0
    assert "list devices: 2 items, version sha256:" in status.stdout, status.stderr
    same_as_reference(site)
    assert [version.from_offset for version in site.journal(0).versions] == [0, 400]
    blocked = {offset for offset, value in effective(site, 0).items() if b'"code":"device.listed"' in value}
    assert blocked
    assert min(blocked) >= 400


MAX_RULE = """\
apiVersion: fraudstream/v1
kind: RuleSet
defaults: {owner: tests@bank.example, timezone: Asia/Shanghai}
rules:
  - id: account.large
    title: a large payment in the last hour
    on: [payment, card_auth]
    when: account.max_1h > 100
    severity: high
    action: block
    reason: {en: "{account.max_1h:money} in the last hour", zh: "一小时内 {account.max_1h:money}"}
    tests:
      - {name: fires, given: {account.max_1h: 101}, expect: {match: true}}
      - {name: small, given: {account.max_1h: 100}, expect: {match: false}}
"""


def test_a_feature_added_live_warms_and_is_filled_from_the_log_when_told(
    topics: Topics, tmp_path: Path
) -> None:
    """What was known goes on at a journaled offset; a kill and a back-fill repeat the same bytes."""
    site = make(topics, tmp_path, snapshot_records="300")
    feed, records = Feed(site), traffic(1_600, 17)
    worker = site.start()
    feed.send(records[:400])
    worker.wait_decided(400)
    (site.rules / "rulesets" / "large.yaml").write_text(MAX_RULE)
    write_rules(site.rules, 4, MAX_FEATURE)
    worker.wait_for(lambda: len(site.journal(0).versions) == 2, "the change")
    feed.send(records[400:800])
    worker.wait_decided(800)
    worker.kill()
    feed.send(records[800:1_000])
    worker = site.start()
    worker.wait_decided(1_000)
    assert worker.stop() == 0
    assert site.journal(0).in_force(1_000).state == "carried"
    worker = site.start("--backfill")
    worker.wait_for(lambda: "building the state from 0 to 1000" in worker.text, "the back-fill")
    feed.send(records[1_000:])
    worker.wait_decided(len(records))
    assert worker.stop() == 0
    versions = site.journal(0).versions
    assert [(one.from_offset, one.changes.get("state")) for one in versions] == [
        (0, None),
        (400, "carried"),
        (1_000, "built"),
    ]
    same_as_reference(site)
    decided = effective(site, 0)
    large = [offset for offset, value in sorted(decided.items()) if b"account.large" in value]
    assert min(large) >= 400


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


def test_records_of_transactions_are_decided_and_their_markers_passed(topics: Topics, tmp_path: Path) -> None:
    """Aborted records get no decision; a log that ends in a marker is drained to its end."""
    site = make(topics, tmp_path)
    records = traffic(60, 22)[:60]
    producer = Producer(quiet(site.bootstrap, **{"transactional.id": f"{site.prefix}tx"}))
    producer.init_transactions(30)
    worker = site.start()
    for begin in range(0, 60, 20):
        producer.begin_transaction()
        for record in records[begin : begin + 20]:
            producer.produce(site.prefix + "transactions", record.value, record.key, 0)
        if begin == 20:
            producer.flush()
            producer.abort_transaction(30)
        else:
            producer.commit_transaction(30)
    worker.wait_decided(40)
    worker.wait_for(lambda: site.end("transactions", 0) == 63, "the last marker")
    time.sleep(1.0)  # the marker is passed by a fetch without records
    assert worker.stop() == 0
    assert site.journal(0).ends[-1].at == 63
    same_as_reference(site)


def test_partitions_move_between_workers_without_a_loss_or_a_conflict(topics: Topics, tmp_path: Path) -> None:
    """A second worker takes over a partition at a slice border, and gives it back when it stops."""
    site = make(topics, tmp_path, partitions=2)
    feed, records = Feed(site), traffic(1_500, 23)
    first = site.start()
    feed.send(records[:400])
    first.wait_decided(400)
    second = site.start()
    feed.send(records[400:800])
    second.wait_for(lambda: "epoch" in second.text, "the second worker's partition")
    second.wait_for(lambda: site.decided() >= 800, "decisions of both")
    assert second.stop() == 0
    feed.send(records[800:])
    first.wait_decided(len(records))
    assert first.stop() == 0
    same_as_reference(site)


def test_a_worker_that_slept_through_its_session_changes_nothing(topics: Topics, tmp_path: Path) -> None:
    """Stopped for longer than the session timeout while another takes over, it wakes up without a lease."""
    site = make(topics, tmp_path, slice_records_max="16")
    feed, records = Feed(site), traffic(1_500, 24)
    first = site.start()
    feed.send(records[:300])
    first.wait_decided(300)
    feed.send(records[300:800])
    first.process.send_signal(signal.SIGSTOP)
    second = site.start()
    try:
        second.wait_decided(800)
    finally:
        first.process.send_signal(signal.SIGCONT)
    feed.send(records[800:])
    second.wait_for(lambda: len(effective(site, 0)) == len(records), "the rest")
    for worker in (first, second):
        if worker.process.poll() is None:
            worker.stop()
    assert (first.process.returncode, second.process.returncode) in {(75, 0), (0, 0)}, first.text
    same_as_reference(site)


def test_an_input_that_lost_what_the_state_needs_is_refused(topics: Topics, tmp_path: Path) -> None:
    """Without a snapshot the state needs its oldest record; other features may be told to do with less."""
    site = make(topics, tmp_path)
    feed, records = Feed(site), traffic(500, 25)
    worker = site.start()
    feed.send(records[:300])
    worker.wait_decided(300)
    assert worker.stop() == 0
    admin = AdminClient(quiet(site.bootstrap))
    for future in admin.delete_records([TopicPartition(site.prefix + "transactions", 0, 100)]).values():
        future.result()
    write_rules(site.rules, 3, MAX_FEATURE)
    refused(site, "begins at 100", "--accept-short-history")
    worker = site.start("--accept-short-history")
    feed.send(records[300:])
    worker.wait_decided(len(records))
    assert worker.stop() == 0
    assert [version.changes.get("state_from") for version in site.journal(0).versions] == [0, 100]
    for path in (tmp_path / "state").rglob("*.snapshot"):
        path.unlink()
    refused(site, "has no snapshot", "begins at 100")


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
