"""Run every kernel of reference tables once, so that nothing compiles when the first table is loaded."""

from __future__ import annotations

import numpy as np

from fraudstream.rules.siphash import hash_spans, key_words
from fraudstream.stream.enrichment import kernel_join as kernel
from fraudstream.stream.enrichment import layout as at


def warm() -> None:
    """Compile or load them, on nothing."""
    index, records, rows = np.zeros(2, np.int64), np.zeros(4, np.int64), np.zeros((0, 4), np.int64)
    none, word = np.zeros(0, np.int64), np.zeros(1, np.int64)
    kernel.put_rows(index, records, 4, 0, rows, 0)
    kernel.remove_rows(index, records, 4, none, none)
    plan, columns = np.zeros(at.PLAN, np.int64), np.zeros(at.COLUMN, np.int64)
    value, state, spans = np.zeros((1, 0), np.int64), np.zeros((1, 0), np.uint8), np.zeros((1, 0), np.int32)
    buffer = np.zeros(1, np.uint8)
    kernel.join(plan, columns, 0, value, state, np.zeros((1, 0), np.int64), np.zeros(at.COUNTERS, np.int64))
    kernel.copy_texts(plan[:0], columns, np.zeros((1, 0), np.int64), buffer, np.int64(0), spans, spans.copy())
    k0, k1 = key_words(bytes(16))
    hash_spans(buffer, none, none, np.zeros(0, np.uint8), k0, k1, word[:0], word[:0].copy())
