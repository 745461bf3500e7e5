"""Golden cases: what went wrong in other engines, with the right numbers written out by hand.

Numbers are those of the list in the project's research of engines; the borders of windows are this
project's: ``as_of - w < t <= as_of``. Cases 13 to 15 and 17 are about decisions and backtests, not windows.
"""

from __future__ import annotations

import pytest
from support.bank import Bank, transaction

from fraudstream.stream.pipeline import Pipeline

COUNTS = """\
features:
  account.n_1h:      {agg: count, key: account.id, window: 1h}
  account.before_1h: {agg: count, key: account.id, window: 1h, current: exclude}
  account.sum_1h:    {agg: sum, of: txn.amount, key: account.id, window: 1h}
"""


def test_case_01_a_delivered_twice_counts_once() -> None:
    """A, A, then B: before B there is one event."""
    bank = Bank(COUNTS)
    a = transaction(1, "10:00:00")
    _, again = bank.send(a, a)
    assert "duplicate" in again.flags
    assert again.features == {"account.n_1h": None, "account.before_1h": None, "account.sum_1h": None}
    b = bank.one(transaction(2, "10:00:01"))
    assert b == {"account.n_1h": 2, "account.before_1h": 1, "account.sum_1h": 20_00}


def test_case_02_a_b_a_counts_two() -> None:
    """A marker of the last id alone would count the second A."""
    bank = Bank(COUNTS)
    a, b = transaction(1, "10:00:00"), transaction(2, "10:00:01")
    bank.send(a, b, a)
    c = bank.one(transaction(3, "10:00:02"))
    assert c["account.before_1h"] == 2
    assert c["account.n_1h"] == 3


def test_case_03_a_redelivery_in_the_next_hour_counts_once() -> None:
    """Delivered at 10:59:59 and again at 11:00:01: the event's own time counts, not that of delivery."""
    bank = Bank(COUNTS, time="time: {trust_create_time: true}\n")
    a = transaction(1, "10:59:59")
    first = 1_768_474_799_000
    assert bank.send(a, record_times_ms=[first])[0].features["account.n_1h"] == 1
    (again,) = bank.send(a, record_times_ms=[first + 2_000])
    assert "duplicate" in again.flags
    assert bank.one(transaction(2, "11:00:02"))["account.n_1h"] == 2


BOTH = """\
features:
  account.before: {agg: count, key: account.id, window: 1h, current: exclude}
  shop.before:    {agg: count, key: merchant.id, window: 1h, current: exclude}
"""


@pytest.mark.parametrize("taken", [False, True])
def test_case_04_a_crash_leaves_both_windows_or_neither(taken: bool) -> None:
    """The state on disk was taken before A or after it; the log is read again from where it ends."""
    bank = Bank(BOTH)
    bank.send(transaction(0, "09:59:00", merchant_id="m1"))
    a, b = transaction(1, "10:00:00", merchant_id="m1"), transaction(2, "10:00:01", merchant_id="m1")
    if taken:
        bank.send(a)
    state = bank.pipeline.snapshot()
    if not taken:
        bank.send(a)  # lost with the process
    bank.pipeline = Pipeline.restore(state, bank.pipeline.bundle, None)
    replayed = [b] if bank.pipeline.next_offset == 2 else [a, b]
    assert bank.send(*replayed)[-1].features == {"account.before": 2, "shop.before": 2}


def test_case_05_events_of_one_account_see_each_other_whatever_the_batch() -> None:
    """Two payments fetched together do not race: the second sees the first."""
    records = [transaction(1, "10:00:00"), transaction(2, "10:00:00"), transaction(3, "10:00:00")]
    together = [seen.features["account.n_1h"] for seen in Bank(COUNTS).send(*records)]
    bank = Bank(COUNTS)
    assert together == [bank.one(record)["account.n_1h"] for record in records] == [1, 2, 3]


