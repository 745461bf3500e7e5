"""Model files: arrays and JSON, nothing executable, refused before anything is parsed unless whole.

Layout, little-endian::

    "FSMODEL2"  u64 size of the file  32 bytes SHA-256 of all that follows  u64 size of the header
    header (JSON): {"models":[{"id","family","role","on","where","inputs","blend","parts","calibration",
                    "card","arrays":{name:[kind, offset, shape..]}}, ..]}
    arrays, each at a multiple of 8 from the end of the padded header: f = binary64, i = int32

The digest tells damage, not malice: which file may score is said by its SHA-256 in the registry and the
journal. A file of format 1 (:mod:`fraudstream.models.linear`) is JSON and begins with ``{``.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from fraudstream.models import linear
from fraudstream.models.checks import as_inputs, as_number, as_texts, check_members
from fraudstream.models.inputs import Input, ModelError
from fraudstream.models.members import ARRAYS, Array, Member
from fraudstream.models.model import MAX_MEMBERS, Model, make_model

MAX_FILE_BYTES = 64_000_000
"""450 models, 50 forests of 100 trees with 8 leaves among them, have 5 MB."""
MAX_HEADER_BYTES = 16_000_000

_MAGIC = b"FSMODEL2"
_HEAD = struct.Struct("<8sQ32sQ")
_KINDS: Mapping[str, np.dtype[Any]] = {"f": np.dtype("<f8"), "i": np.dtype("<i4")}
_MEMBER = ("id", "family", "role", "on", "where", "inputs", "blend", "parts", "calibration", "card", "arrays")


def dump_models(members: Sequence[Member]) -> bytes:
    """Write a file; the same members give the same bytes.

    Raises:
        ModelError: they are not what :func:`load_model` accepts.
    """
    body = bytearray()
    models = []
    for member in members:
        arrays = {}
        for name in ARRAYS[member.family]:
            array = member.arrays[name]
            kind = "f" if array.dtype == np.float64 else "i"
            arrays[name] = [kind, len(body), *array.shape]
            body += np.ascontiguousarray(array, _KINDS[kind]).tobytes()
            body += bytes(-len(body) % 8)
        models.append(
            {
                "id": member.id,
                "family": member.family,
                "role": member.role,
                "on": list(member.on),
                "where": {name: list(values) for name, values in member.where.items()},
                "inputs": [list(item) for item in member.inputs],
                "blend": member.blend,
                "parts": list(member.parts),
                "calibration": None if member.calibration is None else list(member.calibration),
                "card": dict(member.card),
                "arrays": arrays,
            }
        )
    header = orjson.dumps({"models": models}, option=orjson.OPT_SERIALIZE_NUMPY)
    rest = struct.pack("<Q", len(header)) + header + bytes(-len(header) % 8) + bytes(body)
    size = _HEAD.size - 8 + len(rest)
    data = _MAGIC + struct.pack("<Q", size) + hashlib.sha256(rest).digest() + rest
    load_model(data)
    return data


def load_model(data: bytes) -> Model:
    """Read a model file, which may be hostile.

    Raises:
        ModelError: it is damaged, or not a file of models that the kernel can score.
    """
    if data[:1] == b"{":
        return make_model([linear.read_member(data)], data)
    header, body = _open(data)
    try:
        content = orjson.loads(header)
    except orjson.JSONDecodeError as problem:
        raise ModelError(f"the header of the model file is not JSON ({problem})") from None
    check_members(content, "the header", ("models",))
    models = content["models"]
    if not isinstance(models, list) or not 0 < len(models) <= MAX_MEMBERS:
        raise ModelError(f"`models` was not a list of 1 to {MAX_MEMBERS}")
    return make_model([_member(item, body) for item in models], data)


def blank_model(on: Sequence[str], inputs: Sequence[Input]) -> Model:
    """Return a model that knows nothing, for preparing examples."""
    zeros = [0.0] * len(inputs)
    return load_model(linear.dump_model(on, inputs, zeros, zeros, zeros, 0.0, {}))


def _open(data: bytes) -> tuple[memoryview, memoryview]:
    """Return header and arrays of a file that is whole; nothing is parsed before."""
    if len(data) > MAX_FILE_BYTES:
        raise ModelError(f"model file has {len(data)} bytes, expected at most {MAX_FILE_BYTES}")
    if len(data) < _HEAD.size or data[:8] != _MAGIC:
        raise ModelError(f"model file does not begin with {_MAGIC.decode()}; it is of another format")
    _, size, digest, header_size = _HEAD.unpack_from(data)
    if size != len(data):
        raise ModelError(f"model file has {len(data)} bytes, but was written with {size}: it was cut")
    if hashlib.sha256(memoryview(data)[_HEAD.size - 8 :]).digest() != digest:
        raise ModelError("model file does not have the digest that it was written with: it is damaged")
    if header_size > min(MAX_HEADER_BYTES, len(data) - _HEAD.size):
        raise ModelError("model file has a header beyond its end or beyond its limit")
    view = memoryview(data)[_HEAD.size :]
    return view[:header_size], view[header_size + -header_size % 8 :]


def _member(item: object, body: memoryview) -> Member:
    check_members(item, "a model", _MEMBER)
    assert isinstance(item, dict)
    for name in ("id", "family", "role", "blend"):
        if not isinstance(item[name], str) or len(item[name]) > 128:
            raise ModelError(f"`{name}` of a model was not a short text")
    if not item["id"] or item["family"] not in ARRAYS:
        raise ModelError(f"model `{item['id']:.64}` has no name or a family other than {', '.join(ARRAYS)}")
    if not isinstance(item["card"], dict) or not isinstance(item["where"], dict):
        raise ModelError(f"model `{item['id']}`: `card` or `where` was not an object")
    rows = item["inputs"]
    return Member(
        id=item["id"],
        family=item["family"],
        inputs=as_inputs(rows, at_least=0),
        arrays=_arrays(item["arrays"], item["family"], body),
        on=as_texts(item["on"], "on", at_least=0),
        where={name: as_texts(values, f"where.{name:.40}") for name, values in item["where"].items()},
        role=item["role"],
        blend=item["blend"],
        parts=as_texts(item["parts"], "parts", at_least=0, at_most=MAX_MEMBERS),
        calibration=_calibration(item["calibration"]),
        card=item["card"],
    )


def _calibration(value: object) -> tuple[float, float] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2:
        raise ModelError("`calibration` was not a list of two numbers")
    return as_number(value[0], "calibration"), as_number(value[1], "calibration")


def _arrays(value: object, family: str, body: memoryview) -> Mapping[str, Array]:
    check_members(value, "`arrays`", tuple(ARRAYS[family]))
    assert isinstance(value, dict)
    return {name: _array(where, name, body) for name, where in value.items()}


def _array(where: Any, name: str, body: memoryview) -> Array:
    integers = where[1:] if isinstance(where, list) else []
    if not 3 <= len(integers) + 1 <= 5 or where[0] not in ("f", "i"):
        raise ModelError(f"array `{name}` was not [kind, offset, shape..]")
    if not all(type(item) is int and 0 <= item <= MAX_FILE_BYTES for item in integers):
        raise ModelError(f"array `{name}` has an offset or a shape that is not a small whole number")
    offset, *shape = integers
    dtype = _KINDS[where[0]]
    end = offset + math.prod(shape) * dtype.itemsize
    if offset % 8 or end > len(body):
        raise ModelError(f"array `{name}` lies beyond the end of the file")
    array = np.frombuffer(body[offset:end], dtype).reshape(shape)
    native: Array = array.astype(np.float64 if where[0] == "f" else np.int32)
    return native
