"""Keys with more events than they may keep: what is flagged as approximate is still one value, not two."""

from __future__ import annotations

import pytest
from support.bank import Bank, transaction

from fraudstream.stream.pipeline import Pipeline

DISTINCT = """\
features:
  a.shops_10s: {agg: distinct, of: merchant.id, max: 100, key: account.id, window: 10s}
  a.shops_1m:  {agg: distinct, of: merchant.id, max: 100, key: account.id, window: 1m}
"""


def test_a_value_in_a_folded_pane_and_among_the_kept_events_counts_once() -> None:
    """The narrow window sees m1 only in the pane, the wide one also as a kept event."""
    bank = Bank(DISTINCT, time="time: {max_events_per_key: 2}\n")
    shops = (("10:00:05", "m1"), ("10:00:20", "m1"), ("10:00:30", "m2"))
    bank.send(*(transaction(n, at, merchant_id=shop) for n, (at, shop) in enumerate(shops)))
    (seen,) = bank.send(transaction(9, "10:00:35", merchant_id="m3"))
    assert seen.features == {"a.shops_10s": 3, "a.shops_1m": 3}
    assert "approximate" in seen.flags


@pytest.mark.parametrize("restarted", [False, True])
def test_a_restart_does_not_show_behind_a_folded_event(restarted: bool) -> None:
    """Late events behind a folded one: a restored state has let the first of them go, a live one not yet."""
    bank = Bank(
        "features:\n  a.since: {agg: since_last, key: account.id}\n",
        time="time: {allowed_lateness: 1m, max_events_per_key: 2}\n",
    )
    times = ("10:00:00", "10:05:00", "10:05:10", "10:05:20")
    bank.send(*(transaction(n, at) for n, at in enumerate(times)))
    bank.send(transaction(7, "10:04:20"))
    if restarted:
        bank.pipeline = Pipeline.restore(bank.pipeline.snapshot(), bank.pipeline.bundle, None)
    (seen,) = bank.send(transaction(8, "10:04:20"))
    assert seen.features == {"a.since": None}
    assert "approximate" in seen.flags
