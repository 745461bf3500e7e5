"""Comparisons of a whole tile with a constant, as one vector operation: 64 lanes to 64 bits."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fraudstream.rules.compiler.opcodes import TILE


def _comparison(floats: bool, op: str) -> Any:
    """Return a function (words, begin, constant) -> mask whose bit i is ``words[begin + i] op constant``."""

    @intrinsic
    def compare(typingctx, words, begin, constant):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
            item = ir.DoubleType() if floats else ir.IntType(64)
            vector = ir.VectorType(item, TILE)
            data = context.make_array(signature.args[0])(context, builder, args[0]).data
            begin = builder.gep(data, [args[1]])
            values = builder.load(builder.bitcast(begin, vector.as_pointer()), align=8)
            single = builder.insert_element(ir.Constant(vector, ir.Undefined), args[2], ir.IntType(32)(0))
            lanes = ir.Constant(ir.VectorType(ir.IntType(32), TILE), [0] * TILE)
            other = builder.shuffle_vector(single, ir.Constant(vector, ir.Undefined), lanes)
            test = builder.fcmp_ordered if floats else builder.icmp_signed
            return builder.bitcast(test(op, values, other), ir.IntType(64))

        return types.uint64(words, begin, constant), generate

    return compare


below_i, equal_i = _comparison(False, "<"), _comparison(False, "==")
below_f, above_f, equal_f = _comparison(True, "<"), _comparison(True, ">"), _comparison(True, "==")
