"""Rules: what risk operators write, and the compiler that turns it into arrays.

The names below are the public surface; they are loaded when they are first used, so that the shared
types of :mod:`fraudstream.rules.bundle` cost nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fraudstream.rules.bundle import Bundle
    from fraudstream.rules.compiler.casefile import HistoryOutcome, HistoryRunner, TestResult, run_tests
    from fraudstream.rules.compiler.compile import (
        BundleError,
        Compiled,
        compile_archive,
        compile_sources,
        read_directory,
    )
    from fraudstream.rules.compiler.explain import explain
    from fraudstream.rules.compiler.isolated import compile_isolated
    from fraudstream.rules.compiler.jsonschema import json_schema
    from fraudstream.rules.compiler.source import Diagnostic, Span, render_all

_HOME = {
    "Bundle": "bundle",
    "BundleError": "compiler.compile",
    "Compiled": "compiler.compile",
    "Diagnostic": "compiler.source",
    "HistoryOutcome": "compiler.casefile",
    "HistoryRunner": "compiler.casefile",
    "Span": "compiler.source",
    "TestResult": "compiler.casefile",
    "compile_archive": "compiler.compile",
    "compile_isolated": "compiler.isolated",
    "compile_sources": "compiler.compile",
    "explain": "compiler.explain",
    "json_schema": "compiler.jsonschema",
    "read_directory": "compiler.compile",
    "render_all": "compiler.source",
    "run_tests": "compiler.casefile",
}

__all__ = [
    "Bundle",
    "BundleError",
    "Compiled",
    "Diagnostic",
    "HistoryOutcome",
    "HistoryRunner",
    "Span",
    "TestResult",
    "compile_archive",
    "compile_isolated",
    "compile_sources",
    "explain",
    "json_schema",
    "read_directory",
    "render_all",
    "run_tests",
]


def __getattr__(name: str) -> object:
    """Load a public name from the module that defines it."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
