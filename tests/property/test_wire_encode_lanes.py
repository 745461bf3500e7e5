"""The encode kernel and the reference encoder write every decision alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from support.logs import KEY as LOG_KEY
from support.logs import rough_log, shipped_bundle, small_model
from support.mutations import Members, mutated
from support.schemas import default_schema, nested_schema
from support.wire import KEY, NESTED, TRANSACTION, outcome_of, record, slice_of

from fraudstream.bench.traffic.generate import generate
from fraudstream.bench.traffic.hostile import hostile
from fraudstream.rules.bundle import Schema
from fraudstream.stream.outcome import FLAG_NAMES, Decision, Flag, Outcome, Versions
from fraudstream.stream.pipeline import Pipeline
from fraudstream.stream.wire import encode_fast, templates
from fraudstream.stream.wire.decode import decode
from fraudstream.stream.wire.encode import MAX_DECISION_BYTES, encode
from fraudstream.stream.wire.kernel_encode import put_number
from fraudstream.stream.wire.tables import compile_schema
from fraudstream.stream.wire.types import Batch, Slice

VERSIONS = Versions("sha256:" + "5f" * 32, "sha256:" + '9"%d\\' * 12)
TEXTS = ("", "plain", 'quo"te\\', "\x00\x1f\n", "中文" * 40, "🂡" * 700, "x" * 5_000, "é" * 9_000)


def random_outcome(rng: np.random.Generator, batch: Batch, texts: Sequence[str] = TEXTS) -> Outcome:
    """Return an outcome that takes every road of the encoder, with values from the ends of their ranges."""
    n = len(batch)
    flags = rng.integers(0, 1 << len(FLAG_NAMES), n).astype(np.uint16)
    flags[rng.random(n) < 0.3] = 0
    first = np.where(flags & int(Flag.DUPLICATE), rng.choice([0, 7, 2**40], n), -1).astype(np.int64)
    reasons = {
        int(at): tuple(
            (f"rule.{rng.integers(1, 10**6)}", texts[rng.integers(len(texts))])
            for _ in range(rng.integers(1, 11))
        )
        for at in np.flatnonzero(rng.random(n) < 0.4)
    }
    return Outcome(
        decision=rng.integers(0, len(Decision), n).astype(np.uint8),
        score=rng.choice([0, 1, 9, 10, 99, 100, 999, 1000], n).astype(np.int32),
        flags=flags,
        duplicate_of=first,
        champion_micro=rng.choice([-1, 0, 1, 10, 931204, 999999, 1000000], n).astype(np.int64),
        reasons=reasons,
    )


def check(source: Slice, batch: Batch, outcome: Outcome, rng: np.random.Generator) -> None:
    """Compare all rows, and some rows in some order, in live and in shadow mode."""
    some = rng.permutation(len(source))[: rng.integers(0, len(source) + 1)].astype(np.int32)
    for rows in (None, some):
        for malformed in (Decision.ALERT, Decision.PASS):
            fast = encode(source, batch, outcome, VERSIONS, rows, malformed=malformed)
            slow = encode(source, batch, outcome, VERSIONS, rows, malformed=malformed, fast=False)
            assert fast.offset.tolist() == slow.offset.tolist()
            assert fast.buffer == slow.buffer


def members(schema: str, seed: int, count: int) -> list[bytes | None]:
    """Return good, damaged and empty records."""
    bases: list[Members] = [TRANSACTION] if schema == "default" else [NESTED]
    return [None, b"", *islice(mutated(bases, seed), count)]


SCHEMAS: dict[str, Schema] = {"default": default_schema(), "nested": nested_schema()}


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("seed", range(12))
def test_any_outcome_is_written_alike(schema: str, seed: int) -> None:
    """Random outcomes over good and damaged records."""
    rng = np.random.default_rng(seed)
    partition, first = int(rng.choice([0, 3, 1000])), int(rng.choice([0, 10**6, 2**62]))
    source = slice_of(members(schema, seed, 120), partition, first)
    batch = decode(source, compile_schema(SCHEMAS[schema]), KEY)
    check(source, batch, random_outcome(rng, batch), rng)


def test_hostile_traffic_is_written_alike() -> None:
    """The records of W5, its rejections and duplicates, under random outcomes."""
    rng = np.random.default_rng(5)
    log = list(hostile(generate(6_000, 21), 4))
    tables = compile_schema(default_schema())
    for begin in range(0, len(log), 2_000):
        source = slice_of([item.value for item in log[begin : begin + 2_000]], 0, begin)
        batch = decode(source, tables, KEY)
        check(source, batch, random_outcome(rng, batch, TEXTS[:5]), rng)


def test_the_decisions_of_a_whole_run_are_written_alike() -> None:
    """What the shipped rules decide about the rough log, reasons included."""
    pipeline, log = Pipeline(0, LOG_KEY, shipped_bundle(), small_model()), rough_log()
    with_reasons = 0
    for begin in range(0, len(log), 333):
        part = log.part(begin, min(begin + 333, len(log)))
        result = pipeline.process(part)
        slow = encode(part, result.batch, result.outcome, pipeline.versions, result.rows, fast=False)
        assert result.encoded.buffer == slow.buffer
        with_reasons += len(result.outcome.reasons)
    assert with_reasons > 10


@pytest.mark.parametrize("short", range(-3, 4))
def test_the_border_of_the_largest_decision(short: int) -> None:
    """Reasons that just fit, and those that are cut by a byte."""
    source = slice_of([record()])
    batch = decode(source, compile_schema(default_schema()), KEY)
    bare = len(encode(source, batch, outcome_of(1), VERSIONS).buffer)
    size = MAX_DECISION_BYTES - bare - len('{"code":"a","text":""}') - short
    outcome = replace(outcome_of(1), reasons={0: (("a", "x" * size),)})
    rng = np.random.default_rng(0)
    check(source, batch, outcome, rng)
    # A cut keeps a byte free for the comma behind each reason.
    longest = MAX_DECISION_BYTES - (short if short >= 0 else 1)
    assert len(encode(source, batch, outcome, VERSIONS).buffer) == longest


def test_every_length_of_number() -> None:
    """Both ends of every number of digits."""
    for digits in range(1, 20):
        for number in (10 ** (digits - 1), 10**digits - 1, 0, -1, -(10 ** (digits - 1))):
            if number > 2**63 - 1:
                continue
            out = np.zeros(32, np.uint8)
            end = put_number(out, 2, np.int64(number))
            assert out[2:end].tobytes() == str(number).encode()


@pytest.mark.parametrize("segment", ["HEAD", "NO_REASONS", "REASONS", "CHAMPION", "VERSIONS", "DUPLICATE"])
def test_a_wrong_byte_in_a_template_is_found(segment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison is able to fail."""
    made = encode_fast.templates(0, VERSIONS)
    table = made.table.copy()
    table[made.spans[0, getattr(templates, segment)] + 1] ^= 1
    table.flags.writeable = False
    monkeypatch.setattr(encode_fast, "templates", lambda *_: replace(made, table=table))
    rng = np.random.default_rng(1)
    source = slice_of(members("default", 1, 60))
    batch = decode(source, compile_schema(default_schema()), KEY)
    with pytest.raises(AssertionError):
        check(source, batch, random_outcome(rng, batch), rng)
