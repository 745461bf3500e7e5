"""What demo, tests and benchmark do with a broker: create topics, delete them, see that it works."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from fraudstream.stream.errors import CannotCheck

REQUEST_TIMEOUT_S = 15.0
POLL_S = 0.1


def quiet(bootstrap: str, **options: Any) -> dict[str, Any]:
    """Return a client's configuration; librdkafka's own log lines are off, errors still raise."""
    return {"bootstrap.servers": bootstrap, "log_level": 0, **options}


def create_topics(
    bootstrap: str,
    partitions: Mapping[str, int],
    config: Mapping[str, str] | None = None,
    *,
    replication_factor: int = 1,
) -> None:
    """Create topics, name -> partitions, and wait until every partition has a leader.

    Raises:
        KafkaException: A topic exists already, or the broker refuses.
    """
    admin = AdminClient(quiet(bootstrap))
    topics = [
        NewTopic(name, count, replication_factor, config=dict(config or {}))
        for name, count in partitions.items()
    ]
    for future in admin.create_topics(topics, request_timeout=REQUEST_TIMEOUT_S).values():
        future.result()

    def all_led() -> bool:
        known = admin.list_topics(timeout=REQUEST_TIMEOUT_S).topics
        return all(
            name in known and sum(p.leader >= 0 for p in known[name].partitions.values()) == count
            for name, count in partitions.items()
        )

    await_true(all_led, f"topics {', '.join(partitions)} had no leaders", REQUEST_TIMEOUT_S)


def delete_topics(bootstrap: str, names: Iterable[str] = (), *, prefix: str = "") -> None:
    """Delete topics by name, or all whose name has a prefix; those that are gone already are no error."""
    admin = AdminClient(quiet(bootstrap))
    found = list(names)
    if prefix:
        found += [
            name for name in admin.list_topics(timeout=REQUEST_TIMEOUT_S).topics if name.startswith(prefix)
        ]
    for future in admin.delete_topics(found).values() if found else ():
        with contextlib.suppress(KafkaException):
            future.result()


def round_trip(bootstrap: str, deadline_s: float) -> None:
    """Create a topic, produce a record, consume it and delete the topic.

    Raises:
        TimeoutError: It did not succeed within the deadline.
        KafkaException: The broker refused.
    """
    name, value = f"fraudstream-ready-{uuid.uuid4().hex[:12]}", uuid.uuid4().bytes
    create_topics(bootstrap, {name: 1})
    producer = Producer(quiet(bootstrap, acks="all", **{"linger.ms": 0}))
    producer.produce(name, value, partition=0)
    if producer.flush(deadline_s):
        raise TimeoutError(f"a record was not acknowledged by {bootstrap} within {deadline_s} s")
    consumer = Consumer(quiet(bootstrap, **{"group.id": name, "enable.auto.commit": False}))
    try:
        consumer.assign([TopicPartition(name, 0, 0)])

        def arrived() -> bool:
            record = consumer.poll(POLL_S)
            return record is not None and record.error() is None and record.value() == value

        await_true(arrived, f"a record was not read back from {bootstrap}", deadline_s)
    finally:
        consumer.close()
        delete_topics(bootstrap, [name])


def check_reachable(bootstrap: str) -> None:
    """See that a broker answers.

    Raises:
        CannotCheck: It does not.
    """
    try:
        AdminClient(quiet(bootstrap)).list_topics(timeout=REQUEST_TIMEOUT_S)
    except KafkaException as error:
        raise CannotCheck(
            f"no Kafka broker answers at `{bootstrap}`: {error.args[0].str()}; "
            "start it, or correct FRAUDSTREAM_BROKER"
        ) from error


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
