"""A recorded log in a file: transactions line by line, or envelopes as `export` writes them."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from fraudstream.rules.bundle import Bundle
from fraudstream.stream.envelope import EnvelopeError, Record, read_envelopes
from fraudstream.stream.errors import CannotCheck, Refusal


class RecordedLog:
    """The input: records in the order of the file, and a partition's once more for rebuilding state."""

    def __init__(self, file: BinaryIO, name: str, kind: str) -> None:
        self._file = file
        self._name = name
        self._kind = kind
        self.position = 0
        """Bytes read."""
        self.bytes = 0
        """Size of the file, 0 if unknown."""

    @classmethod
    @contextlib.contextmanager
    def open(cls, name: str, kind: str, *, keep: bool) -> Iterator[RecordedLog]:
        """Open the log; ``keep`` makes standard input readable twice."""
        if name != "-":
            with Path(name).open("rb") as file:
                log = cls(file, name, kind)
                log.bytes = Path(name).stat().st_size
                yield log
        elif keep:
            with tempfile.TemporaryFile() as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
                yield cls(file, "standard input", kind)
        else:
            yield cls(sys.stdin.buffer, "standard input", kind)

    def records(self) -> Iterator[Record]:
        """Yield all records."""
        if self._file.seekable() and self._file is not sys.stdin.buffer:
            self._file.seek(0)
        return self._parse(self._counted(self._file))

    def of_partition(self, partition: int, begin: int, end: int) -> Iterator[Record]:
        """Yield a partition's records in [begin, end); the position of :meth:`records` is kept."""
        place = self._file.tell()
        self._file.seek(0)
        for record in self._parse(iter(self._file.readline, b"")):
            if record.partition != partition or record.offset < begin:
                continue
            if record.offset >= end:
                break
            yield record
        self._file.seek(place)

    def _counted(self, file: BinaryIO) -> Iterator[bytes]:
        while line := file.readline():
            self.position += len(line)
            yield line

    def _parse(self, lines: Iterable[bytes]) -> Iterator[Record]:
        if self._kind == "raw":
            for number, line in enumerate(lines):
                yield Record(0, number, -1, None, line.removesuffix(b"\n"))
            return
        try:
            yield from read_envelopes(lines, self._name)
        except EnvelopeError as problem:
            raise CannotCheck(str(problem)) from None


def refuse_partial_counts(partitions: int, bundle: Bundle) -> None:
    """Refuse silent partial counts: features over other keys need all partitions in one process's sight.

    Raises:
        Refusal: the log has several partitions and features that see only a share of it.
    """
    if partitions < 2:
        return
    partial = bundle.features.non_local(bundle.schema.partition_key)
    if partial:
        names = ", ".join(f"`{feature.name}`" for feature in partial[:5])
        raise Refusal(
            f"the input has several partitions and {len(partial)} features see only one partition's share: "
            f"{names}; use rules whose keys all contain `{bundle.schema.partition_key}`, such as "
            "rules/packs/account_only"
        )
