"""The wire through a real broker: what a client's process spends on a record, for batches of a size."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition
from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as ConfluentPartition
from rich.progress import Progress

from fraudstream.bench import wire_records as wire
from fraudstream.stream.batches import ready_batches
from fraudstream.stream.errors import FraudstreamError
from fraudstream.stream.fetching import Fetching
from fraudstream.stream.topics import create_topics
from fraudstream.stream.wire.decode import decode
from fraudstream.stream.wire.encode import Encoder
from fraudstream.stream.wire.tables import SchemaTables
from fraudstream.stream.wire.types import Slice

Found = dict[tuple[str, str], dict[int, list[float]]]
"""(step, way) -> batch size -> microseconds per record, one of each round."""

BATCH_BYTES = 1 << 20
FETCH_BYTES = 1
"""A fetch brings at least one batch, and with this limit no more."""
PATIENCE_S = 120.0


async def _preload(bootstrap: str, topic: str, size: int, batches: int) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", max_batch_size=BATCH_BYTES)
    await producer.start()
    for _ in range(batches):
        batch = producer.create_batch()
        for _ in range(size):
            assert batch.append(key=wire.ACCOUNT, value=wire.FULL, timestamp=1) is not None
        batch.close()
        await (await producer.send_batch(batch, topic, partition=0))
    await producer.stop()


async def _consumer(bootstrap: str, topic: str) -> AIOKafkaConsumer:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        max_partition_fetch_bytes=FETCH_BYTES,
        isolation_level="read_committed",
    )
    await consumer.start()
    consumer.assign([TopicPartition(topic, 0)])
    return consumer


def _surprised(reason: str) -> None:
    raise FraudstreamError(f"the fetch is not read by the kernels: {reason}")


async def _slices(bootstrap: str, topic: str, count: int, use: Callable[[Slice], Any]) -> float:
    """Fetch ``count`` records as slices; return the processor seconds from the first to the last."""
    consumer = await _consumer(bootstrap, topic)
    partition, seen, begin = TopicPartition(topic, 0), 0, 0.0
    Fetching(topic, _surprised).install(consumer)
    consumer.seek(partition, 0)
    begin = time.process_time()
    while seen < count:
        for found in (await consumer.getmany(partition, timeout_ms=1_000)).get(partition, ()):
            seen += len(found)
            await use(found)
    used = time.process_time() - begin
    await consumer.stop()
    return used


async def _nothing(_: Slice) -> None:
    """Use a slice for nothing."""


async def _fetch(bootstrap: str, topic: str, target: str, count: int, tables: SchemaTables) -> float:
    del target, tables
    return await _slices(bootstrap, topic, count, _nothing)


async def _whole(bootstrap: str, topic: str, target: str, count: int, tables: SchemaTables) -> float:
    """Take, decode, encode, build and send; a slice is decided while the one before is under way."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, max_batch_size=BATCH_BYTES
    )
    await producer.start()
    encoder = Encoder(tables.schema, 0, wire.VERSIONS)
    sent: list[asyncio.Future[Any]] = []

    async def use(part: Slice) -> None:
        batch = decode(part, tables, wire.KEY)
        records = wire.records_of(part, encoder.encode(part, batch, wire.outcome_of(len(part))))
        sent.extend(
            [
                await producer.send_batch(each, target, partition=0)
                for each in ready_batches(records, BATCH_BYTES)
            ]
        )
        while len(sent) > 1:
            await sent.pop(0)

    used = await _slices(bootstrap, topic, count, use)
    begin = time.process_time()
    for each in sent:
        await each
    used += time.process_time() - begin
    await producer.stop()
    return used


async def _getmany(bootstrap: str, topic: str, target: str, count: int, tables: SchemaTables) -> float:
    del target, tables
    consumer = await _consumer(bootstrap, topic)
    partition, seen = TopicPartition(topic, 0), 0
    consumer.seek(partition, 0)
    begin = time.process_time()
    while seen < count:
        for record in (await consumer.getmany(partition, timeout_ms=1_000)).get(partition, ()):
            _ = record.value, record.key, record.offset, record.timestamp
            seen += 1
    used = time.process_time() - begin
    await consumer.stop()
    return used


async def _consume(bootstrap: str, topic: str, target: str, count: int, tables: SchemaTables) -> float:
    del target, tables
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bench-wire",
            "enable.auto.commit": False,
            "fetch.queue.backoff.ms": 1,
            "fetch.message.max.bytes": FETCH_BYTES,
        }
    )
    consumer.assign([ConfluentPartition(topic, 0, 0)])
    seen, begin = 0, time.process_time()
    until = time.monotonic() + PATIENCE_S
    while seen < count:
        # A larger list waits for its timeout before it is returned.
        first = consumer.poll(1.0)
        if first is None and time.monotonic() > until:
            raise FraudstreamError(f"confluent-kafka consumed {seen} of {count} records in {PATIENCE_S:g} s")
        for message in [] if first is None else [first, *consumer.consume(1_000, timeout=0)]:
            _ = message.value(), message.key(), message.offset(), message.timestamp()
            seen += 1
    used = time.process_time() - begin
    consumer.close()
    return used


Loop = Callable[[str, str, str, int, SchemaTables], Coroutine[Any, Any, float]]
LOOPS: tuple[tuple[str, str, Loop], ...] = (
    ("fetch", "", _fetch),
    ("whole wire", "", _whole),
    ("fetch", "aiokafka `getmany`", _getmany),
    ("fetch", "confluent `consume`", _consume),
)


def measure(bootstrap: str, count: int, rounds: int, sizes: Sequence[int], progress: Progress) -> Found:
    """Let every way eat a topic of batches of each size, in turn, several rounds."""
    tables, found = wire.tables_of_shipped_rules(), Found()
    task = progress.add_task("broker", total=len(sizes) * rounds * len(LOOPS))
    for size in sizes:
        # One record a fetch is slow: a hundredth of the time tells as much.
        batches = max(2, min(count // size, count // 20))
        names = create_topics(bootstrap, partitions=1, prefix=f"wire{size}.")
        asyncio.run(_preload(bootstrap, names.input, size, batches))
        records = size * batches
        for _ in range(rounds):
            for step, name, loop in LOOPS:
                seconds = asyncio.run(loop(bootstrap, names.input, names.decisions, records, tables))
                found.setdefault((step, name), {}).setdefault(size, []).append(seconds / records * 1e6)
                progress.advance(task)
    return found
