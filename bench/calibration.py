"""How good the shipped rules are: decisions on generated traffic against its labels.

``python -m fraudstream.bench.calibration --seeds 101 102`` runs the real pipeline and prints the shares of
blocked and alerted events, precision, recall per fraud pattern, innocent look-alikes that were stopped, and
who stopped whom by reason code. Nothing feeds back: a blocked attempt still moves the generator's money.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from fraudstream.bench import report
from fraudstream.bench.traffic.fraud import PATTERNS
from fraudstream.bench.traffic.generate import generate
from fraudstream.bench.traffic.records import Chunk
from fraudstream.models.file import load_model
from fraudstream.models.model import Model
from fraudstream.rules.bundle import Bundle
from fraudstream.rules.compiler.compile import compile_sources, read_directory
from fraudstream.stream.outcome import Decision
from fraudstream.stream.pipeline import Pipeline
from fraudstream.stream.shipped import champion_file, shipped_rules
from fraudstream.stream.wire.types import Slice

BLOCKED = (0.0025, 0.0045)
"""The reference bank blocks 0.335 % of its events."""
ALERTED = (0.0002, 0.0008)
"""It alerts on 0.041 %."""
RECALL = 0.5
"""Least share of each pattern's attempts that is blocked or alerted."""
ORDINARY = "ordinary life"


@dataclass(slots=True)
class Calibration:
    """Decisions of one seed against its labels, counted."""

    seed: int
    events: int = 0
    decisions: Counter[str] = field(default_factory=Counter)
    fraud: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """Pattern -> decision -> events."""
    innocent: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """Look-alike, or ordinary life (stopped events only), -> decision -> events."""
    reasons: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """Reason code -> fraud or innocent -> events that name it."""

    @property
    def blocked(self) -> float:
        """Return the share of events that were blocked."""
        return self.decisions["block"] / max(1, self.events)

    @property
    def alerted(self) -> float:
        """Return the share of events that were alerted and not blocked."""
        return self.decisions["alert"] / max(1, self.events)

    def precision(self, decision: str) -> float:
        """Return the share of fraud among the events with this decision."""
        hits = sum(counts[decision] for counts in self.fraud.values())
        return hits / max(1, self.decisions[decision])

    def recall(self, pattern: str) -> float:
        """Return the share of a pattern's attempts that were blocked or alerted."""
        counts = self.fraud[pattern]
        return (counts["block"] + counts["alert"]) / max(1, counts.total())

    def complaints(self) -> list[str]:
        """Return what misses its bounds."""
        found = [
            f"seed {self.seed}: {name} {share:.4%}, expected {low:.2%} to {high:.2%}"
            for name, share, (low, high) in (
                ("blocked", self.blocked, BLOCKED),
                ("alerted", self.alerted, ALERTED),
            )
            if not low <= share <= high
        ]
        for pattern in PATTERNS:
            if self.recall(pattern.name) < RECALL:
                was = self.recall(pattern.name)
                found.append(
                    f"seed {self.seed}: recall of {pattern.name} {was:.3f}, expected {RECALL} or more"
                )
        return found

    def as_json(self) -> dict[str, Any]:
        """Return the figures as a JSON object."""
        frauds = sum(counts.total() for counts in self.fraud.values())
        return {
            "seed": self.seed,
            "events": self.events,
            "fraud_share": frauds / max(1, self.events),
            "blocked_share": self.blocked,
            "alerted_share": self.alerted,
            "block_precision": self.precision("block"),
            "alert_precision": self.precision("alert"),
            "recall": {pattern.name: self.recall(pattern.name) for pattern in PATTERNS},
            "fraud": {name: dict(counts) for name, counts in sorted(self.fraud.items())},
            "innocent": {name: dict(counts) for name, counts in sorted(self.innocent.items())},
            "reasons": {code: dict(counts) for code, counts in sorted(self.reasons.items())},
        }


def calibrate(
    seed: int,
    count: int,
    bundle: Bundle,
    model: Model | None,
    advance: Callable[[int], object] = lambda _: None,
) -> Calibration:
    """Decide ``count`` generated events of a seed and count decisions against labels."""
    pipeline = Pipeline(0, bytes(16), bundle, model)
    found = Calibration(seed)
    for chunk in generate(count, seed):
        _judge(found, pipeline, chunk)
        advance(len(chunk))
    return found


