"""What commands see of a Kafka cluster, through confluent-kafka: no code is shared with the worker."""

from __future__ import annotations

import contextlib
import re
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from fraudstream.stream.errors import CannotCheck, FraudstreamError, NotPermitted
from fraudstream.stream.permissions import Resource, Rights, look_rights, missing, refusal
from fraudstream.stream.security import librdkafka_options, who
from fraudstream.stream.settings import Settings

REQUEST_TIMEOUT_S = 15.0
ERRORS_KEPT = 8
"""Of what the client's own thread told; it repeats itself ten times a second."""

_NOT_ACCEPTED = {
    KafkaError._AUTHENTICATION,  # noqa: SLF001 - librdkafka's own codes carry an underscore
    KafkaError._SSL,  # noqa: SLF001
}
_NO_ANSWER = {KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN}  # noqa: SLF001
_FORBIDDEN = {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED}
_UNKNOWN = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.GROUP_ID_NOT_FOUND}
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
    leaderless: tuple[int, ...] = ()
    """Partitions that nobody leads now."""
    in_sync: int = -1
    """In-sync replicas of the partition that has fewest now, -1: not known."""


@dataclass(frozen=True, slots=True)
class ClusterState:
    """The topics that were asked for."""

    brokers: int
    topics: Mapping[str, TopicState]
    """Name -> state; topics that do not exist are absent."""
    id: str = ""
    """Of the cluster."""


def connection(settings: Settings, **options: Any) -> dict[str, Any]:
    """Return a client's configuration with the settings' security.

    Raises:
        Refusal: A file of the settings cannot be used.
    """
    return quiet(settings.broker, **librdkafka_options(settings), **options)


def quiet(servers: str, **options: Any) -> dict[str, Any]:
    """Return a client's configuration; librdkafka's own log lines are off, errors still raise."""
    return {"bootstrap.servers": servers, "log_level": 0, **options}


def as_command_error(error: KafkaError, servers: str, wanted: str = "this") -> FraudstreamError:
    """Return the error with which a command ends; ``wanted`` is the operation and the resource."""
    if error.code() in _REFUSED:
        return NotPermitted(f"the broker at `{servers}` does not permit {wanted}: {error.str()}")
    return CannotCheck(
        f"no answer from Kafka at `{servers}`: {error.str()}; are FRAUDSTREAM_BROKER and "
        "FRAUDSTREAM_SECURITY_PROTOCOL right?"
    )


@contextmanager
def command_errors(servers: str) -> Iterator[None]:
    """Turn what confluent-kafka raises into the errors with which a command ends."""
    try:
        yield
    except KafkaException as error:
        raise as_command_error(error.args[0], servers) from error


