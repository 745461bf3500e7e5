"""The broker that the tests share, and topics of each test's own."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.kafka import Topics
from support.kernels import compile_kernels
from support.worker import Running

from fraudstream.stream.localkafka import Kafka, some_kafka

ROOT = Path(__file__).resolve().parents[1]
"""Of the checkout, whose caches the test processes share."""


@pytest.fixture(autouse=True)
def workers_end() -> Iterator[None]:
    """No worker outlives its test, however that ended."""
    yield
    while Running.started:
        Running.started.pop().kill()


@pytest.fixture(scope="session")
def kernels() -> None:
    """Compile into the cache: on a new machine each worker would spend a test's deadline on it.

    Of several test processes one compiles, the others wait for what it has cached.
    """
    with (ROOT / ".kernels.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        compile_kernels()


@pytest.fixture(scope="session")
def kafka(kernels: None) -> Iterator[Kafka]:
    """Apache Kafka, started once per session, or the broker that FRAUDSTREAM_BROKER names."""
    with some_kafka() as broker:
        yield broker


@pytest.fixture
def topics(kafka: Kafka) -> Iterator[Topics]:
    """A maker of topics with a prefix that no other test has."""
    made = Topics(kafka)
    yield made
    made.delete()
