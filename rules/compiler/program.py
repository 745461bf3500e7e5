"""From checked expressions to arrays, and from arrays to outcomes.

``compile_outputs`` lowers any number of expressions into one program: equal values and equal comparisons of
all of them are computed once. ``Program.bind`` hashes its texts and lists under a partition's key;
``BoundProgram.evaluate`` runs the kernel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraudstream.rules.bundle import Slot
from fraudstream.rules.compiler import kernel, kernel_conditions, opcodes
from fraudstream.rules.compiler.lowering import Lowering, TextSet
from fraudstream.rules.compiler.terms import Checked
from fraudstream.rules.siphash import hash_text, key_words

TEXT_LIMIT = 65_536
"""Bytes of the longest text: a transaction has at most 64 KiB."""


class Inputs(NamedTuple):
    """Columns of a batch with n rows; every array C-contiguous. Word layout: ``fraudstream.rules.bundle``."""

    field_value: NDArray[np.int64]
    """[C, n]"""
    field_state: NDArray[np.uint8]
    """[C, n]"""
    start: NDArray[np.int32]
    """[C, n] where the text of an id or category begins in ``buffer``, in its first word's row."""
    size: NDArray[np.int32]
    """[C, n]"""
    buffer: NDArray[np.uint8]
    feature_value: NDArray[np.int64]
    """[n, F], one row a transaction; F may be 0."""
    feature_state: NDArray[np.uint8]
    """[n, F]"""
    model_value: NDArray[np.int64]
    """[M, n]; row 0 is the champion's score."""
    model_state: NDArray[np.uint8]
    """[M, n]"""


@dataclass(frozen=True, eq=False)
class Program:
    """Boolean outputs over shared comparisons; no hash key inside."""

    outputs: int
    slots: tuple[Slot, ...]
    """Every name that is read, sorted by name."""
    pool: NDArray[np.int64]
    """Tables of the kernel; words of texts and lists are still 0."""
    text: NDArray[np.uint8]
    """Constants that are searched in texts."""
    registers: int
    nodes: int
    texts: tuple[tuple[int, bytes], ...]
    """(offset in the pool, text): two hash words each."""
    sets: tuple[TextSet, ...]
    constants: tuple[tuple[int, int], ...]
    """(register, offset in the pool): registers that never change."""

    @property
    def digest(self) -> str:
        """Return the SHA-256 of everything that decides outcomes."""
        found = hashlib.sha256(repr((self.outputs, self.slots, self.texts, self.constants)).encode())
        arrays: list[NDArray[Any]] = [self.pool, self.text]
        for item in self.sets:
            arrays += [item.texts, item.ends, item.until]
        for array in arrays:
            found.update(array.tobytes())
        return found.hexdigest()

    def bind(self, hash_key: bytes) -> BoundProgram:
        """Hash texts and lists under the partition's 16-byte key."""
        pool = self.pool.copy()
        k0, k1 = key_words(hash_key)
        pool[opcodes.KEY : opcodes.KEY + 2] = np.array([k0, k1], np.uint64).view(np.int64)
        for offset, text in self.texts:
            pool[offset : offset + 2] = hash_text(text, hash_key)
        for item in self.sets:
            table = pool[item.offset : item.offset + 3 * item.size]
            kernel_conditions.fill_table(item.texts, item.ends, item.until, k0, k1, table)
        return BoundProgram(self, pool)


class BoundProgram:
    """A program ready to run on one partition.

    It owns its working memory: one thread at a time.
    """

    def __init__(self, program: Program, pool: NDArray[np.int64]) -> None:
        self.program = program
        self.outputs = program.outputs
        self.pool = pool
        tile, registers = opcodes.TILE, program.registers
        self._scratch = np.zeros(registers * (tile + 1) + 2 * program.nodes + tile, np.uint64)
        self._spare = np.zeros(TEXT_LIMIT, np.uint8)
        self._run = kernel.kernel()
        for register, offset in program.constants:
            self._scratch[register * tile : (register + 1) * tile] = pool[offset : offset + 1].view(np.uint64)
            self._scratch[registers * tile + register] = opcodes.ALL

    def evaluate(self, inputs: Inputs, n: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Return (true, unknown), each [outputs, ceil(n / 64)].

        Bit i of word w is row 64 * w + i; bits beyond n are 0.
        """
        shape = (self.outputs, (n + 63) // 64)
        true, unknown = np.empty(shape, np.uint64), np.empty(shape, np.uint64)
        self._run(*inputs, n, self.pool, self.program.text, self._scratch, self._spare, true, unknown)
        return true, unknown


def compile_outputs(outputs: Sequence[Checked]) -> Program:
    """Compile conditions, one output each, in order."""
    lowering = Lowering()
    references = [lowering.condition(checked.term) for checked in outputs]
    tables = lowering.finish(references)
    return Program(
        outputs=len(outputs),
        slots=lowering.slots,
        pool=tables.pool,
        text=tables.text,
        registers=tables.registers,
        nodes=tables.nodes,
        texts=tables.texts,
        sets=tables.sets,
        constants=tables.constants,
    )


def warm() -> None:
    """Compile or load every kernel of this module; afterwards nothing compiles any more."""
    program = compile_outputs([])
    bound = program.bind(bytes(16))
    kernel_conditions.warm_table(program.text, key_words(bytes(16)))
    i64, u8, i32 = np.zeros((0, 0), np.int64), np.zeros((0, 0), np.uint8), np.zeros((0, 0), np.int32)
    bound.evaluate(Inputs(i64, u8, i32, i32, np.zeros(1, np.uint8), i64, u8, i64, u8), 0)
    hash_text(b"", bytes(16))
