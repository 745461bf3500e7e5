"""Decoded transactions made with numpy, for measuring windows alone at sizes that JSON would take hours for.

Keys are what the traffic generator's bank has (``bench/traffic``): an account has one customer, card and
device and a few payees, a twelfth as many merchants as accounts, some addresses are shared. Which keys a
transaction carries is drawn from ``REFERENCE`` or is all of them. The state that a day of it makes is that of
generated traffic to a few percent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fraudstream.bench.workloads import START_MS
from fraudstream.rules.bundle import Schema
from fraudstream.stream.wire.types import Batch

I64 = NDArray[np.int64]

DAY_MS = 86_400_000
PER_ACCOUNT_DAY = 6.5
PAYEES = 8
PAYEES_KNOWN = 3
"""Different payees that accounts know, for each account."""
MOBILE_IPS = 1_600
FILTER_SHARES = (0.5, 0.4, 0.4, 0.1, 0.05, 0.35)
"""How often each of a workload's filters is true."""
COUNTRY_CN = ord("C") << 8 | ord("N")

OPTIONAL = ("card.id", "merchant.id", "counterparty.id", "device.id", "txn.ip", "txn.amount")
REFERENCE = (
    (0.247, ("card.id", "merchant.id", "txn.amount")),
    (0.214, ("device.id", "txn.ip")),
    (0.205, ("counterparty.id", "txn.amount")),
    (0.127, ("counterparty.id", "device.id", "txn.ip", "txn.amount")),
    (0.100, ("merchant.id", "device.id", "txn.ip", "txn.amount")),
    (0.071, ("card.id", "merchant.id", "device.id", "txn.ip", "txn.amount")),
    (0.013, ("card.id", "merchant.id", "txn.ip", "txn.amount")),
    (0.013, ("card.id", "txn.amount")),
    (0.010, ("txn.amount",)),
)
"""Share of transactions -> fields beside account and customer, as in 300,000 generated transactions."""


@dataclass(frozen=True, slots=True)
class Mix:
    """What the columns are like."""

    accounts: int
    per_day: float
    skew: float = 0.4
    """Zipf exponent of accounts; 0: all alike."""
    every_key: bool = False
    """Every transaction has all keys, instead of the reference bank's mix."""
    disorder: float = 0.0
    """Share of events that come up to 30 s late."""
    never_seen: float = 0.0
    """Share of events of an account and card that no other event has."""
    in_turn: bool = False
    """Accounts one after the other, so that all of them have the same number of events."""
    one_each: bool = False
    """Every id is the account's number: as many keys of each kind as accounts."""
    seed: int = 1


def zipf(rng: np.random.Generator, cumulated: NDArray[np.float64], count: int) -> I64:
    """Return ``count`` draws of places in cumulated weights."""
    return np.asarray(np.searchsorted(cumulated, rng.random(count) * cumulated[-1]), np.int64)


def weights(size: int, exponent: float) -> NDArray[np.float64]:
    """Return cumulated weights 1 / (i + 1) ** exponent."""
    return np.cumsum(1.0 / np.arange(1, size + 1) ** exponent)


def hashed(numbers: I64, salt: int) -> I64:
    """Return two words for each number, spread like keyed hashes."""
    with np.errstate(over="ignore"):
        low = (numbers.astype(np.uint64) + np.uint64(salt)) * np.uint64(0x9E3779B97F4A7C15)
        low ^= low >> np.uint64(29)
        high = low * np.uint64(0xBF58476D1CE4E5B9)
        high ^= high >> np.uint64(32)
    return np.stack([low.view(np.int64), high.view(np.int64)])


