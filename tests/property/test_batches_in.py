"""Fetched bytes become the records that aiokafka reads in them; nothing else is ever accepted."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence

import numpy as np
import pytest
from support.batches import (
    APPEND_TIME,
    CODECS,
    TRANSACTIONAL,
    Row,
    batch_of,
    by_aiokafka,
    marker,
    resealed,
    rows_of,
)

from fraudstream.stream.fetching import _decompress
from fraudstream.stream.wire.batches_in import NotVouchedFor, Taken, take

TIME_MS = 1_795_488_011_123
Records = list[tuple[int | None, bytes | None, bytes | None, list[tuple[str, bytes]]]]


def ours(
    data: bytes, position: int, aborted: Sequence[tuple[int, int]] | None = None, *, committed: bool = True
) -> tuple[list[Row], int]:
    """Return the rows of the slice, and where the next fetch begins."""
    found, after = took(data, position, aborted, committed=committed)
    assert found.buffer.size >= int((found.start + found.size).max(initial=0)) + 32
    return rows_of(found), after


def took(
    data: bytes, position: int, aborted: Sequence[tuple[int, int]] | None = None, *, committed: bool = True
) -> Taken:
    """Read a response as the worker does."""
    return take(0, data, position, aborted, _decompress, committed=committed)


def some_records(rng: random.Random, count: int) -> Records:
    """Return records with null, empty, short and long keys and values, and headers."""
    made: Records = []
    for _ in range(count):
        key = rng.choice([None, b"", b"k", rng.randbytes(rng.randrange(200))])
        value = rng.choice([None, b"", b"v", rng.randbytes(rng.randrange(700))])
        if key is None and value is None:  # the builder refuses it, brokers do not
            value = b"x"
        headers = [(f"name{n}", rng.randbytes(n)) for n in range(rng.choice([0, 0, 0, 1, 3]))]
        made.append((TIME_MS + rng.randrange(-(10**6), 10**6), key, value, headers))
    return made


def response(rng: random.Random, codecs: Sequence[int] = CODECS) -> tuple[bytes, list[tuple[int, int]], int]:
    """Return a response with batches of every kind, its aborted transactions, and the end of the log."""
    base, parts, aborted = rng.choice([0, 5, 2**40]), [], []
    open_since: dict[int, int] = {}
    for _ in range(rng.randrange(1, 9)):
        count, gap = rng.randrange(1, 12), rng.choice([0, 0, 3])
        flags, producer = rng.choice([0, 0, APPEND_TIME]), -1
        if rng.random() < 0.5:
            producer = rng.choice([7, 8])
            open_since.setdefault(producer, base)
            flags |= TRANSACTIONAL
        parts.append(batch_of(some_records(rng, count), base, rng.choice(codecs), flags, producer, gap))
        base += count + gap
        if producer >= 0 and rng.random() < 0.5:
            commit = rng.random() < 0.5
            first = open_since.pop(producer)
            if not commit:
                aborted.append((producer, first))
            parts.append(marker(base, producer, commit=commit))
            base += 1
    rng.shuffle(aborted)
    return b"".join(parts), aborted, base


def beginning_at(data: bytes, position: int) -> bytes:
    """Return what a broker answers: its first batch is the one that holds the position."""
    while data:
        base, length = struct.unpack_from(">qi", data)
        if base + struct.unpack_from(">i", data, 23)[0] >= position:
            break
        data = data[12 + length :]
    return data


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("seed", range(60))
def test_a_response_is_read_as_by_the_client_library(seed: int, committed: bool) -> None:
    """Codecs, transactions, both kinds of timestamps, holes, from any position, cut off anywhere."""
    rng = random.Random(seed)
    data, aborted, end = response(rng)
    first = struct.unpack_from(">q", data)[0]
    for position in (first, rng.randrange(first, end + 1), end):
        held = beginning_at(data, position)
        wanted = by_aiokafka(held, position, aborted, committed=committed)
        assert ours(held, position, aborted, committed=committed) == wanted
    for _ in range(6):
        cut = data[: rng.randrange(len(data))]
        wanted = by_aiokafka(cut, first, aborted, committed=committed)
        assert ours(cut, first, aborted, committed=committed) == wanted


@pytest.mark.parametrize("codec", CODECS)
def test_every_codec(codec: int) -> None:
    """A thousand records of each."""
    rng = random.Random(codec)
    data = batch_of(some_records(rng, 1_000), 10, codec)
    rows, after = ours(data, 10)
    assert (len(rows), after) == (1_000, 1_010)
    assert (rows, after) == by_aiokafka(data, 10, None, committed=True)


def test_a_message_of_an_older_format_is_left_to_the_client_library() -> None:
    """Its reason is `format`."""
    data = bytearray(batch_of([(TIME_MS, b"k", b"v", [])], 0))
    data[16] = 1
    with pytest.raises(NotVouchedFor, match="format"):
        took(bytes(data), 0)


def test_damaged_batches_are_refused() -> None:
    """A flipped bit anywhere behind the length is found by the checksum, or is none of the content."""
    rng = random.Random(4)
    data, aborted, _ = response(rng, codecs=(0,))
    wanted = by_aiokafka(data, 0, aborted, committed=True)
    refused = 0
    for _ in range(3_000):
        bit = rng.randrange(8 * len(data))
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        refused += not_more_than_the_client_library(bytes(damaged), aborted)
    assert refused > 2_000
    assert ours(data, 0, aborted) == wanted


def not_more_than_the_client_library(data: bytes, aborted: Sequence[tuple[int, int]]) -> bool:
    """Return whether we refuse; if not, the client library reads the same."""
    try:
        found = ours(data, 0, aborted)
    except NotVouchedFor:
        return True
    assert found == by_aiokafka(data, 0, aborted, committed=True)
    return False


@pytest.mark.parametrize("seed", range(4))
def test_damaged_records_with_good_checksums_are_refused(seed: int) -> None:
    """What the checksum cannot find: lengths, counts and offsets that lie."""
    rng = random.Random(100 + seed)
    batch = batch_of(some_records(rng, 12), 3)
    refused = 0
    for _ in range(2_500):
        damaged = bytearray(batch)
        for _ in range(rng.choice([1, 1, 2])):
            at = rng.choice([rng.randrange(21, len(batch)), rng.randrange(21, 90), *range(57, 61)])
            damaged[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, damaged[at] ^ 1, damaged[at] ^ 0x10])
        refused += not_more_than_the_client_library(resealed(bytes(damaged)), [])
    assert 300 < refused < 2_500


def test_an_empty_response_and_one_cut_in_its_first_batch() -> None:
    """No records, and the next fetch begins where this one did."""
    data = batch_of([(TIME_MS, b"k", b"v", [])], 9)
    for cut in (0, 5, 11, 12, 40, len(data) - 1):
        assert ours(data[:cut], 9) == ([], 9)


def test_slices_have_the_types_that_kernels_are_compiled_for() -> None:
    """The same as of a slice made of records: another one would compile in the middle of the work."""
    for codec in (0, 1):
        found = took(batch_of([(TIME_MS, b"k", b"v", [])] * 3, 0, codec), 1).slice
        assert not found.buffer.flags.writeable
        columns = (found.start, found.size, found.key_start, found.key_size, found.offset, found.time_ms)
        assert all(column.dtype == np.int64 and column.flags.c_contiguous for column in columns)
        assert all(column.flags.writeable for column in columns)
