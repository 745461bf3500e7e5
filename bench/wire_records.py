"""The records that the wire is measured with."""

from __future__ import annotations

import numpy as np

from fraudstream.rules.compiler.compile import compile_sources
from fraudstream.stream.outcome import Outcome, Versions
from fraudstream.stream.shipped import read_rules, shipped_rules
from fraudstream.stream.wire.batches_out import DecisionRecords
from fraudstream.stream.wire.tables import SchemaTables, compile_schema
from fraudstream.stream.wire.types import Encoded, Slice

FULL = (
    b'{"transaction_id":"T2026112400000001","event_type":"payment","event_time":"2026-11-24T02:40:11.123Z",'
    b'"account_id":"6222020200112233","customer_id":"C10023","card_id":null,"direction":"out",'
    b'"kind":"transfer","channel":"mobile","amount":"1250.00","currency":"CNY",'
    b'"counterparty_id":"6217000010001234","counterparty_bank":"ICBC","merchant_id":null,"mcc":null,'
    b'"device_id":"d-8f31","ip":"203.0.113.9","country":"CN","city":"Chengdu","lat":30.57,"lon":104.06,'
    b'"balance_before":"8400.10","account_opened":"2019-03-02","segment":"retail","original_id":null,'
    b'"transfer_id":null,"status":null}'
)
"""The contract's example with all of its members."""
ACCOUNT = b"6222020200112233"
KEY = bytes(range(16))
VERSIONS = Versions("sha256:" + "5f" * 32, "sha256:" + "90" * 32)
LIVE = np.zeros(0, np.uint8)
"""Outside of shadow mode."""


def tables_of_shipped_rules() -> SchemaTables:
    """Return the tables of the schema that comes with the project."""
    bundle = compile_sources(read_rules(shipped_rules())).bundle
    assert bundle is not None
    return compile_schema(bundle.schema)


def outcome_of(count: int) -> Outcome:
    """Return decisions that pass with a champion's score and no reasons."""
    micro = np.arange(count, dtype=np.int64) * 7_919 % 1_000_001
    return Outcome(
        decision=np.zeros(count, np.uint8),
        score=(micro // 1_000).astype(np.int32),
        flags=np.zeros(count, np.uint16),
        duplicate_of=np.full(count, -1, np.int64),
        champion_micro=micro,
        reasons={},
    )


def records_of(part: Slice, encoded: Encoded) -> DecisionRecords:
    """Return decisions about a whole slice as records, none of them late."""
    rows, late = np.arange(len(part), dtype=np.int32), np.full(len(part), -1, np.int64)
    return DecisionRecords(part, rows, encoded, b"9", late, LIVE, 0, len(part))
