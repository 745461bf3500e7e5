"""Vectors of int64: the sums of a bank's lanes over events, and rows of such sums.

A *bank* is six vectors of ``LANES`` words: count, sum, squares in two limbs (high, low < 2^40 an event),
minimum, maximum. One event costs the same for one lane or all of them. LLVM does not make vectors of such
loops by itself, so the loop over events is generated here; with ``NUMBA_BOUNDSCHECK=1`` the same work is
done word by word and every access is checked.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from fraudstream.stream.windows import layout as at

LARGEST = np.int64((1 << 63) - 1)
_LOW40, _LOW20 = (1 << 40) - 1, (1 << 20) - 1
_I64 = ir.IntType(64)


def _splat(builder: Any, scalar: Any, width: int) -> Any:
    vector = ir.VectorType(_I64, width)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), width), [0] * width)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), lanes)


def _constant(value: int, width: int) -> Any:
    return ir.Constant(ir.VectorType(_I64, width), [value] * width)


def _address(builder: Any, pointer: Any, index: Any, offset: int, width: int) -> Any:
    place = builder.gep(pointer, [builder.add(index, _I64(offset))])
    return builder.bitcast(place, ir.VectorType(_I64, width).as_pointer())


def _load(builder: Any, pointer: Any, index: Any, offset: int, width: int) -> Any:
    return builder.load(_address(builder, pointer, index, offset, width), align=8)


def _store(builder: Any, vector: Any, pointer: Any, index: Any, offset: int, width: int) -> None:
    builder.store(vector, _address(builder, pointer, index, offset, width), align=8)


def _squared(builder: Any, value: Any) -> tuple[Any, Any]:
    """Return value^2 as (high, low), low < 2^40; the value's size is below 2^40."""
    negative = builder.icmp_signed("<", value, _I64(0))
    size = builder.select(negative, builder.neg(value), value)
    upper, lower = builder.lshr(size, _I64(20)), builder.and_(size, _I64(_LOW20))
    middle = builder.add(builder.shl(builder.mul(upper, lower), _I64(21)), builder.mul(lower, lower))
    high = builder.add(builder.mul(upper, upper), builder.lshr(middle, _I64(40)))
    return high, builder.and_(middle, _I64(_LOW40))


def _add_value(builder: Any, value: Any, bits: Any, sums: list[Any], mode: int) -> None:
    """Add a value to the lanes whose bits are 1; ``sums``: where the bank's vectors stand meanwhile."""
    width = bits.type.count
    spread, zeros = _splat(builder, value, width), _constant(0, width)
    mask = builder.sub(zeros, bits)
    added = [spread]
    if mode >= at.BANK_SQUARES:
        added += [_splat(builder, part, width) for part in _squared(builder, value)]
    for place, part in enumerate(added, 1):
        builder.store(builder.add(builder.load(sums[place]), builder.and_(part, mask)), sums[place])
    if mode == at.BANK_EXTREMES:
        enters = builder.icmp_signed("!=", bits, zeros)
        for place, sign in ((4, "<"), (5, ">")):
            held = builder.load(sums[place])
            better = builder.and_(enters, builder.icmp_signed(sign, spread, held))
            builder.store(builder.select(better, spread, held), sums[place])


def _make_events(width: int, mode: int) -> Any:
    """Return the loop that adds events to a bank of a width, keeping what a mode needs."""

    @intrinsic
    def add_events(typingctx, m, p, flags, values, begin, end, lanes, bank):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
            memory, plan, flags, values, begin, end, lanes, bank = args
            shifts = _load(builder, plan, lanes, 0, width)
            always = _load(builder, plan, lanes, at.LANES, width)
            ones = _constant(1, width)
            kept = at.BANK_VECTORS[mode] + (2 if mode == at.BANK_EXTREMES else 0)
            sums = [
                cgutils.alloca_once_value(builder, _load(builder, memory, bank, i * at.LANES, width))
                for i in range(kept)
            ]
            with cgutils.for_range_slice(builder, begin, end, _I64(1), _I64) as (i, _):
                word = builder.load(builder.gep(memory, [builder.add(flags, i)]))
                bits = builder.and_(builder.lshr(_splat(builder, word, width), shifts), ones)
                bits = builder.or_(bits, always)
                builder.store(builder.add(builder.load(sums[0]), bits), sums[0])
                if mode != at.BANK_COUNTS:
                    value = builder.load(builder.gep(memory, [builder.add(values, i)]))
                    _add_value(builder, value, bits, sums, mode)
            for place, slot in enumerate(sums):
                _store(builder, builder.load(slot), memory, bank, place * at.LANES, width)
            return context.get_dummy_value()

        word = types.int64
        return types.void(m, p, word, word, word, word, word, word), generate

    return add_events


