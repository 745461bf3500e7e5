"""Logs in files and what the pipeline itself says about them, for tests of backtests."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraudstream.stream.backtest.build import HASH_KEY, Source, feature_log
from fraudstream.stream.backtest.candidate import Candidate, load_candidate
from fraudstream.stream.backtest.decisions import Decider
from fraudstream.stream.backtest.evaluate import evaluate
from fraudstream.stream.backtest.reader import FeatureLog
from fraudstream.stream.enrichment.store import Enrichment
from fraudstream.stream.envelope import Record, write_envelope
from fraudstream.stream.outcome import Flag
from fraudstream.stream.pipeline import Pipeline
from fraudstream.stream.wire.types import Slice


class Replayed(NamedTuple):
    """What a full replay decides, by offset; unreadable records left out."""

    offset: NDArray[np.int64]
    decision: NDArray[np.uint8]
    score: NDArray[np.int32]
    decided: NDArray[np.bool_]
    """Not a repeat."""
    true: dict[str, int]
    """Rule -> matches."""
    unknown: dict[str, int]
    evaluated: dict[str, int]
    limited: dict[str, int]
    """Rule -> blocks that its limit made alerts."""


def write_log(path: Path, log: Slice) -> Source:
    """Write a slice as envelopes."""
    with path.open("wb") as file:
        for row in range(len(log)):
            record = Record(
                log.partition, int(log.offset[row]), int(log.time_ms[row]), log.key(row), log.value(row)
            )
            file.write(write_envelope(record))
    return Source(path, "envelope")


def candidate_of(directory: Path, model: str | None = None) -> Candidate:
    """Compile a rules directory."""
    found = load_candidate(directory, model)
    assert found is not None
    return found


def replayed(candidate: Candidate, log: Slice, size: int = 1_000) -> Replayed:
    """Decide a log as `replay` does, with the bundle as the compiler made it."""
    bundle = candidate.compiled.bundle
    assert bundle is not None
    enrichment = Enrichment(bundle, candidate.model, HASH_KEY, candidate.tables)
    pipeline = Pipeline(log.partition, HASH_KEY, bundle, candidate.model, enrichment=enrichment)
    results = [pipeline.process(log.part(at, at + size)) for at in range(0, len(log), size)]
    outcomes = [result.outcome for result in results]
    total = {
        name: {
            rule.id: sum(int(getattr(result.counts.rules, name)[at]) for result in results)
            for at, rule in enumerate(bundle.rules)
        }
        for name in ("true", "unknown", "evaluated", "limited")
    }
    flags = np.concatenate([outcome.flags for outcome in outcomes])
    return Replayed(
        np.concatenate([result.batch.offset for result in results]),
        np.concatenate([outcome.decision for outcome in outcomes]),
        np.concatenate([outcome.score for outcome in outcomes]),
        flags & int(Flag.DUPLICATE) == 0,
        **total,
    )


def run_stored(root: Path, source: Source, candidate: Candidate, *, simulated: bool = False):
    """Return (feature log, decider) of a candidate over the stored rows."""
    log = FeatureLog(feature_log(root, source, candidate, simulated=simulated))
    rules = [rule for rule in candidate.compiled.rules if rule.evaluated]
    matched = evaluate(log, rules)
    return log, matched, Decider(log, candidate.bundle, matched, rules)
