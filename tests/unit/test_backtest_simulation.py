"""Blocked payments that do not happen: the passes give what deciding one by one gives."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import orjson
import pytest
from support.backtests import candidate_of, run_stored
from support.worker_rules import SCHEMA, write_rules

from fraudstream.stream.backtest import layout
from fraudstream.stream.backtest.build import HASH_KEY, Source
from fraudstream.stream.backtest.layout import Kind
from fraudstream.stream.pipeline import Pipeline
from fraudstream.stream.wire.types import Slice

START_MS = 1_767_571_200_000
BLOCK = 2


@pytest.fixture(scope="module")
def rules(tmp_path_factory) -> Path:
    """Rules over counts and sums of an account, in a schema with the members that join events."""
    directory = write_rules(tmp_path_factory.mktemp("rules"), 4)
    more = (
        "  txn.original_id: {path: original_id, type: id}\n  txn.transfer_id: {path: transfer_id, type: id}\n"
    )
    (directory / "schema.yaml").write_text(SCHEMA + more)
    return directory


def events(count: int, seed: int) -> list[dict[str, object]]:
    """Return bursts of payments of a few accounts, with outcomes and second legs."""
    rng = random.Random(seed)
    now, made = START_MS, []
    for number in range(count):
        now += rng.randrange(1_000, 12 * 60_000)
        event: dict[str, object] = {
            "transaction_id": f"t{number}",
            "event_time": now,
            "event_type": "payment",
            "account_id": f"a{rng.randrange(3)}",
            "counterparty_id": f"c{rng.randrange(4)}",
            "amount": f"{rng.randrange(1, 4_000)}.00",
            "currency": "CNY",
        }
        kind = rng.random()
        earlier = [item for item in made[-12:] if item["event_type"] == "payment"]
        if kind < 0.2 and earlier:
            event |= {"event_type": "outcome", "original_id": rng.choice(earlier)["transaction_id"]}
        elif kind < 0.35:
            event["transfer_id"] = f"x{number}"
        elif kind < 0.5 and any("transfer_id" in item for item in earlier):
            event["transfer_id"] = next(item["transfer_id"] for item in earlier if "transfer_id" in item)
        made.append(event)
    return made


def one_by_one(rules: Path, log: list[dict[str, object]]) -> list[int | None]:
    """Decide each event after those that really happened before it; None: it did not happen."""
    bundle = candidate_of(rules, "none").bundle
    happened: list[bytes] = []
    ids: set[object] = set()
    transfers: set[object] = set()
    decisions: list[int | None] = []
    for event in log:
        if event.get("original_id") in ids or event.get("transfer_id", "-") in transfers:
            decisions.append(None)
            continue
        values = [*happened, orjson.dumps(event)]
        n = len(values)
        source = Slice.from_records(0, values, [None] * n, list(range(n)), [-1] * n)
        decision = int(Pipeline(0, HASH_KEY, bundle, None).process(source).outcome.decision[-1])
        decisions.append(decision)
        if decision == BLOCK and event["event_type"] == "payment":
            ids.add(event["transaction_id"])
            transfers.add(event.get("transfer_id", "?"))
        else:
            happened.append(values[-1])
    return decisions


@pytest.mark.parametrize("seed", [1, 2])
def test_passes_give_what_deciding_one_by_one_gives(rules, tmp_path, seed):
    """Every decision, and which records did not happen."""
    log = events(160, seed)
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"".join(orjson.dumps(event) + b"\n" for event in log))
    candidate = candidate_of(rules, "none")
    expected = one_by_one(rules, log)
    assert sum(item == BLOCK for item in expected) > 5
    assert sum(item is None for item in expected) > 5
    stored, _, decider = run_stored(tmp_path / "kept", Source(path, "raw"), candidate, simulated=True)
    rows = stored.runs.rows_of(np.zeros(len(log), np.int64), np.arange(len(log)))
    order = np.argsort(rows)
    kinds = np.empty(len(log), np.int64)
    kinds[order] = stored.numbers(layout.KIND, rows[order])
    decisions = decider.decide().of(rows)
    found = [
        None if kind == Kind.ABSENT else int(decision)
        for kind, decision in zip(kinds, decisions, strict=True)
    ]
    assert found == expected
    assert stored.manifest.absent == sum(item is None for item in expected)


def test_a_chain_of_blocks_is_over_counted_where_attempts_count(rules, tmp_path):
    """Payments every ten minutes: attempts block from the fourth on; else three of six are too many."""
    log = [
        {
            "transaction_id": f"t{number}",
            "event_time": START_MS + number * 600_000,
            "account_id": "a",
            "counterparty_id": "c",
            "amount": "1.00",
            "currency": "CNY",
        }
        for number in range(40)
    ]
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"".join(orjson.dumps(event) + b"\n" for event in log))
    candidate = candidate_of(rules, "none")
    blocks = {}
    for simulated in (False, True):
        _, _, decider = run_stored(tmp_path / "kept", Source(path, "raw"), candidate, simulated=simulated)
        blocks[simulated] = decider.rows[decider.decide().decision == BLOCK].tolist()
    assert blocks[False] == list(range(3, 40))
    # An hour holds six payments: three happen, three are blocked, and again.
    assert blocks[True] == [n for n in range(40) if n % 6 >= 3]
