"""What the worker counts: plain numbers per piece, put into the metrics once a second."""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fraudstream.rules.bundle import Bundle
from fraudstream.stream import metrics as m
from fraudstream.stream.collector import Metrics
from fraudstream.stream.counts import DECISION_NAMES
from fraudstream.stream.decide import RuleCounts
from fraudstream.stream.kernel_rows import COUNTS, FIRST_AMOUNT, FIRST_FLAG
from fraudstream.stream.metrics import Label, Metric
from fraudstream.stream.outcome import FLAG_NAMES
from fraudstream.stream.pipeline import Pipeline, Result

I64 = NDArray[np.int64]


REFUSED_CHARACTERS = 8_000
"""Of the errors of a refused change; the log has them all."""


class Refused(NamedTuple):
    """A change of the rules directory that did not take effect."""

    at_ms: int
    result: str
    """A value of ``reload_total``."""
    problem: str
    corrected: bool = False
    """A later change was taken, or the rules in force stand in the directory again."""


class Watched(Protocol):
    """What is read of a partition when the metrics are published."""

    number: int
    next_offset: int
    snapshot_s: float | None
    began_s: float

    @property
    def pipeline(self) -> Pipeline | None:
        """Return the state, None before it is there."""

    @property
    def log_end(self) -> int:
        """Return the newest known end of the input."""


