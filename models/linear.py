"""The linear champion: a River StandardScaler | LogisticRegression as arrays in a JSON file.

Parity law: :meth:`LinearModel.probability` equals River's own ``predict_proba_one`` to 1e-9. An input
that is missing is skipped, exactly as River skips an absent key.

The file (UTF-8 JSON, nothing executable, at most ``MAX_FILE_BYTES``)::

    {"format":1,"family":"linear","on":["payment",..],
     "inputs":[{"name":"txn.amount","transform":"log1p","argument":""},..],
     "parameters":{"mean":[..],"var":[..],"weights":[..],"bias":..},"training":{..}}

Names are resolved by whoever owns the columns: :func:`fraudstream.stream.scoring.bind_model`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from fraudstream.models import kernel_linear as kernel

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]

MAX_FILE_BYTES = 8_000_000
"""A linear model of 1,900 inputs has 300 kB; more is not one of ours."""

MAX_INPUTS = 20_000

MAX_ABS = 1e300
"""Bound of every parameter, so that no product overflows before the sum does."""

TRANSFORMS: Mapping[str, int] = {
    "identity": kernel.IDENTITY,
    "log1p": kernel.LOG1P,
    "flag": kernel.FLAG,
    "present": kernel.PRESENT,
    "hour_sin": kernel.HOUR_SIN,
    "hour_cos": kernel.HOUR_COS,
}
"""``flag``: 1 where an enum is ``argument`` (or a bool is true); ``present``: 1 where there is a value;
``hour_*``: time of day at the UTC offset ``argument`` in minutes; ``log1p`` keeps the sign."""


class ModelError(Exception):
    """A model file that can not be used."""


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


@dataclass(frozen=True, slots=True)
class LinearModel:
    """A loaded model; ``version`` is the hash of its file."""

    version: str
    on: tuple[str, ...]
    """Event types that it scores; on others its score is missing."""
    inputs: tuple[Input, ...]
    mean: F64
    var: F64
    weights: F64
    bias: float
    training: Mapping[str, Any]
    data: bytes
    """The file."""

    def transform(self, binding: I64, columns: Columns, wanted: U8) -> tuple[F64, U8]:
        """Return the transformed inputs [n, k] and which are present."""
        x = np.zeros((len(wanted), len(self.inputs)))
        present = np.empty((len(wanted), len(self.inputs)), np.uint8)
        kernel.transform_inputs(binding, *columns, wanted, x, present)
        return x, present

    def probability(self, x: F64, present: U8, wanted: U8) -> F64:
        """Return the fraud probability [n] of the wanted rows, -1 for others."""
        result = np.empty(len(wanted))
        scale = np.sqrt(self.var)
        kernel.linear_scores(x, present, wanted, self.mean, scale, self.weights, self.bias, result)
        return result

    def score(self, binding: I64, columns: Columns, wanted: U8) -> I64:
        """Return the score [n] in millionths of the wanted rows, -1 (missing) for others."""
        x, present = self.transform(binding, columns, wanted)
        micro = np.empty(len(wanted), np.int64)
        kernel.to_micro(self.probability(x, present, wanted), micro)
        return micro


def dump_model(
    on: Sequence[str],
    inputs: Sequence[Input],
    mean: Sequence[float],
    var: Sequence[float],
    weights: Sequence[float],
    bias: float,
    training: Mapping[str, Any],
) -> bytes:
    """Write a model file; floats are printed so that they come back bit for bit."""
    return orjson.dumps(
        {
            "format": 1,
            "family": "linear",
            "on": list(on),
            "inputs": [item._asdict() for item in inputs],
            "parameters": {
                "mean": list(mean),
                "var": list(var),
                "weights": list(weights),
                "bias": bias,
            },
            "training": dict(training),
        },
        option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE,
    )


def blank_model(on: Sequence[str], inputs: Sequence[Input]) -> LinearModel:
    """Return a model that knows nothing, for preparing examples."""
    zeros = [0.0] * len(inputs)
    return load_model(dump_model(on, inputs, zeros, zeros, zeros, 0.0, {}))


def load_model(data: bytes) -> LinearModel:
    """Read a model file, which may be hostile.

    Raises:
        ModelError: it is not a linear model with finite parameters of equal lengths.
    """
    if len(data) > MAX_FILE_BYTES:
        raise ModelError(f"model file has {len(data)} bytes, expected at most {MAX_FILE_BYTES}")
    try:
        content = orjson.loads(data)
    except orjson.JSONDecodeError as problem:
        raise ModelError(f"model file is not JSON ({problem})") from None
    _members(content, "model file", ("format", "family", "on", "inputs", "parameters", "training"))
    if content["format"] != 1 or content["family"] != "linear":
        raise ModelError(
            f"model file has format {content['format']!r}, family {content['family']!r}; "
            "expected format 1, family `linear`"
        )
    inputs = _inputs(content["inputs"])
    parameters = content["parameters"]
    _members(parameters, "`parameters`", ("mean", "var", "weights", "bias"))
    var = _numbers(parameters["var"], "var", len(inputs))
    if (var < 0).any():
        raise ModelError("`var` has a negative number")
    if not isinstance(content["training"], dict):
        raise ModelError("`training` was not an object")
    return LinearModel(
        version="sha256:" + hashlib.sha256(data).hexdigest(),
        on=_texts(content["on"], "on"),
        inputs=inputs,
        mean=_numbers(parameters["mean"], "mean", len(inputs)),
        var=var,
        weights=_numbers(parameters["weights"], "weights", len(inputs)),
        bias=_number(parameters["bias"], "bias"),
        training=content["training"],
        data=data,
    )


def _members(value: object, where: str, names: tuple[str, ...]) -> None:
    if not isinstance(value, dict):
        raise ModelError(f"{where} was not an object")
    for name in names:
        if name not in value:
            raise ModelError(f"{where} lacks `{name}`")
    for name in value:
        if name not in names:
            raise ModelError(f"{where} has an unknown member `{name:.40}`")


def _texts(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or len(value) > 100:
        raise ModelError(f"`{where}` was not a list of 1 to 100 texts")
    if not all(isinstance(item, str) and 0 < len(item) <= 128 for item in value):
        raise ModelError(f"`{where}` has an item that is not a short text")
    return tuple(value)


def _inputs(value: object) -> tuple[Input, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= MAX_INPUTS:
        raise ModelError(f"`inputs` was not a list of 1 to {MAX_INPUTS}")
    inputs = []
    for item in value:
        _members(item, "an input", Input._fields)
        if not all(isinstance(text, str) and len(text) <= 256 for text in item.values()):
            raise ModelError("an input has a member that is not a short text")
        if item["transform"] not in TRANSFORMS:
            raise ModelError(
                f"input `{item['name']}` has transform `{item['transform']}`, "
                f"expected one of {', '.join(TRANSFORMS)}"
            )
        inputs.append(Input(item["name"], item["transform"], item["argument"]))
    if len(set(inputs)) != len(inputs):
        raise ModelError("`inputs` names one input twice")
    return tuple(inputs)


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ModelError(f"`{where}` has an item that is not a number")
    if not math.isfinite(value) or abs(value) > MAX_ABS:
        raise ModelError(f"`{where}` has a number that is not finite or beyond {MAX_ABS:g}")
    return float(value)


def _numbers(value: object, where: str, count: int) -> F64:
    if not isinstance(value, list) or len(value) != count:
        raise ModelError(f"`{where}` was not a list of {count} numbers, one for each input")
    return np.array([_number(item, where) for item in value], np.float64)
