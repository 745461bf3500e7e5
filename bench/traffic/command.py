"""`fraudstream generate`: seeded synthetic bank traffic with labels."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from rich.console import Console
from rich.progress import Progress

from fraudstream.bench.traffic.generate import ACCOUNTS_MIN, START_MS, generate, usual_accounts
from fraudstream.bench.traffic.records import rfc3339

SUMMARY = "write seeded synthetic bank traffic, one JSON transaction a line, with fraud labels"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--count", type=_natural, required=True, metavar="N", help="events on the log")
    parser.add_argument("--seed", type=_natural, required=True, metavar="S", help="same seed, same bytes")
    parser.add_argument(
        "--start",
        type=_time,
        default=START_MS,
        metavar="T",
        help=f"time of the first hour, RFC 3339 with offset (default {rfc3339(START_MS)})",
    )
    parser.add_argument(
        "--accounts",
        type=_natural,
        metavar="N",
        help="accounts of the bank, 6.5 events a day each (default: as many as make N events in two weeks)",
    )
    parser.add_argument("--output", default="-", metavar="F", help="file for transactions (default: stdout)")
    parser.add_argument("--labels", metavar="F", help="file for labels, one JSON object a line")
    parser.epilog = (
        "example:\n"
        "  fraudstream generate --count 100000 --seed 7 --output day.jsonl --labels labels.jsonl\n"
        "  fraudstream generate --count 1000 --seed 7 | fraudstream replay --input -"
    )


def run(args: argparse.Namespace) -> int:
    """Write the log and its labels."""
    accounts = args.accounts if args.accounts is not None else usual_accounts(args.count)
    if accounts < ACCOUNTS_MIN:
        print(
            f"fraudstream: `--accounts` was {accounts}; a bank needs at least {ACCOUNTS_MIN}", file=sys.stderr
        )
        return 2
    with ExitStack() as stack:
        output = _open(stack, args.output)
        labels = _open(stack, args.labels) if args.labels else None
        progress = stack.enter_context(
            Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
        )
        task = progress.add_task("generating", total=args.count)
        for chunk in generate(args.count, args.seed, args.start, accounts):
            output.write(b"\n".join(chunk.values) + b"\n")
            if labels is not None:
                labels.writelines(label.encode() + b"\n" for label in chunk.labels)
            progress.advance(task, len(chunk))
    return 0


def _open(stack: ExitStack, name: str) -> BinaryIO:
    if name == "-":
        stack.callback(sys.stdout.buffer.flush)
        return sys.stdout.buffer
    return stack.enter_context(Path(name).open("wb"))


def _natural(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"`{text}` is negative; give a number from 0 up")
    return value


def _time(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise argparse.ArgumentTypeError(f"`{text}` is no time with an offset; write 2026-01-05T00:00:00Z")
    return round(moment.timestamp() * 1000)
