"""Records that retention takes before they were decided are never passed over in silence."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from support.kafka import Topics
from support.worker import Feed, Site, traffic
from support.worker_rules import write_rules

from fraudstream.stream.cluster import quiet

pytestmark = pytest.mark.kafka


def test_a_log_emptied_under_a_waiting_worker_ends_it_and_is_refused_afterwards(
    topics: Topics, tmp_path: Path
) -> None:
    """With nothing left to fetch there is no record that could show the gap; the log's start does."""
    site = Site(topics, tmp_path, write_rules(tmp_path / "first"))
    feed, records = Feed(site), traffic(400, 3)
    worker = site.start()
    feed.send(records[:200])
    worker.wait_decided(200)
    worker.process.send_signal(signal.SIGSTOP)
    time.sleep(1.5)  # the fetch that is under way comes back empty; a new one is not sent
    feed.send(records[200:])
    end = site.end("transactions", 0)
    admin = AdminClient(quiet(site.bootstrap))
    [done] = admin.delete_records([TopicPartition(site.prefix + "transactions", 0, end)]).values()
    done.result()
    worker.process.send_signal(signal.SIGCONT)
    assert worker.wait_exit() == 75
    assert f"lost offsets 200 to {end - 1} before they were decided" in worker.text
    again = site.start()
    assert again.wait_exit() == 78
    assert site.decided() == 200
