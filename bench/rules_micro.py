"""Rules alone: microseconds a transaction by number of rules and batch, and the time to compile them.

The rules are W2's (comparisons of its 1,900 indicators, three or so a rule) and more of the same kind; the
columns are made up: every row lacks the indicators of some kinds of key, few comparisons hold. Processor time
of one core. Beside each figure stands a yardstick of the same run, NumPy reading the same matrix once: on a
busy machine the ratio says more.
"""

from __future__ import annotations

import argparse
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from fraudstream.bench import report
from fraudstream.bench.report import Table
from fraudstream.bench.workloads.seed_scale import w2_files
from fraudstream.rules.bundle import Bundle
from fraudstream.rules.compiler.compile import compile_sources
from fraudstream.rules.compiler.packed import pack, unpack
from fraudstream.rules.compiler.program import Inputs

KEY = bytes(range(16))
PRESENT = 0.4
"""Share of kinds of key that a row has: what the shipped traffic gives W2."""


def compiled(rules: int) -> tuple[Bundle, float]:
    """Compile so many rules from YAML; return the bundle and the seconds of processor time."""
    files = w2_files(number_of_rules=rules)
    begin = time.process_time()
    found = compile_sources(files)
    seconds = time.process_time() - begin
    assert found.bundle is not None
    return found.bundle, seconds


def read_again(bundle: Bundle, rounds: int) -> float:
    """Return the median of the milliseconds of processor time that its compiled form takes."""
    data = pack(bundle)
    median_us, _ = timed(lambda: unpack(data, bundle.archive), rounds, 1)
    return median_us / 1e3


def made_inputs(bundle: Bundle, rows: int, seed: int = 1) -> Inputs:
    """Return columns of ``rows`` transactions."""
    rng = np.random.default_rng(seed)
    words = bundle.features.words
    value, state = np.zeros((rows, words), np.int64), np.zeros((rows, words), np.uint8)
    there: dict[tuple[str, ...], np.ndarray] = {}
    for feature in bundle.features.features:
        present = there.setdefault(feature.key, rng.random(rows) < PRESENT)
        for slot in feature.outputs:
            numbers = rng.integers(0, 8, rows)
            value[:, slot.column] = numbers.astype(float).view(np.int64) if slot.repr == "f" else numbers
            state[:, slot.column] = present
    fields = bundle.schema.words
    spans = np.zeros((fields, rows), np.int32)
    return Inputs(
        np.zeros((fields, rows), np.int64),
        np.ones((fields, rows), np.uint8),
        spans,
        spans,
        np.zeros(64, np.uint8),
        value,
        state,
        np.zeros((1, rows), np.int64),
        np.zeros((1, rows), np.uint8),
    )


def cut(whole: Inputs, begin: int, end: int) -> Inputs:
    """Return some rows as columns of their own."""
    rows = {"feature_value", "feature_state"}
    parts = {
        name: part if name == "buffer" else part[begin:end] if name in rows else part[:, begin:end].copy()
        for name, part in whole._asdict().items()
    }
    return Inputs(**parts)


def timed(run: Callable[[], object], rounds: int, transactions: int) -> tuple[float, float]:
    """Return median and minimum of microseconds a transaction."""
    run()
    found = []
    for _ in range(rounds):
        begin = time.thread_time_ns()
        run()
        found.append((time.thread_time_ns() - begin) / 1e3 / transactions)
    return statistics.median(found), min(found)


def measure(rules: int, batch: int, bundle: Bundle, count: int, rounds: int) -> list[object]:
    """Return one row of the table."""
    bound = bundle.program.bind(KEY)
    whole = made_inputs(bundle, count)
    parts = [cut(whole, begin, begin + batch) for begin in range(0, count - batch + 1, batch)]

    def evaluate() -> None:
        for part in parts:
            bound.evaluate(part, batch)

    def read() -> None:
        for part in parts:
            part.feature_value.sum()

    transactions = batch * len(parts)
    median, least = timed(evaluate, rounds, transactions)
    yardstick, _ = timed(read, rounds, transactions)
    atoms = bundle.program.nodes
    return [rules, atoms, batch, median, least, yardstick, median / yardstick]


def main(argv: list[str] | None = None) -> int:
    """Measure and write a report."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(
        prog="python -m fraudstream.bench.rules_micro",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python -m fraudstream.bench.rules_micro --rules 2000 5000 --batch 64 1000",
    )
    parser.add_argument("--rules", type=int, nargs="+", default=[200, 1_000, 2_000, 5_000])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 64, 1_000])
    parser.add_argument("--count", type=int, default=4_000, help="transactions timed at once")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--reports", type=Path, default=report.REPORTS, help="where the report goes")
    args = parser.parse_args(argv)
    speed = Table(
        "Evaluation",
        ["rules", "conditions", "batch", "us", "min us", "one read of the matrix, us", "ratio"],
        note="Microseconds a transaction, median and minimum of the rounds.",
    )
    making = Table(
        "Compilation",
        ["rules", "from YAML, s", "from the compiled form, ms"],
        note="Processor time, checks included.",
    )
    data: Mapping[str, list[list[object]]] = {"speed": [], "compile": []}
    for rules in args.rules:
        bundle, seconds = compiled(rules)
        data["compile"].append([rules, seconds, read_again(bundle, args.rounds)])
        for batch in args.batch:
            data["speed"].append(measure(rules, batch, bundle, args.count, args.rounds))
            print(speed.columns, data["speed"][-1], file=sys.stderr)
    speed.rows, making.rows = list(data["speed"]), list(data["compile"])
    command = shlex.join(["python", "-m", "fraudstream.bench.rules_micro", *argv])
    parameters = {"count": args.count, "rounds": args.rounds, "present": PRESENT}
    _, markdown = report.write("rules", command, parameters, [speed, making], data, args.reports)
    print(markdown.read_text("utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
