"""The broker goes away in the middle of traffic, for longer than sends and sessions last, and comes back."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from support.kafka import Topics
from support.worker import Feed, Site, same_as_reference, traffic
from support.worker_rules import write_rules

from fraudstream.stream.localkafka import LocalKafka

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

TIMES = 2
REQUEST_TIMEOUT_S = 6
"""Shorter than the outage: a clock that ran on while the broker is away would end the worker."""
AWAY_S = 15
COUNT = 12_000


def test_a_worker_waits_an_outage_out_and_loses_nothing_that_was_under_way(
    kernels: None, tmp_path: Path
) -> None:
    """Twice, with sends and an edit of the rules under way: one process goes on, like one undisturbed."""
    with LocalKafka() as broker:
        site = Site(
            Topics(broker),
            tmp_path,
            write_rules(tmp_path / "first"),
            request_timeout_ms=str(REQUEST_TIMEOUT_S * 1000),
            snapshot_interval_s="1",
            slice_records_max="50",
        )
        worker = site.start()
        records = traffic(COUNT, 95)
        feed = Feed(site)
        share = -(-len(records) // TIMES)
        try:
            for turn in range(TIMES):
                ours = records[turn * share : (turn + 1) * share]
                sending = threading.Thread(target=feed.send, args=(ours,))
                before = turn * share
                sending.start()
                worker.wait_for(lambda before=before: before < site.decided(), "decisions of this share")
                broker.kill()
                write_rules(site.rules, 2 + turn)
                time.sleep(AWAY_S)
                broker.restart()
                sending.join()
                worker.wait_decided(before + len(ours))
                versions = turn + 2
                worker.wait_for(
                    lambda versions=versions: len(site.journal(0).versions) == versions, "the edit"
                )
            assert worker.stop() == 0, worker.text
        finally:
            worker.kill()
        assert site.end("transactions", 0) == len(records)
        same_as_reference(site)
