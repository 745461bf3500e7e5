"""Workloads with permanent ids: seeded, no network, no clock. Treat a published one as frozen.

==== ===================== ==========================================================================
W1a  steady, first form    400,000 accounts, 60 features with windows from 1 m to 24 h, 200 rules, a
                           linear champion (``steady.py``)
W1   steady                the same with every window moved up, to 30 days
W2   seed scale            1,900 indicators over seven kinds of key, 2,000 rules that read all of
                           them, 72 reference tables with a rule each (``traffic/reference.py``); models
                           come later (``seed_scale.py``)
W3   hot-key               W1 with half the traffic on one account and one merchant (``streams.py``)
W4   cardinality           W1 with 30 % of the traffic from accounts that are seen once
W6   history               W1 on 10,000 accounts after 90 days
==== ===================== ==========================================================================

W3a and W4a are the same traffic under W1a's rules. W5, the hostile mix, is traffic for tests of the worker
(``bench/traffic/hostile.py``): it runs with any rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fraudstream.bench.traffic.records import Chunk
from fraudstream.bench.workloads import seed_scale, steady, streams

START_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z: event times of workloads are fixed."""
HALF_A_DAY = 1_300_000
"""Events of the reference bank in twelve hours."""
NINETY_DAYS_ACCOUNTS = 10_000
NINETY_DAYS = 5_850_000
"""Their events in 90 days at 6.5 a day. Windows end at 30 days: more accounts need memory, not more time."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A frozen workload: rules directory, traffic and model."""

    id: str
    accounts: int
    seed: int
    files: Callable[[str], dict[str, bytes]]
    """Content of the rules directory by relative path, for a ``resolution`` of windows beyond 24 hours ("":
    what the engine has by default)."""
    model: Callable[[], bytes] | None
    """The champion's file."""
    stream: Callable[[int, int, int, int], Iterator[Chunk]] = streams.steady
    history: int = HALF_A_DAY
    """Events before something is measured."""
    reference: bool = False
    """Whether the core's figures have reference tables joined, and the rules that read them."""

    def traffic(self, count: int) -> Iterator[Chunk]:
        """Yield the first ``count`` records."""
        return self.stream(count, self.seed, self.accounts, START_MS)


def _steady(
    name: str,
    stream: Callable[[int, int, int, int], Iterator[Chunk]] = streams.steady,
    accounts: int = steady.ACCOUNTS,
    history: int = HALF_A_DAY,
) -> Workload:
    first = name.endswith("a")
    files, model = (steady.w1a_files, steady.w1a_model) if first else (steady.w1_files, steady.w1_model)
    return Workload(name, accounts, steady.SEED, files, model, stream, history)


WORKLOADS = {
    item.id: item
    for item in (
        _steady("W1a"),
        _steady("W1"),
        Workload("W2", steady.ACCOUNTS, seed_scale.SEED, seed_scale.w2_files, None, reference=True),
        _steady("W3a", streams.hot_key),
        _steady("W3", streams.hot_key),
        _steady("W4a", streams.never_seen),
        _steady("W4", streams.never_seen),
        _steady("W6", accounts=NINETY_DAYS_ACCOUNTS, history=NINETY_DAYS),
    )
}
