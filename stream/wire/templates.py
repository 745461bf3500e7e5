"""The constant parts of a partition's decisions, laid out for the encode kernel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from fraudstream.stream.outcome import FLAG_NAMES, Versions
from fraudstream.stream.wire.encode_reference import DECISIONS, escape, flag_list
from fraudstream.stream.wire.kernel_bytes import STEP
from fraudstream.stream.wire.types import I64, U8

HEAD: Final = 0
HEAD_NULL: Final = 1
NO_REASONS: Final = 2
REASONS: Final = 3
MODELS: Final = 4
CHAMPION: Final = 5
VERSIONS: Final = 6
NULL: Final = 7
SRC: Final = 8
FLAGS: Final = 9
DUPLICATE: Final = 10
FIRST_DECISION: Final = 11
FIRST_FLAGS: Final = FIRST_DECISION + len(DECISIONS)
"""Then one list for each set of flags."""

NUMBERS_BYTES: Final = 5 * 20
"""Room for the five integers of a decision."""


@dataclass(frozen=True, slots=True)
class Templates:
    """Segments of decision JSON."""

    table: U8
    """The segments, each at a multiple of ``STEP`` with as many spare bytes behind it."""
    spans: I64
    """[2, segments] where each begins and its size."""
    bare_bytes: int
    """Largest decision without its id and reasons."""


@lru_cache(maxsize=64)
def templates(partition: int, versions: Versions) -> Templates:
    """Lay out the segments of one partition under the versions in force."""
    texts = [
        '{"transaction_id":"',
        '{"transaction_id":null',
        ',"reasons":[],"models":{',
        ',"reasons":',
        ',"models":{',
        '"champion":',
        f'}},"rules_version":{escape(versions.rules)},"models_version":{escape(versions.models)},"event_time":',
        "null",
        f',"src":"{partition}:',
        '","flags":',
        f',"duplicate_of":"{partition}:',
    ]
    # The first byte closes the quotes of an id; a null has none.
    texts += [f'","decision":"{name}","score":' for name in DECISIONS]
    lists = [flag_list(flags) for flags in range(1 << len(FLAG_NAMES))]
    parts = [text.encode() for text in (*texts, *lists)]
    spans = np.zeros((2, len(parts)), np.int64)
    table = bytearray()
    for number, part in enumerate(parts):
        spans[:, number] = len(table), len(part)
        table += part + bytes(STEP + -len(part) % STEP)
    bare = int(spans[1, :FIRST_FLAGS].sum()) + max(map(len, lists)) + NUMBERS_BYTES
    return Templates(np.frombuffer(bytes(table), np.uint8), spans, bare)
