"""A real Apache Kafka for demo, tests and benchmark, without Docker.

``with LocalKafka() as kafka`` is a broker of one's own; ``with some_kafka() as kafka`` is the one that
``FRAUDSTREAM_BROKER`` names, else a broker of one's own. Both have ``bootstrap``, ``create_topics`` and
``delete_topics``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from fraudstream.stream.localkafka.broker import LocalKafka
from fraudstream.stream.localkafka.client import check_reachable, create_topics, delete_topics

__all__ = ["ExistingKafka", "LocalKafka", "some_kafka"]

BROKER_VARIABLE = "FRAUDSTREAM_BROKER"


class ExistingKafka:
    """A broker that somebody else runs."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap

    def create_topics(self, partitions: Mapping[str, int], config: Mapping[str, str] | None = None) -> None:
        """Create topics, name -> partitions."""
        create_topics(self.bootstrap, partitions, config)

    def delete_topics(self, *names: str, prefix: str = "") -> None:
        """Delete topics by name, or all whose name has a prefix."""
        delete_topics(self.bootstrap, names, prefix=prefix)


@contextmanager
def some_kafka(environ: Mapping[str, str] | None = None) -> Iterator[LocalKafka | ExistingKafka]:
    """Give the broker that ``FRAUDSTREAM_BROKER`` names, else one that lives as long as the block.

    Raises:
        CannotCheck: The own broker does not come up, or the named one does not answer.
    """
    bootstrap = (os.environ if environ is None else environ).get(BROKER_VARIABLE)
    if not bootstrap:
        with LocalKafka() as kafka:
            yield kafka
        return
    check_reachable(bootstrap)
    yield ExistingKafka(bootstrap)
