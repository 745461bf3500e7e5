"""Embedded rule tests with events, run through the whole pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from fraudstream.models.model import Model
from fraudstream.rules.bundle import Bundle
from fraudstream.rules.compiler.casefile import HASH_KEY, HistoryOutcome, HistoryRunner
from fraudstream.stream.enrichment.bound import TableVersion
from fraudstream.stream.enrichment.content import Content
from fraudstream.stream.enrichment.store import Enrichment
from fraudstream.stream.outcome import Decision
from fraudstream.stream.pipeline import Pipeline
from fraudstream.stream.wire.types import Slice


def make_history_runner(
    bundle: Bundle, model: Model | None, tables: Mapping[str, Content] | None = None
) -> HistoryRunner:
    """Return a runner that decides the records of one test on partition 0 and answers for the last.

    ``tables``: content of the reference tables by name; tables without it have no rows.
    """

    @cache
    def enrichment() -> Enrichment:
        versions = {name: TableVersion(name, content) for name, content in (tables or {}).items()}
        return Enrichment(bundle, model, HASH_KEY, versions)

    def run(records: Sequence[tuple[int, bytes]]) -> HistoryOutcome:
        pipeline = Pipeline(0, HASH_KEY, bundle, model, enrichment=enrichment())
        times = [time_ms for time_ms, _ in records]
        values = [value for _, value in records]
        part = Slice.from_records(0, values, [None] * len(values), range(len(values)), times)
        if len(values) > 1:
            pipeline.process(part.part(0, len(values) - 1))
        result = pipeline.process(part.part(len(values) - 1, len(values)))
        counts = result.counts.rules
        match = {
            rule.id: "true" if counts.true[at] else "unknown" if counts.unknown[at] else "false"
            for at, rule in enumerate(bundle.rules)
        }
        if not len(result.batch):
            return HistoryOutcome(match, "alert", 0, (("malformed", result.dead_letters[0].code),))
        points = {rule.id: int(counts.points[at]) for at, rule in enumerate(bundle.rules)}
        outcome = result.outcome
        return HistoryOutcome(
            match,
            Decision(int(outcome.decision[0])).name.lower(),
            int(outcome.score[0]),
            tuple((str(code), str(text)) for code, text in outcome.reasons.get(0, ())),
            points,
        )

    return run
