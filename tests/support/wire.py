"""Records, slices and outcomes for tests of the wire."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from fraudstream.rules.bundle import Schema, Type
from fraudstream.stream.outcome import Outcome
from fraudstream.stream.wire.decode import decode
from fraudstream.stream.wire.tables import compile_schema
from fraudstream.stream.wire.types import Batch, Slice

KEY = bytes(range(16))

TRANSACTION: dict[str, Any] = {
    "transaction_id": "T2026112400000001",
    "event_type": "payment",
    "event_time": "2026-11-24T02:40:11.123Z",
    "account_id": "6222020200112233",
    "customer_id": "C10023",
    "card_id": None,
    "direction": "out",
    "kind": "transfer",
    "channel": "mobile",
    "amount": "1250.00",
    "currency": "CNY",
    "counterparty_id": "6217000010001234",
    "counterparty_bank": "ICBC",
    "merchant_id": None,
    "mcc": None,
    "device_id": "d-8f31",
    "ip": "203.0.113.9",
    "country": "CN",
    "city": "Chengdu",
    "lat": 30.57,
    "lon": 104.06,
    "balance_before": "8400.10",
    "account_opened": "2019-03-02",
    "segment": "retail",
    "original_id": None,
    "transfer_id": None,
    "status": None,
}
"""The contract's example."""

NESTED: dict[str, Any] = {
    "head": {"id": "N1", "type": "card_auth", "sent": {"at": 1795488011123}},
    "from": {"account": 62220, "country": "DE"},
    "money": {"value": 12.5, "currency": "EUR"},
    "rate": 1.25,
    "attempts": 3,
    "took_ms": 1500,
    "present": True,
    "due": "2026-12-01",
    "at": {"lat": 48.1, "lon": 11.6},
    "tag": "x",
}
"""A record of ``nested_schema``."""


class Raw(str):
    """JSON text that stands for a member's value as it is."""

    __slots__ = ()


def record(base: dict[str, Any] = TRANSACTION, /, **changes: Any) -> bytes:
    """Return a record as JSON, some members changed; `...` leaves a member out, `Raw` is spliced in."""
    members = {**base, **changes}
    parts = [
        f"{json.dumps(name)}:{value if isinstance(value, Raw) else json.dumps(value, ensure_ascii=False)}"
        for name, value in members.items()
        if value is not ...
    ]
    return ("{" + ",".join(parts) + "}").encode()


def slice_of(values: Sequence[bytes | None], partition: int = 0, first_offset: int = 0) -> Slice:
    """Return a slice of consecutive offsets without keys and record times."""
    numbers = range(first_offset, first_offset + len(values))
    return Slice.from_records(partition, values, [None] * len(values), numbers, [-1] * len(values))


def decoded(schema: Schema, *values: bytes | None, key: bytes = KEY) -> Batch:
    """Return the batch of some record values."""
    return decode(slice_of(values), compile_schema(schema), key)


def rejection(schema: Schema, value: bytes | None) -> tuple[str, str]:
    """Return (code, field) of one record, ("", "") if it is accepted."""
    batch = decoded(schema, value)
    assert len(batch) + len(batch.rejected) == 1
    return (batch.rejected[0].code, batch.rejected[0].field) if batch.rejected else ("", "")


def values_of(batch: Batch, row: int = 0) -> dict[str, Any]:
    """Return a row's fields as Python values: texts, enum names, floats, (lat, lon), integers, None."""
    found: dict[str, Any] = {}
    for field in batch.schema.fields:
        at = field.column
        words = batch.value[at : at + field.type.width, row]
        if not batch.state[at, row]:
            assert not words.any()
            found[field.name] = None
        elif field.type.is_text:
            found[field.name] = batch.text(at, row)
        elif field.type is Type.ENUM:
            found[field.name] = field.values[words[0]]
        elif field.type is Type.COUNTRY:
            found[field.name] = chr(words[0] >> 8) + chr(words[0] & 255)
        elif field.type is Type.NUMBER:
            found[field.name] = float(words.view(np.float64)[0])
        elif field.type is Type.GEO:
            found[field.name] = tuple(np.ascontiguousarray(words).view(np.float64).tolist())
        elif field.type is Type.BOOL:
            found[field.name] = bool(words[0])
        else:
            found[field.name] = int(words[0])
    return found


def read(schema: Schema, value: bytes) -> dict[str, Any]:
    """Return the fields of one accepted record."""
    batch = decoded(schema, value)
    assert not batch.rejected, batch.rejected
    return values_of(batch)


def outcome_of(count: int) -> Outcome:
    """Return an outcome that passes every row without score, model or reasons."""
    return Outcome(
        decision=np.zeros(count, np.uint8),
        score=np.zeros(count, np.int32),
        flags=np.zeros(count, np.uint16),
        duplicate_of=np.full(count, -1, np.int64),
        champion_micro=np.full(count, -1, np.int64),
        reasons={},
    )
