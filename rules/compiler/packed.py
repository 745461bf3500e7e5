"""A compiled bundle as bytes, so that a process need not compile what one like it compiled before.

Layout, little endian::

    8 bytes   b"FSRULE01"
    u32       length of the description
    JSON      {"hash", "compiler", "slots", "arrays": [[type, length, writable], ..], "bundle"}, filled up
              with spaces so that the arrays begin at a multiple of 8 bytes
    arrays    one after the other, each filled up with zeros to a multiple of 8 bytes
    32 bytes  SHA-256 of all before

The description follows the types of ``rules/bundle.py``: a data class is the list of its members in their
order, a slot its number in ``slots``, an array its number in ``arrays``. The sources are not in it: they are
given when it is read, and their hash has to be the one that it names. Nothing in it is code, and nothing
names a class.

The digest tells damage, not malice: who can write these bytes decides what rules do. They are for the files
of one user on one machine, never for what comes over a wire.
"""

from __future__ import annotations

import hashlib
import json
import struct
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from importlib import resources
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from fraudstream.rules.bundle import Bundle, Slot
from fraudstream.rules.compiler.collection import without_collection
from fraudstream.rules.compiler.program import Program

MAGIC = b"FSRULE01"
DIGEST_BYTES = 32
_LENGTH = struct.Struct("<I")
_HEAD = len(MAGIC) + _LENGTH.size
_TYPES: dict[str, np.dtype[Any]] = {"u8": np.dtype("u1"), "i64": np.dtype("<i8")}
_TYPE_NAMES = {dtype: name for name, dtype in _TYPES.items()}

Convert = Callable[[Any], Any]


class PackedError(ValueError):
    """Bytes that are no compiled form of these sources by this compiler."""


@cache
def compiler_digest() -> str:
    """Return the SHA-256 of everything that a compiled form depends on besides the sources.

    That is the compiler's own text, the time zones and the interpreter: another compiler's forms are never
    read, whether or not somebody thought of raising a number.
    """
    machine = (MAGIC, sys.version_info[:3], sys.byteorder, np.__version__)
    found = hashlib.sha256(repr(machine).encode())
    found.update(resources.files("tzdata").joinpath("__init__.py").read_bytes())
    root = Path(__file__).parents[1]
    for path in sorted(root.rglob("*.py")):
        content = path.read_bytes()
        found.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode() + content)
    return found.hexdigest()


def pack(bundle: Bundle) -> bytes:
    """Return the compiled form of a bundle."""
    form = _Form()
    described = {
        name: codec.pack(getattr(bundle, name)) for name, codec in form.members(Bundle) if name != "archive"
    }
    description = {
        "hash": bundle.hash,
        "compiler": compiler_digest(),
        "slots": [form.record(Slot).pack(slot) for slot in form.slots],
        "arrays": [[_TYPE_NAMES[array.dtype], len(array), array.flags.writeable] for array in form.arrays],
        "bundle": described,
    }
    text = json.dumps(description, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-(_HEAD + len(text)) % 8)
    parts = [MAGIC, _LENGTH.pack(len(text)), text]
    for array in form.arrays:
        data = array.tobytes()
        parts += [data, bytes(-len(data) % 8)]
    whole = b"".join(parts)
    return whole + hashlib.sha256(whole).digest()


def unpack(data: bytes, archive: bytes) -> Bundle:
    """Return the bundle that these sources compile to.

    Args:
        data: compiled form.
        archive: the sources in canonical form, whose hash is the bundle's.

    Raises:
        PackedError: damaged, of other sources, or of another compiler.
    """
    if data[: len(MAGIC)] != MAGIC or len(data) < _HEAD + DIGEST_BYTES:
        raise PackedError(f"not a compiled form of format {MAGIC.decode()}")
    if hashlib.sha256(memoryview(data)[:-DIGEST_BYTES]).digest() != data[-DIGEST_BYTES:]:
        raise PackedError("its SHA-256 does not match; the file is cut or altered")
    (length,) = _LENGTH.unpack_from(data, len(MAGIC))
    try:
        description = json.loads(data[_HEAD : _HEAD + length])
        if description["compiler"] != compiler_digest():
            raise PackedError("another compiler made it")
        if description["hash"] != "sha256:" + hashlib.sha256(archive).hexdigest():
            raise PackedError("it is of other sources")
        return _bundle(description, data, _HEAD + length, archive)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as problem:
        if isinstance(problem, PackedError):
            raise
        raise PackedError(f"its description can not be read: {type(problem).__name__}") from None