class Traffic:
    """An endless stream of decoded columns at a fixed rate."""

    def __init__(self, schema: Schema, filters: int, mix: Mix) -> None:
        self._schema = schema
        self._filters = filters
        self.mix = mix
        self.per_day = mix.per_day
        """May be changed between batches."""
        self.now_ms = float(START_MS)
        self._rng = np.random.default_rng(mix.seed)
        self._accounts = weights(mix.accounts, mix.skew)
        self._shops = max(mix.accounts // 12, 10)
        self._places = np.cumsum([share for share, _ in REFERENCE])
        self._has = np.array([[name in names for name in OPTIONAL] for _, names in REFERENCE])
        self._sent = 0

    def _account(self, number: I64) -> I64:
        if self.mix.in_turn:
            return number % self.mix.accounts
        return zipf(self._rng, self._accounts, len(number))

    def columns(self, count: int) -> tuple[I64, NDArray[np.uint8]]:
        """Return values and states of the next ``count`` transactions, [C, count]."""
        rng, schema, mix = self._rng, self._schema, self.mix
        value = np.zeros((schema.words, count), np.int64)
        state = np.ones((schema.words, count), np.uint8)
        number = np.arange(self._sent, self._sent + count)
        self._sent += count
        account = self._account(number)
        usual = (PAYEES * rng.random(count) ** 2).astype(np.int64)
        stranger = rng.random(count) < 0.15
        known = (account * 7_919 + usual * 104_729) % (PAYEES_KNOWN * mix.accounts)
        payee = np.where(stranger, -1 - rng.integers(0, 4 * mix.accounts, count), known)
        device = account * 10 + (rng.random(count) < 0.1)
        # Three in ten come through the shared addresses of a mobile network.
        address = np.where(rng.random(count) < 0.3, -1 - rng.integers(0, MOBILE_IPS, count), account)
        new = rng.random(count) < mix.never_seen
        account = np.where(new, -1 - number, account)
        texts = {
            "event.id": number,
            "account.id": account,
            "customer.id": account,
            "card.id": account,
            "device.id": device,
            "merchant.id": (self._shops * rng.random(count) ** 2.2).astype(np.int64),
            "counterparty.id": payee,
            "txn.ip": address,
        }
        for salt, (name, item) in enumerate(texts.items()):
            column = schema.field(name).column
            chosen = account if mix.one_each and name != "event.id" else item
            value[column : column + 2] = hashed(chosen, 1 + salt * 1_000_000_007)
        behind = np.where(rng.random(count) < mix.disorder, rng.integers(0, 30_000, count), 0)
        times = self.now_ms + np.arange(1, count + 1) * (DAY_MS / self.per_day)
        self.now_ms = float(times[-1])
        value[schema.field("event.time").column] = times.astype(np.int64) - behind
        value[schema.field("txn.amount").column] = rng.integers(1, 1_000_000, count)
        value[schema.field("txn.country").column] = COUNTRY_CN + (rng.random(count) < 0.05)
        if not mix.every_key:
            has = self._has[np.searchsorted(self._places, rng.random(count) * self._places[-1])]
            for place, name in enumerate(OPTIONAL):
                field = schema.field(name)
                state[field.column : field.column + field.type.width] = has[:, place]
            value *= state
        return value, state

    def batches(self, count: int, size: int) -> Iterator[tuple[Batch, NDArray[np.uint64]]]:
        """Yield batches of ``size`` rows with the true-masks of the filters."""
        first = self._sent
        value, state = self.columns(count)
        for begin in range(0, count, size):
            part = np.ascontiguousarray(value[:, begin : begin + size])
            n = part.shape[1]
            empty = np.zeros((0, n), np.int32)
            batch = Batch(
                schema=self._schema,
                row=np.arange(n, dtype=np.int32),
                offset=np.arange(first + begin, first + begin + n),
                record_time_ms=np.full(n, -1, np.int64),
                value=part,
                state=np.ascontiguousarray(state[:, begin : begin + size]),
                start=empty,
                size=empty,
                buffer=np.zeros(32, np.uint8),
                body_hash=np.ascontiguousarray(part[:2] ^ 0x5DEECE66D),
            )
            yield batch, self._masks(n)

    def _masks(self, n: int) -> NDArray[np.uint64]:
        """Return true-masks of the filters, uint64 [filters, ceil(n / 64)]."""
        shares = np.resize(FILTER_SHARES, self._filters)
        bits = self._rng.random((self._filters, -(-n // 64) * 64)) < shares[:, None]
        bits[:, n:] = False
        return np.packbits(bits, axis=1, bitorder="little").view(np.uint64)
