"""Comparisons to masks of true and false rows, masks combined by three-valued logic, sets of texts."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fraudstream.rules.compiler.kernel_compare import above_f, below_f, below_i, equal_f, equal_i
from fraudstream.rules.compiler.kernel_values import last_not_after
from fraudstream.rules.compiler.opcodes import (
    ALL,
    AND,
    ATOM_WIDTH,
    BOOL_WIDTH,
    CODES,
    EQ_F,
    EQ_FR,
    EQ_I,
    EQ_IR,
    EQ_W,
    EQ_WR,
    GT_F,
    KNOWN,
    LINEAR,
    LT_F,
    LT_FR,
    LT_I,
    LT_IR,
    MIN_INT64,
    NONE,
    ONE,
    PRESENT,
    SAME,
    SET_I,
    SET_W,
    TILE,
    U64,
)
from fraudstream.rules.siphash import siphash128


@njit(cache=True, nogil=True)
def _in_numbers(op, atom, k, m, regs, regf, pool, poolf):  # type: ignore[no-untyped-def]
    """Return the mask of rows whose number is in a sorted set and has not expired."""
    a, at = atom[k + 1] * TILE, atom[k + 3]
    size, expires = pool[at], pool[at + 1] != 0
    values, ends = at + 2, at + 2 + size
    time = atom[k + 2] * TILE
    bits = NONE
    for i in range(m):
        found = -1
        if op == SET_I:
            x = regs[a + i]
            if size <= LINEAR:
                for j in range(size):
                    if pool[values + j] == x:
                        found = j
            else:
                j = last_not_after(pool, values, size, x)
                if j >= 0 and pool[values + j] == x:
                    found = j
        else:
            y = regf[a + i]
            if size <= LINEAR:
                for j in range(size):
                    if poolf[values + j] == y:
                        found = j
            else:
                j = last_not_after(poolf, values, size, y)
                if j >= 0 and poolf[values + j] == y:
                    found = j
        if found >= 0 and (not expires or regs[time + i] < pool[ends + found]):
            bits |= ONE << U64(i)
    return bits


@njit(cache=True, nogil=True)
def _in_texts(atom, k, m, regs, pool):  # type: ignore[no-untyped-def]
    """Return the mask of rows whose hash is in an open-addressing table and has not expired."""
    a, at = atom[k + 1] * TILE, atom[k + 3]
    size, expires = pool[at], pool[at + 1] != 0
    time = atom[k + 2] * TILE
    bits = NONE
    for i in range(m):
        low, high = regs[a + i], regs[a + TILE + i]
        slot = low & (size - 1)
        while True:
            cell = at + 2 + 3 * slot
            end = pool[cell + 2]
            if end == MIN_INT64:
                break
            if pool[cell] == low and pool[cell + 1] == high:
                if not expires or regs[time + i] < end:
                    bits |= ONE << U64(i)
                break
            slot = (slot + 1) & (size - 1)
    return bits


@njit(cache=True, nogil=True)
def atoms(atom, node, m, regs, regf, pres, pool, poolf, mask):  # type: ignore[no-untyped-def]
    """Evaluate comparisons into pairs of masks from ``node`` on; return the place behind them.

    The common ones always take the whole tile.
    """
    for k in range(0, len(atom), ATOM_WIDTH):
        op, left = atom[k], atom[k + 1]
        a, b = left * TILE, atom[k + 2] * TILE
        present, bits = pres[left], NONE
        if op == LT_I:
            bits = below_i(regs, a, atom[k + 3])
        elif op == EQ_I:
            bits = equal_i(regs, a, atom[k + 3])
        elif op == LT_F:
            bits = below_f(regf, a, poolf[atom[k + 3]])
        elif op == GT_F:
            bits = above_f(regf, a, poolf[atom[k + 3]])
        elif op == EQ_F:
            bits = equal_f(regf, a, poolf[atom[k + 3]])
        elif op == PRESENT:
            bits = present
            present = ALL
        elif op == EQ_W:
            low, high = pool[atom[k + 3]], pool[atom[k + 3] + 1]
            for j in range(0, m, 8):
                part = NONE
                for i in range(8):
                    same = ((regs[a + j + i] ^ low) | (regs[a + TILE + j + i] ^ high)) == 0
                    part |= U64(same) << U64(i)
                bits |= part << U64(j)
        elif op == CODES:
            codes = U64(atom[k + 3])
            for i in range(m):
                bits |= ((codes >> U64(regs[a + i] & 63)) & ONE) << U64(i)
        elif op == LT_IR:
            present &= pres[atom[k + 2]]
            for i in range(m):
                bits |= U64(regs[a + i] < regs[b + i]) << U64(i)
        elif op == EQ_IR:
            present &= pres[atom[k + 2]]
            for i in range(m):
                bits |= U64(regs[a + i] == regs[b + i]) << U64(i)
        elif op == LT_FR:
            present &= pres[atom[k + 2]]
            for i in range(m):
                bits |= U64(regf[a + i] < regf[b + i]) << U64(i)
        elif op == EQ_FR:
            present &= pres[atom[k + 2]]
            for i in range(m):
                bits |= U64(regf[a + i] == regf[b + i]) << U64(i)
        elif op == EQ_WR:
            present &= pres[atom[k + 2]]
            for i in range(m):
                same = regs[a + i] == regs[b + i] and regs[a + TILE + i] == regs[b + TILE + i]
                bits |= U64(same) << U64(i)
        else:
            if atom[k + 2] >= 0:
                present &= pres[atom[k + 2]]
            if op == SET_W:
                bits = _in_texts(atom, k, m, regs, pool)
            else:
                bits = _in_numbers(op, atom, k, m, regs, regf, pool, poolf)
        mask[node] = bits & present
        mask[node + 1] = ~bits & present
        node += 2
    return node


@njit(cache=True, nogil=True)
def conditions(steps, node, pool, mask):  # type: ignore[no-untyped-def]
    """Combine masks by Kleene's logic."""
    for k in range(0, len(steps), BOOL_WIDTH):
        op, first = steps[k], steps[k + 1]
        yes, no = ALL, NONE
        if op == AND:
            for j in range(first, first + steps[k + 2]):
                ref = pool[j]
                yes &= mask[ref]
                no |= mask[ref ^ 1]
        else:
            a = pool[first]
            yes, no = mask[a], mask[a ^ 1]
            if op == KNOWN:
                yes |= no
                no = ~yes
            else:
                b = pool[first + 1]
                if op == SAME:
                    yes, no = (yes & mask[b]) | (no & mask[b ^ 1]), (yes & mask[b ^ 1]) | (no & mask[b])
                else:
                    unknown = ~(yes | no)
                    yes |= unknown & mask[b]
                    no |= unknown & mask[b ^ 1]
        mask[node] = yes
        mask[node + 1] = no
        node += 2


@njit(cache=True, nogil=True)
def fill_table(texts, ends, until, k0, k1, table):  # type: ignore[no-untyped-def]
    """Hash ``texts[ends[i - 1]:ends[i]]`` into an open-addressing table of (low, high, until) triples.

    ``table`` int64 [3 * size], size a power of two above the number of items, free cells marked by an
    ``until`` of MIN_INT64. A repeated item keeps the latest end.
    """
    size = len(table) // 3
    begin = 0
    for i in range(len(ends)):
        low, high = siphash128(texts, begin, ends[i] - begin, k0, k1)
        begin = ends[i]
        slot = low & (size - 1)
        while True:
            cell = 3 * slot
            if table[cell + 2] == MIN_INT64:
                table[cell], table[cell + 1], table[cell + 2] = low, high, until[i]
                break
            if table[cell] == low and table[cell + 1] == high:
                table[cell + 2] = max(table[cell + 2], until[i])
                break
            slot = (slot + 1) & (size - 1)


def warm_table(texts: NDArray[np.uint8], key: tuple[np.uint64, np.uint64]) -> None:
    """Compile or load ``fill_table``."""
    fill_table(texts, np.zeros(1, np.int64), np.zeros(1, np.int64), *key, np.full(6, MIN_INT64))
