"""Alert rules and dashboards under what will run them: promtool, Grafana's SDK, a real Prometheus."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
from support.kafka import Topics
from support.promql import DASHBOARDS, MONITORING, ROOT, Question, panel_queries, rule_selectors
from support.tools import tool
from support.worker import Feed, Site, traffic

from fraudstream.bench.observe import Prometheus, free_port, running_prometheus
from fraudstream.bench.traffic.generate import START_MS
from fraudstream.bench.traffic.hostile import Record
from fraudstream.bench.traffic.records import rfc3339

pytestmark = [pytest.mark.ops, pytest.mark.timeout(280)]

WITHOUT_DATA = {
    "offset": "a Prometheus that is a minute old has no yesterday; alerts_test.yaml has a day of data",
    "wire_fallbacks_total": "with the pinned client library nothing falls back, so it has no child",
}
"""What a query may contain that returns nothing here, with the reason."""


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run promtool."""
    return subprocess.run(
        [tool("promtool"), *arguments], capture_output=True, text=True, cwd=ROOT, check=False
    )


def test_promtool_accepts_the_rules() -> None:
    """Syntax and templates of all rules."""
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", "k8s/monitoring/alerts.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_the_configuration_of_compose() -> None:
    """With the rule file beside it."""
    done = promtool("check", "config", "k8s/monitoring/prometheus.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS: 21 rules found" in done.stdout


def test_promtool_sees_every_alert_fire_and_stay_silent() -> None:
    """The cases of alerts_test.yaml."""
    done = promtool("test", "rules", "tests/k8s/alerts_test.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_notices_a_changed_threshold(tmp_path: Path) -> None:
    """The cases fail when a rule is another: a check of the check."""
    rules = (MONITORING / "alerts.yaml").read_text()
    cases = (ROOT / "tests/k8s/alerts_test.yaml").read_text()
    for before, after in (("> 30", "> 300"), ("> 900", "> 60"), ("> 0.001", "> 0.1")):
        assert before in rules
        (tmp_path / "alerts.yaml").write_text(rules.replace(before, after))
        (tmp_path / "cases.yaml").write_text(cases.replace("../../k8s/monitoring/alerts.yaml", "alerts.yaml"))
        assert promtool("test", "rules", str(tmp_path / "cases.yaml")).returncode == 1, before


def generator() -> ModuleType:
    """Load k8s/monitoring/dashboards.py, which is no package."""
    spec = importlib.util.spec_from_file_location("dashboards", MONITORING / "dashboards.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_dashboards_are_those_that_the_code_makes() -> None:
    """Somebody who edits the JSON, or the code alone, is told."""
    made = generator()
    committed = {path.stem: path.read_text("utf-8") for path in DASHBOARDS.glob("*.json")}
    assert committed == {name: made.build(name) for name in made.BOARDS}, (
        "run `python k8s/monitoring/dashboards.py`"
    )


def unusual(number: int) -> Record:
    """Return a record with a value that the schema does not declare."""
    body = {
        "transaction_id": f"U{number}",
        "event_time": rfc3339(START_MS),
        "account_id": "A1",
        "amount": "1.00",
        "currency": "CNY",
        "channel": "pigeon",
    }
    return Record(b"A1", json.dumps(body).encode(), START_MS, "odd")


@contextmanager
def flowing(feed: Feed, rate: int) -> Iterator[None]:
    """Send hostile traffic in the background, the same again and again."""
    records = [*traffic(3_000, 41), *(unusual(number) for number in range(50))]
    stop = threading.Event()

    def send() -> None:
        for at in itertools.cycle(range(0, len(records), rate // 10)):
            feed.send(records[at : at + rate // 10])
            if stop.wait(0.1):
                return

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        stop.set()
        sender.join()


def add_stale_table(rules: Path) -> None:
    """Add a reference table whose file is older than it may be, and a rule that reads it."""
    (rules / "reference.yaml").write_text(
        "apiVersion: fraudstream/v1\nkind: Reference\ntables:\n  profile:\n    key: account.id\n"
        "    source: {file: data/profile.csv, key: account}\n    stale_after: 7d\n"
        "    columns: {band: {type: enum, values: [low, high]}}\n"
    )
    (rules / "rulesets" / "profile.yaml").write_text(
        "apiVersion: fraudstream/v1\nkind: RuleSet\n"
        "defaults: {owner: tests@bank.example, timezone: Asia/Shanghai}\nrules:\n"
        '  - {id: profile.high, title: high band, on: [payment], when: profile.band == "high", '
        "severity: low, action: none, score: 5, reason: {en: high band}, "
        "tests: [{name: high, given: {profile.band: high}, expect: {match: true}}, "
        "{name: low, given: {profile.band: low}, expect: {match: false}}]}\n"
    )
    data = rules / "data" / "profile.csv"
    data.parent.mkdir()
    data.write_text("account,band\nA1,high\n")
    os.utime(data, (1_600_000_000, 1_600_000_000))


def unanswered(prometheus: Prometheus, questions: list[Question]) -> list[Question]:
    """Return the queries without any value that is a number."""
    return [
        question
        for question in questions
        if not any(
            value != "NaN"
            for item in prometheus.query(question.expression)
            for _, value in item.get("values", [item.get("value")])
        )
    ]


@pytest.mark.kafka
def test_every_query_of_panels_and_alerts_returns_data_from_a_running_worker(
    topics: Topics, tmp_path: Path
) -> None:
    """Broker, worker and Prometheus are real; so are a refused change and records that cannot be read."""
    tool("prometheus")
    port = free_port()
    site = Site(topics, tmp_path, ROOT / "rules", metrics_port=str(port), snapshot_interval_s="5")
    add_stale_table(site.rules)
    worker = site.start()
    questions = [*panel_queries(), *rule_selectors()]
    excused = [q for q in questions if any(word in q.expression for word in WITHOUT_DATA)]
    expected = [q for q in questions if q not in excused]
    assert len(expected) > 60
    with running_prometheus(tmp_path, port) as prometheus, flowing(Feed(site), 300):
        worker.wait_decided(500)
        broken = site.rules / "rulesets" / "card.yaml"
        whole = broken.read_text()
        broken.write_text(whole + "\nnonsense: [")
        worker.wait_for(lambda: "is refused" in worker.text, "the refusal")
        broken.write_text(whole)
        (site.rules / "data" / "profile.csv").write_text("account,band\nA1,middle\n")
        worker.wait_for(lambda: "reference_table_refused" in worker.text, "the refusal of the table")
        end = time.monotonic() + 120
        while missing := unanswered(prometheus, expected):
            assert worker.process.poll() is None, worker.text
            assert time.monotonic() < end, "\n".join(f"{q.where}: {q.expression}" for q in missing)
            time.sleep(2)
        worker.wait_for(lambda: len(firing(prometheus)) >= 3, "alerts that fire")
        assert {"FraudstreamDeadLetters", "FraudstreamReloadRefused"} <= firing(prometheus)
        assert "FraudstreamReferenceRefused" in firing(prometheus)
        assert not firing(prometheus) & {"FraudstreamWorkerAbsent", "FraudstreamNoDecisions"}
    assert worker.stop() == 0


def firing(prometheus: Prometheus) -> set[str]:
    """Return the names of the alerts that fire."""
    return {alert["labels"]["alertname"] for alert in prometheus.alerts() if alert["state"] == "firing"}
