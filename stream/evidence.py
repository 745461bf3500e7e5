"""Alerts: the decision with the evidence that an analyst needs.

An alert is the decision's own members, then

- ``transaction``: the members that the schema reads, as they were sent; of a personal one (the schema's
  ``class``) a pseudonym, or the last four characters of a text longer than four; points are ``****``;
- ``evidence``: the value of every name that the matched live rules read, by name: money in minor units of the
  base currency, durations and times in milliseconds, missing null; personal ones hidden alike.

Members that the schema does not read have no class and are left out. A number with a fraction is passed on as
text, digit for digit: money never goes through a float.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from fraudstream.rules.bundle import Agg, Bundle, Field, Rule, Slot, Type
from fraudstream.stream.reading import Decoded

MASK = "****"
KEPT_MAX = 4_096
"""Sets of rules whose names are kept."""

Hide = Callable[[object], object]
"""Returns what is shown of a personal value; null stays null."""


class Evidence:
    """Writes alerts for one bundle."""

    def __init__(self, bundle: Bundle, hide: Hide) -> None:
        self._hide = hide
        fields = bundle.schema.fields
        # One member may be read by several fields; of what it shows the last one decides.
        paths = {path: field for field in fields for path in (field.path, field.path2) if path}
        self._paths = [(path, path[0] if len(path) == 1 else "", field) for path, field in paths.items()]
        self._personal = personal_names(bundle)
        self._names: dict[tuple[int, ...], list[tuple[str, Slot, bool]]] = {}
        """By the identities of matched rules; the bundle holds them."""

    def alert(
        self, decision: bytes, transaction: bytes, rules: Sequence[Rule], decoded: Decoded, row: int
    ) -> bytes:
        """Return an alert as JSON.

        Args:
            decision: the encoded decision.
            transaction: the record's value; it was accepted, so it is an object.
            rules: matched live rules.
            decoded: columns of the batch.
            row: row in the batch.
        """
        evidence = {
            name: self._hide(decoded.plain(slot, row)) if personal else decoded.plain(slot, row)
            for name, slot, personal in self._read(rules)
        }
        text = _write({"transaction": self._members(transaction), "evidence": evidence})
        return decision[:-1] + b"," + text[1:].encode()

    def _read(self, rules: Sequence[Rule]) -> list[tuple[str, Slot, bool]]:
        """Return what rules read, by name, and whether it is personal."""
        key = tuple(map(id, rules))
        found = self._names.get(key)
        if found is None:
            reads: dict[str, Slot] = {slot.name: slot for rule in rules for slot in rule.reads}
            found = [(name, reads[name], name in self._personal) for name in sorted(reads)]
            if len(self._names) < KEPT_MAX:
                self._names[key] = found
        return found

    def _members(self, transaction: bytes) -> dict[str, object]:
        source = _read_object(transaction.decode())
        result: dict[str, object] = {}
        for path, only, field in self._paths:
            if only:
                value: object = source.get(only)
                if value is not None:
                    result[only] = self._hidden(field, value) if field.personal else value
                continue
            value = source
            for name in path:
                value = value.get(name) if isinstance(value, dict) else None
            if value is not None:
                _put(result, path, self._hidden(field, value) if field.personal else value)
        return result

    def _hidden(self, field: Field, value: object) -> object:
        return MASK if field.type is Type.GEO else self._hide(value)


class _Digits(str):
    """A number with a fraction, as it was written."""

    __slots__ = ()


_write = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_read_object: Callable[[str], dict[str, Any]] = json.JSONDecoder(parse_float=_Digits).decode


def mask(value: object) -> object:
    """Hide a personal value but for the last four characters of a longer text or integer."""
    if value is None:
        return None
    text = hidden_text(value)
    return MASK if text is None or len(text) <= 4 else MASK + text[-4:]


def hidden_text(value: object) -> str | None:
    """Return the text of a value that is an id or the like, else None: of a fraction, of a list."""
    if isinstance(value, _Digits | bool) or not isinstance(value, str | int):
        return None
    return str(value)


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
