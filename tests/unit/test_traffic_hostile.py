"""The hostile mix: shares as promised, every rejection code, and nothing unintended."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from support.schemas import default_schema

from fraudstream.bench.traffic.generate import generate
from fraudstream.bench.traffic.hostile import Record, hostile
from fraudstream.bench.traffic.poison import POISON
from fraudstream.stream.wire.codes import REJECTION_CODES
from fraudstream.stream.wire.decode import decode
from fraudstream.stream.wire.tables import compile_schema
from fraudstream.stream.wire.types import Batch, Slice

COUNT = 25_000


@pytest.fixture(scope="module")
def records() -> list[Record]:
    """Return one hostile log."""
    return list(hostile(generate(COUNT, 21), 4))


@pytest.fixture(scope="module")
def batch(records: list[Record]) -> Batch:
    """Return the log as the wire reads it."""
    columns = list(zip(*records, strict=True))
    part = Slice.from_records(0, columns[1], columns[0], range(len(records)), columns[2])
    return decode(part, compile_schema(default_schema()), bytes(16))


def test_the_same_seed_gives_the_same_mix(records: list[Record]) -> None:
    """The mix has no luck in it."""
    assert list(hostile(generate(COUNT, 21), 4)) == records
    assert list(hostile(generate(COUNT, 21), 5)) != records


def test_shares_are_those_of_w5(records: list[Record]) -> None:
    """1 % poison, 2 % duplicates, 10 % disorder, 1 % late, 0.1 % future."""
    kinds = Counter("poison" if r.kind in REJECTION_CODES else r.kind for r in records)
    share = {kind: n / len(records) for kind, n in kinds.items()}
    assert share["poison"] == pytest.approx(0.01, rel=0.25)
    assert share["duplicate"] + share["id_reuse"] == pytest.approx(0.02, rel=0.25)
    assert share["disorder"] == pytest.approx(0.10, rel=0.1)
    assert share["late"] == pytest.approx(0.01, rel=0.25)
    assert share["future"] == pytest.approx(0.001, rel=0.6)
    assert share["id_reuse"] > 0


def test_every_poison_is_rejected_with_its_code_and_nothing_else_is(
    records: list[Record], batch: Batch
) -> None:
    """The wire's code of each record is the one that the mix promised."""
    was = {item.row: item.code for item in batch.rejected}
    promised = {row: r.kind for row, r in enumerate(records) if r.kind in REJECTION_CODES}
    assert was == promised


def test_every_code_has_a_poison() -> None:
    """No rejection code is left out of the hostile mix."""
    assert {item.code for item in POISON} == set(REJECTION_CODES)


def test_odd_records_mean_what_plain_ones_mean(records: list[Record], batch: Batch) -> None:
    """Another way of writing gives the same body hash as the plain record."""
    plain = {}
    values = [value for chunk in generate(COUNT, 21) for value in chunk.values]
    n = len(values)
    clean = decode(
        Slice.from_records(0, values, [None] * n, range(n), [-1] * n),
        compile_schema(default_schema()),
        bytes(16),
    )
    for row in range(n):
        plain[clean.text(0, row)] = tuple(clean.body_hash[:, row].tolist())
    checked = 0
    for row, at in enumerate(batch.row.tolist()):
        if records[at].kind == "odd":
            assert tuple(batch.body_hash[:, row].tolist()) == plain[batch.text(0, row)]
            checked += 1
    assert checked > 100


def test_late_and_future_records_are_outside_the_bounds(records: list[Record]) -> None:
    """Late rows are more than an hour behind their record time, future ones more than a minute ahead."""
    from datetime import datetime

    for record in records:
        if record.kind not in ("late", "future", "plain"):
            continue
        event = json.loads(record.value or b"")
        time = round(datetime.fromisoformat(event["event_time"]).timestamp() * 1000)
        if record.kind == "late":
            assert record.timestamp_ms - time > 3_600_000
        elif record.kind == "future":
            assert time - record.timestamp_ms > 60_000
        else:
            assert 0 <= record.timestamp_ms - time <= 200


def test_duplicates_come_after_their_first_at_many_distances(records: list[Record]) -> None:
    """A duplicate repeats an earlier value; near and far ones both occur."""
    first: dict[bytes | None, int] = {}
    distances = []
    for row, record in enumerate(records):
        if record.kind == "duplicate":
            distances.append(row - first[record.value])
        first.setdefault(record.value, row)
    assert min(distances) <= 3
    assert max(distances) > 2000
