"""The windows of one partition: duplicates, event time, histories of keys and the features over them."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from fraudstream.rules.bundle import FeatureSet, Schema
from fraudstream.stream.per_slice import per_slice
from fraudstream.stream.windows import kernel_advance, kernel_bound, kernel_export
from fraudstream.stream.windows import layout as at
from fraudstream.stream.windows.admit import Admission, DedupStore, owned
from fraudstream.stream.windows.arena import Arena
from fraudstream.stream.windows.copying import Copy, area_words, numbers_in, restored
from fraudstream.stream.windows.memory import Memory
from fraudstream.stream.windows.plan import compile_features
from fraudstream.stream.windows.redefine import Warming, carry_over
from fraudstream.stream.windows.snapshot import SnapshotError, head_of, read_head, seal, unseal
from fraudstream.stream.windows.table import Table
from fraudstream.stream.wire.types import Batch

__all__ = ["Admission", "FeatureMatrix", "SnapshotError", "WindowStore"]

RESERVED_WORDS = 1 << 34
"""128 GiB of address space: a quarter for 536 million keys, two eighths for the index, a sixteenth for
copies, the rest for events."""


@per_slice(frozen=True, slots=True)
class FeatureMatrix:
    """Features of a batch; n = its rows, F = ``FeatureSet.words``."""

    value: NDArray[np.int64]
    """[n, F]"""
    state: NDArray[np.uint8]
    """[n, F] 1 present, 0 missing."""
    approximate: NDArray[np.bool_]
    """[n] a value was clamped, or a window reaches events dropped by ``max_events_per_key``."""


class WindowStore:
    """Feature state of one partition.

    Everything is a function of the admitted events in log order: batch borders, snapshots and the moments
    at which memory is tidied do not show.
    """

    def __init__(self, features: FeatureSet, schema: Schema) -> None:
        self._features = features
        self._schema = schema
        self._plan = plan = compile_features(features, schema)
        self._dedup = DedupStore(features.time, schema)
        self._memory = Memory(RESERVED_WORDS)
        self._m = m = self._memory.words
        begin = at.CONTROL + len(plan.kinds) * at.KIND_STATE
        m[at.C_SCRATCH] = begin
        # A cache line each: headers begin at a multiple of 8 words.
        headers = -(-(begin + plan.scratch_words) // at.HEADER) * at.HEADER
        areas = (len(m) // 4, len(m) // 4 + len(m) // 8)
        self._index = Table(self._memory, at.C_INDEX, areas, len(m) // 8)
        self._keys = np.empty(0, np.int64)
        m[at.C_HEADERS], m[at.C_HEADERS_END] = headers, len(m) // 4
        self._arena = Arena(self._memory, len(m) // 2, len(m) - area_words(len(m)), len(plan.kinds))
        self._memory.even(len(m) - area_words(len(m)), area_words(len(m)))
        self._copy: Copy | None = None
        self._evicted = at.CONTROL + np.arange(len(plan.kinds)) * at.KIND_STATE + at.EVICTED
        m[self._evicted] = at.NEVER
        self._bound = features.time.max_state_bytes
        self._last_offset = -1
        self.warming = Warming({})
        self.evicted_keys = 0
        """Keys that went because of ``max_state_bytes``, since this store was made."""

    @property
    def watermark_ms(self) -> int:
        """Highest admitted event time; ``layout.NEVER`` before the first."""
        return self._dedup.watermark_ms

    @property
    def history_ms(self) -> int:
        """Watermark less the time of the first admitted event."""
        return 0 if self._dedup.first_ms == at.NEVER else self._dedup.watermark_ms - self._dedup.first_ms

    @property
    def keys(self) -> dict[str, int]:
        """Keys in memory for each kind."""
        return {
            name: int(self._m[at.CONTROL + kind * at.KIND_STATE])
            for kind, name in enumerate(self._plan.kinds)
        }

    @property
    def state_bytes(self) -> int:
        """Bytes allocated for events, keys, index and duplicates."""
        m = self._m
        words = self._arena.words + int(m[at.C_USED]) * at.HEADER + self._index.words
        return words * 8 + self._dedup.allocated_bytes

    @property
    def moving(self) -> bool:
        """Whether the index of keys or of duplicates moves to an area of another size."""
        return self._index.moving or self._dedup.moving

    def admit(self, batch: Batch, start_from: int) -> Admission:
        """Recognise duplicates, lateness and clock skew, in log order; raise the watermark.

        Records below ``start_from`` leave no entry; they still count in windows.
        """
        return self._dedup.admit(batch, start_from)

    def advance(self, batch: Batch, admission: Admission, filters: NDArray[np.uint64]) -> FeatureMatrix:
        """Compute the features of every row and enter it; late rows and duplicates: all missing, enter none.

        Args:
            batch: accepted rows, money in base currency.
            admission: what :meth:`admit` said about them.
            filters: uint64 [filters, ceil(n / 64)], bit i of word w: filter is true for row 64 w + i.

        Raises:
            MemoryError: the reserved range is full; the state is then unusable.
        """
        n = len(batch)
        words = self._plan.words
        result = FeatureMatrix(
            value=np.zeros((n, words), np.int64),
            state=np.zeros((n, words), np.uint8),
            approximate=np.zeros(n, np.bool_),
        )
        if len(self._keys) < 3 * n:
            self._keys = np.empty(3 * n, np.int64)
        arguments = (
            self._m,
            self._plan.table,
            self._keys,
            owned(batch.value, np.int64),
            owned(batch.state, np.uint8),
            owned(filters, np.uint64),
            admission.as_of_ms,
            admission.watermark_ms,
            admission.flags,
            result.value,
            result.state,
            result.approximate.view(np.uint8),
        )
        first = 0
        for last in self._bounds(batch.offset):
            watermark = int(admission.watermark_ms[last]) if last < n else self.watermark_ms
            if first < last:
                self._advance(arguments, first, last, watermark)
            if last < n:
                self._shrink(watermark)
            first = last
        if self.warming.born:
            self.warming.hide(self._features, admission.as_of_ms, result.value, result.state)
        return result

    def compute(self, features: FeatureSet, read: frozenset[str] | None) -> None:
        """Compute only some features from now on, None: all; the others are missing in the matrix.

        ``features`` are the store's definitions, whatever their names. What is kept does not change.
        """
        self._features = features
        self._plan = compile_features(features, self._schema, read)

    def redefined(self, features: FeatureSet) -> WindowStore:
        """Return the store under other definitions; this one is of no use afterwards.

        What was known goes on, what is new is warming; the ``time:`` settings but for ``max_state_bytes``
        are the same.
        """
        new = WindowStore(features, self._schema)
        new._dedup = self._dedup
        if self.watermark_ms != at.NEVER:
            new.warming = self.warming.carried(self._features, features, self.watermark_ms)
            words, kinds = carry_over(self._features, features, self._schema, self._export()[0])
            for old_kind, new_kind in kinds.items():
                new._m[new._evicted[new_kind]] = self._m[self._evicted[old_kind]]
            new._fill(words)
        new._last_offset = self._last_offset
        return new

    def _fill(self, words: NDArray[np.int64]) -> None:
        self._make_room(kernel_export.count_keys(words), at_once=True)
        if not kernel_export.restore_keys(self._m, self._plan.table, words):
            raise MemoryError("window memory is too small for the state: raise the memory limit")

    def _advance(self, arguments: tuple[Any, ...], first: int, last: int, watermark: int) -> None:
        answer = kernel_advance.advance(*arguments, first, last, watermark)
        if answer == kernel_advance.GROW:
            self._make_room((last - first) * len(self._plan.kinds))
            answer = kernel_advance.advance(*arguments, first, last, watermark)
        if answer == kernel_advance.TIDY:
            self._index.tidy(int(self._m[at.C_KEYS]))
            self._arena.tidy()
            self._m[at.C_TIDY] = self._index.moving or self._arena.moving
        elif answer != kernel_advance.DONE:
            raise MemoryError("window memory is full: shorten windows or add partitions")

    def _bounds(self, offset: NDArray[np.int64]) -> list[int]:
        """Return before which rows the state's size is looked at, and the number of rows."""
        n = len(offset)
        if not self._bound or n == 0:
            return [n]
        spans = np.concatenate(([self._last_offset], offset)) >> at.BOUND_SHIFT
        self._last_offset = int(offset[-1])
        return [*np.flatnonzero(np.diff(spans)).tolist(), n]

    def _shrink(self, watermark_ms: int) -> None:
        """Let the longest idle keys go if the windows count for more than ``max_state_bytes``."""
        if self.counted_bytes <= self._bound:
            return
        columns = [np.empty(int(self._m[at.C_KEYS]), np.int64) for _ in range(5)]
        count = kernel_bound.weigh(self._m, self._plan.table, watermark_ms, *columns)
        numbers, last, low, high, size = (column[:count] for column in columns)
        excess = int(size.sum()) - (self._bound - self._bound // at.BOUND_SPARE)
        if int(size.sum()) <= self._bound:
            return
        order = np.lexsort((high, low, last))
        gone = order[: int(np.searchsorted(np.cumsum(size[order]), excess)) + 1]
        kernel_bound.evict(self._m, self._plan.table, numbers[gone])
        self.evicted_keys += len(gone)

    @property
    def limit_ratio(self) -> float:
        """Counted bytes as a share of ``max_state_bytes``; 0 without such a bound."""
        return self.counted_bytes / self._bound if self._bound else 0.0

    @property
    def warming_features(self) -> int:
        """Features that are not complete yet."""
        return len(self.warming.remaining(self._features, self.watermark_ms)) if self.warming.born else 0

    @property
    def counted_bytes(self) -> int:
        """What the windows count for towards ``max_state_bytes``; idle keys that are to go included."""
        m = self._m
        events, panes = m[at.C_EVENTS] * at.EVENT_BYTES, m[at.C_PANES] * at.PANE_BYTES
        return int(m[at.C_KEYS] * at.KEY_BYTES + events + panes)

    def decided(self, admission: Admission, decision: NDArray[np.uint8], score: NDArray[np.int32]) -> None:
        """Remember the results of the rows that are not duplicates, for duplicates to come."""
        self._dedup.decided(admission, decision, score)

    def recall(self, admission: Admission) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        """Return decision and score of the first of each duplicate row; call after :meth:`decided`."""
        return self._dedup.recall(admission)

    def begin_snapshot(self, before: bytes = b"") -> Copy:
        """Fix the state as it is between two slices; steps of the copy are made while slices go on.

        Args:
            before: what stands before the head, a multiple of 8 bytes.

        Raises:
            RuntimeError: another one is not closed yet.
        """
        if self._copy is not None and not self._copy.closed:
            raise RuntimeError("a snapshot of this store is under way: finish or close it first")
        head = head_of(
            {
                "features": self._features.hash,
                "schema": self._schema.hash,
                "clock": np.frombuffer(self._clock(), "<i8").tolist(),
                "warming": orjson.loads(self._warming()),
            }
        )
        self._copy = Copy(before + head, self._memory, self._plan.table, self._dedup.words, self.watermark_ms)
        return self._copy

    def snapshot(self) -> bytes:
        """Return everything visible as bytes; :meth:`restore` gives a store that behaves the same."""
        copy = self.begin_snapshot()
        return seal(copy.head, copy.parts())

    @classmethod
    def restore(cls, features: FeatureSet, schema: Schema, data: bytes) -> WindowStore:
        """Return the store of a snapshot.

        Raises:
            SnapshotError: damaged, another format, or made with other features or another schema.
        """
        return cls.restore_unsealed(features, schema, unseal(data))

    @classmethod
    def restore_unsealed(cls, features: FeatureSet, schema: Schema, data: memoryview) -> WindowStore:
        """Return the store of a snapshot whose digest was compared, and is not part of ``data``.

        Raises:
            SnapshotError: another format, or made with other features or another schema.
        """
        members, words = read_head(data)
        for name, expected in (("features", features.hash), ("schema", schema.hash)):
            if members[name] != expected:
                raise SnapshotError(
                    f"window snapshot was made with {name} {members[name]}, expected {expected}; "
                    "rebuild from the log"
                )
        store = cls(features, schema)
        watermark_ms, first_ms, store._last_offset, *evicted = members["clock"]
        store._m[store._evicted] = evicted
        store.warming = Warming(members["warming"])
        store._dedup.restore_clock(watermark_ms, first_ms)
        keys, entries = numbers_in(words)
        store._make_room(keys, at_once=True)
        store._dedup.make_room(entries, at_once=True)
        for block in restored(store._m, store._plan.table, words):
            store._dedup.restore(block)
        return store

    def state_hash(self) -> str:
        """Return SHA-256 (hex) of the visible state in canonical order."""
        words, begins = self._export()
        kind, low, high = (
            words[begins + place]
            for place in (kernel_export.X_KIND, kernel_export.X_LOW, kernel_export.X_HIGH)
        )
        digest = hashlib.sha256()
        digest.update(self._clock())
        digest.update(self._warming())
        for begin in begins[np.lexsort((high, low, kind))].tolist():
            digest.update(words[begin : begin + words[begin]].astype("<i8", copy=False).data)
        digest.update(self._dedup.export().astype("<i8", copy=False).tobytes())
        return digest.hexdigest()

    def _warming(self) -> bytes:
        """Return the features that are warming and since when."""
        return orjson.dumps(self.warming.remaining(self._features, self.watermark_ms))

    def _clock(self) -> bytes:
        """Return what is known of the partition as a whole."""
        clock = [self.watermark_ms, self._dedup.first_ms, self._last_offset, *self._m[self._evicted]]
        return np.array(clock, "<i8").tobytes()

    def _export(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the records of all visible keys and where each begins."""
        if self._copy is not None and not self._copy.closed:
            self._copy.finish()  # what leaves now would be missing in it
        count, size = kernel_export.measure(self._m, self._plan.table, self.watermark_ms)
        words, begins = np.empty(size, np.int64), np.empty(count, np.int64)
        kernel_export.export(self._m, self._plan.table, self.watermark_ms, words, begins)
        return words, begins

    def _make_room(self, more: int, *, at_once: bool = False) -> None:
        """Let the index hold ``more`` keys beyond those it has; ``at_once``: they do not come by a slice."""
        wanted = int(self._m[at.C_KEYS]) + more
        if not self._index.make_room(wanted, at_once=at_once):
            raise MemoryError(f"{wanted} keys do not fit: shorten windows or add partitions")
        self._m[at.C_TIDY] = self._index.moving or self._arena.moving
