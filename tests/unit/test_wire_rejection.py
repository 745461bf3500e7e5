"""Rejection: each code, who is named, and which of several faults is reported."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.schemas import default_schema, handbook_schema, make_schema, nested_schema
from support.wire import NESTED, TRANSACTION, Raw, decoded, record, rejection

from fraudstream.rules.bundle import Type
from fraudstream.stream.wire.codes import REJECTION_CODES

SCHEMA = default_schema()
LOGIN = {"event_type": "login", "amount": ..., "currency": ..., "balance_before": ...}


def test_the_codes_and_their_order() -> None:
    """The list is the contract's."""
    assert " ".join(REJECTION_CODES) == (
        "too_large empty bad_utf8 bad_json not_object duplicate_member missing_field null_field wrong_type "
        "bad_id bad_time time_out_of_range bad_amount negative_amount amount_precision amount_too_large "
        "unknown_currency"
    )


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({}, "", ""),
        ({"transaction_id": ...}, "missing_field", "transaction_id"),
        ({"event_time": ...}, "missing_field", "event_time"),
        ({"account_id": ...}, "missing_field", "account_id"),
        ({"amount": ...}, "missing_field", "amount"),
        ({"amount": ..., "event_type": ...}, "missing_field", "amount"),
        ({"amount": ..., "event_type": None}, "missing_field", "amount"),
        ({"amount": ..., "event_type": "card_auth"}, "missing_field", "amount"),
        ({"amount": None}, "null_field", "amount"),
        ({"currency": ...}, "missing_field", "currency"),
        ({"currency": None}, "null_field", "currency"),
        (LOGIN, "", ""),
        ({**LOGIN, "event_type": "refund"}, "", ""),
        ({**LOGIN, "amount": None, "currency": None, "balance_before": None}, "", ""),
        ({**LOGIN, "amount": "5"}, "missing_field", "currency"),
        ({**LOGIN, "balance_before": "5", "currency": None}, "null_field", "currency"),
        ({"transaction_id": None}, "null_field", "transaction_id"),
        ({"event_time": None}, "null_field", "event_time"),
        ({"account_id": None}, "null_field", "account_id"),
        ({"customer_id": None, "city": ..., "kind": None, "lat": None, "lon": None}, "", ""),
        ({"transaction_id": 5}, "wrong_type", "transaction_id"),
        ({"account_id": 5}, "", ""),
        ({"account_id": Raw("5.0")}, "wrong_type", "account_id"),
        ({"account_id": Raw("5e3")}, "wrong_type", "account_id"),
        ({"account_id": True}, "wrong_type", "account_id"),
        ({"account_id": {}}, "wrong_type", "account_id"),
        ({"account_id": ["a"]}, "wrong_type", "account_id"),
        ({"ip": 5}, "wrong_type", "ip"),
        ({"event_time": True}, "wrong_type", "event_time"),
        ({"event_time": Raw("1795488011123.0")}, "wrong_type", "event_time"),
        ({"event_time": Raw("1795488011e3")}, "wrong_type", "event_time"),
        ({"event_type": 5}, "wrong_type", "event_type"),
        ({"channel": False}, "wrong_type", "channel"),
        ({"kind": []}, "wrong_type", "kind"),
        ({"segment": 5}, "wrong_type", "segment"),
        ({"mcc": 742}, "", ""),
        ({"mcc": Raw("7.5")}, "wrong_type", "mcc"),
        ({"country": 5}, "wrong_type", "country"),
        ({"country": "china"}, "", ""),
        ({"lat": "30.57"}, "wrong_type", "lat"),
        ({"lon": "104.06"}, "wrong_type", "lon"),
        ({"lat": ..., "lon": {}}, "wrong_type", "lon"),
        ({"account_opened": 17957}, "wrong_type", "account_opened"),
        ({"currency": 156}, "wrong_type", "currency"),
        ({"transaction_id": ""}, "bad_id", "transaction_id"),
        ({"transaction_id": "t" * 64}, "", ""),
        ({"transaction_id": "t" * 65}, "bad_id", "transaction_id"),
        ({"account_id": "a" * 128}, "", ""),
        ({"account_id": "a" * 129}, "bad_id", "account_id"),
        ({"account_id": Raw("9" * 128)}, "", ""),
        ({"account_id": Raw("9" * 129)}, "bad_id", "account_id"),
        ({"account_id": Raw("9" * 5000)}, "bad_id", "account_id"),
        ({"account_id": "!~"}, "", ""),
        ({"account_id": "a b"}, "bad_id", "account_id"),
        ({"account_id": "a\x7f"}, "bad_id", "account_id"),
        ({"account_id": "a\n"}, "bad_id", "account_id"),
        ({"account_id": "a\x00"}, "bad_id", "account_id"),
        ({"account_id": 'a"'}, "bad_id", "account_id"),
        ({"account_id": "a\\"}, "bad_id", "account_id"),
        ({"account_id": "\u00e9"}, "bad_id", "account_id"),
        ({"account_id": "\u0661"}, "bad_id", "account_id"),
        ({"account_id": Raw('"\\u0041"')}, "", ""),
        ({"account_id": Raw('"\\u0020"')}, "bad_id", "account_id"),
        ({"card_id": ""}, "bad_id", "card_id"),
        ({"event_time": "yesterday"}, "bad_time", "event_time"),
        ({"event_time": ""}, "bad_time", "event_time"),
        ({"event_time": "1795488011123"}, "bad_time", "event_time"),
        ({"event_time": 1795488011}, "time_out_of_range", "event_time"),
        ({"event_time": "2100-01-01T00:00:00Z"}, "time_out_of_range", "event_time"),
        ({"account_opened": "2019-02-29"}, "bad_time", "account_opened"),
        ({"account_opened": "1899-12-31"}, "time_out_of_range", "account_opened"),
        ({"amount": "x"}, "bad_amount", "amount"),
        ({"amount": "-5"}, "negative_amount", "amount"),
        ({"balance_before": "-5"}, "", ""),
        ({"amount": "5.001"}, "amount_precision", "amount"),
        ({"balance_before": "5.001"}, "amount_precision", "balance_before"),
        ({"amount": "1" * 20}, "amount_too_large", "amount"),
        ({"currency": "XYZ"}, "unknown_currency", "currency"),
    ],
)
def test_single_faults(changes: dict[str, Any], code: str, field: str) -> None:
    """One member changed: the code and the member that is named."""
    assert rejection(SCHEMA, record(**changes)) == (code, field)


