"""Windows alone, quickly: microseconds per transaction of admission and features for several batch sizes.

Run ``python -m fraudstream.bench.windows_micro --help``; the suite `windows` makes a report of it.
"""

from __future__ import annotations

import argparse
import statistics
import time

from fraudstream.bench.columns import Mix, Traffic
from fraudstream.bench.points import bundle_of, feed
from fraudstream.bench.workloads import WORKLOADS
from fraudstream.stream.windows.store import WindowStore


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
    parser.add_argument("--mixed", action="store_true", help="the reference mix instead of every key")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 64, 1_000])
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    bundle = bundle_of(arguments.workload, arguments.resolution)
    store = WindowStore(bundle.features, bundle.schema)
    mix = Mix(
        arguments.accounts,
        arguments.per_day,
        arguments.skew,
        every_key=not arguments.mixed,
        disorder=arguments.disorder,
        seed=arguments.seed,
    )
    traffic = Traffic(bundle.schema, len(bundle.features.filters), mix)
    begin = time.perf_counter()
    feed(store, traffic, arguments.fill)
    print(
        f"filled {arguments.fill} in {time.perf_counter() - begin:.1f} s; "
        f"keys {store.keys}; {store.state_bytes / 1e6:.0f} MB"
    )
    print(f"{'batch':>6} {'admit us':>18} {'features us':>18}   median (min) of {arguments.rounds}")
    for size in arguments.batch:
        count = min(arguments.count, size * 20_000)
        results = [feed(store, traffic, count, size) for _ in range(arguments.rounds)]
        admit, features = ([result[i] for result in results] for i in (0, 1))
        print(
            f"{size:>6} {statistics.median(admit):>9.2f} ({min(admit):.2f}) "
            f"{statistics.median(features):>11.2f} ({min(features):.2f})"
        )


if __name__ == "__main__":
    main()
