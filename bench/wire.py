"""Suite `wire`: bytes to columns and back, step by step and by batch size, beside libraries and clients.

CPU time of the process, all ways in turn in each round, so that a ratio holds whatever else the machine does.
The JSON libraries make or read one Python object a record and nothing else: no checks, columns or hashes.
"""

from __future__ import annotations

import importlib
import json
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition
from rich.progress import Progress

from fraudstream.bench import wire_broker
from fraudstream.bench.report import Table
from fraudstream.bench.wire_records import (
    ACCOUNT,
    FULL,
    KEY,
    VERSIONS,
    outcome_of,
    records_of,
    tables_of_shipped_rules,
)
from fraudstream.stream.localkafka import LocalKafka
from fraudstream.stream.wire.batches_in import take
from fraudstream.stream.wire.batches_out import DecisionRecords, sealed
from fraudstream.stream.wire.decode import decode
from fraudstream.stream.wire.encode import Encoder, encode
from fraudstream.stream.wire.tables import SchemaTables
from fraudstream.stream.wire.types import Encoded, Slice

FEWEST_CALLS = 3


class Way(NamedTuple):
    """One way to do a step for a batch."""

    step: str
    name: str
    """Empty: this project's."""
    run: Callable[[], object]


def _by_aiokafka(records: DecisionRecords) -> bytes:
    builder = BatchBuilder(1 << 24, 0, is_transactional=False)
    for key, value, headers in records:
        builder.append(timestamp=None, key=key, value=value, headers=headers)
    return bytes(builder._build())  # noqa: SLF001


def _read_by_aiokafka(data: bytes) -> list[object]:
    tp = TopicPartition("t", 0)
    return list(PartitionRecords(tp, MemoryRecords(data), None, 0, None, None, True, 1))


def _each(function: Callable[[Any], object], items: Sequence[object]) -> Callable[[], None]:
    def run() -> None:
        for item in items:
            function(item)

    return run


def _libraries(values: Sequence[bytes], decisions: Encoded) -> list[Way]:
    """Return what JSON libraries do with one record after the other."""
    written = [orjson.loads(decisions.record(row)) for row in range(len(decisions))]
    ways = [
        Way("decode", "orjson.loads to a dict", _each(orjson.loads, values)),
        Way("decode", "json.loads to a dict", _each(json.loads, values)),
        Way("encode", "orjson.dumps of a dict", _each(orjson.dumps, written)),
    ]
    try:
        msgspec = importlib.import_module("msgspec")
    except ImportError:
        return ways
    members = [(name, type(value) | None, None) for name, value in json.loads(values[0]).items()]
    struct = msgspec.defstruct("Transaction", members)
    reader = msgspec.json.Decoder(struct).decode
    decision = msgspec.defstruct("Decision", [(name, Any) for name in written[0]])
    structs = [decision(**item) for item in written]
    return [
        Way("decode", "msgspec to a Struct", _each(reader, values)),
        *ways,
        Way("encode", "msgspec of a Struct", _each(msgspec.json.Encoder().encode, structs)),
    ]


def ways_of(values: Sequence[bytes], tables: SchemaTables) -> list[Way]:
    """Return every way of every step for one batch of records."""
    size = len(values)
    part = Slice.from_records(0, values, [ACCOUNT] * size, range(size), [-1] * size)
    ends = np.concatenate([[0], np.cumsum(part.size)])
    (body,) = records_of(part, Encoded(b"".join(values), ends)).bodies(1 << 24, 0)
    fetched = bytes(sealed(body, -1, -1, 0))
    batch, outcome, encoder = decode(part, tables, KEY), outcome_of(size), Encoder(tables.schema, 0, VERSIONS)
    decisions = encoder.encode(part, batch, outcome)
    records = records_of(part, decisions)

    def read() -> Slice:
        return take(0, fetched, 0, None, lambda _, packed: packed, committed=True).slice

    def build(decided: DecisionRecords = records) -> list[bytearray]:
        return [sealed(each, 1, 0, 0) for each in decided.bodies(1 << 24, 0)]

    def everything() -> None:
        found = read()
        build(records_of(found, encoder.encode(found, decode(found, tables, KEY), outcome)))

    return [
        Way("take", "", read),
        Way("decode", "", lambda: decode(part, tables, KEY)),
        Way("encode", "", lambda: encoder.encode(part, batch, outcome)),
        Way("build", "", build),
        Way("all four", "", everything),
        Way("take", "aiokafka, a record object each", lambda: _read_by_aiokafka(fetched)),
        Way("decode", "the exact lane", lambda: decode(part, tables, KEY, fast=False)),
        *_libraries(values, decisions),
        Way("encode", "the reference", lambda: encode(part, batch, outcome, VERSIONS, fast=False)),
        Way("build", "aiokafka, append by append", lambda: _by_aiokafka(records)),
    ]


