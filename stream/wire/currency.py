"""Money to the base currency: exact products, rounded once, half to even."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fraudstream.rules.bundle import Rates, Schema, Type
from fraudstream.rules.iso4217 import DECIMALS
from fraudstream.stream.wire.kernel_currency import foreign_rows
from fraudstream.stream.wire.types import I64, Batch

MAX_BASE_MINOR: Final = 10**15
"""Largest converted amount: sums of thousands of them stay inside int64; beyond it the money is missing."""
_INT64_ROOM: Final = 2**62


def _half_even(product: int, divisor: int) -> int:
    quotient, rest = divmod(product, divisor)
    return quotient + (2 * rest > divisor or (2 * rest == divisor and quotient % 2 == 1))


def _scale(minor: I64, factor: int, divisor: int) -> tuple[I64, NDArray[np.bool_]]:
    """Return round(minor x factor / divisor) and where that is within the limit."""
    # 10^13 minor units at most: most products fit into int64; the rest go through Python's integers.
    largest = int(np.abs(minor).max(initial=0))
    if largest * factor <= _INT64_ROOM and divisor <= _INT64_ROOM // 2:
        product = minor * factor
        quotient = product // divisor
        twice = 2 * (product - quotient * divisor)
        scaled = quotient + ((twice > divisor) | ((twice == divisor) & (quotient % 2 == 1)))
        return scaled, np.abs(scaled) <= MAX_BASE_MINOR
    exact = [_half_even(value * factor, divisor) for value in minor.tolist()]
    fits = np.array([abs(value) <= MAX_BASE_MINOR for value in exact], np.bool_)
    return np.array([v if ok else 0 for v, ok in zip(exact, fits, strict=True)], np.int64), fits


class Converter:
    """Converts the money of one schema to its base currency at fixed rates."""

    def __init__(self, schema: Schema, rates: Rates) -> None:
        self._rates = rates
        self._base = int.from_bytes(schema.base_currency.encode(), "big")
        self._base_decimals = DECIMALS[schema.base_currency]
        fields = [field for field in schema.fields if field.type is Type.MONEY and field.convert]
        self._columns = [(field.column, schema.field(field.currency or "").column) for field in fields]

    def convert(self, batch: Batch) -> NDArray[np.bool_] | None:
        """Convert in place as :func:`to_base` does; return its rows, None: there are none."""
        no_rate: NDArray[np.bool_] | None = None
        found = np.empty((2, len(batch)), np.int64)
        rows_at, codes_at = found
        texts = batch.state, batch.start, batch.buffer
        for money, currency in self._columns:
            count = foreign_rows(money, currency, self._base, *texts, rows_at, codes_at)
            if not count:
                continue
            value, state = batch.value[money], batch.state[money]
            rows, codes = found[:, :count]
            for code in np.unique(codes).tolist():
                name = code.to_bytes(3, "big").decode()
                some = rows[codes == code]
                rate = self._rates.items.get(name)
                if rate is None:
                    if no_rate is None:
                        no_rate = np.zeros(len(batch), np.bool_)
                    no_rate[some] = True
                    fits = np.zeros(len(some), np.bool_)
                else:
                    numerator, places = rate
                    shift = places + DECIMALS[name] - self._base_decimals
                    factor, divisor = numerator * 10 ** max(0, -shift), 10 ** max(0, shift)
                    value[some], fits = _scale(value[some], factor, divisor)
                lost = some[~fits]
                value[lost] = state[lost] = 0
        return no_rate


def to_base(batch: Batch, rates: Rates) -> NDArray[np.bool_]:
    """Convert money fields with ``convert`` to minor units of the base currency, in place.

    A rate is base currency in major units for one major unit of the other. Amounts without a rate,
    or beyond `MAX_BASE_MINOR` after conversion, become missing.

    Returns:
        bool [n]: rows with an amount whose currency has no rate.
    """
    no_rate = Converter(batch.schema, rates).convert(batch)
    return np.zeros(len(batch), np.bool_) if no_rate is None else no_rate
