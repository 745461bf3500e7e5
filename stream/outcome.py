"""What was decided about a batch: the types between deciding and encoding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, IntFlag

import numpy as np
from numpy.typing import NDArray

from fraudstream.stream.per_slice import per_slice


class Decision(IntEnum):
    """The answer; larger is stronger."""

    PASS = 0
    ALERT = 1
    BLOCK = 2


class Flag(IntFlag):
    """Flags of a decision, in the order in which they are written."""

    DUPLICATE = 1
    ID_REUSE = 2
    LATE = 4
    CLOCK_SKEW = 8
    APPROXIMATE = 16
    NO_RATE = 32
    MALFORMED = 64
    SUPPRESSED = 128


FLAG_NAMES: tuple[str, ...] = tuple(flag.name.lower() for flag in Flag if flag.name)


@dataclass(frozen=True, slots=True)
class Versions:
    """What a decision was made with, as written into it."""

    rules: str
    """``sha256:<hex>`` of the bundle."""
    models: str
    """``sha256:<hex>`` of the model set."""


@per_slice(frozen=True, slots=True)
class Outcome:
    """Decided columns of a :class:`~fraudstream.stream.wire.types.Batch`; n = its accepted rows."""

    decision: NDArray[np.uint8]
    """[n] ``Decision``."""
    score: NDArray[np.int32]
    """[n] 0 to 1000."""
    flags: NDArray[np.uint16]
    """[n] ``Flag`` bits."""
    duplicate_of: NDArray[np.int64]
    """[n] offset of the first record with this id and content, -1: not a duplicate."""
    champion_micro: NDArray[np.int64]
    """[n] champion's score in millionths, -1: missing."""
    reasons: Mapping[int, tuple[tuple[str, str], ...]]
    """Batch row -> (code, text) strongest first, at most 10; rows without reasons are absent."""
