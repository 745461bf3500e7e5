"""Measurements in processes of their own: one run's heap and caches do not meet the next one's.

``python -m fraudstream.bench.child MODULE:FUNCTION`` reads keyword arguments as JSON from standard input and
writes what the function returns as JSON to standard output; standard error is the parent's.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tempfile
import time
from typing import Any

import psutil

from fraudstream.stream.errors import FraudstreamError

LOOK_S = 0.1


class TooLargeError(FraudstreamError):
    """A run was ended because it needed more memory than it may have."""


def run(function: str, *, cap_bytes: int, **arguments: Any) -> dict[str, Any]:
    """Call ``module:function`` in a child and return its result.

    Raises:
        TooLargeError: the child needed more than ``cap_bytes`` of resident memory.
        FraudstreamError: the child failed; its error went to standard error.
    """
    command = [sys.executable, "-m", "fraudstream.bench.child", function]
    with tempfile.TemporaryFile() as answer:
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=answer)  # noqa: S603 our own
        assert child.stdin is not None
        child.stdin.write(json.dumps(arguments).encode())
        child.stdin.close()
        process = psutil.Process(child.pid)
        try:
            while child.poll() is None:
                if _resident(process) > cap_bytes:
                    raise TooLargeError(f"{function} needed more than {cap_bytes / 2**30:.1f} GiB")
                time.sleep(LOOK_S)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
        if child.returncode != 0:
            raise FraudstreamError(f"{function} ended with exit code {child.returncode}")
        answer.seek(0)
        result: dict[str, Any] = json.load(answer)
    return result


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def main() -> int:
    """Do one measurement."""
    module, name = sys.argv[1].split(":")
    function = getattr(importlib.import_module(module), name)
    print(json.dumps(function(**json.load(sys.stdin))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
