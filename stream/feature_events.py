"""What models may read of each transaction, as records of the features topic: one a decided transaction.

A record is one JSON object: ``src``, ``transaction_id``, ``event_type``, ``event_time``, ``at`` (timestamp
of the input record in ms, the event's time without one), ``rules_version``, and ``values``: fields and
features by name, as in :mod:`fraudstream.stream.feature_rows` (money in minor units, times and durations in
ms, enums by name, missing ones left out). Of ids, texts and what the schema calls personal it says only that
there is a value. A label event also has ``label``: what it says, as texts.

Duplicates and unreadable records have none. After a restart records come again from the newest snapshot on,
with the same bytes: a reader goes on behind the largest ``src`` that it knows of a partition.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import orjson

from fraudstream.rules.bundle import Bundle, Slot, Source, Type
from fraudstream.stream.feature_rows import feature_slots, slot_column
from fraudstream.stream.outcome import Flag
from fraudstream.stream.pipeline import Result
from fraudstream.stream.wire.batches_out import Outgoing
from fraudstream.stream.wire.types import Batch, Slice

LABEL_MEMBERS = ("original_id", "original_src", "label", "source", "labelled_at")
_DUPLICATE = int(Flag.DUPLICATE)


class FeatureEvents:
    """Makes the records of one bundle's results."""

    def __init__(self, bundle: Bundle) -> None:
        schema = bundle.schema
        fields = {field.name: field for field in schema.fields}
        slots = [slot for name, slot in bundle.slots.items() if name in fields]
        self._fields = [
            (slot, fields[slot.name].personal is not None or slot.type is Type.GEO)
            for slot in slots
            if slot.source is Source.FIELD and slot.name != schema.event_id
        ]
        self._features = feature_slots(bundle)
        self._schema = schema
        self._version = bundle.hash

    def records(self, result: Result, start_from: int) -> list[Outgoing]:
        """Return the records of a slice's rows at or beyond ``start_from``."""
        batch, source = result.batch, result.slice
        keep = (batch.offset >= start_from) & ((result.admission.flags & _DUPLICATE) == 0)
        rows = np.flatnonzero(keep).tolist()
        if not rows:
            return []
        columns = self._columns(result)
        text = self._texts(batch)
        time_ms = batch.value[self._schema.field(self._schema.event_time).column].tolist()
        at_ms, offset, place = batch.record_time_ms.tolist(), batch.offset.tolist(), batch.row.tolist()
        made = []
        for row in rows:
            kind = text(row, "type")
            record: dict[str, Any] = {
                "src": f"{source.partition}:{offset[row]}",
                "transaction_id": text(row, "id"),
                "event_type": kind,
                "event_time": time_ms[row],
                "at": at_ms[row] if at_ms[row] >= 0 else time_ms[row],
                "rules_version": self._version,
                "values": {name: items[row] for name, items in columns if items[row] is not None},
            }
            if kind == "label":
                record["label"] = _label(source, place[row])
            made.append(Outgoing(source.key(place[row]), orjson.dumps(record)))
        return made

    def _columns(self, result: Result) -> list[tuple[str, list[Any]]]:
        batch, matrix = result.batch, result.matrix
        value, state = batch.value.T, batch.state.T
        columns = [
            (slot.name, _presence(slot, state) if hidden else slot_column(slot, value, state))
            for slot, hidden in self._fields
        ]
        columns += [(slot.name, slot_column(slot, matrix.value, matrix.state)) for slot in self._features]
        return columns

    def _texts(self, batch: Batch) -> Callable[[int, str], str | None]:
        schema = self._schema
        ids, kinds = schema.field(schema.event_id).column, schema.field(schema.event_type)

        def text(row: int, what: str) -> str | None:
            if what == "id":
                return batch.text(ids, row)
            known = batch.state[kinds.column, row]
            return kinds.values[int(batch.value[kinds.column, row])] if known else None

        return text


def _presence(slot: Slot, state: np.ndarray[Any, Any]) -> list[Any]:
    return [True if known else None for known in state[:, slot.column].tolist()]


def _label(source: Slice, row: int) -> dict[str, str]:
    """Return the members of a label event that the schema does not map; the record was accepted as JSON."""
    event = orjson.loads(source.value(row) or b"{}")
    return {name: event[name] for name in LABEL_MEMBERS if isinstance(event.get(name), str)}
