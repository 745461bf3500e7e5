"""Another bank's feed needs another schema.yaml and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import support

from fraudstream.rules.compiler.compile import compile_sources, read_directory
from fraudstream.stream.pipeline import Pipeline
from fraudstream.stream.wire.types import Slice

DIRECTORY = Path(support.__path__[0]) / "other_bank"


def payment(number: int, amount: str, hour: int) -> bytes:
    """Return a payment in the other bank's words; the amount stands as its digits."""
    return (
        f'{{"tx_id":{number},"tx_datetime":"2018-08-08T{hour:02d}:00:00Z","customer_id":596,'
        f'"terminal_id":3156,"amount":{amount}}}'
    ).encode()


def test_other_names_integer_ids_and_a_constant_currency_are_yaml_only() -> None:
    """The same core decides the other feed: exact money, integer ids as digits, faults named by its paths."""
    bundle = compile_sources(read_directory(DIRECTORY)).bundle
    assert bundle is not None
    values = [
        payment(1, "10.10", 8),
        payment(2, "14.10", 9),
        payment(3, "60.50", 10),
        payment(4, "60.505", 11),
        payment(5, "61", 12),
    ]
    part = Slice.from_records(0, values, [b"596"] * 5, range(5), [-1] * 5)
    result = Pipeline(0, bytes(16), bundle, None).process(part)
    decisions = [json.loads(result.encoded.record(row)) for row in range(5)]
    assert [item["transaction_id"] for item in decisions] == ["1", "2", "3", "4", "5"]
    assert [item["decision"] for item in decisions] == ["pass", "pass", "pass", "alert", "pass"]
    assert decisions[3]["reasons"] == [{"code": "malformed", "text": "amount_precision amount"}]
    # (10.10 + 14.10 + 60.50 + 61) / 4 = 36.425, printed half to even; 242.37 is above five times it.
    more = Slice.from_records(0, [payment(6, "242.37", 13)], [b"596"], [5], [-1])
    pipeline = Pipeline(0, bytes(16), bundle, None)
    pipeline.process(part)
    [last] = [json.loads(pipeline.process(more).encoded.record(0))]
    assert last["decision"] == "block"
    assert last["reasons"][0]["text"] == "242.37 against 36.42, 5 today at this terminal"
