"""Kernels: index of a table, rows of a delta, and the join of all tables to a batch."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from fraudstream.stream.enrichment import layout as at
from fraudstream.stream.windows.kernel_bits import mix31, pointer, prefetch

BLOCK = 64
"""Rows whose slots, then records, are asked for before the first is looked at."""
_LOW32 = np.int64(0xFFFFFFFF)
_ONE = np.int64(1)
_GONE = np.int64(1 << at.GONE_BIT)


@intrinsic
def words_at(typingctx, address):  # type: ignore[no-untyped-def]
    """Return a pointer to int64 words at an address."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.inttoptr(args[0], ir.IntType(64).as_pointer())

    return types.CPointer(types.int64)(types.int64), generate


@intrinsic
def bytes_at(typingctx, address):  # type: ignore[no-untyped-def]
    """Return a pointer to bytes at an address."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.inttoptr(args[0], ir.IntType(8).as_pointer())

    return types.CPointer(types.uint8)(types.int64), generate


@njit(cache=True, nogil=True)
def _find(index, mask, records, stride, low, high, bits, slot):  # type: ignore[no-untyped-def]
    """Return where a key's record begins, -1 if there is none; the search begins at ``slot``."""
    while True:
        word = index[slot]
        if word == 0:
            return np.int64(-1)
        if word >> 32 == bits:
            base = ((word & _LOW32) - 1) * stride
            if records[base + at.R_LOW] == low and records[base + at.R_HIGH] == high:
                return base
        slot = (slot + 1) & mask


@njit(cache=True, nogil=True)
def put_rows(index_array, record_array, stride, used, rows, count):  # type: ignore[no-untyped-def]
    """Enter ``count`` records, new or in place of those with the same key.

    ``index_array`` (int64 [slots], a power of two) and ``record_array`` (int64 [capacity * stride]) have
    room for ``rows`` (int64 [count, stride]); the first ``used`` rows are in use.

    Returns:
        (rows in use, rows that were there).
    """
    index, records = pointer(index_array), pointer(record_array)
    mask = np.int64(len(index_array) - 1)
    there = 0
    for i in range(count):
        low, high = rows[i, at.R_LOW], rows[i, at.R_HIGH]
        bits = mix31(low, high, 0)
        slot = bits & mask
        base = _find(index, mask, records, stride, low, high, bits, slot)
        if base < 0:
            base = used * stride
            used += 1
            while index[slot] != 0:
                slot = (slot + 1) & mask
            index[slot] = (bits << 32) | used
        elif not records[base + at.R_MASK] & _GONE:
            there += 1
        for word in range(stride):
            records[base + word] = rows[i, word]
    return used, there


@njit(cache=True, nogil=True)
def remove_rows(index_array, record_array, stride, low, high):  # type: ignore[no-untyped-def]
    """Mark rows as gone; returns how many were there. ``low``, ``high``: int64 [k]."""
    index, records = pointer(index_array), pointer(record_array)
    mask = np.int64(len(index_array) - 1)
    gone = 0
    for i in range(len(low)):
        bits = mix31(low[i], high[i], 0)
        base = _find(index, mask, records, stride, low[i], high[i], bits, bits & mask)
        if base >= 0 and not records[base + at.R_MASK] & _GONE:
            records[base + at.R_MASK] = _GONE
            gone += 1
    return gone


