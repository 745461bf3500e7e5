"""What a slice adds to the metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fraudstream.rules.bundle import Bundle, Type
from fraudstream.stream.decide import RuleCounts
from fraudstream.stream.enrichment.store import OUTCOMES, Joined
from fraudstream.stream.kernel_rows import COUNTS, DECISIONS, FIRST_AMOUNT, FIRST_FLAG, count_rows
from fraudstream.stream.outcome import FLAG_NAMES, Decision, Flag, Outcome
from fraudstream.stream.per_slice import per_slice
from fraudstream.stream.wire.types import Rejected

AMOUNT_FIELD = "txn.amount"
"""The money of ``Counts.amount_minor``, if the schema has it."""
DECISION_NAMES = tuple(kind.name.lower() for kind in Decision)
_NOTHING: Mapping[str, int] = {}
_MALFORMED = FIRST_FLAG + FLAG_NAMES.index(str(Flag.MALFORMED.name).lower())


@per_slice(frozen=True, slots=True)
class Counts:
    """What a slice adds to the metrics; only rows decided here count."""

    records: int
    words: NDArray[np.int64]
    """[COUNTS] decisions, flags, sums of base-currency amounts by decision, duplicates left out."""
    has_amount: bool
    """The schema has the money of ``amount_minor``."""
    dead_letters: Mapping[str, int]
    """By code."""
    fields_missing: Mapping[tuple[str, str], int]
    """By field and cause; all rows of the slice."""
    rules: RuleCounts
    """In the order of ``Bundle.rules``."""
    tables: Sequence[str]
    """Reference tables."""
    table_counts: NDArray[np.int64]
    """[tables, outcomes]; all rows of the slice."""

    @property
    def decisions(self) -> Mapping[str, int]:
        """Return the number of each decision."""
        return dict(zip(DECISION_NAMES, self.words[:DECISIONS].tolist(), strict=True))

    @property
    def flags(self) -> Mapping[str, int]:
        """Return the number of each flag."""
        return dict(zip(FLAG_NAMES, self.words[FIRST_FLAG:FIRST_AMOUNT].tolist(), strict=True))

    @property
    def amount_minor(self) -> Mapping[str, int]:
        """Return the sum of base-currency amounts by decision, duplicates left out."""
        if not self.has_amount:
            return {}
        return dict(zip(DECISION_NAMES, self.words[FIRST_AMOUNT:].tolist(), strict=True))

    @property
    def joins(self) -> Mapping[tuple[str, str], int]:
        """Return the lookups by reference table and outcome."""
        return {
            (table, word): value
            for table, row in zip(self.tables, self.table_counts.tolist(), strict=True)
            for word, value in zip(OUTCOMES, row, strict=True)
        }


def amount_column(bundle: Bundle) -> int:
    """Return the column of the money that is summed up, -1: the schema has none."""
    slot = bundle.slots.get(AMOUNT_FIELD)
    return -1 if slot is None or slot.type is not Type.MONEY else slot.column


def count_slice(
    amount: int,
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
        amount: of :func:`amount_column`.
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
    words = np.zeros(COUNTS, np.int64)
    count_rows(wanted, batch.row, active, outcome.decision, outcome.flags, batch.value, amount, words)
    codes = _NOTHING
    if dead_letters:
        words[malformed_as] += len(dead_letters)
        words[_MALFORMED] += len(dead_letters)
        codes = Counter(item.code for item in dead_letters)
    return Counts(len(wanted), words, amount >= 0, codes, batch.missing, rules, tables, joined.counts)
