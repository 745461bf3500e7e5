"""The one kernel that evaluates every program: tiles of 64 rows, values in registers, conditions in masks.

A program is one int64 array, the *pool*, that begins with a header of (offset, count) pairs and the two
words of the hash key; nothing is compiled when rules change. For each tile of up to 64 rows:

1. gather what the program reads into registers: 64 words and a presence mask each;
2. run value instructions, register to register, each over the whole tile;
3. evaluate atoms, comparisons that give a mask of true and a mask of false rows;
4. combine masks by three-valued logic;
5. write the true and unknown masks of each output.

A mask reference is ``2 * node`` for a condition and ``2 * node + 1`` for its negation, because negation
only exchanges the two masks. Node 0 is always true. Lanes beyond the rows of a tile hold leftovers, which
no operation traps on; presence masks and the last step leave them out.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from fraudstream.rules.siphash import siphash128

U64 = np.uint64
ONE, NONE, ALL = U64(1), U64(0), U64(0xFFFF_FFFF_FFFF_FFFF)
MIN_INT64 = -(2**63)
MAX_INT64 = 2**63 - 1
TILE = 64
EARTH_RADIUS_M = 6_371_008.8
"""Mean radius (2a + b) / 3 of WGS 84."""

# Header: (offset, count) pairs of the pool's tables, in items of their width.
FIELDS, FEATURES, MODELS, CODE, ATOMS, BOOLS, OUTPUTS = 0, 2, 4, 6, 8, 10, 12
REGISTERS, NODES, KEY = 14, 15, 16
HEADER = 18
GATHER_WIDTH = 2
"""Column, register: one entry a word."""
CODE_WIDTH = 8
"""Operation, target, then up to six operands."""
ATOM_WIDTH = 4
"""Operation, register, register or -1, constant or offset."""
BOOL_WIDTH = 3
"""Operation, offset of arguments, count."""

# Value operations; suffixes: I int64, F binary64.
(ADD_I, SUB_I, NEG_I, ABS_I, MIN_I, MAX_I, SCALE, ROUND_I, MULTIPLE_I, BETWEEN_I) = range(10)
(ADD_F, SUB_F, NEG_F, ABS_F, MIN_F, MAX_F, MUL, DIV, ROUND_F, MULTIPLE_F, BETWEEN_F) = range(10, 21)
(FLOAT, RINT, COALESCE, OWN, LOCAL, HOUR, DAY, WEEKDAY, MIDNIGHT, DISTANCE) = range(21, 31)
(LOWER, LENGTH, SHARE, STARTS, ENDS, CONTAINS) = range(31, 37)

# Atoms; suffixes: C constant, R register, W two words.
(LT_I, EQ_I, LT_F, GT_F, EQ_F, LT_IR, EQ_IR, LT_FR, EQ_FR, EQ_W, EQ_WR) = range(11)
(PRESENT, CODES, SET_I, SET_F, SET_W) = range(11, 16)

# Three-valued operations.
(AND, SAME, ELSE, KNOWN) = range(4)

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
SHARES = 10_000
"""Parts into which keys are divided: a canary's percentage has two digits behind the point."""
LINEAR = 8
"""Sets up to this size are searched one by one."""


@njit(cache=True, nogil=True)
def _gather(rows, matrix, state, base, m, regs, pres):  # type: ignore[no-untyped-def]
    """Copy rows of a column-major matrix into registers."""
    for k in range(0, len(rows), 2):
        column, target = rows[k], rows[k + 1]
        at = target * TILE
        present = NONE
        for i in range(m):
            regs[at + i] = matrix[column, base + i]
            present |= U64(state[column, base + i]) << U64(i)
        pres[target] = present


