"""Values of transactions by name, as the features topic has them, as inputs of models.

The transforms are the kernel's own, so what is learned is what is scored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fraudstream.models.inputs import F64, TRANSFORMS, U8, Columns, Input
from fraudstream.models.kernel_inputs import transform_inputs

_WHOLE_MAX = 2**62


def read_values(values: Sequence[Mapping[str, object]], inputs: Sequence[Input]) -> tuple[F64, U8]:
    """Return the transformed inputs [n, k] of n transactions and which are present.

    A value of another kind than an input reads counts as missing.
    """
    n, k = len(values), len(inputs)
    words, state = np.zeros((2 * k, n), np.int64), np.zeros((2 * k, n), np.uint8)
    binding = np.zeros((k, 6), np.int64)
    for at, item in enumerate(inputs):
        whole = item.transform == "flag" or item.transform.startswith("hour_")
        argument = 1 if item.transform == "flag" else int(item.argument) if whole else 0
        binding[at] = (0, at, int(not whole), TRANSFORMS[item.transform], argument, 2 | (k + at) << 2)
        _fill(words[at], state[at], [_read(one.get(item.name), item) for one in values], whole=whole)
        if item.transform == "ratio":
            divisor = [_number(one.get(item.argument)) for one in values]
            _fill(words[k + at], state[k + at], divisor, whole=False)
    x, present = np.zeros((n, k)), np.zeros((n, k), np.uint8)
    nothing = np.zeros((n, 0), np.int64), np.zeros((n, 0), np.uint8)
    transform_inputs(binding, Columns(words, state, *nothing), np.ones(n, np.uint8), x, present)
    return x, present


def _fill(
    words: np.ndarray[tuple[int], np.dtype[np.int64]],
    state: np.ndarray[tuple[int], np.dtype[np.uint8]],
    items: Sequence[float | int | None],
    *,
    whole: bool,
) -> None:
    there = [item is not None for item in items]
    state[:] = there
    plain = [0 if item is None else item for item in items]
    words[:] = np.array(plain, np.int64) if whole else np.array(plain, np.float64).view(np.int64)


def _read(value: object, item: Input) -> float | int | None:
    if value is None:
        return None
    if item.transform == "present":
        return 1.0
    if item.transform == "flag":
        if isinstance(value, bool):
            return int(value)
        return int(value == item.argument) if isinstance(value, str) else None
    if item.transform.startswith("hour_"):
        known = isinstance(value, int) and not isinstance(value, bool) and abs(value) < _WHOLE_MAX
        return value if known else None  # type: ignore[return-value]
    return _number(value)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and abs(value) < _WHOLE_MAX else None
