"""Topics of one test on the session's broker, and plain ways to fill and read them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from fraudstream.stream.cluster import quiet
from fraudstream.stream.localkafka import Kafka

DEADLINE_S = 30.0


class Topics:
    """Makes topics under a prefix of their own, so that tests never see each other's records."""

    def __init__(self, kafka: Kafka) -> None:
        self.kafka = kafka
        self.bootstrap = kafka.bootstrap
        self.prefix = f"t{uuid.uuid4().hex[:10]}."

    def __call__(self, name: str, partitions: int = 1, **config: str) -> str:
        """Create a topic and return its full name; ``retention_ms="-1"`` sets ``retention.ms``."""
        full = self.prefix + name
        self.kafka.create_topics(
            {full: partitions}, {key.replace("_", "."): value for key, value in config.items()}
        )
        return full

    def delete(self) -> None:
        """Delete every topic under the prefix, whoever made it."""
        self.kafka.delete_topics(prefix=self.prefix)


def produce(
    bootstrap: str,
    topic: str,
    records: Iterable[tuple[bytes | None, bytes | None]],
    partition: int = 0,
    timestamp_ms: int = 0,
) -> None:
    """Append (key, value) records to a partition, in order; timestamp 0: now."""
    producer = Producer(quiet(bootstrap, acks="all", **{"enable.idempotence": True, "linger.ms": 2}))
    for key, value in records:
        producer.produce(topic, value, key, partition, timestamp=timestamp_ms)
        producer.poll(0)
    assert producer.flush(DEADLINE_S) == 0, "records were not acknowledged"


def consume(bootstrap: str, topic: str, partition: int, count: int) -> list[Message]:
    """Read ``count`` records of a partition from its beginning."""
    consumer = Consumer(quiet(bootstrap, **{"group.id": uuid.uuid4().hex, "enable.auto.commit": False}))
    try:
        consumer.assign([TopicPartition(topic, partition, 0)])
        found: list[Message] = []
        while len(found) < count:
            batch = consumer.consume(count - len(found), DEADLINE_S)
            assert batch, f"{len(found)} of {count} records of {topic}:{partition} arrived"
            found += [record for record in batch if record.error() is None]
        return found
    finally:
        consumer.close()
