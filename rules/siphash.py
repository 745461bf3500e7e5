"""SipHash-1-3 with 128-bit output (Aumasson, Bernstein; vectors of the reference implementation).

Ids and texts compare by this keyed hash, so that nobody merges two accounts by choosing ids. The key
is made once per partition; hashes are never published.
"""

from __future__ import annotations

import numpy as np
from numba import njit

U64 = np.uint64
_V0, _V1 = U64(0x736F6D6570736575), U64(0x646F72616E646F6D ^ 0xEE)
_V2, _V3 = U64(0x6C7967656E657261), U64(0x7465646279746573)
_FF, _EE, _DD = U64(0xFF), U64(0xEE), U64(0xDD)
_R13, _R16, _R17, _R21, _R32 = U64(13), U64(16), U64(17), U64(21), U64(32)
_64, _56, _8 = U64(64), U64(56), U64(8)


@njit(inline="always")
def _rotl(x, b):  # type: ignore[no-untyped-def]
    return (x << b) | (x >> (_64 - b))


@njit(cache=True)
def _round(v0, v1, v2, v3):  # type: ignore[no-untyped-def]
    v0 += v1
    v1 = _rotl(v1, _R13) ^ v0
    v0 = _rotl(v0, _R32)
    v2 += v3
    v3 = _rotl(v3, _R16) ^ v2
    v0 += v3
    v3 = _rotl(v3, _R21) ^ v0
    v2 += v1
    v1 = _rotl(v1, _R17) ^ v2
    v2 = _rotl(v2, _R32)
    return v0, v1, v2, v3


@njit(cache=True, nogil=True)
def start(k0, k1):  # type: ignore[no-untyped-def]
    """Return the four state words under the key words k0, k1 (uint64)."""
    return _V0 ^ k0, _V1 ^ k1, _V2 ^ k0, _V3 ^ k1


@njit(cache=True, nogil=True)
def absorb(v0, v1, v2, v3, word):  # type: ignore[no-untyped-def]
    """Return the state after eight more bytes, one compression round."""
    m = U64(word)
    v0, v1, v2, v3 = _round(v0, v1, v2, v3 ^ m)
    return v0 ^ m, v1, v2, v3


@njit(cache=True, nogil=True)
def finish(v0, v1, v2, v3):  # type: ignore[no-untyped-def]
    """Return (low, high) as int64 of a state that has absorbed everything, its length included."""
    v2 ^= _EE
    for _ in range(3):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    low = v0 ^ v1 ^ v2 ^ v3
    v1 ^= _DD
    for _ in range(3):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    return np.int64(low), np.int64(v0 ^ v1 ^ v2 ^ v3)


@njit(cache=True)
def siphash128(buffer, start, size, k0, k1, c_rounds=1, d_rounds=3):  # type: ignore[no-untyped-def]
    """Hash ``buffer[start:start + size]`` (uint8) under the key words k0, k1 (uint64).

    Returns:
        (low, high) as int64, the layout of two-word columns.
    """
    v0, v1, v2, v3 = _V0 ^ k0, _V1 ^ k1, _V2 ^ k0, _V3 ^ k1
    whole = size - size % 8
    for at in range(start, start + whole, 8):
        m = U64(0)
        for i in range(8):
            m |= U64(buffer[at + i]) << (U64(i) * _8)
        v3 ^= m
        for _ in range(c_rounds):
            v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        v0 ^= m
    m = U64(size & 0xFF) << _56
    for i in range(size - whole):
        m |= U64(buffer[start + whole + i]) << (U64(i) * _8)
    v3 ^= m
    for _ in range(c_rounds):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    v0 ^= m
    v2 ^= _EE
    for _ in range(d_rounds):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    low = v0 ^ v1 ^ v2 ^ v3
    v1 ^= _DD
    for _ in range(d_rounds):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    return np.int64(low), np.int64(v0 ^ v1 ^ v2 ^ v3)


def key_words(key: bytes) -> tuple[np.uint64, np.uint64]:
    """Split a 16-byte key into the two words that the kernels take."""
    if len(key) != 16:
        raise ValueError(f"a hash key has 16 bytes, this one {len(key)}")
    return U64(int.from_bytes(key[:8], "little")), U64(int.from_bytes(key[8:], "little"))


def hash_text(text: bytes, key: bytes) -> tuple[int, int]:
    """Return the (low, high) int64 words of one text; for constants and tests."""
    k0, k1 = key_words(key)
    low, high = siphash128(np.frombuffer(text + b"\0", np.uint8), 0, len(text), k0, k1)
    return int(low), int(high)


@njit(cache=True, nogil=True)
def hash_spans(buffer, start, size, present, k0, k1, low, high):  # type: ignore[no-untyped-def]
    """Hash n spans of a buffer into ``low``/``high`` (int64 [n]); absent ones give 0."""
    for i in range(len(start)):
        if present[i]:
            low[i], high[i] = siphash128(buffer, start[i], size[i], k0, k1)
        else:
            low[i] = high[i] = 0
