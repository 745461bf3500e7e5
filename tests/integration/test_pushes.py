"""Pushes of rules under load, most of them broken or hostile: what is in force is what was good."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.kafka import Topics
from support.pushes import Pushes
from support.worker import same_as_reference

pytestmark = pytest.mark.kafka


def push_and_compare(topics: Topics, home: Path, partitions: int, good: int, bad: int, records: int) -> None:
    """Push, then compare the order in force with the journals and every decision with replay."""
    pushes = Pushes(topics, home, partitions)
    result, worker = pushes.run(good, bad, records)
    assert worker.stop() == 0, worker.text[-6_000:]
    assert sum(result.refused.values()) == bad
    for partition in range(partitions):
        versions = pushes.site.journal(partition).versions
        journaled = [version.changes["bundle"] for version in versions if "bundle" in version.changes]
        assert journaled == result.expected
        borders = [version.from_offset for version in versions]
        assert borders == sorted(borders)
    same_as_reference(pushes.site)


@pytest.mark.timeout(900)
def test_four_good_changes_among_sixteen(topics: Topics, tmp_path: Path) -> None:
    """Signatures, archives, pointers, bombs: none of twelve bad pushes is in force at any offset."""
    push_and_compare(topics, tmp_path, 1, 4, 12, 1_200)


@pytest.mark.long
@pytest.mark.timeout(5_400)
def test_fifty_good_changes_among_two_hundred(topics: Topics, tmp_path: Path) -> None:
    """150 broken or hostile pushes on two partitions, every kind and every bomb at least once."""
    push_and_compare(topics, tmp_path, 2, 50, 150, 120_000)
