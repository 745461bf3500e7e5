"""The local broker: it works, keeps data over restarts, and never outlives its owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
from support.kafka import Topics, consume, produce

from fraudstream.stream.errors import CannotCheck
from fraudstream.stream.localkafka import LocalKafka, some_kafka
from fraudstream.stream.localkafka.broker import BROKER_CONFIG
from fraudstream.stream.localkafka.client import await_true
from fraudstream.stream.localkafka.jars import ensure_jars
from fraudstream.stream.localkafka.java import Java, find_java, java_major
from fraudstream.stream.localkafka.lock import Lock, read_lock

pytestmark = pytest.mark.kafka
OWNER = """
import sys, time
from fraudstream.stream.localkafka import LocalKafka
kafka = LocalKafka().start()
print(kafka.pid, kafka.log and 1, flush=True)
time.sleep(600)
"""


def broker_directories(tmp: Path) -> list[Path]:
    """Return the data directories of brokers under a TMPDIR."""
    return list(tmp.glob("fraudstream-kafka-*"))


def test_records_come_back_in_order(topics: Topics) -> None:
    """What is produced to a partition of a test's own topic is read from it."""
    topic = topics("orders", 2, retention_ms="-1")
    produce(topics.bootstrap, topic, [(b"k", b"%d" % n) for n in range(100)], partition=1)
    assert [record.value() for record in consume(topics.bootstrap, topic, 1, 100)] == [
        b"%d" % n for n in range(100)
    ]


def test_each_test_has_topics_of_its_own(topics: Topics) -> None:
    """The same name is a new empty topic in another test."""
    topic = topics("orders")
    produce(topics.bootstrap, topic, [(None, b"only")])
    assert [record.value() for record in consume(topics.bootstrap, topic, 0, 1)] == [b"only"]


def test_data_and_address_survive_kill_and_restart_and_nothing_survives_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed broker comes back with its records; a stopped one leaves no process and no file."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with LocalKafka({"broker.session.timeout.ms": "2000"}) as kafka:
        address, first = kafka.bootstrap, kafka.pid
        kafka.create_topics({"kept": 1})
        produce(address, "kept", [(None, b"acknowledged")])
        kafka.kill()
        assert not psutil.pid_exists(first)
        kafka.restart()
        assert kafka.bootstrap == address
        assert [record.value() for record in consume(address, "kept", 0, 1)] == [b"acknowledged"]
        last = kafka.pid
        assert len(broker_directories(tmp_path)) == 1
    assert not psutil.pid_exists(last)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_the_broker_ends_with_its_owner(tmp_path: Path, end: signal.Signals) -> None:
    """A killed owner leaves neither Java nor a directory behind."""
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True, env=environ
    ) as owner:
        assert owner.stdout is not None
        java = psutil.Process(int(owner.stdout.readline().split()[0]))
        keeper = java.parent()
        assert keeper is not None
        owner.send_signal(end)
        owner.wait()
        await_true(lambda: not java.is_running() and not keeper.is_running(), "the broker was alive", 20)
    assert broker_directories(tmp_path) == []


def test_the_broker_ends_with_its_keeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even without its keeper Java does not go on alone."""
    if sys.platform != "linux":
        pytest.skip("only Linux kills a process with its parent")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with LocalKafka() as kafka:
        java = psutil.Process(kafka.pid)
        keeper = java.parent()
        assert keeper is not None
        keeper.kill()
        await_true(lambda: not java.is_running(), "Java was alive", 20)
    assert broker_directories(tmp_path) == []


def test_a_broker_that_does_not_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of the broker's log is in the message, and nothing stays."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(CannotCheck, match=r"(?s)ended by itself.*num\.io\.threads"):
        LocalKafka({"num.io.threads": "-3"}).start()
    assert broker_directories(tmp_path) == []


def test_a_port_that_was_taken_meanwhile_costs_another_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If somebody binds a chosen port first, the broker comes up on others."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    from fraudstream.stream.localkafka import broker

    choose = broker._free_ports
    with LocalKafka() as first:
        taken = int(first.bootstrap.split(":")[1])
        answers = [(choose(1)[0], taken)]
        monkeypatch.setattr(broker, "_free_ports", lambda count: answers.pop() if answers else choose(count))
        with LocalKafka() as second:
            assert second.bootstrap != first.bootstrap
            assert answers == []


def test_an_existing_broker_is_used_and_an_absent_one_is_named(topics: Topics) -> None:
    """FRAUDSTREAM_BROKER is used as it is; if nobody answers there the message says so."""
    with some_kafka({"FRAUDSTREAM_BROKER": topics.bootstrap}) as kafka:
        assert kafka.bootstrap == topics.bootstrap
        assert not isinstance(kafka, LocalKafka)


def test_an_absent_broker_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens on the discard port."""
    monkeypatch.setattr("fraudstream.stream.cluster.REQUEST_TIMEOUT_S", 1.0)
    with (
        pytest.raises(CannotCheck, match=r"no answer from Kafka at `127\.0\.0\.1:9`"),
        some_kafka({"FRAUDSTREAM_BROKER": "127.0.0.1:9"}),
    ):
        pass


