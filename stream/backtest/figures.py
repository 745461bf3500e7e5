"""What a rule set does on a log: the figures of a backtest's report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fraudstream.rules.bundle import Bundle, Mode, Rule
from fraudstream.stream.backtest.decisions import Decider, Decisions
from fraudstream.stream.backtest.evaluate import RuleRows
from fraudstream.stream.backtest.labels import CLEARED, FRAUD
from fraudstream.stream.backtest.moments import Calendar
from fraudstream.stream.backtest.reader import FeatureLog
from fraudstream.stream.backtest.statistics import Facts, Share, Tally

I64 = NDArray[np.int64]

PASS, ALERT, BLOCK = 0, 1, 2
OVERLAP_MAX = 40
"""Rules in the matrix: those with the most matches."""
EXAMPLES_MAX = 20


@dataclass(frozen=True, slots=True)
class Quality:
    """How well a set of stopped transactions fits the labels, of those old enough to have one."""

    precision: Share
    """Fraud among those that are labelled fraud or legitimate."""
    precision_floor: Share
    """Fraud among all: as if every transaction without a label, or with another, were legitimate."""
    recall: Share
    """Among all labelled frauds."""
    value_recall: Share
    """The same in minor units; the interval means nothing and is not shown."""


@dataclass(frozen=True, slots=True)
class RuleFigures:
    """One rule."""

    id: str
    title: str
    mode: str
    action: str
    evaluated: int
    unknown: int
    matches: Tally
    alerts: Tally
    """Matches that ended as alert, whatever else matched."""
    blocks: Tally
    quality: Quality
    incremental: Tally
    """Would pass without it; of a shadow rule: pass now and would be stopped if it were live."""
    good_keys: int
    """Customers without any fraud, some transaction of whom it matched."""
    per_day: float
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Day:
    """One day of the log."""

    day: str
    events: int
    alerts: int
    blocks: int
    frauds: int
    caught: int
    """Labelled frauds that were stopped."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """Which rules match the same transactions."""

    ids: tuple[str, ...]
    shared: tuple[tuple[int, ...], ...]
    """[i][j] transactions that both match; [i][i] those of one."""


@dataclass(frozen=True, slots=True)
class Figures:
    """A rule set on a log."""

    name: str
    bundle: str
    events: int
    minor: int
    keys: int
    alerts: Tally
    blocks: Tally
    quality: Quality
    """Of alerts and blocks together."""
    good_keys: int
    """Customers without any fraud who were alerted or blocked."""
    stopped_good: Tally
    """Alerts and blocks that are not labelled fraud."""
    days: tuple[Day, ...]
    rules: tuple[RuleFigures, ...]
    overlap: Overlap
    labels: Tally
    """All labelled transactions."""
    suppressing: bool = False
    """Some rule has ``suppress``."""
    absent: int = 0
    """Records that did not happen, in the simulation."""
    budget: int | None = None
    """Alerts a day that the policy names."""


def figures(
    name: str,
    log: FeatureLog,
    bundle: Bundle,
    matched: Mapping[str, RuleRows],
    decider: Decider,
    decisions: Decisions,
    facts: Facts,
    chosen: Callable[[Rule], bool],
) -> Figures:
    """Work out all figures.

    ``chosen``: which rules have a row of their own; all of them take part.
    """
    alerts, blocks = (decisions.row[decisions.decision == kind] for kind in (ALERT, BLOCK))
    stopped = np.union1d(alerts, blocks)
    frauds = facts.row[facts.label == facts.names.index(FRAUD)]
    worst = np.unique(facts.key[facts.at(frauds)])
    manifest = log.manifest
    days = max(1, len(manifest.days))
    rules = [rule for rule in bundle.rules if chosen(rule)]
    good = stopped[facts.label[facts.at(stopped)] != facts.names.index(FRAUD)]
    return Figures(
        name,
        bundle.hash,
        sum(count for count, _ in manifest.days.values()),
        sum(minor for _, minor in manifest.days.values()),
        manifest.keys,
        facts.tally(alerts),
        facts.tally(blocks),
        _quality(facts, stopped, frauds),
        _good_keys(facts, good, worst),
        facts.tally(good),
        _days(log, bundle, facts, decisions, frauds),
        tuple(
            _rule(log, bundle, rule, matched[rule.id], decider, decisions, facts, frauds, worst, days)
            for rule in rules
        ),
        _overlap(rules, matched),
        facts.tally(facts.row[facts.label != 0]),
        any(rule.suppress is not None for rule in bundle.rules),
        budget=bundle.policy.alert_budget,
    )


def _rule(
    log: FeatureLog,
    bundle: Bundle,
    rule: Rule,
    found: RuleRows,
    decider: Decider,
    decisions: Decisions,
    facts: Facts,
    frauds: I64,
    worst: I64,
    days: int,
) -> RuleFigures:
    rows = found.full
    decision = decisions.of(rows)
    if rule.mode is Mode.SHADOW:
        changed = rows[(decision == PASS) & (decider.live(rule.id, rows).decision != PASS)]
    else:
        changed = rows[(decision != PASS) & (decider.without(rule.id, rows).decision == PASS)]
    good = rows[facts.label[facts.at(rows)] != facts.names.index(FRAUD)]
    return RuleFigures(
        rule.id,
        rule.title,
        rule.mode.value,
        rule.action.name.lower(),
        found.evaluated,
        found.unknown,
        facts.tally(rows),
        facts.tally(rows[decision == ALERT]),
        facts.tally(rows[decision == BLOCK]),
        _quality(facts, rows, frauds),
        facts.tally(changed),
        _good_keys(facts, good, worst),
        len(rows) / days,
        examples(log, bundle, rows[-5:]),
    )


def examples(log: FeatureLog, bundle: Bundle, rows: I64) -> tuple[str, ...]:
    """Return rows as ``partition:offset transaction``, to look at with `rules why`."""
    sources = zip(*(part.tolist() for part in log.runs.sources_of(rows)), strict=True)
    ids = log.texts(bundle.schema.event_id, rows)
    return tuple(
        f"{partition}:{offset} {text}" for (partition, offset), text in zip(sources, ids, strict=True)
    )


def _quality(facts: Facts, rows: I64, frauds: I64) -> Quality:
    hit = facts.tally(rows, judged=True)
    every = facts.tally(frauds, judged=True)
    caught = hit.of(FRAUD)
    return Quality(
        Share(caught, caught + hit.of(CLEARED)),
        Share(caught, hit.count),
        Share(caught, every.count),
        Share(hit.minor_of(FRAUD), every.minor),
    )


def _good_keys(facts: Facts, rows: I64, worst: I64) -> int:
    return len(np.setdiff1d(facts.key[facts.at(rows)], worst))


def _days(
    log: FeatureLog, bundle: Bundle, facts: Facts, decisions: Decisions, frauds: I64
) -> tuple[Day, ...]:
    calendar = Calendar(bundle.policy.zone)
    day_of = calendar.days(facts.time_ms)

    def count(rows: I64) -> dict[str, int]:
        days, counts = np.unique(day_of[facts.at(rows)], return_counts=True)
        return {calendar.name(int(day)): int(n) for day, n in zip(days, counts, strict=True)}

    alerts, blocks = (count(decisions.row[decisions.decision == kind]) for kind in (ALERT, BLOCK))
    known, caught = count(frauds), count(frauds[decisions.of(frauds) != PASS])
    return tuple(
        Day(day, events, alerts.get(day, 0), blocks.get(day, 0), known.get(day, 0), caught.get(day, 0))
        for day, (events, _) in log.manifest.days.items()
    )


def _overlap(rules: Sequence[Rule], matched: Mapping[str, RuleRows]) -> Overlap:
    busy = [rule.id for rule in rules if len(matched[rule.id].full)]
    busy = sorted(sorted(busy, key=lambda rule: -len(matched[rule].full))[:OVERLAP_MAX])
    shared = tuple(
        tuple(len(np.intersect1d(matched[a].full, matched[b].full, assume_unique=True)) for b in busy)
        for a in busy
    )
    return Overlap(tuple(busy), shared)
