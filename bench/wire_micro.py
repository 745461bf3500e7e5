"""Decoding alone, quickly: microseconds per record of the two lanes on records of several kinds.

Run ``python -m fraudstream.bench.wire_micro --help``; the suite `wire` has the other steps. The JSON
libraries make Python objects and nothing else: no checks, columns or hashes.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import time
from collections.abc import Callable, Sequence

from fraudstream.bench.traffic.generate import generate
from fraudstream.bench.wire_records import FULL, KEY, tables_of_shipped_rules
from fraudstream.stream.wire.decode import decode
from fraudstream.stream.wire.types import Slice


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
    """Time steps, lanes and libraries over the same records."""
    parser = argparse.ArgumentParser(
        prog="wire_micro", description="time the wire alone", epilog="example: wire_micro --rounds 9"
    )
    parser.add_argument("--count", type=int, default=20_000, help="records per timing")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 64, 1_000])
    arguments = parser.parse_args()
    tables = tables_of_shipped_rules()
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
