"""The wire alone, quickly: microseconds per record of its steps, beside libraries and the slow ways.

Run ``python -m fraudstream.bench.wire_micro --help``. The JSON libraries make Python objects and nothing
else: no checks, columns or hashes. Fetching and sending are measured without a broker's requests.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition

from fraudstream.bench.traffic.generate import generate
from fraudstream.rules.compiler.compile import compile_sources
from fraudstream.stream.outcome import Outcome, Versions
from fraudstream.stream.shipped import read_rules, shipped_rules
from fraudstream.stream.wire.batches_in import take
from fraudstream.stream.wire.batches_out import DecisionRecords, sealed
from fraudstream.stream.wire.decode import decode
from fraudstream.stream.wire.encode import encode
from fraudstream.stream.wire.tables import SchemaTables, compile_schema
from fraudstream.stream.wire.types import Encoded, Slice

FULL = (
    b'{"transaction_id":"T2026112400000001","event_type":"payment","event_time":"2026-11-24T02:40:11.123Z",'
    b'"account_id":"6222020200112233","customer_id":"C10023","card_id":null,"direction":"out",'
    b'"kind":"transfer","channel":"mobile","amount":"1250.00","currency":"CNY",'
    b'"counterparty_id":"6217000010001234","counterparty_bank":"ICBC","merchant_id":null,"mcc":null,'
    b'"device_id":"d-8f31","ip":"203.0.113.9","country":"CN","city":"Chengdu","lat":30.57,"lon":104.06,'
    b'"balance_before":"8400.10","account_opened":"2019-03-02","segment":"retail","original_id":null,'
    b'"transfer_id":null,"status":null}'
)
"""The contract's example with all of its members."""
KEY = bytes(range(16))


def _traffic(count: int) -> list[bytes]:
    return [value for chunk in generate(count, 1) for value in chunk.values]


def _escaped(count: int) -> list[bytes]:
    return [FULL.replace(b"Chengdu", b"\\u6210\\u90fd")] * count


def _slices(values: Sequence[bytes], size: int) -> list[Slice]:
    parts = [values[begin : begin + size] for begin in range(0, len(values), size)]
    return [
        Slice.from_records(0, part, [None] * len(part), range(len(part)), [-1] * len(part)) for part in parts
    ]


def _timed(run: Callable[[], object], records: int, rounds: int) -> str:
    run()
    results = []
    for _ in range(rounds):
        begin = time.process_time()
        run()
        results.append((time.process_time() - begin) / records * 1e6)
    return f"{statistics.median(results):8.2f} ({min(results):.2f})"


def _loaders() -> dict[str, Callable[[bytes], object]]:
    """Return the JSON libraries that are installed."""
    found: dict[str, Callable[[bytes], object]] = {"json": json.loads}
    for name, function in (("orjson", "loads"), ("msgspec.json", "decode")):
        try:
            found[name] = getattr(importlib.import_module(name), function)
        except ImportError:
            continue
    return found


