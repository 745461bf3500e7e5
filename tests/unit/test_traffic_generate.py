"""The generator: the same seed gives the same bank, and the bank looks like one."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable

import numpy as np
import pytest
from support.schemas import default_schema

from fraudstream.bench.traffic.fraud import PATTERNS
from fraudstream.bench.traffic.generate import START_MS, generate, usual_accounts
from fraudstream.bench.traffic.records import Chunk
from fraudstream.stream.wire.decode import decode
from fraudstream.stream.wire.tables import compile_schema
from fraudstream.stream.wire.types import Slice


def digest(chunks: Iterable[Chunk]) -> str:
    """Hash everything that comes out."""
    state = hashlib.sha256()
    for chunk in chunks:
        for key, value in zip(chunk.keys, chunk.values, strict=True):
            state.update(key + value)
        state.update(chunk.times_ms.tobytes())
        for label in chunk.labels:
            state.update(label.encode())
    return state.hexdigest()


def test_same_seed_gives_the_same_bytes() -> None:
    """Two runs with one seed are equal; another seed is another bank."""
    assert digest(generate(3000, 5)) == digest(generate(3000, 5))
    assert digest(generate(3000, 5)) != digest(generate(3000, 6))


def test_bytes_of_a_seed_never_change_unnoticed() -> None:
    """The bytes of one seed are pinned: reports and calibrations name seeds."""
    assert digest(generate(2000, 1)) == "35b233835eb19d6a13bb738b6ab1f3724f030daa7c1b22f832841aab7be85c6a"


def test_a_shorter_log_is_the_beginning_of_a_longer_one() -> None:
    """Count cuts the log and changes nothing before the cut."""
    short = [value for chunk in generate(1500, 8, accounts=60) for value in chunk.values]
    long = [value for chunk in generate(4000, 8, accounts=60) for value in chunk.values]
    assert len(short) == 1500
    assert long[:1500] == short


def test_events_come_in_order_of_event_time_from_the_start() -> None:
    """Event times never go back, also across chunks, and records carry the chunk's times."""
    times = np.concatenate([chunk.times_ms for chunk in generate(20_000, 3)])
    assert (np.diff(times) >= 0).all()
    assert times[0] >= START_MS
    moved = next(iter(generate(10, 3, start_ms=START_MS + 86_400_000)))
    assert moved.times_ms[0] >= START_MS + 86_400_000
    first = json.loads(moved.values[0])
    assert np.datetime64(first["event_time"][:-1], "ms").astype("i8") == moved.times_ms[0]


def test_rates_are_those_of_the_reference_bank() -> None:
    """6.5 events an account and day, within a tenth."""
    for count, accounts in ((60_000, None), (60_000, 2500)):
        times = np.concatenate([chunk.times_ms for chunk in generate(count, 4, accounts=accounts)])
        days = (times[-1] - START_MS) / 86_400_000
        rate = count / days / (accounts or usual_accounts(count))
        assert 5.85 < rate < 7.15
    assert usual_accounts(10**9) == 400_000


def test_every_record_is_readable_under_the_default_schema() -> None:
    """No generated record is rejected, no position or constant is undeclared, and money has its currency."""
    tables = compile_schema(default_schema())
    values = [value for chunk in generate(30_000, 2) for value in chunk.values]
    n = len(values)
    batch = decode(Slice.from_records(0, values, [None] * n, range(n), [-1] * n), tables, bytes(16))
    assert not batch.rejected
    assert not batch.missing
    assert len(batch) == n


def test_ids_are_unique_and_outcomes_name_an_earlier_attempt() -> None:
    """Transaction ids occur once; every declined outcome repeats amount and keys of its original."""
    seen: dict[str, dict[str, object]] = {}
    outcomes = 0
    for chunk in generate(30_000, 11):
        for value in chunk.values:
            event = json.loads(value)
            assert event["transaction_id"] not in seen
            seen[event["transaction_id"]] = event
            if event["event_type"] == "outcome":
                outcomes += 1
                original = seen[event["original_id"]]
                assert event["status"] == "declined"
                for name in ("account_id", "card_id", "amount", "currency", "merchant_id"):
                    assert event.get(name) == original.get(name)
    assert outcomes > 100


def test_both_legs_of_a_transfer_share_its_id() -> None:
    """A transfer inside the bank is two events with one transfer id and swapped parties."""
    legs: dict[str, list[dict[str, str]]] = defaultdict(list)
    for chunk in generate(20_000, 12):
        for value in chunk.values:
            event = json.loads(value)
            if "transfer_id" in event:
                legs[event["transfer_id"]].append(event)
    pairs = [pair for pair in legs.values() if len(pair) == 2]
    assert len(pairs) > 500
    assert len(legs) - len(pairs) <= 2  # cut off at the end of the log
    for out, into in pairs:
        assert (out["direction"], into["direction"]) == ("out", "in")
        assert (out["account_id"], out["counterparty_id"]) == (into["counterparty_id"], into["account_id"])
        assert out["amount"] == into["amount"]