FAULTS: list[tuple[str, str, dict[str, Any]]] = [
    ("missing_field", "account_id", {"account_id": ...}),
    ("null_field", "transaction_id", {"transaction_id": None}),
    ("wrong_type", "customer_id", {"customer_id": True}),
    ("bad_id", "card_id", {"card_id": "a b"}),
    ("bad_time", "event_time", {"event_time": "x"}),
    ("time_out_of_range", "account_opened", {"account_opened": "1800-01-01"}),
]


@pytest.mark.parametrize("first", range(len(FAULTS)))
@pytest.mark.parametrize("second", range(len(FAULTS)))
def test_the_earlier_code_wins_whatever_the_field(first: int, second: int) -> None:
    """Codes are judged over the whole record in their order."""
    changes = {**FAULTS[second][2], **FAULTS[first][2]}
    assert rejection(SCHEMA, record(**changes)) == FAULTS[min(first, second)][:2]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"card_id": "", "device_id": "", "customer_id": ""}, ("bad_id", "customer_id")),
        ({"ip": 1, "event_type": 1}, ("wrong_type", "event_type")),
        ({"lat": "1", "lon": "1"}, ("wrong_type", "lat")),
        ({"amount": "-5", "balance_before": "x"}, ("bad_amount", "balance_before")),
        ({"amount": "5.001", "balance_before": "1" * 20}, ("amount_precision", "amount")),
        ({"amount": "1" * 20, "balance_before": "5.001"}, ("amount_precision", "balance_before")),
        ({"amount": True, "currency": "XYZ"}, ("wrong_type", "amount")),
        ({"amount": "x", "currency": None}, ("null_field", "currency")),
        ({"amount": True, "currency": ...}, ("missing_field", "currency")),
        ({"amount": "5.001", "currency": "XYZ"}, ("unknown_currency", "currency")),
        ({"amount": ..., "event_type": 5}, ("wrong_type", "event_type")),
        ({"amount": ..., "currency": ...}, ("missing_field", "amount")),
    ],
)
def test_several_faults(changes: dict[str, Any], expected: tuple[str, str]) -> None:
    """Inside one code the schema's order decides; a code of money needs what comes before it."""
    assert rejection(SCHEMA, record(**changes)) == expected


