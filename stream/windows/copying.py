"""The copy of a window store as it was at one moment, made in small steps while events go on.

The kernel fills one half of a buffer while whoever writes the copy down reads the other; what was taken
stays as it is until it is given back. Pages of the buffer arrive when they are touched; ``WARM_WORDS`` of
each half stay, so that the next copy does not wait for them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fraudstream.stream.windows import kernel_admit, kernel_export, kernel_restore, kernel_snapshot
from fraudstream.stream.windows import layout as at
from fraudstream.stream.windows.memory import Memory
from fraudstream.stream.windows.snapshot import SnapshotError

SHARE = 16
"""One part in so many of the window memory is for copies."""
STEP_WORDS = 1 << 17
"""Words that a step between two slices copies: about half a millisecond."""
WAITING_WORDS = 1 << 20
"""Words not yet taken from which on steps wait for who writes them down."""
WARM_WORDS = 1 << 20
LEAST_SHARE = 8
"""What a slice copied itself is taken off the next step, down to one part in so many."""
_WHOLE = 1 << 50


def area_words(words: int) -> int:
    """Return the words at the end of a window memory that are for copies."""
    return words // SHARE


class Copy:
    """A snapshot under way; one at a time for each store."""

    def __init__(
        self,
        head: bytes,
        memory: Memory,
        plan: NDArray[np.int64],
        dedup: NDArray[np.int64],
        watermark_ms: int,
    ) -> None:
        self.head = head
        """What stands before the parts."""
        self._memory, self._plan, self._d = memory, plan, dedup
        self._m = m = memory.words
        area = len(m) - area_words(len(m))
        # A bit for each header that fits, behind the list of lent segments.
        self._bits = area + at.LENT_MAX * at.LENT
        first = self._bits + len(m) // 4 // at.HEADER // 64 + 1
        self._half_words = (len(m) - first) // 2
        self._halves = (first, first + self._half_words)
        self._waiting_max = min(WAITING_WORDS, self._half_words // 4)
        self._half = 0
        self._taken = self._touched = 0
        self._ended = self.closed = False
        self._entries = 0
        self._entries_end = int(dedup[kernel_admit.D_NEXT])
        self._horizon_ms = watermark_ms - int(dedup[kernel_admit.D_DEDUP])
        dedup[kernel_admit.D_HOLD] = dedup[kernel_admit.D_TAIL]
        m[at.C_COPY_AREA] = area
        m[at.C_COPY_WATERMARK] = watermark_ms
        m[at.C_COPY_KEYS] = m[at.C_COPY_FAILED] = m[at.C_LENT] = 0
        self._used = int(m[at.C_USED])
        m[at.C_COPY_END] = m[at.C_HEADERS] + self._used * at.HEADER
        m[at.C_COPY] = m[at.C_HEADERS] if self._used else m[at.C_COPY_END]
        self._turn_to(0)

    @property
    def waiting_words(self) -> int:
        """Words that can be taken."""
        return int(self._m[at.C_COPY_NEXT]) - self._halves[self._half]

    @property
    def ended(self) -> bool:
        """Whether everything was copied; some of it may wait to be taken."""
        return self._ended

    def step(self, words: int = STEP_WORDS) -> bool:
        """Copy about so many words, between two slices; return whether anything was done.

        Nothing is done where enough waits to be taken. What the slices since the last step copied
        themselves counts as done.

        Raises:
            SnapshotError: the buffer was too small; the store goes on, this copy is closed.
        """
        waiting = self.waiting_words
        if self._ended or self.closed or (waiting >= self._waiting_max and words < _WHOLE):
            self._check()
            return False
        by_slices, m = waiting - self._touched, self._m
        left = max(words - by_slices, words // LEAST_SHARE)
        if self._d[kernel_admit.D_HOLD] != at.FOREVER:
            # Remembered transactions first: none can leave before.
            left, count = kernel_snapshot.copy_entries(self._d, self._entries_end, self._horizon_ms, m, left)
            self._entries += count
            if self._d[kernel_admit.D_HOLD] >= self._entries_end:
                self._d[kernel_admit.D_HOLD] = at.FOREVER
        if self._d[kernel_admit.D_HOLD] == at.FOREVER and left > 0:
            state = kernel_snapshot.step(m, self._plan, left)
            if state == kernel_snapshot.DONE:
                self._ended = bool(kernel_snapshot.write_end(m, self._entries))
        self._check()
        self._touched = self.waiting_words
        return True

    def finish(self) -> None:
        """Copy all that is left at once."""
        while not self._ended:
            self.step(_WHOLE)

    def take(self) -> NDArray[np.int64] | None:
        """Return what was copied since the last time, None: nothing, or the last part was not given back."""
        if self._taken or self.closed or self.waiting_words == 0:
            return None
        begin, self._taken = self._halves[self._half], self.waiting_words
        self._turn_to(self._half ^ 1)
        return self._m[begin : begin + self._taken].astype("<i8", copy=False)

    def give_back(self) -> None:
        """Let the part that was taken be written over."""
        begin = self._halves[self._half ^ 1]
        if self._taken > WARM_WORDS:
            self._memory.release(begin + WARM_WORDS, self._taken - WARM_WORDS)
        self._taken = 0

    def close(self) -> None:
        """Let the store forget the copy, finished or not."""
        if self.closed:
            return
        self.closed = True
        m = self._m
        self._d[kernel_admit.D_HOLD] = at.FOREVER
        m[at.C_COPY] = m[at.C_COPY_END] = m[at.C_LENT] = 0
        if not self._ended:
            self._memory.release(self._bits, self._used // 64 + 1)
        if self.waiting_words > WARM_WORDS:
            self._memory.release(self._halves[self._half] + WARM_WORDS, self.waiting_words - WARM_WORDS)

    def parts(self) -> Iterator[NDArray[np.int64]]:
        """Copy everything at once and yield it in parts, each valid until the next; close at the end."""
        try:
            while not self._ended:
                self.step()
                while (part := self.take()) is not None:
                    yield part
                    self.give_back()
        finally:
            self.close()

    def _turn_to(self, half: int) -> None:
        self._half, self._touched = half, 0
        self._m[at.C_COPY_NEXT] = self._halves[half]
        self._m[at.C_COPY_LIMIT] = self._halves[half] + self._half_words

    def _check(self) -> None:
        if self._m[at.C_COPY_FAILED] and not self.closed:
            self.close()
            raise SnapshotError(
                f"the snapshot was given up: what changed meanwhile needed more than the "
                f"{self._half_words * 8:,} bytes kept free for it; raise the memory limit"
            )


def numbers_in(words: NDArray[np.int64]) -> tuple[int, int]:
    """Return how many keys and remembered transactions the records of a copy hold.

    Raises:
        SnapshotError: the last record is missing.
    """
    last = words[-kernel_export.EXPORT :]
    if len(last) < kernel_export.EXPORT or last[kernel_export.X_KIND] != kernel_snapshot.END:
        raise SnapshotError("window snapshot was cut: its last record is missing; use an older one")
    return int(last[kernel_export.X_EVENTS]), int(last[kernel_export.X_PANES])


def restored(
    m: NDArray[np.int64], plan: NDArray[np.int64], words: NDArray[np.int64]
) -> Iterator[NDArray[np.int64]]:
    """Enter all keys of a copy into window memory, and yield the remembered transactions, [k, 7].

    Raises:
        MemoryError: the keys do not fit.
    """
    source = 0
    while True:
        source = kernel_restore.restore(m, plan, words, source)
        if source < 0:
            raise MemoryError("window memory is too small for the snapshot: raise the memory limit")
        if words[source + kernel_export.X_KIND] == kernel_snapshot.END:
            return
        count, width = int(words[source + kernel_export.X_EVENTS]), kernel_snapshot.ENTRY_WORDS
        begin = source + kernel_export.EXPORT
        yield words[begin : begin + count * width].reshape(count, width)
        source += int(words[source + kernel_export.X_WORDS])
