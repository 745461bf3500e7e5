"""The feature log: what one log of records gave, row for row, as Parquet beside a manifest.

A directory per fingerprint::

    manifest.json        format, fingerprint and what it is made of, rows, files, names by word
    runs.npy             int64 [k, 4]: partition, first offset, first row, rows; offsets ascend by one
    part-00000.parquet   rows in the order of the log, ``ROW_GROUP_ROWS`` a row group
    matches/<key>.npz    which rows a rule matched (``evaluate``), by the hash of what it compiles to

Columns of a part are words as kernels take them (``fraudstream.rules.bundle``), missing null: money in minor
units, times in milliseconds, enums as codes, binary64 as it is. The second word of a place is ``<name>#2``.
Ids and categories of fields and reference tables are text, hashed when they are read. An id that a feature
repeats (`last` of one) is its hash, as the windows have it. So a feature log is as sensitive as the log that
it was made from.

=================  =======  ===================================================================
column             type     content
=================  =======  ===================================================================
``#kind``          uint8    ``Kind``
``#flags``         uint16   ``Flag`` bits of the decision
``#duplicate_of``  int64    row of the first record with this content, null: none
``#score``         int32    the champion's score in millionths, null: missing
``#key``           int32    number of the partition key, counted from 0 as they come
``#as_of``         int64    the event's time, not later than its record's, null: unreadable
=================  =======  ===================================================================
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudstream.stream.errors import CannotCheck

I64 = NDArray[np.int64]

FORMAT = 1
ROW_GROUP_ROWS = 1 << 18
"""A column of a row group is 2 MiB of words: it stays in the cache from decoding to evaluating."""
PART_ROWS = 1 << 22
MANIFEST = "manifest.json"
RUNS = "runs.npy"
MATCHES = "matches"

KIND, FLAGS, DUPLICATE_OF, SCORE, KEY = "#kind", "#flags", "#duplicate_of", "#score", "#key"
AS_OF = "#as_of"
SECOND = "#2"
"""Ends the column of a place's or feature's second word."""


class Kind(IntEnum):
    """What became of a record."""

    DECIDED = 0
    """Rules ran."""
    DUPLICATE = 1
    """It repeats the decision of its first."""
    UNREADABLE = 2
    ABSENT = 3
    """In the simulation it never happened: it followed from a payment that was blocked."""


@dataclass(frozen=True, slots=True)
class Column:
    """Where the values of a name stand."""

    name: str
    text: bool
    """One column of text, instead of ``width`` columns of words."""
    width: int
    real: bool
    """binary64 instead of int64."""

    @property
    def files(self) -> tuple[str, ...]:
        """Return the names of its columns in the files."""
        return (self.name,) if self.text or self.width == 1 else (self.name, self.name + SECOND)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a feature log consists of."""

    fingerprint: str
    made_of: Mapping[str, Any]
    rows: int
    parts: tuple[tuple[str, int], ...]
    """(file, rows)."""
    fields: Mapping[str, Column]
    """Fields and columns of reference tables by name."""
    features: Mapping[int, Column]
    """By the first word in the feature matrix: renamed features keep their columns."""
    days: Mapping[str, tuple[int, int]]
    """UTC day -> (decided events, their base amount in minor units)."""
    keys: int
    """Different values of the partition key."""
    absent: int
    """Records that never happened."""
    hash_key: str

    def write(self, directory: Path) -> None:
        """Write the manifest: with it a feature log is complete."""
        content = {"format": FORMAT, **asdict(self)}
        part = directory / f".{MANIFEST}.part"
        part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        part.replace(directory / MANIFEST)

    @staticmethod
    def read(directory: Path) -> Manifest:
        """Read the manifest of a feature log.

        Raises:
            CannotCheck: there is none, or it is of another format.
        """
        try:
            content = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
            if content.pop("format") != FORMAT:
                raise ValueError("another format")  # noqa: TRY301 - one answer for everything that is odd
            return Manifest(
                fingerprint=content["fingerprint"],
                made_of=content["made_of"],
                rows=content["rows"],
                parts=tuple((name, rows) for name, rows in content["parts"]),
                fields={name: Column(**item) for name, item in content["fields"].items()},
                features={int(word): Column(**item) for word, item in content["features"].items()},
                days={day: (count, minor) for day, (count, minor) in content["days"].items()},
                keys=content["keys"],
                absent=content["absent"],
                hash_key=content["hash_key"],
            )
        except (OSError, ValueError, KeyError, TypeError) as problem:
            raise CannotCheck(
                f"{directory} is no feature log of format {FORMAT} ({problem}); delete it and backtest again"
            ) from None


@dataclass(frozen=True, slots=True)
class Runs:
    """Which records the rows are."""

    table: I64
    """[k, 4]: partition, first offset, first row, rows."""

    @staticmethod
    def load(directory: Path) -> Runs:
        """Read the runs of a feature log."""
        return Runs(np.load(directory / RUNS))

    def row_of(self, partition: int, offset: int) -> int | None:
        """Return the row of a record, None if it is not there."""
        at = self.rows_of(np.array([partition]), np.array([offset]))
        return None if at[0] < 0 else int(at[0])

    def rows_of(self, partition: I64, offset: I64) -> I64:
        """Return the rows of records, -1 where they are not there."""
        table = self.table[np.lexsort((self.table[:, 1], self.table[:, 0]))]
        if not len(table):
            return np.full(len(offset), -1, np.int64)
        order = table[:, 0] << 48 | table[:, 1]
        wanted = np.asarray(partition, np.int64) << 48 | np.asarray(offset, np.int64)
        at = np.searchsorted(order, wanted, "right") - 1
        run = table[np.maximum(at, 0)]
        inside = (at >= 0) & (run[:, 0] == partition) & (offset - run[:, 1] < run[:, 3])
        return np.where(inside, run[:, 2] + offset - run[:, 1], -1)

    def sources_of(self, rows: I64) -> tuple[I64, I64]:
        """Return (partitions, offsets) of rows."""
        if not len(rows):
            return rows, rows
        run = self.table[np.searchsorted(self.table[:, 2], rows, "right") - 1]
        return run[:, 0], run[:, 1] + rows - run[:, 2]
