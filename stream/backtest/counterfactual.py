"""The smallest change of a record with which it would have passed.

All else stays equal, other features and the model's score too. One number, changed as little as can be
against its size, is preferred to another value of something that is no number, that to a value that is
missing. Where nothing alone lets the record pass, changes are added one by one, each the one that lets most
rules go, and those that turn out not to be needed are taken back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraudstream.rules.bundle import Slot, Source, Type
from fraudstream.rules.compiler.literals import country_word, float_word
from fraudstream.rules.compiler.logic import ranges_of
from fraudstream.rules.siphash import hash_text
from fraudstream.stream.backtest.explainer import Explainer, Setting, Variants, is_number, is_real
from fraudstream.stream.backtest.row import Row

OTHER_TEXT = b"another"
OTHER_COUNTRY = "ZZ"
"""ISO 3166-1 leaves it to users: no country."""
_OTHER_COST, _MISSING_COST, _EVENT_COST = 1e6, 1e9, 1e12
"""Numbers come first, then other values, then missing ones, the event's own type and time last."""
_STEPS, _GRID, _LIMIT = 62, 64, 1 << 62
_MICRO = 1_000_000

Holds = Callable[[Variants], NDArray[np.bool_]]
"""Which variants are good enough, bool [n]."""


class Option(NamedTuple):
    """A change with its cost."""

    cost: float
    setting: Setting


class Counterfactuals:
    """Searches changes under one bundle."""

    def __init__(self, explainer: Explainer) -> None:
        assert explainer.compiled.declared is not None
        self._explainer = explainer
        self._ranges = ranges_of(explainer.compiled.declared)
        schema = explainer.bundle.schema
        self._event = (schema.event_id, schema.event_type, schema.event_time)
        self._score = explainer.bundle.slots.get("model.score")

    def find(self, row: Row) -> tuple[Setting, ...] | None:
        """Return changes after which the record passes; empty: it passes now; None: none were found."""
        now = self._explainer.run(row)
        if now.decision[0] == 0:
            return ()
        found = self._single(row, (), self._slots(now), lambda run: run.decision == 0)
        if found is not None:
            return (found.setting,)
        return self._several(row, now)

    def _several(self, row: Row, now: Variants) -> tuple[Setting, ...] | None:
        settings: tuple[Setting, ...] = ()
        # Every step lets at least one rule or the model go: no more steps than there are.
        for _ in range(int(now.matched[0]) + 2):
            changed = {item.slot.name for item in settings}
            slots = [slot for slot in self._slots(now) if slot.name not in changed]
            last = self._single(row, settings, slots, lambda run: run.decision == 0)
            if last is not None:
                return self._needed(row, (*settings, last.setting))
            best: tuple[int, float, Setting] | None = None
            for slot in slots:
                found = self._single(row, settings, [slot], _lighter(now))
                if found is None:
                    continue
                left = int(_weight(self._explainer.run(row, [(*settings, found.setting)]))[0])
                if best is None or (left, found.cost) < best[:2]:
                    best = left, found.cost, found.setting
            if best is None:
                return None
            settings = (*settings, best[2])
            now = self._explainer.run(row, [settings])
            if now.decision[0] == 0:
                return self._needed(row, settings)
        return None

    def _needed(self, row: Row, settings: tuple[Setting, ...]) -> tuple[Setting, ...]:
        """Return the settings without those that the record passes without."""
        for one in settings:
            rest = tuple(item for item in settings if item is not one)
            if rest and self._explainer.run(row, [rest]).decision[0] == 0:
                settings = rest
        return settings

    def _slots(self, now: Variants) -> list[Slot]:
        """Return what the rules that hold read, and the score where a band of the policy reads it."""
        rules = self._explainer.matched_rules(now)
        found = {slot.name: slot for rule in rules for slot in rule.reads}
        bands = self._explainer.bundle.policy.model_bands
        if self._score is not None and any(0 <= band.at_micro <= now.micro[0] for band in bands):
            found[self._score.name] = self._score
        for name in self._event[1:]:
            found[name] = self._explainer.bundle.slots[name]
        return [found[name] for name in sorted(found) if name != self._event[0]]

    def _single(
        self, row: Row, settings: Sequence[Setting], slots: Iterable[Slot], holds: Holds
    ) -> Option | None:
        """Return the cheapest change of one name, beside others, after which something holds."""
        best: Option | None = None
        for slot in slots:
            for option in self._options(row, settings, slot, holds):
                if best is None or option.cost < best.cost:
                    best = option
        return best

    def _options(self, row: Row, settings: Sequence[Setting], slot: Slot, holds: Holds) -> Iterator[Option]:
        extra = _EVENT_COST if slot.name in self._event else 0.0
        words = row.decoded.words(slot, 0)
        if words is not None and is_number(slot):
            old = _number(slot, words[0])
            for side in (-1, 1):
                new = self._search(row, settings, slot, old, side, holds)
                if new is not None:
                    setting = _setting(slot, new)
                    yield Option(extra + abs(new - old) / max(abs(old), 1.0), setting)
        others = list(_others(slot, words, row.hash_key))
        tries = [(*settings, setting) for _, setting in others]
        if tries:
            for good, (cost, setting) in zip(
                holds(self._explainer.run(row, tries)).tolist(), others, strict=True
            ):
                if good:
                    yield Option(extra + cost, setting)

    def _search(
        self, row: Row, settings: Sequence[Setting], slot: Slot, old: float, side: int, holds: Holds
    ) -> float | None:
        """Return the nearest value on one side: doubling steps, then finer grids between the last two."""
        region = self._ranges.get(slot.name)
        low = -math.inf if region is None else region.low
        high = math.inf if region is None else region.high
        if slot.source is Source.MODEL:
            low, high = 0, _MICRO
        real = _is_real(slot)
        unit = max(abs(old), 1.0) * 2.0**-20 if real else 1
        values: list[float] = []
        for power in range(_STEPS):
            value = min(max(old + side * unit * 2**power, low, -_LIMIT), high, _LIMIT)
            if value != old and value not in values:
                values.append(value if real else int(value))
        if not values:
            return None
        found = self._first(row, settings, slot, values, holds)
        if found is None:
            return None
        near, far = old if found == 0 else values[found - 1], values[found]
        for _ in range(12):
            grid = _between(near, far, real=real)
            if not grid:
                break
            place = self._first(row, settings, slot, [*grid, far], holds)
            assert place is not None
            near, far = ([near, *grid][place], [*grid, far][place])
        return self._rounded(row, settings, slot, old, far, holds) if real else far

    def _first(
        self, row: Row, settings: Sequence[Setting], slot: Slot, values: Sequence[float], holds: Holds
    ) -> int | None:
        variants = [(*settings, _setting(slot, value)) for value in values]
        good = np.flatnonzero(holds(self._explainer.run(row, variants)))
        return int(good[0]) if len(good) else None

    def _rounded(
        self, row: Row, settings: Sequence[Setting], slot: Slot, old: float, far: float, holds: Holds
    ) -> float:
        """Return a value with few digits near the nearest one."""
        for digits in range(12):
            short = round(far, digits)
            near_enough = short != old and abs(short - old) <= 2 * abs(far - old)
            if near_enough and self._first(row, settings, slot, [short], holds) is not None:
                return short
        return far


