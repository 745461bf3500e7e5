"""What a slice adds to the metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fraudstream.rules.bundle import Bundle, Type
from fraudstream.stream.decide import RuleCounts
from fraudstream.stream.enrichment.store import OUTCOMES, Joined
from fraudstream.stream.outcome import FLAG_NAMES, Decision, Outcome
from fraudstream.stream.wire.types import Batch, Rejected

AMOUNT_FIELD = "txn.amount"
"""The money of ``Counts.amount_minor``, if the schema has it."""
DECISION_NAMES = tuple(kind.name.lower() for kind in Decision)


@dataclass(frozen=True, slots=True)
class Counts:
    """What a slice adds to the metrics, as plain integers; only rows decided here count."""

    records: int
    decisions: Mapping[str, int]
    flags: Mapping[str, int]
    dead_letters: Mapping[str, int]
    """By code."""
    fields_missing: Mapping[tuple[str, str], int]
    """By field and cause; all rows of the slice."""
    amount_minor: Mapping[str, int]
    """Sum of base-currency amounts by decision, duplicates left out."""
    rules: RuleCounts
    """In the order of ``Bundle.rules``."""
    joins: Mapping[tuple[str, str], int]
    """By reference table and outcome; all rows of the slice."""


def count_slice(
    bundle: Bundle,
    joined: Joined,
    tables: Sequence[str],
    outcome: Outcome,
    rules: RuleCounts,
    active: NDArray[np.bool_],
    wanted: NDArray[np.bool_],
    dead_letters: Sequence[Rejected],
    malformed_as: int,
) -> Counts:
    """Count a slice of N records with n readable rows.

    Args:
        bundle: in force.
        joined: the batch with the columns of reference tables.
        tables: names of the tables, in order.
        outcome: what was decided, [n].
        rules: what the rules counted.
        active: [n] neither duplicate nor published before.
        wanted: [N] decided here.
        dead_letters: unreadable records that are decided here.
        malformed_as: the decision about these.
    """
    batch = joined.batch
    mine = wanted[batch.row]
    kinds = np.bincount(outcome.decision[mine], minlength=len(DECISION_NAMES)).tolist()
    kinds[malformed_as] += len(dead_letters)
    flags = dict.fromkeys(FLAG_NAMES, 0)
    for bits in outcome.flags[mine & (outcome.flags != 0)].tolist():
        for bit, name in enumerate(FLAG_NAMES):
            flags[name] += bits >> bit & 1
    flags["malformed"] += len(dead_letters)
    return Counts(
        records=len(wanted),
        decisions=dict(zip(DECISION_NAMES, kinds, strict=True)),
        flags=flags,
        dead_letters=Counter(item.code for item in dead_letters),
        fields_missing=batch.missing,
        amount_minor=_amounts(bundle, batch, outcome, active),
        rules=rules,
        joins={
            (table, word): value
            for table, row in zip(tables, joined.counts.tolist(), strict=True)
            for word, value in zip(OUTCOMES, row, strict=True)
        },
    )


def _amounts(bundle: Bundle, batch: Batch, outcome: Outcome, active: NDArray[np.bool_]) -> dict[str, int]:
    slot = bundle.slots.get(AMOUNT_FIELD)
    if slot is None or slot.type is not Type.MONEY:
        return {}
    amount = np.where(active, batch.value[slot.column], 0)
    stopped = np.flatnonzero(outcome.decision)
    sums = [0] * len(DECISION_NAMES)
    for kind, value in zip(outcome.decision[stopped].tolist(), amount[stopped].tolist(), strict=True):
        sums[kind] += value
    sums[Decision.PASS] = int(amount.sum()) - sum(sums)
    return dict(zip(DECISION_NAMES, sums, strict=True))
