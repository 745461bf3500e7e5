"""Value instructions: gather what a program reads, then register to register over a tile of rows."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from fraudstream.rules.compiler.opcodes import (
    ABS_F,
    ABS_I,
    ADD_F,
    ADD_I,
    BETWEEN_F,
    BETWEEN_I,
    COALESCE,
    DAY,
    DISTANCE,
    DIV,
    EARTH_RADIUS_M,
    ENDS,
    FLOAT,
    HOUR,
    LENGTH,
    LOCAL,
    LOWER,
    MAX_F,
    MAX_I,
    MAX_INT64,
    MIDNIGHT,
    MIN_F,
    MIN_I,
    MIN_INT64,
    MUL,
    MULTIPLE_F,
    MULTIPLE_I,
    NEG_F,
    NEG_I,
    NONE,
    ONE,
    OWN,
    RINT,
    ROUND_F,
    ROUND_I,
    SCALE,
    SHARE,
    SHARES,
    STARTS,
    SUB_F,
    SUB_I,
    TILE,
    U64,
    WEEKDAY,
)
from fraudstream.rules.compiler.tokens import DAY_MS, HOUR_MS
from fraudstream.rules.siphash import siphash128


@njit(cache=True, nogil=True)
def gather(rows, matrix, state, base, m, regs, pres):  # type: ignore[no-untyped-def]
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
def gather_rows(cells, matrix, state, base, m, regs, pres):  # type: ignore[no-untyped-def]
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
def nonzero(flags, m):  # type: ignore[no-untyped-def]
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
def last_not_after(pool, at, size, value):  # type: ignore[no-untyped-def]
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
def integers(op, code, c, m, regs, pres, flags):  # type: ignore[no-untyped-def]
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
        present &= ~nonzero(flags, m)
    elif op == SUB_I:
        present &= pres[code[c + 3]]
        for i in range(m):
            x, y = regs[a + i], regs[b + i]
            r = x - y
            regs[to + i] = r
            flags[i] = ((x ^ y) & (x ^ r)) < 0
        present &= ~nonzero(flags, m)
    elif op == NEG_I or op == ABS_I:
        for i in range(m):
            x = regs[a + i]
            regs[to + i] = -x if op == NEG_I or x < 0 else x
            flags[i] = x == MIN_INT64
        present &= ~nonzero(flags, m)
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
        present &= ~nonzero(flags, m)
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
        present &= ~nonzero(flags, m)
    elif op == MULTIPLE_I:
        present &= pres[code[c + 3]]
        for i in range(m):
            x, step = regs[a + i], regs[b + i]
            flags[i] = step <= 0
            regs[to + i] = 1 if step > 0 and x != 0 and x % step == 0 else 0
        present &= ~nonzero(flags, m)
    elif op == BETWEEN_I:
        high = code[c + 4] * TILE
        present &= pres[code[c + 3]] & pres[code[c + 4]]
        for i in range(m):
            x = regs[a + i]
            regs[to + i] = 1 if x >= regs[b + i] and x <= regs[high + i] else 0
    pres[target] = present


@njit(cache=True, nogil=True)
def floats(op, code, c, m, regs, regf, pres, flags):  # type: ignore[no-untyped-def]
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
            present &= ~nonzero(flags, m)
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
def others(op, code, c, m, regs, regf, pres, pool, flags):  # type: ignore[no-untyped-def]
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
        present &= ~nonzero(flags, m)
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
        present &= nonzero(flags, m)
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
            offset = pool[zone + 1 + size + last_not_after(pool, instants, size, x)]
            if op == MIDNIGHT:
                offset = -offset
            r = x + offset
            regs[to + i] = r
            flags[i] = bad or ((x ^ r) & (offset ^ r)) < 0
        present &= ~nonzero(flags, m)
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
def texts(op, code, c, m, base, regs, pres, start, size, buffer, text, spare, k0, k1):  # type: ignore[no-untyped-def]
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
