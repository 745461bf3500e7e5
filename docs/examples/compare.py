"""Hold decisions against what became of the transactions: `compare.py decisions.jsonl [--fraud ids.txt]`."""

import argparse
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path


def read_decisions(path: Path) -> list[dict]:
    """Return the decisions of a file, one a line, as `replay` and shadow_decisions.py write them."""
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def summary(decisions: Iterable[dict], fraud: set[str]) -> list[str]:
    """Return the report, line by line."""
    decisions = list(decisions)
    unreadable = [item for item in decisions if "malformed" in item["flags"]]
    judged = [item for item in decisions if not {"malformed", "duplicate"} & set(item["flags"])]
    kinds = Counter(item["decision"] for item in judged)
    lines = [f"{len(judged):,} transactions: " + _counts(kinds, ("block", "alert", "pass"))]
    if unreadable:
        causes = Counter(item["reasons"][0]["text"] for item in unreadable)
        lines.append(
            f"{len(unreadable):,} unreadable: " + _counts(causes, [c for c, _ in causes.most_common(5)])
        )
    seen = [item for item in judged if item["decision"] != "pass"]
    reasons = Counter(reason["code"] for item in seen for reason in item["reasons"])
    if reasons:
        lines.append("reasons: " + _counts(reasons, [code for code, _ in reasons.most_common(8)]))
    if fraud:
        known = [item for item in judged if item["transaction_id"] in fraud]
        caught = Counter(item["decision"] for item in known)
        lines.append(f"known fraud: {len(known):,} of {len(fraud):,} found in the log, "
                     + _counts(caught, ("block", "alert", "pass")))  # fmt: skip
        others = len(judged) - len(known)
        false = sum(item["transaction_id"] not in fraud for item in seen)
        lines.append(f"false alarms: {false:,} of {others:,} others ({false / max(1, others):.2%})")
    return lines


def _counts(found: Counter, names: Iterable[str]) -> str:
    return ", ".join(f"{found[name]:,} {name}" for name in names)


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("decisions", type=Path)
    parser.add_argument("--fraud", type=Path, help="transaction ids of confirmed fraud, one a line")
    args = parser.parse_args()
    fraud = set(args.fraud.read_text("utf-8").split()) if args.fraud else set()
    print("\n".join(summary(read_decisions(args.decisions), fraud)))


if __name__ == "__main__":
    main()
