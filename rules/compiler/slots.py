"""Which names stand for which columns."""

from __future__ import annotations

from fraudstream.rules.bundle import Agg, Field, Repr, Schema, Slot, Source, Type

MODEL_SLOTS = (Slot("model.score", Type.NUMBER, "f", Source.MODEL, 0),)
"""``model.score`` is the champion's probability; missing without a model."""


def field_slot(field: Field) -> Slot:
    """Return the slot of a field."""
    return Slot(
        field.name,
        field.type,
        stored_as(field.type),
        Source.FIELD,
        field.column,
        field.values,
        field.decimals,
    )


def field_slots(schema: Schema) -> dict[str, Slot]:
    """Return every field of a schema by name."""
    return {field.name: field_slot(field) for field in schema.fields}


def stored_as(kind: Type) -> Repr:
    """Return what the words of a field's type contain."""
    return "f" if kind in (Type.NUMBER, Type.GEO) else "i"


def feature_slots(name: str, agg: Agg, of: tuple[Field, ...], column: int) -> tuple[Slot, ...]:
    """Return the outputs of a feature, the first in ``column``.

    ``first`` and ``last`` of several fields have one output for each, named by the field's last word.
    """
    if agg is Agg.SEQUENCE:
        return (Slot(name, Type.BOOL, "i", Source.FEATURE, column),)
    if agg in (Agg.COUNT, Agg.DISTINCT):
        return (Slot(name, Type.INTEGER, "i", Source.FEATURE, column),)
    if agg in (Agg.SINCE_FIRST, Agg.SINCE_LAST):
        return (Slot(name, Type.DURATION, "i", Source.FEATURE, column),)
    if agg in (Agg.FIRST, Agg.LAST):
        out = []
        for field in of:
            label = name if len(of) == 1 else f"{name}.{field.name.rsplit('.', 1)[-1]}"
            kind = field.type
            out.append(
                Slot(label, kind, stored_as(kind), Source.FEATURE, column, field.values, field.decimals)
            )
            column += kind.width
        return tuple(out)
    kind = of[0].type
    smooth = agg in (Agg.MEAN, Agg.STD, Agg.EWMA)
    if kind is Type.NUMBER or (kind is Type.INTEGER and smooth):
        return (Slot(name, Type.NUMBER, "f", Source.FEATURE, column, (), of[0].decimals),)
    return (Slot(name, kind, "f" if smooth else "i", Source.FEATURE, column),)
