"""Batches that a kernel built, handed to aiokafka's idempotent producer.

aiokafka keeps what it is good at: connections, retries, sequence numbers, order. It only gets a builder
whose bytes are ready. Its private parts that this needs are in :data:`PRIVATE_NAMES`; before the first use
a probe compares a kernel's batch with aiokafka's own, byte for byte.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from aiokafka.producer.message_accumulator import BatchBuilder

from fraudstream.stream.wire.batches_out import BatchBody, DecisionRecords, sealed
from fraudstream.stream.wire.types import Encoded, Slice

PRIVATE_NAMES: dict[str, tuple[str, ...]] = {
    "aiokafka:AIOKafkaProducer": ("create_batch", "send_batch"),
    "aiokafka.producer.message_accumulator:BatchBuilder": (
        "append",
        "close",
        "closed",
        "size",
        "record_count",
        "_set_producer_state",
        "_build",
    ),
    "aiokafka.producer.message_accumulator:MessageBatch": ("set_producer_state", "get_data_buffer"),
}


class ReadyBatch(BatchBuilder):  # type: ignore[misc]
    """A batch whose records are written; the producer adds its state when it takes it."""

    def __init__(self, body: BatchBody) -> None:
        # Not the builder's own: it would begin an empty batch.
        self._body = body
        self._state = (-1, -1, 0)
        self._buffer: bytearray | None = None

    def append(self, **_: Any) -> None:
        """Take nothing more."""

    def close(self) -> None:
        """Closed from the start."""

    def closed(self) -> bool:
        """Return True."""
        return True

    def size(self) -> int:
        """Return the bytes of the batch."""
        return len(self._body.buffer)

    def record_count(self) -> int:
        """Return the number of records."""
        return self._body.count

    def _set_producer_state(self, producer_id: int, producer_epoch: int, base_sequence: int) -> None:
        self._state = (producer_id, producer_epoch, base_sequence)

    def _build(self) -> bytearray:
        if self._buffer is None:
            self._buffer = sealed(self._body, *self._state)
        return self._buffer


def ready_batches(records: DecisionRecords, limit: int) -> list[ReadyBatch]:
    """Build all batches of some decisions before the first is sent."""
    return [ReadyBatch(body) for body in records.bodies(limit, time.time_ns() // 1_000_000)]


def why_not_ready_batches(producer: Any) -> str | None:
    """Return the reason why a producer cannot take ready batches, None: it can.

    Reasons are `compressed` and `differs`: its own builder makes other bytes.
    """
    try:
        own = producer.create_batch()
        if producer._message_accumulator._compression_type:  # noqa: SLF001
            return "compressed"
        records = probe()
        (body,) = records.bodies(1 << 16, 1_700_000_000_000)
        for key, value, headers in records:
            own.append(timestamp=body.time_ms, key=key, value=value, headers=headers)
        own.close()
        made = ReadyBatch(body)
        same = own.record_count() == made.record_count() and own.size() == made.size()
        for builder in (own, made):
            builder._set_producer_state(12, 3, 45)  # noqa: SLF001
        return None if same and bytes(own._build()) == bytes(made._build()) else "differs"  # noqa: SLF001
    except Exception:  # noqa: BLE001 - whatever another release does, records go one by one
        return "differs"


def probe() -> DecisionRecords:
    """Return made-up decisions with null and empty keys."""
    keys = [b"k", None, b""]
    values = [b'{"v":%d}' % number for number in range(3)]
    part = Slice.from_records(3, values, keys, [7, 70, 2**40], [0, 0, 0])
    ends = np.cumsum([0, *map(len, values)], dtype=np.int64)
    late = np.array([-1, 0, 12_345], np.int64)
    rows, would_be = np.arange(3, dtype=np.int32), np.arange(3, dtype=np.uint8)
    return DecisionRecords(part, rows, Encoded(b"".join(values), ends), b"99", late, would_be, 0, 3)
