"""Decode of any bytes: a row or a rejection, as the contract says, never an exception."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.contract_oracle import judge
from support.schemas import default_schema, handbook_schema, nested_schema
from support.wire import NESTED, TRANSACTION, decoded, values_of

from fraudstream.rules.bundle import Schema

SCHEMAS = {"default": default_schema(), "nested": nested_schema(), "handbook": handbook_schema()}
BASES: dict[str, dict[str, Any]] = {
    "default": TRANSACTION,
    "nested": NESTED,
    "handbook": {
        "tx_id": 1,
        "tx_datetime": "2026-11-24T02:40:11Z",
        "customer_id": 596,
        "terminal_id": 3156,
        "amount": 57.16,
    },
}

SNIPPETS = st.sampled_from(
    [
        "null", "true", "false", "0", "-0", "0.0", "-0.0", "1", "-1", "5", "1.5", "1e2", "1E400", "-1e400",
        "1e-400", "90", "90.0000001", "-180", "181", "9223372036854775807", "9223372036854775808",
        "-9223372036854775808", "-9223372036854775809", "1795488011123", "946684799999", "4102444800000",
        "1" * 400, "0.1", "12.345", "100000000000.00", "100000000000.01", '""', '"a"', '" "', '"a b"',
        '"a\\"b"', '"a\\\\b"', '"\\u0041"', '"\\u00e9"', '"é"', '"成都"', '"\\ud83d\\ude00"', '"\\ud83d"',
        '"\\u0000"', f'"{"i" * 64}"', f'"{"i" * 65}"', f'"{"i" * 128}"', f'"{"i" * 129}"',
        '"2026-11-24T02:40:11.123Z"', '"2026-11-24t02:40:11+23:59"', '"1999-12-31T23:59:59.9999Z"',
        '"2100-01-01T00:00:00Z"', '"2026-02-29T00:00:00Z"', '"2026-11-24T02:40:60Z"', '"2019-03-02"',
        '"1899-12-31"', '"2101-01-01"', '"2026-02-30"', '"CNY"', '"JPY"', '"KWD"', '"cny"', '"XXX"',
        '"payment"', '"card_auth"', '"login"', '"refund"', '"mobile"', '"CN"', '"cn"', '"CHN"', '"0"',
        '"-0"', '"5.00"', '"5.001"', '"-5"', '"1e2"', '"05"', '"\uff11"', '"100000000000.00"',
        '"100000000000.01"', '"true"', "[]", "{}", "[1]", '{"id":"x"}', '{"id":"x","id":"y"}',
        '{"at":1795488011123}', '{"value":"1","currency":"EUR"}', '{"lat":1,"lon":2}', '{"lat":1,"lat":2}',
        '{"account":"a"}', "[" * 15 + "]" * 15, "[" * 16 + "]" * 16, "NaN", "01", "1.", "nul", '"\t"', "",
    ]
)  # fmt: skip


def _names(members: dict[str, Any]) -> list[str]:
    inner = [name for value in members.values() if isinstance(value, dict) for name in _names(value)]
    return [*members, *inner]


@st.composite
def _object(draw: st.DrawFn, members: dict[str, Any], names: list[str], depth: int = 0) -> str:
    """Draw JSON text of ``members`` with members left out, replaced, repeated, escaped and reordered."""
    parts: list[tuple[str, str]] = []
    for name, value in members.items():
        change = draw(st.integers(0, 19))
        if change == 0:
            continue
        if change <= 2:
            text = draw(SNIPPETS)
        elif isinstance(value, dict):
            text = draw(_object(value, names, depth + 1))
        else:
            text = json.dumps(value)
        parts.append((name, text))
    if draw(st.integers(0, 5)) == 0:
        parts.append((draw(st.sampled_from([*names, "unread", ""])), draw(SNIPPETS)))
    if draw(st.booleans()):
        parts = draw(st.permutations(parts))
    gap = draw(st.sampled_from(["", "", " ", "\n\t"]))
    written = []
    for name, text in parts:
        plain = draw(st.integers(0, 9)) > 0
        key = json.dumps(name) if plain else '"' + "".join(f"\\u{ord(char):04x}" for char in name) + '"'
        written.append(f"{gap}{key}{gap}:{gap}{text}")
    return "{" + ",".join(written) + gap + "}"


def check(raw: bytes, schema: Schema) -> None:
    """Compare the decoder with the literal reading of the contract."""
    batch = decoded(schema, raw)
    expected = judge(raw, schema)
    if isinstance(expected, tuple):
        assert [(item.code, item.field) for item in batch.rejected] == [expected]
        assert len(batch) == 0
    else:
        assert batch.rejected == ()
        assert values_of(batch) == expected


@pytest.mark.parametrize("name", SCHEMAS)
@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_records_are_read_as_the_contract_says(name: str, data: st.DataObject) -> None:
    """Altered records give the values, or the first code and field, of an independent reading."""
    base = BASES[name]
    check(data.draw(_object(base, _names(base))).encode(), SCHEMAS[name])


@settings(max_examples=300, deadline=None)
@given(raw=st.binary(max_size=200), name=st.sampled_from(sorted(SCHEMAS)))
def test_any_bytes_are_judged(raw: bytes, name: str) -> None:
    """Arbitrary bytes end in a rejection or a row."""
    check(raw, SCHEMAS[name])


@settings(max_examples=300, deadline=None)
@given(
    at=st.integers(0, 2000),
    patch=st.one_of(
        st.binary(max_size=4), st.sampled_from([b'"', b"\\", b"{", b"}", b",", b"\xed\xa0\x80", b"\\ud8"])
    ),
    cut=st.integers(0, 4),
    name=st.sampled_from(sorted(SCHEMAS)),
)
def test_damaged_records_are_judged(at: int, patch: bytes, cut: int, name: str) -> None:
    """A few bytes changed anywhere in a good record."""
    raw = json.dumps(BASES[name], ensure_ascii=False).encode()
    at %= len(raw) + 1
    check(raw[:at] + patch + raw[at + cut :], SCHEMAS[name])


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_decoding_together_equals_decoding_alone(data: st.DataObject) -> None:
    """A record's columns, hashes and rejection do not depend on its neighbours."""
    schema, base = SCHEMAS["default"], BASES["default"]
    raws = [text.encode() for text in data.draw(st.lists(_object(base, _names(base)), max_size=6))]
    together = decoded(schema, *raws)
    assert sorted([*together.row.tolist(), *(item.row for item in together.rejected)]) == list(
        range(len(raws))
    )
    for at, row in enumerate(together.row.tolist()):
        alone = decoded(schema, raws[row])
        assert np.array_equal(alone.value[:, 0], together.value[:, at])
        assert np.array_equal(alone.state[:, 0], together.state[:, at])
        assert np.array_equal(alone.body_hash[:, 0], together.body_hash[:, at])
        assert values_of(alone) == values_of(together, at)
    for item in together.rejected:
        (alone_item,) = decoded(schema, raws[item.row]).rejected
        assert (alone_item.code, alone_item.field) == (item.code, item.field)
        assert (alone_item.transaction_id, alone_item.event_time) == (item.transaction_id, item.event_time)
