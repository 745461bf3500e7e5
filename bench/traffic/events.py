"""Generated events as columns, before they become JSON.

One row is one event on the log. Codes keep ids as numbers until a record is written:
a party >= 0 is an account of this bank, below ``NOBODY`` an account elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Events = NDArray[np.void]
"""[n] rows of ``EVENT``."""

NOBODY = -1
"""No counterparty."""

EVENT = np.dtype(
    [
        ("time", "i8"),  # milliseconds since the epoch
        ("uid", "i8"),  # order of making; ties of time keep it
        ("type", "i1"),  # EventType
        ("account", "i4"),
        ("card", "?"),  # the account's card was used
        ("direction", "i1"),  # index into DIRECTIONS, 0 none
        ("kind", "i1"),  # index into KINDS, 0 none
        ("channel", "i1"),  # index into CHANNELS, 0 none
        ("amount", "i8"),  # minor units of the currency, -1 none
        ("currency", "i1"),  # index into CURRENCIES
        ("party", "i8"),
        ("merchant", "i4"),  # -1 none
        ("device", "i8"),  # 0 none
        ("ip", "i8"),  # IPv4 as a number, 0 none
        ("place", "i2"),  # index into PLACES, -1 none
        ("lat", "f8"),
        ("lon", "f8"),  # NaN: no position, only the place's country
        ("original", "i8"),  # uid of the event that an outcome is about, -1 none
        ("transfer", "i8"),  # joins both legs of a transfer, 0 none
        ("status", "i1"),  # index into STATUSES, 0 none
        ("failed", "?"),  # declined later: moves no balance
        ("story", "i2"),  # > 0 fraud pattern, < 0 innocent look-alike, 0 ordinary life
    ]
)


class EventType(IntEnum):
    """Event types in the order of ``EVENT_TYPES``."""

    PAYMENT = 0
    CARD_AUTH = 1
    LOGIN = 2
    PASSWORD_RESET = 3
    DEVICE_ADDED = 4
    PAYEE_ADDED = 5
    PROFILE_CHANGE = 6
    OUTCOME = 7


EVENT_TYPES = tuple(item.name.lower() for item in EventType)
DIRECTIONS = ("", "in", "out")
KINDS = ("", "transfer", "instant", "bill", "purchase", "cash_deposit", "cash_withdrawal", "salary", "refund")
CHANNELS = ("", "mobile", "web", "atm", "pos", "branch", "api")
STATUSES = ("", "approved", "declined")

IN, OUT = 1, 2
TRANSFER, INSTANT, BILL, PURCHASE, CASH_DEPOSIT, CASH_WITHDRAWAL, SALARY, REFUND = range(1, 9)
MOBILE, WEB, ATM, POS, BRANCH, API = range(1, 7)
APPROVED, DECLINED = 1, 2

DEFAULTS: dict[str, Any] = {
    "amount": -1,
    "party": NOBODY,
    "merchant": -1,
    "place": -1,
    "original": -1,
    "lat": np.nan,
    "lon": np.nan,
}


class Notebook:
    """Hands out rows with serial numbers, so that the same seed gives the same log."""

    def __init__(self) -> None:
        self._rows = 0
        self._codes = 0

    def blank(self, n: int) -> Events:
        """Return ``n`` fresh rows with nothing in them but their serial numbers."""
        rows = np.zeros(n, EVENT)
        for name, value in DEFAULTS.items():
            rows[name] = value
        rows["uid"] = np.arange(self._rows, self._rows + n)
        self._rows += n
        return rows

    def rows(self, items: Iterable[dict[str, Any]]) -> Events:
        """Return rows with the given members, one for each item."""
        listed = list(items)
        made = self.blank(len(listed))
        for at, item in enumerate(listed):
            row = made[at]
            for name, value in item.items():
                row[name] = value
        return made

    def codes(self, n: int) -> NDArray[np.int64]:
        """Return ``n`` fresh codes for things that the world did not know: devices, transfers, accounts."""
        self._codes += n
        return np.arange(self._codes - n + 1, self._codes + 1, dtype=np.int64)

    def code(self) -> int:
        """Return one fresh code."""
        return int(self.codes(1)[0])


def declines(
    notebook: Notebook, rng: np.random.Generator, events: Events, failed: NDArray[np.bool_]
) -> Events:
    """Mark some events as failed and return their ``outcome`` events, a second or two later."""
    events["failed"] |= failed
    originals = events[failed]
    made = notebook.blank(len(originals))
    for name in ("account", "card", "direction", "kind", "channel", "amount", "currency", "party"):
        made[name] = originals[name]
    for name in ("merchant", "device", "ip", "place", "lat", "lon", "story"):
        made[name] = originals[name]
    made["type"] = EventType.OUTCOME
    made["status"] = DECLINED
    made["original"] = originals["uid"]
    made["time"] = originals["time"] + rng.integers(300, 2500, len(originals))
    return made


def incoming_legs(notebook: Notebook, rng: np.random.Generator, outgoing: Events) -> Events:
    """Return the receiving side of transfers to accounts of this bank, and join both legs."""
    here = np.flatnonzero((outgoing["party"] >= 0) & (outgoing["type"] == EventType.PAYMENT))
    links = notebook.codes(len(here))
    outgoing["transfer"][here] = links
    sent = outgoing[here]
    made = notebook.blank(len(sent))
    made["type"] = EventType.PAYMENT
    made["time"] = sent["time"] + rng.integers(50, 1500, len(sent))
    made["account"] = sent["party"]
    made["party"] = sent["account"]
    made["direction"] = IN
    made["transfer"] = links
    for name in ("kind", "amount", "currency", "story"):
        made[name] = sent[name]
    made["channel"] = API
    return made
