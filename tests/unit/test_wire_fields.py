"""Accepted records: values of every type, defaults, hashes that depend on content only."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from support.schemas import default_schema, handbook_schema, make_schema, nested_schema
from support.wire import KEY, NESTED, TRANSACTION, Raw, decoded, read, record, slice_of

from fraudstream.rules.bundle import Type
from fraudstream.rules.siphash import hash_text
from fraudstream.stream.wire.decode import decode
from fraudstream.stream.wire.tables import compile_schema
from fraudstream.stream.wire.types import PAD_BYTES

SCHEMA = default_schema()
NOT_SENT = (
    "account.last_active",
    "auth.method",
    "auth.sim_swap_at",
    "branch.id",
    "card.bin",
    "counterparty.added_at",
    "counterparty.country",
    "counterparty.iban",
    "counterparty.name",
    "counterparty.trusted",
    "customer.birth_date",
    "profile.changed",
    "terminal.id",
    "txn.funding",
    "txn.ip_kind",
)
"""Optional fields of the shipped schema that the documented transaction has no members for."""


def test_example_of_the_contract() -> None:
    """Every field of the documented transaction."""
    assert read(SCHEMA, record()) == {
        "event.id": "T2026112400000001",
        "event.type": "payment",
        "event.time": 1795488011123,
        "account.id": "6222020200112233",
        "account.opened": 17957,
        "account.segment": "retail",
        "customer.id": "C10023",
        "card.id": None,
        "device.id": "d-8f31",
        "merchant.id": None,
        "merchant.mcc": None,
        "counterparty.id": "6217000010001234",
        "counterparty.bank": "ICBC",
        "txn.amount": 125000,
        "txn.amount_original": 125000,
        "txn.currency": "CNY",
        "txn.direction": "out",
        "txn.kind": "transfer",
        "txn.channel": "mobile",
        "txn.ip": "203.0.113.9",
        "txn.country": "CN",
        "txn.city": "Chengdu",
        "txn.geo": (30.57, 104.06),
        "txn.balance_before": 840010,
        "txn.status": None,
        "txn.original_id": None,
        "txn.transfer_id": None,
        "customer.country": "CN",
    } | dict.fromkeys(NOT_SENT)


def test_handbook_record() -> None:
    """Integer ids are their digits; constants stand in every row."""
    raw = b'{"tx_id":7,"tx_datetime":1795488011123,"customer_id":596,"terminal_id":"3156","amount":57.16}'
    assert read(handbook_schema(), raw) == {
        "event.id": "7",
        "event.type": "payment",
        "event.time": 1795488011123,
        "account.id": "596",
        "merchant.id": "3156",
        "txn.amount": 5716,
        "txn.currency": "EUR",
    }


def test_nested_record_with_every_type() -> None:
    """Paths into objects, and the types that the shipped schema does not use."""
    assert read(nested_schema(), record(NESTED)) == {
        "event.id": "N1",
        "event.type": "card_auth",
        "event.time": 1795488011123,
        "account.id": "62220",
        "txn.amount": 1250,
        "txn.currency": "EUR",
        "txn.rate": 1.25,
        "txn.attempts": 3,
        "txn.took": 1500,
        "txn.present": True,
        "txn.due": 20788,
        "txn.country": "DE",
        "txn.geo": (48.1, 11.6),
        "txn.tag": "x",
    }


def test_defaults_stand_for_absent_members() -> None:
    """A default is used for an absent member; for a null one only where it is an enum."""
    head, money = NESTED["head"], {"value": "7"}
    absent = read(
        nested_schema(), record(NESTED, rate=..., present=..., money=money, head={**head, "type": None})
    )
    assert (absent["txn.rate"], absent["txn.present"], absent["txn.currency"]) == (1.5, False, "CNY")
    assert absent["event.type"] == "payment"
    null = read(nested_schema(), record(NESTED, rate=None, present=None))
    assert (null["txn.rate"], null["txn.present"]) == (None, None)


@pytest.mark.parametrize(
    ("member", "sent", "field", "expected"),
    [
        ("rate", "0.1", "txn.rate", 0.1),
        ("rate", "-0.0", "txn.rate", 0.0),
        ("rate", "-0", "txn.rate", 0.0),
        ("rate", "1e400", "txn.rate", None),
        ("rate", "-1e400", "txn.rate", None),
        ("rate", "1e-400", "txn.rate", 0.0),
        ("rate", "1.7976931348623157e308", "txn.rate", 1.7976931348623157e308),
        ("rate", "1.7976931348623159e308", "txn.rate", None),
        ("rate", "9007199254740993", "txn.rate", 9007199254740992.0),
        ("rate", "0." + "1" * 6000, "txn.rate", 0.1111111111111111),
        ("rate", "9" * 400, "txn.rate", None),
        ("attempts", "9223372036854775807", "txn.attempts", 2**63 - 1),
        ("attempts", "-9223372036854775808", "txn.attempts", -(2**63)),
        ("attempts", "9223372036854775808", "txn.attempts", None),
        ("attempts", "-9223372036854775809", "txn.attempts", None),
        ("attempts", "9" * 6000, "txn.attempts", None),
        ("attempts", "-0", "txn.attempts", 0),
        ("took_ms", "-5", "txn.took", -5),
        ("tag", '""', "txn.tag", ""),
        ("tag", "-0", "txn.tag", "-0"),
        ("tag", "742", "txn.tag", "742"),
        ("tag", '"0742"', "txn.tag", "0742"),
        ("tag", '"\\u0000\\ud83d\\ude00"', "txn.tag", "\x00\U0001f600"),
        ("tag", '"\u6210\u90fd"', "txn.tag", "\u6210\u90fd"),
        ("tag", '"' + "x" * 60_000 + '"', "txn.tag", "x" * 60_000),
    ],
)
def test_borders_of_types(member: str, sent: str, field: str, expected: Any) -> None:
    """Nearest binary64, int64, texts of any content."""
    value = read(nested_schema(), record(NESTED, **{member: Raw(sent)}))[field]
    assert value == expected
    assert str(value) == str(expected)  # no negative zero


@pytest.mark.parametrize(
    ("changes", "field", "expected", "counted"),
    [
        ({"lat": 90, "lon": -180}, "txn.geo", (90.0, -180.0), ""),
        ({"lat": -90.0, "lon": 180.0}, "txn.geo", (-90.0, 180.0), ""),
        ({"lat": Raw("90.00000000000001")}, "txn.geo", None, "bad_geo"),
        ({"lon": Raw("-180.00000000000003")}, "txn.geo", None, "bad_geo"),
        ({"lat": Raw("1e400")}, "txn.geo", None, "bad_geo"),
        ({"lat": None}, "txn.geo", None, "bad_geo"),
        ({"lon": ...}, "txn.geo", None, "bad_geo"),
        ({"lat": ..., "lon": None}, "txn.geo", None, ""),
        ({"channel": "pigeon"}, "txn.channel", None, "undeclared"),
        ({"channel": "Mobile"}, "txn.channel", None, "undeclared"),
        ({"channel": ""}, "txn.channel", None, "undeclared"),
        ({"channel": None}, "txn.channel", None, ""),
        ({"event_type": "refund"}, "event.type", None, "undeclared"),
        ({"country": "cn"}, "txn.country", None, "undeclared"),
        ({"country": "CHN"}, "txn.country", None, "undeclared"),
        ({"country": "C\u0130"}, "txn.country", None, "undeclared"),
        ({"country": "CN\n"}, "txn.country", None, "undeclared"),
        ({"country": "ZZ"}, "txn.country", "ZZ", ""),
    ],
)
def test_values_that_are_missing_by_rule_are_counted(
    changes: dict[str, Any], field: str, expected: Any, counted: str
) -> None:
    """Such a value rejects nothing; it is missing and counted with its cause."""
    assert read(SCHEMA, record(**changes))[field] == expected
    batch = decoded(SCHEMA, record(**changes), record(), record(**changes), record(amount="x", **changes))
    assert batch.missing == ({(field, counted): 2} if counted else {})


def test_texts_are_hashed_under_the_key() -> None:
    """Both words are SipHash-1-3-128 of the unescaped UTF-8; another key gives other words."""
    raw = record(city="\u6210\u90fd", account_id=Raw('"\\u0041B"'))
    batch = decoded(SCHEMA, raw)
    for field in SCHEMA.fields:
        if field.type.is_text:
            text = batch.text(field.column, 0)
            expected = (0, 0) if text is None else hash_text(text.encode(), KEY)
            assert tuple(batch.value[field.column : field.column + 2, 0].tolist()) == expected
    assert batch.text(SCHEMA.field("account.id").column, 0) == "AB"
    other = decoded(SCHEMA, raw, key=bytes(16))
    assert other.value[0, 0] != batch.value[0, 0]
    assert not np.array_equal(other.body_hash, batch.body_hash)


def _escaped(text: str) -> str:
    return "".join(f"\\u{unit:04x}" for unit in memoryview(text.encode("utf-16-le")).cast("H"))


def test_columns_and_hash_do_not_depend_on_how_it_is_written() -> None:
    """Member order, white space, escapes, zeros behind amounts, unread members: the same columns."""
    city = "\u6210\u90fd\U0001f600"
    members = {**TRANSACTION, "city": city}
    plain = json.dumps(members, ensure_ascii=False)
    variants = [
        json.dumps(members),
        json.dumps(members, indent=3, ensure_ascii=False),
        json.dumps(dict(reversed(members.items()))),
        plain.replace('"account_id"', f'"{_escaped("account_id")}"').replace(city, _escaped(city)),
        plain.replace('"1250.00"', "1250").replace('"8400.10"', "8400.1000"),
        plain.replace('"2026-11-24T02:40:11.123Z"', '"2026-11-24t10:40:11.12399+08:00"'),
        plain.replace('"6222020200112233"', "6222020200112233"),
        plain.replace("30.57", "3057e-2"),
        plain.replace('"card_id": null, ', ""),
        plain.replace("{", '{"note":{"a":[1,2]},"note":"[{",', 1),
    ]
    batch = decoded(SCHEMA, plain.encode(), *(text.encode() for text in variants))
    assert batch.rejected == ()
    for row in range(1, len(batch)):
        assert np.array_equal(batch.value[:, row], batch.value[:, 0]), variants[row - 1]
        assert np.array_equal(batch.state[:, row], batch.state[:, 0])
        assert np.array_equal(batch.body_hash[:, row], batch.body_hash[:, 0])


def test_every_field_is_part_of_the_row_hash() -> None:
    """Changing or leaving out any one member changes both words of the hash."""
    other = {
        "transaction_id": "T2", "event_type": "card_auth", "event_time": 1795488011124, "account_id": "b",
        "customer_id": "C2", "card_id": "x", "direction": "in", "kind": "fee", "channel": "web",
        "amount": "1250.01", "currency": "USD", "counterparty_id": "y", "counterparty_bank": "",
        "merchant_id": "m", "mcc": "0742", "device_id": "d", "ip": "::1", "country": "DE", "city": "",
        "lat": 30.58, "lon": 0, "balance_before": "0", "account_opened": "1970-01-01", "segment": "",
        "original_id": "o", "transfer_id": "t", "status": "approved",
    }  # fmt: skip
    assert set(other) == set(TRANSACTION)
    raws = [record(), *(record(**{name: value}) for name, value in other.items())]
    raws += [
        record(**{name: None}) for name in ("direction", "city", "balance_before", "account_opened", "lat")
    ]
    batch = decoded(SCHEMA, *raws)
    assert batch.rejected == ()
    assert len(set(batch.body_hash[0].tolist())) == len(set(batch.body_hash[1].tolist())) == len(raws)


def test_the_last_column_is_part_of_the_row_hash() -> None:
    """A schema that ends in a one-word field."""
    schema = make_schema([("a", Type.CATEGORY, {"path": ("a",)}), ("b", Type.INTEGER, {"path": ("b",)})])
    batch = decoded(schema, b'{"a":"x","b":1}', b'{"a":"x","b":2}', b'{"b":2}', b'{"a":"x"}')
    assert len(set(batch.body_hash[0].tolist())) == len(set(batch.body_hash[1].tolist())) == 4


def test_missing_differs_from_zero_in_the_row_hash() -> None:
    """The states are hashed, not only the words."""
    zero = record(balance_before="0", account_opened="1970-01-01", direction="in", lat=0, lon=0)
    none = record(balance_before=None, account_opened=None, direction=None, lat=None, lon=None)
    batch = decoded(SCHEMA, zero, none)
    assert np.array_equal(batch.value[:, 0], batch.value[:, 1])
    assert batch.body_hash[0, 0] != batch.body_hash[0, 1]


def test_batches_own_their_memory_and_are_laid_out_for_kernels() -> None:
    """Dtypes, contiguity, padding and writability that kernels rely on, also for no rows at all."""
    for raws in ([], [b"x"], [record()], [record()] * 3):
        batch = decoded(SCHEMA, *raws)
        shape = (SCHEMA.words, len(batch))
        for array, dtype in [
            (batch.value, "i8"),
            (batch.state, "u1"),
            (batch.start, "i4"),
            (batch.size, "i4"),
        ]:
            assert array.shape == shape
            assert array.dtype == dtype
            assert array.flags.c_contiguous
        assert batch.value.flags.writeable
        assert batch.state.flags.writeable
        assert batch.body_hash.shape == (2, len(batch))
        assert len(batch.buffer) >= int((batch.start + batch.size).max(initial=0)) + PAD_BYTES
        for field in SCHEMA.fields:
            if field.type.width == 2:
                assert np.array_equal(batch.state[field.column], batch.state[field.column + 1])


def test_parts_of_a_slice_decode_alike() -> None:
    """A part shares its slice's buffer; rows are counted from the part, offsets stay."""
    tables = compile_schema(SCHEMA)
    source = slice_of([record(account_id=f"a{number}") for number in range(5)], first_offset=100)
    whole, part = decode(source, tables, KEY), decode(source.part(2, 4), tables, KEY)
    assert part.row.tolist() == [0, 1]
    assert part.offset.tolist() == [102, 103]
    assert np.array_equal(part.value, whole.value[:, 2:4])
    assert np.array_equal(part.body_hash, whole.body_hash[:, 2:4])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            [("a", Type.ID, {"path": ("x",)}), ("b", Type.ID, {"path": ("x", "y")})],
            "give one of them another path",
        ),
        ([("a", Type.ID, {"path": ("x", "")})], "has an empty member name"),
        ([("a", Type.ID, {"path": ()})], "has an empty member name"),
        ([("a", Type.GEO, {"path": ("x",)})], "has two paths"),
        ([("a", Type.GEO, {"path": ("x",), "path2": ("y",), "default": "1"})], "has no default"),
        ([("a", Type.MONEY, {"path": ("x",), "currency": "nope"})], "is no field of the schema"),
        ([("a", Type.MONEY, {"path": ("x",)})], "is no field of the schema"),
        (
            [("a", Type.MONEY, {"path": ("x",), "currency": "c"}), ("c", Type.CATEGORY, {"const": "EURO"})],
            "no currency of ISO 4217",
        ),
        ([("a", Type.ENUM, {"path": ("x",), "values": ("p",), "default": "q"})], "is not one of its values"),
        ([("a", Type.NUMBER, {"path": ("x",), "default": "1,5"})], "is no number"),
        ([("a", Type.INTEGER, {"path": ("x",), "default": "1.5"})], "is no integer"),
        ([("a", Type.BOOL, {"const": "yes"})], "is no bool"),
        ([("a", Type.TIME, {"const": "2026"})], "is no time"),
        ([("a", Type.DATE, {"path": ("x",), "default": "2026-02-30"})], "is no date"),
        ([("a", Type.COUNTRY, {"const": "china"})], "is not one of its values"),
        ([("a", Type.ID, {"const": "a b"})], "is no id"),
    ],
)
def test_schemas_that_no_record_can_satisfy_are_refused(fields: list[Any], message: str) -> None:
    """A wrong default, constant, path or currency is found before any record is read."""
    with pytest.raises(ValueError, match=message):
        compile_schema(make_schema(fields))


def test_two_fields_may_read_one_member_differently() -> None:
    """A member may be an id and a category at once, and signed as well as unsigned money."""
    schema = make_schema(
        [
            ("a.id", Type.ID, {"path": ("x",), "from_integer": True}),
            ("a.tag", Type.CATEGORY, {"path": ("x",), "from_integer": True}),
            ("m.signed", Type.MONEY, {"path": ("m",), "currency": "c", "signed": True}),
            ("m.plain", Type.MONEY, {"path": ("m",), "currency": "c"}),
            ("c", Type.CATEGORY, {"const": "JPY"}),
        ]
    )
    assert read(schema, b'{"x":12,"m":"5"}') == {
        "a.id": "12",
        "a.tag": "12",
        "m.signed": 5,
        "m.plain": 5,
        "c": "JPY",
    }
    (item,) = decoded(schema, b'{"x":12,"m":"-5"}').rejected
    assert (item.code, item.field) == ("negative_amount", "m")