def test_case_06_borders_of_a_window() -> None:
    """An hour back to the millisecond is outside, a millisecond less is inside, the same time is inside."""
    bank = Bank(COUNTS)
    bank.send(transaction(1, "09:00:00.000"), transaction(2, "09:00:00.001"), transaction(3, "10:00:00.000"))
    on_the_border = bank.one(transaction(4, "10:00:00.000"))
    # t2, t3 and itself; t1 is one hour old.
    assert (on_the_border["account.n_1h"], on_the_border["account.before_1h"]) == (3, 2)
    later = bank.one(transaction(5, "10:00:00.001"))
    # t3, t4 and itself; t2 is one hour old now.
    assert (later["account.n_1h"], later["account.before_1h"]) == (3, 2)


def test_case_06_an_earlier_event_with_a_later_time_is_outside() -> None:
    """The window ends at the event's own time, whatever arrived before."""
    bank = Bank(COUNTS)
    bank.send(transaction(1, "10:00:00"), transaction(2, "10:00:05"))
    assert bank.one(transaction(3, "10:00:04"))["account.n_1h"] == 2
    assert bank.one(transaction(4, "10:00:05"))["account.n_1h"] == 4


def test_case_07_keys_are_equal_by_their_bytes() -> None:
    """The schema reads 1 as its digits; "01", "1.0" and a letter in the other case are other keys."""
    bank = Bank(COUNTS)
    keys = [1, "1", "01", "1.0", "a", "A"]
    seen = bank.send(*(transaction(n, "10:00:00", account=key) for n, key in enumerate(keys)))
    assert [one.features["account.n_1h"] for one in seen] == [1, 2, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"account": True}, "wrong_type account_id"),
        ({"account": 1.5}, "wrong_type account_id"),
        ({"account": " 1"}, "bad_id account_id"),
        ({"account": "\uff11"}, "bad_id account_id"),
        ({"amount": "abc"}, "bad_amount amount"),
        ({"amount": "inf"}, "bad_amount amount"),
        ({"amount": "NaN"}, "bad_amount amount"),
        ({"amount": float("nan")}, "bad_json"),
    ],
)
def test_case_07_what_is_no_key_or_number_enters_nothing(members: dict[str, object], code: str) -> None:
    """It is named as a dead letter and the windows go on without it."""
    bank = Bank(COUNTS)
    bank.send(transaction(1, "10:00:00"))
    (bad,) = bank.send(transaction(2, "10:00:01", **members))  # type: ignore[arg-type]
    assert bad.rejected == code
    assert bank.one(transaction(3, "10:00:02")) == {
        "account.n_1h": 2,
        "account.before_1h": 1,
        "account.sum_1h": 20_00,
    }


def test_case_08_the_same_id_with_another_body_is_an_event_of_its_own() -> None:
    """A correction under a used id is flagged and counted; it rewrites nothing."""
    bank = Bank(COUNTS)
    bank.send(transaction(1, "10:00:00", amount="10.00"))
    (corrected,) = bank.send(transaction(1, "10:00:01", amount="12.00"))
    assert "id_reuse" in corrected.flags
    assert bank.one(transaction(2, "10:00:02", amount="1.00"))["account.sum_1h"] == 23_00


def test_case_08_an_event_from_the_future_does_not_take_effect_early() -> None:
    """Two hours ahead of its record: it counts at the record's time, and nobody else becomes late."""
    bank = Bank(COUNTS)
    ten = 1_768_471_200_000
    (ahead,) = bank.send(transaction(1, "12:00:00"), record_times_ms=[ten])
    assert "clock_skew" in ahead.flags
    (now,) = bank.send(transaction(2, "10:00:01"), record_times_ms=[ten + 1_000])
    assert not now.flags
    assert now.features["account.n_1h"] == 2


def test_case_09_windows_that_share_a_border_keep_their_own_events() -> None:
    """At 12:00 one hour begins at 11:00, two at 10:00, three at 09:00, each excluded."""
    bank = Bank(
        "families:\n  account.f: {agg: [count, sum], of: txn.amount, key: account.id, window: [1h, 2h, 3h]}\n"
    )
    for number, at in enumerate(("09:00:00", "09:30:00", "10:00:00", "10:30:00", "11:00:00", "11:30:00")):
        bank.send(transaction(number, at, amount=f"{10**number}.00"))
    noon = bank.one(transaction(9, "12:00:00", amount="0.01"))
    assert {name: noon[f"account.f_{name}"] for name in ("count_1h", "count_2h", "count_3h")} == {
        "count_1h": 2,
        "count_2h": 4,
        "count_3h": 6,
    }
    assert noon["account.f_sum_1h"] == 100_000_01
    assert noon["account.f_sum_2h"] == 111_000_01
    assert noon["account.f_sum_3h"] == 111_110_01