def _lighter(now: Variants) -> Holds:
    weight = _weight(now)[0]
    return lambda run: _weight(run) < weight


def _weight(run: Variants) -> NDArray[np.int64]:
    """Return how far each variant is from passing: rules that hold and the score, then the decision."""
    return run.matched * 4 + run.decision


def _between(near: float, far: float, *, real: bool) -> list[float]:
    """Return values between two, in order from the first."""
    if real:
        found = [near + (far - near) * step / _GRID for step in range(1, _GRID)]
    else:
        width = int(far) - int(near)
        found = [int(near) + width * step // _GRID for step in range(1, _GRID)]
    return [value for value in dict.fromkeys(found) if value not in (near, far)]


def _is_real(slot: Slot) -> bool:
    """Return whether values are searched as binary64; a score has six decimals and no more."""
    return is_real(slot) and slot.source is not Source.MODEL


def _number(slot: Slot, word: int) -> float:
    if slot.source is Source.MODEL:
        return round(float(np.int64(word).view(np.float64)) * _MICRO)
    return float(np.int64(word).view(np.float64)) if is_real(slot) else word


def _setting(slot: Slot, value: float) -> Setting:
    if slot.source is Source.MODEL:
        return Setting(slot, (float_word(value / _MICRO),))
    return Setting(slot, (float_word(float(value)) if is_real(slot) else int(value),))


def _others(slot: Slot, words: tuple[int, int] | None, hash_key: bytes) -> Iterator[tuple[float, Setting]]:
    """Yield values that are no small change of the one there is, with their costs."""
    if slot.type.is_text:
        other = hash_text(OTHER_TEXT, hash_key)
        if words != other:
            yield _OTHER_COST, Setting(slot, other, OTHER_TEXT)
    elif slot.type is Type.ENUM:
        for code in range(len(slot.values)):
            if words is None or code != words[0]:
                yield _OTHER_COST + code, Setting(slot, (code,))
    elif slot.type is Type.BOOL:
        for code in (0, 1):
            if words is None or code != words[0]:
                yield _OTHER_COST, Setting(slot, (code,))
    elif slot.type is Type.COUNTRY:
        yield _OTHER_COST, Setting(slot, (country_word(OTHER_COUNTRY),))
    elif words is None and is_number(slot):
        yield _OTHER_COST, _setting(slot, 0)
    if words is not None:
        yield _MISSING_COST, Setting(slot, None)
