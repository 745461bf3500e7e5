"""Kernel: CRC-32C (Castagnoli), sixteen bytes at a time."""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.stream.windows.kernel_bits import pointer
from fraudstream.stream.wire.kernel_bytes import word_at

_POLYNOMIAL = 0x82F63B78
_STEP = 16
_BYTE = np.uint64(0xFF)
_ALL = np.uint64(0xFFFFFFFF)
_EIGHT = np.uint64(8)


def _make_tables() -> np.ndarray:
    """Return [16, 256] what a byte does to the checksum when 0 to 15 bytes follow it."""
    tables = np.zeros((_STEP, 256), np.uint64)
    for byte in range(256):
        word = byte
        for _ in range(8):
            word = (word >> 1) ^ (_POLYNOMIAL if word & 1 else 0)
        tables[0, byte] = word
    for step in range(1, _STEP):
        before = tables[step - 1]
        tables[step] = (before >> _EIGHT) ^ tables[0, before & _BYTE]
    return tables


_TABLES = _make_tables().astype(np.uint32)


@njit(cache=True, nogil=True)
def crc_of_span(b, begin, end):  # type: ignore[no-untyped-def]
    """Return the CRC-32C of bytes ``begin`` to ``end``; ``b`` may be a pointer."""
    crc, at = _ALL, begin
    while at + 16 <= end:
        one = np.uint64(word_at(b, at)) ^ crc
        two = np.uint64(word_at(b, at + 8))
        crc = np.uint64(0)
        for i in range(8):
            shift = np.uint64(8 * i)
            crc ^= np.uint64(_TABLES[15 - i, (one >> shift) & _BYTE])
            crc ^= np.uint64(_TABLES[7 - i, (two >> shift) & _BYTE])
        at += 16
    while at < end:
        crc = (crc >> _EIGHT) ^ np.uint64(_TABLES[0, (crc ^ np.uint64(b[at])) & _BYTE])
        at += 1
    return crc ^ _ALL


@njit(cache=True, nogil=True)
def crc32c(array, begin, end):  # type: ignore[no-untyped-def]
    """Return the CRC-32C of ``array[begin:end]``."""
    return crc_of_span(pointer(array), np.int64(begin), np.int64(end))
