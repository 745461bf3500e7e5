"""What the topics have to be: made that way by `topics create`, compared by `topics check`.

The rules are those of docs/reference: decisions and journal have the input's partitions, because
record for record they answer it; the journal is never deleted and the control topic only compacted,
because a replay needs every version that was in force; the input's timestamps are the broker's,
because a producer's wrong clock would make everybody else late.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from fraudstream.stream.cluster import Cluster, ClusterState, TopicState
from fraudstream.stream.settings import Settings, TopicNames

DAY_MS = 86_400_000
INPUT_RETENTION_MS_MIN = DAY_MS
"""A snapshot interval and the longest outage that a bank plans for; the state is rebuilt from the input."""
DECISION_BYTES_MIN = 1_000_000
"""A batch of decisions has up to half of this; Kafka's default is a little more."""
CONTROL_BYTES_MIN = 950_000
"""A chunk of a bundle has at most 900,000 bytes."""
DEAD_LETTER_ROOM_BYTES = 65_536
"""A dead letter is the input record, of any size that the input takes, and its headers."""
INPUT_BYTES = 1_048_588
"""Kafka's default."""
REPLICAS = 3
"""In production: one broker may be down for maintenance while another fails."""
FOREVER = "-1"


class Finding(NamedTuple):
    """Something that is wrong with a topic."""

    topic: str
    wrong: str
    remedy: str


def specification(
    names: TopicNames,
    partitions: int,
    retention_days: int,
    replication_factor: int,
    *,
    learning: bool = False,
) -> dict[str, tuple[int, dict[str, str]]]:
    """Return the topics to create: name -> (partitions, configuration); ``learning``: the trainer's, too."""
    kept = {
        "cleanup.policy": "delete",
        "retention.ms": str(retention_days * DAY_MS),
        "retention.bytes": FOREVER,
    }
    safe = {"min.insync.replicas": "2" if replication_factor >= REPLICAS else "1"}
    safe["unclean.leader.election.enable"] = "false"
    forever = {**kept, "retention.ms": FOREVER}
    return {
        names.input: (
            partitions,
            {
                **safe,
                **kept,
                "message.timestamp.type": "LogAppendTime",
                "max.message.bytes": str(INPUT_BYTES),
            },
        ),
        names.decisions: (partitions, {**safe, **kept}),
        names.alerts: (partitions, {**safe, **kept}),
        names.dead_letters: (
            1,
            {**safe, **kept, "max.message.bytes": str(INPUT_BYTES + DEAD_LETTER_ROOM_BYTES)},
        ),
        names.journal: (partitions, {**safe, **forever}),
        names.control: (1, {**safe, "cleanup.policy": "compact"}),
        **(dict.fromkeys((names.labels, names.features), (partitions, {**safe, **kept})) if learning else {}),
    }


def create_topics(
    servers: str,
    *,
    partitions: int,
    prefix: str = "fraud.",
    timestamp_type: str = "LogAppendTime",
    retention_days: int = 30,
) -> TopicNames:
    """Create all topics on a cluster of one's own and return their names.

    Args:
        servers: Bootstrap servers.
        partitions: Of input, decisions, alerts and journal.
        prefix: Of the names.
        timestamp_type: Of the input; CreateTime keeps the timestamps of a copied log.
        retention_days: Of all that is deleted by age.

    Raises:
        CannotCheck: The cluster does not answer, or a topic exists already.
    """
    names = Settings(topic_prefix=prefix).topics
    wanted = specification(names, partitions, retention_days, 1, learning=True)
    wanted[names.input][1]["message.timestamp.type"] = timestamp_type
    cluster = Cluster(servers)
    cluster.create(wanted, 1)
    cluster.await_topics({name: count for name, (count, _) in wanted.items()})
    return names


def judge(
    cluster: ClusterState, names: TopicNames, servers: str, *, trust_create_time: bool = False
) -> list[Finding]:
    """Return what is wrong with the topics, worst first within each topic.

    Args:
        cluster: State of all topics in ``names``.
        names: Full names; those that a worker does not need may be missing.
        servers: Bootstrap servers, for the commands in remedies.
        trust_create_time: The rules accept producers' timestamps.
    """
    inspection = _Inspection(cluster, names, servers, trust_create_time)
    return [finding for name in names for finding in inspection.findings(name)]