def test_balances_follow_the_money() -> None:
    """Between two events of an account its balance moves by the first one's amount, unless that failed."""
    last: dict[str, tuple[str, float]] = {}
    declined = set()
    events = [json.loads(value) for chunk in generate(20_000, 13) for value in chunk.values]
    for event in events:
        if event["event_type"] == "outcome":
            declined.add(event["original_id"])
    checked = 0
    for event in events:
        if event["event_type"] not in ("payment", "card_auth"):
            continue
        account = event["account_id"]
        if event["currency"] != "CNY":
            last.pop(account, None)
            continue
        if account in last and last[account][0] not in declined:
            assert float(event["balance_before"]) == pytest.approx(last[account][1], abs=0.011)
            checked += 1
        sign = 1 if event["direction"] == "in" else -1
        after = float(event["balance_before"]) + sign * float(event["amount"])
        last[account] = (event["transaction_id"], after)
    assert checked > 5000


def test_labels_name_attempts_of_fraud_and_innocent_lookalikes() -> None:
    """Every pattern occurs, fraud labels are money events, and labels come after their event."""
    count = 150_000
    fraud: Counter[str] = Counter()
    innocent: Counter[str] = Counter()
    for chunk in generate(count, 14):
        for label in chunk.labels:
            row = label.offset - chunk.offset
            event = json.loads(chunk.values[row])
            assert event["transaction_id"] == label.transaction_id
            assert event["event_type"] in ("payment", "card_auth")
            assert label.labelled_at_ms > chunk.times_ms[row]
            (fraud if label.fraud else innocent)[label.pattern] += 1
    assert set(fraud) == {pattern.name for pattern in PATTERNS}
    assert len(innocent) >= 6
    assert not set(fraud) & set(innocent)
    assert 0.0025 < sum(fraud.values()) / count < 0.0065


def test_label_is_the_contract_s_json() -> None:
    """A label record has the contract's members, plus the pattern for evaluation."""
    label = next(label for chunk in generate(20_000, 3) for label in chunk.labels if label.fraud)
    record = json.loads(label.encode())
    assert record["label"] == "fraud"
    assert record["src"] == f"0:{label.offset}"
    assert set(record) == {
        *("transaction_id", "src", "account_id", "label", "labelled_at", "source", "by"),
        "pattern",
    }
    assert json.loads(label.encode("3:17"))["src"] == "3:17"


def test_payments_carry_the_day_of_the_holders_last_doing_as_of_last_night() -> None:
    """What an earlier day's own events of the account say, and never the day itself; sleepers wake once."""
    last: dict[str, dict[int, None]] = defaultdict(dict)
    compared = woken = 0
    for chunk in generate(30_000, 17):
        for value, time in zip(chunk.values, chunk.times_ms.tolist(), strict=True):
            event = json.loads(value)
            account, today = event["account_id"], (time + 8 * 3_600_000) // 86_400_000
            out = event["event_type"] == "payment" and event["direction"] == "out"
            assert ("last_active" in event) == out
            if out:
                said = int(np.datetime64(event["last_active"], "D").astype("i8"))
                before = [day for day in last[account] if day < today]
                assert said == max(before) if before else said < today
                compared += bool(before)
                woken += today - said > 180
            if event.get("direction") != "in" and event["event_type"] != "outcome":
                last[account][today] = None
    assert compared > 3_000
    assert woken > 3


def test_ids_of_fraud_look_like_all_others() -> None:
    """No shape of a value tells fraud from ordinary life: every id of fraud has a common pattern."""
    ordinary: dict[str, set[tuple[int, str]]] = defaultdict(set)
    suspect: dict[str, set[tuple[int, str]]] = defaultdict(set)
    members: dict[bool, set[str]] = {False: set(), True: set()}
    for chunk in generate(60_000, 15):
        marked = {label.offset - chunk.offset for label in chunk.labels if label.fraud}
        for row, value in enumerate(chunk.values):
            event = json.loads(value)
            members[row in marked] |= set(event)
            for name in ("transaction_id", "device_id", "counterparty_id", "merchant_id", "channel", "kind"):
                text = event.get(name, "")
                shape = (len(text), text[:4] if name in ("counterparty_id", "channel", "kind") else text[:1])
                (suspect if row in marked else ordinary)[name].add(shape)
    assert members[True] <= members[False]
    for name, shapes in suspect.items():
        assert shapes <= ordinary[name], name


def test_nights_are_quiet() -> None:
    """People sleep: the hours from 2 to 5 see a fraction of the evening's card payments."""
    hours: Counter[int] = Counter()
    for chunk in generate(60_000, 16):
        for value, time in zip(chunk.values, chunk.times_ms.tolist(), strict=True):
            local = time + 8 * 3_600_000
            if b'"card_auth"' in value:
                hours[local // 3_600_000 % 24] += 1
    assert sum(hours[h] for h in (2, 3, 4)) < 0.2 * sum(hours[h] for h in (18, 19, 20))


def test_bad_arguments_are_refused() -> None:
    """A bank without accounts makes no traffic."""
    with pytest.raises(ValueError, match="accounts at least 20"):
        next(iter(generate(10, 1, accounts=3)))