@njit(cache=True, nogil=True)
def _gather_rows(cells, matrix, state, base, m, regs, pres):  # type: ignore[no-untyped-def]
    """Copy columns of a row-major matrix into registers.

    Eight rows at a time: their lines stay near while columns pass by, and eight lanes fill a line.
    """
    for k in range(0, len(cells), 2):
        pres[cells[k + 1]] = NONE
    whole = m & ~7
    for i in range(0, whole, 8):
        row, lane = base + i, U64(i)
        for k in range(0, len(cells), 2):
            column, target = cells[k], cells[k + 1]
            at = target * TILE + i
            bits = NONE
            for j in range(8):
                regs[at + j] = matrix[row + j, column]
                bits |= U64(state[row + j, column]) << U64(j)
            pres[target] |= bits << lane
    for i in range(whole, m):
        lane = U64(i)
        for k in range(0, len(cells), 2):
            column, target = cells[k], cells[k + 1]
            regs[target * TILE + i] = matrix[base + i, column]
            pres[target] |= U64(state[base + i, column]) << lane


@njit(cache=True, nogil=True)
def _nonzero(flags, m):  # type: ignore[no-untyped-def]
    """Pack a tile's int64 flags into a mask."""
    bits = NONE
    for j in range(0, m, 8):
        part = NONE
        for i in range(8):
            part |= U64(flags[j + i] != 0) << U64(i)
        bits |= part << U64(j)
    return bits


@njit(cache=True, nogil=True)
def _finite(row, m):  # type: ignore[no-untyped-def]
    """Return the mask of finite values of a tile."""
    bits = NONE
    for j in range(0, m, 8):
        part = NONE
        for i in range(8):
            part |= U64(abs(row[j + i]) < np.inf) << U64(i)
        bits |= part << U64(j)
    return bits


@njit(cache=True, nogil=True)
def _last_not_after(pool, at, size, value):  # type: ignore[no-untyped-def]
    """Return the greatest i with pool[at + i] <= value, or -1."""
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        if pool[at + middle] <= value:
            low = middle + 1
        else:
            high = middle
    return low - 1


@njit(cache=True, nogil=True)
def _integers(op, code, c, m, regs, pres, flags):  # type: ignore[no-untyped-def]
    """Run one int64 instruction; results out of range are missing."""
    target = code[c + 1]
    to, a, b = target * TILE, code[c + 2] * TILE, code[c + 3] * TILE
    present = pres[code[c + 2]]
    if op == ADD_I:
        present &= pres[code[c + 3]]
        for i in range(m):
            x, y = regs[a + i], regs[b + i]
            r = x + y
            regs[to + i] = r
            flags[i] = ((x ^ r) & (y ^ r)) < 0
        present &= ~_nonzero(flags, m)
    elif op == SUB_I:
        present &= pres[code[c + 3]]
        for i in range(m):
            x, y = regs[a + i], regs[b + i]
            r = x - y
            regs[to + i] = r
            flags[i] = ((x ^ y) & (x ^ r)) < 0
        present &= ~_nonzero(flags, m)
    elif op == NEG_I or op == ABS_I:
        for i in range(m):
            x = regs[a + i]
            regs[to + i] = -x if op == NEG_I or x < 0 else x
            flags[i] = x == MIN_INT64
        present &= ~_nonzero(flags, m)
    elif op == MIN_I:
        present &= pres[code[c + 3]]
        for i in range(m):
            regs[to + i] = min(regs[a + i], regs[b + i])
    elif op == MAX_I:
        present &= pres[code[c + 3]]
        for i in range(m):
            regs[to + i] = max(regs[a + i], regs[b + i])
    elif op == SCALE:
        factor = code[c + 4]
        limit = MAX_INT64 // factor
        for i in range(m):
            x = regs[a + i]
            regs[to + i] = x * factor
            flags[i] = x > limit or x < -limit
        present &= ~_nonzero(flags, m)
    elif op == ROUND_I:
        step = code[c + 4]
        for i in range(m):
            x = regs[a + i]
            below = x % step
            above = step - below
            # Half away from zero: up for positive, down for negative values.
            up = 2 * below >= step if x >= 0 else 2 * below > step
            flags[i] = (x > MAX_INT64 - above) if up else (x < MIN_INT64 + below)
            regs[to + i] = x + above if up else x - below
        present &= ~_nonzero(flags, m)
    elif op == MULTIPLE_I:
        present &= pres[code[c + 3]]
        for i in range(m):
            x, step = regs[a + i], regs[b + i]
            flags[i] = step <= 0
            regs[to + i] = 1 if step > 0 and x != 0 and x % step == 0 else 0
        present &= ~_nonzero(flags, m)
    elif op == BETWEEN_I:
        high = code[c + 4] * TILE
        present &= pres[code[c + 3]] & pres[code[c + 4]]
        for i in range(m):
            x = regs[a + i]
            regs[to + i] = 1 if x >= regs[b + i] and x <= regs[high + i] else 0
    pres[target] = present