@njit(cache=True, nogil=True)
def join(plan_array, column_array, time_row, value_array, state_array, place_array, count_array):  # type: ignore[no-untyped-def]
    """Look every row's keys up and write the joined columns.

    Args:
        plan_array: int64 [tables * PLAN].
        column_array: int64 [columns * COLUMN].
        time_row: row of the event time.
        value_array: int64 [C, n]; rows of joined columns are filled, missing ones with 0.
        state_array: uint8 [C, n], likewise.
        place_array: int64 [text columns, n], places in the tables' pools.
        count_array: int64 [tables * COUNTERS], added to.

    Returns:
        Bytes of all joined texts.
    """
    n = value_array.shape[1]
    plan, columns = pointer(plan_array), pointer(column_array)
    value, state, place = pointer(value_array), pointer(state_array), pointer(place_array)
    base_array, slot_array = np.empty(BLOCK, np.int64), np.empty(BLOCK, np.int64)
    base, slots = pointer(base_array), pointer(slot_array)
    tables = len(plan_array) // at.PLAN
    text_bytes = 0
    for t in range(tables):
        p = t * at.PLAN
        index, records = words_at(plan[p + at.P_INDEX]), words_at(plan[p + at.P_RECORDS])
        mask, stride = plan[p + at.P_INDEX_MASK], plan[p + at.P_STRIDE]
        low_row = plan[p + at.P_KEY] * n
        high_row = low_row + n
        wide = plan[p + at.P_KEY_WORDS] == 2
        fresh_until, keep = plan[p + at.P_FRESH_UNTIL], plan[p + at.P_KEEP]
        found_row, stale_row = plan[p + at.P_FOUND] * n, plan[p + at.P_STALE] * n
        first, last = plan[p + at.P_COLUMNS], plan[p + at.P_COLUMNS] + plan[p + at.P_COLUMN_COUNT]
        found, absent, stale_count = 0, 0, 0
        for begin in range(0, n, BLOCK):
            m = min(BLOCK, n - begin)
            for j in range(m):
                i = begin + j
                bits = np.int64(-1)
                if state[low_row + i]:
                    bits = mix31(value[low_row + i], value[high_row + i] if wide else 0, 0)
                    prefetch(index, bits & mask)
                slots[j] = bits
            for j in range(m):
                bits = slots[j]
                if bits >= 0:
                    slot = bits & mask
                    while True:
                        word = index[slot]
                        if word == 0:
                            break
                        if word >> 32 == bits:
                            prefetch(records, ((word & _LOW32) - 1) * stride)
                            prefetch(records, ((word & _LOW32) - 1) * stride + stride - 1)
                            break
                        slot = (slot + 1) & mask
                    base[j] = slot
            for j in range(m):
                i = begin + j
                stale = value[time_row * n + i] > fresh_until
                known = slots[j] >= 0
                hit = -1
                if known:
                    hit = _find(
                        index,
                        mask,
                        records,
                        stride,
                        value[low_row + i],
                        value[high_row + i] if wide else 0,
                        slots[j],
                        base[j],
                    )
                    if hit >= 0 and records[hit + at.R_MASK] & _GONE:
                        hit = -1
                    found += hit >= 0
                    absent += hit < 0
                    stale_count += stale
                if stale and not keep:
                    known = False
                    hit = -1
                if found_row >= 0:
                    value[found_row + i] = known and hit >= 0
                    state[found_row + i] = known
                if stale_row >= 0:
                    value[stale_row + i] = stale
                    state[stale_row + i] = 1
                base[j] = hit
            for c in range(first, last):
                q = c * at.COLUMN
                offset, bit = columns[q + at.C_OFFSET], columns[q + at.C_BIT]
                target = columns[q + at.C_TARGET] * n + begin
                for j in range(m):
                    there = base[j] >= 0 and (records[base[j] + at.R_MASK] >> bit) & _ONE
                    value[target + j] = records[base[j] + offset] if there else 0
                    state[target + j] = there
                if columns[q + at.C_WORDS] == 2:
                    for j in range(m):
                        there = state[target + j] != 0
                        value[target + n + j] = records[base[j] + offset + 1] if there else 0
                        state[target + n + j] = there
                if columns[q + at.C_TEXT] >= 0:
                    to = columns[q + at.C_TEXT] * n + begin
                    for j in range(m):
                        span = records[base[j] + offset + 2] if state[target + j] else 0
                        place[to + j] = span
                        text_bytes += span & ((1 << at.TEXT_SHIFT) - 1)
        count_array[t * at.COUNTERS + at.N_FOUND] += found
        count_array[t * at.COUNTERS + at.N_ABSENT] += absent
        count_array[t * at.COUNTERS + at.N_STALE] += stale_count
    return text_bytes


@njit(cache=True, nogil=True)
def copy_texts(plan_array, column_array, place_array, buffer, end, start, size):  # type: ignore[no-untyped-def]
    """Copy the joined texts behind a batch's own and note their spans.

    ``place_array`` is what :func:`join` left; ``buffer`` (uint8) has room from ``end`` on; ``start`` and
    ``size`` are int32 [C, n].
    """
    n = start.shape[1]
    for t in range(len(plan_array) // at.PLAN):
        p = t * at.PLAN
        texts = bytes_at(plan_array[p + at.P_TEXTS])
        first = plan_array[p + at.P_COLUMNS]
        for c in range(first, first + plan_array[p + at.P_COLUMN_COUNT]):
            text = column_array[c * at.COLUMN + at.C_TEXT]
            if text < 0:
                continue
            target = column_array[c * at.COLUMN + at.C_TARGET]
            for i in range(n):
                word = place_array[text, i]
                count, begin = word & ((_ONE << at.TEXT_SHIFT) - 1), word >> at.TEXT_SHIFT
                start[target, i] = end
                size[target, i] = count
                for k in range(count):
                    buffer[end + k] = texts[begin + k]
                end += count
