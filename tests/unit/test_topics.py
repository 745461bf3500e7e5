"""Each rule about topics has its finding and its remedy, and what `create` makes has none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fraudstream.stream.cluster import ClusterState, TopicState
from fraudstream.stream.settings import Settings
from fraudstream.stream.topics import CONTROL_BYTES_MIN, Finding, judge, specification

NAMES = Settings().topics
BROKER_DEFAULTS = {
    "cleanup.policy": "delete",
    "max.message.bytes": "1048588",
    "message.timestamp.type": "CreateTime",
    "min.insync.replicas": "1",
    "retention.bytes": "-1",
    "retention.ms": "604800000",
    "unclean.leader.election.enable": "false",
}


def created(partitions: int = 6, replicas: int = 3, brokers: int = 3) -> ClusterState:
    """Return the cluster after `topics create`."""
    wanted = specification(NAMES, partitions, 30, replicas, learning=True)
    topics = {
        name: TopicState(count, replicas, {**BROKER_DEFAULTS, **config})
        for name, (count, config) in wanted.items()
    }
    return ClusterState(brokers, topics)


def altered(name: str, cluster: ClusterState | None = None, **changes: object) -> list[Finding]:
    """Return the findings after one topic was changed: ``partitions``, ``replicas`` or a config option."""
    cluster = cluster or created()
    topic = cluster.topics[name]
    for key, value in changes.items():
        if key in {"partitions", "replicas"}:
            topic = replace(topic, **{key: value})
        else:
            topic = replace(topic, config={**topic.config, key.replace("_", "."): str(value)})
    return judge(replace(cluster, topics={**cluster.topics, name: topic}), NAMES, "b:9092")


@pytest.mark.parametrize(("replicas", "brokers"), [(1, 1), (3, 3), (2, 2), (3, 5)])
def test_what_create_makes_is_right(replicas: int, brokers: int) -> None:
    """On any number of brokers nothing is wrong with topics that were just made."""
    assert judge(created(6, replicas, brokers), NAMES, "b:9092") == []


@pytest.mark.parametrize(
    ("topic", "change", "wrong", "remedy"),
    [
        (
            "input",
            {"message_timestamp_type": "CreateTime"},
            "message.timestamp.type=CreateTime",
            "=LogAppendTime",
        ),
        ("input", {"cleanup_policy": "compact"}, "cleanup.policy=compact", "cleanup.policy=delete"),
        (
            "input",
            {"cleanup_policy": "compact,delete"},
            "cleanup.policy=compact,delete",
            "cleanup.policy=delete",
        ),
        ("input", {"retention_ms": 3_600_000}, "retention.ms=3600000", "retention.ms=2592000000"),
        ("input", {"retention_bytes": 10**9}, "retention.bytes=1000000000", "retention.bytes=-1"),
        ("decisions", {"partitions": 5}, "5 partitions, the input has 6", "--alter --topic fraud.decisions"),
        ("features", {"partitions": 5}, "5 partitions, the input has 6", "--alter --topic fraud.features"),
        ("labels", {"cleanup_policy": "compact"}, "a label would vanish", "cleanup.policy=delete"),
        ("decisions", {"partitions": 7}, "7 partitions, the input has 6", "cannot be taken away"),
        ("decisions", {"cleanup_policy": "compact"}, "cleanup.policy=compact", "cleanup.policy=delete"),
        ("decisions", {"retention_ms": 86_400_000}, "shorter than the input's 2592000000", "=2592000000"),
        ("decisions", {"retention_bytes": 1}, "retention.bytes=1", "retention.bytes=-1"),
        (
            "decisions",
            {"max_message_bytes": 16_384},
            "too small for a batch of decisions",
            "max.message.bytes=",
        ),
        ("alerts", {"cleanup_policy": "compact"}, "cleanup.policy=compact", "cleanup.policy=delete"),
        ("alerts", {"max_message_bytes": 16_384}, "too small for a batch of alerts", "max.message.bytes="),
        ("dead_letters", {"cleanup_policy": "compact"}, "cleanup.policy=compact", "cleanup.policy=delete"),
        ("dead_letters", {"max_message_bytes": 1_048_588}, "too small for the largest record", "=1114124"),
        ("journal", {"partitions": 1}, "1 partitions, the input has 6", "--partitions 6"),
        ("journal", {"cleanup_policy": "compact"}, "have no key", "cleanup.policy=delete"),
        ("journal", {"retention_ms": 604_800_000}, "retention.ms=604800000", "retention.ms=-1"),
        ("journal", {"retention_bytes": 1}, "retention.bytes=1", "retention.bytes=-1"),
        ("control", {"partitions": 2}, "2 partitions", "delete it"),
        ("control", {"cleanup_policy": "delete"}, "cleanup.policy=delete", "cleanup.policy=compact"),
        ("control", {"cleanup_policy": "compact,delete"}, "cleanup.policy=compact,delete", "=compact"),
        ("control", {"max_message_bytes": 900_000}, "too small for a chunk", f"={CONTROL_BYTES_MIN}"),
        ("journal", {"replicas": 1, "min_insync_replicas": 1}, "1 replicas on 3 brokers", "reassign"),
        ("journal", {"min_insync_replicas": 1}, "min.insync.replicas=1", "min.insync.replicas=2"),
        ("journal", {"min_insync_replicas": 4}, "nothing can be written", "min.insync.replicas=2"),
        ("journal", {"unclean_leader_election_enable": "true"}, "unclean.leader", "enable=false"),
    ],
)
def test_each_rule_has_its_finding_and_remedy(
    topic: str, change: dict[str, object], wrong: str, remedy: str
) -> None:
    """One change makes exactly one finding, about that topic, with what to do."""
    name = getattr(NAMES, topic)
    found = altered(name, **change)
    assert [finding.topic for finding in found] == [name]
    assert wrong in found[0].wrong
    assert remedy in found[0].remedy


def test_longer_retention_than_the_input_is_right() -> None:
    """Decisions may be kept longer, and for ever."""
    assert altered(NAMES.decisions, retention_ms=90 * 86_400_000) == []
    assert altered(NAMES.decisions, retention_ms=-1) == []


def test_an_input_kept_for_ever_wants_decisions_kept_for_ever() -> None:
    """No retention is longer than any other."""
    found = altered(NAMES.input, retention_ms=-1)
    assert [(finding.topic, finding.remedy.rsplit(" ", 1)[1]) for finding in found] == [
        (NAMES.decisions, "retention.ms=-1")
    ]


def test_create_time_can_be_trusted() -> None:
    """Rules with `time.trust_create_time` accept producers' timestamps."""
    cluster = created()
    topic = cluster.topics[NAMES.input]
    config = {**topic.config, "message.timestamp.type": "CreateTime"}
    cluster = replace(cluster, topics={**cluster.topics, NAMES.input: replace(topic, config=config)})
    assert judge(cluster, NAMES, "b:9092", trust_create_time=True) == []