def _make_rows(width: int) -> Any:
    """Return the addition of the difference of two rows to a vector."""

    @intrinsic
    def add_difference(typingctx, m, target, plus, minus):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
            memory, target, plus, minus = args
            held, more, less = (_load(builder, memory, place, 0, width) for place in (target, plus, minus))
            _store(builder, builder.add(held, builder.sub(more, less)), memory, target, 0, width)
            return context.get_dummy_value()

        return types.void(m, types.int64, types.int64, types.int64), generate

    return add_difference


def _make_better(width: int, sign: str) -> Any:
    """Return the exchange of a vector's words for better ones."""

    @intrinsic
    def keep_better(typingctx, m, target, source):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
            memory, target, source = args
            held, other = (_load(builder, memory, place, 0, width) for place in (target, source))
            better = builder.icmp_signed(sign, other, held)
            _store(builder, builder.select(better, other, held), memory, target, 0, width)
            return context.get_dummy_value()

        return types.void(m, types.int64, types.int64), generate

    return keep_better


if config.BOUNDSCHECK:

    def _checked_events(width: int, mode: int) -> Any:
        low20, low40 = np.int64(_LOW20), np.int64(_LOW40)

        @njit
        def add_events(m, p, flags, values, begin, end, lanes, bank):  # type: ignore[no-untyped-def]
            for i in range(begin, end):
                for lane in range(width):
                    bit = ((m[flags + i] >> p[lanes + lane]) & 1) | p[lanes + at.LANES + lane]
                    if bit == 0:
                        continue
                    m[bank + lane] += 1
                    if mode == at.BANK_COUNTS:
                        continue
                    value = m[values + i]
                    m[bank + at.LANES + lane] += value
                    if mode >= at.BANK_SQUARES:
                        size = abs(value)
                        upper, lower = size >> 20, size & low20
                        middle = ((upper * lower) << 21) + lower * lower
                        m[bank + 2 * at.LANES + lane] += upper * upper + (middle >> 40)
                        m[bank + 3 * at.LANES + lane] += middle & low40
                    if mode == at.BANK_EXTREMES:
                        m[bank + 4 * at.LANES + lane] = min(m[bank + 4 * at.LANES + lane], value)
                        m[bank + 5 * at.LANES + lane] = max(m[bank + 5 * at.LANES + lane], value)

        return add_events

    def _checked_rows(width: int) -> Any:
        @njit
        def add_difference(m, target, plus, minus):  # type: ignore[no-untyped-def]
            for lane in range(width):
                m[target + lane] += m[plus + lane] - m[minus + lane]

        return add_difference

    def _checked_better(width: int, sign: str) -> Any:
        least = sign == "<"

        @njit
        def keep_better(m, target, source):  # type: ignore[no-untyped-def]
            for lane in range(width):
                held, other = m[target + lane], m[source + lane]
                m[target + lane] = min(held, other) if least else max(held, other)

        return keep_better

    _make_events, _make_rows, _make_better = _checked_events, _checked_rows, _checked_better

_few_counts, _few_sums, _few_squares, _few_all = (_make_events(at.LANES_FEW, mode) for mode in range(4))
_all_counts, _all_sums, _all_squares, _all_all = (_make_events(at.LANES, mode) for mode in range(4))
_few_rows, _all_rows = _make_rows(at.LANES_FEW), _make_rows(at.LANES)
_few_least, _all_least = _make_better(at.LANES_FEW, "<"), _make_better(at.LANES, "<")
_few_most, _all_most = _make_better(at.LANES_FEW, ">"), _make_better(at.LANES, ">")


@njit(cache=True, nogil=True)
def start_bank(m, bank, mode):  # type: ignore[no-untyped-def]
    """Empty a bank."""
    for i in range(4 * at.LANES):
        m[bank + i] = 0
    if mode == at.BANK_EXTREMES:
        for i in range(4 * at.LANES, 5 * at.LANES):
            m[bank + i] = LARGEST
            m[bank + at.LANES + i] = -LARGEST


