"""Parts of the worker without a broker: intake, lease, snapshots, failpoints, piece sizes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fraudstream.stream.errors import Refusal, RestartMe
from fraudstream.stream.failpoints import Failpoints
from fraudstream.stream.intake import Intake, Verdict
from fraudstream.stream.lease import Lease
from fraudstream.stream.pieces import PieceSize
from fraudstream.stream.snapshots import Header, SnapshotDamaged, SnapshotStore, read_snapshot
from fraudstream.stream.windows.snapshot import unseal
from fraudstream.stream.wire.types import Slice


def records(*offsets: int) -> Slice:
    """Return one fetch of records with these offsets."""
    count = len(offsets)
    return Slice.from_records(0, [b"{}"] * count, [None] * count, offsets, [0] * count)


def test_records_at_the_position_are_next_and_stand_for_their_holes() -> None:
    """A slice stands for all offsets from the position to its last record."""
    intake = Intake(0)
    intake.seek(5)
    intake.moved = True
    assert intake.judge(records(5, 6, 9)) is Verdict.NEXT
    assert intake.take(records(5, 6, 9)) == (5, 10)
    assert intake.judge(records(12)) is Verdict.JUMP
    assert intake.judge(records(9)) is Verdict.BACK


def test_records_fetched_before_a_seek_are_stale() -> None:
    """Until the consumer was moved, whatever comes lay before the seek."""
    intake = Intake(0)
    assert intake.judge(records(0)) is Verdict.STALE
    intake.seek(5)
    assert intake.judge(records(5)) is Verdict.STALE
    intake.moved = True
    intake.close()
    assert intake.judge(records(5)) is Verdict.STALE


def test_the_lease_counts_from_the_sending_of_the_last_good_heartbeat() -> None:
    """An answer prolongs from when the heartbeat was sent; an older one changes nothing."""
    now = [100.0]
    lease = Lease(6_000, lambda: now[0])
    with pytest.raises(RestartMe, match="lease"):
        lease.check("anything")
    lease.answered(99.0)
    lease.answered(98.0)
    now[0] = 104.9
    lease.check("anything")
    now[0] = 105.0
    with pytest.raises(RestartMe, match="session timeout of 6 s"):
        lease.check("anything")


def header(next_offset: int) -> Header:
    """Return a header of partition 0."""
    return Header(
        cluster="c",
        input_topic="i",
        decisions_topic="d",
        journal_topic="j",
        partitions=1,
        partition=0,
        next_offset=next_offset,
        decision_offset=next_offset,
        last_offset=next_offset - 1,
        last_value_sha256="",
        start_from=0,
        hash_key="00" * 16,
        bundle="sha256:b",
        models="none",
        core="1",
        mode="live",
        state_from=0,
        watermark_ms=0,
        epoch=3,
        taken_ms=0,
    )


def write_temporary(store: SnapshotStore, next_offset: int, state: bytes) -> Path:
    """Write a snapshot in two parts."""
    file = store.begin(header(next_offset), lambda: None)
    file.write(state[:3])
    file.write(state[3:])
    return file.finish()


def write(store: SnapshotStore, next_offset: int, state: bytes) -> Path:
    """Write and publish a snapshot."""
    return store.publish(write_temporary(store, next_offset, state))


def test_snapshots_come_back_newest_first_and_three_are_kept(tmp_path: Path) -> None:
    """Only the newest are kept, temporary files of a killed process go."""
    store = SnapshotStore(tmp_path)
    for offset in (10, 9, 200, 30, 5):
        write(store, offset, b"state %d" % offset)
    write_temporary(store, 999, b"x")
    assert [s.header.next_offset for s in store.newest_first(pytest.fail)] == [200, 30, 10, 9, 5]
    store.prune()
    assert [s.header.next_offset for s in store.newest_first(pytest.fail)] == [200, 30, 10]
    assert len(list(tmp_path.iterdir())) == 3


def test_every_flipped_byte_and_every_cut_of_a_snapshot_is_seen(tmp_path: Path) -> None:
    """A damaged file is told apart and the one before is used."""
    store = SnapshotStore(tmp_path)
    write(store, 1, b"older")
    path = write(store, 2, b"newer")
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(SnapshotDamaged):
            read_snapshot(path)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(SnapshotDamaged):
            read_snapshot(path)
    damaged: list[str] = []
    assert [bytes(unseal(s.state)) for s in store.newest_first(damaged.append)] == [b"older"]
    assert len(damaged) == 1


def test_failpoints_are_inert_unless_named() -> None:
    """Nothing is armed without the variable, and a wrong one is refused."""
    none = Failpoints.from_environment({})
    none.hit("after_ack")
    assert not none.armed("after_ack")
    some = Failpoints.from_environment({"FRAUDSTREAM_FAILPOINT": "after_ack:2"})
    assert not some.armed("after_ack")
    some.hit("after_ack")
    assert some.armed("after_ack")
    for text in ("after", "after_ack:0", "after_ack:x", "nowhere:1"):
        with pytest.raises(Refusal, match="FRAUDSTREAM_FAILPOINT"):
            Failpoints.from_environment({"FRAUDSTREAM_FAILPOINT": text})


def test_pieces_shrink_at_once_and_grow_slowly() -> None:
    """A dear piece makes the next ones small; cheap ones double them at most, up to the limit."""
    size = PieceSize(4_000, target_s=0.02)
    size.took(128, 0.001)
    assert size.records == 256
    size.took(256, 0.256)
    assert size.records == 20
    for _ in range(100):
        size.took(size.records, size.records * 1e-6)
    assert size.records == 4_000


def test_an_outage_is_waited_out_and_a_broker_that_prolongs_nothing_is_not() -> None:
    """Nobody answers: wait. The broker is back and prolongs: go on. It is back and does not: restart."""
    now = [100.0]

    def clock() -> float:
        now[0] += 0.5
        return now[0]

    answers: list[bool] = []

    async def held(lease: Lease, script: list[bool], *, prolongs: bool) -> bool:
        async def ask() -> bool:
            answers.append(script.pop(0))
            if answers[-1] and prolongs:
                lease.answered(lease.now_s())
            return answers[-1]

        return await lease.held("anything", ask, lambda: not script)

    lease = Lease(6_000, clock)
    assert asyncio.run(held(lease, [False, False, True, True], prolongs=True)) is True
    assert answers == [False, False, True]
    answers.clear()
    with pytest.raises(RestartMe, match="lease was over"):
        asyncio.run(held(Lease(6_000, clock), [False, True, True], prolongs=False))
    assert answers == [False, True]
    assert asyncio.run(held(Lease(6_000, clock), [], prolongs=False)) is False
