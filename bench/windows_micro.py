"""Windows alone: microseconds per transaction of admission and features, for several batch sizes.

The declarations are a workload's; the columns are made here with numpy: every key of every kind is present,
so that each transaction touches a history of each.

Run ``python -m fraudstream.bench.windows_micro --help``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fraudstream.bench.workloads import WORKLOADS
from fraudstream.rules.bundle import Schema
from fraudstream.rules.compiler.compile import compile_sources
from fraudstream.stream.windows.store import WindowStore
from fraudstream.stream.wire.types import Batch

START_MS = 1_767_225_600_000
LOAD_BATCH = 1_000
MERCHANTS = 20_000
PAYEES_PER_ACCOUNT = 3
MOBILE_IPS = 1_600
FILTER_SHARES = (0.5, 0.4, 0.4, 0.1, 0.05, 0.35)
"""How often each of a workload's filters is true."""


def zipf(rng: np.random.Generator, size: int, count: int, exponent: float) -> NDArray[np.int64]:
    """Return ``count`` draws from 0 to size - 1, weight 1 / (i + 1) ** exponent."""
    weights = np.cumsum(1.0 / np.arange(1, size + 1) ** exponent)
    return np.asarray(np.searchsorted(weights, rng.random(count) * weights[-1]), np.int64)


def hashed(numbers: NDArray[np.int64], salt: int) -> NDArray[np.int64]:
    """Return two words for each number, spread like keyed hashes."""
    with np.errstate(over="ignore"):
        low = (numbers.astype(np.uint64) + np.uint64(salt)) * np.uint64(0x9E3779B97F4A7C15)
        low ^= low >> np.uint64(29)
        high = low * np.uint64(0xBF58476D1CE4E5B9)
        high ^= high >> np.uint64(32)
    return np.stack([low.view(np.int64), high.view(np.int64)])


class Traffic:
    """An endless stream of decoded columns at a fixed rate."""

    def __init__(
        self,
        schema: Schema,
        filters: int,
        accounts: int,
        skew: float,
        per_day: int,
        disorder: float,
        seed: int,
    ) -> None:
        self._schema = schema
        self._filters = filters
        self._accounts = accounts
        self._skew = skew
        self._step_ms = 86_400_000 / per_day
        self._disorder = disorder
        self._rng = np.random.default_rng(seed)
        self._sent = 0

    def columns(self, count: int) -> NDArray[np.int64]:
        """Return the next ``count`` transactions as int64 [C, count]."""
        rng, schema = self._rng, self._schema
        value = np.zeros((schema.words, count), np.int64)
        number = np.arange(self._sent, self._sent + count)
        self._sent += count
        account = zipf(rng, self._accounts, count, self._skew)
        payee = (account * 7 + rng.integers(0, PAYEES_PER_ACCOUNT, count) * 104_729) % self._accounts
        merchant = zipf(rng, MERCHANTS, count, 1.0)
        texts = {
            "event.id": number,
            "account.id": account,
            "card.id": account,
            "customer.id": account,
            "device.id": account,
            "merchant.id": merchant,
            "counterparty.id": payee,
            # Three in ten come through the shared addresses of a mobile network.
            "txn.ip": np.where(rng.random(count) < 0.3, -1 - rng.integers(0, MOBILE_IPS, count), account),
        }
        for salt, (name, item) in enumerate(texts.items()):
            column = schema.field(name).column
            value[column : column + 2] = hashed(item, 1 + salt * 1_000_000_007)
        behind = np.where(rng.random(count) < self._disorder, rng.integers(0, 30_000, count), 0)
        value[schema.field("event.time").column] = (
            START_MS + (number * self._step_ms).astype(np.int64) - behind
        )
        value[schema.field("txn.amount").column] = rng.integers(1, 1_000_000, count)
        value[schema.field("txn.country").column] = rng.integers(0, 12, count)
        return value

    def batches(self, count: int, size: int) -> Iterator[tuple[Batch, NDArray[np.uint64]]]:
        """Yield batches of ``size`` rows with the true-masks of three filters."""
        value = self.columns(count)
        first = self._sent - count
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
                state=np.ones(part.shape, np.uint8),
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


def measure(store: WindowStore, traffic: Traffic, count: int, size: int) -> tuple[float, float]:
    """Return microseconds of this thread's processor time per transaction: admission, features."""
    admit = features = 0
    for batch, masks in list(traffic.batches(count, size)):
        begin = time.thread_time_ns()
        admission = store.admit(batch, 0)
        middle = time.thread_time_ns()
        store.advance(batch, admission, masks)
        admit += middle - begin
        features += time.thread_time_ns() - middle
    return admit / count / 1e3, features / count / 1e3


def main() -> None:
    """Fill a day of state, then time batches."""
    parser = argparse.ArgumentParser(
        prog="windows_micro",
        description="time the window store alone",
        epilog="example: windows_micro --skew 0.8",
    )
    parser.add_argument("--workload", choices=tuple(WORKLOADS), default="W1a", help="whose features")
    parser.add_argument("--resolution", default="", help="of windows beyond 24 hours")
    parser.add_argument("--fill", type=int, default=2_600_000, help="transactions before timing")
    parser.add_argument("--count", type=int, default=100_000, help="transactions per timing")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--accounts", type=int, default=400_000)
    parser.add_argument("--skew", type=float, default=0.4, help="Zipf exponent of accounts")
    parser.add_argument("--per-day", type=int, default=2_600_000)
    parser.add_argument("--disorder", type=float, default=0.0, help="share of events up to 30 s late")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 64, 1_000])
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    bundle = compile_sources(WORKLOADS[arguments.workload].files(arguments.resolution)).bundle
    assert bundle is not None
    store = WindowStore(bundle.features, bundle.schema)
    traffic = Traffic(
        bundle.schema,
        len(bundle.features.filters),
        arguments.accounts,
        arguments.skew,
        arguments.per_day,
        arguments.disorder,
        arguments.seed,
    )
    begin = time.perf_counter()
    for _ in range(0, arguments.fill, 100_000):
        measure(store, traffic, 100_000, LOAD_BATCH)
    print(
        f"filled {arguments.fill} in {time.perf_counter() - begin:.1f} s; "
        f"keys {store.keys}; {store.state_bytes / 1e6:.0f} MB"
    )
    print(f"{'batch':>6} {'admit us':>18} {'features us':>18}   median (min) of {arguments.rounds}")
    for size in arguments.batch:
        count = min(arguments.count, size * 20_000)
        results = [measure(store, traffic, count, size) for _ in range(arguments.rounds)]
        admit, features = ([result[i] for result in results] for i in (0, 1))
        print(
            f"{size:>6} {statistics.median(admit):>9.2f} ({min(admit):.2f}) "
            f"{statistics.median(features):>11.2f} ({min(features):.2f})"
        )


if __name__ == "__main__":
    main()
