"""Snapshots on disk: one file is one partition's state at one offset.

Layout, little endian::

    8 bytes   b"FSSNAP01"
    u32       length of the header
    header    canonical JSON, see :class:`Header`
    state     bytes of ``Pipeline.snapshot()``
    32 bytes  SHA-256 of everything before

A file counts once it has its final name: it is written under a temporary one, made durable, and renamed.
Names sort by offset, then by age: ``<next_offset>-<epoch>-<number>.snapshot``.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import orjson

from fraudstream.stream.journal import BUILT, InForce, Mode

MAGIC = b"FSSNAP01"
SUFFIX = ".snapshot"
_LENGTH = struct.Struct("<I")
_HASH_BYTES = 32


class SnapshotDamaged(Exception):  # noqa: N818 - named for the state of the file
    """A file that is no whole snapshot."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a snapshot belongs to and where work goes on after it."""

    cluster: str
    input_topic: str
    decisions_topic: str
    journal_topic: str
    partitions: int
    partition: int
    next_offset: int
    """Everything below is in the state, and its decisions are acknowledged."""
    decision_offset: int
    """At or before every record of the decision partition whose ``src`` is at or after ``next_offset``."""
    last_offset: int
    """Offset of the last record in the state, -1: none."""
    last_value_sha256: str
    """Of that record's value; empty: none, or a null value. Tells a refilled topic."""
    start_from: int
    hash_key: str
    bundle: str
    models: str
    core: str
    mode: str
    state_from: int
    watermark_ms: int
    epoch: int
    taken_ms: int
    """Wall clock, for its age in metrics only."""
    tables: Mapping[str, str] = field(default_factory=dict)
    """Reference tables in force; headers of before 0.2 have none."""
    state: str = BUILT
    """How the state came to its definitions."""

    @property
    def versions(self) -> InForce:
        """Return what the state was built with."""
        mode: Mode = "shadow" if self.mode == "shadow" else "live"
        return InForce(self.bundle, self.models, self.core, mode, self.state_from, self.tables, self.state)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot that was read back whole."""

    path: Path
    header: Header
    state: bytes


class SnapshotStore:
    """Snapshots of one partition in one directory."""

    def __init__(self, directory: Path, kept: int = 3) -> None:
        self.directory = directory
        self._kept = kept
        self._number = 0

    def write_temporary(self, header: Header, state: bytes, half_way: Callable[[], None]) -> Path:
        """Write and sync a snapshot under a temporary name.

        Args:
            header: What it belongs to.
            state: The pipeline's state.
            half_way: Called when half of the state is on disk.

        Raises:
            OSError: no space, no permission, a failing disk; nothing that counts was touched.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        text = orjson.dumps(asdict(header))
        head = MAGIC + _LENGTH.pack(len(text)) + text
        digest = hashlib.sha256(head)
        digest.update(state)
        self._number += 1
        name = f"{header.next_offset:020d}-{header.epoch:012d}-{self._number:08d}{SUFFIX}"
        path = self.directory / f"{name}.tmp"
        half = len(state) // 2
        view = memoryview(state)
        with path.open("wb") as file:
            file.write(head)
            file.write(view[:half])
            file.flush()
            half_way()
            file.write(view[half:])
            file.write(digest.digest())
            file.flush()
            os.fsync(file.fileno())
        return path

    def publish(self, temporary: Path) -> Path:
        """Give a written snapshot its final name, durably, and remove the oldest beyond those kept."""
        path = temporary.with_suffix("")
        temporary.rename(path)
        self._sync_directory()
        return path

    def prune(self) -> None:
        """Remove all but the newest snapshots, and temporary files that a killed process left."""
        for path in self._files()[self._kept :]:
            path.unlink(missing_ok=True)
        for path in self.directory.glob(f"*{SUFFIX}.tmp"):
            path.unlink(missing_ok=True)

    def newest_first(self, damaged: Callable[[str], None]) -> Iterator[Snapshot]:
        """Yield whole snapshots, newest first; ``damaged`` is told of every other file."""
        for path in self._files():
            try:
                yield read_snapshot(path)
            except (SnapshotDamaged, OSError) as problem:
                damaged(f"{path}: {problem}")

    def _files(self) -> list[Path]:
        return sorted(self.directory.glob(f"*{SUFFIX}"), reverse=True)

    def _sync_directory(self) -> None:
        handle = os.open(self.directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read_snapshot(path: Path) -> Snapshot:
    """Read one file.

    Raises:
        SnapshotDamaged: it is cut, altered, or of another format.
        OSError: it cannot be read.
    """
    data = path.read_bytes()
    start = len(MAGIC) + _LENGTH.size
    if len(data) < start + _HASH_BYTES or not data.startswith(MAGIC):
        raise SnapshotDamaged(f"not a snapshot of format {MAGIC.decode()}")
    if hashlib.sha256(memoryview(data)[:-_HASH_BYTES]).digest() != data[-_HASH_BYTES:]:
        raise SnapshotDamaged("its SHA-256 does not match; the file is cut or altered")
    (length,) = _LENGTH.unpack_from(data, len(MAGIC))
    members = orjson.loads(data[start : start + length])
    names = {item.name for item in fields(Header)}
    if set(members) | {"tables"} != names:
        raise SnapshotDamaged("its header has other members; another version wrote it")
    return Snapshot(path, Header(**members), data[start + length : -_HASH_BYTES])


def value_hash(value: bytes | None) -> str:
    """Return the SHA-256 of a record's value, empty for a null value."""
    return "" if value is None else hashlib.sha256(value).hexdigest()
