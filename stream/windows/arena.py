"""The arena of a window memory: what it holds, when it is evacuated, and what goes back to the system."""

from __future__ import annotations

from typing import Final

from fraudstream.stream.windows import kernel_arena as kernel
from fraudstream.stream.windows import layout as at
from fraudstream.stream.windows.memory import Memory

RETURN_WORDS: Final = 1 << 20
"""8 MiB: words that were left go back in pieces of this size, one for a slice."""


class Arena:
    """Words ``begin`` to ``end`` of a memory, in which segments stand."""

    def __init__(self, memory: Memory, begin: int, end: int, kinds: int) -> None:
        self._memory, self._first, self._kinds = memory, begin, kinds
        self._m = m = memory.words
        m[at.C_ARENA] = m[at.C_ARENA_BEGIN] = begin
        m[at.C_ARENA_END] = m[at.C_ARENA_LAST] = end
        m[at.C_HOLLOW_MIN] = at.HOLLOW_MIN
        self._returned = 0

    @property
    def words(self) -> int:
        """Words in use and on free lists, and those left that are not given back yet."""
        m = self._m
        old = int(m[at.C_OLD_END] - m[at.C_OLD])
        words = int(m[at.C_ARENA] - m[at.C_ARENA_BEGIN]) + old - self._returned
        if m[at.C_ARENA_BEGIN] < m[at.C_OLD] < m[at.C_ARENA]:
            words -= old  # it lies between the words in use
        return words

    @property
    def moving(self) -> bool:
        """Whether an evacuation is under way, or what it left is still to be given back."""
        return bool(self._m[at.C_OLD_END])

    def tidy(self) -> None:
        """Begin an evacuation where one is due; give back a piece of what one has left."""
        m = self._m
        if kernel.is_hollow(m):
            kernel.begin_evacuation(m, self._first, self._kinds)
        elif m[at.C_OLD_END] and m[at.C_MOVED] == at.FOREVER:
            begin = int(m[at.C_OLD]) + self._returned
            count = min(RETURN_WORDS, int(m[at.C_OLD_END]) - begin)
            self._memory.release(begin, count)
            self._returned += count
            if begin + count == m[at.C_OLD_END]:
                self._end()

    def _end(self) -> None:
        m = self._m
        if m[at.C_ARENA_BEGIN] < m[at.C_OLD] < m[at.C_ARENA]:
            m[at.C_FREE_WORDS] += m[at.C_OLD_END] - m[at.C_OLD]
        m[at.C_OLD] = m[at.C_OLD_END] = 0
        m[at.C_ARENA_END] = m[at.C_ARENA_LAST]
        self._returned = 0