def _cpu_us(run: Callable[[], object], times: int) -> float:
    begin = time.process_time()
    for _ in range(times):
        run()
    return (time.process_time() - begin) * 1e6


def _in_process(count: int, rounds: int, sizes: Sequence[int], progress: Progress) -> wire_broker.Found:
    tables = tables_of_shipped_rules()
    task = progress.add_task("steps", total=len(sizes) * (rounds + 1))
    found: wire_broker.Found = {}
    for size in sizes:
        ways = ways_of([FULL] * size, tables)
        times = max(FEWEST_CALLS, count // size)
        for way in ways:
            way.run()
        progress.advance(task)
        for _ in range(rounds):
            for way in ways:
                # The slow ways of large batches need no more calls to be told from the fast ones.
                few = times if size == 1 or not way.name else max(FEWEST_CALLS, times // 10)
                us = _cpu_us(way.run, few) / few / size
                found.setdefault((way.step, way.name), {}).setdefault(size, []).append(us)
            progress.advance(task)
    return found


def _table(title: str, note: str, found: wire_broker.Found, sizes: Sequence[int]) -> Table:
    table = Table(
        title,
        ["step", "way", *(f"{size:,} us" for size in sizes), *(f"{size:,} times ours" for size in sizes)],
        note=note,
    )
    for (step, name), by_size in found.items():
        mine = [statistics.median(by_size[size]) for size in sizes]
        ours = [statistics.median(found[step, ""][size]) for size in sizes]
        ratios: list[object] = [a / b if b else "-" for a, b in zip(mine, ours, strict=True)]
        table.rows.append([step, name or "fraudstream", *mine, *(ratios if name else ["-"] * len(sizes))])
    return table


def _data(found: wire_broker.Found) -> list[dict[str, object]]:
    return [
        {"step": step, "way": name or "fraudstream", "us": {str(size): us for size, us in by_size.items()}}
        for (step, name), by_size in found.items()
    ]


def run(count: int, rounds: int, sizes: Sequence[int]) -> tuple[list[Table], dict[str, object]]:
    """Time ``count`` records a round for each step, way and batch size, then through a real broker."""
    with Progress(transient=True) as progress:
        steps = _in_process(count, rounds, sizes, progress)
        with LocalKafka() as kafka:
            broker = wire_broker.measure(kafka.bootstrap, count, rounds, sizes, progress)
    size = f"records of {len(FULL)} B with all members of the contract's example"
    tables = [
        _table(
            "Steps of the wire",
            f"CPU microseconds per record by batch size, {size}; medians of {rounds} rounds. `take` is from "
            "the bytes of a fetch to a slice with its checksum checked, `build` to the bytes of a batch that "
            "is sent. Libraries make or read one Python object a record, without checks, columns or hashes.",
            steps,
            sizes,
        ),
        _table(
            "Through a real broker",
            f"CPU microseconds per record of the client's process, all its threads, {size}, in batches of so "
            "many records, one of which each fetch brings. `fetch` ends with a slice, or with the record "
            "objects and their value, key, offset and timestamp; `whole wire` goes on with decode, encode, "
            "build and send until the broker (acks=all) has it.",
            broker,
            sizes,
        ),
    ]
    return tables, {"steps": _data(steps), "broker": _data(broker)}
