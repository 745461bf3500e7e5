"""Word-level operations that Numba has no name for: pointers, prefetch, 128-bit variance, mixing.

Kernels take arrays and go on with pointers to them: every function that an array is handed to would count
its references, and an index would be checked for being negative. With ``NUMBA_BOUNDSCHECK=1`` (and a
``NUMBA_CACHE_DIR`` of its own) the same sources run on arrays and every access is checked.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import config, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from fraudstream.rules.siphash import absorb, finish, start

U64 = np.uint64
_M1 = np.int64(-49064778989728563)  # 0xff51afd7ed558ccd, MurmurHash3's finalizer
_M2 = np.int64(-4265267296055464877)  # 0xc4ceb9fe1a85ec53
_LOW31 = np.int64(0x7FFFFFFF)


@intrinsic
def float_of(typingctx, word):  # type: ignore[no-untyped-def]
    """Reinterpret an int64 as binary64."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.int64), generate


@intrinsic
def bits_of(typingctx, number):  # type: ignore[no-untyped-def]
    """Reinterpret a binary64 as int64."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.bitcast(args[0], ir.IntType(64))

    return types.int64(types.float64), generate


@intrinsic
def ones_of(typingctx, word):  # type: ignore[no-untyped-def]
    """Return the number of set bits of a uint64."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.ctpop(args[0])

    return types.int64(types.uint64), generate


@intrinsic
def variance_sum(typingctx, n, total, squares_high, squares_low):  # type: ignore[no-untyped-def]
    """Return n * (squares_high * 2^40 + squares_low) - total^2, exact in 128 bits, as binary64.

    The conversion is f64(high) * 2^64 + f64(low): LLVM's own needs a library call that is not there.
    """

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        wide, word, double = ir.IntType(128), ir.IntType(64), ir.DoubleType()
        n, total, high, low = (builder.sext(item, wide) for item in args)
        squares = builder.add(builder.shl(high, wide(40)), low)
        result = builder.sub(builder.mul(n, squares), builder.mul(total, total))
        upper = builder.sitofp(builder.trunc(builder.ashr(result, wide(64)), word), double)
        lower = builder.uitofp(builder.trunc(result, word), double)
        return builder.fadd(builder.fmul(upper, double(2.0**64)), lower)

    return types.float64(types.int64, types.int64, types.int64, types.int64), generate


if config.BOUNDSCHECK:

    @njit(cache=True)
    def pointer(array):  # type: ignore[no-untyped-def]
        """Return the array, flat."""
        return array.reshape(array.size)

    @njit(cache=True)
    def pointer_from(items, begin):  # type: ignore[no-untyped-def]
        """Return the items from ``begin`` on."""
        return items[begin:]

else:

    @intrinsic
    def pointer(typingctx, array):  # type: ignore[no-untyped-def]
        """Return a pointer to the first item of an array that outlives it."""

        def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
            return context.make_array(signature.args[0])(context, builder, args[0]).data

        return types.CPointer(array.dtype)(array), generate

    @intrinsic
    def pointer_from(typingctx, items, begin):  # type: ignore[no-untyped-def]
        """Return a pointer to ``items[begin]``."""

        def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
            return builder.gep(args[0], [args[1]])

        return items(items, types.int64), generate


@intrinsic
def prefetch(typingctx, items, index):  # type: ignore[no-untyped-def]
    """Ask for the cache line of ``items[index]``; never faults."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        begin = args[0]
        if isinstance(signature.args[0], types.Array):
            begin = context.make_array(signature.args[0])(context, builder, begin).data
        address = builder.bitcast(builder.gep(begin, [args[1]]), ir.IntType(8).as_pointer())
        small = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), small, small, small])
        call = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(call, [address, small(0), small(3), small(1)])
        return context.get_dummy_value()

    return types.void(items, types.int64), generate


@njit(inline="always")
def mix31(low, high, salt):  # type: ignore[no-untyped-def]
    """Return 31 well mixed bits of a 128-bit key; the words may be plain integers."""
    h = low ^ (high * _M2) ^ (salt * _M1)
    h ^= (h >> 33) & _LOW31
    h *= _M1
    h ^= (h >> 29) & 0x7FFFFFFFF
    h *= _M2
    return (h >> 33) & _LOW31


@njit(cache=True, nogil=True)
def hash_words(m, begin, count):  # type: ignore[no-untyped-def]
    """Return two words: SipHash-1-3-128 of ``m[begin:begin + count]``.

    Its key is fixed. The words of ids are hashes under the partition's secret key already, so nobody can
    choose them.
    """
    v0, v1, v2, v3 = start(U64(0), U64(0))
    for i in range(count):
        v0, v1, v2, v3 = absorb(v0, v1, v2, v3, m[begin + i])
    v0, v1, v2, v3 = absorb(v0, v1, v2, v3, np.int64(count * 8) << 56)
    return finish(v0, v1, v2, v3)
