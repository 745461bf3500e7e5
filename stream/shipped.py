"""What comes with the installation: the rules directory and the champion."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

import fraudstream.rules


def shipped_rules() -> Path:
    """Return the shipped rules directory."""
    return Path(fraudstream.rules.__path__[0])


def default_rules() -> Path:
    """Return ``rules/`` of the current directory if there is one, else the shipped directory."""
    here = Path("rules")
    return here if (here / "schema.yaml").is_file() else shipped_rules()


def shipped_model() -> bytes | None:
    """Return the shipped champion's file, None if there is none."""
    file = importlib.resources.files("fraudstream.models") / "registry" / "champion.json"
    return file.read_bytes() if file.is_file() else None
