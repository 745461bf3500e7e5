"""Changes of a site's rules, as an operator makes them and as an attacker would."""

from __future__ import annotations

import contextlib
import io
import json
import os
import time
from pathlib import Path
from typing import NamedTuple

from support.worker import Site
from support.worker_rules import write_rules

from fraudstream.rules.compiler.compile import archive_hash, compile_sources, make_archive, read_directory
from fraudstream.stream.changes import Action, Change, new_id
from fraudstream.stream.cli import main
from fraudstream.stream.errors import FraudstreamError
from fraudstream.stream.proposing import InForceOn, Proposer
from fraudstream.stream.settings import load_settings


class Done(NamedTuple):
    """What became of a command."""

    returncode: int
    stdout: str
    stderr: str


def command(site: Site, *arguments: str) -> Done:
    """Run `fraudstream` in the site's environment and directory."""
    out, err = io.StringIO(), io.StringIO()
    before = dict(os.environ)
    os.environ.update(site.environment)
    try:
        with contextlib.chdir(site.home), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(list(arguments))
    finally:
        os.environ.clear()
        os.environ.update(before)
    return Done(int(code), out.getvalue(), err.getvalue())


def proposer(site: Site) -> Proposer:
    """Return a client of the site's control topic."""
    return Proposer(load_settings(site.environment))


def archive_of(directory: Path) -> bytes:
    """Return a directory's archive; it need not compile."""
    return make_archive(read_directory(directory))


def rules_of(site: Site, count: int, **more: str) -> bytes:
    """Return the archive of the small rules with a limit, texts replaced as ``path=old->new``."""
    directory = write_rules(site.home / "made", count)
    files = read_directory(directory)
    for path, change in more.items():
        name = path.replace("__", "/") + ".yaml"
        old, _, new = change.partition("->")
        assert old.encode() in files[name], old
        files[name] = files[name].replace(old.encode(), new.encode())
    return make_archive(files)


def push(client: Proposer, archive: bytes, action: Action = "apply", **more: object) -> list[InForceOn]:
    """Propose content without looking at it first, as a broken or hostile client would."""
    now_ms = time.time_ns() // 1_000_000
    change = Change(new_id(now_ms), action, archive_hash(archive), "tests", now_ms, **more)  # type: ignore[arg-type]

    def unattended() -> None:
        raise AssertionError("no worker runs")

    return client.propose(change, archive, unattended=unattended)


def refusal(client: Proposer, archive: bytes, action: Action = "apply", **more: object) -> str:
    """Propose content that must be refused; returns why."""
    try:
        found = push(client, archive, action, **more)
    except FraudstreamError as problem:
        return str(problem)
    raise AssertionError(f"in force: {found}")


def status(site: Site) -> dict[str, object]:
    """Return what `rules status --json` prints."""
    done = command(site, "rules", "status", "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def compiles(archive: bytes) -> bool:
    """Return whether an archive's files compile."""
    files = {path: text.encode() for path, text in json.loads(archive)["files"].items()}
    return compile_sources(files).bundle is not None
