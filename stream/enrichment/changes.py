"""What changed between two contents of a table, and contents put together again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from fraudstream.stream.enrichment.bound import TableVersion
from fraudstream.stream.enrichment.content import Column, Content, Texts, narrow

DELTAS_MAX = 256
"""Deltas behind a base; then they become one, so that a version is read in few steps."""
PIECE_ROWS = 65_536
DELTA_SHARE = 4
"""Content of which more than one row in so many changed is published whole."""


def merged(first: Content, second: Content) -> Content:
    """Return ``first`` with the delta ``second`` on top; a delta if ``first`` is one."""
    touched = Texts.concatenated([second.keys, second.removed]).arrow()
    kept = _rows(pc.is_null(pc.index_in(first.keys.arrow(), value_set=touched)))
    removed = Texts.of(())
    if first.parent:
        again = pc.is_null(pc.index_in(first.removed.arrow(), value_set=second.keys.arrow()))
        gone = Texts.concatenated([first.removed.take(_rows(again)), second.removed]).arrow()
        removed = _texts(pc.unique(gone))
    return replace(
        first,
        as_of_ms=second.as_of_ms,
        keys=Texts.concatenated([first.keys.take(kept), second.keys]),
        columns=tuple(_joined(a.take(kept), b) for a, b in zip(first.columns, second.columns, strict=True)),
        removed=removed,
    )


def whole(version: TableVersion) -> Content:
    """Return all rows of a version."""
    base, *deltas = (item.content for item in version.chain)
    return merged(base, combined(deltas)) if deltas else base


def difference(before: Content, after: Content, parent: str) -> Content:
    """Return the delta from one whole content to another of the same declaration."""
    return _delta(before, after, *_changes(before, after), parent)


def successor(before: TableVersion | None, after: Content) -> Content | None:
    """Return what to publish so that a table has this whole content; None: it has it already."""
    if before is None or before.content.shape_hash != after.shape_hash:
        return after
    known = whole(before)
    rows, gone = _changes(known, after)
    changed = len(rows) + len(gone)
    if not changed and after.as_of_ms == before.content.as_of_ms:
        return None
    if DELTA_SHARE * changed > len(after):
        return after
    return compacted(before, _delta(known, after, rows, gone, before.version))


def _changes(before: Content, after: Content) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows of ``after`` that are new or other, and those of ``before`` that are gone.

    Works in pieces: NumPy keeps the interpreter while it gathers, and decisions wait for it.
    """
    old, new = before.keys.arrow(), after.keys.arrow()
    found = pc.index_in(new, value_set=old)
    at = np.asarray(pc.fill_null(found, -1).to_numpy(zero_copy_only=False), np.int64)
    changed = at < 0
    for begin in range(0, len(at), PIECE_ROWS):
        rows = begin + np.flatnonzero(at[begin : begin + PIECE_ROWS] >= 0)
        for was, now in zip(before.columns, after.columns, strict=True):
            changed[rows] |= _differs(was.take(at[rows]), now.take(rows))
    return np.flatnonzero(changed), _rows(pc.is_null(pc.index_in(old, value_set=new)))


def _delta(
    before: Content, after: Content, rows: NDArray[np.int64], gone: NDArray[np.int64], parent: str
) -> Content:
    return replace(
        after,
        keys=after.keys.take(rows),
        columns=tuple(column.take(rows) for column in after.columns),
        removed=before.keys.take(gone),
        parent=parent,
    )


def compacted(before: TableVersion, delta: Content) -> Content:
    """Return the delta, or where the chain would be too long all deltas as one, or everything as a base."""
    base, *deltas = (item.content for item in before.chain)
    deltas.append(delta)
    if len(deltas) <= DELTAS_MAX and sum(item.size for item in deltas) <= max(base.size, 1 << 20):
        return delta
    one = combined(deltas)
    if 2 * one.size <= base.size:
        return replace(one, parent=before.chain[0].version)
    return merged(base, one)


def combined(deltas: Sequence[Content]) -> Content:
    """Put deltas together, neighbours first, so that nothing is copied more often than needed."""
    parts = list(deltas)
    while len(parts) > 1:
        pairs = [parts[i : i + 2] for i in range(0, len(parts), 2)]
        parts = [merged(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
    return parts[0]


def _differs(was: Column, now: Column) -> NDArray[np.bool_]:
    changed = np.asarray(was.present != now.present, np.bool_)
    if was.texts is not None and now.texts is not None:
        same = pc.equal(was.texts.arrow(), now.texts.arrow())
        return np.asarray(changed | ~np.asarray(same.to_numpy(zero_copy_only=False), np.bool_))
    unequal = was.words != now.words
    return np.asarray(changed | (unequal.any(axis=1) if unequal.ndim == 2 else unequal))


def _joined(a: Column, b: Column) -> Column:
    present = np.concatenate([a.present, b.present])
    if a.texts is not None and b.texts is not None:
        texts = Texts.concatenated([a.texts, b.texts])
        return Column(a.name, a.type, a.values, present, a.words, texts)
    words = np.concatenate([a.words.astype(np.int64), b.words.astype(np.int64)])
    return Column(a.name, a.type, a.values, present, words if words.ndim == 2 else narrow(words))


def _texts(array: Any) -> Texts:
    return Texts.of(array.to_pylist())


def _rows(flags: Any) -> NDArray[np.int64]:
    return np.flatnonzero(flags.to_numpy(zero_copy_only=False))