def test_a_missing_topic_is_found_with_the_command_that_makes_it() -> None:
    """The input's partitions are in the remedy; without an input they stay open."""
    cluster = created(6)
    without = {name: topic for name, topic in cluster.topics.items() if name != NAMES.journal}
    found = judge(replace(cluster, topics=without), NAMES, "b:9092")
    assert found == [Finding(NAMES.journal, "does not exist", "fraudstream topics create --partitions 6")]
    nothing = judge(replace(cluster, topics={}), NAMES, "b:9092")
    assert [finding.wrong for finding in nothing] == ["does not exist"] * 6
    assert nothing[0].remedy.endswith("--partitions P")


def test_one_broker_is_not_blamed_for_one_replica() -> None:
    """On a developer's single node there is nothing to replicate to."""
    assert judge(created(2, 1, 1), NAMES, "b:9092") == []


@pytest.mark.parametrize(
    ("now", "wrong"),
    [
        ({"in_sync": 2}, "2 of 3 replicas in sync: less safe than it should be"),
        ({"in_sync": 1}, "1 replicas in sync, min.insync.replicas=2: nothing can be written"),
        (
            {"leaderless": (1, 4), "in_sync": 0},
            "no leader for partitions 1, 4: they can't be read or written",
        ),
    ],
)
def test_brokers_that_are_away_are_seen_on_the_topic(now: dict[str, object], wrong: str) -> None:
    """One finding, the worst; with all brokers in sync there is none."""
    cluster = created()
    away = {name: replace(topic, in_sync=3) for name, topic in cluster.topics.items()}
    assert judge(replace(cluster, topics=away), NAMES, "b:9092") == []
    away[NAMES.journal] = replace(away[NAMES.journal], **now)  # type: ignore[arg-type]
    found = judge(replace(cluster, topics=away), NAMES, "b:9092")
    assert [(finding.topic, finding.wrong) for finding in found] == [(NAMES.journal, wrong)]
    assert "kafka-topics.sh --describe" in found[0].remedy
