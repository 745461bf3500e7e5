"""One partition of a bank with declared features: JSON transactions in, features by name out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fraudstream.rules.bundle import Bundle
from fraudstream.rules.compiler.compile import compile_sources
from fraudstream.stream.feature_rows import feature_slots, slot_column
from fraudstream.stream.outcome import FLAG_NAMES, Decision
from fraudstream.stream.pipeline import Pipeline
from fraudstream.stream.shipped import shipped_rules
from fraudstream.stream.wire.types import Slice

HASH_KEY = bytes(range(16))
HEAD = "apiVersion: fraudstream/v1\nkind: Features\n"
TIME = "time: {allowed_lateness: 1h, max_skew: 60s, dedup: 24h, max_events_per_key: 100000}\n"


@dataclass(frozen=True)
class Seen:
    """What became of one record."""

    features: Mapping[str, Any]
    """Name -> value, None: missing. Empty for a record that could not be read."""
    flags: frozenset[str]
    decision: str
    rejected: str = ""
    """Code and field."""


def bundle_of(features: str, time: str = TIME, rules: str = "") -> Bundle:
    """Compile ``features``, the sections ``features:`` and ``families:``, over the shipped schema."""
    files = {
        "schema.yaml": (shipped_rules() / "schema.yaml").read_bytes(),
        "features.yaml": (HEAD + time + features).encode(),
    }
    if rules:
        files["rulesets/some.yaml"] = rules.encode()
    compiled = compile_sources(files)
    assert compiled.bundle is not None, [item.message for item in compiled.errors]
    return compiled.bundle


def transaction(number: int | str, at: str, account: Any = "a1", amount: Any = "10.00", **more: Any) -> bytes:
    """Return an outgoing payment; ``at`` is a time of 2026-01-15, or date and time, in UTC."""
    when = at if "T" in at else f"2026-01-15T{at}Z"
    members = {
        "transaction_id": f"t{number}" if isinstance(number, int) else number,
        "event_type": "payment",
        "event_time": when,
        "account_id": account,
        "direction": "out",
        "amount": amount,
        "currency": "CNY",
    }
    return json.dumps(members | more).encode()


class Bank:
    """A pipeline that is fed by hand."""

    def __init__(self, features: str, time: str = TIME, rules: str = "") -> None:
        self.pipeline = Pipeline(0, HASH_KEY, bundle_of(features, time, rules), None)

    def send(self, *records: bytes, record_times_ms: list[int] | None = None) -> list[Seen]:
        """Decide records as one slice; without record timestamps there is no judging of clocks."""
        begin = self.pipeline.next_offset
        offsets = range(begin, begin + len(records))
        times = record_times_ms or [-1] * len(records)
        result = self.pipeline.process(Slice.from_records(0, records, [None] * len(records), offsets, times))
        columns = {
            slot.name: slot_column(slot, result.matrix.value, result.matrix.state)
            for slot in feature_slots(self.pipeline.bundle)
        }
        seen = [Seen({}, frozenset(), "") for _ in records]
        for place, row in enumerate(result.batch.row.tolist()):
            bits = int(result.outcome.flags[place])
            flags = frozenset(name for bit, name in enumerate(FLAG_NAMES) if bits >> bit & 1)
            features = {name: column[place] for name, column in columns.items()}
            decision = Decision(int(result.outcome.decision[place])).name.lower()
            seen[row] = Seen(features, flags, decision)
        for item in result.batch.rejected:
            seen[item.row] = Seen({}, frozenset(), "alert", f"{item.code} {item.field}".strip())
        return seen

    def one(self, record: bytes) -> Mapping[str, Any]:
        """Decide one record and return its features."""
        return self.send(record)[0].features
