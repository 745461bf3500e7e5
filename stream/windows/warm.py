"""Loads the kernels that only a state of some size calls: tables that move, an arena that is evacuated."""

from __future__ import annotations

from fraudstream.stream.windows import kernel_admit, kernel_arena, kernel_table
from fraudstream.stream.windows.arena import Arena
from fraudstream.stream.windows.memory import SMALLEST_WORDS, Memory
from fraudstream.stream.windows.table import Table


def warm() -> None:
    """Call them on a memory of their own."""
    memory = Memory(SMALLEST_WORDS)
    quarter = SMALLEST_WORDS // 4
    table = Table(memory, 0, (quarter, 2 * quarter), quarter)
    table.make_room(kernel_table.LEAST, at_once=True)
    table.tidy(kernel_table.LEAST)
    Arena(memory, 3 * quarter, SMALLEST_WORDS, 0).tidy()
    kernel_arena.begin_evacuation(memory.words, 3 * quarter, 0)
    kernel_admit.has_spare(memory.words)
