"""The seams of the wire: what a Kafka slice, a decoded batch and encoded decisions are.

A faster decoder or encoder may stand behind the same three types; no code outside ``wire`` looks
at JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from fraudstream.rules.bundle import Schema

from fraudstream.stream.per_slice import per_slice

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]
F64 = NDArray[np.float64]

EXACT_REASONS = ("rejected", "tokens", "values")
"""Why a record takes the exact lane: it is rejected; or it is accepted, but the fast lane does not vouch for
its JSON, or for a value."""
PAD_BYTES = 32
"""Spare bytes after the last record, so that vector loads never leave the buffer."""


@per_slice(frozen=True, slots=True)
class Slice:
    """Consecutive records of one partition: one owned buffer plus spans.

    Shapes: every array is ``[n]``. A null value or key has start -1 and size 0.
    """

    partition: int
    buffer: U8
    """Record values and keys, then at least ``PAD_BYTES`` spare bytes."""
    start: I64
    size: I64
    key_start: I64
    key_size: I64
    offset: I64
    time_ms: I64
    """Record timestamp in milliseconds; -1: none (`replay --format raw`)."""

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.offset)

    def value(self, row: int) -> bytes | None:
        """Return the raw bytes of a record's value."""
        at = int(self.start[row])
        return None if at < 0 else self.buffer[at : at + int(self.size[row])].tobytes()

    def key(self, row: int) -> bytes | None:
        """Return the raw bytes of a record's key."""
        at = int(self.key_start[row])
        return None if at < 0 else self.buffer[at : at + int(self.key_size[row])].tobytes()

    def part(self, begin: int, end: int) -> Slice:
        """Return rows ``begin`` to ``end`` of this slice; the buffer is shared."""
        rows = slice(begin, end)
        return Slice(
            self.partition,
            self.buffer,
            self.start[rows],
            self.size[rows],
            self.key_start[rows],
            self.key_size[rows],
            self.offset[rows],
            self.time_ms[rows],
        )

    @staticmethod
    def from_records(
        partition: int,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None],
        offsets: Sequence[int],
        times_ms: Sequence[int],
    ) -> Slice:
        """Copy records into one buffer."""
        parts: list[bytes] = []
        spans = np.empty((2, 2, len(values)), np.int64)
        at = 0
        for kind, items in enumerate((values, keys)):
            for row, item in enumerate(items):
                if item is None:
                    spans[kind, 0, row], spans[kind, 1, row] = -1, 0
                else:
                    spans[kind, 0, row], spans[kind, 1, row] = at, len(item)
                    parts.append(item)
                    at += len(item)
        parts.append(bytes(PAD_BYTES))
        buffer = np.frombuffer(b"".join(parts), np.uint8)
        return Slice(
            partition,
            buffer,
            spans[0, 0],
            spans[0, 1],
            spans[1, 0],
            spans[1, 1],
            np.asarray(offsets, np.int64),
            np.asarray(times_ms, np.int64),
        )


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that could not be read."""

    row: int
    """Row in the slice."""
    code: str
    """One of ``REJECTION_CODES``, the first in contract order that applies."""
    field: str
    """The schema's path; empty for codes that have none."""
    transaction_id: str | None = None
    event_time: int | None = None


@per_slice(frozen=True, slots=True)
class Batch:
    """Accepted records of a slice as columns; C = ``schema.words``, n = accepted rows.

    Joined columns of reference tables are further rows behind the fields (``stream/enrichment``).

    The word layout of each type is in :mod:`fraudstream.rules.bundle`.
    """

    schema: Schema
    row: I32
    """[n] row in the slice."""
    offset: I64
    """[n] Kafka offset."""
    record_time_ms: I64
    """[n] record timestamp, -1: none."""
    value: I64
    """[C, n]; words of missing values are 0."""
    state: U8
    """[C, n] 1 present, 0 missing; both words of a two-word value carry it."""
    start: I32
    """[C, n] where the unescaped text of an id or category begins in ``buffer`` (first word's row)."""
    size: I32
    """[C, n] its length in bytes."""
    buffer: U8
    body_hash: I64
    """[2, n] keyed 128-bit hash over all decoded schema fields (duplicate or id reuse)."""
    rejected: tuple[Rejected, ...] = ()
    missing: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """(field, cause) -> count, cause ``bad_geo`` or ``undeclared``."""
    exact: Mapping[str, int] = field(default_factory=dict, compare=False)
    """One of ``EXACT_REASONS`` -> records that the fast lane left to the exact lane."""

    def __len__(self) -> int:
        """Return the number of accepted rows."""
        return len(self.row)

    def text(self, column: int, row: int) -> str | None:
        """Return the text of an id or category, None where missing."""
        if not self.state[column, row]:
            return None
        at = int(self.start[column, row])
        return self.buffer[at : at + int(self.size[column, row])].tobytes().decode()


@per_slice(frozen=True, slots=True)
class Encoded:
    """Canonical JSON of every record of a slice, in its order."""

    buffer: bytes
    offset: I64
    """[n + 1] ``buffer[offset[i]:offset[i + 1]]`` is record i."""

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.offset) - 1

    def record(self, row: int) -> bytes:
        """Return the bytes of one decision."""
        return self.buffer[int(self.offset[row]) : int(self.offset[row + 1])]
