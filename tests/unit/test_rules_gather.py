"""Comparisons of features over wide matrices, whose columns pass the kernel block by block."""

from __future__ import annotations

import random

import numpy as np
import pytest

from fraudstream.rules.bundle import Slot, Source, Type
from fraudstream.rules.compiler import build, opcodes
from fraudstream.rules.compiler.program import Inputs, compile_outputs
from fraudstream.rules.compiler.terms import CONDITION, Checked, Constant, Kind, Term
from fraudstream.rules.siphash import hash_text

KEY = bytes(range(16))
TEXTS = ("a", "b", "c")


def _slots(columns: int, rng: random.Random) -> list[Slot]:
    """Return names over neighbouring columns: whole numbers, floats, and texts of two words."""
    slots, column = [], 0
    while column < columns:
        kind = rng.choice([Type.INTEGER, Type.NUMBER, Type.CATEGORY])
        if column + kind.width > columns:
            kind = Type.INTEGER
        form = "f" if kind is Type.NUMBER else "i"
        slots.append(Slot(f"f{column}", kind, form, Source.FEATURE, column))  # type: ignore[arg-type]
        column += kind.width
    return slots


@pytest.mark.parametrize("columns", [1, 7, 8, 9, 16, 61, 200])
@pytest.mark.parametrize("rows", [1, 7, 8, 63, 64, 65, 200])
def test_comparisons_of_features_equal_numpy(columns: int, rows: int) -> None:
    """Every row and column, present or missing, whole blocks, ends of rows and ends of batches."""
    rng, numbers = random.Random(columns * 1_000 + rows), np.random.default_rng(columns * 1_000 + rows)
    value = np.zeros((rows, columns), np.int64)
    state = (numbers.random((rows, columns)) < 0.7).astype(np.uint8)
    terms: list[Term] = []
    wanted: list[tuple[np.ndarray, np.ndarray]] = []
    hashes = np.array([hash_text(text.encode(), KEY) for text in TEXTS], np.int64)
    for slot in _slots(columns, rng):
        kind, at = Kind(slot.type, slot.repr), slot.column
        read = build.read(slot, kind)
        present = state[:, at] == 1
        if slot.type is Type.CATEGORY:
            picked = numbers.integers(0, len(TEXTS), rows)
            value[:, at : at + 2] = hashes[picked]
            state[:, at + 1] = state[:, at]
            terms.append(Term("eq", CONDITION, (read, build.const(Constant(kind, "b")))))
            wanted.append((picked == 1, present))
            continue
        items = numbers.integers(-3, 4, rows)
        value[:, at] = items.astype(np.float64).view(np.int64) if slot.repr == "f" else items
        for op in rng.sample(["<", "<=", ">", ">=", "==", "!="], 3):
            bound = rng.randint(-3, 3)
            constant = Constant(kind, float(bound) if slot.repr == "f" else bound)
            terms.append(build.compare(op, read, build.const(constant)))
            test = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}
            test |= {"==": np.equal, "!=": np.not_equal}
            wanted.append((test[op](items, bound), present))
    program = compile_outputs([Checked("", None, term) for term in terms])
    assert program.pool[opcodes.STREAM + 1] > 0, "features that are only compared pass through"
    empty, none = np.zeros((0, rows), np.int64), np.zeros((0, rows), np.uint8)
    spans = np.zeros((0, rows), np.int32)
    inputs = Inputs(empty, none, spans, spans, np.zeros(1, np.uint8), value, state, empty, none)
    true, unknown = program.bind(KEY).evaluate(inputs, rows)
    for output, (holds, present) in enumerate(wanted):
        found = [
            np.unpackbits(masks[output].view(np.uint8), bitorder="little")[:rows] == 1
            for masks in (true, unknown)
        ]
        assert (found[0] == (holds & present)).all()
        assert (found[1] == ~present).all()
