"""`fraudstream worker`: the service that decides transactions."""

from __future__ import annotations

import argparse
import asyncio

from fraudstream.stream import messages
from fraudstream.stream.app import create_app
from fraudstream.stream.errors import Exit, FraudstreamError
from fraudstream.stream.logs import set_up, tell
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
        "Settings are FRAUDSTREAM_* variables. Exit codes: 0 stopped cleanly, 75 start me again, 77 not "
        "permitted by the broker, 78 refuses to run (the message says what to do)."
    )


def run(args: argparse.Namespace) -> int:
    """Run until SIGTERM or Ctrl-C."""
    settings = load_settings()
    set_up(settings.log_level, settings.log_format)
    options = {name: getattr(args, name) for name in ("shadow", "accept_short_history", "backfill")}
    try:
        asyncio.run(serve(settings, **options))
    except FraudstreamError as error:
        if settings.log_format != "json":
            raise
        # A log of JSON has no other line at its end.
        tell(messages.ENDS, exit_code=int(error.exit_code), problem=str(error))
        return error.exit_code
    return Exit.OK


async def serve(settings: Settings, **options: bool) -> None:
    """Run one worker in this loop until it is told to stop; ``options`` are those of :class:`Worker`.

    Raises:
        FraudstreamError: why it ended otherwise.
    """
    await Worker(create_app(settings), **options).run()
