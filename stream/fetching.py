"""Whole fetch responses of the input topic as slices, in aiokafka's own fetcher.

aiokafka keeps connections, positions, pauses, seeks and assignments. Of one function of its fetcher a copy
is made for one consumer in which two names mean ours: what is made of a response's bytes. What our kernels
do not vouch for goes through aiokafka's own classes, record by record.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import FunctionType, MethodType
from typing import Any

from aiokafka import codec
from aiokafka.consumer import fetcher as aiokafka_fetcher

from fraudstream.stream.batches import probe
from fraudstream.stream.wire.batches_in import NotVouchedFor, take
from fraudstream.stream.wire.batches_out import sealed
from fraudstream.stream.wire.types import Slice

PRIVATE_NAMES: dict[str, tuple[str, ...]] = {
    "aiokafka:AIOKafkaConsumer": ("start",),
    "aiokafka.consumer.fetcher:Fetcher": ("_proc_fetch_request",),
    "aiokafka.consumer.fetcher:FetchResult": ("getall", "check_assignment", "_update_position"),
    "aiokafka.consumer.fetcher:PartitionRecords": ("__iter__", "__next__"),
    "aiokafka.consumer.fetcher:MemoryRecords": ("has_next", "next_batch", "size_in_bytes"),
}
REPLACED = ("MemoryRecords", "PartitionRecords")
"""What the fetcher's function looks up in its module."""

FellBack = Callable[[str], object]
"""Told the reason."""
_CODECS = {
    1: codec.gzip_decode,
    2: codec.snappy_decode,
    3: codec.lz4_decode,
    4: codec.zstd_decode,
}


def _decompress(number: int, packed: bytes) -> bytes:
    plain: bytes = _CODECS[number](packed)
    return plain


class _KeptBytes:
    """aiokafka's walk over batches that keeps the bytes it walks over."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._walk = aiokafka_fetcher.MemoryRecords(data)
        self.has_next = self._walk.has_next
        self.next_batch = self._walk.next_batch
        self.size_in_bytes = self._walk.size_in_bytes


class Fetching:
    """What is shared by the fetches of one consumer."""

    def __init__(self, topic: str, fell_back: FellBack) -> None:
        self.topic = topic
        self.fell_back = fell_back
        self.took_s: deque[float] = deque()
        """How long each slice took to be read, for whoever looks next."""

    def install(self, consumer: Any) -> None:
        """Let a started consumer hand over slices; on any surprise it goes on as it is."""
        try:
            if not _probe_is_read():
                self.fell_back("differs")
                return
            fetcher = consumer._fetcher  # noqa: SLF001
            own = type(fetcher)._proc_fetch_request  # noqa: SLF001
            if not set(REPLACED) <= set(own.__code__.co_names) or own.__closure__:
                self.fell_back("differs")
                return
            names = own.__globals__ | {"MemoryRecords": _KeptBytes, "PartitionRecords": self._records}
            copy = FunctionType(own.__code__, names, own.__name__, own.__defaults__)
            fetcher._proc_fetch_request = MethodType(copy, fetcher)  # noqa: SLF001
        except AttributeError:
            self.fell_back("differs")

    def _records(self, tp: Any, records: _KeptBytes, *rest: Any) -> Any:
        if tp.topic != self.topic:
            return aiokafka_fetcher.PartitionRecords(tp, records, *rest)
        return _OneSlice(self, tp, records, *rest)


class _OneSlice:
    """Stands for aiokafka's records of a response: an iterator over at most one slice."""

    def __init__(self, fetching: Fetching, tp: Any, records: _KeptBytes, *rest: Any) -> None:
        self._fetching = fetching
        self._tp = tp
        self._records = records
        self._rest = rest
        """Aborted transactions, offset fetched from, two deserializers, CRC check, isolation."""
        self._position: int = rest[1]
        self._own: Any = None
        """aiokafka's, once it has to judge."""
        self._read = False

    @property
    def next_fetch_offset(self) -> int:
        """Return where the next fetch begins."""
        return self._position if self._own is None else int(self._own.next_fetch_offset)

    def __iter__(self) -> _OneSlice:
        return self

    def __next__(self) -> Any:
        if self._own is not None:
            return next(self._own)
        if self._read:
            raise StopIteration
        self._read = True
        aborted, position, *_, isolation = self._rest
        begin_s = time.perf_counter()
        try:
            found, self._position = take(
                self._tp.partition,
                self._records.data,
                position,
                aborted,
                _decompress,
                committed=isolation == aiokafka_fetcher.READ_COMMITTED,
            )
        except NotVouchedFor as problem:
            return next(self._fall_back(problem.reason))
        except Exception:  # noqa: BLE001 - whatever it is, the client library can read or refuse it
            return next(self._fall_back("failed"))
        self._fetching.took_s.append(time.perf_counter() - begin_s)
        if not len(found):
            raise StopIteration
        return found

    def _fall_back(self, reason: str) -> Iterator[Any]:
        own: Iterator[Any]
        own = self._own = aiokafka_fetcher.PartitionRecords(self._tp, self._records, *self._rest)
        self._fetching.fell_back(reason)
        return own


def is_slice(records: Sequence[Any]) -> bool:
    """Tell whether a fetch brought a slice, not records."""
    return isinstance(records[0], Slice)


def _probe_is_read() -> bool:
    """Read a made-up batch, which loads the kernels before anything flows."""
    records = probe()
    (body,) = records.bodies(1 << 16, 0)
    found, after = take(0, bytes(sealed(body, -1, -1, 0)), 1, None, _decompress, committed=True)
    values = [found.value(row) for row in range(len(found))]
    return (values, after) == ([record.value for record in records[1:]], len(records))
