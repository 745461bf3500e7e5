"""The registry: which models there are, which versions of them, which are in force, and how that came about.

A directory::

    <id>.yaml             a model: family, inputs, scope, owner (``kind: Model``), or a scorecard
    versions/<hex>.model  a version under the SHA-256 of its bytes; never changed
    active.model          what workers score with: champion, challengers and shadows in one file
    history.jsonl         one line a promotion or rollback: when, who, why, which versions

``active.model`` is replaced as a whole. Workers that watch it journal the change at an offset.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
import yaml

from fraudstream.models.checks import as_inputs, as_texts, check_members
from fraudstream.models.file import MAX_FILE_BYTES, dump_models, load_model
from fraudstream.models.inputs import Input, ModelError
from fraudstream.models.members import BLENDS, Member
from fraudstream.models.model import Model
from fraudstream.models.scorecard import read_scorecard

ACTIVE, HISTORY, VERSIONS = "active.model", "history.jsonl", "versions"
MAX_YAML_BYTES = 256_000

LEARNED = ("logistic", "binned", "adaptive_forest", "nightly_boosting", "blend")
"""Families that ``models train`` learns; a blend learns its parts."""

_ID = re.compile(r"[a-z][a-z0-9_]{0,63}")
_HEX = re.compile(r"[0-9a-f]{64}")
_WANTED = ("kind", "id", "family", "owner", "purpose")
_OPTIONAL: Mapping[str, Any] = {
    "inputs": [],
    "events": [],
    "where": {},
    "settings": {},
    "parts": [],
    "gates": {},
}


@dataclass(frozen=True, slots=True)
class Entry:
    """What a model of the registry is, apart from what it learned."""

    id: str
    family: str
    owner: str
    purpose: str
    inputs: tuple[Input, ...] = ()
    events: tuple[str, ...] = ()
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[str, ...] = ()
    """Models that a blend is made of."""
    gates: Mapping[str, float] = field(default_factory=dict)
    """Metric of the card -> the least that a version has to reach before it may be promoted to champion."""
    scorecard: Member | None = None


@dataclass(frozen=True, slots=True)
class Activation:
    """One line of the history."""

    at: str
    by: str
    why: str
    action: str
    version: str
    """Of ``active.model``."""
    roles: Mapping[str, tuple[str, str]]
    """Model -> (role, version)."""


class Registry:
    """One directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self) -> dict[str, Entry]:
        """Return the models by id.

        Raises:
            ModelError: a file is not what it should be; which and why.
        """
        found: dict[str, Entry] = {}
        for file in sorted(self.path.glob("*.yaml")):
            try:
                entry = read_entry(file.read_bytes())
            except ModelError as problem:
                raise ModelError(f"{file.name}: {problem}") from None
            if entry.id != file.stem:
                raise ModelError(f"{file.name}: its id is `{entry.id}`; name the file {entry.id}.yaml")
            found[entry.id] = entry
        return found

    def entry(self, name: str) -> Entry:
        """Return one model.

        Raises:
            ModelError: it is not registered.
        """
        entries = self.entries()
        if name not in entries:
            known = ", ".join(entries) or "none"
            raise ModelError(f"no model `{name}` in {self.path}; registered: {known}")
        return entries[name]

    def add(self, members: Sequence[Member]) -> str:
        """Keep a version of a model, the parts of a blend before it, and return its hash."""
        data = dump_models(members)
        version = "sha256:" + hashlib.sha256(data).hexdigest()
        file = self._file(version)
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            _write(file, data)
        return version

    def version(self, version: str) -> Model:
        """Return a version, whose champion is the model; nothing is parsed unless its hash is its name.

        Raises:
            ModelError: it is not there, or its bytes were changed.
        """
        return load_model(self._bytes(version))

    def versions(self) -> dict[str, list[str]]:
        """Return the versions of each model, by the time of their files."""
        found: dict[str, list[str]] = {}
        files = sorted(
            (self.path / VERSIONS).glob("*.model"), key=lambda file: (file.stat().st_mtime_ns, file)
        )
        for file in files:
            version = f"sha256:{file.stem}"
            model = self.version(version)
            found.setdefault(model.members[model.champion].id, []).append(version)
        return found

    def resolve(self, name: str, prefix: str | None) -> str:
        """Return the one version of a model whose hash begins with ``prefix``, without one the newest.

        Raises:
            ModelError: there is none, or more than one.
        """
        known = self.versions().get(name, [])
        if prefix is not None:
            known = [
                one for one in known if one.removeprefix("sha256:").startswith(prefix.removeprefix("sha256:"))
            ]
        if not known or (prefix is not None and len(known) > 1):
            what = f"version `{prefix}`" if prefix else "version"
            raise ModelError(f"model `{name}` has {len(known)} of {what}; `models list` shows them")
        return known[-1]

    def history(self) -> list[Activation]:
        """Return what was in force, oldest first."""
        file = self.path / HISTORY
        if not file.is_file():
            return []
        lines = [orjson.loads(line) for line in file.read_bytes().splitlines()]
        return [
            Activation(**{**line, "roles": {k: tuple(v) for k, v in line["roles"].items()}}) for line in lines
        ]

    def activate(
        self, roles: Mapping[str, tuple[str, str]], *, action: str, at: str, by: str, why: str
    ) -> Activation:
        """Put models in force: write ``active.model`` and the history.

        Raises:
            ModelError: not exactly one champion, or a version that is not there.
        """
        members: list[Member] = []
        for role, one in roles.values():
            model = self.version(one)
            members += [replace(m, role=m.role if m.role == "part" else role) for m in model.members]
        data = dump_models(members)
        version = "sha256:" + hashlib.sha256(data).hexdigest()
        done = Activation(at, by, why, action, version, dict(roles))
        line = {name: getattr(done, name) for name in Activation.__dataclass_fields__}
        line["roles"] = {name: list(pair) for name, pair in roles.items()}
        with (self.path / HISTORY).open("ab") as file:
            file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
            file.flush()
            os.fsync(file.fileno())
        _write(self.path / ACTIVE, data)
        return done

    def promote(self, name: str, version: str, role: str, *, at: str, by: str, why: str) -> Activation:
        """Give a version of a model a role; a champion before becomes a shadow, other roles stay."""
        history = self.history()
        roles = dict(history[-1].roles) if history else {}
        roles.pop(name, None)
        if role == "champion":
            roles = {n: ("shadow" if r == "champion" else r, v) for n, (r, v) in roles.items()}
        roles[name] = (role, version)
        return self.activate(roles, action="promote", at=at, by=by, why=why)

    def rollback(self, *, at: str, by: str, why: str) -> Activation:
        """Put back in force what was before the newest promotion that was not rolled back.

        Raises:
            ModelError: there was nothing before.
        """
        stack: list[Activation] = []
        for item in self.history():
            if item.action == "rollback":
                stack.pop()
            else:
                stack.append(item)
        if len(stack) < 2:
            raise ModelError(f"nothing was in force in {self.path} before; promote another version instead")
        return self.activate(stack[-2].roles, action="rollback", at=at, by=by, why=why)

    def _file(self, version: str) -> Path:
        digest = version.removeprefix("sha256:")
        if not _HEX.fullmatch(digest):
            raise ModelError(f"version `{version:.80}` was not `sha256:` and 64 hexadecimal digits")
        return self.path / VERSIONS / f"{digest}.model"

    def _bytes(self, version: str) -> bytes:
        file = self._file(version)
        if not file.is_file():
            raise ModelError(f"version `{version}` is not in {file.parent}")
        if file.stat().st_size > MAX_FILE_BYTES:
            raise ModelError(f"{file} has {file.stat().st_size} bytes, expected at most {MAX_FILE_BYTES}")
        data = file.read_bytes()
        if "sha256:" + hashlib.sha256(data).hexdigest() != "sha256:" + file.stem:
            raise ModelError(f"{file} does not have the hash that it is named by: it was changed")
        return data


