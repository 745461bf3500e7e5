"""Decisions as records: one by one, or as whole Kafka batches that a kernel builds."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple, overload

import numpy as np

from fraudstream.stream.outcome import Decision
from fraudstream.stream.per_slice import per_slice
from fraudstream.stream.wire.kernel_batch_out import put_varint, room_for, write_records
from fraudstream.stream.wire.kernel_crc import crc32c
from fraudstream.stream.wire.types import I32, I64, U8, Encoded, Slice

Header = tuple[str, bytes]

BATCH_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
"""Base offset, length, leader epoch, magic, CRC, attributes, last offset delta, first and largest time,
producer id, producer epoch, base sequence, records."""
CRC_FROM: Final = 21
"""The checksum covers a batch from here on."""
LENGTH_FROM: Final = 12
_CRC = struct.Struct(">I")
_CRC_AT: Final = 17
MAGIC: Final = 2
RECORD_ROOM_BYTES: Final = 160
"""Enough for a record's sizes and headers."""

_DECISIONS = tuple(decision.name.lower().encode() for decision in sorted(Decision))


class Outgoing(NamedTuple):
    """One record to append."""

    key: bytes | None
    value: bytes | None
    headers: list[Header] = []  # noqa: RUF012 - aiokafka wants a list; this one is never changed


@per_slice(frozen=True, slots=True)
class BatchBody:
    """Records of one batch behind room for its header."""

    buffer: bytearray
    count: int
    time_ms: int
    """Timestamp of every record."""


def sealed(body: BatchBody, producer_id: int, producer_epoch: int, base_sequence: int) -> bytearray:
    """Write header and checksum of a batch into its buffer."""
    buffer, count, time_ms = body.buffer, body.count, body.time_ms
    BATCH_HEADER.pack_into(
        buffer,
        0,
        0,
        len(buffer) - LENGTH_FROM,
        -1,
        MAGIC,
        0,
        0,
        count - 1,
        time_ms,
        time_ms,
        producer_id,
        producer_epoch,
        base_sequence,
        count,
    )
    _CRC.pack_into(buffer, _CRC_AT, int(crc32c(np.frombuffer(buffer, np.uint8), CRC_FROM, len(buffer))))
    return buffer


def _sized(text: bytes) -> bytes:
    out: U8 = np.zeros(10, np.uint8)
    return out[: put_varint(out, 0, np.int64(len(text)))].tobytes() + text


@lru_cache(maxsize=64)
def _blocks(partition: int, epoch: bytes) -> tuple[U8, I64]:
    """Return the constant bytes of a partition's records and [2, blocks] their starts and sizes."""
    parts = [_sized(b"src"), _sized(b"epoch") + _sized(epoch), _sized(b"overdue")]
    parts += [_sized(b"would_be") + _sized(name) for name in _DECISIONS]
    parts.append(b"%d:" % partition)
    sizes = np.array([len(part) for part in parts], np.int64)
    return np.frombuffer(b"".join(parts), np.uint8), np.stack([np.cumsum(sizes) - sizes, sizes])


@per_slice(frozen=True, slots=True)
class DecisionRecords(Sequence[Outgoing]):
    """Decisions ``begin`` to ``end`` of a slice as records to append."""

    part: Slice
    rows: I32
    """[m] slice rows of the decisions."""
    encoded: Encoded
    """[m] decisions."""
    epoch: bytes
    late_ms: I64
    """[m] milliseconds since the input record if that is more than the deadline, else -1."""
    would_be: U8
    """[m] `Decision` outside of shadow mode; [0]: not in shadow mode."""
    begin: int
    end: int

    def __len__(self) -> int:
        """Return the number of records."""
        return self.end - self.begin

    @overload
    def __getitem__(self, at: int) -> Outgoing: ...

    @overload
    def __getitem__(self, at: slice) -> DecisionRecords: ...

    def __getitem__(self, at: int | slice) -> Outgoing | DecisionRecords:
        """Return one record, or a part without steps."""
        if isinstance(at, slice):
            begin, end, _ = at.indices(len(self))
            return DecisionRecords(
                self.part,
                self.rows,
                self.encoded,
                self.epoch,
                self.late_ms,
                self.would_be,
                self.begin + begin,
                self.begin + max(begin, end),
            )
        if not 0 <= at < len(self):
            raise IndexError(at)
        number = self.begin + at
        row, late = int(self.rows[number]), int(self.late_ms[number])
        source = b"%d:%d" % (self.part.partition, self.part.offset[row])
        headers: list[Header] = [("src", source), ("epoch", self.epoch)]
        if late >= 0:
            headers.append(("overdue", b"%d" % late))
        if len(self.would_be):
            headers.append(("would_be", _DECISIONS[self.would_be[number]]))
        return Outgoing(self.part.key(row), self.encoded.record(number), headers)

    def bodies(self, limit: int, time_ms: int) -> Iterator[BatchBody]:
        """Build batches of at most ``limit`` bytes; a larger record is a batch by itself."""
        part, ends = self.part, self.encoded.offset
        blocks, spans = _blocks(part.partition, self.epoch)
        fixed = RECORD_ROOM_BYTES + 2 * len(self.epoch)
        total, largest = room_for(self.begin, self.end, self.rows, part.key_size, ends, fixed)
        room = min(BATCH_HEADER.size + total, limit + largest)
        values = np.frombuffer(self.encoded.buffer, np.uint8)
        out: U8 = np.empty(room, np.uint8)
        at = self.begin
        while at < self.end:
            stop, used = write_records(
                at,
                self.end,
                self.rows,
                part.buffer,
                part.key_start,
                part.key_size,
                part.offset,
                values,
                ends,
                self.late_ms,
                self.would_be,
                blocks,
                spans,
                out,
                BATCH_HEADER.size,
                limit,
            )
            yield BatchBody(bytearray(out[:used]), stop - at, time_ms)
            at = stop
