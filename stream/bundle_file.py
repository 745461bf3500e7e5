"""The file that `rules bundle` writes and `rules apply` reads: content under its hash, with signatures.

One JSON object, so that it can be reviewed, kept in version control and carried by any tool::

    {"format":"fraudstream-bundle/1","hash":"sha256:..","archive":"..",
     "compiled":{"core":..,"rules":..,"digest":".."},
     "signatures":[{"signer":..,"value":base64},..]}

``archive`` is the canonical text of the rule files; its SHA-256 is the bundle's name. ``compiled`` says what
compiling gave where the file was made: another digest elsewhere means another compiler, and is refused.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path

from fraudstream.rules.bundle import Bundle
from fraudstream.rules.compiler.compile import archive_hash
from fraudstream.stream.core import CORE
from fraudstream.stream.errors import BadUse
from fraudstream.stream.signing import SIGNATURES_MAX, Signature

FORMAT = "fraudstream-bundle/1"
BYTES_MAX = 64 << 20
"""Two copies of the largest archive."""


@dataclass(frozen=True, slots=True)
class BundleFile:
    """A bundle to be applied."""

    hash: str
    archive: bytes
    core: str
    rules: int
    digest: str
    """Of the compiled program."""
    signatures: tuple[Signature, ...] = ()


def of_bundle(bundle: Bundle) -> BundleFile:
    """Return the file of a bundle that was checked, without signatures."""
    return BundleFile(bundle.hash, bundle.archive, CORE, len(bundle.rules), bundle.program.digest)


def write_bundle(path: Path, content: BundleFile) -> None:
    """Write a bundle file, whole or not at all."""
    document = {
        "format": FORMAT,
        "hash": content.hash,
        "archive": content.archive.decode(),
        "compiled": {"core": content.core, "rules": content.rules, "digest": content.digest},
        "signatures": [
            {"signer": item.signer, "value": base64.b64encode(item.value).decode()}
            for item in content.signatures
        ],
    }
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    part.replace(path)


def read_bundle(path: Path) -> BundleFile:
    """Read a bundle file.

    Raises:
        BadUse: it is none, or its content has another hash.
    """
    try:
        if path.stat().st_size > BYTES_MAX:
            raise BadUse(f"{path} is larger than {BYTES_MAX >> 20} MiB, which no bundle is")
        document = json.loads(path.read_bytes())
        if document["format"] != FORMAT:
            raise BadUse(f"{path} has format {document['format']!r:.80}, expected `{FORMAT}`")
        compiled, archive = document["compiled"], document["archive"].encode()
        signatures = tuple(
            Signature(str(item["signer"]), base64.b64decode(item["value"], validate=True))
            for item in document["signatures"][:SIGNATURES_MAX]
        )
        found = BundleFile(
            str(document["hash"]),
            archive,
            str(compiled["core"]),
            int(compiled["rules"]),
            str(compiled["digest"]),
            signatures,
        )
    except OSError as problem:
        raise BadUse(f"{path} cannot be read: {problem}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        raise BadUse(
            f"{path} is not a bundle ({type(problem).__name__}); make one with `fraudstream rules bundle`"
        ) from None
    if archive_hash(found.archive) != found.hash:
        raise BadUse(
            f"{path}: the content has not the hash `{found.hash:.80}`; it was changed after it was made"
        )
    return found