def _with(text: str, base: bytes | None = None) -> bytes:
    """Append members to a record's JSON text."""
    return (base or record())[:-1] + b"," + text.encode() + b"}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"account_id":"a"', ("duplicate_member", "account_id")),
        ('"account_id":"6222020200112233"', ("duplicate_member", "account_id")),
        ('"account\\u005fid":"a"', ("duplicate_member", "account_id")),
        ('"lon":1', ("duplicate_member", "lon")),
        ('"city":"x","event_type":"login"', ("duplicate_member", "event_type")),
        ('"currency":"CNY","amount":"1"', ("duplicate_member", "amount")),
        ('"note":1,"note":2', ("", "")),
        ('"note":{"account_id":1,"account_id":2}', ("", "")),
        ('"note":[{"a":1,"a":2}],"":1,"":2', ("", "")),
        ('"Account_id":1,"account_id ":2', ("", "")),
        ('"event.id":"a"', ("", "")),
    ],
)
def test_repeated_members(text: str, expected: tuple[str, str]) -> None:
    """Only members that the schema reads may not occur twice, compared after unescaping."""
    assert rejection(SCHEMA, _with(text)) == expected


def test_repeated_members_come_before_other_faults_and_after_grammar() -> None:
    """The code's place in the order."""
    assert rejection(SCHEMA, _with('"account_id":"a"', record(event_time=...))) == (
        "duplicate_member",
        "account_id",
    )
    assert rejection(SCHEMA, _with('"account_id":"a","x":NaN')) == ("bad_json", "")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('{"at"', '{"at":1,"at"', ("duplicate_member", "head.sent.at")),
        ('"sent"', '"sent":{},"sent"', ("duplicate_member", "head.sent.at")),
        ('"sent"', '"x":1,"x":2,"sent"', ("", "")),
        ('"head"', '"head":null,"head"', ("duplicate_member", "head.id")),
        ('"from"', '"money":{"value":1},"from"', ("duplicate_member", "money.value")),
        ('"lat"', '"lon":1,"lat"', ("duplicate_member", "at.lon")),
        ('{"at": 1795488011123}', "5", ("wrong_type", "head.sent.at")),
        ('{"at": 1795488011123}', "[]", ("wrong_type", "head.sent.at")),
        ('{"at": 1795488011123}', "null", ("missing_field", "head.sent.at")),
        ('{"at": 1795488011123}', "{}", ("missing_field", "head.sent.at")),
        ('{"at": 1795488011123}', '{"at":null}', ("null_field", "head.sent.at")),
        ('{"at": 1795488011123}', '{"at":{"at":1}}', ("wrong_type", "head.sent.at")),
        ('{"value": 12.5, "currency": "EUR"}', '"5"', ("wrong_type", "money.value")),
        ('{"value": 12.5, "currency": "EUR"}', "null", ("", "")),
        ('"EUR"', "null", ("null_field", "money.currency")),
        ('{"account": 62220, "country": "DE"}', "false", ("wrong_type", "from.account")),
    ],
)
def test_nested_paths(old: str, new: str, expected: tuple[str, str]) -> None:
    """Objects on a path are checked like the root; what ends early leads to nothing."""
    text = json.dumps(NESTED)
    assert old in text
    assert rejection(nested_schema(), text.replace(old, new, 1).encode()) == expected


