"""Single values of a decided batch, for reason texts and evidence; only rows with reasons pay for it."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraudstream.rules.bundle import Slot, Source, Type
from fraudstream.stream.wire.types import Batch

_WORD, _REAL = struct.Struct("<q"), struct.Struct("<d")


class Decoded(NamedTuple):
    """Everything that a slot may point to."""

    batch: Batch
    feature_value: NDArray[np.int64]
    """[n, F]"""
    feature_state: NDArray[np.uint8]
    champion_micro: NDArray[np.int64]
    """[n], -1 missing."""

    def words(self, slot: Slot, row: int) -> tuple[int, int] | None:
        """Return the slot's words (the second is 0 for one-word types), None where missing."""
        at = slot.column
        if slot.source is Source.MODEL:
            micro = int(self.champion_micro[row])
            return None if micro < 0 else (_bits(micro / 1_000_000), 0)
        # `item` gives a plain integer without an array's scalar between.
        second = 0
        if slot.source is Source.FIELD:
            if not self.batch.state.item(at, row):
                return None
            value = self.batch.value
            first: int = value.item(at, row)
            if slot.type.width == 2:
                second = value.item(at + 1, row)
            return first, second
        if not self.feature_state.item(row, at):
            return None
        first = self.feature_value.item(row, at)
        if slot.type.width == 2:
            second = self.feature_value.item(row, at + 1)
        return first, second

    def read(self, slot: Slot, row: int) -> int | float | str | None:
        """Return a value as reason texts take it: words as numbers, texts as text, None where missing.

        A feature's id or category is a keyed hash, which is never shown: it reads as missing. So does a geo
        point, which has no single number.
        """
        words = self.words(slot, row)
        if words is None or slot.type is Type.GEO:
            return None
        if slot.type.is_text:
            return self.batch.text(slot.column, row) if slot.source is Source.FIELD else None
        return _real(words[0]) if slot.type is Type.NUMBER or slot.repr == "f" else words[0]

    def plain(self, slot: Slot, row: int) -> object:
        """Return a value for people and programs: JSON's types, None where missing.

        Money in minor units, durations and times in milliseconds, dates as text, enums and countries by
        name, a geo point as [latitude, longitude]. A hash is never shown: a feature's id or category is
        true where there is one.
        """
        words = self.words(slot, row)
        if words is None:
            return None
        if slot.type is Type.GEO:
            return [_real(words[0]), _real(words[1])]
        if slot.type.is_text:
            return self.batch.text(slot.column, row) if slot.source is Source.FIELD else True
        if slot.type is Type.NUMBER or slot.repr == "f":
            return _real(words[0])
        if slot.type is Type.BOOL:
            return bool(words[0])
        if slot.type is Type.ENUM:
            return slot.values[words[0]]
        if slot.type is Type.COUNTRY:
            return chr(words[0] >> 8) + chr(words[0] & 0xFF)
        if slot.type is Type.DATE:
            return str(np.datetime64(words[0], "D"))
        return words[0]


def _real(word: int) -> float:
    number: float = _REAL.unpack(_WORD.pack(word))[0]
    return number


def _bits(value: float) -> int:
    word: int = _WORD.unpack(_REAL.pack(value))[0]
    return word
