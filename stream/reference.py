"""Reference pages made from declarations: `python -m fraudstream.stream.reference` writes them.

A test compares the committed pages with what this module makes, so they cannot go stale.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from fraudstream.rules.bundle import Type
from fraudstream.rules.compiler.functions import FUNCTIONS, Function
from fraudstream.stream.messages import MESSAGES
from fraudstream.stream.metrics import METRICS, Metric
from fraudstream.stream.settings import CONFIG_VARIABLE, OTHER_VARIABLES, PREFIX, Meta, describe

GENERATED = "<!-- Made by `python -m fraudstream.stream.reference`; do not edit. -->"
DIRECTORY = Path("docs/reference")
SETTINGS_INTRODUCTION = (
    f"Settings are connections, paths and resources. They come from `{PREFIX}*` variables, from the "
    f"TOML file that `{CONFIG_VARIABLE}` names (keys are the names in lower case, without the prefix), and "
    "from the defaults, in this order. A name that is not listed here is an error."
)
FUNCTIONS_INTRODUCTION = (
    "The set is closed. A missing argument makes the result missing, and a comparison with it unknown; "
    "`coalesce` is the exception."
)
METRICS_INTRODUCTION = (
    "The worker serves them in Prometheus' text format at `/metrics`. Label values are closed sets: nothing "
    "that a transaction contains becomes a label."
)
LOGS_INTRODUCTION = (
    "The worker writes to standard error: with `FRAUDSTREAM_LOG_FORMAT=json` one object a line with `time`, "
    "`level`, `event`, `text`, `action`, the fields, and where they apply `places` of an error, `repeated` "
    "and `over_s`; else lines for people. A message that comes again within 10 s with the same values of the "
    'fields under "same" is counted, and the count written after them. No message holds anything of a '
    "transaction, nor the text of an unexpected error."
)


def settings_page() -> str:
    """Return the page about settings."""
    lines = [
        "# Settings",
        "",
        GENERATED,
        "",
        SETTINGS_INTRODUCTION,
        "",
        "No setting changes a byte of a decision. What does is in the rules directory, and journaled.",
    ]
    declared = [(name, *rest) for name, rest in describe().items()]
    for group in dict.fromkeys(meta.group for _, _, _, meta in declared):
        rows = [
            (f"`{PREFIX}{name.upper()}`", _default(default), _allowed(kind, meta), meta.doc)
            for name, kind, default, meta in declared
            if meta.group == group
        ]
        lines += ["", f"## {group}", "", *_table(("variable", "default", "allowed", "meaning"), rows)]
    lines += ["", "## Other variables", ""]
    lines += _table(
        ("variable", "meaning"),
        [(f"`{name}`", f"{doc[0].upper()}{doc[1:]}.") for name, doc in OTHER_VARIABLES.items()],
    )
    return "\n".join(lines) + "\n"


def metrics_page() -> str:
    """Return the page about metrics."""
    lines = [
        "# Metrics",
        "",
        GENERATED,
        "",
        METRICS_INTRODUCTION,
    ]
    for metric in METRICS:
        lines += ["", f"## `{metric.full_name}`", "", metric.meaning, "", *_facts(metric)]
    return "\n".join(lines) + "\n"


def functions_page() -> str:
    """Return the page about the functions of rule expressions."""
    rows = [
        (f"`{item.signature}`", _argument_types(item), item.result, item.meaning)
        for item in FUNCTIONS.values()
    ]
    return "\n".join(
        [
            "# Functions of rule expressions",
            "",
            GENERATED,
            "",
            FUNCTIONS_INTRODUCTION,
            "",
            *_table(("function", "arguments", "result", "meaning"), rows),
            "",
        ]
    )


def logs_page() -> str:
    """Return the page about the log's messages."""
    rows = [
        (
            f"`{item.event}`",
            logging.getLevelName(item.level).lower(),
            item.text,
            item.action,
            ", ".join(f"`{name}`" for name in item.more) or "-",
            ", ".join(f"`{name}`" for name in item.per) or "-",
        )
        for item in MESSAGES
    ]
    head = ("event", "level", "what happened", "what to do", "other fields", "same")
    return "\n".join(["# Log messages", "", GENERATED, "", LOGS_INTRODUCTION, "", *_table(head, rows), ""])


PAGES = {
    "settings.md": settings_page,
    "metrics.md": metrics_page,
    "functions.md": functions_page,
    "logs.md": logs_page,
}


def write(directory: Path = DIRECTORY) -> None:
    """Write all pages."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (directory / name).write_text(page(), "utf-8")


def _facts(metric: Metric) -> list[str]:
    lines = [f"- Kind: {metric.kind}, in {metric.unit}."]
    for label in metric.labels:
        values = ", ".join(f"`{value}`" for value in label.values) or label.source
        lines.append(f"- Label `{label.name}`: {values}.")
    if metric.buckets:
        lines.append(f"- Buckets: {', '.join(f'{bound:g}' for bound in metric.buckets)}.")
    return [*lines, f"- What to do: {metric.action}"]


def _argument_types(function: Function) -> str:
    return "; ".join(
        f"{param.name}: " + ("any type" if len(param.types) == len(Type) else ", ".join(param.types))
        for param in function.params
    )


def _default(value: object) -> str:
    return f"`{value}`" if str(value) else "empty"


def _allowed(kind: type, meta: Meta) -> str:
    if meta.choices:
        return ", ".join(f"`{choice}`" for choice in meta.choices)
    if meta.unit == "port":
        return f"{meta.low} to {meta.high}"
    if meta.low is not None and meta.high is not None:
        return f"{meta.low:,} to {meta.high:,} {meta.unit}"
    return meta.expected or ("a path" if kind is Path else "a path, or empty")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    table = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table]


if __name__ == "__main__":
    write(*map(Path, sys.argv[1:]))
