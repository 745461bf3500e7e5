"""Bytes of a window store: a versioned head, raw arrays, a digest.

Layout (little endian)::

    8 bytes   magic "FSWINDOW"
    4 bytes   format version
    4 bytes   number of sections
    per section: 4 bytes name length, name, 8 bytes data length, data
    32 bytes  SHA-256 of everything before
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping

MAGIC = b"FSWINDOW"
VERSION = 1
_DIGEST = 32


class SnapshotError(Exception):
    """A snapshot is damaged, of another format or of other declarations."""


def pack(sections: Mapping[str, bytes]) -> bytes:
    """Return the bytes of named sections, in their order."""
    parts = [MAGIC, struct.pack("<II", VERSION, len(sections))]
    for name, data in sections.items():
        encoded = name.encode()
        parts += [struct.pack("<I", len(encoded)), encoded, struct.pack("<Q", len(data)), data]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return b"".join([*parts, digest.digest()])


def unpack(data: bytes) -> dict[str, memoryview]:
    """Return the sections of :func:`pack`.

    Raises:
        SnapshotError: wrong magic, version, length or digest.
    """
    if len(data) < len(MAGIC) + 8 + _DIGEST or data[: len(MAGIC)] != MAGIC:
        raise SnapshotError(
            "window snapshot was not one: it does not begin with its magic; rebuild from the log"
        )
    version, count = struct.unpack_from("<II", data, len(MAGIC))
    if version != VERSION:
        raise SnapshotError(f"window snapshot has format {version}, expected {VERSION}; rebuild from the log")
    view = memoryview(data)
    if hashlib.sha256(view[:-_DIGEST]).digest() != data[-_DIGEST:]:
        raise SnapshotError("window snapshot was damaged: its digest does not fit; use an older one")
    sections: dict[str, memoryview] = {}
    place = len(MAGIC) + 8
    for _ in range(count):
        (length,) = struct.unpack_from("<I", data, place)
        name = bytes(view[place + 4 : place + 4 + length]).decode()
        (size,) = struct.unpack_from("<Q", data, place + 4 + length)
        place += 12 + length
        sections[name] = view[place : place + size]
        place += size
    return sections
