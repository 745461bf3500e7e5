"""Snapshots on disk: one file is one partition's state at one offset.

Layout, little endian::

    8 bytes   b"FSSNAP02"
    u32       length of the header
    header    canonical JSON, filled up with spaces to a multiple of 8 bytes, see :class:`Header`
    state     as of ``Pipeline.begin_snapshot()``, written as it comes
    32 bytes  SHA-256 of the state: with it, it is what ``Pipeline.snapshot()`` returns
    32 bytes  SHA-256 of magic, length, header and the digest before

A file counts once it has its final name: it is written under a temporary one, made durable, and renamed.
Names sort by offset, then by age: ``<next_offset>-<epoch>-<number>.snapshot``.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import orjson

from fraudstream.stream.journal import BUILT, InForce, Mode
from fraudstream.stream.windows.snapshot import DIGEST_BYTES, padded

MAGIC = b"FSSNAP02"
SUFFIX = ".snapshot"
_LENGTH = struct.Struct("<I")


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
    """Reference tables in force."""
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
    state: memoryview
    """What ``Pipeline.snapshot()`` returns; its digest was compared. A private map of the file."""


class SnapshotFile:
    """A snapshot under its temporary name, written part by part.

    Raises:
        OSError: (its methods as well) no space, no permission, a failing disk.
    """

    def __init__(self, path: Path, header: Header, half_way: Callable[[], None]) -> None:
        self.path = path
        self._half_way: Callable[[], None] | None = half_way
        head = padded(MAGIC, b"", orjson.dumps(asdict(header)))
        self._state, self._whole = hashlib.sha256(), hashlib.sha256(head)
        self._file = path.open("wb")
        self._file.write(head)

    def write(self, part: bytes | memoryview) -> None:
        """Append some of the state."""
        view = memoryview(part).cast("B")
        self._state.update(view)
        half = 0
        if self._half_way is not None:
            half = len(view) // 2
            self._file.write(view[:half])
            self._file.flush()
            self._half_way()
            self._half_way = None
        self._file.write(view[half:])

    def finish(self) -> Path:
        """Write the digests, make everything durable and return the temporary name."""
        state = self._state.digest()
        self._whole.update(state)
        with self._file:
            self._file.write(state + self._whole.digest())
            self._file.flush()
            os.fsync(self._file.fileno())
        return self.path

    def close(self) -> None:
        """Leave it unfinished."""
        self._file.close()


class SnapshotStore:
    """Snapshots of one partition in one directory."""

    def __init__(self, directory: Path, kept: int = 3) -> None:
        self.directory = directory
        self._kept = kept
        self._number = 0

    def begin(self, header: Header, half_way: Callable[[], None]) -> SnapshotFile:
        """Begin a snapshot under a temporary name.

        Args:
            header: What it belongs to.
            half_way: Called once, when some of the state is on disk.

        Raises:
            OSError: no space, no permission, a failing disk; nothing that counts was touched.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        self._number += 1
        name = f"{header.next_offset:020d}-{header.epoch:012d}-{self._number:08d}{SUFFIX}"
        return SnapshotFile(self.directory / f"{name}.tmp", header, half_way)

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
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size < len(MAGIC) + _LENGTH.size + 2 * DIGEST_BYTES:
            raise SnapshotDamaged(f"not a snapshot of format {MAGIC.decode()}")
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    start = len(MAGIC) + _LENGTH.size
    if data[: len(MAGIC)] != MAGIC:
        raise SnapshotDamaged(f"not a snapshot of format {MAGIC.decode()}")
    (length,) = _LENGTH.unpack_from(data, len(MAGIC))
    begin, end = start + length, len(data) - 2 * DIGEST_BYTES
    state, whole = bytes(data[end : end + DIGEST_BYTES]), bytes(data[end + DIGEST_BYTES :])
    head = hashlib.sha256(data[:begin])
    head.update(state)
    if begin > end or head.digest() != whole or hashlib.sha256(data[begin:end]).digest() != state:
        raise SnapshotDamaged("its SHA-256 does not match; the file is cut or altered")
    members = orjson.loads(data[start:begin])
    names = {item.name for item in fields(Header)}
    if set(members) != names:
        raise SnapshotDamaged("its header has other members; another version wrote it")
    return Snapshot(path, Header(**members), data[begin : end + DIGEST_BYTES])


def value_hash(value: bytes | None) -> str:
    """Return the SHA-256 of a record's value, empty for a null value."""
    return "" if value is None else hashlib.sha256(value).hexdigest()
