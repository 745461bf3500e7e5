"""Models are switched while a worker decides: journaled at offsets, and replay gives the same bytes."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import orjson
import pytest
from support.kafka import Topics
from support.worker import Feed, Site, effective, same_as_reference, traffic
from support.worker_rules import write_rules

from fraudstream.models.inputs import Input
from fraudstream.models.members import Member
from fraudstream.models.registry_store import Registry
from fraudstream.models.scorecard import read_scorecard

pytestmark = pytest.mark.kafka

CARD = b"""\
kind: Scorecard
id: amounts
owner: tests
events: [payment]
score: {points: 0, odds: 1, double: 50}
characteristics:
  - input: txn.amount
    bins: [{below: 100000, points: -100}, {below: 1000000, points: 0}, {points: 100}]
"""
WHO = {"at": "2026-11-24T00:00:00Z", "by": "u1", "why": "test"}


def linear() -> Member:
    """Return a model whose score moves with the amount."""
    arrays = {"mean": np.array([9.0]), "var": np.array([4.0]), "weights": np.ones(1), "bias": np.zeros(1)}
    return Member("linear", "linear", (Input("txn.amount", "log1p"),), arrays, ("payment",))


@pytest.mark.timeout(290)
def test_promotion_and_rollback_under_load_are_those_of_replay(topics: Topics, tmp_path: Path) -> None:
    """A scorecard takes over from a linear model, a damaged file changes nothing, rollback: byte for byte."""
    registry = Registry(tmp_path / "registry")
    registry.path.mkdir()
    first = registry.promote("linear", registry.add([linear()]), "champion", **WHO)
    active = registry.path / "active.model"
    site = Site(topics, tmp_path, write_rules(tmp_path / "first"), model_path=str(active))
    records = traffic(9_000, 23)
    worker, feed = site.start(), Feed(site)
    wanted = [first.version]
    third = len(records) // 3

    def send(begin: int, end: int) -> None:
        sending = threading.Thread(target=feed.send, args=(records[begin:end],), name="feed")
        sending.start()
        worker.wait_for(lambda: site.decided() > begin, "decisions", 200)
        sending.join()

    send(0, third)
    wanted.append(
        registry.promote("amounts", registry.add([read_scorecard(CARD)]), "champion", **WHO).version
    )
    worker.wait_for(lambda: len(site.journal(0).versions) == 2, "a journaled switch")
    good = active.read_bytes()
    active.write_bytes(good[:-1] + b"?")
    worker.wait_for(lambda: "model_refused" in worker.text, "a refusal")
    send(third, 2 * third)
    wanted.append(registry.rollback(**WHO).version)
    worker.wait_for(lambda: len(site.journal(0).versions) == 3, "a journaled rollback")
    send(2 * third, len(records))
    worker.wait_for(lambda: site.decided() >= len(records), "all decisions", 200)
    assert worker.stop() == 0, worker.text

    versions = site.journal(0).versions
    assert [version.changes["models"] for version in versions] == wanted == [wanted[0], wanted[1], wanted[0]]
    borders = [version.from_offset for version in versions]
    assert 0 == borders[0] < borders[1] < borders[2] < len(records)
    same_as_reference(site)
    seen: dict[str, set[float]] = {}
    for offset, value in effective(site, 0).items():
        decision = orjson.loads(value)
        in_force = wanted[sum(border <= offset for border in borders) - 1]
        assert decision["models_version"] == in_force
        if "champion" in decision["models"]:
            seen.setdefault(in_force, set()).add(decision["models"]["champion"])
    assert seen[wanted[1]] <= {0.2, 0.5, 0.8}
    assert len(seen[wanted[0]]) > 3
