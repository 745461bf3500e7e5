"""Envelopes: Kafka records as JSON lines, so that a bank replays or reports a bug with its own log.

One record a line: ``{"p":0,"o":18231,"ts":1795488011123,"k":"<base64>","v":"<base64>"}``; ``k`` and
``v`` may be null; headers are not kept. Files may hold several partitions; within one, offsets ascend.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import orjson


class EnvelopeError(Exception):
    """A line that is not an envelope."""


class Record(NamedTuple):
    """One Kafka record without its headers."""

    partition: int
    offset: int
    time_ms: int
    """Record timestamp, -1: none."""
    key: bytes | None
    value: bytes | None


def write_envelope(record: Record) -> bytes:
    """Return the record as a line with its line feed."""
    return orjson.dumps(
        {
            "p": record.partition,
            "o": record.offset,
            "ts": record.time_ms,
            "k": None if record.key is None else base64.b64encode(record.key).decode(),
            "v": None if record.value is None else base64.b64encode(record.value).decode(),
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )


def read_envelopes(lines: Iterable[bytes], name: str) -> Iterator[Record]:
    """Read envelopes line by line; ``name`` is the file's name in messages.

    Raises:
        EnvelopeError: a line is not an envelope, or offsets of a partition do not ascend.
    """
    newest: dict[int, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            item = orjson.loads(line)
            record = Record(
                _integer(item["p"]),
                _integer(item["o"]),
                _integer(item["ts"]),
                _bytes(item["k"]),
                _bytes(item["v"]),
            )
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, binascii.Error) as problem:
            raise EnvelopeError(
                f'{name}:{number}: not an envelope {{"p","o","ts","k","v"}} ({problem}); use `export`'
            ) from None
        if record.offset <= newest.get(record.partition, -1):
            raise EnvelopeError(
                f"{name}:{number}: offset {record.offset} of partition {record.partition} was read before"
            )
        newest[record.partition] = record.offset
        yield record


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"`{value}` is not an integer")
    return value


def _bytes(value: object) -> bytes | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"`{value}` is not base64 or null")
    return base64.b64decode(value, validate=True)
