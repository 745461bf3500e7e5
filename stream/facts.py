"""What the cluster says about the topics, asked once before anything else; and whether it will do."""

from __future__ import annotations

from fraudstream.stream.cluster import Cluster
from fraudstream.stream.errors import CannotCheck, Refusal, RestartMe
from fraudstream.stream.permissions import worker_rights
from fraudstream.stream.recovery import Facts
from fraudstream.stream.settings import Settings


def read_facts(settings: Settings) -> Facts:
    """Ask the broker; blocks until it answers.

    Raises:
        Refusal: a topic is missing, or partition counts do not fit.
        NotPermitted: the broker does not let this user do what a worker does; names every missing right.
        RestartMe: the broker did not answer.
    """
    names = settings.topics
    try:
        cluster = Cluster.of(settings)
        wanted = names.needed if settings.publish_features == "off" else (*names.needed, names.features)
        state = cluster.describe(wanted)
        cluster.require(worker_rights(settings))
    except CannotCheck as problem:
        raise RestartMe(str(problem)) from problem
    missing = [name for name in wanted if name not in state.topics]
    if missing:
        raise Refusal(
            f"{settings.broker} has no topic {', '.join(f'`{name}`' for name in missing)}; make them with "
            f"`fraudstream topics create{' --learning' if names.features in missing else ''}`"
        )
    found = state.topics
    partitions = found[names.input].partitions
    alike = (names.decisions, names.journal, *wanted[len(names.needed) :])
    for name in alike:
        if found[name].partitions != partitions:
            raise Refusal(
                f"`{names.input}` has {partitions} partitions and `{name}` has {found[name].partitions}; "
                "the decision of a record goes to the partition with its own number. Make new topics with "
                "equal counts (`fraudstream topics check` shows all of them)"
            )
    if found[names.control].partitions != 1:
        raise Refusal(
            f"`{names.control}` has {found[names.control].partitions} partitions, expected 1; make it anew"
        )
    return Facts(
        cluster=state.id,
        partitions=partitions,
        create_time=found[names.input].config["message.timestamp.type"] != "LogAppendTime",
        dead_letter_bytes_max=int(found[names.dead_letters].config["max.message.bytes"]),
        alert_partitions=found[names.alerts].partitions,
        dead_letter_partitions=found[names.dead_letters].partitions,
    )
