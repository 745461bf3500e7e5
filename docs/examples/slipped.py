"""Frauds that passed: `python docs/examples/slipped.py LABELS DECISIONS`, one a line.

LABELS has a JSON object a line with `transaction_id` and `label`; DECISIONS is what `export --topic
decisions` or `replay --output` wrote.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any


def decisions(path: Path) -> dict[str, dict[str, Any]]:
    """Return the first decision of each transaction."""
    found: dict[str, dict[str, Any]] = {}
    for line in path.read_bytes().splitlines():
        record = json.loads(line)
        if "v" in record:  # an envelope of `export`
            record = json.loads(base64.b64decode(record["v"]))
        if record["transaction_id"] is not None:
            found.setdefault(record["transaction_id"], record)
    return found


def main(labels: str, decided: str) -> None:
    """Print each fraud that passed, and how many there were."""
    made = decisions(Path(decided))
    rows = [json.loads(line) for line in Path(labels).read_text("utf-8").splitlines()]
    frauds = [row for row in rows if row["label"] == "fraud" and row["transaction_id"] in made]
    passed = [row for row in frauds if made[row["transaction_id"]]["decision"] == "pass"]
    for row in passed:
        print(row["transaction_id"], row.get("account_id", ""), row.get("pattern", ""))
    print(f"{len(passed)} of {len(frauds)} frauds passed")


if __name__ == "__main__":
    main(*sys.argv[1:])
