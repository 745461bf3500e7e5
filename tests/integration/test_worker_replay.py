"""The worker under load with rule changes under way, against the commands `export` and `replay`."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.kafka import Topics
from support.worker import Feed, Site, effective, traffic
from support.worker_rules import write_rules

pytestmark = pytest.mark.kafka


def command(site: Site, *arguments: str) -> None:
    """Run `fraudstream` in the site's environment."""
    done = subprocess.run(
        [sys.executable, "-m", "fraudstream.stream.cli", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **site.environment},
        cwd=site.home,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def decide_and_replay(topics: Topics, home: Path, count: int) -> None:
    """Produce records while the worker runs, change the rules twice, then compare with `replay`."""
    site = Site(topics, home, write_rules(home / "first"))
    records = traffic(count, 21)
    thirds = (len(records) // 3, 2 * len(records) // 3)
    worker = site.start()
    feed = Feed(site)
    # Sent in thirds so that each change falls between decided records, whatever the machine's speed.
    for number, (begin, end) in enumerate(zip((0, *thirds), (*thirds, len(records)), strict=True)):
        sending = threading.Thread(target=feed.send, args=(records[begin:end],), name="feed")
        sending.start()
        worker.wait_for(lambda begin=begin: site.decided() > begin, "first decisions", 300)
        if number < len(thirds):
            write_rules(site.rules, 5 + number)
            worker.wait_for(
                lambda wanted=number + 2: len(site.journal(0).versions) == wanted, "a journaled change"
            )
        sending.join()
    worker.wait_for(lambda: site.decided() >= len(records), "all decisions", 600)
    assert worker.stop() == 0, worker.text
    for topic in ("input", "journal", "control"):
        command(site, "export", "--topic", topic, "--output", str(home / topic))
    command(
        site,
        *("replay", "--format", "envelope", "--input", str(home / "input"), "--output", str(home / "out")),
        *("--journal", str(home / "journal"), "--control", str(home / "control")),
    )
    decided = effective(site, 0)
    expected = (home / "out").read_bytes().splitlines()
    assert len(decided) == len(records)
    assert [decided[offset] for offset in sorted(decided)] == expected
    borders = [version.from_offset for version in site.journal(0).versions]
    assert borders[0] == 0
    assert len(borders) == 3
    assert all(0 < border < len(records) for border in borders[1:])


@pytest.mark.timeout(280)
def test_decisions_under_load_with_two_rule_changes_are_those_of_replay(
    topics: Topics, tmp_path: Path
) -> None:
    """20,000 records of the hostile mix, two changes under way: byte for byte."""
    decide_and_replay(topics, tmp_path, 20_000)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_two_hundred_thousand_decisions_with_two_rule_changes_are_those_of_replay(
    topics: Topics, tmp_path: Path
) -> None:
    """200,000 records of the hostile mix, two changes under way: byte for byte."""
    decide_and_replay(topics, tmp_path, 200_000)
