"""Decode alone, quickly: microseconds per record of both lanes beside JSON libraries.

Run ``python -m fraudstream.bench.wire_micro --help``. The libraries make Python objects and nothing else:
no checks, columns or hashes.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import time
from collections.abc import Callable, Sequence

from fraudstream.bench.traffic.generate import generate
from fraudstream.rules.compiler.compile import compile_sources
from fraudstream.stream.shipped import read_rules, shipped_rules
from fraudstream.stream.wire.decode import decode
from fraudstream.stream.wire.tables import compile_schema
from fraudstream.stream.wire.types import Slice

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


def main() -> None:
    """Time both lanes and the libraries over the same records."""
    parser = argparse.ArgumentParser(
        prog="wire_micro", description="time decode alone", epilog="example: wire_micro --rounds 9"
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


if __name__ == "__main__":
    main()
