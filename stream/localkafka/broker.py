"""Apache Kafka 4 in KRaft mode, one node, on loopback, in a temporary directory."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaException

from fraudstream.stream.cluster import Cluster
from fraudstream.stream.errors import CannotCheck
from fraudstream.stream.localkafka.client import round_trip
from fraudstream.stream.localkafka.jars import ensure_jars
from fraudstream.stream.localkafka.java import find_java

START_DEADLINE_S = 90.0
"""A cold start takes 3 to 6 s; a busy machine may need ten times that."""
STOP_DEADLINE_S = 30.0
PORTS = range(20_000, 32_000)
"""Below the ports that kernels hand to outgoing connections: a port that was free a moment ago stays so."""
PORT_ATTEMPTS = 3
LOG_TAIL_LINES = 15

BROKER_CONFIG = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    # A topic with a typing error in its name must not appear by itself.
    "auto.create.topics.enable": "false",
    # One node: what is replicated three times elsewhere is here once.
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # Few, so that the first consumer group and the first transaction do not wait for fifty partitions.
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    # Members of a group come one at a time here; tests want to lose and win partitions quickly.
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    # 128 MB by default, a quarter of the heap.
    "log.cleaner.dedupe.buffer.size": "16777216",
    "num.network.threads": "2",
    "num.io.threads": "4",
}


class Kafka:
    """A broker that answers at ``bootstrap``."""

    bootstrap: str

    def create_topics(self, partitions: Mapping[str, int], config: Mapping[str, str] | None = None) -> None:
        """Create topics, name -> partitions, all with one configuration, and wait for their leaders."""
        cluster = Cluster(self.bootstrap)
        cluster.create({name: (count, config or {}) for name, count in partitions.items()}, 1)
        cluster.await_topics(partitions)

    def delete_topics(self, *names: str, prefix: str = "") -> None:
        """Delete topics by name, and all whose name has a prefix."""
        cluster = Cluster(self.bootstrap)
        cluster.delete([*names, *(name for name in cluster.names() if prefix and name.startswith(prefix))])


class LocalKafka(Kafka):
    """A broker of one's own: ``with LocalKafka() as kafka: kafka.bootstrap``.

    It starts in 4 to 8 s, answers a produce-consume round trip before ``start`` returns, keeps its
    ports over ``kill`` and ``restart``, and is gone with its data after ``stop`` or when this process
    ends, however that happens.
    """

    def __init__(
        self,
        config: Mapping[str, str] | None = None,
        *,
        heap_mb: int = 512,
        listeners: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare a broker.

        Args:
            config: Broker settings that replace or add to ``BROKER_CONFIG``.
            heap_mb: Java heap; the process takes some 150 MB more.
            listeners: Further listeners, name -> security protocol; ``config`` has their keys and users.
        """
        self._listeners = dict(listeners or {})
        self._config = {**BROKER_CONFIG, **(config or {})}
        self._heap_mb = heap_mb
        self._directory: Path | None = None
        self._keeper: subprocess.Popen[bytes] | None = None
        self._java_command: list[str] = []
        self._ports: tuple[int, ...] = (0, 0)

    @property
    def pid(self) -> int:
        """Return the process id of the broker's Java."""
        return int((self._data / "broker.pid").read_text("ascii"))

    @property
    def running(self) -> bool:
        """Return whether the broker's process is alive."""
        return self._keeper is not None and self._keeper.poll() is None

    @property
    def log(self) -> str:
        """Return what the broker logged."""
        with contextlib.suppress(FileNotFoundError):
            return (self._data / "broker.log").read_text("utf-8", errors="replace")
        return ""

    @property
    def _data(self) -> Path:
        if self._directory is None:
            raise RuntimeError("the broker was not started")
        return self._directory

    def address(self, listener: str) -> str:
        """Return where a further listener answers."""
        return f"127.0.0.1:{self._ports[2 + list(self._listeners).index(listener)]}"

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def start(self) -> Self:
        """Get Java and the jars, make an empty cluster, run it, and wait until it works.

        Raises:
            CannotCheck: No Java, no jars, or the broker does not come up; says why.
        """
        java = find_java()
        jars = ensure_jars(java)
        self._directory = Path(tempfile.mkdtemp(prefix="fraudstream-kafka-"))
        (self._data / "tmp").mkdir()
        log4j2 = self._data / "log4j2.xml"
        log4j2.write_bytes(resources.files(__package__).joinpath("log4j2.xml").read_bytes())
        self._java_command = [
            java.command,
            f"-Xmx{self._heap_mb}m",
            # Nothing outside the own directory: no /tmp/hsperfdata, no unpacked codec libraries.
            "-XX:-UsePerfData",
            f"-Djava.io.tmpdir={self._data / 'tmp'}",
            f"-Dlog4j2.configurationFile={log4j2}",
            "-Djava.awt.headless=true",
            "-cp",
            f"{jars}{os.sep}*",
        ]
        try:
            self._start_on_free_ports()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End the broker and remove its data; does nothing if it was not started."""
        self.kill()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def kill(self) -> None:
        """End the broker with SIGKILL; its data stay for ``restart``."""
        if self._keeper is None:
            return
        if self.running:
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                os.kill(self.pid, signal.SIGKILL)
            try:
                self._keeper.wait(STOP_DEADLINE_S)
            except subprocess.TimeoutExpired:
                self._keeper.kill()
                self._keeper.wait()
        self._keeper = None

    def shut_down(self) -> None:
        """End the broker the orderly way, SIGTERM; its data stay for ``restart``."""
        if self._keeper is not None and self.running:
            self._keeper.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._keeper.wait(STOP_DEADLINE_S)
        self.kill()

    def restart(self) -> None:
        """Run the broker again on its data and ports; shuts it down first if it is running.

        Raises:
            CannotCheck: It does not come up; says why.
        """
        self.shut_down()
        self._run("kafka.Kafka")

    def _start_on_free_ports(self) -> None:
        """Run a new cluster; once more on other ports if somebody took one in the meantime."""
        for attempt in range(PORT_ATTEMPTS):
            self._ports = _free_ports(2 + len(self._listeners))
            self.bootstrap = f"127.0.0.1:{self._ports[0]}"
            self._configure()
            # "A" in front: a cluster id must not look like an option.
            cluster = "A" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]
            try:
                self._run(f"kafka.tools.StorageTool format --standalone -t {cluster} -c", "kafka.Kafka")
            except CannotCheck:
                if attempt == PORT_ATTEMPTS - 1 or "Address already in use" not in self.log:
                    raise
                self.kill()
                shutil.rmtree(self._data / "data")
                (self._data / "broker.log").unlink()
            else:
                return

    @property
    def _properties(self) -> str:
        return str(self._data / "server.properties")

    def _configure(self) -> None:
        broker, controller = self._ports[:2]
        named = [f"{name}://{self.address(name)}" for name in self._listeners]
        protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", **self._listeners}
        properties = {
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller}",
            "listeners": ",".join(
                [f"PLAINTEXT://127.0.0.1:{broker}", f"CONTROLLER://127.0.0.1:{controller}", *named]
            ),
            "advertised.listeners": ",".join([f"PLAINTEXT://127.0.0.1:{broker}", *named]),
            "listener.security.protocol.map": ",".join(f"{name}:{how}" for name, how in protocols.items()),
            "log.dirs": str(self._data / "data"),
            **self._config,
        }
        lines = "".join(f"{name}={value}\n" for name, value in properties.items())
        Path(self._properties).write_text(lines, "utf-8")

    def _run(self, *programs: str) -> None:
        """Run Kafka programs on our configuration, one after the other; the last works on return."""
        self._data.joinpath("broker.pid").unlink(missing_ok=True)
        commands = json.dumps(
            [[*self._java_command, *program.split(), self._properties] for program in programs]
        )
        keeper = Path(__file__).with_name("keeper.py")
        self._keeper = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-I", str(keeper), str(os.getpid()), str(self._data), commands],
            stdin=subprocess.DEVNULL,
            # Ctrl-C on a terminal reaches the whole group: the broker must outlive the worker's last words.
            start_new_session=True,
        )
        end = time.monotonic() + START_DEADLINE_S
        while not _listens(self._ports[0]):
            self._check_alive()
            if time.monotonic() > end:
                raise CannotCheck(
                    f"Apache Kafka does not listen after {START_DEADLINE_S:.0f} s; {_tail(self.log)}"
                )
            time.sleep(0.05)
        try:
            round_trip(self.bootstrap, START_DEADLINE_S)
        except (TimeoutError, CannotCheck, KafkaException) as error:
            self._check_alive()
            raise CannotCheck(f"Apache Kafka does not work: {error}; {_tail(self.log)}") from error
        self._check_alive()

    def _check_alive(self) -> None:
        if not self.running:
            raise CannotCheck(f"Apache Kafka ended by itself; {_tail(self.log)}")


def _free_ports(count: int) -> tuple[int, ...]:
    """Return ports of loopback on which nobody listens."""
    found: list[int] = []
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                found.append(port)
        if len(found) == count:
            return tuple(found)
    raise CannotCheck(f"no free port between {PORTS.start} and {PORTS.stop} on 127.0.0.1")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _tail(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()][-LOG_TAIL_LINES:]
    return "the last lines of its log:\n  " + "\n  ".join(lines) if lines else "its log is empty"
