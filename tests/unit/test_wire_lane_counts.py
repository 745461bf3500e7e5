"""What the fast lane leaves to the exact lane is counted by reason."""

from __future__ import annotations

from support.schemas import default_schema
from support.wire import KEY, record, slice_of

from fraudstream.stream.wire.decode import decode
from fraudstream.stream.wire.tables import compile_schema
from fraudstream.stream.wire.types import EXACT_REASONS


def test_records_of_the_exact_lane_are_counted_by_reason() -> None:
    """Rejected ones; a name with an escape; a number that one division does not round."""
    escaped = record().replace(b'"account_id"', b'"\\u0061ccount_id"')
    long_number = record().replace(b"30.57", b"30.57000000000000000001")
    assert record() not in (escaped, long_number)
    values = [record(), None, b"{", record(amount="x"), escaped, escaped, long_number, record()]
    batch = decode(slice_of(values), compile_schema(default_schema()), KEY)
    assert batch.exact == {"rejected": 3, "tokens": 2, "values": 1}
    assert set(batch.exact) == set(EXACT_REASONS)
    assert (len(batch), len(batch.rejected)) == (5, 3)


def test_plain_records_take_the_fast_lane() -> None:
    """No reason is counted."""
    batch = decode(slice_of([record()] * 5), compile_schema(default_schema()), KEY)
    assert batch.exact == {}
