"""The fast encoder: a kernel fills templates; what is rare comes ready from the reference encoder."""

from __future__ import annotations

import numpy as np

from fraudstream.stream.outcome import Decision, Flag, Outcome, Versions
from fraudstream.stream.wire.encode_reference import MAX_DECISION_BYTES, Writer, encode_by_row, reason_list
from fraudstream.stream.wire.kernel_encode import READY_REASONS, READY_WHOLE, write_decisions
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


def encode_rows(
    source: Slice,
    batch: Batch,
    outcome: Outcome,
    versions: Versions,
    rows: I32 | None = None,
    *,
    malformed: Decision = Decision.ALERT,
) -> Encoded:
    """Write the decisions by a kernel; see :func:`~fraudstream.stream.wire.encode.encode`."""
    schema, made = batch.schema, templates(source.partition, versions)
    wanted = np.arange(len(source), dtype=np.int32) if rows is None else np.ascontiguousarray(rows, np.int32)
    ids, times = schema.field(schema.event_id).column, schema.field(schema.event_time).column
    longest_id = int(batch.size[ids].max(initial=0))
    found, held = _NOTHING_READY, _NO_TEXT
    if batch.rejected or outcome.reasons:
        ready = _Ready(len(source), wanted)
        writer: Writer | None = None
        for item in batch.rejected:
            if ready.asked(item.row):
                writer = writer or Writer(source.partition, versions)
                text = writer.malformed(item, int(source.offset[item.row]), malformed)
                ready.put(item.row, READY_WHOLE, text)
        room = MAX_DECISION_BYTES - made.bare_bytes - longest_id
        for at, reasons in outcome.reasons.items():
            row = int(batch.row[at])
            if not reasons or not ready.asked(row) or int(outcome.flags[at]) & _DUPLICATE:
                continue
            text = reason_list(reasons, _UNCUT).encode()
            if len(text) <= room:
                ready.put(row, READY_REASONS, text)
            else:
                only = np.array([row], np.int32)
                ready.put(row, READY_WHOLE, encode_by_row(source, batch, outcome, versions, only).buffer)
        found, held = ready.columns()
    size = len(wanted) * (made.bare_bytes + longest_id) + int(found[3].sum()) + PAD_BYTES
    out: U8 = np.empty(size, np.uint8)
    ends: I64 = np.empty(len(wanted) + 1, np.int64)
    used = write_decisions(
        wanted,
        batch.row,
        source.offset,
        np.array([ids, times]),
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