def read_entry(data: bytes) -> Entry:
    """Read a model of the registry (``kind: Model`` or ``kind: Scorecard``).

    Raises:
        ModelError: what is wrong with it.
    """
    if len(data) > MAX_YAML_BYTES or b"&" in data or b"*" in data or b"!" in data:
        raise ModelError(f"expected at most {MAX_YAML_BYTES} bytes of YAML without anchors, aliases and tags")
    try:
        content = yaml.safe_load(data)
    except (yaml.YAMLError, ValueError, RecursionError) as problem:
        raise ModelError(f"not YAML ({' '.join(str(problem).split())})") from None
    if not isinstance(content, dict) or content.get("kind") not in ("Model", "Scorecard"):
        raise ModelError("expected a document with `kind: Model` or `kind: Scorecard`")
    if content["kind"] == "Scorecard":
        card = read_scorecard(data)
        return Entry(
            card.id, "scorecard", card.card["owner"], card.card["purpose"], card.inputs, scorecard=card
        )
    content = {**_OPTIONAL, **content}
    check_members(content, "a model", (*_WANTED, *_OPTIONAL))
    for name in ("id", "family", "owner", "purpose"):
        if not isinstance(content[name], str) or not 0 < len(content[name]) <= 256:
            raise ModelError(f"`{name}` was not a short text")
    if not _ID.fullmatch(content["id"]):
        raise ModelError("`id` was not lower-case letters, digits and `_`, at most 64")
    if content["family"] not in LEARNED:
        raise ModelError(f"`family` was `{content['family']}`, expected one of {', '.join(LEARNED)}")
    blend = content["family"] == "blend"
    if blend and content["settings"] not in [{"combine": name} for name in BLENDS if name != "stacked"]:
        raise ModelError("a blend has `settings: {combine: max}` or `{combine: mean_logit}`")
    for name in ("where", "settings", "gates"):
        if not isinstance(content[name], dict):
            raise ModelError(f"`{name}` was not a mapping")
    return Entry(
        content["id"],
        content["family"],
        content["owner"],
        content["purpose"],
        as_inputs([_full(item) for item in _rows(content["inputs"])], at_least=0 if blend else 1),
        as_texts(content["events"], "events", at_least=0),
        {name: as_texts(values, f"where.{name}") for name, values in content["where"].items()},
        content["settings"],
        as_texts(content["parts"], "parts", at_least=2 if blend else 0, at_most=100 if blend else 0),
        {str(name): float(value) for name, value in content["gates"].items()},
    )


def _rows(value: object) -> Sequence[object]:
    if not isinstance(value, list):
        raise ModelError("`inputs` was not a list")
    return value


def _full(item: object) -> object:
    if isinstance(item, str):
        return [item, "identity", ""]
    return {"transform": "identity", "argument": "", **item} if isinstance(item, dict) else item


def _write(file: Path, data: bytes) -> None:
    """Write a file as a whole: whoever reads it sees the old bytes or the new ones."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(file)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise
