"""Bytes of a window store: a versioned head, then records of ``kernel_snapshot``.

Layout (little endian), all parts multiples of 8 bytes::

    8 bytes   magic "FSWINDOW"
    4 bytes   format version
    4 bytes   length of the text
    text      JSON, filled up with spaces: see ``WindowStore.begin_snapshot``
    records   int64 words; the last is of the kind END

Sealed bytes have 32 more: SHA-256 of everything before.
"""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Iterable
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

MAGIC = b"FSWINDOW"
VERSION = 2
DIGEST_BYTES = 32
_NUMBERS = struct.Struct("<II")


class SnapshotError(Exception):
    """A snapshot is damaged, of another format or of other declarations."""


def padded(magic: bytes, numbers: bytes, text: bytes) -> bytes:
    """Return magic, numbers, the text's length (u32) and the text, filled up to a multiple of 8 bytes."""
    before = len(magic) + len(numbers) + 4
    text += b" " * (-(before + len(text)) % 8)
    return magic + numbers + struct.pack("<I", len(text)) + text


def head_of(members: dict[str, Any]) -> bytes:
    """Return the head for some members."""
    return padded(MAGIC, struct.pack("<I", VERSION), orjson.dumps(members))


def read_head(data: memoryview) -> tuple[dict[str, Any], NDArray[np.int64]]:
    """Return the members of the head and the words of the records.

    Raises:
        SnapshotError: wrong magic, version or length.
    """
    begin = len(MAGIC) + _NUMBERS.size
    if len(data) < begin or data[: len(MAGIC)] != MAGIC:
        raise SnapshotError(
            "window snapshot was not one: it does not begin with its magic; rebuild from the log"
        )
    version, length = _NUMBERS.unpack_from(data, len(MAGIC))
    if version != VERSION:
        raise SnapshotError(f"window snapshot has format {version}, expected {VERSION}; rebuild from the log")
    if len(data) % 8 or len(data) < begin + length:
        raise SnapshotError("window snapshot was cut: its length does not fit; use an older one")
    words = np.frombuffer(data[begin + length :], "<i8")
    return orjson.loads(data[begin : begin + length]), np.require(words, np.int64, ("C", "W", "A"))


def seal(head: bytes, parts: Iterable[NDArray[np.int64]]) -> bytes:
    """Return head and parts as bytes with their digest."""
    out, digest = io.BytesIO(), hashlib.sha256(head)
    out.write(head)
    for words in parts:
        out.write(words.data)
        digest.update(words.data)
    out.write(digest.digest())
    return out.getvalue()


def unseal(data: bytes | memoryview) -> memoryview:
    """Return what was sealed.

    Raises:
        SnapshotError: its digest does not fit.
    """
    view = memoryview(data)
    if len(view) < DIGEST_BYTES or hashlib.sha256(view[:-DIGEST_BYTES]).digest() != view[-DIGEST_BYTES:]:
        raise SnapshotError("snapshot is cut or altered: its SHA-256 does not match; use an older one")
    return view[:-DIGEST_BYTES]
