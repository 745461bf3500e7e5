"""From checked expressions to arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraudstream.rules.bundle import Slot
from fraudstream.rules.compiler.types import Checked


class Inputs(NamedTuple):
    """Columns of a batch with n rows; every array C-contiguous."""

    field_value: NDArray[np.int64]
    """[C, n]"""
    field_state: NDArray[np.uint8]
    start: NDArray[np.int32]
    size: NDArray[np.int32]
    buffer: NDArray[np.uint8]
    feature_value: NDArray[np.int64]
    """[n, F]"""
    feature_state: NDArray[np.uint8]
    model_value: NDArray[np.int64]
    """[M, n]"""
    model_state: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Program:
    """Boolean outputs over hash-consed comparisons; no hash key inside."""

    outputs: int
    slots: tuple[Slot, ...]

    def bind(self, hash_key: bytes) -> BoundProgram:
        """Hash texts and lists under the partition's key."""
        raise NotImplementedError


class BoundProgram:
    """A program ready to run on one partition."""

    def evaluate(self, inputs: Inputs, n: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Return (true, unknown), each [outputs, ceil(n / 64)]; bit i of word w is row 64 * w + i."""
        raise NotImplementedError


def compile_outputs(outputs: Sequence[Checked]) -> Program:
    """Compile expressions, one output each, in order."""
    raise NotImplementedError
