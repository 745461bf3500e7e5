"""Reference tables on a real broker: what they join live is what a replay of the journal joins."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from confluent_kafka import Producer
from support.kafka import Topics
from support.reference_rules import write_profiles, write_reference_rules
from support.worker import Feed, Running, Site, effective, same_as_reference, traffic

from fraudstream.bench.traffic.hostile import Record
from fraudstream.stream.localkafka.client import quiet

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]


def accounts(records: list[Record]) -> list[str]:
    """Return the accounts of traffic, the busiest first."""
    return [name for name, _ in Counter(r.key.decode() for r in records if r.key).most_common()]


def payees(records: list[Record]) -> list[str]:
    """Return the counterparties of traffic, the busiest first."""
    found: Counter[str] = Counter()
    for record in records:
        try:
            members = json.loads(record.value or b"")
            found[members["counterparty_id"]] += 1
        except (ValueError, KeyError, TypeError):
            continue
    return [name for name, _ in found.most_common() if name]


def make(topics: Topics, home: Path, topic: bool = False, **settings: str) -> Site:
    """Return a site with reference tables."""
    name = ""
    if topic:
        topics("watch", 1, cleanup_policy="compact")
        name = topics.prefix + "watch"
    return Site(topics, home, write_reference_rules(home / "first", name), **settings)


def matched(site: Site, rule: str) -> list[int]:
    """Return the offsets of decisions with a reason of one rule."""
    return [
        offset
        for offset, value in effective(site, 0).items()
        if rule in {reason["code"] for reason in json.loads(value)["reasons"]}
    ]


def put(site: Site, rows: dict[str, object]) -> None:
    """Append records to the watch list's topic; None removes, bytes go as they are."""
    producer = Producer(quiet(site.bootstrap))
    for key, row in rows.items():
        value = row if isinstance(row, bytes) else None if row is None else json.dumps(row).encode()
        producer.produce(site.prefix + "watch", value, key.encode())
    assert producer.flush(30) == 0


def tables(site: Site) -> dict[str, list[str]]:
    """Return the versions of each table in the order of the journal."""
    found: dict[str, list[str]] = {}
    for version in site.journal(0).versions:
        for name, content in version.tables.items():
            found.setdefault(name, []).append(content)
    return found


def test_a_changed_file_is_in_force_from_a_journaled_offset_and_a_bad_one_is_refused(
    topics: Topics, tmp_path: Path
) -> None:
    """The exported log, journal and control topic give the same bytes through the command line."""
    site = make(topics, tmp_path)
    records = traffic(1_500, 31)
    busy = accounts(records)
    write_profiles(site.rules, dict.fromkeys(busy[:10], ("high", "0.01")))
    feed, worker = Feed(site), site.start()
    feed.send(records[:500])
    worker.wait_decided(500)
    write_profiles(site.rules, dict.fromkeys(busy[5:20], ("high", "0.01")))
    worker.wait_for(lambda: len(tables(site)["profile"]) == 2, "the change")
    feed.send(records[500:1000])
    worker.wait_decided(1000)
    write_profiles(site.rules, {"a b": ("highest", "1.555"), busy[0]: ("low", "")})
    worker.wait_for(lambda: "is refused" in worker.text, "the refusal")
    assert "column `band` was not shown (personal), expected one of `low`, `high`" in worker.text
    feed.send(records[1000:])
    worker.wait_decided(1500)
    assert worker.stop() == 0
    assert [version.from_offset for version in site.journal(0).versions] == [0, 500]
    found = matched(site, "ref.band")
    assert found[0] < 500 <= found[-1]
    same_as_reference(site)
    command_line_gives_the_same(site, tmp_path)


def command_line_gives_the_same(site: Site, home: Path) -> None:
    """Export three topics and replay them."""
    for name in ("input", "journal", "control"):
        run(site, "export", "--topic", name, "--output", str(home / f"{name}.jsonl"))
    run(
        site, "replay", "--input", str(home / "input.jsonl"), "--format", "envelope",
        "--journal", str(home / "journal.jsonl"), "--control", str(home / "control.jsonl"),
        "--output", str(home / "out.jsonl"),
    )  # fmt: skip
    decided = effective(site, 0)
    assert (home / "out.jsonl").read_bytes().splitlines() == [decided[offset] for offset in sorted(decided)]