def test_case_09_windows_in_panes_that_share_a_border_keep_their_own_events() -> None:
    """On the 15th at 12:30 two days begin at the 13th, 12:00, three at the 12th, 12:00, excluded."""
    bank = Bank(
        "families:\n  account.f: {agg: [count, sum], of: txn.amount, key: account.id, window: [2d, 3d]}\n"
    )
    times = ("12T12:00:00", "12T12:00:00.001", "13T12:00:00", "13T12:00:00.001", "13T12:29:00", "14T09:00:00")
    for number, at in enumerate(times):
        bank.send(transaction(number, f"2026-01-{at}Z", amount=f"{10**number}.00"))
    noon = bank.one(transaction(9, "12:30:00", amount="0.01"))
    assert (noon["account.f_count_2d"], noon["account.f_sum_2d"]) == (4, 111_000_01)
    assert (noon["account.f_count_3d"], noon["account.f_sum_3d"]) == (6, 111_110_01)


def test_case_10_an_event_beyond_the_lateness_has_no_features_and_makes_no_window() -> None:
    """Missing is not zero: no count of 0, and the next event in time does not see the late one."""
    bank = Bank(COUNTS)
    bank.send(transaction(1, "12:00:00"))
    (late,) = bank.send(transaction(2, "10:59:59.999"))
    assert late.flags == {"late"}
    assert set(late.features.values()) == {None}
    (just_in_time,) = bank.send(transaction(3, "11:00:00.000"))
    assert not just_in_time.flags
    assert just_in_time.features["account.n_1h"] == 1
    assert bank.one(transaction(4, "11:00:00.001"))["account.n_1h"] == 2


def test_case_11_an_empty_window() -> None:
    """Counts and sums of nothing are 0; whatever needs a value is missing; one value deviates by 0."""
    names = ("count", "sum", "mean", "std", "min", "max")
    bank = Bank(
        f"features:\n  a.idle: {{agg: since_last, key: account.id, window: 1h}}\n"
        f"  a.first: {{agg: first, of: txn.amount, key: account.id, window: 1h, current: exclude}}\n"
        f"  a.payees: {{agg: distinct, of: counterparty.id, key: account.id, window: 1h, max: 9}}\n"
        f"families:\n  a.f: {{agg: [{', '.join(names)}], of: txn.amount, key: account.id, window: [1h], "
        f"current: exclude}}\n"
    )
    first = bank.one(transaction(1, "10:00:00", amount="7.00"))
    assert [first[f"a.f_{name}_1h"] for name in names] == [0, 0, None, None, None, None]
    assert (first["a.idle"], first["a.first"], first["a.payees"]) == (None, None, 0)
    second = bank.one(transaction(2, "10:30:00", counterparty_id="c1"))
    assert [second[f"a.f_{name}_1h"] for name in names] == [1, 7_00, 7_00.0, 0.0, 7_00, 7_00]
    assert (second["a.idle"], second["a.first"], second["a.payees"]) == (1_800_000, 7_00, 1)
    third = bank.one(transaction(3, "11:30:00"))
    assert [third[f"a.f_{name}_1h"] for name in names] == [0, 0, None, None, None, None]


def test_case_12_one_filter_holds_for_every_aggregate_of_a_window() -> None:
    """Of 1, 2, 4 and 8 only 2 and 8 went out: n 2, sum 10, mean 5, deviation 3."""
    names = ("count", "sum", "mean", "std", "min", "max")
    bank = Bank(
        f"families:\n  a.f: {{agg: [{', '.join(names)}], of: txn.amount, key: account.id, window: [1h], "
        "where: {out: 'txn.direction == \"out\"'}}\n"
    )
    for number, (direction, amount) in enumerate((("in", 1), ("out", 2), ("in", 4))):
        bank.send(transaction(number, "10:00:00", amount=amount, direction=direction))
    last = bank.one(transaction(3, "10:00:01", amount=8))
    assert [last[f"a.f_{name}_out_1h"] for name in names] == [2, 10_00, 5_00.0, 3_00.0, 2_00, 8_00]


