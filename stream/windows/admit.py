"""Duplicates and event time of one partition: the memory behind :mod:`kernel_admit`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudstream.rules.bundle import Schema, TimeSettings
from fraudstream.stream.windows import kernel_admit as kernel
from fraudstream.stream.windows import layout as at
from fraudstream.stream.windows.memory import Memory
from fraudstream.stream.wire.types import Batch

RESERVED_WORDS = 1 << 32
"""32 GiB of address space: ring 16 GiB (268 million entries), two index areas of 4 GiB, rest spare."""
RING_MIN = 1 << 10
INDEX_MIN = 1 << 11


@dataclass(frozen=True, slots=True)
class Admission:
    """What admission said about a batch; n = its rows."""

    flags: NDArray[np.uint16]
    """[n] ``Flag`` bits DUPLICATE, ID_REUSE, LATE, CLOCK_SKEW."""
    as_of_ms: NDArray[np.int64]
    """[n] event time, clamped to the record's where it lies in the future."""
    entry: NDArray[np.int64]
    """[n] sequence number of the own entry, the first's for a duplicate, -1: none."""
    duplicate_of: NDArray[np.int64]
    """[n] offset of the first record with this id and content, -1: not a duplicate."""
    watermark_ms: NDArray[np.int64]
    """[n] watermark before the row."""


class DedupStore:
    """Entries of recent transactions, and the watermark."""

    def __init__(self, time: TimeSettings, schema: Schema) -> None:
        self._id_column = schema.field(schema.event_id).column
        self._time_column = schema.field(schema.event_time).column
        self._memory = Memory(RESERVED_WORDS)
        self._d = d = self._memory.words
        self._ring_words = len(d) // 2
        self._area_words = len(d) // 8
        first_area = kernel.DEDUP_CONTROL + self._ring_words
        self._areas = (first_area, first_area + self._area_words)
        self._area = 0
        d[kernel.D_RING] = kernel.DEDUP_CONTROL
        d[kernel.D_RING_MASK] = RING_MIN - 1
        d[kernel.D_INDEX] = self._areas[0]
        d[kernel.D_INDEX_MASK] = INDEX_MIN - 1
        d[kernel.D_WATERMARK] = d[kernel.D_FIRST] = at.NEVER
        d[kernel.D_LATENESS] = time.allowed_lateness_ms
        d[kernel.D_SKEW] = time.max_skew_ms
        d[kernel.D_DEDUP] = time.dedup_ms
        d[kernel.D_HOLD] = at.FOREVER

    @property
    def watermark_ms(self) -> int:
        """Highest admitted event time; ``layout.NEVER`` before the first."""
        return int(self._d[kernel.D_WATERMARK])

    @property
    def first_ms(self) -> int:
        """Time of the first admitted event; ``layout.NEVER`` before it."""
        return int(self._d[kernel.D_FIRST])

    @property
    def words(self) -> NDArray[np.int64]:
        """The memory, for kernels."""
        return self._d

    @property
    def entries(self) -> int:
        """Entries in memory, expired ones that have not left yet included."""
        return int(self._d[kernel.D_NEXT] - self._d[kernel.D_TAIL])

    @property
    def allocated_bytes(self) -> int:
        """Bytes of ring and index."""
        ring, slots = self._d[kernel.D_RING_MASK] + 1, self._d[kernel.D_INDEX_MASK] + 1
        return int(ring * kernel.ENTRY + slots) * 8

    def admit(self, batch: Batch, start_from: int) -> Admission:
        """Classify the rows of a batch; records below ``start_from`` leave no entry."""
        n = len(batch)
        admission = Admission(
            flags=np.empty(n, np.uint16),
            as_of_ms=np.empty(n, np.int64),
            entry=np.empty(n, np.int64),
            duplicate_of=np.empty(n, np.int64),
            watermark_ms=np.empty(n, np.int64),
        )
        arguments = (
            self._d,
            owned(batch.value, np.int64),
            self._id_column,
            self._time_column,
            owned(batch.body_hash, np.int64),
            owned(batch.record_time_ms, np.int64),
            owned(batch.offset, np.int64),
            start_from,
            admission.flags,
            admission.as_of_ms,
            admission.watermark_ms,
            admission.entry,
            admission.duplicate_of,
        )
        if not kernel.admit(*arguments):
            self.make_room(n)
            kernel.admit(*arguments)
        return admission

    def decided(self, admission: Admission, decision: NDArray[np.uint8], score: NDArray[np.int32]) -> None:
        """Remember the results of the rows that are not duplicates."""
        kernel.write_results(
            self._d, admission.flags, admission.entry, owned(decision, np.uint8), owned(score, np.int32)
        )

    def recall(self, admission: Admission) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        """Return decision and score of each row's entry (a duplicate's: the first's); 0: no entry."""
        decision = np.zeros(len(admission.entry), np.uint8)
        score = np.zeros(len(admission.entry), np.int32)
        kernel.read_results(self._d, admission.entry, decision, score)
        return decision, score

    def export(self) -> NDArray[np.int64]:
        """Return the remembered entries in log order: int64 [k, 7], words ``E_ID`` to ``E_RESULT``."""
        out = np.empty((self.entries, 7), np.int64)
        return out[: kernel.live_entries(self._d, out)]

    def restore_clock(self, watermark_ms: int, first_ms: int) -> None:
        """Set watermark and first time of a new store."""
        self._d[kernel.D_WATERMARK], self._d[kernel.D_FIRST] = watermark_ms, first_ms

    def restore(self, entries: NDArray[np.int64]) -> None:
        """Append what ``export`` gave, in parts if that is easier: [k, 7]."""
        self.make_room(len(entries))
        kernel.restore_entries(self._d, entries)

    def make_room(self, more: int) -> None:
        """Let ring and index hold ``more`` entries beyond those they have.

        Raises:
            MemoryError: more than the reserved range holds.
        """
        d = self._d
        wanted = self.entries + more
        ring, slots = int(d[kernel.D_RING_MASK]) + 1, int(d[kernel.D_INDEX_MASK]) + 1
        while ring < wanted:
            ring *= 2
        while slots < 2 * wanted:
            slots *= 2
        if ring * kernel.ENTRY > self._ring_words or slots > self._area_words:
            raise MemoryError(f"{wanted} remembered transactions do not fit: lower `dedup` or add partitions")
        if ring - 1 > d[kernel.D_RING_MASK]:
            kernel.grow_ring(d, ring - 1)
        if slots - 1 > d[kernel.D_INDEX_MASK]:
            old, old_slots = self._areas[self._area], int(d[kernel.D_INDEX_MASK]) + 1
            self._area ^= 1
            kernel.rebuild_index(d, self._areas[self._area], slots - 1)
            self._memory.release(old, old_slots)


def owned(array: NDArray[Any], dtype: type[np.generic]) -> NDArray[Any]:
    """Return the array as C-contiguous, writable and of a dtype: kernels have one signature each."""
    flags = array.flags
    if array.dtype == dtype and flags.c_contiguous and flags.writeable:
        return array
    return np.require(array, dtype, ("C", "W"))
