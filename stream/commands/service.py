"""What commands share that run until they are told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from fraudstream.stream import messages
from fraudstream.stream.errors import Exit, FraudstreamError
from fraudstream.stream.logs import set_up, tell
from fraudstream.stream.settings import Settings

EXIT_CODES = (
    "Settings are FRAUDSTREAM_* variables. Exit codes: 0 stopped cleanly, 75 start me again, 77 not\n"
    "permitted by the broker, 78 refuses to run (the message says what to do)."
)
"""Ends the help of these commands."""


def run_until_told(settings: Settings, work: Coroutine[Any, Any, None]) -> int:
    """Set logs up and run; returns the exit code.

    Raises:
        FraudstreamError: why it ended otherwise, where the log is for people.
    """
    set_up(settings.log_level, settings.log_format)
    try:
        asyncio.run(work)
    except FraudstreamError as error:
        if settings.log_format != "json":
            raise
        # A log of JSON has no other line at its end.
        tell(messages.ENDS, exit_code=int(error.exit_code), problem=str(error))
        return error.exit_code
    return Exit.OK
