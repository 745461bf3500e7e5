"""Hash tables that move while they are used, against a dictionary; stores whose tables move."""

from __future__ import annotations

import random

import numpy as np
import pytest
from numba import njit

from fraudstream.stream.windows import kernel_table as kernel
from fraudstream.stream.windows import table as tables
from fraudstream.stream.windows.kernel_bits import pointer
from fraudstream.stream.windows.memory import Memory
from fraudstream.stream.windows.table import Table

CONTROL, AREA = 8, 1 << 20
RANGE = 1 << 14
"""Hashes are drawn from so many, scaled up: some of them meet, and some share a home."""


@njit
def change(memory, moves, operations):  # type: ignore[no-untyped-def]
    """Put (+) and remove (-) slots, moving some slots before each."""
    m = pointer(memory)
    for i in range(len(operations)):
        kernel.move_some(m, CONTROL, moves)
        bits, number = abs(operations[i]) >> 32, abs(operations[i]) & 0xFFFFFFFF
        if operations[i] > 0:
            kernel.put_slot(m, CONTROL, bits, (bits << 32) | number)
        else:
            kernel.remove_slot(m, CONTROL, bits, (bits << 32) | number)


@njit
def found(memory, words):  # type: ignore[no-untyped-def]
    """Return how many of the slots a search finds."""
    m, count = pointer(memory), 0
    for word in words:
        area, mask = kernel.area_of(m, CONTROL, word >> 32)
        slot = (word >> 32) & mask
        while m[area + slot] != 0 and m[area + slot] != word:
            slot = (slot + 1) & mask
        count += m[area + slot] == word
    return count


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("spread", [1, 1 << 17])
def test_a_table_holds_what_was_put_while_it_grows_and_shrinks(
    seed: int, spread: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waves of entries; ``spread`` 1 packs the homes into long runs, which may reach over the last slot."""
    monkeypatch.setattr(tables, "RETURN_WORDS", 1 << 10)
    choose = random.Random(seed)
    memory = Memory(1 << 23)
    table = Table(memory, CONTROL, (1 << 20, 1 << 21), AREA)
    there: set[int] = set()
    number, sizes = 0, set()
    for wave in range(60):
        wanted = choose.randint(0, 9_000) if wave % 10 < 5 else choose.randint(0, 300)
        operations = []
        while len(there) != wanted and len(operations) < 1_500:
            if len(there) < wanted:
                number += 1
                word = (choose.randrange(RANGE) * spread << 32) | number
                there.add(word)
            else:
                word = -choose.choice(tuple(there)) if len(operations) % 50 == 0 else -there.pop()
                there.discard(-word)
                there.discard(word)
            operations.append(word)
        assert table.make_room(len(there) + len(operations), at_once=wave % 17 == 3)
        change(memory.words, choose.choice((8, 8, 30, 2_000)), np.array(operations, np.int64))
        assert found(memory.words, np.array(sorted(there) or [0], np.int64)) == (len(there) or 0)
        for _ in range(choose.randint(1, 6)):
            table.tidy(len(there))
        sizes.add(table.slots)
    assert len(sizes) > 2
    for _ in range(400):
        change(memory.words, 64, np.zeros(0, np.int64))
        table.tidy(len(there))
        if not table.moving:
            break
        kernel.finish_move(memory.words, CONTROL)
    areas = memory.words[1 << 20 : (1 << 21) + AREA]
    assert sorted(areas[areas != 0].tolist()) == sorted(there)
    assert not table.moving


def test_what_a_table_moved_from_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Words are those of the area in use again once all slots have moved."""
    monkeypatch.setattr(tables, "RETURN_WORDS", 1 << 10)
    memory = Memory(1 << 23)
    table = Table(memory, CONTROL, (1 << 20, 1 << 21), AREA)
    assert table.make_room(100_000, at_once=False)
    assert table.words == kernel.LEAST + table.slots
    kernel.finish_move(memory.words, CONTROL)
    for _ in range(10):
        table.tidy(100_000)
    assert not table.moving
    assert table.words == table.slots == 1 << 18


def test_a_table_that_is_too_large_is_refused() -> None:
    """Nothing happens but the answer."""
    table = Table(Memory(1 << 23), CONTROL, (1 << 20, 1 << 21), AREA)
    assert not table.make_room(AREA, at_once=True)
    assert table.slots == kernel.LEAST
