"""What commands see of a Kafka cluster, through confluent-kafka: no code is shared with the worker."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from fraudstream.stream.errors import CannotCheck, FraudstreamError, NotPermitted

REQUEST_TIMEOUT_S = 15.0

_REFUSED = {
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError._AUTHENTICATION,  # noqa: SLF001 - librdkafka's own codes carry an underscore
}


@dataclass(frozen=True, slots=True)
class TopicState:
    """One topic as the cluster has it."""

    partitions: int
    replicas: int
    """Of the partition that has fewest."""
    config: Mapping[str, str]
    """In force, defaults included."""


@dataclass(frozen=True, slots=True)
class ClusterState:
    """The topics that were asked for."""

    brokers: int
    topics: Mapping[str, TopicState]
    """Name -> state; topics that do not exist are absent."""
    id: str = ""
    """Of the cluster."""


def quiet(servers: str, **options: Any) -> dict[str, Any]:
    """Return a client's configuration; librdkafka's own log lines are off, errors still raise."""
    return {"bootstrap.servers": servers, "log_level": 0, **options}


def as_command_error(error: KafkaError, servers: str) -> FraudstreamError:
    """Return the error with which a command ends."""
    if error.code() in _REFUSED:
        return NotPermitted(f"the broker at `{servers}` does not permit this: {error.str()}")
    return CannotCheck(f"no answer from Kafka at `{servers}`: {error.str()}; is FRAUDSTREAM_BROKER right?")


@contextmanager
def command_errors(servers: str) -> Iterator[None]:
    """Turn what confluent-kafka raises into the errors with which a command ends."""
    try:
        yield
    except KafkaException as error:
        raise as_command_error(error.args[0], servers) from error


class Cluster:
    """The administrative side of a cluster."""

    def __init__(self, servers: str) -> None:
        self.servers = servers
        self._admin = AdminClient(quiet(servers))

    def describe(self, names: Iterable[str]) -> ClusterState:
        """Return partitions, replicas and configuration of topics.

        Raises:
            CannotCheck: The cluster does not answer.
            NotPermitted: It does not let us look.
        """
        with command_errors(self.servers):
            found = self._admin.list_topics(timeout=REQUEST_TIMEOUT_S)
            wanted = [name for name in names if name in found.topics]
            configs = self._configs(wanted)
            return ClusterState(
                len(found.brokers),
                {
                    name: TopicState(
                        len(found.topics[name].partitions),
                        min(len(p.replicas) for p in found.topics[name].partitions.values()),
                        configs[name],
                    )
                    for name in wanted
                },
                str(found.cluster_id),
            )

    def create(self, topics: Mapping[str, tuple[int, Mapping[str, str]]], replication_factor: int) -> None:
        """Create topics: name -> (partitions, configuration).

        Raises:
            CannotCheck: The cluster does not answer, or refuses one; says which.
            NotPermitted: It does not let us.
        """
        new = [
            NewTopic(name, partitions, replication_factor, config=dict(config))
            for name, (partitions, config) in topics.items()
        ]
        with command_errors(self.servers):
            futures = self._admin.create_topics(new, request_timeout=REQUEST_TIMEOUT_S) if new else {}
        for name, future in futures.items():
            try:
                future.result()
            except KafkaException as error:
                reason: KafkaError = error.args[0]
                if reason.code() in _REFUSED:
                    raise as_command_error(reason, self.servers) from error
                raise CannotCheck(f"`{name}` cannot be created: {reason.str()}") from error

    def await_topics(self, partitions: Mapping[str, int]) -> None:
        """Wait until new topics are known with a leader for every partition, name -> partitions.

        Raises:
            CannotCheck: They are not after ``REQUEST_TIMEOUT_S``.
        """
        end = time.monotonic() + REQUEST_TIMEOUT_S
        while True:
            with command_errors(self.servers):
                known = self._admin.list_topics(timeout=REQUEST_TIMEOUT_S).topics
            waiting = [
                name
                for name, count in partitions.items()
                if name not in known or sum(p.leader >= 0 for p in known[name].partitions.values()) != count
            ]
            if not waiting:
                return
            if time.monotonic() > end:
                raise CannotCheck(f"`{waiting[0]}` was created but has no leaders yet; look at the brokers")
            time.sleep(0.02)

    def delete(self, names: Iterable[str]) -> None:
        """Delete topics; those that are gone already are no error."""
        wanted = list(names)
        for future in self._admin.delete_topics(wanted).values() if wanted else ():
            with contextlib.suppress(KafkaException):
                future.result()

    def names(self) -> list[str]:
        """Return the names of all topics."""
        with command_errors(self.servers):
            return sorted(self._admin.list_topics(timeout=REQUEST_TIMEOUT_S).topics)

    def _configs(self, names: list[str]) -> dict[str, dict[str, str]]:
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        if not resources:
            return {}
        answers = self._admin.describe_configs(resources, request_timeout=REQUEST_TIMEOUT_S)
        return {
            resource.name: {entry.name: str(entry.value) for entry in future.result().values()}
            for resource, future in answers.items()
        }
