"""Memory that grows without moving: a large address range is reserved and pages arrive when touched."""

from __future__ import annotations

import contextlib
import mmap
from typing import Final

import numpy as np

WORD_BYTES: Final = 8
SMALLEST_WORDS: Final = 1 << 23
"""64 MiB: below this the machine does not let us work at all."""


class Memory:
    """A zeroed int64 array that costs only the pages it has touched.

    Where the system refuses that much address space (``ulimit -v``, strict overcommit), the largest half,
    quarter ... that it grants.

    Raises:
        MemoryError: not even 64 MiB can be reserved.
    """

    def __init__(self, words: int) -> None:
        self._area = _reserve(words)
        self.words = np.frombuffer(self._area, np.int64)

    def even(self, begin: int, count: int) -> None:
        """Let the pages of a range come one by one: a huge page may keep its first user waiting for long."""
        page = mmap.PAGESIZE // WORD_BYTES
        first, last = -(-begin // page) * page, (begin + count) // page * page
        if last > first and hasattr(mmap, "MADV_NOHUGEPAGE"):
            with contextlib.suppress(OSError):  # a kernel without huge pages has none to refuse
                self._area.madvise(mmap.MADV_NOHUGEPAGE, first * WORD_BYTES, (last - first) * WORD_BYTES)

    def release(self, begin: int, count: int) -> None:
        """Zero a range of words and give its whole pages back to the system."""
        page = mmap.PAGESIZE // WORD_BYTES
        first = -(-begin // page) * page
        last = (begin + count) // page * page
        if last > first and hasattr(mmap, "MADV_DONTNEED"):
            self.words[begin:first] = 0
            self.words[last : begin + count] = 0
            self._area.madvise(mmap.MADV_DONTNEED, first * WORD_BYTES, (last - first) * WORD_BYTES)
        else:
            self.words[begin : begin + count] = 0


def _reserve(words: int) -> mmap.mmap:
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
    while words >= SMALLEST_WORDS:
        try:
            area = mmap.mmap(-1, words * WORD_BYTES, flags=flags)
        except OSError:
            words >>= 1
            continue
        if hasattr(mmap, "MADV_HUGEPAGE"):
            with contextlib.suppress(OSError):  # a kernel without huge pages is only slower
                area.madvise(mmap.MADV_HUGEPAGE)
        return area
    raise MemoryError("64 MiB of address space for windows were refused: raise the memory limit")