class _Inspection:
    """One look at all topics."""

    def __init__(
        self, cluster: ClusterState, names: TopicNames, servers: str, trust_create_time: bool
    ) -> None:
        self._cluster = cluster
        self._names = names
        self._servers = servers
        self._trust_create_time = trust_create_time
        self._input = cluster.topics.get(names.input)
        self._own: Mapping[str, Callable[[TopicState], Iterator[Finding]]] = {
            names.input: self._input_rules,
            names.decisions: self._decision_rules,
            names.alerts: self._alert_rules,
            names.dead_letters: self._dead_letter_rules,
            names.journal: self._journal_rules,
            names.control: self._control_rules,
            names.labels: self._label_rules,
            names.features: self._feature_rules,
        }

    def findings(self, name: str) -> Iterator[Finding]:
        topic = self._cluster.topics.get(name)
        if topic is None and name not in self._names.needed:
            return
        if topic is None:
            count = self._input.partitions if self._input else "P"
            yield Finding(name, "does not exist", f"fraudstream topics create --partitions {count}")
            return
        yield from self._own[name](topic)
        yield from self._safety(name, topic)

    def _input_rules(self, topic: TopicState) -> Iterator[Finding]:
        name = self._names.input
        if topic.config["message.timestamp.type"] != "LogAppendTime" and not self._trust_create_time:
            yield Finding(
                name,
                "message.timestamp.type=CreateTime: a producer with a wrong clock makes later events late, "
                "and a worker refuses to start",
                self._set(name, "message.timestamp.type=LogAppendTime")
                + "; or accept it with `time.trust_create_time: true` in features.yaml",
            )
        yield from self._deleted_only(name, topic, "records would vanish before they are decided or replayed")
        if _days(topic) < INPUT_RETENTION_MS_MIN / DAY_MS:
            yield Finding(
                name,
                f"retention.ms={topic.config['retention.ms']}: shorter than a long outage",
                self._set(name, f"retention.ms={30 * DAY_MS}"),
            )
        yield from self._no_size_limit(name, topic)

    def _decision_rules(self, topic: TopicState) -> Iterator[Finding]:
        name = self._names.decisions
        yield from self._as_many_as_input(name, topic)
        yield from self._deleted_only(name, topic, "a decision would vanish when the account has a newer one")
        if self._input is not None and _days(topic) < _days(self._input):
            wanted = self._input.config["retention.ms"]
            yield Finding(
                name,
                f"retention.ms={topic.config['retention.ms']}: shorter than the input's {wanted}; a restart "
                "would decide anew what was decided",
                self._set(name, f"retention.ms={wanted}"),
            )
        yield from self._no_size_limit(name, topic)
        yield from self._room(name, topic, DECISION_BYTES_MIN, "a batch of decisions")

    def _alert_rules(self, topic: TopicState) -> Iterator[Finding]:
        name = self._names.alerts
        yield from self._deleted_only(name, topic, "an alert would vanish when the account has a newer one")
        yield from self._room(name, topic, DECISION_BYTES_MIN, "a batch of alerts")

    def _dead_letter_rules(self, topic: TopicState) -> Iterator[Finding]:
        name = self._names.dead_letters
        yield from self._deleted_only(name, topic, "a dead letter would vanish when its key has a newer one")
        if self._input is not None:
            largest = int(self._input.config["max.message.bytes"]) + DEAD_LETTER_ROOM_BYTES
            yield from self._room(name, topic, largest, "the largest record that the input takes")

    def _journal_rules(self, topic: TopicState) -> Iterator[Finding]:
        name = self._names.journal
        yield from self._as_many_as_input(name, topic)
        yield from self._deleted_only(name, topic, "its records have no key and could not be written")
        if topic.config["retention.ms"] != FOREVER:
            yield Finding(
                name,
                f"retention.ms={topic.config['retention.ms']}: what was in force would be forgotten",
                self._set(name, f"retention.ms={FOREVER}"),
            )
        yield from self._no_size_limit(name, topic)

    def _control_rules(self, topic: TopicState) -> Iterator[Finding]:
        name = self._names.control
        if topic.partitions != 1:
            yield Finding(
                name,
                f"{topic.partitions} partitions: its records need one order",
                f"if it is empty, delete it and run fraudstream topics create --partitions {self._wanted}",
            )
        if topic.config["cleanup.policy"] != "compact":
            yield Finding(
                name,
                f"cleanup.policy={topic.config['cleanup.policy']}: bundles and models that a replay needs "
                "would be deleted",
                self._set(name, "cleanup.policy=compact"),
            )
        yield from self._room(name, topic, CONTROL_BYTES_MIN, "a chunk of a bundle")

    def _label_rules(self, topic: TopicState) -> Iterator[Finding]:
        name = self._names.labels
        yield from self._deleted_only(
            name, topic, "a label would vanish when its transaction has a newer one"
        )

    def _feature_rules(self, topic: TopicState) -> Iterator[Finding]:
        name = self._names.features
        yield from self._as_many_as_input(name, topic)
        yield from self._deleted_only(name, topic, "values would vanish when the account has newer ones")
        yield from self._room(name, topic, DECISION_BYTES_MIN, "a batch of feature vectors")

    def _safety(self, name: str, topic: TopicState) -> Iterator[Finding]:
        """What an acknowledged record needs in order to stay."""
        in_sync = int(topic.config["min.insync.replicas"])
        yield from self._brokers_away(name, topic, in_sync)
        if in_sync > topic.replicas:
            yield Finding(
                name,
                f"min.insync.replicas={in_sync} with {topic.replicas} replicas: nothing can be written",
                self._set(name, f"min.insync.replicas={max(1, topic.replicas - 1)}"),
            )
        if self._cluster.brokers < REPLICAS:
            return
        if topic.replicas < REPLICAS:
            yield Finding(
                name,
                f"{topic.replicas} replicas on {self._cluster.brokers} brokers: acknowledged records are "
                "lost with a broker",
                "add replicas with kafka-reassign-partitions.sh, or create the topic anew",
            )
        elif in_sync < 2:
            yield Finding(
                name,
                "min.insync.replicas=1: a record is acknowledged when one broker has it",
                self._set(name, "min.insync.replicas=2"),
            )
        if topic.config["unclean.leader.election.enable"] == "true":
            yield Finding(
                name,
                "unclean.leader.election.enable=true: a broker that lacks acknowledged records may lead",
                self._set(name, "unclean.leader.election.enable=false"),
            )

    def _brokers_away(self, name: str, topic: TopicState, needed: int) -> Iterator[Finding]:
        """What is wrong at this moment and right again when the brokers are back."""
        remedy = "bring the brokers back that are away; kafka-topics.sh --describe names them"
        if topic.leaderless:
            listed = ", ".join(map(str, topic.leaderless[:10]))
            yield Finding(name, f"no leader for partitions {listed}: they can't be read or written", remedy)
        elif 0 <= topic.in_sync < needed:
            yield Finding(
                name,
                f"{topic.in_sync} replicas in sync, min.insync.replicas={needed}: nothing can be written",
                remedy,
            )
        elif 0 <= topic.in_sync < topic.replicas:
            yield Finding(
                name,
                f"{topic.in_sync} of {topic.replicas} replicas in sync: less safe than it should be",
                remedy,
            )

    @property
    def _wanted(self) -> int | str:
        return self._input.partitions if self._input is not None else "P"

    def _as_many_as_input(self, name: str, topic: TopicState) -> Iterator[Finding]:
        if self._input is None or topic.partitions == self._input.partitions:
            return
        wanted = self._input.partitions
        if topic.partitions < wanted:
            remedy = (
                f"kafka-topics.sh --bootstrap-server {self._servers} --alter --topic {name} "
                f"--partitions {wanted}"
            )
        else:
            remedy = (
                "partitions cannot be taken away; if it is empty, delete it and run fraudstream topics "
                f"create --partitions {wanted}, else use new topics and a new app id"
            )
        yield Finding(name, f"{topic.partitions} partitions, the input has {wanted}", remedy)

    def _deleted_only(self, name: str, topic: TopicState, otherwise: str) -> Iterator[Finding]:
        if topic.config["cleanup.policy"] != "delete":
            policy = topic.config["cleanup.policy"]
            remedy = self._set(name, "cleanup.policy=delete")
            yield Finding(name, f"cleanup.policy={policy}: {otherwise}", remedy)

    def _no_size_limit(self, name: str, topic: TopicState) -> Iterator[Finding]:
        if topic.config["retention.bytes"] != FOREVER:
            yield Finding(
                name,
                f"retention.bytes={topic.config['retention.bytes']}: a busy day shortens the retention",
                self._set(name, f"retention.bytes={FOREVER}"),
            )

    def _room(self, name: str, topic: TopicState, needed: int, what: str) -> Iterator[Finding]:
        if int(topic.config["max.message.bytes"]) < needed:
            was = topic.config["max.message.bytes"]
            remedy = self._set(name, f"max.message.bytes={needed}")
            yield Finding(name, f"max.message.bytes={was}: too small for {what}", remedy)

    def _set(self, name: str, setting: str) -> str:
        return (
            f"kafka-configs.sh --bootstrap-server {self._servers} --alter --entity-type topics "
            f"--entity-name {name} --add-config {setting}"
        )


def _days(topic: TopicState) -> float:
    """Return the retention in days, infinite if there is none."""
    retention_ms = int(topic.config["retention.ms"])
    return float("inf") if retention_ms < 0 else retention_ms / DAY_MS
