"""Compiled bundles of this worker's state directory: a bundle is compiled once and not at every start.

They are a cache and nothing more: each lies under its bundle's hash, is read only if this compiler wrote it
from just these sources and this user owns it alone, and is made anew where it is not. Removing them costs the
time of compiling. Sources always come first: what is in force is named by their hash.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from fraudstream.rules.bundle import Bundle
from fraudstream.rules.compiler.compile import archive_hash, compile_archive
from fraudstream.rules.compiler.packed import PackedError, compiler_digest, pack, unpack
from fraudstream.stream import messages
from fraudstream.stream.logs import tell

SUFFIX = ".rules"
FORMS_KEPT = 12
"""The ten bundles that may be gone back to, one in force before them, and one that is being judged."""
BYTES_MAX = 256 << 20
"""Beyond what 16 MiB of sources compile to: a larger file is none of ours."""


class CompiledForms:
    """Files of one directory; several processes may share it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def load(self, archive: bytes) -> Bundle:
        """Return the bundle of an archive, compiled now if it never was. Blocks for a second or so then.

        Raises:
            BundleError: the archive does not compile.
        """
        found = self.find(archive)
        if found is None:
            found = compile_archive(archive)
            self.keep(found)
        return found

    def find(self, archive: bytes) -> Bundle | None:
        """Return the bundle of an archive that was compiled here before, None if there is none to rely on."""
        path = self._path(archive_hash(archive))
        try:
            return unpack(_read(path), archive)
        except FileNotFoundError:
            return None
        except (OSError, PackedError) as problem:
            tell(messages.COMPILED_SKIPPED, path=path, problem=problem)
            return None

    def keep(self, bundle: Bundle) -> None:
        """Write a bundle's compiled form unless it is there; a failing disk only costs time later."""
        path = self._path(bundle.hash)
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            if path.exists():
                os.utime(path)
                return
            self._directory.mkdir(parents=True, exist_ok=True)
            handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(pack(bundle))
            part.replace(path)
            self._prune()
        except OSError as problem:
            tell(messages.COMPILED_NOT_KEPT, path=path, problem=problem)
            with suppress(OSError):
                part.unlink(missing_ok=True)

    def _path(self, version: str) -> Path:
        name = f"{version.removeprefix('sha256:')}-{compiler_digest()[:16]}{SUFFIX}"
        return self._directory / name

    def _prune(self) -> None:
        """Remove the forms that were used longest ago, those of other compilers among them."""
        files = sorted(self._directory.glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime_ns)
        for path in files[:-FORMS_KEPT]:
            path.unlink(missing_ok=True)


def _read(path: Path) -> bytes:
    """Read a file that only this user can have written.

    Raises:
        PackedError: another user owns it, or others may write it.
        OSError: it can not be read, or is a link.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as file:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode) or state.st_uid != os.getuid() or state.st_mode & 0o022:
            raise PackedError("other users may have written it")
        if state.st_size > BYTES_MAX:
            raise PackedError(f"it was larger than {BYTES_MAX >> 20} MiB, which no compiled form is")
        return file.read(BYTES_MAX)
