"""A broker with TLS, passwords, certificates and access rules: who gets in, and what others are told."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.kafka import Topics
from support.secured import PASSWORD, Authority, SecuredKafka, secured_kafka
from support.worker import Feed, Running, Site, effective, traffic
from support.worker_rules import write_rules

from fraudstream.stream.errors import NotPermitted
from fraudstream.stream.facts import read_facts
from fraudstream.stream.localkafka.jars import ensure_jars
from fraudstream.stream.localkafka.java import find_java
from fraudstream.stream.permissions import Resource, look_rights, worker_rights
from fraudstream.stream.settings import Settings, load_settings

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def secured(kernels: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    """One secured broker for all tests of this module."""
    with secured_kafka(tmp_path_factory.mktemp("secured")) as broker:
        yield broker


@pytest.fixture
def site(secured: SecuredKafka, tmp_path: Path) -> Iterator[Site]:
    """Topics and rules; the administrator fills and reads them, the worker connects as somebody else."""
    topics = Topics(secured.kafka)
    yield Site(topics, tmp_path, write_rules(tmp_path / "first"))
    topics.delete()


def settings_of(site: Site) -> Settings:
    """Return the settings of a site's worker."""
    return load_settings(site.environment)


def user(site: Site) -> str:
    """Return a name that no other test has."""
    return f"worker-{site.prefix.rstrip('.')}"


def ended(worker: Running) -> str:
    """Return the last line of a worker that was not permitted; it is the only one that says so."""
    assert worker.wait_exit() == 77, worker.text
    lines = [line for line in worker.text.splitlines() if line.startswith("fraudstream: ")]
    assert len(lines) == 1, worker.text
    assert "Traceback" not in worker.text
    return lines[0]