def _bundle(description: Mapping[str, Any], data: bytes, at: int, archive: bytes) -> Bundle:
    with without_collection():
        form = _Form()
        form.arrays = _arrays(data, at, description["arrays"])
        form.slots = list(map(form.record(Slot).unpack, description["slots"]))
        values = {
            name: codec.unpack(description["bundle"][name])
            for name, codec in form.members(Bundle)
            if name != "archive"
        }
        return Bundle(archive=archive, **values)


def _arrays(data: bytes, at: int, described: list[tuple[str, int, bool]]) -> list[NDArray[Any]]:
    found: list[NDArray[Any]] = []
    for name, count, writable in described:
        dtype = _TYPES[name]
        array = np.frombuffer(data, dtype, count, at).copy()
        # Kernels are compiled for arrays that may be written, or for such that may not.
        array.flags.writeable = writable
        found.append(array)
        size = count * dtype.itemsize
        at += size + -size % 8
    return found


class _Codec(NamedTuple):
    """Both ways between a value and JSON."""

    pack: Convert
    unpack: Convert


def _same(value: Any) -> Any:
    return value


_PLAIN = _Codec(_same, _same)


class _Form:
    """The tables beside the description, and a codec for each type that is met."""

    def __init__(self) -> None:
        self.slots: list[Slot] = []
        self.arrays: list[NDArray[Any]] = []
        self._numbers: dict[Slot, int] = {}
        self._known: dict[Any, _Codec] = {
            **dict.fromkeys((str, int, bool), _PLAIN),
            bytes: _Codec(bytes.hex, bytes.fromhex),
            Slot: _Codec(self._number, lambda at: self.slots[at]),
        }

    def members(self, kind: type[Any]) -> list[tuple[str, _Codec]]:
        """Return the members of a data class or named tuple, in their order."""
        hints = get_type_hints(kind, localns={"Program": Program})
        names = [item.name for item in fields(kind)] if is_dataclass(kind) else list(hints)
        return [(name, self._codec(hints[name])) for name in names]

    def record(self, kind: type[Any]) -> _Codec:
        """Return the codec of a data class or named tuple as a list of its members."""
        members = self.members(kind)
        unpacks = [None if codec is _PLAIN else codec.unpack for _, codec in members]
        return _Codec(
            lambda value: [codec.pack(getattr(value, name)) for name, codec in members],
            lambda row: kind(
                *[item if do is None else do(item) for do, item in zip(unpacks, row, strict=True)]
            ),
        )

    def _codec(self, hint: Any) -> _Codec:
        if hint not in self._known:
            self._known[hint] = self._made(hint)
        return self._known[hint]

    def _made(self, hint: Any) -> _Codec:
        origin, args = get_origin(hint), get_args(hint)
        if origin is Literal:
            return _PLAIN
        if origin in (Union, UnionType):
            (inner,) = (self._codec(arg) for arg in args if arg is not NoneType)
            return _optional(inner)
        if origin is tuple and args[1:] == (Ellipsis,):
            return _many(self._codec(args[0]))
        if origin is tuple:
            return _pair([self._codec(arg) for arg in args])
        if origin is Mapping:
            return _table(self._codec(args[1]))
        if origin is np.ndarray:
            return _Codec(self._keep, lambda at: self.arrays[at])
        if issubclass(hint, Enum):
            return _Codec(lambda value: value.value, {item.value: item for item in hint}.__getitem__)
        return self.record(hint)

    def _number(self, slot: Slot) -> int:
        found = self._numbers.setdefault(slot, len(self.slots))
        if found == len(self.slots):
            self.slots.append(slot)
        return found

    def _keep(self, array: NDArray[Any]) -> int:
        self.arrays.append(array)
        return len(self.arrays) - 1


def _optional(inner: _Codec) -> _Codec:
    if inner is _PLAIN:
        return _PLAIN
    return _Codec(
        lambda value: None if value is None else inner.pack(value),
        lambda value: None if value is None else inner.unpack(value),
    )


def _many(item: _Codec) -> _Codec:
    if item is _PLAIN:
        return _Codec(list, tuple)
    return _Codec(
        lambda values: [item.pack(value) for value in values],
        lambda values: tuple([item.unpack(value) for value in values]),
    )


def _pair(parts: list[_Codec]) -> _Codec:
    return _Codec(
        lambda values: [part.pack(value) for part, value in zip(parts, values, strict=True)],
        lambda values: tuple([part.unpack(value) for part, value in zip(parts, values, strict=True)]),
    )


def _table(item: _Codec) -> _Codec:
    return _Codec(
        lambda table: {key: item.pack(value) for key, value in table.items()},
        lambda table: {key: item.unpack(value) for key, value in table.items()},
    )
