"""What a trainer collects: transactions with what models read of them, and what is said about them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraudstream.models.inputs import F64, I64, U8
from fraudstream.models.protocol import average_precision

I8 = NDArray[np.int8]

UNKNOWN, LEGITIMATE, FRAUD, WITHHELD = -1, 0, 1, -2
"""States of a vector; ``WITHHELD``: a source in quarantine spoke about it, nothing is learned of it."""


class Vector(NamedTuple):
    """A transaction as the features topic has it."""

    partition: int
    offset: int
    """Of the input."""
    transaction_id: str
    at_ms: int
    event_type: str
    values: Mapping[str, Any]
    rules_version: str = ""
    """Bundle that the values were made with."""


class Told(NamedTuple):
    """A label event: what ``source`` says about the transaction at ``offset`` of the same partition."""

    partition: int
    own_offset: int
    offset: int
    transaction_id: str
    at_ms: int
    fraud: bool
    source: str


@dataclass(slots=True)
class Chunk:
    """The vectors of one interval, by partition and offset; n rows, k inputs, M models."""

    end_ms: int
    partition: I64
    offset: I64
    id_hash: I64
    at_ms: I64
    x: F64
    present: U8
    wanted: U8
    """[n, M] in the scope of a model."""
    score: F64
    """[n, M] before it was learned, NaN where there was no model yet."""
    state: I8
    matured: bool = False

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what it is made of."""
        names = ("partition", "offset", "id_hash", "at_ms", "x", "present", "wanted", "score", "state")
        return {name: getattr(self, name) for name in names}


def figures(score: F64, fraud: NDArray[np.bool_]) -> dict[str, float]:
    """Return average precision, log loss, mean score and fraud rate; none of them without a fraud."""
    found = {"rows": float(len(score)), "frauds": float(fraud.sum())}
    if fraud.any():
        p = np.clip(np.where(fraud, score, 1.0 - score), 1e-15, 1.0)
        found["average_precision"] = round(average_precision(score, fraud, np.ones(len(score))), 6)
        found["log_loss"] = round(float(-np.log(p).mean()), 6)
        found["mean_score"] = round(float(score.mean()), 6)
        found["fraud_rate"] = round(float(fraud.mean()), 6)
    return found


def withhold(chunk: Chunk, row: int) -> None:
    """Let nobody learn a row that nothing was known about."""
    if chunk.state[row] == UNKNOWN:
        chunk.state[row] = WITHHELD


def id_hash_of(text: str) -> int:
    """Return 64 bits that tell one transaction id from another."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)