def run(site: Site, *arguments: str) -> None:
    """Run a command."""
    command = [sys.executable, "-m", "fraudstream.stream.cli", *arguments]
    environment = {**site.environment, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr


def test_updates_of_a_compacted_topic_are_journaled_while_traffic_flows(
    topics: Topics, tmp_path: Path
) -> None:
    """Rows come, change and go; bad records are passed over; the replay joins what was joined."""
    site = make(topics, tmp_path, topic=True)
    records = traffic(2_000, 32)
    busy, listed = accounts(records), payees(records)
    write_profiles(site.rules, dict.fromkeys(busy[:5], ("high", "0.01")))
    put(site, {name: {"listed": True, "reason": "old"} for name in listed[:3]})
    feed, worker = Feed(site), site.start()
    for step in range(4):
        feed.send(records[step * 400 : (step + 1) * 400])
        worker.wait_decided((step + 1) * 400)
        before = len(tables(site)["watch"])
        put(
            site,
            {
                listed[step]: None,
                listed[3 + step]: {"listed": True, "reason": f"step {step}"},
                "": b"{}",
                "x y": b"{}",
                listed[8]: b'{"listed": 7}',
                listed[9]: b"\xff",
                listed[7]: b'{"listed": true, "reason": ["deep"]}',
            },
        )
        worker.wait_for(lambda b=before: len(tables(site)["watch"]) > b, "the update")
    feed.send(records[1600:])
    worker.wait_decided(len(records))
    assert "is passed over" in worker.text
    assert worker.stop() == 0
    texts = {
        reason["text"]
        for value in effective(site, 0).values()
        for reason in json.loads(value)["reasons"]
        if reason["code"] == "ref.watch"
    }
    assert {"listed: old", "listed: step 0"} <= texts
    same_as_reference(site)
    command_line_gives_the_same(site, tmp_path)


def test_a_killed_worker_goes_on_with_the_journaled_tables(topics: Topics, tmp_path: Path) -> None:
    """Files and topic changed while it was dead: the old content answers up to the border, then the new."""
    site = make(topics, tmp_path, topic=True, snapshot_records="200")
    records = traffic(1_600, 33)
    busy, listed = accounts(records), payees(records)
    write_profiles(site.rules, dict.fromkeys(busy[:10], ("high", "0.01")))
    put(site, {name: {"listed": True, "reason": "a"} for name in listed[:5]})
    feed, worker = Feed(site), site.start()
    feed.send(records[:600])
    worker.wait_decided(600)
    feed.send(records[600:900])
    worker.kill()
    write_profiles(site.rules, dict.fromkeys(busy[8:12], ("high", "0.01")))
    put(site, {listed[0]: None, listed[6]: {"listed": True, "reason": "b"}})
    worker = site.start()
    worker.wait_decided(900)
    worker.wait_for(
        lambda: {k: len(v) for k, v in tables(site).items()} == {"profile": 2, "watch": 2}, "both"
    )
    feed.send(records[900:1300])
    worker.wait_decided(1300)
    worker.kill()
    seen = tables(site)
    worker = site.start()
    feed.send(records[1300:])
    worker.wait_decided(len(records))
    assert worker.stop() == 0
    assert tables(site) == seen, "a restart with the same sources journals nothing new"
    same_as_reference(site)


def test_a_first_start_without_the_file_is_refused_and_a_lost_file_is_no_outage(
    topics: Topics, tmp_path: Path
) -> None:
    """The message names the file; later the journaled content goes on."""
    site = make(topics, tmp_path)
    worker: Running = site.start()
    assert worker.wait_exit() == 78, worker.text
    assert "data/profile.csv" in worker.text[worker.text.rindex("fraudstream: ") :]
    records = traffic(600, 34)
    write_profiles(site.rules, dict.fromkeys(accounts(records)[:10], ("high", "0.01")))
    feed, worker = Feed(site), site.start()
    feed.send(records[:300])
    worker.wait_decided(300)
    worker.kill()
    (site.rules / "data" / "profile.csv").unlink()
    worker = site.start()
    feed.send(records[300:])
    worker.wait_decided(600)
    assert worker.stop() == 0
    assert len(site.journal(0).versions) == 1
    assert any(offset >= 300 for offset in matched(site, "ref.band"))
    same_as_reference(site)


def test_a_worker_killed_while_it_journals_a_table_decides_the_same(topics: Topics, tmp_path: Path) -> None:
    """The record may have landed or not: whatever the journal says is what was joined."""
    site = make(topics, tmp_path, topic=True)
    records = traffic(900, 36)
    busy, listed = accounts(records), payees(records)
    write_profiles(site.rules, dict.fromkeys(busy[:10], ("high", "0.01")))
    put(site, {name: {"listed": True, "reason": "a"} for name in listed[:5]})
    # take, start, first version; the fourth record is the change of a table.
    feed, worker = Feed(site), site.start(FRAUDSTREAM_FAILPOINT="before_journal_ack:4")
    feed.send(records[:300])
    worker.wait_decided(300)
    put(site, {listed[0]: None, listed[1]: {"listed": True, "reason": "b"}})
    assert worker.wait_exit() != 0
    feed.send(records[300:600])
    worker = site.start()
    worker.wait_decided(600)
    worker.wait_for(lambda: len(tables(site)["watch"]) >= 2, "the change")
    feed.send(records[600:])
    worker.wait_decided(len(records))
    assert worker.stop() == 0
    same_as_reference(site)


def test_another_declaration_rebuilds_the_state_and_a_new_table_comes_with_its_rules(
    topics: Topics, tmp_path: Path
) -> None:
    """A `where` that reads another table is another feature; a table for rules alone is switched live."""
    site = make(topics, tmp_path)
    records = traffic(1_500, 35)
    busy, paid = accounts(records), payees(records)
    write_profiles(site.rules, dict.fromkeys(busy[:10], ("high", "0.01")))
    feed, worker = Feed(site), site.start()
    feed.send(records[:400])
    worker.wait_decided(400)
    write_profiles(site.rules, dict.fromkeys(busy[5:15], ("high", "0.01")))
    worker.wait_for(lambda: len(tables(site)["profile"]) == 2, "the change")
    feed.send(records[400:800])
    worker.wait_decided(800)
    worker.kill()
    declared = site.rules / "reference.yaml"
    declared.write_text(declared.read_text().replace("values: [low, high]", "values: [low, middle, high]"))
    write_profiles(site.rules, dict.fromkeys(busy[:3], ("middle", "0.01")))
    worker = site.start()
    worker.wait_for(lambda: "building the state from 0 to 800" in worker.text, "the rebuild")
    feed.send(records[800:1100])
    worker.wait_decided(1100)
    add_listed_table(site.rules, paid[:4])
    worker.wait_for(lambda: "listed" in tables(site), "the new table")
    feed.send(records[1100:])
    worker.wait_decided(len(records))
    assert worker.stop() == 0
    versions = site.journal(0).versions
    assert [version.from_offset for version in versions] == [0, 400, 800, 1100]
    assert ("bundle" in versions[3].changes, list(versions[3].tables)) == (True, ["listed"])
    assert matched(site, "ref.listed")[0] >= 1100
    same_as_reference(site)
    command_line_gives_the_same(site, tmp_path)


def add_listed_table(rules: Path, names: list[str]) -> None:
    """Add a table, its file and a rule that reads it."""
    (rules / "data" / "listed.jsonl").write_text("\n".join(json.dumps({"id": name}) for name in names))
    with (rules / "reference.yaml").open("a") as file:
        file.write(
            "  listed:\n    key: counterparty.id\n    source: {file: data/listed.jsonl}\n"
            "    columns: {note: {type: category}}\n"
        )
    with (rules / "rulesets" / "reference.yaml").open("a") as file:
        file.write(
            "  - id: ref.listed\n    title: a listed payee\n    on: [payment, card_auth]\n"
            "    when: listed.found\n    severity: high\n    action: alert\n    score: 10\n"
            "    reason: {en: listed}\n    tests:\n"
            "      - {name: there, given: {listed.found: true}, expect: {match: true}}\n"
            "      - {name: not there, given: {listed.found: false}, expect: {match: false}}\n"
        )
