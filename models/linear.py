"""Format 1 of model files: one River StandardScaler | LogisticRegression as JSON.

The file (UTF-8 JSON, nothing executable, at most ``MAX_FILE_BYTES``)::

    {"format":1,"family":"linear","on":["payment",..],
     "inputs":[{"name":"txn.amount","transform":"log1p","argument":""},..],
     "parameters":{"mean":[..],"var":[..],"weights":[..],"bias":..},"training":{..}}

Names are resolved by whoever owns the columns: :func:`fraudstream.stream.scoring.bind_model`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from fraudstream.models.checks import as_inputs, as_number, as_texts, check_members
from fraudstream.models.inputs import F64, Input, ModelError
from fraudstream.models.members import Member

MAX_FILE_BYTES = 8_000_000
"""A linear model of 1,900 inputs has 300 kB; more is not one of ours."""


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


def read_member(data: bytes) -> Member:
    """Read a file of format 1, which may be hostile; the arrays are checked by whoever scores them.

    Raises:
        ModelError: it is not such a file.
    """
    if len(data) > MAX_FILE_BYTES:
        raise ModelError(f"model file has {len(data)} bytes, expected at most {MAX_FILE_BYTES}")
    try:
        content = orjson.loads(data)
    except orjson.JSONDecodeError as problem:
        raise ModelError(f"model file is not JSON ({problem})") from None
    check_members(content, "model file", ("format", "family", "on", "inputs", "parameters", "training"))
    if content["format"] != 1 or content["family"] != "linear":
        raise ModelError(
            f"model file has format {content['format']!r}, family {content['family']!r}; "
            "expected format 1, family `linear`"
        )
    inputs = as_inputs(content["inputs"])
    parameters = content["parameters"]
    check_members(parameters, "`parameters`", ("mean", "var", "weights", "bias"))
    if not isinstance(content["training"], dict):
        raise ModelError("`training` was not an object")
    names = ("mean", "var", "weights")
    arrays = {name: _numbers(parameters[name], name, len(inputs)) for name in names}
    arrays["bias"] = np.array([as_number(parameters["bias"], "bias")])
    return Member(
        id="champion",
        family="linear",
        inputs=inputs,
        arrays=arrays,
        on=as_texts(content["on"], "on"),
        card=content["training"],
    )


def _numbers(value: object, where: str, count: int) -> F64:
    if not isinstance(value, list) or len(value) != count:
        raise ModelError(f"`{where}` was not a list of {count} numbers, one for each input")
    return np.array([as_number(item, where) for item in value], np.float64)
