"""The one kernel that evaluates every program: tiles of 64 rows, values in registers, conditions in masks.

A program is one int64 array, the *pool*, that begins with a header of (offset, count) pairs and the two
words of the hash key; nothing is compiled when rules change. For each tile of up to 64 rows:

1. gather what the program reads into registers: 64 words and a presence mask each;
2. run value instructions, register to register, each over the whole tile;
3. evaluate atoms, comparisons that give a mask of true and a mask of false rows; features that are only
   compared with constants pass through a few registers that stay in the nearest cache, block by block;
4. combine masks by three-valued logic;
5. write the true and unknown masks of each output.

A mask reference is ``2 * node`` for a condition and ``2 * node + 1`` for its negation, because negation
only exchanges the two masks. Node 0 is always true. Lanes beyond the rows of a tile hold leftovers, which
no operation traps on; presence masks and the last step leave them out.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import njit, types

from fraudstream.rules.compiler.kernel_conditions import atoms, conditions
from fraudstream.rules.compiler.kernel_gather import gather_block
from fraudstream.rules.compiler.kernel_values import floats, gather, gather_rows, integers, others, texts
from fraudstream.rules.compiler.opcodes import (
    ALL,
    ATOM_WIDTH,
    ATOMS,
    BETWEEN_F,
    BETWEEN_I,
    BOOL_WIDTH,
    BOOLS,
    CODE,
    CODE_WIDTH,
    DISTANCE,
    FEATURES,
    FIELDS,
    GATHER_WIDTH,
    KEY,
    MODELS,
    NODES,
    NONE,
    ONE,
    OUTPUTS,
    PASSING,
    REGISTERS,
    STREAM,
    STREAM_WIDTH,
    TILE,
    U64,
)


def run(  # type: ignore[no-untyped-def]
    field_value,
    field_state,
    start,
    size,
    buffer,
    feature_value,
    feature_state,
    model_value,
    model_state,
    n,
    pool,
    text,
    scratch,
    spare,
    true,
    unknown,
):
    """Evaluate a program over n rows; see :mod:`fraudstream.rules.compiler.program` for the arrays."""
    poolf = pool.view(np.float64)
    registers, nodes = pool[REGISTERS], pool[NODES]
    regs = scratch[: registers * TILE].view(np.int64)
    regf = scratch[: registers * TILE].view(np.float64)
    pres = scratch[registers * TILE : registers * (TILE + 1)]
    mask = scratch[registers * (TILE + 1) : registers * (TILE + 1) + 2 * nodes]
    flags = scratch[registers * (TILE + 1) + 2 * nodes :].view(np.int64)
    fields = pool[pool[FIELDS] : pool[FIELDS] + GATHER_WIDTH * pool[FIELDS + 1]]
    features = pool[pool[FEATURES] : pool[FEATURES] + GATHER_WIDTH * pool[FEATURES + 1]]
    models = pool[pool[MODELS] : pool[MODELS] + GATHER_WIDTH * pool[MODELS + 1]]
    code = pool[pool[CODE] : pool[CODE] + CODE_WIDTH * pool[CODE + 1]]
    atom = pool[pool[ATOMS] : pool[ATOMS] + ATOM_WIDTH * pool[ATOMS + 1]]
    steps = pool[pool[BOOLS] : pool[BOOLS] + BOOL_WIDTH * pool[BOOLS + 1]]
    stream = pool[pool[STREAM] : pool[STREAM] + STREAM_WIDTH * pool[STREAM + 1]]
    passing = pool[PASSING]
    outputs = pool[pool[OUTPUTS] : pool[OUTPUTS] + pool[OUTPUTS + 1]]
    k0, k1 = U64(pool[KEY]), U64(pool[KEY + 1])
    mask[0], mask[1] = ALL, NONE
    for word in range((n + TILE - 1) // TILE):
        base = word * TILE
        m = min(TILE, n - base)
        rows = ALL if m == TILE else (ONE << U64(m)) - ONE
        gather(fields, field_value, field_state, base, m, regs, pres)
        gather_rows(features, feature_value, feature_state, base, m, regs, pres)
        gather(models, model_value, model_state, base, m, regs, pres)
        for c in range(0, len(code), CODE_WIDTH):
            op = code[c]
            if op <= BETWEEN_I:
                integers(op, code, c, m, regs, pres, flags)
            elif op <= BETWEEN_F:
                floats(op, code, c, m, regs, regf, pres, flags)
            elif op <= DISTANCE:
                others(op, code, c, m, regs, regf, pres, pool, flags)
            else:
                texts(op, code, c, m, base, regs, pres, start, size, buffer, text, spare, k0, k1)
        node = 2
        for s in range(0, len(stream), STREAM_WIDTH):
            gather_block(stream[s], passing, feature_value, feature_state, base, m, regs, pres)
            part = atom[ATOM_WIDTH * stream[s + 1] : ATOM_WIDTH * stream[s + 2]]
            node = atoms(part, node, m, regs, regf, pres, pool, poolf, mask)
        node = atoms(atom[2 * (node - 2) :], node, m, regs, regf, pres, pool, poolf, mask)
        conditions(steps, node, pool, mask)
        for k in range(len(outputs)):
            ref = outputs[k]
            true[k, word] = mask[ref] & rows
            unknown[k, word] = rows & ~(mask[ref] | mask[ref ^ 1])


def _array(dtype: Any, dimensions: int, *, readonly: bool = True) -> Any:
    return types.Array(dtype, dimensions, "C", readonly=readonly)


@cache
def kernel() -> Any:
    """Return ``run`` compiled for its one signature, loaded from the cache where it can be.

    The signature is fixed, so that no combination of read-only and writable arrays compiles another one.
    """
    signature = types.void(
        _array(types.int64, 2),
        _array(types.uint8, 2),
        _array(types.int32, 2),
        _array(types.int32, 2),
        _array(types.uint8, 1),
        _array(types.int64, 2),
        _array(types.uint8, 2),
        _array(types.int64, 2),
        _array(types.uint8, 2),
        types.int64,
        _array(types.int64, 1),
        _array(types.uint8, 1),
        _array(types.uint64, 1, readonly=False),
        _array(types.uint8, 1, readonly=False),
        _array(types.uint64, 2, readonly=False),
        _array(types.uint64, 2, readonly=False),
    )
    return njit(signature, cache=True, nogil=True)(run)