@njit(cache=True, nogil=True)
def _floats(op, code, c, m, regs, regf, pres, flags):  # type: ignore[no-untyped-def]
    """Run one binary64 instruction; results that are not finite are missing."""
    target = code[c + 1]
    to, a, b = target * TILE, code[c + 2] * TILE, code[c + 3] * TILE
    present = pres[code[c + 2]]
    if op == NEG_F:
        for i in range(m):
            regf[to + i] = -regf[a + i]
    elif op == ABS_F:
        for i in range(m):
            regf[to + i] = abs(regf[a + i])
    elif op == ROUND_F:
        step = float(code[c + 4])
        for i in range(m):
            x = regf[a + i] / step
            whole = np.floor(abs(x))
            if abs(x) - whole >= 0.5:
                whole += 1.0
            regf[to + i] = (whole if x >= 0 else -whole) * step
        present &= _finite(regf[to : to + TILE], m)
    else:
        present &= pres[code[c + 3]]
        if op == ADD_F:
            for i in range(m):
                regf[to + i] = regf[a + i] + regf[b + i]
        elif op == SUB_F:
            for i in range(m):
                regf[to + i] = regf[a + i] - regf[b + i]
        elif op == MUL:
            for i in range(m):
                regf[to + i] = regf[a + i] * regf[b + i]
        elif op == DIV:
            for i in range(m):
                y = regf[b + i]
                regf[to + i] = regf[a + i] / y if y != 0 else np.inf
        elif op == MIN_F:
            for i in range(m):
                x, y = regf[a + i], regf[b + i]
                regf[to + i] = min(x, y)
        elif op == MAX_F:
            for i in range(m):
                x, y = regf[a + i], regf[b + i]
                regf[to + i] = max(x, y)
        if op <= DIV:
            present &= _finite(regf[to : to + TILE], m)
        elif op == MULTIPLE_F:
            for i in range(m):
                x, step = regf[a + i], regf[b + i]
                flags[i] = step <= 0
                regs[to + i] = 1 if step > 0 and x != 0 and np.fmod(x, step) == 0 else 0
            present &= ~_nonzero(flags, m)
        elif op == BETWEEN_F:
            high = code[c + 4] * TILE
            present &= pres[code[c + 4]]
            for i in range(m):
                x = regf[a + i]
                regs[to + i] = 1 if x >= regf[b + i] and x <= regf[high + i] else 0
    pres[target] = present


@njit(cache=True, nogil=True)
def _distance(regf, a, b, to, m):  # type: ignore[no-untyped-def]
    """Haversine distance in km, in whole metres (R. W. Sinnott, Sky and Telescope 68, 1984)."""
    for i in range(m):
        lat_a, lat_b = math.radians(regf[a + i]), math.radians(regf[b + i])
        lon_a, lon_b = math.radians(regf[a + TILE + i]), math.radians(regf[b + TILE + i])
        north, east = math.sin((lat_b - lat_a) / 2), math.sin((lon_b - lon_a) / 2)
        h = north * north + math.cos(lat_a) * math.cos(lat_b) * east * east
        metres = 2 * EARTH_RADIUS_M * math.asin(min(1.0, math.sqrt(h)))
        regf[to + i] = np.rint(metres) / 1000.0


