"""What rules remember: limits that were exceeded, and alerts that stand for those that follow.

State like windows: of event time, in log order, part of snapshots, the same on replay. A rule keeps its state
under other bundles while its ``limits`` (or the key of its ``suppress``) stay as they are; changed ones, a
raised ``reset`` among them, begin anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from fraudstream.rules.bundle import Action, Bundle, Mode, Rule
from fraudstream.stream import kernel_limits as kernel

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]

PRUNE_MIN = 1_024
"""Entries from which on those that stand for nothing any more are looked for."""

Key = tuple[str, str, str]
"""Rule, names of its key's fields, the key's words."""


def limited_rules(bundle: Bundle) -> tuple[Rule, ...]:
    """Return the acting rules with a limit, in the order of the masks that :meth:`Brakes.judge` gives."""
    return tuple(
        rule
        for rule in bundle.rules
        if rule.limit is not None and rule.mode in (Mode.LIVE, Mode.CANARY) and rule.action is Action.BLOCK
    )


class Brakes:
    """The limits and suppressions of one partition under one bundle."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._rules = limited_rules(bundle)
        self._suppressing = {rule.id: _key_names(rule) for rule in bundle.rules if rule.suppress is not None}
        self._lateness_ms = bundle.features.time.allowed_lateness_ms
        acts: list[int] = []
        rows: list[tuple[int, ...]] = []
        for rule in self._rules:
            assert rule.limit is not None
            limit = rule.limit
            pane_ms = -(-limit.per_ms // kernel.PANES)
            rows.append((rule.gate, pane_ms, limit.share_ppm, limit.min_count, len(acts)))
            acts += [effect.output for effect in rule.effects]
        self._plan = np.array(rows, np.int64).reshape(-1, 5)
        self._acts = np.array(acts, np.int64)
        self._state = np.zeros((len(rows), kernel.STATE), np.int64)
        self._state[:, : kernel.SEEN] = kernel.NOTHING
        self._alerted: dict[Key, tuple[int, int]] = {}
        """When a key was alerted about, and until when that stands; both of event time."""
        self._prune_at = PRUNE_MIN

    @property
    def needed(self) -> bool:
        """Return whether rows that are only replayed have to be evaluated, too."""
        return bool(self._rules or self._suppressing)

    @property
    def suppressing(self) -> bool:
        """Return whether some rule has ``suppress``."""
        return bool(self._suppressing)

    @property
    def tripped(self) -> dict[str, int]:
        """Return the rules whose blocks are alerts now, and since which event time."""
        since = self._state[:, kernel.TRIPPED].tolist()
        return {rule.id: at for rule, at in zip(self._rules, since, strict=True) if at != kernel.NOTHING}

    def judge(self, true: U64, counted: U64, as_of_ms: I64) -> U64:
        """Count rows in log order; return uint64 [limited rules, W], blocks that are alerts."""
        limited = np.zeros((len(self._rules), len(counted)), np.uint64)
        if len(limited):
            kernel.judge(true, counted, as_of_ms, self._plan, self._acts, self._state, limited)
        return limited

    def repeats(
        self, causes: Sequence[Rule | None], alert: bool, words: Mapping[str, str], at_ms: int
    ) -> bool:
        """Note an alert or block that is due and return whether it only repeats: then it is suppressed.

        Args:
            causes: rules that ask for it; None among them: something that no rule's ``suppress`` is about.
            alert: whether the decision is an alert; a block is never suppressed.
            words: rule -> words of its key, for those whose key is there.
            at_ms: event time.
        """
        keys: list[tuple[Key, int]] = []
        fresh = not alert
        for rule in causes:
            if rule is None or rule.suppress is None or rule.id not in words:
                fresh = True
                continue
            key: Key = (rule.id, _key_names(rule), words[rule.id])
            stands = self._alerted.get(key)
            if stands is not None and abs(at_ms - stands[0]) < rule.suppress.for_ms:
                continue
            keys.append((key, rule.suppress.for_ms))
            fresh = True
        if not fresh:
            return True
        for key, length in keys:
            self._alerted[key] = (at_ms, at_ms + length)
        return False

    def tidy(self, watermark_ms: int) -> None:
        """Forget alerts that no event to come can repeat."""
        if len(self._alerted) >= self._prune_at:
            self._alerted = dict(self._standing(watermark_ms))
            self._prune_at = max(PRUNE_MIN, 2 * len(self._alerted))

    def _standing(self, watermark_ms: int) -> list[tuple[Key, tuple[int, int]]]:
        oldest = watermark_ms - self._lateness_ms
        return [item for item in sorted(self._alerted.items()) if item[1][1] > oldest]

    def export(self, watermark_ms: int) -> dict[str, Any]:
        """Return the state as JSON values, the same however it came about."""
        rows = self._state.tolist()
        return {
            "limits": {
                rule.id: [_definition(rule), row] for rule, row in zip(self._rules, rows, strict=True)
            },
            "alerted": [[*key, *times] for key, times in self._standing(watermark_ms)],
        }

    def take(self, state: Mapping[str, Any]) -> None:
        """Go on from an exported state, of this bundle or another."""
        limits = state.get("limits", {})
        for at, rule in enumerate(self._rules):
            definition, row = limits.get(rule.id, ("", ()))
            if definition == _definition(rule):
                self._state[at] = row
        for rule, names, words, at_ms, until_ms in state.get("alerted", ()):
            if self._suppressing.get(rule) == names:
                self._alerted[rule, names, words] = (at_ms, until_ms)

    def state_hash(self, watermark_ms: int) -> str:
        """Return a SHA-256 of the visible state; empty where rules remember nothing."""
        if not self.needed:
            return ""
        return hashlib.sha256(orjson.dumps(self.export(watermark_ms))).hexdigest()


def key_words(rule: Rule, value: I64, state: NDArray[np.uint8], row: int) -> str | None:
    """Return the words of a rule's ``suppress`` key in a batch, None: some of it is missing."""
    assert rule.suppress is not None
    words: list[int] = []
    for slot in rule.suppress.by:
        if not state[slot.column, row]:
            return None
        words += value[slot.column : slot.column + slot.type.width, row].tolist()
    return " ".join(map(str, words))


def _key_names(rule: Rule) -> str:
    assert rule.suppress is not None
    return " ".join(slot.name for slot in rule.suppress.by)


def _definition(rule: Rule) -> str:
    assert rule.limit is not None
    limit = rule.limit
    return f"{limit.share_ppm} {limit.per_ms} {limit.min_count} {limit.reset}"
