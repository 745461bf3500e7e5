"""The journal's counting rules, content on the control topic, and envelopes."""

from __future__ import annotations

import orjson
import pytest

from fraudstream.stream.control_store import ControlError, find_content, split_content, version_of
from fraudstream.stream.envelope import EnvelopeError, Record, read_envelopes, write_envelope
from fraudstream.stream.journal import (
    InForce,
    JournalError,
    end_record,
    read_journal,
    start_record,
    take_record,
    version_record,
)

KEY = bytes(range(16))
FIRST = {"bundle": "sha256:a", "models": "sha256:m", "core": "1", "mode": "live", "state_from": 0}


def log(*values: bytes) -> list[tuple[int, bytes]]:
    """Number journal records from 0."""
    return list(enumerate(values))


def test_first_version_holds_before_its_from_too():
    """Offsets before the first version are under it, member by member."""
    journal = read_journal(log(take_record("w", "1"), start_record(0, 5, KEY), version_record(0, 5, FIRST)))
    assert journal.start is not None
    assert (journal.start.from_offset, journal.start.hash_key) == (5, KEY)
    assert journal.in_force(0) == journal.in_force(9) == InForce("sha256:a", "sha256:m", "1", "live", 0)


def test_members_change_one_by_one_at_their_from():
    """Each member is in force from its own record's offset on; at equal `from` the later record wins."""
    journal = read_journal(
        log(
            take_record("w", "1"),
            version_record(0, 0, FIRST),
            version_record(0, 20, {"bundle": "sha256:b"}),
            version_record(0, 10, {"mode": "shadow"}),
            version_record(0, 20, {"bundle": "sha256:c"}),
        )
    )
    assert journal.in_force(9).mode == "live"
    assert journal.in_force(10) == InForce("sha256:a", "sha256:m", "1", "shadow", 0)
    assert journal.in_force(20) == InForce("sha256:c", "sha256:m", "1", "shadow", 0)
    assert journal.borders() == (0, 10, 20)
    assert [journal.next_border(at) for at in (0, 9, 10, 20)] == [10, 10, 20, None]


def test_an_older_epochs_records_do_not_count():
    """What a displaced owner lands after the next take counts for nothing."""
    journal = read_journal(
        log(
            take_record("w1", "1"),
            version_record(0, 0, FIRST),
            take_record("w2", "1"),
            version_record(0, 10, {"bundle": "sha256:late"}),
            end_record(0, 10),
            start_record(0, 3, KEY),
        )
    )
    assert journal.in_force(99).bundle == "sha256:a"
    assert journal.ends == ()
    assert journal.start is None
    assert journal.epoch == 2


def test_later_from_wins_over_later_record():
    """A record with a smaller `from` does not undo one with a larger."""
    journal = read_journal(
        log(
            take_record("w", "1"),
            version_record(0, 50, FIRST),
            version_record(0, 10, {"bundle": "sha256:b"}),
        )
    )
    assert journal.in_force(10).bundle == "sha256:b"
    assert journal.in_force(49).models == "sha256:m"
    assert journal.in_force(50).bundle == "sha256:a"


def test_changed_core_needs_a_clean_end_that_only_its_own_takes_follow():
    """Any other take after the end forbids the change."""
    base = [take_record("w", "1"), version_record(0, 0, FIRST), end_record(0, 70)]
    assert read_journal(log(*base)).core_change_at("2") == 70
    assert read_journal(log(*base, take_record("w", "2"))).core_change_at("2") == 70
    assert read_journal(log(*base, take_record("w", "1"), take_record("w", "2"))).core_change_at("2") is None
    assert read_journal(log(*base[:2])).core_change_at("2") is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"{", "journal record 1: not JSON"),
        (b"[]", "journal record 1: not a JSON object"),
        (
            orjson.dumps({"k": "jump", "epoch": 0}),
            "`k` was `jump`, expected take, start, version, step or end",
        ),
        (orjson.dumps({"k": "end", "epoch": 0, "at": -1}), "`at` was -1, expected an offset"),
        (
            orjson.dumps({"k": "start", "epoch": 0, "from": 0, "hash_key": "00"}),
            "was not 32 hexadecimal digits",
        ),
        (version_record(0, 0, {"bundle": "sha256:a"}), "the first version lacks `models`"),
        (version_record(0, 0, {**FIRST, "mode": "dark"}), "`mode` was `dark`, expected live or shadow"),
    ],
)
def test_damage_is_named(value, message):
    """A record that no worker writes stops the reader with its position."""
    with pytest.raises(JournalError, match=message.replace("[", r"\[")):
        read_journal(log(take_record("w", "1"), value))


def test_content_survives_chunks_and_damage_is_found():
    """Content comes back whole from its chunks; a missing or changed chunk is an error."""
    content = bytes(range(256)) * 8_000
    records = dict(split_content("bundle", content))
    assert len(records) == 3
    assert find_content(records, "bundle", version_of(content)) == content
    with pytest.raises(ControlError, match="is not on the control topic"):
        find_content(records, "model", version_of(content))
    keys = list(records)
    with pytest.raises(ControlError, match=r"chunk 2/3 is not"):
        find_content({k: v for k, v in records.items() if k != keys[1]}, "bundle", version_of(content))
    with pytest.raises(ControlError, match="another hash"):
        find_content({**records, keys[1]: b"x"}, "bundle", version_of(content))


def test_envelopes_carry_records_there_and_back():
    """Null keys and values, and any bytes, survive."""
    records = [Record(0, 7, 5, None, b"\xff\x00"), Record(1, 2, -1, b"k", None), Record(0, 8, 6, b"", b"")]
    assert list(read_envelopes([write_envelope(r) for r in records], "f")) == records
    with pytest.raises(EnvelopeError, match="f:2: offset 7 of partition 0 was read before"):
        list(read_envelopes([write_envelope(records[0])] * 2, "f"))
    with pytest.raises(EnvelopeError, match="f:1: not an envelope"):
        list(read_envelopes([b'{"p":0}'], "f"))
