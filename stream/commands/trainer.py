"""`fraudstream trainer`: labels in, events and versions of models out."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from fraudstream.models.inputs import ModelError
from fraudstream.models.registry_store import Registry
from fraudstream.models.training import Rules, Training
from fraudstream.rules.compiler.shape import duration_ms
from fraudstream.stream.commands.service import EXIT_CODES, run_until_told
from fraudstream.stream.errors import BadUse
from fraudstream.stream.failpoints import Failpoints
from fraudstream.stream.learning import Pace
from fraudstream.stream.settings import Settings, load_settings
from fraudstream.stream.trainer import Lessons, Trainer

SUMMARY = "make events of labels, and learn models from them as they mature"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("--registry", type=Path, metavar="DIR", help="learn models of this registry, put versions there")
    add("--models", metavar="A,B", help="which of them (default: all that can be learned)")
    for name, default, text in (
        ("mature", "7d", "after this long a transaction that nobody labelled is legitimate (default: 7d)"),
        ("keep", None, "how long transactions wait for labels and corrections (default: twice --mature)"),
        ("interval", "1h", "what is learned in one go and scored by one version (default: 1h)"),
        ("export", "1d", "time between two versions for the registry (default: 1d)"),
        ("idle-grace", "60s", "how long to wait for a partition on which nothing comes (default: 60s)"),
    ):
        add(f"--{name}", type=_duration, default=default, metavar="T", help=text)
    add(
        "--begin",
        type=int,
        default=1_000,
        metavar="N",
        help="mature transactions with which a model begins to learn (default: 1000)",
    )
    add(
        "--guard",
        type=float,
        default=0.02,
        metavar="P",
        help="a source of labels that would move a mean score by more within an hour is put in quarantine "
        "(default: 0.02)",
    )
    add("--release", action="append", default=[], metavar="SOURCE", help="take it out of quarantine")
    parser.epilog = (
        "example: fraudstream trainer --registry models/ --models forest,bins\n\n"
        "Learning needs workers with FRAUDSTREAM_PUBLISH_FEATURES=on. Times are those of the log.\n"
        + EXIT_CODES
    )


def run(args: argparse.Namespace) -> int:
    """Run until SIGTERM or Ctrl-C."""
    settings = load_settings()
    lessons = None if args.registry is None else _lessons(args)
    return run_until_told(settings, serve(settings, lessons))


async def serve(settings: Settings, lessons: Lessons | None) -> None:
    """Run one trainer in this loop until it is told to stop.

    Raises:
        FraudstreamError: why it ended otherwise.
    """
    await Trainer(settings, Failpoints.from_environment(os.environ), lessons).run()


def _lessons(args: argparse.Namespace) -> Lessons:
    keep_ms = 2 * args.mature if args.keep is None else args.keep
    if keep_ms < args.mature:
        raise BadUse("`--keep` was shorter than `--mature`: transactions would go before they are learned")
    if args.begin < 1:
        raise BadUse(f"`--begin` was {args.begin}, expected at least 1")
    if not args.guard > 0:
        raise BadUse(f"`--guard` was {args.guard}, expected a number above 0")
    registry = Registry(args.registry)
    try:
        entries = registry.entries()
        names = (
            args.models.split(",") if args.models else [n for n, e in entries.items() if e.scorecard is None]
        )
        chosen = [registry.entry(name) for name in names]
        if not chosen:
            raise BadUse(f"{args.registry} has no model that can be learned")
        rules = Rules(args.interval, args.mature, keep_ms, args.guard, args.export, args.begin)
        training = Training(chosen, entries, rules)
    except ModelError as problem:
        raise BadUse(str(problem)) from None
    return Lessons(training, registry, Pace(args.idle_grace), tuple(args.release))


def _duration(text: str) -> int:
    """Return the milliseconds of a duration as rules write it."""
    found = duration_ms(text)
    if not found:
        raise argparse.ArgumentTypeError(f"`{text}` was no duration such as 30s, 5m, 1h or 7d")
    return found
