"""What commands decide with: the rules directory and model they are given, or those of the installation."""

from __future__ import annotations

from pathlib import Path

import fraudstream.models
import fraudstream.rules
from fraudstream.models.file import load_model
from fraudstream.models.inputs import ModelError
from fraudstream.models.model import Model
from fraudstream.rules.compiler.compile import read_directory
from fraudstream.stream.errors import BadUse
from fraudstream.stream.scoring import NO_MODEL


def shipped_rules() -> Path:
    """Return the shipped rules directory."""
    return Path(fraudstream.rules.__path__[0])


def default_rules() -> Path:
    """Return ``rules/`` of the current directory if there is one, else the shipped directory."""
    here = Path("rules")
    return here if (here / "schema.yaml").is_file() else shipped_rules()


def champion_file() -> Path:
    """Return where the shipped champion lies."""
    return Path(fraudstream.models.__path__[0]) / "registry" / "champion.json"


def shipped_model() -> bytes | None:
    """Return the shipped champion's file, None if there is none."""
    file = champion_file()
    return file.read_bytes() if file.is_file() else None


def read_rules(directory: Path) -> dict[str, bytes]:
    """Return the files of a rules directory.

    Raises:
        BadUse: there is no such directory.
    """
    try:
        return read_directory(directory)
    except NotADirectoryError as problem:
        raise BadUse(str(problem)) from None


def named_model(name: str | None) -> Model | None:
    """Return the model of a file; None: the shipped one; ``none``: none.

    Raises:
        BadUse: the file is no model.
    """
    data = shipped_model() if name is None else None if name == NO_MODEL else Path(name).read_bytes()
    try:
        return None if data is None else load_model(data)
    except ModelError as problem:
        raise BadUse(f"{name or 'shipped model'}: {problem}") from None
