"""Scorecards score the points that their author wrote down."""

from __future__ import annotations

import numpy as np
import pytest

from fraudstream.models.file import dump_models, load_model
from fraudstream.models.inputs import Input, ModelError
from fraudstream.models.scorecard import read_scorecard

CARD = """\
kind: Scorecard
id: atm_cash_out
owner: card risk
purpose: cash taken out in a hurry
events: [payment]
where: {txn.channel: [atm]}
score: {points: 600, odds: 0.01, double: 50}
base: 400
characteristics:
  - input: account.sent_count_1h
    bins: [{below: 2, points: 0}, {below: 6, points: 60}, {points: 140}]
    missing: 20
  - input: {name: txn.amount, transform: ratio, argument: account.sent_mean_30d}
    bins: [{below: 1.5, points: -10}, {points: 35}]
"""


def test_points_add_up_and_double_the_odds():
    """600 points are odds of 1:100; 50 points more are 2:100. A bound belongs to the bin above it."""
    member = read_scorecard(CARD.encode())
    assert (member.on, dict(member.where)) == (("payment",), {"txn.channel": ("atm",)})
    assert member.inputs[1] == Input("txn.amount", "ratio", "account.sent_mean_30d")
    model = load_model(dump_models([member]))
    rows = [  # count, ratio, points
        (0, 1.0, 400 + 0 - 10),
        (1.999, 1.4999, 400 + 0 - 10),
        (2, 1.5, 400 + 60 + 35),
        (5, 1.0, 400 + 60 - 10),
        (6, 9.0, 400 + 140 + 35),
        (None, 9.0, 400 + 20 + 35),
        (6, None, 400 + 140 + 0),
    ]
    x = np.array([[0.0 if v is None else v for v in row[:2]] for row in rows])
    present = np.array([[v is not None for v in row[:2]] for row in rows]).astype(np.uint8)
    odds = np.array([0.01 * 2 ** ((points - 600) / 50) for *_, points in rows])
    ours = model.probability(x, present, np.ones(len(rows), np.uint8))
    np.testing.assert_allclose(ours, odds / (1 + odds), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("kind: Scorecard", "kind: Pickle", "expected a document with `kind: Scorecard`"),
        ("owner: card risk", "boss: card risk", "lacks `owner`"),
        ("below: 6", "below: 2", "`below` of `account.sent_count_1h` does not rise"),
        ("{points: 140}", "{below: 9, points: 140}", "unknown member `below`"),
        ("double: 50", "double: 0", "`score.double` was 0"),
        ("points: 35", "points: .inf", "not finite"),
        ("transform: ratio", "transform: eval", "has transform `eval`"),
        ("purpose: cash", "purpose: !!python/object cash", "no anchors, aliases or tags"),
        ("base: 400", "base: [", "scorecard is not YAML"),
    ],
)
def test_a_mistake_is_named(before, after, message):
    """One change to a good card, one message."""
    with pytest.raises(ModelError, match=message):
        read_scorecard(CARD.replace(before, after).encode())
