"""Every command of docs/guide/getting-in.md in its order, for a bank with names and a broker of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.secured import SecuredKafka, secured_kafka
from support.worker import ROOT, START_MS, generate

from fraudstream.bench.observe import free_port
from fraudstream.stream.localkafka.client import quiet
from fraudstream.stream.permissions import Resource, worker_rights
from fraudstream.stream.settings import load_settings

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(280)]

GUIDE = (ROOT / "docs" / "guide" / "getting-in.md").read_text("utf-8")
NAMES = {
    "transaction_id": "ref",
    "event_time": "booked_at",
    "account_id": "debit_account",
    "amount": "amt",
    "currency": "ccy",
}


def blocks(kind: str) -> list[str]:
    """Return the code blocks of a kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def secured(kernels: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    """A bank's Kafka."""
    with secured_kafka(tmp_path_factory.mktemp("bank")) as broker:
        yield broker


class Bank:
    """A shell in a checkout, with a broker that has the bank's topic."""

    def __init__(self, secured: SecuredKafka, home: Path) -> None:
        self.home = home
        self.secured = secured
        self.port = free_port()
        self.output = ""
        self.worker: subprocess.Popen[bytes] | None = None
        shutil.copytree(ROOT / "rules", home / "rules", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(ROOT / "docs" / "examples", home / "docs" / "examples")
        (home / "variables").touch()

    def connect(self) -> None:
        """Get a user with the rights of the page, and write the page's file with this broker in it."""
        secrets = self.secured.add_user("fraudstream")
        text = blocks("toml")[0]
        for name, was, now in (
            ("broker", "kafka.bank.example:9093", secrets["FRAUDSTREAM_BROKER"]),
            ("ssl_ca_file", "kafka-ca.pem", secrets["FRAUDSTREAM_SSL_CA_FILE"]),
            ("sasl_password_file", "kafka-password", secrets["FRAUDSTREAM_SASL_PASSWORD_FILE"]),
        ):
            assert f'{name} = "{was}"' in text
            text = text.replace(was, now)
        assert "metrics_port = 9464" in text
        (self.home / "fraudstream.toml").write_text(text.replace("9464", str(self.port)))
        settings = load_settings({"FRAUDSTREAM_CONFIG": str(self.home / "fraudstream.toml")})
        self.topics = settings.topics
        rights = worker_rights(settings)
        create = {resource: ("Create",) for resource in rights if resource.kind == "topic"}
        del create[Resource("topic", self.topics.input)]
        self.secured.grant("fraudstream", rights)
        self.secured.grant("fraudstream", create)
        self.secured.kafka.create_topics(
            {self.topics.input: 1}, {"message.timestamp.type": "LogAppendTime", "retention.ms": "2592000000"}
        )

    def send(self, count: int, seed: int) -> None:
        """Publish transactions under the bank's names."""
        from confluent_kafka import Producer

        producer = Producer(quiet(self.secured.kafka.bootstrap))
        for chunk in generate(count, seed, START_MS, 50):
            for key, value in zip(chunk.keys, chunk.values, strict=True):
                body = {NAMES.get(name, name): item for name, item in json.loads(value).items()}
                producer.produce(self.topics.input, json.dumps(body), key)
        assert producer.flush(30) == 0

    def run(self, block: str) -> str:
        """Run a block; `export` holds for the later ones, a worker goes on in the background."""
        block = block.replace(":9464/", f":{self.port}/")
        if "fraudstream worker" in block:
            self.start_worker(block)
            return ""
        script = f"set -euo pipefail\nset -a\n. ./variables\n{block}\nexport -p > variables"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.home,
            env={k: v for k, v in self.environment.items() if not k.startswith("FRAUDSTREAM_")},
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @property
    def environment(self) -> dict[str, str]:
        """Return that of a shell in which the checkout was set up."""
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        return {**os.environ, "PATH": path}

    def start_worker(self, block: str) -> None:
        """Run a block that ends with the worker until it is ready; the one before is stopped with SIGTERM."""
        self.stop_worker()
        script = block.replace("fraudstream worker", "exec fraudstream worker")
        with (self.home / "worker.log").open("ab") as log:
            self.worker = subprocess.Popen(
                ["bash", "-c", f"set -a; . ./variables\n{script}"],
                cwd=self.home,
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + 90
        probe = ["curl", "-sf", f"http://127.0.0.1:{self.port}/readyz"]
        while subprocess.run(probe, capture_output=True, check=False).returncode:
            assert self.worker.poll() is None, (self.home / "worker.log").read_text()
            assert time.monotonic() < end
            time.sleep(0.2)
        # The status is sampled once a second.
        time.sleep(2)

    def stop_worker(self) -> None:
        """Stop the worker cleanly, if there is one."""
        if self.worker is not None:
            self.worker.send_signal(signal.SIGTERM)
            assert self.worker.wait(60) == 0, (self.home / "worker.log").read_text()
            self.worker = None

    def adapt_schema(self) -> None:
        """Replace the fields that the page shows in the schema."""
        path = self.home / "bank" / "rules" / "schema.yaml"
        text = path.read_text()
        for line in blocks("yaml")[0].splitlines():
            field = line.split(":")[0]
            assert re.search(rf"^{re.escape(field)}: \{{.*$", text, re.MULTILINE), field
            text = re.sub(rf"^{re.escape(field)}: \{{.*$", line, text, flags=re.MULTILINE)
        path.write_text(text)


def test_the_guide_from_connecting_to_going_live(secured: SecuredKafka, tmp_path: Path) -> None:
    """A day of the guide: what each step says is what happens."""
    connect, look, lint, replay, compare, shadow, report, live, is_live = blocks("sh")
    bank = Bank(secured, tmp_path)
    bank.connect()
    bank.send(3_000, 91)
    try:
        told = bank.run(connect)
        assert "fraud.journal (1 partitions" in told
        assert told.endswith("all is well\n")
        told = bank.run(look)
        assert "3,000 missing_field transaction_id" in told
        bank.adapt_schema()
        bank.run(lint)
        bank.run(replay)
        decided = [json.loads(line) for line in (tmp_path / "replayed.jsonl").read_text().splitlines()]
        assert not [item for item in decided if "malformed" in item["flags"]]
        seen = [item["transaction_id"] for item in decided if item["decision"] != "pass"]
        assert seen
        (tmp_path / "fraud.txt").write_text("\n".join([*seen[:2], "unknown"]) + "\n")
        told = bank.run(compare)
        assert f"{len(decided):,} transactions: " in told
        assert "known fraud: 2 of 3 found in the log" in told
        bank.run(shadow)
        bank.send(500, 92)
        await_decided(bank, 500)
        told = bank.run(report)
        assert told.startswith("ok\n")
        assert "500 transactions: " in told
        bank.run(live)
        bank.run(is_live)
        bank.send(100, 93)
        await_decided(bank, 600)
        bank.stop_worker()
    finally:
        if bank.worker is not None:
            bank.worker.kill()
            bank.worker.wait()


def await_decided(bank: Bank, count: int) -> None:
    """Wait until that many decisions are published."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer(quiet(bank.secured.kafka.bootstrap, **{"group.id": "count"}))
    try:
        end = time.monotonic() + 60
        partition = TopicPartition(bank.topics.decisions, 0)
        while consumer.get_watermark_offsets(partition, 10)[1] < count:
            assert time.monotonic() < end, (bank.home / "worker.log").read_text()[-3000:]
            time.sleep(0.1)
    finally:
        consumer.close()


def test_the_rights_of_the_page_are_those_that_the_worker_asks_for() -> None:
    """The table names each resource with its operations."""
    table = dict(
        re.findall(r"^\| (.+?) \| ((?:Describe|Read|Write|, |DescribeConfigs)+) \|$", GUIDE, re.MULTILINE)
    )
    settings = load_settings({"FRAUDSTREAM_TOPIC_PREFIX": "fraud."})
    names = settings.topics
    said = {
        names.input: table["the topic with transactions"],
        **dict.fromkeys(
            (names.decisions, names.journal, names.control), table["decisions, journal, control"]
        ),
        **dict.fromkeys((names.alerts, names.dead_letters), table["alerts, dead letters"]),
        settings.app_id: table["the group `fraudstream`"],
    }
    assert {r.name: ", ".join(o) for r, o in worker_rights(settings).items()} == said
