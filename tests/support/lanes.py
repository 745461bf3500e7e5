"""The law of the lanes: with the fast lane on or off a batch is the same, to the last byte."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import numpy as np
from support.wire import KEY, slice_of

from fraudstream.stream.wire.decode import decode
from fraudstream.stream.wire.tables import SchemaTables
from fraudstream.stream.wire.types import Batch, Slice


def differences(one: Batch, other: Batch) -> list[str]:
    """Name the parts in which two batches differ; arrays by type, shape, order in memory and content."""
    found: list[str] = []
    for item in fields(Batch):
        if not item.compare:  # tells what took which lane
            continue
        was, expected = getattr(one, item.name), getattr(other, item.name)
        if not isinstance(was, np.ndarray):
            same = was == expected
        else:
            same = (
                (was.dtype, was.shape, was.flags.c_contiguous, was.flags.writeable)
                == (expected.dtype, expected.shape, expected.flags.c_contiguous, expected.flags.writeable)
            ) and was.tobytes() == expected.tobytes()
        if not same:
            found.append(item.name)
    return found


def both(source: Slice, tables: SchemaTables) -> list[str]:
    """Read a slice with the fast lane on and off; name the parts that differ."""
    return differences(decode(source, tables, KEY), decode(source, tables, KEY, fast=False))


def disagreements(
    tables: SchemaTables, values: Sequence[bytes | None]
) -> list[tuple[bytes | None, list[str]]]:
    """Return (record, parts that differ) of records that the lanes read differently; a few at most."""
    if not both(slice_of(values), tables):
        return []
    if len(values) == 1:
        return [(values[0], both(slice_of(values), tables))]
    middle = len(values) // 2
    found = disagreements(tables, values[:middle])
    return (found or disagreements(tables, values[middle:])) or [(None, ["only together"])]
