"""The Fraud Detection Handbook's protocol: which transactions are tested, and how a score is measured.

Source: Le Borgne, Siblini, Lebichot, Bontempi, Fraud Detection Handbook, chapters 3 and 4
(`get_train_test_set`, `performance_assessment`, `card_precision_top_k`). Training takes 7 days, labels come
7 days later, the test week follows; cards that labels have told are compromised are left out of the test.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraudstream.models.inputs import F64, I64

DAY_MS = 86_400_000
TRAIN_DAYS, DELAY_DAYS = 7, 7

Flags = NDArray[np.bool_]

SUSPECT_AP, SUSPECT_CP = 0.80, 0.32
"""At 7 days' delay an oracle that knows the scenarios reaches 0.79 and 0.313: beyond is a leak."""

PUBLISHED = {
    "decision tree, depth 2": (0.763, 0.496, 0.241),
    "logistic regression": (0.871, 0.606, 0.291),
    "random forest": (0.867, 0.658, 0.287),
    "XGBoost": (0.862, 0.639, 0.273),
}
"""Chapter 3, test week 2018-08-08 to 08-14: AUC ROC, average precision, card precision at 100."""


LABEL_OUTCOMES = ("learned", "repeated", "unmatched", "withheld")
"""Of a label: learned; says what is known; is about nothing that is kept; its source is in quarantine."""


class Transactions(NamedTuple):
    """Transactions in time order."""

    time_ms: I64
    card: I64
    fraud: Flags


class Quality(NamedTuple):
    """How well scores rank frauds."""

    auc: float
    ap: float
    cp100: float
    rows: int
    frauds: int


def held_out(data: Transactions, begin_ms: int, days: int) -> Flags:
    """Return which transactions are tested in ``days`` days from midnight ``begin_ms`` on."""
    day = (data.time_ms - begin_ms) // DAY_MS
    result = np.zeros(len(day), np.bool_)
    trained = (day >= -(TRAIN_DAYS + DELAY_DAYS)) & (day < -DELAY_DAYS)
    known = set(data.card[trained & data.fraud].tolist())
    for at in range(days):
        # As published: labels of the day before the one that is DELAY_DAYS old.
        known |= set(data.card[(day == at - DELAY_DAYS - 1) & data.fraud].tolist())
        result |= (day == at) & ~np.isin(data.card, np.array(sorted(known), np.int64))
    return result


def measure(data: Transactions, score: F64, rows: Flags) -> Quality:
    """Return AUC, AP and CP@100 of scores over the tested rows, day by day for the last."""
    fraud, value = data.fraud[rows], score[rows]
    return Quality(
        roc_auc(value, fraud),
        average_precision(value, fraud, np.ones(len(value))),
        card_precision(data.time_ms[rows], data.card[rows], fraud, value, 100),
        int(rows.sum()),
        int(fraud.sum()),
    )


def roc_auc(score: F64, positive: Flags) -> float:
    """Return the area under the ROC curve: the share of pairs in the right order, ties half."""
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    rank = np.cumsum(counts) - (counts - 1) / 2
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return float("nan")
    total = float(rank[inverse][positive].sum())
    return (total - positives * (positives + 1) / 2) / (positives * negatives)


def average_precision(score: F64, positive: Flags, weight: F64) -> float:
    """Return the area under the precision-recall curve as a step sum; rows with one score stand together."""
    order = np.argsort(-score, kind="stable")
    score, positive, weight = score[order], positive[order], weight[order]
    last = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)
    found = np.cumsum(weight * positive)[last]
    shown = np.cumsum(weight)[last]
    if not len(found) or found[-1] == 0:
        return float("nan")
    return float(np.sum(np.diff(found, prepend=0.0) * found / shown) / found[-1])


def card_precision(time_ms: I64, card: I64, fraud: Flags, score: F64, top: int) -> float:
    """Return the mean over days of the share of compromised cards among the ``top`` cards of the day.

    A card has the highest score of its transactions; one that was found is not looked at on later days.
    """
    day = time_ms // DAY_MS
    found: set[int] = set()
    shares = []
    for at in np.unique(day).tolist():
        rows = np.flatnonzero((day == at) & ~np.isin(card, np.array(sorted(found), np.int64)))
        cards, place = np.unique(card[rows], return_inverse=True)
        highest = np.full(len(cards), -np.inf)
        np.maximum.at(highest, place, score[rows])
        compromised = np.zeros(len(cards), np.bool_)
        np.logical_or.at(compromised, place, fraud[rows])
        best = np.argsort(-highest, kind="stable")[:top]
        hits = best[compromised[best]]
        shares.append(len(hits) / top)
        found |= set(cards[hits].tolist())
    return float(np.mean(shares)) if shares else float("nan")
