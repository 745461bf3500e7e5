"""What the status page says: rates and quantiles of the last minute, and the last refused change."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass

import aiohttp
import pytest
from support.worker_rules import write_rules

from fraudstream.rules.bundle import Bundle
from fraudstream.rules.compiler.compile import compile_sources, read_directory
from fraudstream.stream import metrics as m
from fraudstream.stream.collector import Metrics
from fraudstream.stream.health import Health, HealthServer
from fraudstream.stream.journal import InForce
from fraudstream.stream.observe import REFUSED_CHARACTERS, Observer
from fraudstream.stream.status import SECONDS, Status, page

ABOUT = {"app": "test", "worker": "w:1", "version": "0", "core": "1"}


@dataclass
class Part:
    """A partition that only says where it stands."""

    number: int = 0
    next_offset: int = 40
    began_s: float = 0.0
    bundle_since: int = 0
    snapshot_s: float | None = None
    running: InForce | None = None
    caught_up: bool = True
    log_end: int = 100


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The two rules of the tests' small directory."""
    compiled = compile_sources(read_directory(write_rules(tmp_path_factory.mktemp("rules"))))
    assert compiled.bundle is not None
    return compiled.bundle


class Minute:
    """A status on a clock that a test moves."""

    def __init__(self, bundle: Bundle, deadline_ms: int = 50) -> None:
        self.now = 1_000.0
        self.metrics = Metrics()
        self.metrics.allow(m.RULE, [rule.id for rule in bundle.rules])
        self.bundle = bundle
        self.status = Status(self.metrics, ABOUT, deadline_ms, lambda: self.now)

    def second(self, parts: list[Part] | None = None) -> None:
        """Let a second pass."""
        self.now += 1
        self.status.sample([Part()] if parts is None else parts, [self.bundle])

    def document(self) -> dict:
        """Return what the page gets, through JSON."""
        return json.loads(json.dumps(self.status.document([], None)))


def test_before_anything_happened_everything_is_there_and_empty(bundle: Bundle) -> None:
    """The page is complete from the first second on."""
    shown = Minute(bundle).document()
    assert shown["decisions"]["total"] == {"pass": 0, "alert": 0, "block": 0}
    assert shown["latency"]["p99_ms"] is None
    assert shown["partitions"] == shown["rules"] == shown["bundles"] == []


def test_rates_are_of_the_last_minute_and_totals_of_all_time(bundle: Bundle) -> None:
    """Five a second for two minutes, then nothing for half a minute."""
    minute = Minute(bundle)
    minute.second()
    for second in range(150):
        if second < 120:
            minute.metrics.add(m.DECISIONS, 4, "pass")
            minute.metrics.add(m.DECISIONS, 1, "block")
        minute.second()
    shown = minute.document()["decisions"]
    assert shown["total"] == {"pass": 480, "alert": 0, "block": 120}
    assert shown["rate"] == {"pass": 2.0, "alert": 0.0, "block": 0.5}
    assert shown["per_second"] == [5.0] * 30 + [0.0] * 30
    assert len(shown["per_second"]) == SECONDS


def test_quantiles_are_of_the_last_minute_and_late_counts_against_the_deadline(bundle: Bundle) -> None:
    """98 decisions between 5 and 10 ms and two of 3 s; what was slow before is forgotten."""
    minute = Minute(bundle)
    minute.metrics.observe(m.DECISION_LATENCY, [40.0] * 500)
    minute.second()
    for _ in range(98):
        minute.metrics.observe(m.DECISION_LATENCY, 0.006)
    minute.metrics.observe(m.DECISION_LATENCY, [3.0, 3.0])
    minute.second()
    shown = minute.document()["latency"]
    assert shown["deadline_ms"] == 50
    assert 5 < shown["p50_ms"] <= 10
    assert 2_000 < shown["p99_ms"] <= 5_000
    assert shown["late"] == 0.02


def test_rules_are_ordered_by_matches_of_ten_minutes(bundle: Bundle) -> None:
    """Each with its title; a rule without a match is not listed."""
    minute = Minute(bundle)
    minute.metrics.add(m.RULE_OUTCOMES, 1_000, "account.many", "true")
    minute.second()
    minute.metrics.add(m.RULE_OUTCOMES, 3, "account.many", "true")
    minute.metrics.add(m.RULE_OUTCOMES, 7, "account.many", "unknown")
    minute.second()
    assert minute.document()["rules"] == [
        {"rule": "account.many", "title": "many events in an hour", "mode": "live", "matches": 3}
    ]
    minute.metrics.add(m.RULE_OUTCOMES, 4, "account.much", "true")
    assert [rule["rule"] for rule in minute.document()["rules"]] == ["account.much", "account.many"]
    for _ in range(700):
        minute.second()
    assert minute.document()["rules"] == []


def test_a_partition_shows_lag_mode_and_the_age_of_its_snapshot(bundle: Bundle) -> None:
    """In shadow mode while it is replayed."""
    minute = Minute(bundle)
    running = InForce("sha256:aa", "none", "1", "shadow", 0)
    minute.second([Part(running=running, caught_up=False, snapshot_s=990.0)])
    shown = minute.document()
    assert shown["mode"] == "shadow"
    assert shown["lag"] == 60
    assert shown["partitions"] == [
        {
            "partition": 0,
            "mode": "shadow",
            "bundle": "sha256:aa",
            "bundle_since": 0,
            "replaying": True,
            "next_offset": 40,
            "log_end": 100,
            "lag": 60,
            "snapshot_age_s": 11,
        }
    ]


def test_a_refused_change_is_kept_until_the_next_and_marked_when_it_was_corrected() -> None:
    """Long errors are cut; the log has them all."""
    observer = Observer(Metrics())
    observer.reloaded("applied")
    assert observer.refused is None
    observer.reloaded("invalid", "x" * (REFUSED_CHARACTERS + 1))
    assert observer.refused is not None
    assert observer.refused.problem == "x" * REFUSED_CHARACTERS + "\n…"
    assert not observer.refused.corrected
    observer.reloaded("unchanged")
    assert observer.refused.corrected
    observer.reloaded("needs_restart", "other features")
    assert (observer.refused.result, observer.refused.corrected) == ("needs_restart", False)
    assert observer.metrics.value(m.RELOADS, "invalid") == 1


async def test_the_server_gives_page_and_document_with_headers_that_keep_them_in() -> None:
    """Nothing but the page's own script may run, nobody may frame it, no cache keeps it."""
    server = HealthServer(Health(), Metrics(), "127.0.0.1", 0, lambda: {"ready": True})
    await server.start()
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
            async with session.get("/") as answer:
                assert answer.content_type == "text/html"
                policy = answer.headers["Content-Security-Policy"]
                assert "default-src 'none'" in policy
                assert "frame-ancestors 'none'" in policy
                assert "unsafe" not in policy
                assert await answer.text() == page()[0]
            async with session.get("/status.json") as answer:
                assert await answer.json() == {"ready": True}
                assert answer.headers["Cache-Control"] == "no-store"
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
    finally:
        await server.stop()


def test_the_page_is_one_file_that_asks_nobody_else() -> None:
    """No address but its own; the policy names the hash of its script."""
    text, policy = page()
    assert not re.findall(r"(?:src|href)\s*=\s*[\"'](?!data:)", text)
    assert "http" not in text.replace("http-equiv", "")
    script = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(script) == 1
    assert "innerHTML" not in script[0]
    assert base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode() in policy
