"""The two areas of a hash table of :mod:`kernel_table`: when it changes its size, and what it gives back."""

from __future__ import annotations

from typing import Final

from fraudstream.stream.windows import kernel_table as kernel
from fraudstream.stream.windows.memory import Memory

RETURN_WORDS: Final = 1 << 18
"""2 MiB: what slots have moved from goes back to the system in pieces of this size."""


class Table:
    """A hash table whose control words stand at ``control`` of a memory."""

    def __init__(self, memory: Memory, control: int, areas: tuple[int, int], area_words: int) -> None:
        self._memory, self._control, self._areas, self._area_words = memory, control, areas, area_words
        self._m = m = memory.words
        m[control + kernel.T_AREA], m[control + kernel.T_MASK] = areas[0], kernel.LEAST - 1
        self._old = self._old_slots = self._first = self._next = 0

    @property
    def slots(self) -> int:
        """Slots of the area that is in use, or that slots move to."""
        return int(self._m[self._control + kernel.T_MASK]) + 1

    @property
    def words(self) -> int:
        """Words of both areas that are not given back."""
        return self.slots + self._old_slots - (self._next - self._first)

    @property
    def moving(self) -> bool:
        """Whether slots of an old area are still to be moved, or to be given back."""
        return self._old_slots != 0

    def make_room(self, entries: int, *, at_once: bool) -> bool:
        """Let the table hold so many entries; False: it cannot. ``at_once``: without moves to come."""
        slots = self.slots
        while slots < 2 * entries:
            slots *= 2
        if slots > self._area_words:
            return False
        if slots > self.slots:
            self._resize(slots)
        if at_once:
            self._finish()
        return True

    def tidy(self, entries: int) -> None:
        """Give back what slots have moved from, and move to half the size where few slots are used."""
        if self.moving:
            self._give_back()
        elif kernel.is_sparse(self._m, self._control, entries):
            self._resize(self.slots // 2)

    def _resize(self, slots: int) -> None:
        self._finish()
        m, control = self._m, self._control
        self._old, self._old_slots = int(m[control + kernel.T_AREA]), self.slots
        new = self._areas[0] if self._old == self._areas[1] else self._areas[1]
        kernel.begin_move(m, control, new, slots - 1)
        # The run that ends where moving began leaves last: its piece waits for the end.
        self._first = self._next = (int(m[control + kernel.T_START]) // RETURN_WORDS + 1) * RETURN_WORDS

    def _finish(self) -> None:
        if self.moving:
            kernel.finish_move(self._m, self._control)
            self._return_rest()

    def _give_back(self) -> None:
        m, control = self._m, self._control
        ended = m[control + kernel.T_OLD] == 0
        passed = self._old_slots if ended else int(m[control + kernel.T_START] + m[control + kernel.T_DONE])
        if self._next + RETURN_WORDS <= min(passed, self._old_slots):
            self._memory.release(self._old + self._next, RETURN_WORDS)
            self._next += RETURN_WORDS
        elif ended:
            self._return_rest()

    def _return_rest(self) -> None:
        first = min(self._first, self._old_slots)
        self._memory.release(self._old, first)
        if self._next < self._old_slots:
            self._memory.release(self._old + self._next, self._old_slots - self._next)
        self._old_slots = self._first = self._next = 0
