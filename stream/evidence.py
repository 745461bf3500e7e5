"""Alerts: the decision with the evidence that an analyst needs.

An alert is the decision's own members, then

- ``transaction``: the members that the schema reads, as they were sent; of a personal one (the schema's
  ``class``) only the last four characters of a text longer than four stay, all else of it is ``****``;
- ``evidence``: the value of every name that the matched live rules read, by name: money in minor units of the
  base currency, durations and times in milliseconds, missing null; personal ones masked alike.

Members that the schema does not read have no class and are left out. A number with a fraction is passed on as
text, digit for digit: money never goes through a float.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from fraudstream.rules.bundle import Agg, Bundle, Field, Rule, Slot, Type
from fraudstream.stream.reading import Decoded

MASK = "****"


class Evidence:
    """Writes alerts for one bundle."""

    def __init__(self, bundle: Bundle) -> None:
        self._paths = [
            (path, field) for field in bundle.schema.fields for path in (field.path, field.path2) if path
        ]
        self._personal = personal_names(bundle)

    def alert(
        self, decision: bytes, transaction: bytes, rules: Iterable[Rule], decoded: Decoded, row: int
    ) -> bytes:
        """Return an alert as JSON.

        Args:
            decision: the encoded decision.
            transaction: the record's value; it was accepted, so it is an object.
            rules: matched live rules.
            decoded: columns of the batch.
            row: row in the batch.
        """
        reads: dict[str, Slot] = {slot.name: slot for rule in rules for slot in rule.reads}
        evidence = {
            name: mask(value) if name in self._personal else value
            for name in sorted(reads)
            for value in (decoded.plain(reads[name], row),)
        }
        extra = {"transaction": self._members(transaction), "evidence": evidence}
        text = json.dumps(extra, ensure_ascii=False, separators=(",", ":"))
        return decision[:-1] + b"," + text[1:].encode()

    def _members(self, transaction: bytes) -> dict[str, object]:
        source = json.loads(transaction, parse_float=_Digits)
        result: dict[str, object] = {}
        for path, field in self._paths:
            value: object = source
            for name in path:
                value = value.get(name) if isinstance(value, dict) else None
            if value is not None:
                _put(result, path, _masked(field, value) if field.personal else value)
        return result


class _Digits(str):
    """A number with a fraction, as it was written."""

    __slots__ = ()


def _masked(field: Field, value: object) -> object:
    return MASK if field.type is Type.GEO else mask(value)


def mask(value: object) -> object:
    """Hide a personal value but for the last four characters of a longer text or integer."""
    if value is None:
        return None
    if isinstance(value, _Digits):
        return MASK
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        text = str(value)
        return MASK + text[-4:] if len(text) > 4 else MASK
    return MASK


def personal_names(bundle: Bundle) -> frozenset[str]:
    """Return fields and table columns with a personal class, and the features that repeat their values."""
    fields: dict[str, Field] = {field.name: field for field in bundle.schema.fields}
    names = {name for name, field in fields.items() if field.personal}
    names |= {
        column.slot.name for table in bundle.reference.tables for column in table.columns if column.personal
    }
    for feature in bundle.features.features:
        if feature.agg in (Agg.FIRST, Agg.LAST):
            names |= {
                slot.name for slot, of in zip(feature.outputs, feature.of, strict=True) if fields[of].personal
            }
    return frozenset(names)


def _put(target: dict[str, object], path: tuple[str, ...], value: object) -> None:
    """Set a nested member; a path that runs through another's value is given as one flat member."""
    place = target
    for name in path[:-1]:
        inner = place.setdefault(name, {})
        if not isinstance(inner, dict):
            target[".".join(path)] = value
            return
        place = inner
    place[path[-1]] = value
