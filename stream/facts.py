"""What the cluster says about the topics, asked once before anything else; and whether it will do."""

from __future__ import annotations

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from fraudstream.stream.cluster import quiet
from fraudstream.stream.errors import NotPermitted, Refusal, RestartMe
from fraudstream.stream.recovery import Facts
from fraudstream.stream.settings import Settings

_DENIED = ("TOPIC_AUTHORIZATION_FAILED", "CLUSTER_AUTHORIZATION_FAILED", "_AUTHENTICATION")


def read_facts(settings: Settings) -> Facts:
    """Ask the broker; blocks for at most the request timeout.

    Raises:
        Refusal: a topic is missing, or partition counts do not fit.
        NotPermitted: the broker does not let this user look.
        RestartMe: the broker did not answer.
    """
    timeout_s = settings.request_timeout_ms / 1000
    admin = AdminClient(quiet(settings.broker))
    names = settings.topics
    try:
        cluster = admin.list_topics(timeout=timeout_s)
        wanted = [name for name in names if name not in cluster.topics]
        if wanted:
            raise Refusal(
                f"{settings.broker} has no topic {', '.join(f'`{name}`' for name in wanted)}; make them with "
                "`fraudstream topics create`"
            )
        counts = {name: len(cluster.topics[name].partitions) for name in names}
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in (names.input, names.dead_letters)]
        answers = admin.describe_configs(resources, request_timeout=timeout_s)
        configs = {resource.name: future.result(timeout_s) for resource, future in answers.items()}
    except KafkaException as problem:
        error = problem.args[0]
        if error.name() in _DENIED:
            raise NotPermitted(
                f"{settings.broker} does not permit reading topics: {error.str()}"
            ) from problem
        raise RestartMe(f"{settings.broker} did not answer: {error.str()}") from problem
    partitions = counts[names.input]
    for name in (names.decisions, names.journal):
        if counts[name] != partitions:
            raise Refusal(
                f"`{names.input}` has {partitions} partitions and `{name}` has {counts[name]}; the "
                "decision of a "
                "record goes to the partition with its own number. Make new topics with equal counts "
                "(`fraudstream topics check` shows all of them)"
            )
    if counts[names.control] != 1:
        raise Refusal(f"`{names.control}` has {counts[names.control]} partitions, expected 1; make it anew")
    return Facts(
        cluster=str(cluster.cluster_id),
        partitions=partitions,
        create_time=configs[names.input]["message.timestamp.type"].value != "LogAppendTime",
        dead_letter_bytes_max=int(configs[names.dead_letters]["max.message.bytes"].value),
        alert_partitions=counts[names.alerts],
        dead_letter_partitions=counts[names.dead_letters],
    )
