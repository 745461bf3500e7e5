"""Hashes of declarations: the same meaning gives the same bytes, whatever the file looked like."""

from __future__ import annotations

import hashlib
import json


def canonical_json(value: object) -> bytes:
    """Return JSON with sorted keys, no spaces and raw UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(value: object) -> str:
    """Return the SHA-256 of a declaration as hex."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def tidy(expression: str) -> str:
    """Return an expression's text without line breaks and spare spaces; texts in quotes stay as they are.

    Two expressions with one tidy text mean the same; the reverse is not promised.
    """
    out: list[str] = []
    quote = ""
    for char in expression.strip():
        if quote:
            quote = "" if char == quote and out[-1] != "\\" else quote
        elif char in "\"'":
            quote = char
        elif char.isspace():
            if out[-1] == " ":
                continue
            out.append(" ")
            continue
        out.append(char)
    return "".join(out)
