"""Made-up records that fit a schema: they run every kernel once before real ones arrive."""

from __future__ import annotations

import orjson

from fraudstream.rules.bundle import Field, Schema, Type
from fraudstream.stream.wire.types import Slice

SAMPLE_TIME_MS = 1_768_478_400_000
"""2026-01-15T12:00:00Z."""

_VALUES: dict[Type, object] = {
    Type.ID: "a",
    Type.CATEGORY: "a",
    Type.TIME: SAMPLE_TIME_MS,
    Type.DATE: "2020-01-01",
    Type.MONEY: "1",
    Type.NUMBER: 1,
    Type.INTEGER: 1,
    Type.DURATION: 1,
    Type.BOOL: True,
    Type.COUNTRY: "CN",
    Type.GEO: 1,
}


def sample_record(schema: Schema, **changes: object) -> bytes:
    """Return a transaction with every field present.

    Args:
        schema: says which members.
        changes: values by field name, dots written as ``__``.
    """
    currencies = {field.currency for field in schema.fields}
    record: dict[str, object] = {}
    for field in schema.fields:
        value = changes.get(field.name.replace(".", "__"), _value(field, schema, currencies))
        for path in (field.path, field.path2):
            if path:
                _put(record, path, value)
    return orjson.dumps(record)


def sample_slice(schema: Schema, partition: int, begin: int) -> Slice:
    """Return eight records from offset ``begin`` on: plain, repeated, late, early and unreadable ones."""
    time = "__".join(schema.event_time.split("."))
    name = "__".join(schema.event_id.split("."))
    plain = sample_record(schema, **{name: f"w{begin}"})
    late = sample_record(schema, **{name: f"l{begin}", time: SAMPLE_TIME_MS - 400 * 86_400_000})
    ahead = sample_record(schema, **{name: f"f{begin}", time: SAMPLE_TIME_MS + 86_400_000})
    other = sample_record(schema, **{name: f"w{begin}", time: SAMPLE_TIME_MS - 1_000})
    values = [plain, plain, other, late, ahead, b"{", None, sample_record(schema, **{name: f"x{begin}"})]
    return Slice.from_records(
        partition, values, [b"a"] * 8, list(range(begin, begin + 8)), [SAMPLE_TIME_MS] * 8
    )


def _value(field: Field, schema: Schema, currencies: set[str | None]) -> object:
    if field.name in currencies:
        return schema.base_currency
    return field.values[0] if field.type is Type.ENUM else _VALUES[field.type]


def _put(record: dict[str, object], path: tuple[str, ...], value: object) -> None:
    place = record
    for name in path[:-1]:
        inner = place.setdefault(name, {})
        assert isinstance(inner, dict)  # the schema's check: no path runs through another's value
        place = inner
    place[path[-1]] = value