def test_a_damaged_jar_is_replaced(tmp_path: Path) -> None:
    """A cache with a wrong byte is not used; the right file comes again."""
    whole = read_lock()
    small = Lock(whole.kafka, whole.roots, tuple(sorted(whole.jars, key=lambda jar: jar.size)[:2]))
    java = find_java()
    directory = ensure_jars(java, tmp_path / "cache", small)
    damaged = directory / small.jars[0].file
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert ensure_jars(java, tmp_path / "cache", small) == directory
    assert damaged.read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "cache.lock"]


def test_a_jar_with_another_hash_is_refused(tmp_path: Path) -> None:
    """What the repository serves must be what the lock says; nothing of it is kept."""
    whole = read_lock()
    jar = min(whole.jars, key=lambda jar: jar.size)
    wrong = Lock(whole.kafka, whole.roots, (jar._replace(sha256="0" * 64),))
    with pytest.raises(CannotCheck, match=f"`{jar.file}` first"):
        ensure_jars(find_java(), tmp_path / "cache", wrong)
    assert [path.name for path in tmp_path.iterdir()] == ["cache.lock"]


def test_without_java_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """No Java anywhere is an error with the remedy."""
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr("fraudstream.stream.localkafka.java.find_spec", lambda _name: None)
    with pytest.raises(CannotCheck, match=r"no Java was found on PATH.*fraudstream\[localkafka\]"):
        find_java()


@pytest.mark.parametrize(
    ("script", "major"),
    [
        ("echo 'openjdk version \"21.0.2\" 2024-01-16' >&2", 21),
        ("echo 'java version \"1.8.0_391\"' >&2", 8),
        ("echo 'openjdk version \"25\"' >&2", 25),
        ("echo 'The operation could not be completed. Unable to locate a Java Runtime.' >&2; exit 1", 0),
    ],
)
def test_the_version_of_java_is_read(tmp_path: Path, script: str, major: int) -> None:
    """Old and new version schemes are read, and macOS's stub is no Java."""
    java = tmp_path / "java"
    java.write_text(f"#!/bin/sh\n{script}\n")
    java.chmod(0o755)
    assert java_major(str(java)) == major


def test_no_topic_appears_by_itself() -> None:
    """A typing error in a topic name must not make a topic."""
    assert BROKER_CONFIG["auto.create.topics.enable"] == "false"


@pytest.mark.skipif(find_spec("jgo") is None, reason="jgo is installed only where Java or Maven is missing")
def test_jars_come_without_maven(tmp_path: Path) -> None:
    """The Python downloader brings the same bytes."""
    whole = read_lock()
    small = Lock(whole.kafka, whole.roots, tuple(sorted(whole.jars, key=lambda jar: jar.size)[:2]))
    directory = ensure_jars(Java("java", from_path=False), tmp_path / "cache", small)
    assert all(jar.is_at(directory / jar.file) for jar in small.jars)


def test_without_maven_or_jgo_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No way to download is an error with the remedies, and leaves nothing behind."""
    monkeypatch.setattr("fraudstream.stream.localkafka.jars.find_spec", lambda _name: None)
    with pytest.raises(CannotCheck, match=r"neither a working Maven.*\[localkafka\].*FRAUDSTREAM_BROKER"):
        ensure_jars(Java("java", from_path=False), tmp_path / "cache")
    assert [path.name for path in tmp_path.iterdir()] == ["cache.lock"]


def test_offline_the_message_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Maven that cannot download is quoted, and the way out is named."""
    maven = tmp_path / "bin" / "mvn"
    maven.parent.mkdir()
    maven.write_text("#!/bin/sh\necho '[ERROR] Unknown host repo.maven.apache.org'\nexit 1\n")
    maven.chmod(0o755)
    monkeypatch.setenv("PATH", f"{maven.parent}:{os.environ['PATH']}")
    monkeypatch.setattr("fraudstream.stream.localkafka.jars.find_spec", lambda _name: None)
    with pytest.raises(CannotCheck, match=r"(?s)is this machine offline\?.*FRAUDSTREAM_BROKER.*Unknown host"):
        ensure_jars(Java("java", from_path=True), tmp_path / "cache")


def test_two_at_once_download_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes second waits for the first and finds everything there."""
    from fraudstream.stream.localkafka import jars

    whole = read_lock()
    small = Lock(whole.kafka, whole.roots, tuple(sorted(whole.jars, key=lambda jar: jar.size)[:1]))
    java, directory = find_java(), tmp_path / "cache"
    download, downloads = jars._download, []
    monkeypatch.setattr(jars, "_download", lambda *given: downloads.append(1) or download(*given))
    with ThreadPoolExecutor(2) as pool:
        tasks = [pool.submit(ensure_jars, java, directory, small) for _ in range(2)]
        assert [task.result() for task in tasks] == [directory, directory]
    assert downloads == [1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "cache.lock"]