@njit(cache=True, nogil=True)
def add_events(m, p, a, flags, values, begin, end, bank):  # type: ignore[no-untyped-def]
    """Add the events [begin, end) to a bank: flags and values stand at ``flags + i`` and ``values + i``."""
    lanes, mode = p[a + at.A_LANES], p[a + at.A_MODE]
    if p[a + at.A_WIDTH] == at.LANES:
        if mode == at.BANK_EXTREMES:
            _all_all(m, p, flags, values, begin, end, lanes, bank)
        elif mode == at.BANK_COUNTS:
            _all_counts(m, p, flags, values, begin, end, lanes, bank)
        elif mode == at.BANK_SUMS:
            _all_sums(m, p, flags, values, begin, end, lanes, bank)
        else:
            _all_squares(m, p, flags, values, begin, end, lanes, bank)
    elif mode == at.BANK_EXTREMES:
        _few_all(m, p, flags, values, begin, end, lanes, bank)
    elif mode == at.BANK_COUNTS:
        _few_counts(m, p, flags, values, begin, end, lanes, bank)
    elif mode == at.BANK_SUMS:
        _few_sums(m, p, flags, values, begin, end, lanes, bank)
    else:
        _few_squares(m, p, flags, values, begin, end, lanes, bank)


@njit(cache=True, nogil=True)
def add_rows(m, p, a, prefix, stride, begin, end, bank):  # type: ignore[no-untyped-def]
    """Add the sums between two prefix rows to a bank."""
    width, vectors = p[a + at.A_WIDTH], p[a + at.A_VECTORS]
    plus, minus = prefix + end * stride, prefix + begin * stride
    for i in range(vectors):
        if width == at.LANES:
            _all_rows(m, bank + i * at.LANES, plus + i * width, minus + i * width)
        else:
            _few_rows(m, bank + i * at.LANES, plus + i * width, minus + i * width)


@njit(inline="always")
def keep_extremes(m, p, a, least, most, source):  # type: ignore[no-untyped-def]
    """Fold a cell of minima and maxima into two vectors."""
    width = p[a + at.A_WIDTH]
    if width == at.LANES:
        _all_least(m, least, source)
        _all_most(m, most, source + width)
    else:
        _few_least(m, least, source)
        _few_most(m, most, source + width)


@njit(cache=True, nogil=True)
def add_levels(m, p, a, levels, stride, rows, begin, end, bank):  # type: ignore[no-untyped-def]
    """Fold minima and maxima of blocks [begin, end) of ``rows`` into a bank."""
    least, most = bank + 4 * at.LANES, bank + 5 * at.LANES
    level = levels + p[a + at.A_LEVEL]
    while begin < end:
        last_level = rows >> at.FAN_SHIFT == 0
        while begin < end and (begin & (at.FAN - 1) != 0 or end - begin < at.FAN or last_level):
            keep_extremes(m, p, a, least, most, level + begin * stride)
            begin += 1
        if begin == end:
            break
        while end & (at.FAN - 1) != 0:
            end -= 1
            keep_extremes(m, p, a, least, most, level + end * stride)
        level += rows * stride
        rows >>= at.FAN_SHIFT
        begin >>= at.FAN_SHIFT
        end >>= at.FAN_SHIFT


@njit(cache=True, nogil=True)
def close_groups(m, p, a, levels, stride, rows, place):  # type: ignore[no-untyped-def]
    """Write the upper rows of minima and maxima that a block's completes."""
    width = p[a + at.A_WIDTH]
    level = levels + p[a + at.A_LEVEL]
    while place & (at.FAN - 1) == at.FAN - 1 and rows >> at.FAN_SHIFT != 0:
        first = level + (place - (at.FAN - 1)) * stride
        cell = level + rows * stride + (place >> at.FAN_SHIFT) * stride
        for i in range(2 * width):
            m[cell + i] = m[first + i]
        for i in range(1, at.FAN):
            keep_extremes(m, p, a, cell, cell + width, first + i * stride)
        level += rows * stride
        rows >>= at.FAN_SHIFT
        place >>= at.FAN_SHIFT
