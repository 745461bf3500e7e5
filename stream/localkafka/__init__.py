"""A real Apache Kafka for demo, tests and benchmark, without Docker.

``with LocalKafka() as kafka`` is a broker of one's own; ``with some_kafka() as kafka`` is the one that
``FRAUDSTREAM_BROKER`` names, else a broker of one's own. Both have ``bootstrap``, ``create_topics`` and
``delete_topics``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from fraudstream.stream.cluster import Cluster
from fraudstream.stream.localkafka.broker import Kafka, LocalKafka

__all__ = ["ExistingKafka", "Kafka", "LocalKafka", "some_kafka"]

BROKER_VARIABLE = "FRAUDSTREAM_BROKER"


class ExistingKafka(Kafka):
    """A broker that somebody else runs."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap


@contextmanager
def some_kafka(environ: Mapping[str, str] | None = None) -> Iterator[Kafka]:
    """Give the broker that ``FRAUDSTREAM_BROKER`` names, else one that lives as long as the block.

    Raises:
        CannotCheck: The own broker does not come up, or the named one does not answer.
    """
    bootstrap = (os.environ if environ is None else environ).get(BROKER_VARIABLE)
    if bootstrap:
        Cluster(bootstrap).names()
        yield ExistingKafka(bootstrap)
        return
    with LocalKafka() as kafka:
        yield kafka
