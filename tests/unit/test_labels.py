"""Labels are read strictly: what is none has a code, what is one keeps its members."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from fraudstream.stream.labels import CODES, LABEL_BYTES_MAX, BadLabel, label_event

GOOD: dict[str, Any] = {
    "transaction_id": "T1",
    "src": "1:18231",
    "account_id": "6222",
    "merchant_id": "m7",
    "label": "fraud",
    "labelled_at": "2026-12-01T09:00:00Z",
    "source": "analyst",
    "by": "u123",
}


def test_a_label_becomes_an_event_on_the_partition_of_its_transaction() -> None:
    """The contract: own id, the record's timestamp, the entity keys and `labelled_at` of the label."""
    made = label_event(json.dumps(GOOD).encode(), 3, 12, 1_795_488_000_123, 2)
    assert (made.partition, made.key) == (1, b"6222")
    expected = {
        **{name: item for name, item in GOOD.items() if name != "src"},
        "transaction_id": "label:3-12",
        "event_type": "label",
        "event_time": 1_795_488_000_123,
        "original_id": "T1",
        "original_src": "1:18231",
    }
    assert orjson.loads(made.value) == expected


def test_a_record_without_timestamp_takes_the_time_of_labelling() -> None:
    """2026-12-01T09:00:00Z is 1796115600 seconds after the epoch (`date -d ... +%s`)."""
    made = label_event(json.dumps(GOOD).encode(), 0, 0, -1, 2)
    assert orjson.loads(made.value)["event_time"] == 1_796_115_600_000


def test_a_label_can_not_pretend_to_be_another_event() -> None:
    """Members that the event sets, or that declines are counted by, are not taken from the label."""
    evil = {**GOOD, "event_type": "payment", "status": "declined", "event_time": 5, "original_id": "T2"}
    event = orjson.loads(label_event(json.dumps(evil).encode(), 0, 7, 1_795_488_000_123, 2).value)
    assert (event["event_type"], event["event_time"], event["original_id"]) == (
        "label",
        1_795_488_000_123,
        "T1",
    )
    assert "status" not in event


def changed(**members: Any) -> bytes:
    """Return the good label with other members; None takes one away."""
    return json.dumps({**GOOD, **members}).encode()


HOSTILE: list[tuple[bytes | None, str, str]] = [
    (None, "empty", ""),
    (b"", "empty", ""),
    (b'"' + b"x" * LABEL_BYTES_MAX, "too_large", ""),
    (b"\xff\xfe", "bad_json", ""),
    (b"{", "bad_json", ""),
    (b'{"a":NaN}', "bad_json", ""),
    (b'{"a":"\\ud800"}', "bad_json", ""),
    (b"[" * 5_000, "bad_json", ""),
    (b"[" * 900 + b"]" * 900, "bad_json", ""),
    (b"[1]", "not_object", ""),
    (changed()[:-1] + b',"label":"legitimate"}', "duplicate_member", "label"),
    (changed()[:-1] + b',"x":{"a":1,"a":2}}', "duplicate_member", ""),
    (changed(label=None), "missing_field", "label"),
    (b"{}", "missing_field", "transaction_id"),
    (changed(transaction_id=17), "wrong_type", "transaction_id"),
    (changed(account_id=1.5), "wrong_type", "account_id"),
    (changed(account_id=True), "wrong_type", "account_id"),
    (changed(label=["fraud"]), "wrong_type", "label"),
    (changed(transaction_id="a b"), "bad_id", "transaction_id"),
    (changed(transaction_id="x" * 65), "bad_id", "transaction_id"),
    (changed(account_id=""), "bad_id", "account_id"),
    (changed(source='"'), "bad_id", "source"),
    (changed(labelled_at="yesterday"), "bad_time", "labelled_at"),
    (changed(labelled_at="2026-13-01T09:00:00Z"), "bad_time", "labelled_at"),
    (changed(labelled_at="2026-12-01T09:00:00"), "bad_time", "labelled_at"),
    (changed(labelled_at="1969-12-01T09:00:00Z"), "bad_time", "labelled_at"),
    (changed(label="Fraud"), "bad_label", "label"),
    (changed(src="2:5"), "bad_src", "src"),
    (changed(src="-1:5"), "bad_src", "src"),
    (changed(src="1:01"), "bad_src", "src"),
    (changed(src="0:99999999999999999999"), "bad_src", "src"),
]


@pytest.mark.parametrize(("value", "code", "field"), HOSTILE, ids=range(len(HOSTILE)))
def test_what_is_no_label_is_rejected_with_code_and_field(value: bytes | None, code: str, field: str) -> None:
    """Two partitions of the input; nothing of the value is quoted."""
    with pytest.raises(BadLabel) as caught:
        label_event(value, 0, 1, 1_795_488_000_123, 2)
    assert (caught.value.code, caught.value.field) == (code, field)


def test_every_code_has_a_case() -> None:
    """The closed set of the metric is what can come."""
    assert {code for _, code, _ in HOSTILE} == set(CODES)


def test_an_account_that_is_a_number_is_its_digits() -> None:
    """As the schema reads it (`from: [string, integer]`): the key has to be the transaction's."""
    assert label_event(changed(account_id=6222), 0, 1, 5, 2).key == b"6222"
