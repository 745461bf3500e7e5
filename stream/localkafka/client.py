"""See that a broker works."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

from confluent_kafka import Consumer, Producer, TopicPartition

from fraudstream.stream.cluster import Cluster, quiet

__all__ = ["await_true", "quiet", "round_trip"]

POLL_S = 0.1


def round_trip(servers: str, deadline_s: float) -> None:
    """Create a topic, produce a record, consume it and delete the topic.

    Raises:
        TimeoutError: It did not succeed within the deadline.
        CannotCheck: The broker does not answer.
        KafkaException: The broker refused.
    """
    name, value = f"fraudstream-ready-{uuid.uuid4().hex[:12]}", uuid.uuid4().bytes
    cluster = Cluster(servers)
    cluster.create({name: (1, {})}, 1)
    cluster.await_topics({name: 1})
    producer = Producer(quiet(servers, acks="all", **{"linger.ms": 0}))
    producer.produce(name, value, partition=0)
    if producer.flush(deadline_s):
        raise TimeoutError(f"a record was not acknowledged by {servers} within {deadline_s} s")
    consumer = Consumer(quiet(servers, **{"group.id": name, "enable.auto.commit": False}))
    try:
        consumer.assign([TopicPartition(name, 0, 0)])

        def arrived() -> bool:
            record = consumer.poll(POLL_S)
            return record is not None and record.error() is None and record.value() == value

        await_true(arrived, f"a record was not read back from {servers}", deadline_s)
    finally:
        consumer.close()
        cluster.delete([name])


def await_true(condition: Callable[[], bool], otherwise: str, deadline_s: float) -> None:
    """Ask until the condition holds.

    Raises:
        TimeoutError: It did not within the deadline; the text says what was missing.
    """
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{otherwise} within {deadline_s:.0f} s")
        time.sleep(0.02)
