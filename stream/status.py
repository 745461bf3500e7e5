"""What the built-in status page shows: the last minute of one worker, for those who have no Grafana.

Once a second the worker's housekeeping takes a sample of the counters; rates and quantiles are differences of
samples. The page (status.html) reads :meth:`Status.document` as `/status.json`. No content of a transaction
is in it.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from importlib import resources
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fraudstream.rules.bundle import Bundle
from fraudstream.stream import metrics as m
from fraudstream.stream.collector import Metrics
from fraudstream.stream.journal import InForce
from fraudstream.stream.observe import Refused

SECONDS = 60
"""Span of rates and quantiles."""
RULE_SAMPLE_S = 10.0
RULE_SAMPLES = 60
"""Matches of rules are of ten minutes: a rule that matches once a minute is not nothing."""
TOP_RULES = 10


class Placed(Protocol):
    """What is read of a partition."""

    number: int
    next_offset: int
    began_s: float
    bundle_since: int
    """Offset from which on the bundle in force is."""

    @property
    def snapshot_s(self) -> float | None:
        """Return the monotonic time of the newest snapshot, None without one."""

    @property
    def running(self) -> InForce | None:
        """Return the versions in force, None before they are known."""

    @property
    def caught_up(self) -> bool:
        """Return whether everything that lay on the input at the start was processed."""

    @property
    def log_end(self) -> int:
        """Return the newest known end of the input."""


class Sample(NamedTuple):
    """Counters at one moment."""

    at_s: float
    decisions: NDArray[np.int64]
    """By kind, in the order of ``m.DECISION.values``."""
    latency: NDArray[np.int64]
    """By bucket."""


class Status:
    """The last minute of a worker; ``now`` is a monotonic clock in seconds."""

    def __init__(
        self,
        metrics: Metrics,
        about: Mapping[str, object],
        deadline_ms: int,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare a page.

        Args:
            metrics: What the worker counts.
            about: Names and versions that do not change while it runs.
            deadline_ms: From the record's timestamp to its decision.
            now: Clock.
        """
        self._metrics = metrics
        self._about = dict(about)
        self._deadline_ms = deadline_ms
        self._now = now
        self._began_s = now()
        self._samples: deque[Sample] = deque(maxlen=SECONDS + 1)
        self._rules: deque[tuple[float, dict[str, int]]] = deque(maxlen=RULE_SAMPLES + 1)
        self._partitions: list[dict[str, Any]] = []
        self._bundles: list[Bundle] = []
        self._modes: list[str] = []

    def sample(self, partitions: Iterable[Placed], bundles: Iterable[Bundle]) -> None:
        """Look at everything once; called once a second."""
        now_s = self._now()
        decisions = [int(self._metrics.value(m.DECISIONS, kind)) for kind in m.DECISION.values]
        latency = self._metrics.counts(m.DECISION_LATENCY)
        self._samples.append(Sample(now_s, np.array(decisions, np.int64), latency.copy()))
        self._bundles = list(bundles)
        if not self._rules or now_s - self._rules[-1][0] >= RULE_SAMPLE_S:
            self._rules.append((now_s, self._matches()))
        partitions = list(partitions)
        self._partitions = [_partition(partition, now_s) for partition in partitions]
        self._modes = sorted({p.running.mode for p in partitions if p.running is not None})

    def document(
        self, not_ready: list[str], refused: Refused | None, change: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return what the page shows.

        Args:
            not_ready: Why the worker does not decide, empty if it does.
            refused: The last change of the rules that was not taken.
            change: The last one that was.
        """
        return {
            **self._about,
            "uptime_s": round(self._now() - self._began_s),
            "ready": not not_ready,
            "not_ready": not_ready,
            "mode": " and ".join(self._modes),
            "partitions": self._partitions,
            "lag": sum(partition["lag"] for partition in self._partitions),
            "decisions": self._decisions(),
            "latency": self._latency(),
            "rules": self._top_rules(),
            "bundles": [{"hash": bundle.hash, "rules": len(bundle.rules)} for bundle in self._bundles],
            "reloads": self._counted(m.RELOADS, m.RESULT),
            "refused": None if refused is None else refused._asdict(),
            "rules_change": change,
            "dead_letters": self._counted(m.DEAD_LETTERS, m.CODE),
            "flags": self._counted(m.FLAGS, m.FLAG),
            "state_bytes": self._metrics.value(m.STATE_BYTES),
        }

    def _decisions(self) -> dict[str, Any]:
        kinds = m.DECISION.values
        if not self._samples:
            return {"total": dict.fromkeys(kinds, 0), "rate": dict.fromkeys(kinds, 0.0), "per_second": []}
        first, last = self._samples[0], self._samples[-1]
        span_s = max(last.at_s - first.at_s, 1e-9)
        grown = last.decisions - first.decisions
        samples = list(self._samples)
        return {
            "total": dict(zip(kinds, last.decisions.tolist(), strict=True)),
            "rate": dict(zip(kinds, (grown / span_s).round(2).tolist(), strict=True)),
            "per_second": [
                round(float((b.decisions - a.decisions).sum() / max(b.at_s - a.at_s, 1e-9)), 1)
                for a, b in itertools.pairwise(samples)
            ],
        }

    def _latency(self) -> dict[str, Any]:
        """Return quantiles of the last minute in ms, within a bucket in proportion, as Prometheus does."""
        found: dict[str, Any] = {
            "deadline_ms": self._deadline_ms,
            "p50_ms": None,
            "p99_ms": None,
            "late": None,
        }
        if len(self._samples) < 2:
            return found
        counts = self._samples[-1].latency - self._samples[0].latency
        total = int(counts.sum())
        if total == 0:
            return found
        bounds_ms = np.array(m.LATENCY_BUCKETS_S) * 1000
        found["p50_ms"] = _quantile(counts, bounds_ms, 0.5)
        found["p99_ms"] = _quantile(counts, bounds_ms, 0.99)
        in_time = int(counts[: int(np.searchsorted(bounds_ms, self._deadline_ms, side="right"))].sum())
        found["late"] = round(1 - in_time / total, 6)
        return found

    def _matches(self) -> dict[str, int]:
        rules = {rule.id for bundle in self._bundles for rule in bundle.rules}
        return {rule: int(self._metrics.value(m.RULE_OUTCOMES, rule, "true")) for rule in rules}

    def _top_rules(self) -> list[dict[str, Any]]:
        if not self._rules:
            return []
        now, before = self._matches(), self._rules[0][1]
        grown = {rule: count - before.get(rule, 0) for rule, count in now.items()}
        rules = {rule.id: rule for bundle in self._bundles for rule in bundle.rules}
        top = sorted((name for name in grown if grown[name]), key=lambda name: (-grown[name], name))
        return [
            {
                "rule": name,
                "title": rules[name].title,
                "mode": rules[name].mode.name.lower(),
                "matches": grown[name],
            }
            for name in top[:TOP_RULES]
        ]

    def _counted(self, metric: m.Metric, label: m.Label) -> dict[str, int]:
        counted = {value: int(self._metrics.value(metric, value)) for value in label.values}
        return {value: count for value, count in counted.items() if count}


def page() -> tuple[str, str]:
    """Return the page and the content security policy under which only its own script and style run."""
    text = resources.files(__package__).joinpath("status.html").read_text("utf-8")
    allowed = {
        kind: " ".join(_source(part) for part in re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL))
        for kind, tag in (("script-src", "script"), ("style-src", "style"))
    }
    policy = "; ".join(f"{kind} {sources}" for kind, sources in allowed.items())
    return text, f"default-src 'none'; {policy}; connect-src 'self'; img-src data:; frame-ancestors 'none'"


def _source(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def _partition(partition: Placed, now_s: float) -> dict[str, Any]:
    running = partition.running
    return {
        "partition": partition.number,
        "mode": "" if running is None else running.mode,
        "bundle": "" if running is None else running.bundle,
        "bundle_since": partition.bundle_since,
        "replaying": not partition.caught_up,
        "next_offset": partition.next_offset,
        "log_end": partition.log_end,
        "lag": max(0, partition.log_end - partition.next_offset),
        "snapshot_age_s": round(now_s - (partition.snapshot_s or partition.began_s)),
    }


def _quantile(counts: NDArray[np.int64], bounds_ms: NDArray[np.float64], share: float) -> float:
    """Return a quantile; beyond the last bound it is that bound."""
    cumulated = np.cumsum(counts)
    rank = share * cumulated[-1]
    bucket = int(np.searchsorted(cumulated, rank))
    if bucket >= len(bounds_ms):
        return float(bounds_ms[-1])
    low = float(bounds_ms[bucket - 1]) if bucket else 0.0
    before = int(cumulated[bucket - 1]) if bucket else 0
    inside = (rank - before) / int(counts[bucket])
    return float(round(low + (float(bounds_ms[bucket]) - low) * inside, 3))