def _judge(found: Calibration, pipeline: Pipeline, chunk: Chunk) -> None:
    offsets = range(chunk.offset, chunk.offset + len(chunk))
    result = pipeline.process(
        Slice.from_records(0, chunk.values, chunk.keys, offsets, chunk.times_ms.tolist())
    )
    labels = {label.offset: label for label in chunk.labels}
    found.events += len(chunk)
    batch, outcome = result.batch, result.outcome
    for row, (offset, code) in enumerate(zip(batch.offset.tolist(), outcome.decision.tolist(), strict=True)):
        decision = Decision(code).name.lower()
        found.decisions[decision] += 1
        label = labels.get(offset)
        if label is not None:
            (found.fraud if label.fraud else found.innocent)[label.pattern][decision] += 1
        elif decision != "pass":
            found.innocent[ORDINARY][decision] += 1
        if decision != "pass":
            side = "fraud" if label is not None and label.fraud else "innocent"
            for reason, _ in outcome.reasons.get(row, ()):
                found.reasons[reason][side] += 1


def table_of(found: Sequence[Calibration]) -> report.Table:
    """Return one row per figure, one column per seed."""
    rows: list[tuple[str, Callable[[Calibration], str]]] = [
        ("events", lambda c: f"{c.events:,}"),
        ("blocked", lambda c: f"{c.blocked:.3%}"),
        ("alerted", lambda c: f"{c.alerted:.3%}"),
        ("precision of blocks", lambda c: f"{c.precision('block'):.3f}"),
        ("precision of alerts", lambda c: f"{c.precision('alert'):.3f}"),
    ]
    table = report.Table(
        "Generated traffic against its labels",
        ["", *(f"seed {item.seed}" for item in found)],
        note="Recall is the share of a pattern's events that were blocked or alerted.",
    )
    table.rows += [[label, *(show(item) for item in found)] for label, show in rows]
    for pattern in PATTERNS:
        table.rows.append([f"recall {pattern.name}", *(f"{item.recall(pattern.name):.3f}" for item in found)])
    for name in sorted({name for item in found for name in item.innocent}):
        cells = (f"{item.innocent[name]['block']} / {item.innocent[name]['alert']}" for item in found)
        table.rows.append([f"blocked / alerted: {name}", *cells])
    return table


def print_table(console: Console, table: report.Table) -> None:
    """Print the table."""
    shown = Table(title=table.title)
    for number, column in enumerate(table.columns):
        shown.add_column(column, justify="right" if number else "left")
    for row in table.rows:
        shown.add_row(*map(str, row))
    console.print(shown)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the evaluation; 1 if a seed misses its bounds."""
    parser = argparse.ArgumentParser(
        prog="python -m fraudstream.bench.calibration",
        description="Judge a rules directory on generated traffic with labels.",
        epilog="example: python -m fraudstream.bench.calibration --seeds 101 102 --json found.json",
    )
    parser.add_argument("--seeds", type=int, nargs="+", required=True, metavar="S")
    parser.add_argument("--count", type=int, default=1_000_000, metavar="N", help="events of each seed")
    parser.add_argument(
        "--rules", type=Path, metavar="DIR", help="rules directory (default: the shipped one)"
    )
    parser.add_argument("--model", type=Path, metavar="F", help="model file (default: the shipped one)")
    parser.add_argument("--no-model", action="store_true", help="rules alone")
    parser.add_argument("--json", default="-", metavar="F", help="where the figures go (default: stdout)")
    parser.add_argument("--report", action="store_true", help="also write a report to bench/reports")
    args = parser.parse_args(argv)
    compiled = compile_sources(read_directory(args.rules or shipped_rules()))
    if compiled.bundle is None:
        print(f"fraudstream: {args.rules} does not compile; see `fraudstream rules lint`", file=sys.stderr)
        return 2
    model = None if args.no_model else load_model((args.model or champion_file()).read_bytes())
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("deciding", total=args.count * len(args.seeds))
        found = [
            calibrate(seed, args.count, compiled.bundle, model, lambda n: progress.advance(task, n))
            for seed in args.seeds
        ]
    table = table_of(found)
    print_table(console, table)
    figures = json.dumps([item.as_json() for item in found], indent=1)
    if args.json == "-":
        print(figures)
    else:
        Path(args.json).write_text(figures + "\n")
    if args.report:
        command = shlex.join(["python", "-m", "fraudstream.bench.calibration", *(argv or sys.argv[1:])])
        parameters = {"count": args.count, "seeds": " ".join(map(str, args.seeds))}
        report.write("calibration", command, parameters, [table], {"seeds": [c.as_json() for c in found]})
    complaints = [text for item in found for text in item.complaints()]
    for text in complaints:
        print(f"fraudstream: {text}", file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
