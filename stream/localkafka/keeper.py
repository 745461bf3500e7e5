"""Keeps one broker process: starts it, ends it, and ends with the process that asked for it.

Run as a script of its own, by path, so that it loads nothing of the project and stays small:

``keeper.py PARENT_PID DIRECTORY COMMANDS`` where COMMANDS is a JSON list of argument lists

It runs the commands one after the other while they succeed, with their output in
``DIRECTORY/broker.log`` and the process id of the one that runs in ``DIRECTORY/broker.pid``. On SIGTERM
it passes SIGTERM on and waits. When the parent is gone, even by SIGKILL, it kills the command and
removes DIRECTORY. When the keeper itself is killed, Linux kills the command (PR_SET_PDEATHSIG: the
keeper has one thread, so its "parent thread" lives as long as it does).
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

POLL_S = 0.1
PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Let Linux kill this process when its parent dies; elsewhere nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main(parent: int, directory: Path, commands: list[list[str]]) -> int:
    """Run the commands until one fails, the last ends, or the parent is gone; return the exit code."""
    code = 0
    for command in commands:
        code = run(parent, directory, command)
        if code:
            break
    return code


def run(parent: int, directory: Path, command: list[str]) -> int:
    """Run one command until it ends or the parent is gone; return its exit code."""
    with (directory / "broker.log").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - given by our own parent
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - this process has one thread
        )

    def stop(_signal: int, _frame: FrameType | None) -> None:
        process.terminate()

    signal.signal(signal.SIGTERM, stop)
    pid_file = directory / "broker.pid"
    pid_file.with_suffix(".new").write_text(str(process.pid), "ascii")
    pid_file.with_suffix(".new").rename(pid_file)
    while process.poll() is None:
        if os.getppid() != parent:
            process.kill()
            process.wait()
            shutil.rmtree(directory, ignore_errors=True)
        time.sleep(POLL_S)
    return process.returncode


if __name__ == "__main__":
    sys.exit(abs(main(int(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))))
