"""Write the decision topic as JSON lines; the decision is what it would have been without shadow mode."""

import json
import sys
from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaError, TopicPartition

from fraudstream.stream.cluster import connection
from fraudstream.stream.settings import load_settings


def decisions() -> Iterator[dict]:
    """Yield every decision from the oldest retained one to the end."""
    settings = load_settings()
    topic = settings.topics.decisions
    options = {
        "group.id": f"{settings.app_id}-report",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
    }
    consumer = Consumer(connection(settings, **options))
    try:
        partitions = consumer.list_topics(topic, timeout=15).topics[topic].partitions
        for partition in partitions:
            consumer.assign([TopicPartition(topic, partition, 0)])
            while (message := consumer.poll(1.0)) is None or not _at_end(message.error()):
                if message is not None and not message.error():
                    decision = json.loads(message.value())
                    would_be = dict(message.headers() or ()).get("would_be")
                    if would_be is not None:
                        decision["decision"] = would_be.decode()
                    yield decision
    finally:
        consumer.close()


def _at_end(error: KafkaError | None) -> bool:
    return error is not None and error.code() == KafkaError._PARTITION_EOF


if __name__ == "__main__":
    for item in decisions():
        sys.stdout.write(json.dumps(item) + "\n")
