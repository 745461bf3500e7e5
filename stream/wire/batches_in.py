"""Step 1, take: what one fetch response holds for one partition, as one slice."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraudstream.stream.wire import kernel_batch_in as k
from fraudstream.stream.wire.types import I64, PAD_BYTES, U8, Slice

ABORT = b"\x00\x00\x00\x00"
"""Key of the marker that ends an aborted transaction: version 0, type 0."""

Decompress = Callable[[int, bytes], bytes]
"""(codec, compressed records) -> records."""
_REASONS = {k.DAMAGED: "damaged", k.OTHER_FORMAT: "format"}


class NotVouchedFor(Exception):  # noqa: N818 - no error: the client library judges it
    """The batches are damaged or of a kind that only the client library knows."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        """`damaged` or `format`."""


class Taken(NamedTuple):
    """What was read of a fetch response."""

    slice: Slice
    next_offset: int
    """Where the next fetch begins."""


def take(
    partition: int,
    data: bytes,
    position: int,
    aborted: Iterable[tuple[int, int]] | None,
    decompress: Decompress,
    *,
    committed: bool,
) -> Taken:
    """Read all whole batches of a fetch response from offset ``position`` on.

    Args:
        partition: number for the slice.
        data: the batches; the broker may have cut off the last one.
        position: records below it are left out.
        aborted: (producer, first offset) of aborted transactions.
        decompress: used for compressed batches.
        committed: leave out the records of aborted transactions.

    Raises:
        NotVouchedFor: the client library has to judge these bytes.
    """
    size = len(data)
    buffer: U8 = np.empty(size + PAD_BYTES, np.uint8)
    buffer[:size] = np.frombuffer(data, np.uint8)
    buffer[size:] = 0
    buffer.setflags(write=False)  # kernels are compiled for what every slice has
    batches, wrong = k.list_batches(buffer, size)
    if wrong:
        raise NotVouchedFor(_REASONS[int(wrong)])
    after = int(batches[-1, k.B_NEXT]) if len(batches) else position
    attributes = k.attributes_of(batches)
    if attributes & (k.CONTROL | k.TRANSACTIONAL):
        batches = batches[_kept(batches, buffer, aborted or () if committed else ())]
        attributes = k.attributes_of(batches)
    if attributes & k.CODEC:
        buffer = _decompressed(buffer[:size], batches, decompress)
    rows = int(k.capacity(batches))
    if rows >= 0:
        columns: I64 = np.empty((k.COLUMNS, rows), np.int64)
        rows = int(k.read_batches(buffer, batches, position, columns))
    if rows < 0:
        raise NotVouchedFor("damaged")
    if rows < columns.shape[1]:
        columns = columns[:, :rows].copy()
    # The columns' rows stand in the order of a slice's members.
    return Taken(Slice(partition, buffer, *columns), after)


def _kept(batches: I64, buffer: U8, aborted: Iterable[tuple[int, int]]) -> NDArray[np.bool_]:
    """Return which batches hold records that count: no markers, nothing of aborted transactions."""
    waiting = sorted(aborted, key=lambda item: item[1])
    waiting.reverse()
    now: set[int] = set()
    kept = np.zeros(len(batches), np.bool_)
    for at in range(len(batches)):
        attributes, producer = int(batches[at, k.B_ATTRIBUTES]), int(batches[at, k.B_PRODUCER])
        while waiting and waiting[-1][1] <= int(batches[at, k.B_BASE]):
            now.add(waiting.pop()[0])
        if attributes & k.CONTROL:
            if _is_abort(batches[at : at + 1].copy(), buffer):
                now.discard(producer)
        else:
            kept[at] = not (attributes & k.TRANSACTIONAL and producer in now)
    return kept


def _is_abort(batch: I64, buffer: U8) -> bool:
    """Tell whether a marker ends an aborted transaction."""
    columns: I64 = np.empty((k.COLUMNS, 1), np.int64)
    lowest = np.iinfo(np.int64).min
    if batch[0, k.B_COUNT] != 1 or k.read_batches(buffer, batch, lowest, columns) != 1:
        raise NotVouchedFor("damaged")
    at, size = int(columns[k.C_KEY_START, 0]), int(columns[k.C_KEY_SIZE, 0])
    return bytes(buffer[max(at, 0) : max(at, 0) + size]) == ABORT


def _decompressed(data: U8, batches: I64, decompress: Decompress) -> U8:
    """Return a buffer with everything in plain, and put the spans of ``batches`` there."""
    parts, at = [data.tobytes()], len(data)
    for batch in batches:
        if codec := int(batch[k.B_ATTRIBUTES]) & k.CODEC:
            packed = data[int(batch[k.B_BEGIN]) : int(batch[k.B_END])].tobytes()
            try:
                plain = bytes(decompress(codec, packed))
            except Exception as problem:
                raise NotVouchedFor("damaged") from problem
            parts.append(plain)
            batch[k.B_BEGIN], batch[k.B_END] = at, at + len(plain)
            at += len(plain)
    parts.append(bytes(PAD_BYTES))
    return np.frombuffer(b"".join(parts), np.uint8)
