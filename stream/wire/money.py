"""Money of the wire: decimal digits to whole minor units, never through a float."""

from __future__ import annotations

import re
from typing import Final

from fraudstream.stream.wire.codes import Unreadable

MAX_MINOR: Final = 10**13
"""Largest amount of a record in minor units: sums of 10^5 of them stay far inside int64."""

_AMOUNT = re.compile(r"(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?")


def parse_amount(text: str, *, signed: bool) -> tuple[bool, str, str]:
    """Split an amount into (negative, whole digits, decimals without trailing zeros).

    Raises:
        Unreadable: ``bad_amount``, ``negative_amount`` (a minus sign, also before zero, unless ``signed``).
    """
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise Unreadable("bad_amount")
    sign, whole, fraction = match.groups()
    if sign and not signed:
        raise Unreadable("negative_amount")
    return sign == "-", whole, "" if fraction is None else fraction.rstrip("0")


def to_minor(amount: tuple[bool, str, str], decimals: int) -> int:
    """Return a split amount in minor units of a currency with ``decimals``.

    Raises:
        Unreadable: ``amount_precision``, ``amount_too_large``.
    """
    negative, whole, fraction = amount
    if len(fraction) > decimals:
        raise Unreadable("amount_precision")
    if len(whole) > 14:  # beyond the limit at any decimals; spares `int` a hostile number
        raise Unreadable("amount_too_large")
    minor = int(whole + fraction.ljust(decimals, "0"))
    if minor > MAX_MINOR:
        raise Unreadable("amount_too_large")
    return -minor if negative else minor
