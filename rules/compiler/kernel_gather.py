"""From rows to tiles: blocks of eight columns of a row-major matrix, transposed in vector registers.

A block is ``BLOCK`` columns that begin at a multiple of it; its registers stand side by side in the same
order. A row of presence bytes of a block is one word: eight such words, each shifted by its row number, make
a word whose bytes are the presence bits of the columns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from fraudstream.rules.compiler.opcodes import BLOCK, NONE, TILE, U64

AHEAD, AHEAD_STATES = 4 * BLOCK, 8 * BLOCK
"""What is asked for while a block is read: values and presence bytes so far behind its beginning."""
_LOW8 = U64(0xFF)
_HALF = BLOCK // 2
# What a pair of vectors of four becomes: every other item of both, then halves of both.
_EVEN, _ODD = (0, 4, 2, 6), (1, 5, 3, 7)
_LOW, _HIGH = (0, 1, 4, 5), (2, 3, 6, 7)


def _data(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    """Return the address of an array's first item."""
    return context.make_array(kind)(context, builder, array).data


@intrinsic
def _transpose(typingctx, source, begin, stride, target, place):  # type: ignore[no-untyped-def]
    """Copy 8 x 8 words from ``source[begin + j * stride + c]`` to ``target[place + c * TILE + j]``."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        word = ir.IntType(64)
        vector = ir.VectorType(word, _HALF)
        source = _data(context, builder, signature.args[0], args[0])
        target = _data(context, builder, signature.args[3], args[3])

        def pick(a: Any, b: Any, items: tuple[int, ...]) -> Any:
            mask = ir.Constant(ir.VectorType(ir.IntType(32), _HALF), items)
            return builder.shuffle_vector(a, b, mask)

        def at(base: Any, index: Any) -> Any:
            return builder.bitcast(builder.gep(base, [index]), vector.as_pointer())

        for row in (0, _HALF):
            rows = [
                builder.add(args[1], builder.mul(args[2], ir.Constant(word, row + j))) for j in range(_HALF)
            ]
            for column in (0, _HALF):
                items = [
                    builder.load(at(source, builder.add(one, ir.Constant(word, column))), align=8)
                    for one in rows
                ]
                parts = [
                    (pick(items[0], items[1], half), pick(items[2], items[3], half)) for half in (_EVEN, _ODD)
                ]
                for c, (half, order) in enumerate(((0, _LOW), (1, _LOW), (0, _HIGH), (1, _HIGH))):
                    place = builder.add(args[4], ir.Constant(word, (column + c) * TILE + row))
                    upper, lower = parts[half]
                    builder.store(pick(upper, lower, order), at(target, place), align=8)
        return context.get_dummy_value()

    return types.void(source, begin, stride, target, place), generate


@intrinsic
def _word_at(typingctx, source, begin):  # type: ignore[no-untyped-def]
    """Read eight bytes as one little-endian word."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        data = _data(context, builder, signature.args[0], args[0])
        place = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(64).as_pointer())
        return builder.load(place, align=1)

    return types.uint64(source, begin), generate


@intrinsic
def prefetch(typingctx, source, index):  # type: ignore[no-untyped-def]
    """Ask for the cache line of ``source[index]``, which may lie behind the end: never faults."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        data = _data(context, builder, signature.args[0], args[0])
        address = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(8).as_pointer())
        small = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), small, small, small])
        call = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(call, [address, small(0), small(3), small(1)])
        return context.get_dummy_value()

    return types.void(source, index), generate


if config.BOUNDSCHECK:

    @njit(cache=True, nogil=True)
    def transpose(source, begin, stride, target, place):  # type: ignore[no-untyped-def]
        """Copy a block of values, every access checked."""
        for j in range(BLOCK):
            for c in range(BLOCK):
                target[place + c * TILE + j] = source[begin + j * stride + c]

    @njit(cache=True, nogil=True)
    def word_at(source, begin):  # type: ignore[no-untyped-def]
        """Read eight bytes as one word, every access checked."""
        word = NONE
        for c in range(BLOCK):
            word |= U64(source[begin + c]) << U64(8 * c)
        return word

else:
    transpose, word_at = _transpose, _word_at


@njit(cache=True, nogil=True)
def gather_block(column, target, matrix, state, base, m, regs, pres):  # type: ignore[no-untyped-def]
    """Copy a block of a row-major matrix [n, F] into the registers from ``target`` on."""
    width = matrix.shape[1]
    values, states = matrix.reshape(matrix.size), state.reshape(state.size)
    for c in range(BLOCK):
        pres[target + c] = NONE
    whole = m & ~(BLOCK - 1) if column + BLOCK <= width else 0
    for i in range(0, whole, BLOCK):
        begin = (base + i) * width + column
        transpose(values, begin, width, regs, target * TILE + i)
        bits = NONE
        for j in range(BLOCK):
            bits |= word_at(states, begin + j * width) << U64(j)
            prefetch(values, begin + j * width + AHEAD)
            prefetch(states, begin + j * width + AHEAD_STATES)
        for c in range(BLOCK):
            pres[target + c] |= ((bits >> U64(8 * c)) & _LOW8) << U64(i)
    for i in range(whole, m):
        begin = (base + i) * width + column
        for c in range(min(np.int64(BLOCK), width - column)):
            regs[(target + c) * TILE + i] = values[begin + c]
            pres[target + c] |= U64(states[begin + c]) << U64(i)
