"""Labels become events on the input, through a real broker: none is lost, and a kill counts none twice."""

from __future__ import annotations

import signal
from pathlib import Path

import orjson
import pytest
from support.kafka import Topics, produce
from support.worker import Feed, Site, effective, traffic
from support.worker_rules import write_rules

pytestmark = pytest.mark.kafka

CLI = "fraudstream.stream.cli"
BAD = [(b"k", b"{", b"bad_json"), (None, None, b"empty"), (b"k", b'{"a":1}', b"missing_field")]


def label(site: Site, partition: int, offset: int, outcome: str) -> tuple[bytes, bytes]:
    """Return a labels record for what lies at a place of the input."""
    record = site.read("transactions", partition)[offset]
    value = {
        "transaction_id": f"T-{partition}-{offset}",
        "src": f"{partition}:{offset}",
        "account_id": (record.key or b"").decode(),
        "label": outcome,
        "labelled_at": "2026-12-01T09:00:00Z",
        "source": "analyst",
    }
    return b"T", orjson.dumps(value)


@pytest.mark.timeout(580)
def test_labels_become_events_once_whatever_happens(topics: Topics, tmp_path: Path) -> None:
    """Killed between acknowledgement and commit it publishes again, and the worker sees duplicates."""
    site = Site(topics, tmp_path, write_rules(tmp_path / "first"), partitions=2)
    topics("labels", 2)
    Feed(site).send([record for record in traffic(60, 3) if record.key is not None])
    before = [site.end("transactions", partition) for partition in range(2)]
    assert all(before)
    wanted: dict[str, tuple[int, str]] = {}
    for number in range(2):
        made = [label(site, number, offset, "fraud") for offset in range(3)]
        made += [label(site, 1 - number, 0, "legitimate")]
        for at in range(4):
            wanted[f"label:{number}-{at}"] = (number, "fraud") if at < 3 else (1 - number, "legitimate")
        bad = [(key, value) for key, value, _ in BAD] if number == 0 else []
        produce(site.bootstrap, site.prefix + "labels", [*made, *bad], number)

    fired = tmp_path / "fired"
    broken = site.start(
        "trainer", module=CLI, FRAUDSTREAM_FAILPOINT="after_ack:1", FRAUDSTREAM_FAILPOINT_LOG=str(fired)
    )
    assert broken.wait_exit() == -signal.SIGKILL, broken.text
    assert fired.read_text() == "after_ack\n"
    trainer = site.start("trainer", module=CLI)

    def published() -> list[tuple[int, str, str]]:
        found = []
        for number in range(2):
            for record in site.read("transactions", number)[before[number] :]:
                event = orjson.loads(record.value or b"")
                assert event["event_type"] == "label"
                assert event["event_time"] <= record.time_ms
                assert (record.key or b"").decode() == event["account_id"]
                assert event["original_src"].startswith(f"{number}:")
                found.append((number, event["transaction_id"], event["label"]))
        return found

    trainer.wait_for(lambda: {item[1] for item in published()} == set(wanted), "all labels")
    trainer.wait_for(lambda: len(site.read("dead-letters", 0)) >= len(BAD), "dead letters")
    assert trainer.stop() == 0, trainer.text
    events = published()
    assert len(events) > len(wanted), "the kill has to leave something to publish again"
    assert {(name, number, outcome) for number, name, outcome in events} == {
        (name, *place) for name, place in wanted.items()
    }

    # Started once more it goes on behind what it committed.
    again = site.start("trainer", module=CLI)
    produce(site.bootstrap, site.prefix + "labels", [label(site, 0, 1, "legitimate")], 0)
    again.wait_for(lambda: "label:0-7" in {item[1] for item in published()}, "the new label")
    assert again.stop() == 0, again.text
    assert len(published()) == len(events) + 1

    letters = {record.headers["src"]: record for record in site.read_all("dead-letters")}
    assert [letters[b"label:0-%d" % (4 + at)].headers["code"] for at in range(3)] == [c for *_, c in BAD]
    assert [letters[b"label:0-%d" % (4 + at)].value for at in range(3)] == [value for _, value, _ in BAD]

    worker = site.start()
    worker.wait_decided(sum(site.end("transactions", number) for number in range(2)))
    assert worker.stop() == 0, worker.text
    firsts: set[str] = set()
    for number in range(2):
        for offset, value in sorted(effective(site, number).items()):
            if offset < before[number]:
                continue
            decision = orjson.loads(value)
            repeated = decision["transaction_id"] in firsts
            assert ("duplicate" in decision["flags"]) == repeated
            firsts.add(decision["transaction_id"])
    assert firsts == {*wanted, "label:0-7"}
