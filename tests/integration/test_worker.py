"""The worker on a real broker: what it decides, how it stops, what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.kafka import Topics
from support.worker import Feed, Site, effective, same_as_reference, traffic
from support.worker_rules import write_rules

pytestmark = pytest.mark.kafka


def test_everything_is_decided_as_replay_does_and_a_restart_repeats_nothing(
    topics: Topics, tmp_path: Path
) -> None:
    """Hostile records are decided byte for byte as in one undisturbed run; SIGTERM drains, a resume repeats none."""
    site = Site(topics, tmp_path, write_rules(tmp_path / "first"))
    feed, records = Feed(site), traffic(3_000, 11)
    worker = site.start()
    feed.send(records[:1500])
    worker.wait_decided(1500)
    assert worker.stop() == 0
    assert site.journal(0).ends
    worker = site.start()
    feed.send(records[1500:])
    worker.wait_decided(len(records))
    assert worker.stop() == 0
    same_as_reference(site)
    assert len(site.read("decisions", 0)) == len(effective(site, 0)) == len(records)
