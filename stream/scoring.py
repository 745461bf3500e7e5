"""Step 5, score: the inputs of models resolved to the columns of a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fraudstream.models.inputs import TRANSFORMS, Columns, Input
from fraudstream.models.members import Member
from fraudstream.models.model import Model, Scope
from fraudstream.rules.bundle import Bundle, Slot, Source, Type

NO_MODEL = "none"
"""Version that journals and decisions name where there is no model."""

_NUMERIC = (Type.NUMBER, Type.INTEGER, Type.MONEY, Type.DURATION, Type.BOOL)


@dataclass(frozen=True, slots=True)
class BoundModel:
    """Models whose inputs are columns."""

    model: Model
    binding: NDArray[np.int64]
    """[k, 6], layout in :mod:`fraudstream.models.kernel_inputs`."""
    scope: Scope

    def score(self, columns: Columns, wanted: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return millionths [M, n]; -1 (missing) where not wanted or out of a model's scope."""
        return self.model.score(self.binding, columns, wanted.view(np.uint8), self.scope)

    def wanted(self, columns: Columns, wanted: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Return uint8 [n]: the wanted rows in the champion's scope."""
        inside = wanted.copy()
        begin, end = self.scope.begin[self.model.champion : self.model.champion + 2]
        for column, first in self.scope.conditions[begin:end]:
            known = columns.field_state[column] == 1
            values = np.where(known, columns.field_value[column], 0)
            inside &= known & (self.scope.allowed[first + values] == 1)
        return inside.astype(np.uint8)


def bind_model(model: Model, bundle: Bundle) -> BoundModel | None:
    """Resolve the inputs of models; None if the bundle feeds none of them.

    The score of a model that the bundle can not feed is missing, and with it that of a stack built on it.
    """
    fed = [not _misfits(member, bundle) for member in model.members]
    if not any(fed):
        return None
    used = {item for member, fits in zip(model.members, fed, strict=True) if fits for item in member.inputs}
    binding = np.zeros((len(model.inputs), 6), np.int64)
    for at, item in enumerate(model.inputs):
        if item not in used:
            continue
        slot = bundle.slots[item.name]
        binding[at] = (
            *_place(slot),
            int(_is_binary64(slot)),
            TRANSFORMS[item.transform],
            _argument(item, slot),
            _divisor(bundle.slots[item.argument]) if item.transform == "ratio" else 0,
        )
    return BoundModel(model, binding, _scope(model, bundle, fed))


def undeclared_inputs(model: Model, bundle: Bundle) -> tuple[str, ...]:
    """Return what keeps the bundle from feeding the models, one text each; empty: nothing."""
    problems: list[str] = []
    for at, member in enumerate(model.members):
        prefix = "" if at == model.champion else f"model `{member.id}`: "
        problems += [prefix + text for text in _misfits(member, bundle)]
    return tuple(problems)


def _misfits(member: Member, bundle: Bundle) -> list[str]:
    problems = [text for item in member.inputs if (text := _problem(item, bundle.slots))]
    kind = bundle.slots.get(bundle.schema.event_type)
    if member.on and (kind is None or not set(member.on) & set(kind.values)):
        problems.append(f"none of the event types {', '.join(member.on)} is declared")
    for name, values in member.where.items():
        slot = bundle.slots.get(name)
        if slot is None or slot.source is not Source.FIELD or slot.type is not Type.ENUM:
            problems.append(f"`{name}` of its scope is not a declared enum field")
        elif not set(values) & set(slot.values):
            problems.append(f"none of the values {', '.join(values)} of `{name}` is declared")
    return problems


def _scope(model: Model, bundle: Bundle, fed: list[bool]) -> Scope:
    """Return the conditions of each model; one that is not fed has a condition that nothing meets."""
    kind = bundle.slots[bundle.schema.event_type]
    begin, conditions = [0], []
    allowed: list[NDArray[np.uint8]] = []
    for member, fits in zip(model.members, fed, strict=True):
        wanted = [(bundle.slots[name], set(values)) for name, values in member.where.items() if fits]
        if member.on or not fits:
            wanted.append((kind, set(member.on) if fits else set()))
        for slot, values in wanted:
            conditions.append((slot.column, sum(map(len, allowed))))
            allowed.append(np.array([name in values for name in slot.values], np.uint8))
        begin.append(len(conditions))
    return Scope(
        np.array(begin, np.int64),
        np.array(conditions, np.int64).reshape(-1, 2),
        np.concatenate(allowed) if allowed else np.zeros(0, np.uint8),
    )


def _place(slot: Slot) -> tuple[int, int]:
    return 0 if slot.source is Source.FIELD else 1, slot.column


def _is_binary64(slot: Slot) -> bool:
    return slot.type is Type.NUMBER or slot.repr == "f"


def _divisor(slot: Slot) -> int:
    source, column = _place(slot)
    return source | int(_is_binary64(slot)) << 1 | column << 2


def _problem(item: Input, slots: Mapping[str, Slot]) -> str:
    slot = slots.get(item.name)
    if slot is None or slot.source is Source.MODEL:
        return f"`{item.name}` is not declared"
    fits = {
        "identity": slot.type in _NUMERIC,
        "log1p": slot.type in _NUMERIC,
        "flag": _code(item, slot) is not None,
        "present": True,
        "hour_sin": slot.type is Type.TIME and _is_integer(item.argument),
        "hour_cos": slot.type is Type.TIME and _is_integer(item.argument),
        "ratio": slot.type in _NUMERIC and _is_divisor(item.argument, slots),
    }[item.transform]
    return (
        ""
        if fits
        else f"`{item.name}` is {slot.type}, not fit for `{item.transform}` {item.argument}".rstrip()
    )


def _is_divisor(name: str, slots: Mapping[str, Slot]) -> bool:
    slot = slots.get(name)
    return slot is not None and slot.source is not Source.MODEL and slot.type in _NUMERIC


def _argument(item: Input, slot: Slot) -> int:
    if item.transform == "flag":
        return _code(item, slot) or 0
    return int(item.argument) if item.transform.startswith("hour_") else 0


def _code(item: Input, slot: Slot) -> int | None:
    """Return the word that a flag compares with."""
    if slot.type is Type.BOOL:
        return 1
    if slot.type is Type.ENUM and item.argument in slot.values:
        return slot.values.index(item.argument)
    if slot.type is Type.COUNTRY and len(item.argument) == 2:
        return ord(item.argument[0]) << 8 | ord(item.argument[1])
    return None


def _is_integer(text: str) -> bool:
    return text.removeprefix("-").isdigit() and len(text) <= 6
