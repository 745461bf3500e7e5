"""The jars of Apache Kafka: exact versions and hashes, downloaded once per user.

``jars.lock.json`` names every jar with its Maven coordinates, size and SHA-256. Maven downloads them
where there is a working one, else the `jgo` package does it in Python; neither resolves anything: both
are told the exact files, and nothing is used whose hash differs. The cache directory appears by rename
when it is complete, so a process that was killed leaves nothing that looks complete.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from fraudstream.stream.errors import CannotCheck
from fraudstream.stream.localkafka.java import Java
from fraudstream.stream.localkafka.lock import DEPENDENCY_PLUGIN, Jar, Lock, pom, read_lock
from fraudstream.stream.progress import Progress

PARALLEL_DOWNLOADS = 8
INSTEAD = "name a running broker with FRAUDSTREAM_BROKER=host:port"


def cache_directory(lock: Lock) -> Path:
    """Return where this user's jars are: ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fraudstream" / f"kafka-{lock.kafka}"


def ensure_jars(java: Java, directory: Path | None = None, lock: Lock | None = None) -> Path:
    """Return a directory with every jar of the lock, verified; download what is missing.

    Two processes may call it at once; one downloads and the other waits.

    Raises:
        CannotCheck: The jars cannot be downloaded, or what was downloaded has another hash.
    """
    lock = read_lock() if lock is None else lock
    directory = cache_directory(lock) if directory is None else directory
    if _complete(directory, lock):
        return directory
    directory.parent.mkdir(parents=True, exist_ok=True)
    with _only_process(directory.with_name(directory.name + ".lock")):
        if not _complete(directory, lock):
            _download(directory, lock, java)
    return directory


def _complete(directory: Path, lock: Lock) -> bool:
    return all(jar.is_at(directory / jar.file) for jar in lock.jars)


@contextmanager
def _only_process(path: Path) -> Iterator[None]:
    """Hold a lock file; the kernel frees it when its holder dies."""
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _download(directory: Path, lock: Lock, java: Java) -> None:
    """Fill a new directory beside the old one and put it in its place."""
    total_mb = sum(jar.size for jar in lock.jars) / 1e6
    with tempfile.TemporaryDirectory(prefix=directory.name + ".", dir=directory.parent) as name:
        fresh = Path(name) / "jars"
        fresh.mkdir()
        with Progress(
            f"downloading Apache Kafka {lock.kafka}, {total_mb:.0f} MB once", len(lock.jars)
        ) as progress:
            _fetch(fresh, Path(name), lock, java, progress.at)
        wrong = [jar.file for jar in lock.jars if not jar.is_at(fresh / jar.file)]
        if wrong:
            raise CannotCheck(
                f"{len(wrong)} downloaded jars of Apache Kafka differ from `jars.lock.json`, `{wrong[0]}` "
                "first; they were thrown away; a mirror or proxy that alters files is the usual cause"
            )
        if directory.exists():
            directory.rename(Path(name) / "old")
        fresh.rename(directory)


def _fetch(fresh: Path, scratch: Path, lock: Lock, java: Java, report: Callable[[int], None]) -> None:
    ways: list[Callable[[], None]] = []
    maven = shutil.which("mvn")
    if maven is not None and java.from_path:
        ways.append(lambda: _by_maven(maven, fresh, scratch, lock, report))
    if find_spec("jgo") is not None:
        ways.append(lambda: _by_jgo(fresh, scratch, lock, report))
    failures = []
    for fetch in ways:
        try:
            return fetch()
        except _FetchError as error:
            failures.append(str(error))
    if not failures:
        raise CannotCheck(
            "Apache Kafka cannot be downloaded: neither a working Maven (`mvn` and Java on PATH) nor the "
            "Python package `jgo` was found; install one of them, `pip install 'fraudstream[localkafka]'` "
            f"has `jgo`, or {INSTEAD}"
        )
    raise CannotCheck(
        "Apache Kafka cannot be downloaded from Maven Central; is this machine offline? Go online once, or "
        f"{INSTEAD}. What failed:\n  " + "\n  ".join(failures)
    )


class _FetchError(Exception):
    """One way to download failed."""


def _by_maven(maven: str, fresh: Path, scratch: Path, lock: Lock, report: Callable[[int], None]) -> None:
    """Let Maven copy exactly the locked files, with the user's own mirrors and local repository."""
    project = scratch / "pom.xml"
    project.write_text(pom(lock.jars, transitive=False), "utf-8")
    command = [
        maven,
        "-B",
        "-f",
        str(project),
        f"{DEPENDENCY_PLUGIN}:copy-dependencies",
        f"-DoutputDirectory={fresh}",
    ]
    process = subprocess.Popen(  # noqa: S603 - the command is our own
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    names, done, tail = {jar.file for jar in lock.jars}, 0, [""]
    with process:
        for line in process.stdout or ():
            if "ERROR" in line:
                tail.append(line.strip())
            if line.startswith("Downloaded from") and any(f"/{name} " in line for name in names):
                done += 1
                report(done)
    if process.returncode:
        raise _FetchError(
            f"{maven}: {next((line for line in tail if line), f'exit code {process.returncode}')}"
        )


def _by_jgo(fresh: Path, scratch: Path, lock: Lock, report: Callable[[int], None]) -> None:
    """Download in Python, several files at once."""
    from jgo.maven import MavenContext  # noqa: PLC0415 - optional: only machines without Maven have it

    context = MavenContext(repo_cache=scratch / "repository")

    def fetch(jar: Jar) -> None:
        artifact = context.project(jar.group, jar.artifact).at_version(jar.version).artifact(jar.classifier)
        shutil.move(artifact.resolve(), fresh / jar.file)

    with ThreadPoolExecutor(PARALLEL_DOWNLOADS) as pool:
        tasks = [pool.submit(fetch, jar) for jar in lock.jars]
        try:
            for done, task in enumerate(as_completed(tasks), 1):
                task.result()
                report(done)
        except Exception as error:
            pool.shutdown(cancel_futures=True)
            raise _FetchError(f"jgo: {error}") from error