def _outcome(count: int) -> Outcome:
    """Return decisions that pass with a champion's score and no reasons."""
    micro = np.arange(count, dtype=np.int64) * 7_919 % 1_000_001
    return Outcome(
        decision=np.zeros(count, np.uint8),
        score=(micro // 1_000).astype(np.int32),
        flags=np.zeros(count, np.uint16),
        duplicate_of=np.full(count, -1, np.int64),
        champion_micro=micro,
        reasons={},
    )


def _by_aiokafka(records: DecisionRecords) -> bytes:
    builder = BatchBuilder(1 << 24, 0, is_transactional=False)
    for key, value, headers in records:
        builder.append(timestamp=None, key=key, value=value, headers=headers)
    return bytes(builder._build())  # noqa: SLF001


def _read_by_aiokafka(data: bytes) -> list[object]:
    tp = TopicPartition("t", 0)
    return list(PartitionRecords(tp, MemoryRecords(data), None, 0, None, None, True, 1))


def _road(values: Sequence[bytes], size: int, tables: SchemaTables) -> dict[str, Callable[[], object]]:
    """Return the steps of the wire for one batch, and the slow ways of the same bytes."""
    part = Slice.from_records(0, values[:size], [b"6222020200112233"] * size, range(size), [-1] * size)
    rows, versions = np.arange(size, dtype=np.int32), Versions("sha256:" + "5f" * 32, "sha256:" + "90" * 32)
    nothing, late = np.zeros(0, np.uint8), np.full(size, -1, np.int64)
    ends = np.concatenate([[0], np.cumsum(part.size)])
    source = Encoded(b"".join(values[:size]), ends)
    (body,) = DecisionRecords(part, rows, source, b"9", late, nothing, 0, size).bodies(1 << 24, 0)
    fetched = bytes(sealed(body, -1, -1, 0))
    batch, outcome = decode(part, tables, KEY), _outcome(size)
    decisions = DecisionRecords(
        part, rows, encode(part, batch, outcome, versions), b"9", late, nothing, 0, size
    )

    def build() -> list[bytearray]:
        return [sealed(each, 1, 0, 0) for each in decisions.bodies(1 << 24, 0)]

    def everything() -> None:
        found = take(0, fetched, 0, None, lambda _, packed: packed, committed=True).slice
        read = decode(found, tables, KEY)
        written = encode(found, read, outcome, versions)
        for each in DecisionRecords(found, rows, written, b"9", late, nothing, 0, size).bodies(1 << 24, 0):
            sealed(each, 1, 0, 0)

    return {
        "take": lambda: take(0, fetched, 0, None, lambda _, packed: packed, committed=True),
        "decode": lambda: decode(part, tables, KEY),
        "encode": lambda: encode(part, batch, outcome, versions),
        "build": build,
        "all four": everything,
        "take: aiokafka": lambda: _read_by_aiokafka(fetched),
        "encode: by row": lambda: encode(part, batch, outcome, versions, fast=False),
        "build: aiokafka": lambda: _by_aiokafka(decisions),
    }


def main() -> None:
    """Time steps, lanes and libraries over the same records."""
    parser = argparse.ArgumentParser(
        prog="wire_micro", description="time the wire alone", epilog="example: wire_micro --rounds 9"
    )
    parser.add_argument("--count", type=int, default=20_000, help="records per timing")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 64, 1_000])
    arguments = parser.parse_args()
    bundle = compile_sources(read_rules(shipped_rules())).bundle
    assert bundle is not None
    tables = compile_schema(bundle.schema)
    kinds = {
        "full": [FULL] * arguments.count,
        "escaped": _escaped(arguments.count),
        "traffic": _traffic(arguments.count),
    }
    print(f"us per record, median (min) of {arguments.rounds}")
    for kind, values in kinds.items():
        print(f"{kind}: {sum(map(len, values)) / len(values):.0f} bytes a record")
        for size in arguments.batch:
            slices = _slices(values[: min(len(values), size * 2_000)], size)
            for lane, fast, share in (("fast", True, 1), ("exact", False, 10)):
                some = slices[: max(1, len(slices) // share)]

                def run(some: list[Slice] = some, fast: bool = fast) -> None:
                    for part in some:
                        decode(part, tables, KEY, fast=fast)

                print(f"  {lane:>14} {size:>6} {_timed(run, sum(map(len, some)), arguments.rounds)}")
        for name, load in _loaders().items():

            def objects(load: Callable[[bytes], object] = load, values: Sequence[bytes] = values) -> None:
                for value in values:
                    load(value)

            print(f"  {name:>14} {'':>6} {_timed(objects, len(values), arguments.rounds)}")
    print("the wire's steps, records `full`")
    for size in arguments.batch:
        for name, step in _road(kinds["full"], size, tables).items():
            times = max(1, min(2_000, arguments.count // size))

            def repeated(step: Callable[[], object] = step, times: int = times) -> None:
                for _ in range(times):
                    step()

            print(f"  {name:>16} {size:>6} {_timed(repeated, size * times, arguments.rounds)}")


if __name__ == "__main__":
    main()