def kafka_acls(secured: SecuredKafka, arguments: str) -> None:
    """Run Kafka's own command as the message gives it, as the administrator."""
    java = find_java()
    words = shlex.split(arguments)
    words[words.index("--bootstrap-server") + 1] = secured.kafka.bootstrap
    classes = f"{ensure_jars(java)}{os.sep}*"
    command = [java.command, "-cp", classes, "org.apache.kafka.tools.AclCommand", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def run(secured_settings: dict[str, str], site: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command with the settings of a client."""
    return subprocess.run(
        [sys.executable, "-m", "fraudstream.stream.cli", *arguments],
        env={**os.environ, **site.environment, **secured_settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("how", ["SCRAM-SHA-512", "SCRAM-SHA-256", "certificate", "sealed certificate"])
def test_a_worker_with_just_its_rights_decides(secured: SecuredKafka, site: Site, how: str) -> None:
    """Every way to get in; the rights of `worker_rights` are enough for start, decisions and clean stop."""
    if how.startswith("SCRAM"):
        secrets = secured.add_user(user(site), how)
    else:
        secrets = secured.add_certificate(user(site), "pass phrase" if how.startswith("sealed") else "")
    secured.grant(user(site), worker_rights(settings_of(site)))
    worker = site.start(**secrets)
    records = traffic(300, 71)
    Feed(site).send(records)
    worker.wait_decided(len(records))
    assert worker.stop() == 0, worker.text
    assert len(effective(site, 0)) == len(records)
    assert PASSWORD not in worker.text
    assert "not encrypted" not in worker.text


def test_each_missing_right_is_named_with_its_resource(secured: SecuredKafka, site: Site) -> None:
    """Worker rights without one are exit 77 with that one; without any, all of them are named at once."""
    secrets = secured.add_user(user(site))
    rights = worker_rights(settings_of(site))
    needed = [(resource, operation) for resource, names in rights.items() for operation in names]
    everything = ended(site.start(**secrets))
    topics = {resource for resource in rights if resource.kind == "topic"}
    assert all(str(resource) in everything for resource in topics)
    assert f"`User:{user(site)}` is not permitted" in everything
    secured.grant(user(site), rights)
    settings = load_settings({**site.environment, **secrets})
    # `Describe` comes with `Read` and `Write`, for Kafka as for us: it can't be missing alone.
    single = [(r, o) for r, o in needed if o != "Describe"]
    assert len(single) == 16
    for resource, operation in single:
        secured.revoke(user(site), {resource: (operation,)})
        with pytest.raises(NotPermitted) as raised:
            read_facts(settings)
        line = str(raised.value)
        assert f": {operation} on {resource}. Grant" in line, line
        assert f"--operation {operation} --{resource.kind} {resource.name}" in line
        if resource.kind == "group":
            assert ended(site.start(**secrets)) == f"fraudstream: {line}"
            kafka_acls(secured, line.partition("kafka-acls.sh ")[2])
        else:
            secured.grant(user(site), {resource: (operation,)})
    assert read_facts(settings).partitions == 1


@pytest.mark.parametrize(
    ("kind", "name", "operation"),
    [("topic", "decisions", "Write"), ("topic", "input", "Read"), ("group", "", "Read")],
)
def test_a_right_that_is_taken_away_while_it_runs_ends_the_worker_with_77(
    secured: SecuredKafka, site: Site, kind: str, name: str, operation: str
) -> None:
    """It does not go on without its decisions, and does not loop."""
    secrets = secured.add_user(user(site))
    settings = settings_of(site)
    secured.grant(user(site), worker_rights(settings))
    worker = site.start(**secrets)
    feed = Feed(site)
    feed.send(traffic(100, 72))
    worker.wait_decided(100)
    about = Resource(kind, getattr(settings.topics, name) if name else settings.app_id)
    gone: tuple[str, ...] = (operation,)
    if kind == "group":
        gone = ("Read", "Describe")
    secured.revoke(user(site), {about: gone})
    feed.send(traffic(50, 73))
    assert str(about) in ended(worker)


def test_strangers_are_told_why_they_are_not_let_in(
    secured: SecuredKafka, site: Site, tmp_path: Path
) -> None:
    """A wrong password, a broker that is not trusted, a missing certificate: 77, and the setting."""
    secrets = secured.add_user(user(site))
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong\n")
    line = ended(site.start(**{**secrets, "FRAUDSTREAM_SASL_PASSWORD_FILE": str(wrong)}))
    assert f"does not accept `User:{user(site)}`" in line
    assert "FRAUDSTREAM_SASL_PASSWORD_FILE" in line
    other = Authority(tmp_path, "other authority")
    line = ended(site.start(**{**secrets, "FRAUDSTREAM_SSL_CA_FILE": str(other.file)}))
    assert "certificate verify failed" in line
    assert "FRAUDSTREAM_SSL_CA_FILE" in line
    mutual = secured.add_certificate(user(site))
    bare = {name: value for name, value in mutual.items() if "CERTIFICATE" not in name and "KEY" not in name}
    assert "wants a client certificate" in ended(site.start(**bare))


def test_a_broker_with_another_name_is_not_trusted(secured: SecuredKafka, site: Site) -> None:
    """Its certificate is for 127.0.0.1 alone: under the name `localhost` it is somebody else."""
    secrets = secured.add_user(user(site))
    port = secrets["FRAUDSTREAM_BROKER"].rsplit(":", 1)[1]
    done = run({**secrets, "FRAUDSTREAM_BROKER": f"localhost:{port}"}, site, "topics", "check")
    assert done.returncode == 77, done.stderr
    assert "certificate verify failed" in done.stderr


def test_commands_connect_as_the_worker_does_and_need_less(
    secured: SecuredKafka, site: Site, tmp_path: Path
) -> None:
    """`topics check`, `topics create` and `export`, each with its own rights and the message without them."""
    secrets = secured.add_user(user(site))
    names = settings_of(site).topics
    secured.grant(user(site), look_rights(names))
    done = run(secrets, site, "topics", "check")
    assert (done.returncode, done.stderr) in {(0, ""), (1, "")}
    assert f"{names.input} (1 partitions, 1 replicas)" in done.stdout
    Feed(site).send(traffic(20, 74)[:10])
    output = tmp_path / "input.jsonl"
    done = run(secrets, site, "export", "--topic", "input", "--output", str(output))
    assert done.returncode == 77
    assert f"Read on topic `{names.input}`" in done.stderr
    secured.grant(user(site), {Resource("topic", names.input): ("Read",)})
    done = run(secrets, site, "export", "--topic", "input", "--output", str(output))
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["o"] for line in output.read_text().splitlines()] == list(range(10))
    prefix = {"FRAUDSTREAM_TOPIC_PREFIX": f"{site.prefix}new."}
    new = load_settings({**site.environment, **prefix}).topics
    secured.grant(user(site), look_rights(new))
    done = run({**secrets, **prefix}, site, "topics", "create", "--partitions", "1")
    assert done.returncode == 77
    assert f"Create on topic `{new.input}`" in done.stderr
    secured.grant(user(site), {Resource("topic", name): ("Create",) for name in new})
    done = run({**secrets, **prefix}, site, "topics", "create", "--partitions", "1")
    assert done.returncode == 0, done.stdout + done.stderr
