"""Kernels: bytes eight and thirty-two at a time.

Every load may reach up to ``PAD_BYTES`` - 1 bytes behind the byte it is asked for. With
``NUMBA_BOUNDSCHECK=1`` the same work is done byte by byte and every access is checked.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

STEP = 32
"""Bytes of one vector."""
_BYTE = ir.IntType(8)
_VECTOR = ir.VectorType(_BYTE, STEP)
_ONE = np.int64(1)


def _vector(value: int) -> Any:
    return ir.Constant(_VECTOR, [value] * STEP)


def _load(builder: Any, pointer: Any, at: Any, kind: Any) -> Any:
    place = builder.bitcast(builder.gep(pointer, [at]), kind.as_pointer())
    return builder.load(place, align=1)


def _classify(builder: Any, vector: Any, low: int, high: int) -> Any:
    """Return a bit for each byte below ``low``, above ``high``, a quote or a backslash, as int64."""
    found = builder.icmp_unsigned("<", vector, _vector(low))
    for sign, value in ((">", high), ("==", 0x22), ("==", 0x5C)):
        found = builder.or_(found, builder.icmp_unsigned(sign, vector, _vector(value)))
    return builder.zext(builder.bitcast(found, ir.IntType(STEP)), ir.IntType(64))


def _make_classes(low: int, high: int) -> Any:
    @intrinsic
    def classes(typingctx, b, at):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
            return _classify(builder, _load(builder, args[0], args[1], _VECTOR), low, high)

        return types.int64(b, types.int64), generate

    return classes


@intrinsic
def _word(typingctx, b, at):  # type: ignore[no-untyped-def]
    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return _load(builder, args[0], args[1], ir.IntType(64))

    return types.int64(b, types.int64), generate


@intrinsic
def _copy(typingctx, target, to, source, at):  # type: ignore[no-untyped-def]
    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        target, to, source, at = args
        place = builder.bitcast(builder.gep(target, [to]), _VECTOR.as_pointer())
        builder.store(_load(builder, source, at, _VECTOR), place, align=1)
        return context.get_dummy_value()

    return types.void(target, types.int64, source, types.int64), generate


@intrinsic
def lowest_bit(typingctx, word):  # type: ignore[no-untyped-def]
    """Return the place of the lowest bit of a word that is not 0."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.cttz(args[0], cgutils.true_bit)

    return types.int64(types.int64), generate


if config.BOUNDSCHECK:

    @njit
    def word_at(b, at):  # type: ignore[no-untyped-def]
        """Return the eight bytes from ``at`` on as a little-endian word."""
        word = np.int64(0)
        for i in range(8):
            word |= np.int64(b[at + i]) << (8 * i)
        return word

    @njit
    def copy_step(target, to, source, at):  # type: ignore[no-untyped-def]
        """Copy ``STEP`` bytes."""
        for i in range(STEP):
            target[to + i] = source[at + i]

    def _checked_classes(low: int, high: int) -> Any:
        @njit
        def classes(b, at):  # type: ignore[no-untyped-def]
            found = np.int64(0)
            for i in range(STEP):
                c = b[at + i]
                if c < low or c > high or c == 0x22 or c == 0x5C:
                    found |= _ONE << i
            return found

        return classes

    _make_classes = _checked_classes
else:
    word_at, copy_step = _word, _copy

text_ends = _make_classes(0x20, 0x7F)
"""text_ends(b, at): a bit for each of the next bytes that no plain ASCII text of JSON holds."""
id_ends = _make_classes(0x21, 0x7E)
"""id_ends(b, at): a bit for each of the next bytes that no id holds."""


@njit(inline="always")
def first_bytes(word, count):  # type: ignore[no-untyped-def]
    """Keep the first ``count`` < 8 bytes of a word."""
    return word & ((_ONE << (8 * count)) - 1)


@njit(cache=True, nogil=True)
def same_bytes(b, at, k, start, size):  # type: ignore[no-untyped-def]
    """Return whether two spans of ``size`` bytes are equal."""
    i = np.int64(0)
    while i + 8 <= size:
        if word_at(b, at + i) != word_at(k, start + i):
            return False
        i += 8
    return first_bytes(word_at(b, at + i) ^ word_at(k, start + i), size - i) == 0


@njit(cache=True, nogil=True)
def copy_bytes(target, to, source, at, size):  # type: ignore[no-untyped-def]
    """Copy ``size`` bytes, and up to ``STEP`` - 1 that do not matter."""
    for i in range(0, size, STEP):
        copy_step(target, to + i, source, at + i)
