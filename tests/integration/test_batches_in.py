"""Slices of a real broker's fetch responses, beside the records that aiokafka itself hands over."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from confluent_kafka import Producer
from support.batches import Row, rows_of
from support.kafka import DEADLINE_S, Topics

from fraudstream.stream.cluster import quiet
from fraudstream.stream.fetching import Fetching
from fraudstream.stream.wire.types import Slice

COUNT = 60
Values = Iterable[tuple[bytes | None, bytes | None]]


def values(name: str) -> list[tuple[bytes | None, bytes | None]]:
    """Return keys and values of all kinds."""
    kinds: list[bytes | None] = [None, b"", b"x", bytes(3_000)]
    return [
        (kinds[n % 4], kinds[n // 4 % 4] if n % 5 else b"%s %d" % (name.encode(), n)) for n in range(COUNT)
    ]


def send(topics: Topics, topic: str, records: Values, codec: str) -> None:
    """Append records with headers on some, a few a batch."""
    settings = {"compression.type": codec, "batch.num.messages": 7, "linger.ms": 5}
    producer = Producer(quiet(topics.bootstrap, acks="all", **settings))
    for number, (key, value) in enumerate(records):
        headers = [("h", b"1"), ("n", None)] if number % 3 == 0 else []
        producer.produce(topic, value, key, 0, timestamp=1_795_488_000_000 - number, headers=headers)
    assert producer.flush(DEADLINE_S) == 0


def transactions(topics: Topics, topic: str) -> None:
    """Append three committed and three aborted transactions, one of them empty."""
    producer = Producer(quiet(topics.bootstrap, **{"transactional.id": topic}))
    producer.init_transactions(DEADLINE_S)
    for number in range(6):
        producer.begin_transaction()
        for at in range(10 * number):
            producer.produce(topic, b"%d:%d" % (number, at), b"k", 0)
        producer.flush(DEADLINE_S)
        (producer.abort_transaction if number % 2 else producer.commit_transaction)(DEADLINE_S)


async def read(
    bootstrap: str, topic: str, begin: int, isolation: str, *, slices: bool
) -> tuple[list[Row], int, int]:
    """Read from ``begin`` to the end; return the rows, the position then, and how many slices came."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        isolation_level=isolation,
        max_partition_fetch_bytes=20_000,
    )
    fell_back: list[str] = []
    await consumer.start()
    if slices:
        Fetching(topic, fell_back.append).install(consumer)
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek(partition, begin)
    end, rows, came = (await consumer.end_offsets([partition]))[partition], list[Row](), 0
    async with asyncio.timeout(DEADLINE_S):
        while await consumer.position(partition) < end:
            for found in (await consumer.getmany(partition, timeout_ms=200)).get(partition, ()):
                if isinstance(found, Slice):
                    rows += rows_of(found)
                    came += 1
                else:
                    rows.append((found.offset, found.timestamp, found.key, found.value))
    await consumer.stop()
    assert not fell_back
    return rows, end, came


async def compare(bootstrap: str, topic: str) -> None:
    """Read from several places under both isolation levels."""
    for isolation in ("read_committed", "read_uncommitted"):
        for begin in (0, 3, 17, 58):
            theirs = await read(bootstrap, topic, begin, isolation, slices=False)
            ours = await read(bootstrap, topic, begin, isolation, slices=True)
            assert ours[:2] == theirs[:2]
            assert theirs[2] == 0
            assert 0 < ours[2] < len(ours[0])


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
@pytest.mark.parametrize("kind", ["CreateTime", "LogAppendTime"])
def test_the_records_are_those_that_the_client_library_reads(topics: Topics, codec: str, kind: str) -> None:
    """Every codec as librdkafka writes it, both kinds of timestamps, from within a batch too."""
    topic = topics(f"{codec}-{kind}", message_timestamp_type=kind, retention_ms="-1")
    send(topics, topic, values(codec), codec)
    asyncio.run(compare(topics.bootstrap, topic))


def test_transactions(topics: Topics) -> None:
    """Markers are no records; what was aborted is read only where that is asked for."""
    topic = topics("transactions")
    transactions(topics, topic)
    send(topics, topic, values("after"), "lz4")
    asyncio.run(compare(topics.bootstrap, topic))


def test_other_topics_go_on_as_they_are(topics: Topics) -> None:
    """Only the topic that was named is handed over as slices."""
    topic = topics("other")
    send(topics, topic, values("other"), "none")

    async def run() -> None:
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=topics.bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        Fetching("another", lambda reason: None).install(consumer)
        record = await asyncio.wait_for(consumer.getone(), DEADLINE_S)
        assert (record.offset, record.value) == (0, b"other 0")
        await consumer.stop()

    asyncio.run(run())
