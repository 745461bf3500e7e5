"""Rules over stored features decide like the full replay of the log."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.backtests import candidate_of, replayed, run_stored, write_log
from support.logs import rough_log, small_model

from fraudstream.stream.backtest import layout
from fraudstream.stream.backtest.build import Source
from fraudstream.stream.backtest.layout import Kind
from fraudstream.stream.backtest.reader import words_of
from fraudstream.stream.shipped import shipped_rules


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A rough log with duplicates, disorder and unreadable records, in a file."""
    return tmp_path_factory.mktemp("backtest")


@pytest.fixture(scope="module")
def source(site) -> Source:
    """The log."""
    return write_log(site / "log.envelopes", rough_log(15_000))


@pytest.mark.parametrize("model", ["none", "small"])
def test_stored_rows_decide_like_the_replay(site, source, model):
    """Decision and score of every record, matches and unknown of every rule."""
    candidate = candidate_of(shipped_rules(), "none")
    if model == "small":
        candidate = replace(candidate, model=small_model(1.0))
    expected = replayed(candidate, rough_log(15_000))
    log, matched, decider = run_stored(site / model, source, candidate)
    assert log.rows == len(rough_log(15_000))
    decisions = decider.decide()
    rows = log.runs.rows_of(np.zeros(len(expected.offset), np.int64), expected.offset)
    assert (rows >= 0).all()
    first = rows.copy()
    repeats = ~expected.decided
    first[repeats] = log.numbers(layout.DUPLICATE_OF, rows)[repeats]
    assert np.array_equal(decisions.of(first), expected.decision)
    assert len(set(expected.decision.tolist())) == 3
    plain = ~np.isin(first, decisions.row)
    micro = log.numbers(layout.SCORE, rows)
    place = np.searchsorted(decisions.row, first[~plain])
    assert np.array_equal(decisions.score[place], expected.score[~plain])
    assert (expected.score[plain & (micro < 0) & expected.decided] == 0).all()
    for rule, found in matched.items():
        assert len(found.full) == expected.true[rule], rule
        assert found.unknown == expected.unknown[rule], rule
        assert found.evaluated == expected.evaluated[rule], rule
    assert sum(expected.true.values()) > 100
    kinds = np.concatenate(
        [
            words_of(table.column(layout.KIND), group.rows)[0]
            for group, table in log.tables([layout.KIND], log.groups)
        ]
    )
    assert (kinds == Kind.UNREADABLE).sum() == len(rough_log(15_000)) - len(expected.offset)
    assert (kinds == Kind.DUPLICATE).sum() == repeats.sum()
