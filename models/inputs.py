"""What a model reads: names of fields and features with a transform, resolved by whoever owns the columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraudstream.models import kernel_inputs as kernel

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]

TRANSFORMS: Mapping[str, int] = {
    "identity": kernel.IDENTITY,
    "log1p": kernel.LOG1P,
    "flag": kernel.FLAG,
    "present": kernel.PRESENT,
    "hour_sin": kernel.HOUR_SIN,
    "hour_cos": kernel.HOUR_COS,
    "ratio": kernel.RATIO,
}
"""``flag``: 1 where an enum is ``argument`` (or a bool is true); ``present``: 1 where there is a value;
``hour_*``: time of day at the UTC offset ``argument`` in minutes; ``log1p`` keeps the sign; ``ratio``:
divided by the field or feature ``argument``, missing where that is missing or 0."""


class ModelError(Exception):
    """A model that can not be used: what is wrong with it."""


class Input(NamedTuple):
    """One input: a field or feature, how it is transformed, and the transform's argument."""

    name: str
    transform: str = "identity"
    argument: str = ""

    @property
    def key(self) -> str:
        """Return the name that River knows the input by."""
        return f"{self.name}|{self.transform}|{self.argument}"


class Columns(NamedTuple):
    """Where bound inputs are read: fields [C, n], features [n, F], each with its states."""

    field_value: I64
    field_state: U8
    feature_value: I64
    feature_state: U8


def names_read(inputs: Iterable[Input]) -> tuple[str, ...]:
    """Return the fields and features that inputs are made of, each once."""
    names: dict[str, None] = {}
    for item in inputs:
        names[item.name] = None
        if item.transform == "ratio":
            names[item.argument] = None
    return tuple(names)
