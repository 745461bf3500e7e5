"""The fast encoder: a kernel fills templates; what is rare comes ready from the reference encoder."""

from __future__ import annotations

import numpy as np

from fraudstream.rules.bundle import Schema
from fraudstream.stream.outcome import Decision, Flag, Outcome, Versions
from fraudstream.stream.wire.encode_reference import MAX_DECISION_BYTES, Writer, encode_by_row, reason_list
from fraudstream.stream.wire.kernel_encode import READY_REASONS, READY_WHOLE, longest, write_decisions
from fraudstream.stream.wire.templates import templates
from fraudstream.stream.wire.types import I32, I64, PAD_BYTES, U8, Batch, Encoded, Slice

_DUPLICATE = int(Flag.DUPLICATE)
_UNCUT = 1 << 40
"""Room for reasons of any length: what does not fit is left to the reference encoder."""
_NOTHING_READY: I64 = np.zeros((4, 0), np.int64)
_NO_TEXT: U8 = np.frombuffer(bytes(PAD_BYTES), np.uint8)


class _Ready:
    """What the kernel does not write itself: whole decisions and lists of reasons, by slice row."""

    def __init__(self, rows: int, wanted: I32) -> None:
        self._wanted = wanted
        self._item = np.full(rows, -1, np.int64)
        self._asked = np.zeros(rows, np.bool_)
        self._asked[wanted] = True
        self._kinds: list[int] = []
        self._texts: list[bytes] = []

    def asked(self, row: int) -> bool:
        """Return whether the row is to be written."""
        return bool(self._asked[row])

    def put(self, row: int, kind: int, text: bytes) -> None:
        """Add what is ready of a row."""
        self._item[row] = len(self._texts)
        self._kinds.append(kind)
        self._texts.append(text)

    def columns(self) -> tuple[I64, U8]:
        """Return [4, k] place among the wanted rows, kind, start and size, by place; and the texts."""
        if not self._texts:
            return _NOTHING_READY, _NO_TEXT
        item = self._item[self._wanted]
        places = np.flatnonzero(item >= 0)
        item = item[places]
        sizes = np.fromiter(map(len, self._texts), np.int64, len(self._texts))
        starts = np.cumsum(sizes) - sizes
        found = np.stack([places, np.array(self._kinds, np.int64)[item], starts[item], sizes[item]])
        return found, np.frombuffer(b"".join(self._texts) + bytes(PAD_BYTES), np.uint8)


class Encoder:
    """Writes the decisions of one partition under the versions in force."""

    def __init__(self, schema: Schema, partition: int, versions: Versions) -> None:
        self._partition, self._versions = partition, versions
        self._made = templates(partition, versions)
        self._id = schema.field(schema.event_id).column
        self._places = np.array([self._id, schema.field(schema.event_time).column], np.int64)

    def encode(
        self,
        source: Slice,
        batch: Batch,
        outcome: Outcome,
        rows: I32 | None = None,
        *,
        malformed: Decision = Decision.ALERT,
    ) -> Encoded:
        """Write the decisions by a kernel; see :func:`~fraudstream.stream.wire.encode.encode`."""
        made = self._made
        if rows is None:
            rows = np.arange(len(source), dtype=np.int32)
        wanted = np.ascontiguousarray(rows, np.int32)
        longest_id = longest(batch.size, self._id)
        found, held, held_bytes = _NOTHING_READY, _NO_TEXT, 0
        if batch.rejected or outcome.reasons:
            room = MAX_DECISION_BYTES - made.bare_bytes - longest_id
            found, held = self._ready(source, batch, outcome, wanted, room, malformed)
            held_bytes = len(held)
        out: U8 = np.empty(len(wanted) * (made.bare_bytes + longest_id) + held_bytes + PAD_BYTES, np.uint8)
        ends: I64 = np.empty(len(wanted) + 1, np.int64)
        used = write_decisions(
            wanted,
            batch.row,
            source.offset,
            self._places,
            batch.value,
            batch.state,
            batch.start,
            batch.size,
            batch.buffer,
            outcome.decision,
            outcome.score,
            outcome.flags,
            outcome.duplicate_of,
            outcome.champion_micro,
            made.table,
            made.spans,
            found,
            held,
            out,
            ends,
        )
        if used < 0:
            raise ValueError("a row to be encoded is neither in the batch nor among the rejected records")
        return Encoded(out[:used].tobytes(), ends)

    def _ready(
        self, source: Slice, batch: Batch, outcome: Outcome, wanted: I32, room: int, malformed: Decision
    ) -> tuple[I64, U8]:
        """Return what the kernel does not write itself."""
        ready = _Ready(len(source), wanted)
        writer: Writer | None = None
        for item in batch.rejected:
            if ready.asked(item.row):
                writer = writer or Writer(self._partition, self._versions)
                text = writer.malformed(item, int(source.offset[item.row]), malformed)
                ready.put(item.row, READY_WHOLE, text)
        for at, reasons in outcome.reasons.items():
            row = int(batch.row[at])
            if not reasons or not ready.asked(row) or int(outcome.flags[at]) & _DUPLICATE:
                continue
            text = reason_list(reasons, _UNCUT).encode()
            if len(text) <= room:
                ready.put(row, READY_REASONS, text)
            else:
                only = np.array([row], np.int32)
                whole = encode_by_row(source, batch, outcome, self._versions, only)
                ready.put(row, READY_WHOLE, whole.buffer)
        return ready.columns()
