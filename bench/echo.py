"""The raw ceilings of a run: workers that only copy bytes from the input topic to the decision topic.

``python -m fraudstream.bench.echo --client confluent|aiokafka``: the same broker, the same record
bytes and, in latency runs, the same arrivals as the scorer gets. What they take is what Kafka costs.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from typing import Any


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--client", choices=("confluent", "aiokafka"), required=True)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--source", required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--group", required=True)
    parser.add_argument("--linger-ms", type=float, default=0.0)
    return parser.parse_args()


def echo_confluent(args: argparse.Namespace) -> None:
    """Copy with librdkafka until SIGTERM."""
    from confluent_kafka import Consumer, Producer  # noqa: PLC0415 one client a process

    running = True

    def stop(*_: Any) -> None:
        nonlocal running
        running = False

    signal.signal(signal.SIGTERM, stop)
    consumer = Consumer(
        {
            "bootstrap.servers": args.bootstrap,
            "group.id": args.group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            # The default of 1,000 ms lets the consumer sleep a second whenever its queue is full.
            "fetch.queue.backoff.ms": 2,
        }
    )
    producer = Producer(
        {
            "bootstrap.servers": args.bootstrap,
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": args.linger_ms,
            "batch.size": 262_144,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    consumer.subscribe([args.source])
    print("ready", flush=True)
    while running:
        # A larger list waits for its timeout before it is returned: one message at a time when idle.
        first = consumer.poll(0.1)
        if first is None:
            continue
        for message in [first, *consumer.consume(1000, timeout=0)]:
            if message.error():
                raise SystemExit(f"echo: {message.error()}")
            producer.produce(args.target, message.value(), key=message.key(), partition=message.partition())
        producer.poll(0)
    producer.flush()
    consumer.close()


async def echo_aiokafka(args: argparse.Namespace) -> None:
    """Copy with aiokafka's ``getmany`` and ``send_batch`` until SIGTERM."""
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition  # noqa: F401, PLC0415

    consumer = AIOKafkaConsumer(
        args.source,
        bootstrap_servers=args.bootstrap,
        group_id=args.group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=args.bootstrap,
        acks="all",
        enable_idempotence=True,
        linger_ms=int(args.linger_ms),
        max_batch_size=262_144,
    )
    await consumer.start()
    await producer.start()
    print("ready", flush=True)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    pending: list[Any] = []
    while not stop.is_set():
        slices = await consumer.getmany(timeout_ms=100, max_records=1000)
        for partition, records in slices.items():
            batch = producer.create_batch()
            for record in records:
                if batch.append(key=record.key, value=record.value, timestamp=None) is None:
                    pending.append(
                        await producer.send_batch(batch, args.target, partition=partition.partition)
                    )
                    batch = producer.create_batch()
                    batch.append(key=record.key, value=record.value, timestamp=None)
            pending.append(await producer.send_batch(batch, args.target, partition=partition.partition))
        while len(pending) > 4:
            await pending.pop(0)
    await producer.flush()
    await producer.stop()
    await consumer.stop()


def main() -> int:
    """Run one echo worker."""
    args = _arguments()
    if args.client == "confluent":
        echo_confluent(args)
    else:
        asyncio.run(echo_aiokafka(args))
    return 0


if __name__ == "__main__":
    sys.exit(main())