@njit(cache=True, nogil=True)
def _others(op, code, c, m, regs, regf, pres, pool, flags):  # type: ignore[no-untyped-def]
    """Run one instruction of conversion, choice, time or place."""
    target = code[c + 1]
    to, a, b = target * TILE, code[c + 2] * TILE, code[c + 3] * TILE
    present = pres[code[c + 2]]
    if op == FLOAT:
        for i in range(m):
            regf[to + i] = float(regs[a + i])
    elif op == RINT:
        for i in range(m):
            x = np.rint(regf[a + i])
            inside = x >= -9223372036854775808.0 and x < 9223372036854775808.0
            regs[to + i] = np.int64(x) if inside else 0
            flags[i] = not inside
        present &= ~_nonzero(flags, m)
    elif op == COALESCE:
        for word in range(code[c + 4]):
            for i in range(m):
                first = (present >> U64(i)) & ONE != NONE
                regs[to + word * TILE + i] = regs[a + word * TILE + i] if first else regs[b + word * TILE + i]
        present |= pres[code[c + 3]]
        pres[target + code[c + 4] - 1] = present
    elif op == OWN:
        low, high = pool[code[c + 4]], pool[code[c + 4] + 1]
        present &= pres[code[c + 3]]
        for i in range(m):
            regs[to + i] = regs[a + i]
            flags[i] = regs[b + i] == low and regs[b + TILE + i] == high
        present &= _nonzero(flags, m)
    elif op == LOCAL or op == MIDNIGHT:
        zone = code[c + 4]
        size = pool[zone]
        instants = zone + 1 if op == LOCAL else zone + 1 + 2 * size
        for i in range(m):
            x = regs[a + i]
            bad = False
            if op == MIDNIGHT:
                limit = MAX_INT64 // DAY_MS
                bad = x > limit or x < -limit
                x *= DAY_MS
            offset = pool[zone + 1 + size + _last_not_after(pool, instants, size, x)]
            if op == MIDNIGHT:
                offset = -offset
            r = x + offset
            regs[to + i] = r
            flags[i] = bad or ((x ^ r) & (offset ^ r)) < 0
        present &= ~_nonzero(flags, m)
    elif op == HOUR:
        for i in range(m):
            regs[to + i] = regs[a + i] // HOUR_MS % 24
    elif op == DAY:
        for i in range(m):
            regs[to + i] = regs[a + i] // DAY_MS
    elif op == WEEKDAY:
        for i in range(m):
            regs[to + i] = (regs[a + i] % 7 + 3) % 7 + 1  # day 0 was a Thursday
    elif op == DISTANCE:
        present &= pres[code[c + 3]]
        _distance(regf, a, b, to, m)
    pres[target] = present


@njit(cache=True, nogil=True)
def _low_byte(byte):  # type: ignore[no-untyped-def]
    return byte + 32 if byte >= 65 and byte <= 90 else byte


@njit(cache=True, nogil=True)
def _matches(buffer, at, text, needle, size, lowered):  # type: ignore[no-untyped-def]
    for i in range(size):
        byte = np.int64(buffer[at + i])
        if lowered:
            byte = _low_byte(byte)
        if byte != np.int64(text[needle + i]):
            return False
    return True


