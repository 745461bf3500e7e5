"""Hostile generated logs and pipelines over the shipped rules, for tests of the core."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from fraudstream.bench.traffic.generate import generate
from fraudstream.bench.traffic.hostile import Mix, hostile
from fraudstream.models.file import load_model
from fraudstream.models.inputs import Input
from fraudstream.models.linear import dump_model
from fraudstream.models.model import Model
from fraudstream.rules.bundle import Bundle
from fraudstream.rules.compiler.compile import compile_sources, read_directory
from fraudstream.stream.pipeline import Known, Pipeline, Result
from fraudstream.stream.shipped import shipped_rules
from fraudstream.stream.wire.types import Slice

KEY = bytes(range(16))

ROUGH = Mix(poison=0.03, duplicates=0.05, disorder=0.2, late=0.02, future=0.01)
"""Far worse than any bank's day: every road is taken within a few thousand records."""


@cache
def shipped_bundle() -> Bundle:
    """Return the shipped rules, compiled."""
    bundle = compile_sources(read_directory(shipped_rules())).bundle
    assert bundle is not None
    return bundle


@cache
def small_model(bias: float = -1.0) -> Model:
    """Return a champion with made-up weights over a few features, so that its score moves."""
    inputs = [
        Input("txn.amount", "log1p"),
        Input("account.sent_count_1h"),
        Input("account.idle", "log1p"),
        Input("txn.channel", "flag", "mobile"),
    ]
    data = dump_model(
        ["payment", "card_auth"],
        inputs,
        [9.0, 1.0, 14.0, 0.5],
        [4.0, 2.0, 9.0, 0.25],
        [0.9, 1.5, -0.5, 0.3],
        bias,
        {},
    )
    return load_model(data)


@cache
def rough_log(count: int = 3_000, seed: int = 7) -> Slice:
    """Return about ``count`` records of generated traffic with the rough mix, as one slice of partition 0."""
    records = list(hostile(generate(count, seed, accounts=100), seed, ROUGH))
    return Slice.from_records(
        0,
        [record.value for record in records],
        [record.key for record in records],
        range(len(records)),
        [record.timestamp_ms for record in records],
    )


class Run(NamedTuple):
    """What a pipeline said about a log."""

    decisions: dict[int, bytes]
    """By offset."""
    alerts: dict[int, bytes]
    dead_letters: dict[int, str]
    would_be: dict[int, int]


def run_log(pipeline: Pipeline, log: Slice, borders: list[int], known: Known | None = None) -> Run:
    """Feed a log in parts that end at ``borders``."""
    run = Run({}, {}, {}, {})
    begin = 0
    for end in [*borders, len(log)]:
        add_result(run, pipeline.process(log.part(begin, end), known))
        begin = end
    return run


def add_result(run: Run, result: Result) -> None:
    """Add what a slice gave to a run."""
    offsets = result.slice.offset.tolist()
    for at, row in enumerate(result.rows.tolist()):
        run.decisions[offsets[row]] = result.encoded.record(at)
    run.alerts.update({offsets[row]: alert for row, alert in result.alerts})
    run.dead_letters.update({offsets[item.row]: item.code for item in result.dead_letters})
    for row, decision in zip(result.batch.row.tolist(), result.would_be.tolist(), strict=True):
        run.would_be[offsets[row]] = decision


def known_from(run: Run, below: int) -> Known:
    """Return the decisions of a run below an offset, as an earlier owner's."""
    import orjson

    offsets = sorted(offset for offset in run.decisions if offset < below)
    bodies = [orjson.loads(run.decisions[offset]) for offset in offsets]
    strength = {"pass": 0, "alert": 1, "block": 2}
    return Known(
        np.array(offsets, np.int64),
        np.array([strength[body["decision"]] for body in bodies], np.uint8),
        np.array([body["score"] for body in bodies], np.int32),
    )