class Cluster:
    """The administrative side of a cluster."""

    def __init__(self, servers: str, settings: Settings | None = None) -> None:
        """Prepare a client; nothing is connected yet.

        Args:
            servers: Bootstrap servers.
            settings: Whose security is used; None: a plain connection.

        Raises:
            Refusal: A file of the settings cannot be used.
        """
        self.servers = servers
        self._client = who(settings) if settings is not None else "`User:ANONYMOUS`"
        self._errors: deque[KafkaError] = deque(maxlen=ERRORS_KEPT)
        security = {} if settings is None else librdkafka_options(settings)
        self._admin = AdminClient(quiet(servers, error_cb=self._errors.append, **security))

    @classmethod
    def of(cls, settings: Settings) -> Cluster:
        """Return the cluster that the settings name.

        Raises:
            Refusal: A file of the settings cannot be used.
        """
        return cls(settings.broker, settings)

    def describe(self, names: Iterable[str]) -> ClusterState:
        """Return partitions, replicas and configuration of topics.

        Raises:
            CannotCheck: The cluster does not answer.
            NotPermitted: It does not let us look; says at what.
        """
        names = list(names)
        found = self._metadata()
        wanted = [name for name in names if name in found.topics]
        # A topic that may not be described looks like one that does not exist: ask for those by name.
        self.require(look_rights(name for name in names if name not in found.topics))
        self.require(look_rights(wanted))
        with command_errors(self.servers):
            configs = self._configs(wanted)
            return ClusterState(
                len(found.brokers),
                {
                    name: TopicState(
                        len(partitions),
                        min(len(p.replicas) for p in partitions.values()),
                        configs[name],
                        tuple(number for number, p in sorted(partitions.items()) if p.leader < 0),
                        min(len(p.isrs) for p in partitions.values()),
                    )
                    for name in wanted
                    for partitions in (found.topics[name].partitions,)
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
                    raise refusal(
                        self._client, self.servers, [(Resource("topic", name), "Create")]
                    ) from error
                raise CannotCheck(f"`{name}` cannot be created: {reason.str()}") from error

    def await_topics(self, partitions: Mapping[str, int]) -> None:
        """Wait until new topics are known with a leader for every partition, name -> partitions.

        Raises:
            CannotCheck: They are not after ``REQUEST_TIMEOUT_S``.
        """
        end = time.monotonic() + REQUEST_TIMEOUT_S
        while True:
            known = self._metadata().topics
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
        return sorted(self._metadata().topics)

    def require(self, rights: Rights) -> None:
        """Check that this client has rights; resources that do not exist are not judged.

        Raises:
            CannotCheck: The cluster does not answer.
            NotPermitted: A right is missing; names every one.
        """
        lacking = missing(rights, self._allowed(rights))
        if lacking:
            raise refusal(self._client, self.servers, lacking)

    def _allowed(self, resources: Iterable[Resource]) -> dict[Resource, set[str]]:
        """Return the operations that the broker allows on each resource that exists."""
        answers: dict[Resource, Any] = {}
        topics = [resource for resource in resources if resource.kind == "topic"]
        groups = [resource for resource in resources if resource.kind == "group"]
        options = {"include_authorized_operations": True, "request_timeout": REQUEST_TIMEOUT_S}
        if topics:
            named = TopicCollection([topic.name for topic in topics])
            answers |= {
                Resource("topic", name): future
                for name, future in self._admin.describe_topics(named, **options).items()
            }
        if groups:
            found = self._admin.describe_consumer_groups([group.name for group in groups], **options)
            answers |= {Resource("group", name): future for name, future in found.items()}
        return {
            resource: allowed
            for resource, answer in answers.items()
            if (allowed := self._operations(answer)) is not None
        }

    def _operations(self, answer: Any) -> set[str] | None:
        """Return the allowed operations of one answer, None where the resource does not exist."""
        try:
            operations = answer.result().authorized_operations
        except KafkaException as error:
            reason: KafkaError = error.args[0]
            if reason.code() in _FORBIDDEN:
                return set()
            if reason.code() in _UNKNOWN:
                return None
            raise as_command_error(reason, self.servers) from error
        return None if operations is None else {_camel(operation.name) for operation in operations}

    def _metadata(self) -> Any:
        """Return the cluster's metadata; ask with growing patience, so that a refusal is heard at once.

        Raises:
            CannotCheck: The cluster does not answer.
            NotPermitted: It does not accept this client, or cannot be trusted.
        """
        end = time.monotonic() + REQUEST_TIMEOUT_S
        patience_s = 1.0
        while True:
            try:
                return self._admin.list_topics(timeout=min(patience_s, max(0.1, end - time.monotonic())))
            except KafkaException as error:
                self._admin.poll(0)
                for reason in self._errors:
                    if reason.code() in _NOT_ACCEPTED or "tls alert" in reason.str():
                        raise not_accepted(self._client, self.servers, reason) from error
                reason = error.args[0]
                if reason.code() not in _NO_ANSWER or time.monotonic() > end:
                    told = [item for item in self._errors if item.code() == KafkaError._TRANSPORT]  # noqa: SLF001
                    raise as_command_error(told[0] if told else reason, self.servers) from error
                patience_s *= 2

    def _configs(self, names: list[str]) -> dict[str, dict[str, str]]:
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        if not resources:
            return {}
        answers = self._admin.describe_configs(resources, request_timeout=REQUEST_TIMEOUT_S)
        return {
            resource.name: {entry.name: str(entry.value) for entry in future.result().values()}
            for resource, future in answers.items()
        }


def not_accepted(client: str, servers: str, error: KafkaError) -> NotPermitted:
    """Return the error for a connection that one of the two sides refused."""
    reason = re.sub(r"^\S+: ", "", error.str())
    if error.code() != KafkaError._AUTHENTICATION:  # noqa: SLF001
        return NotPermitted(
            f"no TLS connection to {servers}: {reason}. Either its certificate is not signed by "
            "FRAUDSTREAM_SSL_CA_FILE or is for another host name, or it wants a client certificate"
        )
    return NotPermitted(
        f"the broker at {servers} does not accept {client}: {reason}. Check FRAUDSTREAM_SASL_USERNAME, "
        "FRAUDSTREAM_SASL_PASSWORD_FILE and FRAUDSTREAM_SASL_MECHANISM"
    )


def _camel(name: str) -> str:
    """Return ``DESCRIBE_CONFIGS`` as `DescribeConfigs`, as `kafka-acls.sh` has it."""
    return name.title().replace("_", "")