def test_another_bank_changes_the_schema_only() -> None:
    """Other names, integer ids, JSON numbers and a constant currency."""
    good = {
        "tx_id": 7,
        "tx_datetime": "2026-11-24T02:40:11Z",
        "customer_id": 596,
        "terminal_id": 3156,
        "amount": 57.16,
    }
    for change, expected in [
        ({}, ("", "")),
        ({"tx_id": 1.5}, ("wrong_type", "tx_id")),
        ({"amount": 57.161}, ("amount_precision", "amount")),
        ({"terminal_id": ...}, ("missing_field", "terminal_id")),
        ({"currency": "XYZ", "event_type": 5, "txn.currency": "JPY"}, ("", "")),
    ]:
        assert rejection(handbook_schema(), record(good, **change)) == expected


def test_an_event_id_has_at_most_64_characters_whatever_the_schema_says() -> None:
    """Other ids of the same schema may have 128."""
    for size, expected in [(64, ("", "")), (65, ("bad_id", "head.id"))]:
        raw = record(NESTED, head={**NESTED["head"], "id": "i" * size})
        assert rejection(nested_schema(), raw) == expected
    long = {"account": "a" * 128}
    assert rejection(nested_schema(), record(NESTED, **{"from": long})) == ("", "")


def test_an_undeclared_event_type_needs_nothing() -> None:
    """Its raw text is compared with no list of event types."""
    schema = make_schema(
        [
            ("event.type", Type.ENUM, {"path": ("type",), "values": ("payment",)}),
            ("txn.city", Type.CATEGORY, {"path": ("city",), "required_for": ("payment", "refund")}),
        ]
    )
    assert rejection(schema, b'{"type":"payment"}') == ("missing_field", "city")
    assert rejection(schema, b'{"type":"payment","city":null}') == ("null_field", "city")
    assert rejection(schema, b'{"type":"refund"}') == ("", "")
    assert rejection(schema, b"{}") == ("", "")


@pytest.mark.parametrize(
    ("raw", "transaction_id", "event_time"),
    [
        (record(amount="x"), "T2026112400000001", 1795488011123),
        (record(amount="x", event_time="x"), "T2026112400000001", None),
        (record(amount="x", event_time=...), "T2026112400000001", None),
        (record(amount="x", event_time=None), "T2026112400000001", None),
        (record(amount="x", event_time=5), "T2026112400000001", None),
        (record(amount="x", event_time=1795488011123), "T2026112400000001", 1795488011123),
        (record(transaction_id="a b"), None, 1795488011123),
        (record(transaction_id="t" * 65), None, 1795488011123),
        (record(transaction_id=5), None, 1795488011123),
        (record(transaction_id=...), None, 1795488011123),
        (_with('"note":1,"note":2', record(amount="x")), "T2026112400000001", 1795488011123),
        (_with('"note":2,"city":"x"'), None, None),
        (b"[]", None, None),
        (record()[:-1], None, None),
        (None, None, None),
    ],
)
def test_what_is_still_known_of_a_rejected_record(
    raw: bytes | None, transaction_id: str | None, event_time: int | None
) -> None:
    """Id and time are given if the record is an object without duplicates and they pass their own checks."""
    (item,) = decoded(SCHEMA, raw).rejected
    assert (item.transaction_id, item.event_time) == (transaction_id, event_time)


def test_rejected_and_accepted_rows_keep_their_places() -> None:
    """Row numbers, offsets and texts stay with their records."""
    raws = [
        record(account_id="a"),
        b"{",
        record(account_id="b", transaction_id=None),
        None,
        record(account_id="c"),
    ]
    batch = decoded(SCHEMA, *raws)
    assert batch.row.tolist() == [0, 4]
    assert batch.offset.tolist() == [0, 4]
    assert [batch.text(SCHEMA.field("account.id").column, row) for row in range(2)] == ["a", "c"]
    assert [(item.row, item.code) for item in batch.rejected] == [
        (1, "bad_json"),
        (2, "null_field"),
        (3, "empty"),
    ]


def test_example_of_the_contract_is_accepted() -> None:
    """The documented transaction passes, compact or indented."""
    for indent in (None, 2):
        assert rejection(SCHEMA, json.dumps(TRANSACTION, indent=indent).encode()) == ("", "")