def test_case_16_a_trial_run_leaves_the_live_state_untouched() -> None:
    """What a copy of the state goes through is not seen by the original."""
    bank = Bank(COUNTS)
    bank.send(*(transaction(number, "10:00:00") for number in range(20)))
    before = bank.pipeline.state_hash()
    trial = Bank(COUNTS)
    trial.pipeline = Pipeline.restore(bank.pipeline.snapshot(), bank.pipeline.bundle, None)
    trial.send(*(transaction(number, "10:30:00") for number in range(20, 60)))
    assert bank.pipeline.state_hash() == before != trial.pipeline.state_hash()
    assert bank.one(transaction(99, "10:30:00"))["account.n_1h"] == 21


def test_case_18_without_its_widest_window_a_bank_needs_less_memory() -> None:
    """600 accounts in ten hours: 24 h keep all of them, 1 h and an hour of lateness keep a fifth."""
    wide = "features:\n  a.day:  {agg: count, key: account.id, window: 24h}\n"
    narrow = "features:\n  a.hour: {agg: count, key: account.id, window: 1h}\n"
    both, one = Bank(wide + narrow.removeprefix("features:\n")), Bank(narrow)
    records = [
        transaction(number, f"{number // 60:02d}:{number % 60:02d}:00", f"a{number}") for number in range(600)
    ]
    for bank in (both, one):
        for begin in range(0, 600, 20):
            bank.send(*records[begin : begin + 20])
    assert both.pipeline.store.keys == {"account.id": 600}
    assert one.pipeline.store.keys["account.id"] < 200
    assert len(one.pipeline.snapshot()) < len(both.pipeline.snapshot())


def test_case_19_keys_that_nobody_sees_again_are_evicted() -> None:
    """3,000 accounts in 50 hours, an hour's window: what is left is what the last two hours brought."""
    bank = Bank("features:\n  a.n: {agg: count, key: account.id, window: 1h}\n")
    for hour in range(50):
        when = f"2026-01-{15 + hour // 24}T{hour % 24:02d}"
        bank.send(
            *(transaction(f"{hour}.{n}", f"{when}:{n:02d}:00Z", account=f"a{hour}.{n}") for n in range(60))
        )
    # Two hours are visible; what is older goes as the walk over all keys comes by.
    assert 120 <= bank.pipeline.store.keys["account.id"] <= 300


RULE = """\
apiVersion: fraudstream/v1
kind: RuleSet
defaults: {owner: a@bank.example, timezone: UTC}
rules:
- id: night.idle
  title: first move after a pause, at night, while the campaign ran
  severity: low
  on: [payment]
  when: hour_in(event.time, 22, 6) and a.idle >= 1h
  effective: {until: 2026-02-01}
  action: alert
  score: 10
  reason: {en: "after {a.idle}"}
  tests:
  - {name: hit, given: {a.idle: 2h, event.time: 2026-01-15T23:00:00Z}, expect: {match: true}}
  - {name: miss, given: {a.idle: 1m, event.time: 2026-01-15T23:00:00Z}, expect: {match: false}}
"""


@pytest.mark.parametrize("arrived_ms", [1_769_990_400_000, 1_900_000_000_000])
def test_case_20_now_means_the_events_time(arrived_ms: int) -> None:
    """Records that arrive in February or in 2030 are judged as in January: window, hour and campaign."""
    bank = Bank("features:\n  a.idle: {agg: since_last, key: account.id}\n", rules=RULE)
    records = [
        transaction(1, "20:00:00"),
        transaction(2, "21:30:00"),  # before the night
        transaction(3, "23:00:00"),  # after 1 h 30 min, at night, in January
        transaction(4, "23:00:01"),
        transaction(5, "2026-02-01T00:00:00Z"),  # the campaign is over
    ]
    seen = bank.send(*records, record_times_ms=[arrived_ms] * 5)
    assert [one.features["a.idle"] for one in seen] == [None, 5_400_000, 5_400_000, 1_000, 1_385_999_000]
    assert [one.decision for one in seen] == ["pass", "pass", "alert", "pass", "pass"]
