"""The kill test: whatever point the worker dies at, what it leaves equals one undisturbed run."""

from __future__ import annotations

import itertools
import signal
import threading
from pathlib import Path
from typing import Self

import pytest
from support.kafka import Topics
from support.worker import Feed, Running, Site, effective, same_as_reference, traffic
from support.worker_rules import write_rules

from fraudstream.bench.traffic.hostile import Record
from fraudstream.rules.compiler.compile import compile_archive
from fraudstream.stream.control_store import find_content
from fraudstream.stream.journal import Journal
from fraudstream.stream.pipeline import Pipeline
from fraudstream.stream.snapshots import read_snapshot

pytestmark = [pytest.mark.kafka, pytest.mark.chaos]

POINTS = (
    "mid_process",
    "before_journal_ack",
    "mid_produce",
    "sent_not_acked",
    "after_ack",
    "mid_snapshot",
    "after_rename",
)
TIMES = 3
ROUNDS = [(point, turn) for turn in range(TIMES) for point in POINTS]


class Trickle:
    """Produces records in the background, a share of them a round, while workers live and die."""

    def __init__(self, site: Site, records: list[Record], shares: int, chunk: int = 20) -> None:
        self.records = records
        self._share = -(-len(records) // shares)
        self._chunk = chunk
        self._allowed = 0
        self._more, self._stop, self.idle = threading.Event(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, args=(Feed(site),), name="trickle")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._more.set()
        self._thread.join()

    def release(self) -> None:
        """Let the next share go out."""
        self.idle.clear()
        self._allowed = min(self._allowed + self._share, len(self.records))
        self._more.set()

    def _run(self, feed: Feed) -> None:
        while not self._stop.is_set():
            self._more.wait()
            self._more.clear()
            while feed.sent < self._allowed and not self._stop.is_set():
                feed.send(self.records[feed.sent : min(feed.sent + self._chunk, self._allowed)])
                # The share lasts for about the three seconds that a worker needs to start, and beyond.
                self._stop.wait(4.0 * self._chunk / self._share)
            self.idle.set()


def die(site: Site, point: str, nth: int, *, change: bool) -> None:
    """Start a worker that dies at a failpoint, with a rule change pending or without."""
    fired = site.home / "fired"
    before = fired.read_text() if fired.exists() else ""
    if change:
        edit(site)
    worker = site.start(FRAUDSTREAM_FAILPOINT=f"{point}:{nth}", FRAUDSTREAM_FAILPOINT_LOG=str(fired))
    try:
        code = worker.wait_exit()
    finally:
        worker.kill()
    assert code == -signal.SIGKILL, f"{point}: exit {code}\n{worker.text}"
    assert fired.read_text() == before + point + "\n"


def wait_for_all(site: Site, worker: Running) -> None:
    """Wait until every record of the input is decided."""
    ends = [site.end("transactions", partition) for partition in range(site.partitions)]
    worker.wait_for(lambda: [len(effective(site, p)) for p in range(site.partitions)] == ends, "all decided")


def edit(site: Site) -> None:
    """Change a limit of a rule to one that was not in force just before."""
    site.edits += 1
    write_rules(site.rules, 2 + site.edits % 7, site.feature)


def check_both_sides(journals: list[Journal], decided: list[dict[int, bytes]]) -> int:
    """Each rule change has decided records on both sides of its ``from``; returns their number."""
    changes = 0
    for journal, decisions in zip(journals, decided, strict=True):
        for version in journal.versions[1:]:
            assert min(decisions) < version.from_offset <= max(decisions), (
                f"a change at {version.from_offset} has no decided records on one side"
            )
            changes += 1
    return changes


def check_state(site: Site, partition: int, expected: str) -> None:
    """The newest snapshot holds the state of the reference run."""
    folder = site.home / "state" / site.environment["FRAUDSTREAM_APP_ID"]
    files = sorted((folder / f"{site.prefix}transactions-{partition}").glob("*.snapshot"))
    assert 1 <= len(files) <= 3
    snapshot = read_snapshot(files[-1])
    assert snapshot.header.next_offset == site.end("transactions", partition)
    control = {r.key: r.value for r in site.read("control", 0) if r.key is not None and r.value is not None}
    bundle = compile_archive(find_content(control, "bundle", snapshot.header.bundle))
    assert Pipeline.restore(snapshot.state, bundle, None).state_hash() == expected


def run_kill_test(topics: Topics, home: Path, count: int) -> None:
    """Kill at each point three times under load, half with a rule change pending, then compare all."""
    site = Site(
        topics, home, write_rules(home / "first"), partitions=2, slice_records_max="32", snapshot_records="60"
    )
    nths = itertools.cycle((1, 2, 4, 3))
    with Trickle(site, traffic(count, 5), len(ROUNDS) + 2) as feed:
        feed.release()
        for number, (point, turn) in enumerate(ROUNDS):
            feed.release()
            if number == len(ROUNDS) // 2:
                # A restart with another directory, whose features need another state.
                site.feature = "account.max_1h: {agg: max, of: txn.amount, key: account.id, window: 1h}"
                edit(site)
            pending = number % 2 == 0
            nth = next(nths)
            if point == "before_journal_ack":
                # Two takes, then at the first start `start` and `version`, later the version of the change.
                pending, nth = True, 2 + turn
            if point in ("mid_snapshot", "after_rename"):
                nth = 1 + turn % 2
            die(site, point, nth, change=pending)
        worker = site.start()
        # The last change is journaled, and decided with, before the last records come.
        worker.wait_for(feed.idle.is_set, "records sent")
        wait_for_all(site, worker)
        feed.release()
        worker.wait_for(feed.idle.is_set, "last records sent")
        wait_for_all(site, worker)
        assert worker.stop() == 0, worker.text
    assert sum(site.end("transactions", p) for p in (0, 1)) == len(feed.records)
    references = same_as_reference(site)
    for partition, expected in enumerate(references):
        check_state(site, partition, expected.state_hash)
    fired = (home / "fired").read_text().split()
    assert {point: fired.count(point) for point in POINTS} == dict.fromkeys(POINTS, TIMES)
    changes = check_both_sides([site.journal(p) for p in (0, 1)], [effective(site, p) for p in (0, 1)])
    assert changes >= len(ROUNDS) // 2


@pytest.mark.timeout(600)
def test_killed_anywhere_under_load_it_decides_as_one_undisturbed_run(topics: Topics, tmp_path: Path) -> None:
    """Seven points, three kills each, two partitions, rule changes pending, one with other features."""
    run_kill_test(topics, tmp_path, 4_000)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_killed_anywhere_over_fifty_thousand_records(topics: Topics, tmp_path: Path) -> None:
    """The same over 50,000 records of the hostile mix."""
    run_kill_test(topics, tmp_path, 50_000)
