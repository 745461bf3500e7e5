"""Workloads are what their ids promise: frozen bytes, features, rules and traffic."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from support.windows import DAY, HOUR, MINUTE

from fraudstream.bench.traffic.records import Chunk
from fraudstream.bench.workloads import WORKLOADS, streams
from fraudstream.models.file import load_model
from fraudstream.rules.bundle import Bundle
from fraudstream.rules.compiler.compile import compile_sources

W1A = "9431c421f189f59a6a2e795d4a85d0f8099d4b404ae3b24d54a690c721eddb9f"


@pytest.fixture(scope="module", params=["", "exact"])
def seed_scale(request: pytest.FixtureRequest) -> Bundle:
    """Return W2 with the engine's resolution of long windows, and with whole histories."""
    compiled = compile_sources(WORKLOADS["W2"].files(request.param))
    assert compiled.bundle is not None, compiled.errors[:3]
    assert not compiled.diagnostics
    return compiled.bundle


def test_w1a_is_frozen() -> None:
    """Reports of different years are about the same bytes."""
    workload = WORKLOADS["W1a"]
    assert workload.model is not None
    digest = hashlib.sha256()
    for name, content in sorted(workload.files("").items()):
        digest.update(name.encode() + content)
    digest.update(workload.model())
    assert digest.hexdigest() == W1A


def test_w1_has_the_features_of_w1a_with_longer_windows() -> None:
    """The same aggregates over the same keys; the champion reads what is declared."""
    features = []
    for name in ("W1a", "W1"):
        compiled = compile_sources(WORKLOADS[name].files(""))
        assert compiled.bundle is not None, compiled.errors[:3]
        assert len(compiled.bundle.rules) == 200
        features.append(compiled.bundle.features.features)
        model = WORKLOADS[name].model
        assert model is not None
        inputs = {item.name for item in load_model(model()).inputs}
        assert inputs == {"txn.amount", *(item.name for item in features[-1])}
    first, second = features
    assert [(f.agg, f.key, f.of, f.where) for f in first] == [(f.agg, f.key, f.of, f.where) for f in second]
    longer = {MINUTE: MINUTE, 10 * MINUTE: HOUR, HOUR: DAY, 6 * HOUR: 7 * DAY, DAY: 30 * DAY}
    assert [f.window_ms for f in second] == [longer[f.window_ms or 0] for f in first]


def test_w2_has_1900_indicators_over_seven_kinds_of_key(seed_scale: Bundle) -> None:
    """252 + 14 + 2 + 3 for each kind, and three more."""
    features = seed_scale.features.features
    assert len({item.name for item in features}) == 1_900
    kinds = Counter("+".join(item.key) for item in features)
    assert kinds == {
        "account.id": 272, "customer.id": 272, "device.id": 272, "txn.ip": 271, "merchant.id": 271,
        "counterparty.id": 271, "account.id+counterparty.id": 271,
    }  # fmt: skip
    assert max(item.window_ms or 0 for item in features) == 30 * DAY


def test_every_indicator_of_w2_is_read_by_a_rule(seed_scale: Bundle) -> None:
    """Nothing may be skipped because nobody looks at it."""
    assert len(seed_scale.rules) == 2_000
    read = {slot.name for rule in seed_scale.rules for slot in rule.reads}
    assert {item.name for item in seed_scale.features.features} <= read


def small(name: str, count: int) -> Chunk:
    """Return the beginning of a workload's traffic with fewer accounts, which are dear to make."""
    chunks = list(replace(WORKLOADS[name], accounts=4_000).traffic(count))
    values = [value for chunk in chunks for value in chunk.values]
    return Chunk(values, [key for chunk in chunks for key in chunk.keys], np.zeros(0, np.int64), [], 0)


@pytest.mark.parametrize("name", ["W1", "W3", "W4", "W6"])
def test_a_shorter_log_is_the_beginning_of_a_longer_one(name: str) -> None:
    """No workload's traffic depends on luck or on how much of it is asked for."""
    short, long = small(name, 500), small(name, 3_000)
    assert short.values == long.values[:500]
    assert json.loads(short.values[0])["event_time"].startswith("2026-01-01T00:")


def test_w3_has_half_its_traffic_on_one_account_and_one_merchant() -> None:
    """Records with a merchant go to the hot one; the key follows the account."""
    chunk = small("W3", 4_000)
    events = [json.loads(value) for value in chunk.values]
    hot = [one["account_id"] == streams.HOT_ACCOUNT.decode() for one in events]
    assert abs(sum(hot) / len(hot) - 0.5) < 0.05
    assert [one["account_id"].encode() for one in events] == chunk.keys
    merchants = {one.get("merchant_id") for one, is_hot in zip(events, hot, strict=True) if is_hot}
    assert merchants == {None, streams.HOT_MERCHANT.decode()}
    rest = {one.get("merchant_id") for one, is_hot in zip(events, hot, strict=True) if not is_hot}
    assert streams.HOT_MERCHANT.decode() not in rest


def test_w4_has_thirty_percent_of_accounts_seen_once() -> None:
    """Account, customer and card of those records are nobody else's."""
    chunk = small("W4", 4_000)
    events = [json.loads(value) for value in chunk.values]
    new = [one for one in events if one["account_id"].startswith("622203")]
    assert abs(len(new) / len(events) - 0.3) < 0.05
    assert max(Counter(one["account_id"] for one in new).values()) == 1
    assert max(Counter(one["customer_id"] for one in new).values()) == 1
    assert max(Counter(one["card_id"] for one in new if "card_id" in one).values()) == 1
    assert [one["account_id"].encode() for one in events] == chunk.keys
