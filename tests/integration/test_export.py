"""`export` writes exactly the committed records that a topic had when it was asked."""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path

import pytest
from confluent_kafka import Producer
from support.kafka import Topics, produce

from fraudstream.stream.cli import main
from fraudstream.stream.cluster import quiet
from fraudstream.stream.commands import export
from fraudstream.stream.envelope import read_envelopes

pytestmark = pytest.mark.kafka


@pytest.fixture
def site(topics: Topics, monkeypatch: pytest.MonkeyPatch) -> Topics:
    """The environment of a command that works on this test's topics."""
    monkeypatch.setenv("FRAUDSTREAM_BROKER", topics.bootstrap)
    monkeypatch.setenv("FRAUDSTREAM_TOPIC_PREFIX", topics.prefix)
    return topics


def test_every_record_comes_out_in_order_with_key_value_and_time(
    site: Topics, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Partition after partition; null keys, null values, empty values and raw bytes survive."""
    topic = site("transactions", 3)
    first = [(b"k", b"\x00\xff"), (None, b"x"), (b"", b""), (b"k", None)]
    produce(site.bootstrap, topic, first, partition=2, timestamp_ms=1_795_488_011_123)
    produce(site.bootstrap, topic, [(b"a", b"%d" % n) for n in range(25_000)], partition=0)
    output = tmp_path / "input.jsonl"
    assert main(["export", "--topic", "input", "--output", str(output)]) == 0
    assert f"exported 25,004 records of {topic}\n" in capsys.readouterr().err
    with output.open("rb") as lines:
        records = list(read_envelopes(lines, "input.jsonl"))
    assert [(r.partition, r.offset) for r in records] == [(0, n) for n in range(25_000)] + [
        (2, n) for n in range(4)
    ]
    assert [(r.key, r.value) for r in records[25_000:]] == first
    assert {r.time_ms for r in records[25_000:]} == {1_795_488_011_123}
    assert list(tmp_path.iterdir()) == [output]


def test_one_partition_to_standard_output(site: Topics, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """`-` is standard output, and only the partition that was asked for is in it."""
    topic = site("decisions", 2)
    produce(site.bootstrap, topic, [(None, b"zero")], partition=0)
    produce(site.bootstrap, topic, [(b"k", b"one")], partition=1)
    assert main(["export", "--topic", "decisions", "--partition", "1"]) == 0
    (line,) = capfdbinary.readouterr().out.splitlines()
    envelope = json.loads(line)
    assert (envelope["p"], envelope["o"], b64decode(envelope["k"]), b64decode(envelope["v"])) == (
        1,
        0,
        b"k",
        b"one",
    )


def test_aborted_records_and_transaction_markers_are_left_out(site: Topics, tmp_path: Path) -> None:
    """Offsets that hold no committed record end neither the export nor come out, at the log's end too."""
    topic = site("transactions")
    producer = Producer(quiet(site.bootstrap, **{"transactional.id": site.prefix}))
    producer.init_transactions(30)
    for value, commit in ((b"kept", True), (b"aborted", False), (b"kept too", True), (b"aborted too", False)):
        producer.begin_transaction()
        producer.produce(topic, value)
        producer.flush(30)
        (producer.commit_transaction if commit else producer.abort_transaction)(30)
    output = tmp_path / "o"
    assert main(["export", "--topic", "input", "--output", str(output)]) == 0
    with output.open("rb") as lines:
        assert [(r.offset, r.value) for r in read_envelopes(lines, "o")] == [(0, b"kept"), (4, b"kept too")]


def test_what_arrives_during_the_export_is_not_in_it(
    site: Topics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end is that of the start, or an export of a busy topic would never end."""
    topic = site("transactions")
    produce(site.bootstrap, topic, [(None, b"before")] * 5)
    measure = export._span

    def measure_and_produce(*arguments):
        span = measure(*arguments)
        produce(site.bootstrap, topic, [(None, b"after")] * 5)
        return span

    monkeypatch.setattr(export, "_span", measure_and_produce)
    output = tmp_path / "o"
    assert main(["export", "--topic", "input", "--output", str(output)]) == 0
    with output.open("rb") as lines:
        assert [r.value for r in read_envelopes(lines, "o")] == [b"before"] * 5


def test_an_empty_topic_is_an_empty_file(site: Topics, tmp_path: Path) -> None:
    """No records is no error."""
    site("control")
    output = tmp_path / "o"
    assert main(["export", "--topic", "control", "--output", str(output)]) == 0
    assert output.read_bytes() == b""


def test_an_export_that_fails_leaves_no_file(
    site: Topics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half an export never has the name of a whole one."""
    topic = site("transactions")
    produce(site.bootstrap, topic, [(None, b"x")] * 3)
    measure = export._span
    monkeypatch.setattr(export, "_span", lambda *arguments: measure(*arguments)._replace(begin=2, end=9))
    monkeypatch.setattr(export, "SILENCE_S", 0.5)
    site.kafka.delete_topics(topic)
    assert main(["export", "--topic", "input", "--output", str(tmp_path / "o")]) == 4
    assert list(tmp_path.iterdir()) == []
    assert "transactions" in capsys.readouterr().err


def test_absent_topics_and_partitions_are_named(site: Topics, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing topic cannot be exported; a partition that it lacks is bad use."""
    assert main(["export", "--topic", "journal"]) == 4
    assert f"there is no topic `{site.prefix}journal`" in capsys.readouterr().err
    site("journal", 2)
    assert main(["export", "--topic", "journal", "--partition", "2"]) == 2
    assert "has partitions 0 to 1, `--partition` was 2" in capsys.readouterr().err
