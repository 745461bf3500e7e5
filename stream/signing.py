"""Ed25519 signatures of bundles: who agrees to a change. Keys are PEM files, as OpenSSL writes them.

What is signed is the line ``fraudstream bundle <hash>``: a signature says "this content may be in force",
wherever it is applied and however often.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from fraudstream.stream.errors import BadUse

SIGNATURES_WANTED = 2
"""For a wider change: nobody lets more through, or blocks more, alone."""
SIGNATURES_MAX = 16


class Signature(NamedTuple):
    """Somebody's agreement to a bundle."""

    signer: str
    """As in ``policy.signers``; a hint only, the key decides."""
    value: bytes


def message(bundle: str) -> bytes:
    """Return what is signed for ``sha256:<hex>``."""
    return f"fraudstream bundle {bundle}\n".encode()


def load_private_key(path: Path, password: bytes | None = None) -> Ed25519PrivateKey:
    """Read a private key from a PEM file.

    Raises:
        BadUse: it is none, or of another kind, or its password is missing or wrong.
    """
    try:
        key = load_pem_private_key(path.read_bytes(), password)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as problem:
        raise BadUse(f"{path} cannot be used as a private key: {problem}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise BadUse(
            f"{path} is not an Ed25519 key; make one with `openssl genpkey -algorithm ed25519 -out {path}`"
        )
    return key


def public_text(key: Ed25519PrivateKey) -> str:
    """Return the public key as ``policy.signers`` has it."""
    data = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(data).decode()


def raw_public(key: Ed25519PrivateKey) -> bytes:
    """Return the 32 bytes of the public key."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def sign(key: Ed25519PrivateKey, signer: str, bundle: str) -> Signature:
    """Agree to a bundle."""
    return Signature(signer, key.sign(message(bundle)))


def agreed(signatures: Sequence[Signature], signers: Mapping[str, bytes], bundle: str) -> list[str]:
    """Return the signers whose signatures of a bundle are good, each once, sorted."""
    found: set[str] = set()
    for signature in signatures[:SIGNATURES_MAX]:
        for name, key in signers.items():
            try:
                Ed25519PublicKey.from_public_bytes(key).verify(signature.value, message(bundle))
            except (InvalidSignature, ValueError):
                continue
            found.add(name)
    return sorted(found)
