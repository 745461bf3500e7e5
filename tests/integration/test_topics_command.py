"""`topics create` and `topics check` on a real broker."""

from __future__ import annotations

import pytest
from support.kafka import Topics

from fraudstream.stream.cli import main
from fraudstream.stream.topics import create_topics

pytestmark = pytest.mark.kafka


@pytest.fixture
def site(topics: Topics, monkeypatch: pytest.MonkeyPatch) -> Topics:
    """The environment of a command that works on this test's topics."""
    monkeypatch.setenv("FRAUDSTREAM_BROKER", topics.bootstrap)
    monkeypatch.setenv("FRAUDSTREAM_TOPIC_PREFIX", topics.prefix)
    return topics


def test_create_makes_what_check_wants(site: Topics, capsys: pytest.CaptureFixture[str]) -> None:
    """Before: six findings. After create: none, with the partitions that were asked for."""
    assert main(["topics", "check"]) == 1
    before = capsys.readouterr().out
    assert before.count("does not exist") == 6
    assert before.endswith("6 findings in 6 topics\n")
    assert main(["topics", "create", "--partitions", "3"]) == 0
    made = capsys.readouterr().out
    assert f"made  {site.prefix}decisions (3 partitions, 1 replicas)\n" in made
    assert main(["topics", "check"]) == 0
    after = capsys.readouterr().out
    assert f"ok    {site.prefix}transactions (3 partitions, 1 replicas)\n" in after
    assert f"ok    {site.prefix}control (1 partitions, 1 replicas)\n" in after
    assert after.endswith("all is well\n")


def test_create_leaves_existing_topics_alone_and_says_what_is_wrong_with_them(
    site: Topics, capsys: pytest.CaptureFixture[str]
) -> None:
    """A topic that core banking made is not changed; its faults are named."""
    site("transactions", 2)
    assert main(["topics", "create", "--partitions", "3"]) == 1
    out = capsys.readouterr().out
    assert f"made  {site.prefix}transactions" not in out
    assert "message.timestamp.type=CreateTime" in out
    assert "3 partitions, the input has 2" in out
    assert "-> kafka-configs.sh --bootstrap-server" in out


def test_topics_made_by_code_are_those_of_create(site: Topics, capsys: pytest.CaptureFixture[str]) -> None:
    """Demo, benchmark and tests make the same topics as the command."""
    names = create_topics(site.bootstrap, partitions=2, prefix=site.prefix)
    assert names.input == f"{site.prefix}transactions"
    assert main(["topics", "check"]) == 0
    assert "all is well" in capsys.readouterr().out


def test_no_partitions_is_bad_use(site: Topics, capsys: pytest.CaptureFixture[str]) -> None:
    """Zero partitions are refused before Kafka is asked."""
    assert main(["topics", "create", "--partitions", "0"]) == 2
    assert capsys.readouterr().err == "fraudstream: `--partitions` has to be at least 1, was 0\n"


def test_no_broker_cannot_be_checked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An absent broker is exit 4, not a finding."""
    monkeypatch.setenv("FRAUDSTREAM_BROKER", "127.0.0.1:9")
    monkeypatch.setattr("fraudstream.stream.cluster.REQUEST_TIMEOUT_S", 1.0)
    assert main(["topics", "check"]) == 4
    assert "no answer from Kafka at `127.0.0.1:9`" in capsys.readouterr().err


def test_more_replicas_than_brokers_is_said(site: Topics, capsys: pytest.CaptureFixture[str]) -> None:
    """What the broker refuses is told in its words with the topic's name."""
    assert main(["topics", "create", "--partitions", "1", "--replication-factor", "9"]) == 4
    assert "transactions` cannot be created: " in capsys.readouterr().err
