"""The handbook's protocol, against what its text says and against its own counts."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from support.handbook import FIRST_S, make_table

from fraudstream.models.protocol import DAY_MS, card_precision, held_out, measure, roc_auc
from fraudstream.stream.handbook import read_table

DATA = os.environ.get("FRAUDSTREAM_HANDBOOK", "")


def naive_tested(table, begin_ms, days):
    """Transcribe `get_train_test_set` of the handbook's shared functions, row by row."""
    rows = list(zip(table.time_ms.tolist(), table.customer.tolist(), table.fraud.tolist(), strict=True))
    day = [(time - begin_ms) // DAY_MS for time, _, _ in rows]
    start = -14
    known = {c for (_, c, fraud), d in zip(rows, day, strict=True) if fraud and start <= d < start + 7}
    kept = [False] * len(rows)
    for at in range(days):
        known |= {c for (_, c, f), d in zip(rows, day, strict=True) if f and d == start + 7 + at - 1}
        for i, (_, c, _) in enumerate(rows):
            if day[i] == start + 7 + 7 + at and c not in known:
                kept[i] = True
    return kept


def test_known_cards_are_left_out_as_published():
    """On a small world, and not all are left out or in."""
    table = make_table()
    begin = (FIRST_S + 30 * 86_400) * 1000
    ours = held_out(table.transactions(), begin, 7)
    assert ours.tolist() == naive_tested(table, begin, 7)
    week = (table.time_ms >= begin) & (table.time_ms < begin + 7 * DAY_MS)
    assert 0 < ours.sum() < week.sum()


def test_area_under_the_roc_curve_is_the_share_of_pairs_in_order():
    """Ties count half."""
    random = np.random.default_rng(3)
    score, fraud = random.integers(0, 12, 200) / 7, random.random(200) < 0.2
    pairs = [(p > n) + (p == n) / 2 for p in score[fraud] for n in score[~fraud]]
    assert roc_auc(score, fraud) == pytest.approx(sum(pairs) / len(pairs), abs=1e-12)


def test_card_precision_counts_cards_a_day_and_forgets_those_found():
    """Two days, top two cards: A and B, of whom A is compromised; then A is gone, and B and C are left."""
    time = np.array([1, 2, 3, 4, DAY_MS + 1, DAY_MS + 2, DAY_MS + 3])
    card = np.array([1, 1, 2, 3, 1, 2, 3])
    fraud = np.array([False, True, False, False, True, False, True])
    score = np.array([0.9, 0.1, 0.8, 0.2, 0.99, 0.5, 0.4])
    assert card_precision(time, card, fraud, score, 2) == pytest.approx((1 / 2 + 1 / 2) / 2)


@pytest.mark.skipif(not DATA, reason="FRAUDSTREAM_HANDBOOK names no file of the handbook's transactions")
def test_counts_of_the_published_test_week():
    """58,264 transactions, 385 frauds, and 0.397 for a perfect scorer, as in the handbook."""
    table = read_table(Path(DATA))
    data = table.transactions()
    rows = held_out(data, int(np.datetime64("2018-08-08", "ms").astype(int)), 7)
    quality = measure(data, data.fraud.astype(float), rows)
    assert (quality.rows, quality.frauds) == (58_264, 385)
    assert quality.cp100 == pytest.approx(0.397, abs=5e-4)
