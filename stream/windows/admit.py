"""Duplicates and event time of one partition: the memory behind :mod:`kernel_admit`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudstream.rules.bundle import Schema, TimeSettings
from fraudstream.stream.per_slice import per_slice
from fraudstream.stream.windows import kernel_admit as kernel
from fraudstream.stream.windows import layout as at
from fraudstream.stream.windows.memory import Memory
from fraudstream.stream.windows.table import Table
from fraudstream.stream.wire.types import Batch

RESERVED_WORDS = 1 << 32
"""32 GiB of address space: ring 16 GiB (268 million entries), two index areas of 4 GiB, rest spare."""


@per_slice(frozen=True, slots=True)
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
        self._pieces = len(d) // 2 // kernel.PIECE
        d[kernel.D_PIECES], d[kernel.D_PIECES_MASK] = kernel.DEDUP_CONTROL, self._pieces - 1
        d[kernel.D_FREE] = kernel.DEDUP_CONTROL + self._pieces
        d[kernel.D_NEW] = kernel.PIECE
        area_words, first = len(d) // 8, kernel.PIECE * (self._pieces + 1)
        areas = (first, first + area_words)
        self._index = Table(self._memory, kernel.D_INDEX, areas, area_words)
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
        d = self._d
        used = int(d[kernel.D_NEW]) // kernel.PIECE - 1 - int(d[kernel.D_COLD])
        return (used * kernel.PIECE + self._index.words) * 8

    @property
    def moving(self) -> bool:
        """Whether the index moves to an area of another size."""
        return self._index.moving

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
        answer = kernel.admit(*arguments)
        if answer == kernel.FULL:
            self.make_room(n)
            answer = kernel.admit(*arguments)
        if answer == kernel.TIDY:
            self._tidy()
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
        self.make_room(len(entries), at_once=True)
        kernel.restore_entries(self._d, entries)

    def make_room(self, more: int, *, at_once: bool = False) -> None:
        """Let ring and index hold ``more`` entries beyond those they have.

        Args:
            more: how many.
            at_once: they come without :meth:`admit`, by which the index moves otherwise.

        Raises:
            MemoryError: more than the reserved range holds.
        """
        wanted = self.entries + more
        fits = wanted <= (self._pieces - 1) * kernel.PIECE_ENTRIES
        if not fits or not self._index.make_room(wanted, at_once=at_once):
            raise MemoryError(f"{wanted} remembered transactions do not fit: lower `dedup` or add partitions")
        self._d[kernel.D_TIDY] = self._index.moving

    def _tidy(self) -> None:
        """Give memory back, a few MiB at a time, and let a sparse index move."""
        d = self._d
        self._index.tidy(self.entries)
        if kernel.has_spare(d):
            cold = int(d[kernel.D_COLD])
            self._memory.release(int(d[d[kernel.D_FREE] + cold]), kernel.PIECE)
            d[kernel.D_COLD] = cold + 1
        d[kernel.D_TIDY] = self._index.moving


def owned(array: NDArray[Any], dtype: type[np.generic]) -> NDArray[Any]:
    """Return the array as C-contiguous, writable and of a dtype: kernels have one signature each."""
    flags = array.flags
    if array.dtype == dtype and flags.c_contiguous and flags.writeable:
        return array
    return np.require(array, dtype, ("C", "W"))
