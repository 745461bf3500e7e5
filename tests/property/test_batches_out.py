"""Batches that a kernel builds are those of aiokafka's own builder, byte for byte."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from fraudstream.stream import batches
from fraudstream.stream.batches import ReadyBatch, why_not_ready_batches
from fraudstream.stream.wire import batches_out
from fraudstream.stream.wire.batches_out import DecisionRecords, Outgoing
from fraudstream.stream.wire.kernel_crc import crc32c
from fraudstream.stream.wire.types import Encoded, Slice

TIME_MS = 1_795_488_011_123
STATE = (2**40, 12, 2**31 - 1)
BIG = 1 << 24


def some_records(seed: int, count: int) -> DecisionRecords:
    """Return records with keys, sizes, offsets and headers of every kind."""
    rng = np.random.default_rng(seed)
    sizes = rng.choice([0, 1, 31, 32, 33, 63, 64, 353, 8_191, 16_384], count)
    values = [rng.bytes(size) for size in sizes]
    rows = np.sort(rng.permutation(count + 20)[:count]).astype(np.int32)
    kinds: list[Any] = [None, b"", b"k", b"6222020200112233", bytes(300), bytes(10_000)]
    keys = [kinds[at] for at in rng.integers(0, len(kinds), count + 20)]
    first = int(rng.choice([0, 99, 2**40]))
    offsets = first + np.cumsum(rng.integers(1, 30, count + 20))
    partition = int(rng.choice([0, 7, 1234]))
    part = Slice.from_records(partition, [b"v"] * (count + 20), keys, offsets.tolist(), [0] * (count + 20))
    ends = np.cumsum([0, *sizes], dtype=np.int64)
    late = rng.choice([-1, -1, 0, 51, 10**9], count).astype(np.int64)
    would_be = rng.integers(0, 3, count if seed % 2 else 0).astype(np.uint8)
    epoch = b"%d" % rng.choice([0, 10**12])
    return DecisionRecords(part, rows, Encoded(b"".join(values), ends), epoch, late, would_be, 0, count)


def by_aiokafka(records: list[Outgoing], limit: int = BIG) -> bytes:
    """Return one batch as aiokafka's builder makes it."""
    builder = BatchBuilder(limit, 0, is_transactional=False)
    for key, value, headers in records:
        assert builder.append(timestamp=TIME_MS, key=key, value=value, headers=headers) is not None
    builder._set_producer_state(*STATE)
    return bytes(builder._build())


def built(body: batches_out.BatchBody) -> bytes:
    """Return one batch as the producer would send it."""
    batch = ReadyBatch(body)
    assert batch.closed()
    assert batch.append(timestamp=None, key=b"k", value=b"v", headers=[]) is None
    batch._set_producer_state(*STATE)
    first = bytes(batch._build())
    batch.close()
    assert (bytes(batch._build()), batch.size()) == (first, len(first)), "a retry sends the same bytes"
    return first


@pytest.mark.parametrize("seed", range(10))
def test_a_batch_is_the_client_librarys(seed: int) -> None:
    """Every size of field at the borders of its length coding."""
    records = some_records(seed, 150)
    (body,) = records.bodies(BIG, TIME_MS)
    assert body.count == len(records) == 150
    assert built(body) == by_aiokafka(list(records))


@pytest.mark.parametrize("limit", [200, 1_000, 17_000, 50_000])
def test_full_batches_end_and_the_next_begins(limit: int) -> None:
    """Every record once and in order; no batch is larger than the limit unless one record is."""
    records, at = some_records(3, 120), 0
    for body in records.bodies(limit, TIME_MS):
        assert built(body) == by_aiokafka(list(records[at : at + body.count]))
        assert body.count == 1 or len(body.buffer) <= limit
        at += body.count
    assert at == 120


def test_parts_are_the_records_of_the_whole() -> None:
    """Halves, as the failpoints send them."""
    records = some_records(5, 40)
    whole = list(records)
    for begin, end in ((0, 20), (20, 40), (7, 7), (39, 40)):
        part = records[begin:end]
        assert list(part) == whole[begin:end]
        bodies = list(part.bodies(BIG, TIME_MS))
        assert [built(body) for body in bodies] == ([by_aiokafka(whole[begin:end])] if end > begin else [])
    with pytest.raises(IndexError):
        records[40]


def test_the_client_library_reads_the_batch() -> None:
    """Parsed and its checksum compared by aiokafka."""
    records = some_records(1, 90)
    (body,) = records.bodies(BIG, TIME_MS)
    parsed = MemoryRecords(built(body)).next_batch()
    assert parsed.validate_crc()
    found = [(r.key, r.value, list(r.headers), r.timestamp) for r in parsed]
    assert found == [(key, value, headers, TIME_MS) for key, value, headers in records]


@pytest.mark.parametrize(("text", "crc"), [(b"", 0), (b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA)])
def test_published_checksums(text: bytes, crc: int) -> None:
    """CRC-32C of RFC 3720, also from within a larger buffer."""
    array = np.frombuffer(b"ab" + text + bytes(40), np.uint8)
    assert int(crc32c(array, 2, 2 + len(text))) == crc


class _Producer:
    """What the probe asks of a producer."""

    def __init__(self, compression: int = 0) -> None:
        self._message_accumulator = self
        self._compression_type = compression

    def create_batch(self) -> BatchBuilder:
        return BatchBuilder(1 << 20, self._compression_type, is_transactional=False)


def test_the_probe_tells_what_makes_ready_batches_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compression, a builder that makes other bytes, and names that went away."""
    assert why_not_ready_batches(_Producer()) is None
    assert why_not_ready_batches(_Producer(1)) == "compressed"
    assert why_not_ready_batches(object()) == "differs"
    with monkeypatch.context() as patch:
        patch.setattr(BatchBuilder, "append", lambda self, **_: None)
        assert why_not_ready_batches(_Producer()) == "differs"
    with monkeypatch.context() as patch:
        patch.setattr(batches, "sealed", lambda body, *_: bytes(body.buffer))
        assert why_not_ready_batches(_Producer()) == "differs"