@njit(cache=True, nogil=True)
def _texts(op, code, c, m, base, regs, pres, start, size, buffer, text, spare, k0, k1):  # type: ignore[no-untyped-def]
    """Run one instruction on the text of a field, row by row."""
    target = code[c + 1]
    to = target * TILE
    column, needle, length, lowered = code[c + 3], code[c + 4], code[c + 5], code[c + 6] != 0
    present = pres[code[c + 2]]
    for i in range(m):
        if (present >> U64(i)) & ONE == NONE:
            continue
        at, bytes_ = np.int64(start[column, base + i]), np.int64(size[column, base + i])
        if op == LOWER:
            for j in range(bytes_):
                spare[j] = _low_byte(np.int64(buffer[at + j]))
            regs[to + i], regs[to + TILE + i] = siphash128(spare, 0, bytes_, k0, k1)
        elif op == LENGTH:
            count = 0
            for j in range(bytes_):
                count += (np.int64(buffer[at + j]) & 0xC0) != 0x80
            regs[to + i] = count
        elif op == SHARE:
            # No key: partitions, restarts and tests must agree on who is in the share.
            low, _ = siphash128(buffer, at, bytes_, NONE, NONE)
            regs[to + i] = np.int64(U64(low) % U64(SHARES))
        else:
            found = 0
            if op == STARTS:
                found = bytes_ >= length and _matches(buffer, at, text, needle, length, lowered)
            elif op == ENDS:
                found = bytes_ >= length and _matches(
                    buffer, at + bytes_ - length, text, needle, length, lowered
                )
            else:
                for j in range(bytes_ - length + 1):
                    if _matches(buffer, at + j, text, needle, length, lowered):
                        found = 1
                        break
            regs[to + i] = found
    pres[target] = present
    if op == LOWER:
        pres[target + 1] = present


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
                j = _last_not_after(pool, values, size, x)
                if j >= 0 and pool[values + j] == x:
                    found = j
        else:
            y = regf[a + i]
            if size <= LINEAR:
                for j in range(size):
                    if poolf[values + j] == y:
                        found = j
            else:
                j = _last_not_after(poolf, values, size, y)
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
def _atoms(atom, m, regs, regf, pres, pool, poolf, mask):  # type: ignore[no-untyped-def]
    """Evaluate comparisons into pairs of masks.

    The common ones always take the whole tile: loops of a fixed length become vector instructions.
    """
    node = 2
    for k in range(0, len(atom), ATOM_WIDTH):
        op, left = atom[k], atom[k + 1]
        a, b = left * TILE, atom[k + 2] * TILE
        present, bits = pres[left], NONE
        if op == LT_I:
            bound = atom[k + 3]
            row = regs[a : a + TILE]
            for i in range(TILE):
                bits |= U64(row[i] < bound) << U64(i)
        elif op == EQ_I:
            bound = atom[k + 3]
            row = regs[a : a + TILE]
            for i in range(TILE):
                bits |= U64(row[i] == bound) << U64(i)
        elif op == LT_F:
            limit = poolf[atom[k + 3]]
            rowf = regf[a : a + TILE]
            for i in range(TILE):
                bits |= U64(rowf[i] < limit) << U64(i)
        elif op == GT_F:
            limit = poolf[atom[k + 3]]
            rowf = regf[a : a + TILE]
            for i in range(TILE):
                bits |= U64(rowf[i] > limit) << U64(i)
        elif op == EQ_F:
            limit = poolf[atom[k + 3]]
            rowf = regf[a : a + TILE]
            for i in range(TILE):
                bits |= U64(rowf[i] == limit) << U64(i)
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
def _conditions(steps, node, pool, mask):  # type: ignore[no-untyped-def]
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
    outputs = pool[pool[OUTPUTS] : pool[OUTPUTS] + pool[OUTPUTS + 1]]
    k0, k1 = U64(pool[KEY]), U64(pool[KEY + 1])
    mask[0], mask[1] = ALL, NONE
    for word in range((n + TILE - 1) // TILE):
        base = word * TILE
        m = min(TILE, n - base)
        rows = ALL if m == TILE else (ONE << U64(m)) - ONE
        _gather(fields, field_value, field_state, base, m, regs, pres)
        _gather_rows(features, feature_value, feature_state, base, m, regs, pres)
        _gather(models, model_value, model_state, base, m, regs, pres)
        for c in range(0, len(code), CODE_WIDTH):
            op = code[c]
            if op <= BETWEEN_I:
                _integers(op, code, c, m, regs, pres, flags)
            elif op <= BETWEEN_F:
                _floats(op, code, c, m, regs, regf, pres, flags)
            elif op <= DISTANCE:
                _others(op, code, c, m, regs, regf, pres, pool, flags)
            else:
                _texts(op, code, c, m, base, regs, pres, start, size, buffer, text, spare, k0, k1)
        node = _atoms(atom, m, regs, regf, pres, pool, poolf, mask)
        _conditions(steps, node, pool, mask)
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