class Observer:
    """Counts of one worker."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics
        self.records = 0
        """Processed since the start, replayed ones included."""
        self.refused: Refused | None = None
        """The last change of the rules that was not taken."""
        self._counts: Counter[tuple[Metric, tuple[str, ...]]] = Counter()
        self._words: I64 = np.zeros(COUNTS, np.int64)
        self._rules: dict[str, RuleCounts] = {}
        self._bundles: dict[str, Bundle] = {}
        self._steps: defaultdict[str, list[float]] = defaultdict(list)
        self._fallbacks: deque[tuple[str, str]] = deque()
        self._latency_ms: list[I64] = []
        self._step_s = 0.0
        self._allowed: dict[Label, tuple[str, ...]] = {}
        self._evicted: dict[int, int] = {}
        self._collected: dict[str, None] = {}
        """Reference tables with bad records; their bundle may not be in force yet."""

    def step_begin(self) -> None:
        """A piece is about to be processed."""
        self._step_s = time.perf_counter()

    def step(self, name: str) -> None:
        """Note that a step of the pipeline is done."""
        now_s = time.perf_counter()
        self._steps[name].append(now_s - self._step_s)
        self._step_s = now_s

    def timed(self, name: str, seconds: float) -> None:
        """Note how long a step outside of the pipeline took."""
        self._steps[name].append(seconds)

    def processed(self, bundle: Bundle, result: Result) -> None:
        """Count what came of a piece."""
        counts = result.counts
        self.records += counts.records
        self._words += counts.words
        for code, value in counts.dead_letters.items():
            self._counts[m.DEAD_LETTERS, (code,)] += value
        for reason, value in result.batch.exact.items():
            self._counts[m.EXACT_LANE, (reason,)] += value
        for cause, value in counts.fields_missing.items():
            self._counts[m.FIELDS_MISSING, cause] += value
        if counts.tables:
            for join, value in counts.joins.items():
                self._counts[m.REFERENCE_JOINS, join] += value
        sums = self._rules.get(bundle.hash)
        if sums is None:
            self._bundles[bundle.hash] = bundle
            sums = self._rules[bundle.hash] = RuleCounts(np.zeros_like(counts.rules.counts))
        np.add(sums.counts, counts.rules.counts, out=sums.counts)

    def acknowledged(self, result: Result, now_ms: int) -> None:
        """Note the latency of acknowledged decisions."""
        time_ms = result.slice.time_ms[result.rows]
        self._latency_ms.append(now_ms - time_ms[time_ms >= 0])

    def reloaded(self, outcome: str, problem: str = "") -> None:
        """Count what became of a change of the rules directory, and keep why it was refused."""
        self.metrics.add(m.RELOADS, 1, outcome)
        if problem:
            self.refuse(outcome, problem)
        elif self.refused is not None:
            self.refused = self.refused._replace(corrected=True)

    def refuse(self, outcome: str, problem: str) -> None:
        """Keep why the rules directory is not in force."""
        cut = problem[:REFUSED_CHARACTERS] + ("\n…" if len(problem) > REFUSED_CHARACTERS else "")
        self.refused = Refused(time.time_ns() // 1_000_000, outcome, cut)

    def passed_over(self, table: str, records: int) -> None:
        """Count bad records of a reference table's topic."""
        if records:
            self._collected[table] = None
            self._counts[m.REFERENCE_BAD_RECORDS, (table,)] += records

    def table_refused(self, table: str) -> None:
        """Count a delivery of a reference table that could not be used."""
        self._collected[table] = None
        self._counts[m.REFERENCE_REFUSED, (table,)] += 1

    def fell_back(self, part: str, reason: str) -> None:
        """Count that the wire left its fast way; safe in the consumer's thread."""
        self._fallbacks.append((part, reason))

    def publish(self, partitions: Iterable[Watched], bundles: Iterable[Bundle]) -> None:
        """Put everything counted since the last time into the metrics."""
        in_force = {bundle.hash: bundle for bundle in bundles}
        partitions = list(partitions)
        known = [*in_force.values(), *self._bundles.values()]
        self._allow(m.BUNDLE, in_force)
        self._allow(m.RULE, [rule.id for bundle in known for rule in bundle.rules])
        self._allow(m.FIELD, [field.name for bundle in known for field in bundle.schema.fields])
        self._allow(m.PARTITION, [partition.number for partition in partitions])
        for bundle in in_force:
            self.metrics.set(m.BUNDLE_INFO, 1, bundle)
        budgets = (bundle.policy.alert_budget or math.inf for bundle in in_force.values())
        self.metrics.set(m.ALERT_BUDGET, max(budgets, default=math.inf))
        self._publish_tables(known, partitions)
        self._publish_counts()
        self._publish_limits(known, partitions)
        self._publish_state(partitions)

    def _publish_tables(self, bundles: Iterable[Bundle], partitions: Iterable[Watched]) -> None:
        joined = [p.pipeline.enrichment for p in partitions if p.pipeline is not None]
        declared = [table.name for bundle in bundles for table in bundle.reference.tables]
        self._allow(m.TABLE, [*declared, *self._collected])
        bound = [(name, table) for enrichment in joined for name, table in enrichment.bound.items()]
        self._allow(m.VERSION, [table.version for _, table in bound])
        sizes: Counter[str] = Counter()
        for name, table in bound:
            sizes[name] += table.nbytes
            self.metrics.set(m.REFERENCE_INFO, 1, name, table.version)
            self.metrics.set(m.REFERENCE_ROWS, table.rows, name)
            self.metrics.set(m.REFERENCE_BYTES, sizes[name], name)
            if table.as_of_ms > 0:
                self.metrics.set(m.REFERENCE_AGE, time.time() - table.as_of_ms / 1000, name)

    def _publish_limits(self, bundles: Iterable[Bundle], partitions: Iterable[Watched]) -> None:
        limited = {rule.id: 0 for bundle in bundles for rule in bundle.rules if rule.limit is not None}
        for partition in partitions if limited else ():
            if partition.pipeline is not None:
                for name in partition.pipeline.limited_rules:
                    limited[name] = limited.get(name, 0) + 1
        for name, count in limited.items():
            self.metrics.set(m.RULE_LIMITED, count, name)

    def _publish_counts(self) -> None:
        while self._fallbacks:
            self._counts[m.WIRE_FALLBACKS, self._fallbacks.popleft()] += 1
        words = self._words.tolist()
        self._words[:] = 0
        for metric, names, begin in (
            (m.DECISIONS, DECISION_NAMES, 0),
            (m.FLAGS, FLAG_NAMES, FIRST_FLAG),
            (m.AMOUNT, DECISION_NAMES, FIRST_AMOUNT),
        ):
            for name, value in zip(names, words[begin : begin + len(names)], strict=True):
                if value:
                    self._counts[metric, (name,)] += value
        for (metric, labels), value in self._counts.items():
            self.metrics.add(metric, value, *labels)
        self._counts.clear()
        for version, counts in self._rules.items():
            for at, rule in enumerate(self._bundles[version].rules):
                self.metrics.add(m.RULE_OUTCOMES, int(counts.true[at]), rule.id, "true")
                self.metrics.add(m.RULE_OUTCOMES, int(counts.unknown[at]), rule.id, "unknown")
                if rule.before >= 0:
                    self.metrics.add(m.RULE_OUTCOMES, int(counts.excepted[at]), rule.id, "excepted")
                if rule.limit is not None:
                    self.metrics.add(m.RULE_OUTCOMES, int(counts.limited[at]), rule.id, "limited")
                self.metrics.add(m.RULE_EVALUATIONS, int(counts.evaluated[at]), rule.id)
        self._rules.clear()
        self._bundles.clear()
        for step, seconds in self._steps.items():
            self.metrics.observe(m.STEP_SECONDS, np.array(seconds), step)
        self._steps.clear()
        if self._latency_ms:
            self.metrics.observe(m.DECISION_LATENCY, np.concatenate(self._latency_ms) / 1000)
            self._latency_ms.clear()

    def _publish_state(self, partitions: Iterable[Watched]) -> None:
        now_s = time.monotonic()
        state_bytes, keys, warming = 0, Counter[str](), 0
        for partition in partitions:
            number = partition.number
            self.metrics.set(m.INPUT_LAG, max(0, partition.log_end - partition.next_offset), number)
            age_s = now_s - (partition.snapshot_s or partition.began_s)
            self.metrics.set(m.SNAPSHOT_AGE, age_s, number)
            if (pipeline := partition.pipeline) is not None:
                state_bytes += pipeline.store.state_bytes
                keys.update(pipeline.store.keys)
                warming = max(warming, pipeline.store.warming_features)
                self.metrics.set(m.STATE_LIMIT, pipeline.store.limit_ratio, number)
                gone = pipeline.store.evicted_keys
                if gone > self._evicted.get(number, 0):
                    self.metrics.add(m.STATE_EVICTED, gone - self._evicted.get(number, 0))
                self._evicted[number] = gone
                self.metrics.set(m.HISTORY, pipeline.store.history_ms / 1000, number)
        self.metrics.set(m.STATE_BYTES, state_bytes)
        self.metrics.set(m.WARMING, warming)
        self._allow(m.KEYS, keys)
        for kind, count in keys.items():
            self.metrics.set(m.STATE_KEYS, count, kind)

    def _allow(self, label: Label, values: Iterable[Any] | Mapping[Any, Any]) -> None:
        wanted = tuple(dict.fromkeys(map(str, values)))
        if self._allowed.get(label) != wanted:
            self._allowed[label] = wanted
            self.metrics.allow(label, wanted)
