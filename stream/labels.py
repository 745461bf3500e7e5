"""A record of the labels topic becomes an event of type `label`, or is rejected with a code.

The event has the label's own members (entity keys, `label`, `labelled_at`, `source`, ...) and

* `transaction_id` `label:<partition>-<offset>` of the label record: published again it is a duplicate
* `event_time` the timestamp of the label record
* `original_id`, `original_src` the transaction that it is about; the event goes to that partition.

Reading is strict: what could be read in two ways is rejected, nothing is dropped.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any, NamedTuple

import orjson

LABEL_BYTES_MAX = 65_536
"""As of a transaction, which the event becomes."""
LABELS = ("fraud", "legitimate")
CODES = (
    "too_large",
    "empty",
    "bad_json",
    "not_object",
    "duplicate_member",
    "missing_field",
    "wrong_type",
    "bad_id",
    "bad_time",
    "bad_label",
    "bad_src",
)
"""Why a label is rejected, in the order in which it is judged."""
REQUIRED = ("transaction_id", "src", "account_id", "label", "labelled_at", "source")

_ID = re.compile(r'(?:(?!["\\])[!-~]){1,128}')
_SRC = re.compile(r"(0|[1-9]\d{0,5}):(0|[1-9]\d{0,17})")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")
_DEPTH_MAX = 16
_YEARS = range(2000, 2100)


class LabelEvent(NamedTuple):
    """An event to append to the input."""

    partition: int
    key: bytes
    value: bytes


class BadLabel(Exception):  # noqa: N818 - named for the record
    """A record that is no label; ``code`` is one of :data:`CODES`, ``field`` the member or empty."""

    def __init__(self, code: str, field: str = "") -> None:
        super().__init__(f"{code} {field}".rstrip())
        self.code, self.field = code, field


def own_id(partition: int, offset: int) -> str:
    """Return the transaction id of the event that a label record becomes."""
    return f"label:{partition}-{offset}"


def label_event(
    value: bytes | None, partition: int, offset: int, time_ms: int, partitions: int
) -> LabelEvent:
    """Make the event of a label record.

    Args:
        value: the record's.
        partition: of the labels topic.
        offset: of the record.
        time_ms: its timestamp; below 0: none, then the event's time is `labelled_at`.
        partitions: of the input.

    Raises:
        BadLabel: it can not be read as a label.
    """
    label = _object(value)
    for name in REQUIRED:
        if label.get(name) is None:
            raise BadLabel("missing_field", name)
    account = label["account_id"]
    if isinstance(account, int) and not isinstance(account, bool):
        account = str(account)
    texts = {**{name: label[name] for name in REQUIRED}, "account_id": account}
    for name, text in texts.items():
        if not isinstance(text, str):
            raise BadLabel("wrong_type", name)
    if not _ID.fullmatch(texts["transaction_id"]) or len(texts["transaction_id"]) > 64:
        raise BadLabel("bad_id", "transaction_id")
    for name in ("account_id", "source"):
        if not _ID.fullmatch(texts[name]):
            raise BadLabel("bad_id", name)
    labelled_ms = _milliseconds(texts["labelled_at"])
    if texts["label"] not in LABELS:
        raise BadLabel("bad_label", "label")
    found = _SRC.fullmatch(texts["src"])
    if found is None or int(found[1]) >= partitions:
        raise BadLabel("bad_src", "src")
    event = {
        **{name: item for name, item in label.items() if name not in ("src", "event_type", "status")},
        "transaction_id": own_id(partition, offset),
        "event_type": "label",
        "event_time": time_ms if time_ms >= 0 else labelled_ms,
        "original_id": texts["transaction_id"],
        "original_src": texts["src"],
    }
    made = orjson.dumps(event)
    if len(made) > LABEL_BYTES_MAX:
        raise BadLabel("too_large")
    return LabelEvent(int(found[1]), account.encode(), made)


def _object(value: bytes | None) -> dict[str, Any]:
    if not value:
        raise BadLabel("empty")
    if len(value) > LABEL_BYTES_MAX:
        raise BadLabel("too_large")
    try:
        # Strict, UTF-8 and surrogates included; of repeated members it takes the last, the other tells.
        parsed = orjson.loads(value)
        if _depth(parsed) > _DEPTH_MAX:
            raise BadLabel("bad_json")
        if not isinstance(parsed, dict):
            raise BadLabel("not_object")
        json.loads(value, object_pairs_hook=_each_once)
    except ValueError:
        raise BadLabel("bad_json") from None
    return parsed


def _each_once(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise BadLabel("duplicate_member", name if name in REQUIRED else "")
        seen.add(name)


def _depth(item: Any) -> int:
    level, found = [item], 0
    while level:
        found += 1
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
    return found


def _milliseconds(text: str) -> int:
    if not _TIME.fullmatch(text):
        raise BadLabel("bad_time", "labelled_at")
    try:
        at = datetime.fromisoformat(text.upper())
    except ValueError:
        raise BadLabel("bad_time", "labelled_at") from None
    if at.year not in _YEARS:
        raise BadLabel("bad_time", "labelled_at")
    return int(at.timestamp() * 1000)
