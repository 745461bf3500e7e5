"""Ready batches through a real broker, read back by librdkafka with its checksum check."""

from __future__ import annotations

import asyncio

import numpy as np
from aiokafka import AIOKafkaProducer
from confluent_kafka import Consumer, TopicPartition
from support.kafka import DEADLINE_S, Topics

from fraudstream.stream.batches import ready_batches, why_not_ready_batches
from fraudstream.stream.cluster import quiet
from fraudstream.stream.wire.batches_out import DecisionRecords, Outgoing
from fraudstream.stream.wire.types import Encoded, Slice


def decisions(count: int) -> DecisionRecords:
    """Return decisions of all sizes."""
    values = [b"%06d" % number + bytes(number % 900) for number in range(count)]
    keys = [None if number % 11 == 0 else b"account-%d" % number for number in range(count)]
    part = Slice.from_records(0, values, keys, range(10, 10 + count), [0] * count)
    ends = np.cumsum([0, *map(len, values)], dtype=np.int64)
    late = np.where(np.arange(count) % 5 == 0, np.arange(count), -1)
    rows = np.arange(count, dtype=np.int32)
    return DecisionRecords(
        part, rows, Encoded(b"".join(values), ends), b"4", late, np.zeros(0, np.uint8), 0, count
    )


async def _send(bootstrap: str, topic: str, records: DecisionRecords, limit: int) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
    await producer.start()
    try:
        assert why_not_ready_batches(producer) is None
        half = len(records) // 2
        for part in (records[:half], records[half:]):
            sent = [await producer.send_batch(b, topic, partition=0) for b in ready_batches(part, limit)]
            async with asyncio.timeout(DEADLINE_S):
                await asyncio.gather(*sent)
    finally:
        await producer.stop()


def test_librdkafka_reads_what_was_to_be_written(topics: Topics) -> None:
    """Keys, values and headers of 5,000 records over several batches, in order."""
    topic, records = topics("ready"), decisions(5_000)
    asyncio.run(_send(topics.bootstrap, topic, records, 300_000))
    consumer = Consumer(
        quiet(topics.bootstrap, **{"group.id": topic, "check.crcs": True, "enable.auto.commit": False})
    )
    consumer.assign([TopicPartition(topic, 0, 0)])
    found: list[Outgoing] = []
    while len(found) < len(records):
        messages = consumer.consume(len(records) - len(found), DEADLINE_S)
        assert messages
        for message in messages:
            assert message.error() is None
            found.append(Outgoing(message.key(), message.value(), message.headers() or []))
    consumer.close()
    assert found == list(records)
