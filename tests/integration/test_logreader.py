"""Reading a topic between offsets, of a real broker."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.structs import TopicPartition
from confluent_kafka import Producer
from support.kafka import Topics

from fraudstream.stream.localkafka.client import quiet
from fraudstream.stream.logreader import LogReader
from fraudstream.stream.settings import load_settings

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]


def test_reads_go_back_and_fetch_nothing_between_two(topics: Topics) -> None:
    """Any range in any order; the next question does not wait behind a fetch of what nobody reads."""
    topic = topics("log", 1)
    producer = Producer(quiet(topics.bootstrap))
    for number in range(3_000):
        producer.produce(topic, b"%d" % number, partition=0)
    assert producer.flush(30) == 0

    async def read() -> list[list[int]]:
        found = []
        async with LogReader(load_settings({"FRAUDSTREAM_BROKER": topics.bootstrap})) as reader:
            for begin, end in ((0, 2_500), (2_990, 3_000), (10, 12), (5, 5), (0, 3_000)):
                found.append([])
                async for records in reader.read(topic, 0, begin, end):
                    found[-1] += [int(record.value) for record in records]
                assert reader._consumer.paused() == {TopicPartition(topic, 0)}
                assert await reader.bounds(topic, 0) == (0, 3_000)
        return found

    assert asyncio.run(read()) == [
        list(range(2_500)),
        list(range(2_990, 3_000)),
        [10, 11],
        [],
        list(range(3_000)),
    ]
