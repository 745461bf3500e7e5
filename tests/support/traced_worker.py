"""A worker that writes down when each of some functions is called.

``FRAUD_TEST_TRACE`` names the file of results, ``FRAUD_TEST_TRACED`` the functions as ``path.py:name`` with
commas; a line of the file is the monotonic time and the function.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

from fraudstream.stream.commands.worker import serve
from fraudstream.stream.settings import load_settings


def main() -> int:
    """Run the worker under the eyes of a profile function."""
    wanted = {tuple(item.split(":")) for item in os.environ["FRAUD_TEST_TRACED"].split(",")}
    names = {name for _, name in wanted}
    sink = Path(os.environ["FRAUD_TEST_TRACE"]).open("w", buffering=1)  # noqa: SIM115 open until the end

    def watch(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_name in names:
            for path, name in wanted:
                if frame.f_code.co_name == name and frame.f_code.co_filename.endswith(path):
                    sink.write(f"{time.monotonic():.9f} {path}:{name}\n")

    sys.setprofile(watch)
    threading.setprofile(watch)
    logging.basicConfig(level="INFO", stream=sys.stderr)
    asyncio.run(serve(load_settings()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
