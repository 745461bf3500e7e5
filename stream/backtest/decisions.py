"""Decisions from what rules matched: only rows with a match or a high score can be anything but pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fraudstream.rules.bundle import Bundle, Mode, Rule
from fraudstream.rules.compiler.ruleset import DeclaredRule
from fraudstream.stream.backtest import layout as at
from fraudstream.stream.backtest.evaluate import RuleRows, score_rows
from fraudstream.stream.backtest.limits import limited_rows
from fraudstream.stream.backtest.reader import FeatureLog
from fraudstream.stream.decide import DecidePlan, compile_plan, row_mask
from fraudstream.stream.kernel_decide import collect_matches, decide_rows

I64 = NDArray[np.int64]

BLOCK_ROWS = 1 << 16
"""Rows that are decided together: a mask of a rule is 8 KiB."""


@dataclass(frozen=True, slots=True)
class Decisions:
    """Decisions of the rows that could be anything but pass; the others are pass."""

    row: I64
    """[k] ascending."""
    decision: NDArray[np.uint8]
    score: NDArray[np.int32]

    def of(self, rows: I64) -> NDArray[np.uint8]:
        """Return the decisions of rows, uint8 [n]."""
        if not len(self.row):
            return np.zeros(len(rows), np.uint8)
        place = np.minimum(np.searchsorted(self.row, rows), len(self.row) - 1)
        return np.where(self.row[place] == rows, self.decision[place], 0).astype(np.uint8)


class Decider:
    """Decides rows under a bundle, with single rules put in force or out of it."""

    def __init__(
        self,
        log: FeatureLog,
        bundle: Bundle,
        matched: Mapping[str, RuleRows],
        rules: Sequence[DeclaredRule],
    ) -> None:
        """Look up what every decision may depend on.

        Args:
            log: where the rows are.
            bundle: rules, typologies and policy.
            matched: what each of its rules matched.
            rules: as declared.
        """
        self._bundle = bundle
        self._matched = matched
        self._limited = limited_rows(log, bundle, rules)
        self.plan = compile_plan(bundle)
        bands = bundle.policy.model_bands
        scored = score_rows(log, min(band.at_micro for band in bands)) if bands else np.zeros(0, np.int64)
        everything = [scored, *(item.full for item in matched.values())]
        self.rows = np.unique(np.concatenate(everything)) if everything else scored
        """Rows that a rule matched, shadow ones included, or that reach a model band."""
        self.score_micro = log.numbers(at.SCORE, self.rows)

    def decide(self) -> Decisions:
        """Return the decisions under the bundle."""
        return self._decide(self.plan, self.rows)

    def without(self, rule: str, rows: I64) -> Decisions:
        """Return the decisions of some rows as they were if a rule were not in force."""
        kept = tuple(item for item in self._bundle.rules if item.id != rule)
        return self._decide(compile_plan(replace(self._bundle, rules=kept)), rows)

    def live(self, rule: str, rows: I64) -> Decisions:
        """Return the decisions of some rows as they were if a shadow rule were live."""
        rules = tuple(
            replace(item, mode=Mode.LIVE) if item.id == rule else item for item in self._bundle.rules
        )
        return self._decide(compile_plan(replace(self._bundle, rules=rules)), rows)

    def _decide(self, plan: DecidePlan, rows: I64) -> Decisions:
        decision, score = np.zeros(len(rows), np.uint8), np.zeros(len(rows), np.int32)
        outputs = _outputs(plan.live, self._matched, self._limited)
        table = plan.rules.copy()
        table[:, 0] = np.arange(len(table))
        micro = self.score_micro[np.searchsorted(self.rows, rows)] if len(rows) else rows
        for begin in range(0, len(rows), BLOCK_ROWS):
            part = rows[begin : begin + BLOCK_ROWS]
            n = len(part)
            masks = np.zeros((len(outputs), -(-n // 64)), np.uint64)
            for number, matches in enumerate(outputs):
                near = matches[slice(*np.searchsorted(matches, [part[0], part[-1] + 1]))]
                found = np.zeros(n, np.bool_)
                place = np.searchsorted(part, near)
                found[place[part[np.minimum(place, n - 1)] == near]] = True
                masks[number] = row_mask(found)
            active = row_mask(np.ones(n, np.bool_))
            first, matched = collect_matches(masks, active, table, n)
            allowed = np.empty(n, np.uint8)
            decide_rows(
                first,
                matched,
                active,
                micro[begin : begin + n],
                table,
                plan.typologies,
                plan.bands,
                decision[begin : begin + n],
                score[begin : begin + n],
                allowed,
            )
        return Decisions(rows, decision, score)


def _outputs(live: Sequence[Rule], matched: Mapping[str, RuleRows], limited: Mapping[str, I64]) -> list[I64]:
    """Return the rows of each entry of a plan: a rule, or one of the parts on which it acts.

    A rule with a limit has two entries for each part: what it blocks, and what it only alerts.
    """
    twice = {entry.id for entry in live if entry.limited}
    seen: Counter[str] = Counter()
    out: list[I64] = []
    for entry in live:
        found = matched[entry.id]
        part = seen[entry.id] // (2 if entry.id in twice else 1)
        seen[entry.id] += 1
        rows = found.acts[part] if found.acts else found.full
        if entry.id in twice:
            held = limited.get(entry.id, rows[:0])
            both = np.intersect1d(rows, held, assume_unique=True)
            rows = both if entry.limited else np.setdiff1d(rows, both, assume_unique=True)
        out.append(rows)
    return out
