"""`fraudstream worker`: the service that decides transactions."""

from __future__ import annotations

import argparse

from fraudstream.stream.app import create_app
from fraudstream.stream.commands.service import EXIT_CODES, run_until_told
from fraudstream.stream.settings import Settings, load_settings
from fraudstream.stream.worker import Worker

SUMMARY = "decide transactions: input topic in, decisions, alerts and dead letters out"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--shadow",
        action="store_true",
        help="decide `pass` for everything from now on; what it would be stands in the header `would_be`, "
        "no alerts are sent. Without it decisions are live from the next offset on",
    )
    parser.add_argument(
        "--accept-short-history",
        action="store_true",
        help="let a change of schema or features build the state from less input than before",
    )
    parser.add_argument(
        "--backfill",
        action="store_true",
        help="fill features that are warming from the input: build the state anew from the oldest record",
    )
    parser.epilog = (
        "example: FRAUDSTREAM_BROKER=kafka:9092 FRAUDSTREAM_START=earliest fraudstream worker\n\n"
        + EXIT_CODES
    )


def run(args: argparse.Namespace) -> int:
    """Run until SIGTERM or Ctrl-C."""
    options = {name: getattr(args, name) for name in ("shadow", "accept_short_history", "backfill")}
    settings = load_settings()
    return run_until_told(settings, serve(settings, **options))


async def serve(settings: Settings, **options: bool) -> None:
    """Run one worker in this loop until it is told to stop; ``options`` are those of :class:`Worker`.

    Raises:
        FraudstreamError: why it ended otherwise.
    """
    await Worker(create_app(settings), **options).run()
