"""What the declared log messages look like.

After a change of messages write the golden file anew and look at the difference::

    PYTHONPATH=tests python -m support.log_messages
"""

from __future__ import annotations

import logging
from pathlib import Path

from fraudstream.stream.logs import as_json, as_text, line_of
from fraudstream.stream.messages import MESSAGES, Message

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests/golden/log_messages.txt"
SAMPLES: dict[str, object] = {
    "version": "0.1.0", "app": "fraudstream", "broker": "kafka:9093", "core": "1", "rules_dir": "/etc/rules",
    "exit_code": 77, "problem": "first line of the problem\nsecond line", "errors": 2, "tables": 1,
    "bundle": "sha256:5f2c", "partitions": 12, "partition": 3, "epoch": 41, "offset": 18231,
    "source": "snapshot", "input_end": 18500, "published": 120, "changes": {"bundle": "sha256:5f2c"},
    "state_from": 100, "border": 18231, "kind": "ValueError", "table": "customer", "rows": 400, "removed": 3,
    "bytes": 9000, "topic": "bank.customers", "policy": "delete", "logger": "aiokafka.client",
    "path": "/var/models/active.model", "models": "sha256:90ab",
    "text": "no node", "change": "c-0194", "by": "anna", "seconds": 60, "part": "fetch", "reason": "format",
    "first": 100, "end": 200, "model": "forest", "moved": 0.031, "bound": 0.02,
    "average_precision": 0.71, "digest": "5f2c", "to": "2026-11-24T02:00:00Z",
}  # fmt: skip
"""A value for every field."""


def make_record(message: Message) -> logging.LogRecord:
    """Return a record of a declared message with the samples' values."""
    fields = {name: SAMPLES[name] for name in message.fields}
    record = logging.LogRecord("x", message.level, "", 0, message.text.format(**fields), (), None)
    record.declared, record.fields, record.created = message, fields, 1_795_488_011.123
    return record


def samples() -> str:
    """Return every message for people and as JSON, once as it is and once with repeats."""
    parts = []
    for message in MESSAGES:
        line = line_of(make_record(message))
        again = line_of(make_record(message), repeated=7, over_s=10)
        parts.append(f"{as_text(line)}\n{as_json(again)}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    GOLDEN.write_text(samples())
