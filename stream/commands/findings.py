"""Findings of `rules lint` for programs: JSON, GitHub's annotations, SARIF.

SARIF is version 2.1.0 of OASIS, what code hosts and editors show beside the lines.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from importlib.metadata import version
from urllib.parse import quote

from fraudstream.rules.compiler.source import Diagnostic

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_ERROR = "error"
"""Rule of SARIF for all errors: they have no codes of their own."""


def as_json(findings: Sequence[Diagnostic], prefix: str) -> str:
    """Return a list of objects."""
    return json.dumps([_as_json(item, prefix) for item in findings], ensure_ascii=False, indent=1)


def as_annotations(findings: Sequence[Diagnostic], prefix: str) -> str:
    """Return workflow commands as GitHub Actions reads them from a step's output."""
    return "\n".join(_as_annotation(item, prefix) for item in findings)


def as_sarif(findings: Sequence[Diagnostic], prefix: str) -> str:
    """Return a log with one run; columns count characters, as SARIF calls `unicodeCodePoints`."""
    codes = sorted({item.code or _ERROR for item in findings})
    driver = {
        "name": "fraudstream rules lint",
        "version": version("fraudstream"),
        "rules": [{"id": code} for code in codes],
    }
    results = [
        {
            "ruleId": item.code or _ERROR,
            "ruleIndex": codes.index(item.code or _ERROR),
            "level": item.level,
            "message": {"text": item.text},
            "locations": [{"physicalLocation": _location(item, prefix)}],
        }
        for item in findings
    ]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, ensure_ascii=False, indent=1)


FORMATS: dict[str, Callable[[Sequence[Diagnostic], str], str]] = {
    "json": as_json,
    "github": as_annotations,
    "sarif": as_sarif,
}


def _location(item: Diagnostic, prefix: str) -> dict[str, object]:
    span = item.span
    region = {"startLine": span.line, "startColumn": span.column, "endColumn": span.column + span.length}
    uri = quote((prefix + span.file).replace("\\", "/"))
    return {"artifactLocation": {"uri": uri}, "region": region}


def _as_json(item: Diagnostic, prefix: str) -> dict[str, object]:
    span = item.span
    return {
        "level": item.level,
        "message": item.message,
        "hint": item.hint,
        "code": item.code,
        "file": prefix + span.file,
        "line": span.line,
        "column": span.column,
        "length": span.length,
    }


def _as_annotation(item: Diagnostic, prefix: str) -> str:
    """Return a workflow command."""
    span = item.span
    place = {
        "file": prefix + span.file,
        "line": span.line,
        "col": span.column,
        "endColumn": span.column + span.length,
        "title": item.code or "rules",
    }
    properties = ",".join(f"{name}={_escaped(str(value), more=True)}" for name, value in place.items())
    return f"::{item.level} {properties}::{_escaped(item.text)}"


def _escaped(text: str, *, more: bool = False) -> str:
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return text.replace(":", "%3A").replace(",", "%2C") if more else text
