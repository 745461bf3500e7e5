"""Content on the control topic: bundles, models and reference tables in chunks under their hash.

Keys are ``<kind>:<sha256 hex>:<i>/<n>`` with i from 1 to n, kind ``bundle``, ``model`` or ``table``; the
content is the concatenation of the n values. Chunks are never deleted, so any version that a journal names
can be had again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Literal

Kind = Literal["bundle", "model", "table"]

CHUNK_BYTES = 900_000
"""Below Kafka's default of 1 MiB for a message, with room for key and headers."""

MAX_CHUNKS = 1_000
"""A key that claims more is damage, not a bundle."""


class ControlError(Exception):
    """Content that a journal names is not, or not whole, on the control topic."""


def version_of(content: bytes) -> str:
    """Return ``sha256:<hex>``, the name of content in journals and decisions."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def split_content(kind: Kind, content: bytes) -> list[tuple[bytes, bytes]]:
    """Return the (key, value) records that publish content."""
    digest = hashlib.sha256(content).hexdigest()
    count = max(1, -(-len(content) // CHUNK_BYTES))
    return [
        (f"{kind}:{digest}:{i + 1}/{count}".encode(), content[i * CHUNK_BYTES : (i + 1) * CHUNK_BYTES])
        for i in range(count)
    ]


def find_content(records: Mapping[bytes, bytes], kind: Kind, version: str) -> bytes:
    """Reassemble content from the control topic's newest value for each key.

    Args:
        records: key -> value of the topic.
        kind: which sort of content.
        version: ``sha256:<hex>``.

    Raises:
        ControlError: a chunk is missing, or the whole has another hash.
    """
    digest = version.removeprefix("sha256:")
    prefix = f"{kind}:{digest}:".encode()
    counts = {_count(key[len(prefix) :]) for key in records if key.startswith(prefix)}
    counts.discard(0)
    if not counts:
        raise ControlError(
            f"{kind} `{version}` is not on the control topic; export it from where it was published"
        )
    for count in sorted(counts):
        keys = [prefix + f"{i}/{count}".encode() for i in range(1, count + 1)]
        missing = [key for key in keys if key not in records]
        if missing:
            continue
        content = b"".join(records[key] for key in keys)
        if hashlib.sha256(content).hexdigest() == digest:
            return content
        raise ControlError(f"{kind} `{version}`: its chunks have another hash; the control topic is damaged")
    raise ControlError(
        f"{kind} `{version}`: chunk {missing[0][len(prefix) :].decode()} is not on the control topic"
    )


def _count(part: bytes) -> int:
    """Return n of ``<i>/<n>``, 0 if the key is not one of ours."""
    _, _, count = part.partition(b"/")
    return int(count) if count.isdigit() and 0 < int(count[:6]) <= MAX_CHUNKS else 0
