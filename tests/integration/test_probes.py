"""Liveness and readiness of a real worker when its broker goes away: it waits, it is not restarted for it."""

from __future__ import annotations

import socket
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from support.kafka import Topics
from support.worker import Feed, Site, traffic
from support.worker_rules import write_rules

from fraudstream.bench.observe import free_port
from fraudstream.stream.localkafka import LocalKafka

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]


def probe(port: int, path: str) -> tuple[int, str]:
    """Return status and text of a probe, 0 where nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=3) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def test_a_broker_that_is_away_makes_the_worker_unready_and_leaves_it_alive(
    kernels: None, tmp_path: Path
) -> None:
    """Kubernetes starts nothing anew; when the broker is back the same process decides again."""
    port = free_port()
    with LocalKafka() as broker:
        site = Site(Topics(broker), tmp_path, write_rules(tmp_path / "first"), metrics_port=str(port))
        worker = site.start()
        try:
            worker.wait_for(lambda: probe(port, "/livez")[0] == 200, "the server")
            worker.wait_for(lambda: probe(port, "/readyz") == (200, "ok\n"), "readiness")
            records = traffic(100, 95)
            feed = Feed(site)
            feed.send(records[:50])
            worker.wait_decided(50)
            broker.kill()
            worker.wait_for(lambda: probe(port, "/readyz")[0] == 503, "unreadiness", 40)
            assert "the broker was not seen for" in probe(port, "/readyz")[1]
            assert probe(port, "/livez") == (200, "ok\n")
            # It waits quietly: a client that tries as fast as it can fills a disk in a day.
            before = len(worker.text.splitlines())
            time.sleep(5)
            assert len(worker.text.splitlines()) - before < 30
            broker.restart()
            worker.wait_for(lambda: probe(port, "/readyz")[0] == 200, "readiness after the outage")
            feed.send(records[50:])
            worker.wait_decided(len(records))
            assert worker.stop() == 0
            assert sorted(path.suffix or path.name for path in tmp_path.iterdir()) == [
                ".log",
                "first",
                "rules",
                "state",
            ]
        finally:
            worker.kill()


def test_a_port_that_is_taken_is_said_in_one_line(topics: Topics, tmp_path: Path) -> None:
    """The message is the last line; nothing that was made before is left to complain."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        site = Site(topics, tmp_path, write_rules(tmp_path / "first"), metrics_port=str(port))
        worker = site.start()
        assert worker.wait_exit() == 78
    last = worker.text.splitlines()[-1]
    assert last.startswith(f"fraudstream: `/metrics` cannot be served on 127.0.0.1:{port}: ")
    assert "FRAUDSTREAM_METRICS_PORT" in last
