"""Take decisions as core banking should: match by transaction id, the first per ``src`` wins."""

import json
import sys
from collections.abc import Callable, Iterator

from confluent_kafka import Consumer


def decisions(bootstrap: str, group: str, topic: str = "fraud.decisions") -> Iterator[dict[str, object]]:
    """Yield each effective decision once; commit after the caller has taken it."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([topic])
    answered: set[str] = set()  # keep the recent ones in your database
    while True:
        message = consumer.poll(1.0)
        if message is None or message.error():
            continue
        decision = json.loads(message.value())
        if decision["src"] not in answered:  # a repeat has identical bytes: drop it
            answered.add(decision["src"])
            yield decision
        consumer.commit(message)


def main(bootstrap: str, act: Callable[[object, object], None] = print) -> None:
    """Hand every decision to the payment system."""
    for decision in decisions(bootstrap, "core-banking"):
        act(decision["transaction_id"] or decision["src"], decision["decision"])


if __name__ == "__main__":
    main(sys.argv[1])
