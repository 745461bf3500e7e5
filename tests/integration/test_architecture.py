"""The page about the architecture tells how a transaction really goes."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from support.kafka import Topics
from support.worker import ROOT, Feed, Site, traffic

pytestmark = pytest.mark.kafka


def documented_steps() -> list[str]:
    """Read ``path:function`` of the eight steps from the page."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    return re.findall(r"^\| \d \w+ \| `([\w/]+\.py:\w+)` \|", page, re.MULTILINE)


def test_one_transaction_goes_through_the_eight_documented_functions_in_order(
    topics: Topics, tmp_path: Path
) -> None:
    """What ran for one record, taken from a running worker, is the page's table from top to bottom."""
    steps = documented_steps()
    assert len(steps) == 8
    trace = tmp_path / "trace"
    site = Site(topics, tmp_path, ROOT / "rules")
    feed, records = Feed(site), [record for record in traffic(200, 5) if record.value]
    worker = site.start(
        module="support.traced_worker", FRAUD_TEST_TRACE=str(trace), FRAUD_TEST_TRACED=",".join(steps)
    )
    feed.send(records[:20])
    worker.wait_decided(20)
    sent_s = time.monotonic()
    card = next(record for record in records[20:] if b'"card_auth"' in record.value)
    feed.send([card])
    worker.wait_decided(21)
    assert worker.stop() == 0
    calls = [line.split() for line in trace.read_text().splitlines()]
    ran = [name for at, name in calls if float(at) > sent_s]
    # Filters of features are rules too, so the last call of each function counts.
    last = {name: place for place, name in enumerate(ran)}
    assert sorted(last, key=last.__getitem__) == steps
