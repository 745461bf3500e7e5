"""Step 5, score: the champion's inputs resolved to the columns of a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fraudstream.models.linear import TRANSFORMS, Columns, Input, LinearModel
from fraudstream.rules.bundle import Bundle, Slot, Source, Type

NO_MODEL = "none"
"""Version that journals and decisions name where there is no model."""

_NUMERIC = (Type.NUMBER, Type.INTEGER, Type.MONEY, Type.DURATION, Type.BOOL)


@dataclass(frozen=True, slots=True)
class BoundModel:
    """A model whose inputs are columns."""

    model: LinearModel
    binding: NDArray[np.int64]
    """[k, 6], layout in :mod:`fraudstream.models.kernel_linear`."""
    type_column: int
    """Row of the event type in the fields."""
    scope: NDArray[np.uint8]
    """[event types] 1: scored."""

    def score(self, columns: Columns, wanted: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return millionths [n]; -1 (missing) where not wanted or the event type is out of scope."""
        return self.model.score(self.binding, columns, self.wanted(columns, wanted))

    def wanted(self, columns: Columns, wanted: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Return uint8 [n]: the wanted rows whose event type the model scores."""
        kinds, known = columns.field_value[self.type_column], columns.field_state[self.type_column]
        return np.where(wanted & (known == 1), self.scope[kinds], 0).astype(np.uint8)


def bind_model(model: LinearModel, bundle: Bundle) -> BoundModel | None:
    """Resolve a model's inputs; None if the bundle lacks one (the score is then missing)."""
    if undeclared_inputs(model, bundle):
        return None
    binding = np.zeros((len(model.inputs), 6), np.int64)
    for at, item in enumerate(model.inputs):
        slot = bundle.slots[item.name]
        binding[at, :5] = (
            0 if slot.source is Source.FIELD else 1,
            slot.column,
            int(slot.type is Type.NUMBER or slot.repr == "f"),
            TRANSFORMS[item.transform],
            _argument(item, slot),
        )
    kind = bundle.slots[bundle.schema.event_type]
    scope = np.array([name in model.on for name in kind.values], np.uint8)
    return BoundModel(model, binding, kind.column, scope)


def undeclared_inputs(model: LinearModel, bundle: Bundle) -> tuple[str, ...]:
    """Return what keeps the bundle from feeding the model, one text each; empty: nothing."""
    problems = [text for item in model.inputs if (text := _problem(item, bundle.slots))]
    kind = bundle.slots.get(bundle.schema.event_type)
    if kind is None or not set(model.on) & set(kind.values):
        problems.append(f"none of the event types {', '.join(model.on)} is declared")
    return tuple(problems)


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
    }[item.transform]
    return (
        ""
        if fits
        else f"`{item.name}` is {slot.type}, not fit for `{item.transform}` {item.argument}".rstrip()
    )


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
