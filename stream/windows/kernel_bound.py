"""The bound of a partition's windows: what they count for, and which keys go when that is too much."""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.stream.windows import layout as at
from fraudstream.stream.windows.kernel_advance import forget_key
from fraudstream.stream.windows.kernel_bits import pointer
from fraudstream.stream.windows.kernel_export import visible
from fraudstream.stream.windows.kernel_snapshot import save_key, save_stale

_LOW32 = np.int64(0xFFFFFFFF)


@njit(cache=True, nogil=True)
def weigh(memory, plan, watermark, numbers, last, low, high, size):  # type: ignore[no-untyped-def]
    """Forget keys that nobody can see; list the others and return how many there are.

    Outputs, int64 [keys]: number of the header, time of the last event, the key's two words, bytes.
    """
    m, p = pointer(memory), pointer(plan)
    k = 0
    for number in range(m[at.C_USED]):
        header = m[at.C_HEADERS] + number * at.HEADER
        if m[header + at.H_META] < 0:
            continue
        save_stale(m, p, header, watermark)
        if visible(m, p, header, watermark) == 0:
            save_key(m, p, header)
            forget_key(m, p, header)
            continue
        numbers[k], last[k] = number, m[header + at.H_LAST]
        low[k], high[k] = m[header + at.H_LOW], m[header + at.H_HIGH]
        events = (m[header + at.H_SPAN] & _LOW32) - (m[header + at.H_SPAN] >> 32)
        panes = np.int64(0)
        if m[header + at.H_PANES] != 0:
            span = m[m[header + at.H_PANES] + at.B_SPAN]
            panes = (span & _LOW32) - (span >> 32)
        size[k] = at.KEY_BYTES + events * at.EVENT_BYTES + panes * at.PANE_BYTES
        k += 1
    return k


@njit(cache=True, nogil=True)
def evict(memory, plan, numbers):  # type: ignore[no-untyped-def]
    """Forget the keys of some headers, and remember for each kind how new their newest event was."""
    m, p = pointer(memory), pointer(plan)
    for k in range(len(numbers)):
        header = m[at.C_HEADERS] + numbers[k] * at.HEADER
        place = at.CONTROL + (m[header + at.H_META] >> 8) * at.KIND_STATE + at.EVICTED
        m[place] = max(m[place], m[header + at.H_LAST])
        save_key(m, p, header)
        forget_key(m, p, header)
