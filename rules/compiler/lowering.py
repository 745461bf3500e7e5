"""Lowering: terms to registers, instructions, atoms and three-valued steps, each distinct one once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraudstream.rules.bundle import Slot, Source, Type
from fraudstream.rules.compiler import opcodes as k
from fraudstream.rules.compiler.literals import country_word, float_word
from fraudstream.rules.compiler.terms import Constant, ListDecl, ListItem, Term, every
from fraudstream.rules.compiler.zones import load_zone

_STREAMED = frozenset({k.LT_I, k.EQ_I, k.LT_F, k.GT_F, k.EQ_F, k.PRESENT, k.EQ_W, k.CODES})
"""Atoms of one value and a constant."""
_BEHIND = 1 << 40
TRUE, FALSE = 0, 1
"""References to node 0 and its negation."""
_STEPS = 1 << 40
"""Distinguishes references to steps from those to atoms until both are counted."""

_INTEGER_OPS = {
    "add": k.ADD_I,
    "sub": k.SUB_I,
    "neg": k.NEG_I,
    "abs": k.ABS_I,
    "min": k.MIN_I,
    "max": k.MAX_I,
}
_FLOAT_OPS = {"add": k.ADD_F, "sub": k.SUB_F, "neg": k.NEG_F, "abs": k.ABS_F, "min": k.MIN_F, "max": k.MAX_F,
              "mul": k.MUL, "div": k.DIV}  # fmt: skip
_PLAIN_OPS = {"float": k.FLOAT, "rint": k.RINT, "hour": k.HOUR, "day": k.DAY, "weekday": k.WEEKDAY,
              "distance": k.DISTANCE}  # fmt: skip
_SEARCHES = {"starts_with": k.STARTS, "ends_with": k.ENDS, "contains": k.CONTAINS}


class TextSet(NamedTuple):
    """A set of texts that is hashed when a program is bound."""

    offset: int
    """Of its cells in the pool."""
    size: int
    """Cells, a power of two."""
    texts: NDArray[np.uint8]
    ends: NDArray[np.int64]
    until: NDArray[np.int64]


class Tables(NamedTuple):
    """What a lowering leaves: the arrays of a program."""

    pool: NDArray[np.int64]
    text: NDArray[np.uint8]
    registers: int
    nodes: int
    texts: tuple[tuple[int, bytes], ...]
    sets: tuple[TextSet, ...]
    constants: tuple[tuple[int, int], ...]


class Lowering:
    """Builds one program from any number of terms.

    Values live in registers (two-word values in two neighbours). Conditions are references, ``2 * node``
    and its negation ``2 * node + 1``; steps keep a high bit until the number of atoms is known.
    """

    def __init__(self) -> None:
        self.registers = 0
        self._terms: dict[int, int] = {}
        self._kept: list[object] = []
        self._values: dict[object, int] = {}
        self._slots: dict[str, Slot] = {}
        self._gathers: dict[Source, list[int]] = {source: [] for source in Source}
        self._code: list[int] = []
        self._atoms: dict[tuple[int, int, int, int], int] = {}
        self._steps: dict[tuple[int, ...], int] = {}
        # The tail of the pool: constants, zones, sets. Offsets are counted from its beginning.
        self._tail: list[int] = []
        self._places: dict[object, int] = {}
        self._fixups: list[int] = []
        self._atom_offsets: set[int] = {k.LT_F, k.GT_F, k.EQ_F, k.EQ_W, k.SET_I, k.SET_F, k.SET_W}
        self._constants: list[tuple[int, int]] = []
        self._texts: list[tuple[int, bytes]] = []
        self._sets: list[tuple[int, int, Sequence[ListItem]]] = []
        self._needles = bytearray()

    @property
    def slots(self) -> tuple[Slot, ...]:
        """Return every slot that is read, sorted by name."""
        return tuple(self._slots[name] for name in sorted(self._slots))

    # Terms. ``every`` gives arguments first, so that lowering never recurses.

    def condition(self, root: Term) -> int:
        """Lower a condition and return its reference."""
        for term in every([root]):
            if id(term) in self._terms or term.op == "const":
                continue
            if term.kind.type is Type.BOOL and term.op != "read":
                self._terms[id(term)] = self._condition(term)
            else:
                self._terms[id(term)] = self._value(term)
            self._kept.append(term)  # an id is unique only while its object lives
        return self._of(root)

    def _of(self, term: Term) -> int:
        found = self._terms.get(id(term))
        if found is None:
            # A constant: only where something needs it in a register.
            found = self._condition(term) if term.kind.type is Type.BOOL else self._value(term)
            self._terms[id(term)] = found
            self._kept.append(term)
        return found

    # Values.

    def _value(self, term: Term) -> int:
        """Return the register of a value."""
        if term.constant is not None:
            return self._constant(term.constant)
        if term.slot is not None:
            return self._read(term.slot)
        args = [self._of(arg) for arg in term.args]
        op, extra = self._operation(term, args)
        return self._instruction(op, term.kind.type.width, *extra)

    def _operation(self, term: Term, args: list[int]) -> tuple[int, list[int]]:
        op, data = term.op, term.data
        if op in _PLAIN_OPS:
            return _PLAIN_OPS[op], args
        if op == "lower":
            return k.LOWER, [args[0], self._column(term.args[0]), 0, 0, 0]
        if op in ("length", "share"):
            return k.LENGTH if op == "length" else k.SHARE, [args[0], self._column(term.args[0]), 0, 0, 0]
        if op == "coalesce":
            return k.COALESCE, [*args, term.kind.type.width]
        if op in ("local", "midnight"):
            return k.LOCAL if op == "local" else k.MIDNIGHT, [args[0], 0, self._zone(str(data))]
        if op == "own":
            return k.OWN, [*args, self._text_words(str(data))]
        if op in ("round", "scale"):
            assert isinstance(data, int)
            rounding = k.ROUND_I if term.kind.repr == "i" else k.ROUND_F
            return k.SCALE if op == "scale" else rounding, [args[0], 0, data]
        return (_INTEGER_OPS if term.kind.repr == "i" else _FLOAT_OPS)[op], args

    def _instruction(self, op: int, width: int, *operands: int) -> int:
        key = (op, *operands)
        found = self._values.get(key)
        if found is None:
            found = self._values[key] = self._register(width)
            # Offsets into the tail are shifted when its place is known.
            if op in (k.LOCAL, k.MIDNIGHT, k.OWN):
                self._fixups.append(len(self._code) + 4)
            padding = k.CODE_WIDTH - 2 - len(operands)
            self._code += [op, found, *operands, *(0 for _ in range(padding))]
        return found

    def _register(self, width: int) -> int:
        found = self.registers
        self.registers += width
        return found

    def _read(self, slot: Slot) -> int:
        key = ("slot", slot.source, slot.column)
        found = self._values.get(key)
        if found is None:
            width = slot.type.width
            found = self._values[key] = self._register(width)
            for word in range(width):
                self._gathers[slot.source] += [slot.column + word, found + word]
        self._slots[slot.name] = slot
        return found

    def _column(self, term: Term) -> int:
        read = term.args[0] if term.op == "lower" else term
        assert read.slot is not None
        return read.slot.column

    def _constant(self, value: Constant) -> int:
        """Return a register that holds the value on every row."""
        width = value.kind.type.width
        offset = self._words(value)
        key = ("constant", offset, width)
        found = self._values.get(key)
        if found is None:
            found = self._values[key] = self._register(width)
            self._constants += [(found + word, offset + word) for word in range(width)]
        return found

    # The tail of the pool.

    def _place(self, key: object, words: Iterable[int]) -> int:
        found = self._places.get(key)
        if found is None:
            found = self._places[key] = len(self._tail)
            self._tail += words
        return found

    def _words(self, value: Constant) -> int:
        """Return where a constant's words stand in the tail."""
        content = value.value
        if isinstance(content, str) and value.kind.type is not Type.COUNTRY:
            return self._text_words(content)
        words = [float_word(part) for part in content] if isinstance(content, tuple) else [_word(value)]
        return self._place(("words", *words), words)

    def _text_words(self, text: str) -> int:
        known = len(self._tail)
        offset = self._place(("text", text), (0, 0))
        if offset == known:
            self._texts.append((offset, text.encode()))
        return offset

    def _zone(self, name: str) -> int:
        zone = load_zone(name)
        words = [len(zone.instant), *zone.instant.tolist(), *zone.offset.tolist(), *zone.wall.tolist()]
        return self._place(("zone", name), words)

    # Conditions.

    def _condition(self, term: Term) -> int:
        op = term.op
        if term.constant is not None:
            return TRUE if term.constant.value else FALSE
        # A constant side of a comparison is part of the atom.
        skip = op in ("lt", "eq")
        args = [-1 if skip and arg.constant is not None else self._of(arg) for arg in term.args]
        if op == "not":
            return args[0] ^ 1
        if op in ("and", "or"):
            return self._join(op, args)
        if op == "same":
            return self._step(k.SAME, *sorted(args))
        if op == "coalesce":
            return self._step(k.ELSE, *args)
        if op == "present":
            if term.args[0].kind.type is Type.BOOL:
                return self._step(k.KNOWN, args[0])
            return self._atom(k.PRESENT, args[0])
        if op == "truth":
            return self._atom(k.EQ_I, args[0], -1, 0) ^ 1
        if op in ("lt", "eq"):
            return self._comparison(term, args)
        if op == "in":
            return self._in_constants(term, args[0])
        if op == "in_list":
            return self._in_list(term, args)
        return self._flag(term, args)

    def _flag(self, term: Term, args: list[int]) -> int:
        """Lower a function whose result is a condition: its register is 1 or 0."""
        floats = term.args[0].kind.repr == "f"
        if term.op == "multiple":
            register = self._instruction(k.MULTIPLE_F if floats else k.MULTIPLE_I, 1, *args)
        elif term.op == "between":
            register = self._instruction(k.BETWEEN_F if floats else k.BETWEEN_I, 1, *args)
        else:
            needle = str(term.data).encode()
            at = len(self._needles)
            place = self._places.setdefault(("needle", needle), at)
            if place == at:
                self._needles += needle
            lowered = term.args[0].op == "lower"
            read = self._of(term.args[0].args[0]) if lowered else args[0]
            operands = (read, self._column(term.args[0]), place, len(needle), int(lowered))
            register = self._instruction(_SEARCHES[term.op], 1, *operands)
        return self._atom(k.EQ_I, register, -1, 0) ^ 1

    def _join(self, op: str, args: list[int]) -> int:
        """Return a conjunction; ``or`` is the negation of the conjunction of negations."""
        flip = 0 if op == "and" else 1
        terms = sorted({arg ^ flip for arg in args})
        if FALSE in terms:
            return FALSE ^ flip
        terms = [term for term in terms if term != TRUE]
        if not terms:
            return TRUE ^ flip
        return (terms[0] if len(terms) == 1 else self._step(k.AND, *terms)) ^ flip

    def _step(self, op: int, *references: int) -> int:
        key = (op, *references)
        found = self._steps.setdefault(key, len(self._steps))
        return _STEPS + 2 * found

    def _atom(self, op: int, left: int, right: int = -1, value: int = 0) -> int:
        key = (op, left, right, value)
        found = self._atoms.setdefault(key, len(self._atoms))
        return 2 * (found + 1)

    def _comparison(self, term: Term, args: list[int]) -> int:
        left, right = term.args
        kind = left.kind
        equal = term.op == "eq"
        if left.constant is not None and equal:
            left, right, args = right, left, args[::-1]
        wide = kind.type.width == 2
        if right.constant is not None:
            if wide:
                return self._atom(k.EQ_W, args[0], -1, self._words(right.constant))
            if kind.repr == "f":
                return self._atom(k.EQ_F if equal else k.LT_F, args[0], -1, self._words(right.constant))
            return self._atom(k.EQ_I if equal else k.LT_I, args[0], -1, _word(right.constant))
        if left.constant is not None:
            if kind.repr == "f":
                return self._atom(k.GT_F, args[1], -1, self._words(left.constant))
            # c < x of integers is not (x < c + 1), the atom of x >= c + 1; nothing is above the last.
            bound = _word(left.constant)
            if bound == k.MAX_INT64:
                return self._atom(k.LT_I, args[1], -1, k.MIN_INT64)
            return self._atom(k.LT_I, args[1], -1, bound + 1) ^ 1
        if equal:
            op = k.EQ_WR if wide else k.EQ_FR if kind.repr == "f" else k.EQ_IR
            return self._atom(op, *sorted(args))
        return self._atom(k.LT_FR if kind.repr == "f" else k.LT_IR, *args)

    # Sets.

    def _in_constants(self, term: Term, register: int) -> int:
        value, constants = term.args[0], term.data
        assert isinstance(constants, tuple)
        if value.kind.type.width == 2:
            items = [ListItem(str(item.value)) for item in constants]
            if len(items) == 1:
                return self._atom(k.EQ_W, register, -1, self._words(constants[0]))
            return self._text_set(("in", *sorted(item.value for item in items)), register, -1, items)
        words = sorted({_word(item) for item in constants})
        if value.kind.repr == "i":
            if len(words) == 1:
                return self._atom(k.EQ_I, register, -1, words[0])
            if value.kind.type is Type.ENUM and words and words[-1] < 64:
                codes = sum(1 << code for code in words)
                return self._atom(k.CODES, register, -1, codes - (1 << 64) if codes >> 63 else codes)
        ends: dict[int | float, int] = {_number(item): k.MAX_INT64 for item in constants}
        return self._number_set(value.kind.repr, register, -1, ends, expires=False)

    def _in_list(self, term: Term, args: list[int]) -> int:
        declared, kind = term.data, term.args[0].kind
        assert isinstance(declared, ListDecl)
        time = args[1] if len(args) > 1 else -1
        if kind.type.width == 2:
            return self._text_set(("list", id(declared)), args[0], time, declared.items, keep=declared)
        ends: dict[int | float, int] = {}
        for item in declared.items:
            value = item.value
            if isinstance(value, str):
                value = country_word(value) if kind.type is Type.COUNTRY else kind.values.index(value)
            elif kind.repr == "f":
                value = float(value)
            until = k.MAX_INT64 if item.until_ms is None else item.until_ms
            ends[value] = max(ends.get(value, until), until)
        return self._number_set(kind.repr, args[0], time, ends, expires=time >= 0)

    def _number_set(
        self, content: str, register: int, time: int, ends: dict[int | float, int], *, expires: bool
    ) -> int:
        values = sorted(ends)
        words = [float_word(float(v)) for v in values] if content == "f" else [int(v) for v in values]
        cells = [len(values), int(expires), *words, *(ends[v] for v in values)]
        offset = self._place(("numbers", content, tuple(cells)), cells)
        return self._atom(k.SET_F if content == "f" else k.SET_I, register, time, offset)

    def _text_set(
        self, key: object, register: int, time: int, items: Sequence[ListItem], keep: object = None
    ) -> int:
        size = 2
        while size < 2 * len(items):
            size *= 2
        known = len(self._tail)
        offset = self._place(key, ())
        if offset == known:
            self._tail += [size, int(time >= 0)]
            self._tail += [0, 0, k.MIN_INT64] * size
            self._sets.append((offset + 2, size, items))
            self._kept.append(keep)
        return self._atom(k.SET_W, register, time, offset)

    # The end.

    def _passing(self) -> dict[int, int]:
        """Return the registers of features that are only compared with constants, with their columns."""
        cells = self._gathers[Source.FEATURE]
        columns = dict(zip(cells[1::2], cells[::2], strict=True))
        # Operands that are no registers are taken for some, too: those stay, which is never wrong.
        kept = set(self._code)
        for op, left, right, _ in self._atoms:
            if op not in _STREAMED:
                kept |= {left, left + 1, right}
        for slot in self._slots.values():
            if slot.source is Source.FEATURE and slot.type.width == 2:
                register = self._values["slot", slot.source, slot.column]
                if register in kept or register + 1 in kept or slot.column % k.BLOCK == k.BLOCK - 1:
                    kept |= {register, register + 1}
        return {register: column for register, column in columns.items() if register not in kept}

    def finish(self, references: Sequence[int]) -> Tables:
        """Lay out the pool for outputs with these references."""
        passing = self._passing()
        first = self._register(k.BLOCK) if passing else 0
        # Atoms sorted by operation and register: the kernel's branches and cache lines repeat. Those of
        # passing features come first, block by block.
        order = sorted(self._atoms, key=lambda key: (passing.get(key[1], _BEHIND) // k.BLOCK, *key))
        stream: list[int] = []
        for at, (_, register, _, _) in enumerate(order):
            if register in passing:
                column = passing[register] // k.BLOCK * k.BLOCK
                if not stream or stream[-3] != column:
                    stream += [column, at, at]
                stream[-1] = at + 1
        place = {self._atoms[key]: i + 1 for i, key in enumerate(order)}
        steps = len(order) + 1

        def final(reference: int) -> int:
            if reference >= _STEPS:
                return 2 * steps + reference - _STEPS
            return 2 * place[reference // 2 - 1] + reference % 2 if reference > FALSE else reference

        atoms = [list(key) for key in order]
        for atom in atoms:
            if atom[1] in passing:
                atom[1] = first + passing[atom[1]] % k.BLOCK
        gathers = [
            _by_column(self._gathers[source], passing if source is Source.FEATURE else {})
            for source in (Source.FIELD, Source.FEATURE, Source.MODEL)
        ]
        arguments: list[int] = []
        conditions: list[list[int]] = []
        for op, *args in self._steps:
            conditions.append([op, len(arguments), len(args)])
            arguments += [final(arg) for arg in args]
        sizes = [*(len(g) for g in gathers), len(self._code), k.ATOM_WIDTH * len(atoms),
                 k.BOOL_WIDTH * len(conditions), len(references), len(arguments), len(stream)]  # fmt: skip
        offsets = [k.HEADER]
        for size in sizes:
            offsets.append(offsets[-1] + size)
        tail = offsets[-1]
        for atom in atoms:
            if atom[0] in self._atom_offsets:
                atom[3] += tail
        code = list(self._code)
        for at in self._fixups:
            code[at] += tail
        for condition in conditions:
            condition[1] += offsets[7]
        header = [0] * k.HEADER
        widths = [k.GATHER_WIDTH] * 3 + [k.CODE_WIDTH, k.ATOM_WIDTH, k.BOOL_WIDTH, 1]
        for i, width in enumerate(widths):
            header[2 * i], header[2 * i + 1] = offsets[i], sizes[i] // width
        header[k.STREAM], header[k.STREAM + 1] = offsets[8], len(stream) // k.STREAM_WIDTH
        header[k.PASSING] = first
        header[k.REGISTERS] = self.registers
        header[k.NODES] = steps + len(conditions)
        body = [*header, *(word for gather in gathers for word in gather), *code]
        body += [word for atom in atoms for word in atom]
        body += [word for condition in conditions for word in condition]
        body += [final(reference) for reference in references]
        body += arguments
        body += stream
        pool = np.array(body + self._tail, np.int64)
        return Tables(
            pool=pool,
            text=np.frombuffer(bytes(self._needles) + b"\0", np.uint8),
            registers=self.registers,
            nodes=header[k.NODES],
            texts=tuple((tail + at, text) for at, text in self._texts),
            sets=tuple(_packed(tail + at, size, items) for at, size, items in self._sets),
            constants=tuple((register, tail + at) for register, at in self._constants),
        )


def _word(value: Constant) -> int:
    """Return the column word of a one-word constant."""
    content = value.value
    assert not isinstance(content, tuple)
    if isinstance(content, str):
        return country_word(content)
    return float_word(float(content)) if value.kind.repr == "f" else int(content)


def _number(value: Constant) -> int | float:
    content = value.value
    assert not isinstance(content, tuple)
    return country_word(content) if isinstance(content, str) else content


def _packed(offset: int, size: int, items: Sequence[ListItem]) -> TextSet:
    texts = [str(item.value).encode() for item in items]
    until = [k.MAX_INT64 if item.until_ms is None else item.until_ms for item in items]
    ends = np.cumsum(np.array([len(text) for text in texts], np.int64), dtype=np.int64)
    return TextSet(
        offset,
        size,
        np.frombuffer(b"".join(texts) + b"\0", np.uint8),
        ends,
        np.array(until, np.int64),
    )


def _by_column(cells: Sequence[int], passing: Mapping[int, int]) -> list[int]:
    """Return (column, register) pairs in the order of columns: neighbours in the matrix share cache lines.

    Registers in ``passing`` are left out.
    """
    pairs = sorted(zip(cells[::2], cells[1::2], strict=True))
    return [word for pair in pairs if pair[1] not in passing for word in pair]
