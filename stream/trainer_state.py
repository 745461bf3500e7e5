"""The trainer's snapshots: what was learned and the offsets that it was learned from, in one file.

Layout: 8 bytes ``FSTRAIN1``, SHA-256 of the rest, a pickle. River's models can not be written otherwise; the
file is this process's own, lies in its state directory, and is read by an unpickler that makes objects of
River, NumPy and Python's collections only (docs/adr/0014-the-trainer-reads-one-log.md). A file counts once it
has its final name.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fraudstream.stream.errors import Refusal

MAGIC = b"FSTRAIN1"
SUFFIX = ".trainer"
KEPT = 2
_DIGEST = 32
_MODULES = ("river.", "collections.")
_NAMES = {
    "builtins": {"bool", "bytearray", "complex", "float", "frozenset", "int", "set", "slice", "str"},
    "copyreg": {"_reconstructor", "__newobj__"},
    "fraudstream.models.binning": {"Binner"},
    "functools": {"partial"},
    "numpy": {"dtype", "ndarray"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.numeric": {"_frombuffer"},
    "random": {"Random"},
}


class _Known(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.".startswith(_MODULES) or name in _NAMES.get(module, ()):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is nothing that a trainer writes")


class TrainerStore:
    """Snapshots in one directory."""

    def __init__(self, directory: Path, passed: Callable[[str], object]) -> None:
        self._directory = directory
        self._passed = passed

    def write(self, border_ms: int, state: Any) -> None:
        """Write a snapshot; it counts when this returns.

        Raises:
            OSError: no space, no permission, a failing disk; nothing that counts was touched.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        body = pickle.dumps(state, protocol=5)
        path = self._directory / f"{border_ms:020d}{SUFFIX}"
        temporary = path.with_suffix(f"{SUFFIX}.tmp")
        with temporary.open("wb") as file:
            file.write(MAGIC + hashlib.sha256(body).digest())
            file.write(body[: len(body) // 2])
            file.flush()
            self._passed("mid_snapshot")
            file.write(body[len(body) // 2 :])
            file.flush()
            os.fsync(file.fileno())
        self._passed("before_rename")
        temporary.rename(path)
        handle = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        self._passed("after_rename")
        for old in self._files()[KEPT:]:
            old.unlink(missing_ok=True)

    def newest(self) -> Any:
        """Return the state of the newest snapshot, None if there is none.

        Raises:
            Refusal: there are files, and none of them is whole.
        """
        files = self._files()
        for path in files:
            data = path.read_bytes()
            body = data[len(MAGIC) + _DIGEST :]
            if data[: len(MAGIC)] == MAGIC and hashlib.sha256(body).digest() == data[len(MAGIC) :][:_DIGEST]:
                return _Known(io.BytesIO(body)).load()
        if files:
            raise Refusal(
                f"no snapshot in {self._directory} is whole; restore one from a backup, or remove them: then "
                "the trainer learns anew from what the features topic still has"
            )
        return None

    def _files(self) -> list[Path]:
        return sorted(self._directory.glob(f"*{SUFFIX}"), reverse=True)
