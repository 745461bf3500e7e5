"""One backtest: a candidate's rules over the stored rows of a log, and two of them compared."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fraudstream.rules.bundle import Rule
from fraudstream.stream.backtest import layout as at
from fraudstream.stream.backtest.build import Source, feature_log
from fraudstream.stream.backtest.candidate import Candidate
from fraudstream.stream.backtest.decisions import Decider, Decisions
from fraudstream.stream.backtest.evaluate import RuleRows, evaluate, rule_key
from fraudstream.stream.backtest.figures import EXAMPLES_MAX, Figures, examples, figures
from fraudstream.stream.backtest.labels import Label, Labels, place_labels
from fraudstream.stream.backtest.layout import Kind
from fraudstream.stream.backtest.reader import FeatureLog, words_of
from fraudstream.stream.backtest.statistics import Facts, Tally, gather_facts
from fraudstream.stream.backtest.writer import amount_of

I64 = NDArray[np.int64]

OUTCOMES = ("pass", "alert", "block", "did not happen")


@dataclass(frozen=True, slots=True)
class Run:
    """A candidate's decisions on a log."""

    name: str
    candidate: Candidate
    log: FeatureLog
    matched: Mapping[str, RuleRows]
    decider: Decider
    decisions: Decisions
    labels: Labels
    facts: Facts

    def figures(self, chosen: Callable[[Rule], bool] = lambda _: True) -> Figures:
        """Work out the figures; ``chosen``: which rules have a row of their own."""
        found = figures(
            self.name,
            self.log,
            self.candidate.bundle,
            self.matched,
            self.decider,
            self.decisions,
            self.facts,
            chosen,
        )
        return replace(found, absent=self.log.manifest.absent)

    def outcomes(self, rows: I64) -> NDArray[np.uint8]:
        """Return the place in ``OUTCOMES`` of each row."""
        kinds = self.log.numbers(at.KIND, rows)
        return np.where(kinds == Kind.ABSENT, 3, self.decisions.of(rows)).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Change:
    """Transactions that are decided otherwise."""

    before: str
    after: str
    tally: Tally
    examples: tuple[str, ...]


def decide_log(
    name: str,
    log: FeatureLog,
    candidate: Candidate,
    labels: Sequence[Label] = (),
    lag_ms: int = 0,
    *,
    keep: bool = True,
) -> Run:
    """Run a candidate's rules over a feature log."""
    bundle = candidate.bundle
    rules = [rule for rule in candidate.compiled.rules if rule.evaluated]
    matched = evaluate(log, rules, keep=keep)
    decider = Decider(log, bundle, matched, rules)
    placed = place_labels(log, labels, bundle.schema.event_id)
    facts = gather_facts(log, decider.rows, placed, bundle.schema.event_time, amount_of(bundle), lag_ms)
    return Run(name, candidate, log, matched, decider, decider.decide(), placed, facts)


def run_candidate(
    name: str,
    root: Path,
    source: Source,
    candidate: Candidate,
    labels: Sequence[Label] = (),
    lag_ms: int = 0,
    *,
    simulated: bool = False,
) -> Run:
    """Run a candidate's rules over a log, whose feature log is made if it is not there."""
    log = FeatureLog(feature_log(root, source, candidate, simulated=simulated))
    return decide_log(name, log, candidate, labels, lag_ms)


def compare(before: Run, after: Run) -> tuple[Change, ...]:
    """Return which transactions two runs over the same log decide otherwise, strongest change first."""
    places = [_packed(run, run.decider.rows) for run in (before, after)]
    if after.log.manifest.absent or before.log.manifest.absent:
        places += [_packed(run, _absent(run.log)) for run in (before, after)]
    both = np.unique(np.concatenate(places))
    partition, offset = both >> 48, both & ((1 << 48) - 1)
    rows = [run.log.runs.rows_of(partition, offset) for run in (before, after)]
    there = (rows[0] >= 0) & (rows[1] >= 0)
    old, new = rows[0][there], rows[1][there]
    was, now = _unordered(before, old), _unordered(after, new)
    found: list[Change] = []
    for first in range(len(OUTCOMES)):
        for last in range(len(OUTCOMES)):
            changed = np.sort(old[(was == first) & (now == last)])
            if first == last or not len(changed):
                continue
            bundle = before.candidate.bundle
            facts = gather_facts(
                before.log, changed, before.labels, bundle.schema.event_time, amount_of(bundle), 0
            )
            shown = examples(before.log, bundle, changed[:EXAMPLES_MAX])
            found.append(Change(OUTCOMES[first], OUTCOMES[last], facts.tally(changed), shown))
    return tuple(sorted(found, key=lambda item: (-OUTCOMES.index(item.after), item.before)))


def changed_rules(before: Candidate, after: Candidate) -> Collection[str]:
    """Return the rules of ``after`` that ``before`` lacks, or has with another meaning, mode or effect."""
    old = {rule.id: rule for rule in before.compiled.rules}
    out = []
    for rule in after.compiled.rules:
        was = old.get(rule.id)
        same = (
            was is not None
            and was.evaluated == rule.evaluated
            and (was.mode, was.action, was.score, was.typology, was.never_override)
            == (rule.mode, rule.action, rule.score, rule.typology, rule.never_override)
            and [score for _, score in was.acts] == [score for _, score in rule.acts]
            and (not rule.evaluated or rule_key(was) == rule_key(rule))
        )
        if not same:
            out.append(rule.id)
    return out


def _packed(run: Run, rows: I64) -> I64:
    partition, offset = run.log.runs.sources_of(rows)
    return np.asarray(partition << 48 | offset, np.int64)


def _unordered(run: Run, rows: I64) -> NDArray[np.uint8]:
    """Return the outcomes of rows in any order."""
    order = np.argsort(rows, kind="stable")
    out = np.empty(len(rows), np.uint8)
    out[order] = run.outcomes(rows[order])
    return out


def _absent(log: FeatureLog) -> I64:
    found = [
        np.flatnonzero(words_of(table.column(at.KIND), group.rows)[0] == Kind.ABSENT) + group.first
        for group, table in log.tables([at.KIND], log.groups)
    ]
    return np.concatenate([np.zeros(0, np.int64), *found])
