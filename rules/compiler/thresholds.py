"""Lints about limits: amounts that invite people to stay just under them, and state that one key can fill."""

from __future__ import annotations

from collections.abc import Iterator

from fraudstream.rules.bundle import Action, Mode, Source, Type
from fraudstream.rules.compiler.declared import Declared
from fraudstream.rules.compiler.logic import Atom, atom_of, constant_text, place_of
from fraudstream.rules.compiler.reader import Findings
from fraudstream.rules.compiler.source import Span
from fraudstream.rules.compiler.terms import Constant, Term
from fraudstream.rules.iso4217 import DECIMALS

BAIT_PARTS = 50
"""A threshold less than one part in so many under a round amount stands just under it."""
ROUND_FROM = 1_000
"""Major units: smaller round amounts are prices, not limits."""
KEY_BYTES, EVENT_BYTES = 100, 64
"""What counts towards ``max_state_bytes`` (docs/reference/features.md, 12)."""


def check_bait(declared: Declared, findings: Findings) -> None:
    """Warn where a rule begins to act on an amount just under a round one.

    Who keeps under the round limit keeps under this threshold as easily. Conditions that end there, such as
    ``between 8000 and 9999.99`` or ``< 10000``, look for just these people and are not meant.
    """
    currency = declared.schema.base_currency
    unit = 10 ** DECIMALS.get(currency, 2)
    for rule in declared.rules:
        if rule.mode is Mode.RETIRED or rule.action not in (Action.ALERT, Action.BLOCK):
            continue
        told: set[tuple[str, int]] = set()
        for part in (*rule.conditions.values(), *((rule.when,) if rule.when is not None else ())):
            for name, low, first in _beginnings(part.checked.term):
                limit = _round_above(first, unit)
                if limit is None or (name, first) in told:
                    continue
                told.add((name, first))
                message = (
                    f"`{name}` counts from {constant_text(low, currency)} on, just under {limit:,}: "
                    f"whoever keeps under {limit:,} keeps under this as easily"
                )
                hint = "begin clearly lower, or watch a sum or a count over a window"
                findings.warning(place_of(part, name), "structuring-bait", message, hint)


def _beginnings(root: Term) -> Iterator[tuple[str, Constant, int]]:
    """Yield (name, constant, first minor unit that counts) where an amount has to be above a constant."""
    pending = [(root, True)]
    while pending:
        term, holds = pending.pop()
        if term.op == "not":
            pending.append((term.args[0], not holds))
        elif term.op in ("and", "or"):
            pending.extend((arg, holds) for arg in reversed(term.args))
        elif term.op == "between" and holds and term.args[1].constant is not None:
            yield from _amount(Atom(term.args[0], ">=", (term.args[1].constant,)), 0)
        elif (atom := atom_of(term)) is not None and atom.op == (">" if holds else "<"):
            yield from _amount(atom, int(holds))


def _amount(atom: Atom, above: int) -> Iterator[tuple[str, Constant, int]]:
    slot, low = atom.term.slot, atom.values[0]
    if slot is not None and slot.source is Source.FIELD and slot.type is Type.MONEY:
        assert isinstance(low.value, int)
        yield slot.name, low, low.value + above


def _round_above(value: int, unit: int) -> int | None:
    """Return the round amount, in major units, that a value in minor units stands just under."""
    if value <= 0:
        return None
    power: int = 10 ** (len(str(value)) - 1)
    # The next of 1, 2, 5 and 10 times a power of ten.
    limit = next(step * power for step in (1, 2, 5, 10) if step * power >= value)
    if limit < ROUND_FROM * unit or not 0 < limit - value < limit // BAIT_PARTS:
        return None
    return limit // unit


def check_state_budget(declared: Declared, findings: Findings) -> None:
    """Warn where ``max_state_bytes`` has no room for what one busy subject may keep."""
    time = declared.features.feature_set.time
    keys = {feature.key for feature in declared.features.feature_set.features}
    if not time.max_state_bytes or not keys:
        return
    most = len(keys) * (KEY_BYTES + time.max_events_per_key * EVENT_BYTES)
    if most <= time.max_state_bytes:
        return
    message = (
        f"one busy subject may keep {time.max_events_per_key:,} events for each of {len(keys)} kinds of key, "
        f"{most:,} bytes, which is more than `max_state_bytes`, {time.max_state_bytes:,}: everybody else's "
        "windows would go"
    )
    hint = "lower `max_events_per_key` or raise `max_state_bytes`"
    place = declared.features.time_place or Span("features.yaml", 1, 1)
    findings.warning(place, "state-budget", message, hint)
