"""Batches of Kafka's message format 2 as brokers hold them, and what aiokafka reads in them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any

from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED, PartitionRecords
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition

from fraudstream.stream.wire.types import Slice

Row = tuple[int, int, bytes | None, bytes | None]
"""Offset, timestamp, key, value."""
CODECS = (0, 1, 2, 3, 4)
APPEND_TIME, TRANSACTIONAL, CONTROL = 0x08, 0x10, 0x20


def resealed(batch: bytes) -> bytes:
    """Return a batch with the checksum that its bytes have."""
    return batch[:17] + struct.pack(">I", calc_crc32c(batch[21:])) + batch[21:]


def batch_of(
    records: Iterable[tuple[int | None, bytes | None, bytes | None, list[tuple[str, bytes]]]],
    base: int,
    codec: int = 0,
    attributes: int = 0,
    producer: int = -1,
    gap: int = 0,
) -> bytes:
    """Return a batch at offset ``base`` as aiokafka's builder makes it; ``gap``: removed at its end."""
    builder = BatchBuilder(1 << 24, codec, is_transactional=False)
    for timestamp, key, value, headers in records:
        builder.append(timestamp=timestamp, key=key, value=value, headers=headers)
    builder._set_producer_state(producer, 0, 0)
    raw = bytearray(builder._build())
    struct.pack_into(">q", raw, 0, base)
    struct.pack_into(">h", raw, 21, struct.unpack_from(">h", raw, 21)[0] | attributes)
    struct.pack_into(">i", raw, 23, struct.unpack_from(">i", raw, 23)[0] + gap)
    return resealed(bytes(raw))


def marker(base: int, producer: int, *, commit: bool) -> bytes:
    """Return the control batch that ends a transaction."""
    key = struct.pack(">hh", 0, 1 if commit else 0)
    flags = TRANSACTIONAL | CONTROL
    return batch_of([(0, key, bytes(6), [])], base, attributes=flags, producer=producer)


def by_aiokafka(
    data: bytes, position: int, aborted: Sequence[tuple[int, int]] | None, *, committed: bool
) -> tuple[list[Row], int]:
    """Return the rows that aiokafka reads, and where it goes on."""
    level = READ_COMMITTED if committed else READ_UNCOMMITTED
    tp: Any = TopicPartition("t", 0)
    records = PartitionRecords(tp, MemoryRecords(data), aborted, position, None, None, True, level)
    rows = [(r.offset, r.timestamp, r.key, r.value) for r in records]
    return rows, records.next_fetch_offset


def rows_of(source: Slice) -> list[Row]:
    """Return the rows of a slice."""
    return [
        (int(source.offset[row]), int(source.time_ms[row]), source.key(row), source.value(row))
        for row in range(len(source))
    ]
