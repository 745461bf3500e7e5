"""Pseudonyms: what stands for a personal value where people or other systems look.

A pseudonym is ``~`` and the first 80 bits of HMAC-SHA-256 over the value's text, in hexadecimal. The same
value has the same pseudonym in every field and table, so an account is recognised as the payee of another;
without the key nobody finds the value by trying all card numbers. Among 10^9 values two share a pseudonym
with a probability below 10^-6.
"""

from __future__ import annotations

import hmac

from fraudstream.stream.errors import Refusal
from fraudstream.stream.evidence import MASK, Hide, hidden_text, mask
from fraudstream.stream.security import secret
from fraudstream.stream.settings import PREFIX, Settings

MARK = "~"
HEX_DIGITS = 20
KEY_CHARACTERS_MIN = 16


def pseudonyms(key: bytes) -> Hide:
    """Return what turns a personal value into its pseudonym; what is no text or integer becomes ``****``."""

    def hide(value: object) -> object:
        if value is None:
            return None
        text = hidden_text(value)
        if text is None:
            return MASK
        return MARK + hmac.digest(key, text.encode(), "sha256").hex()[:HEX_DIGITS]

    return hide


def hide_by(settings: Settings) -> Hide:
    """Return what the settings say: pseudonyms with the key of a file, or masks.

    Raises:
        Refusal: the file cannot be read or holds no key.
    """
    path = settings.pseudonym_key_file
    if not path:
        return mask
    key = secret("pseudonym_key_file", path, "key")
    if len(key) < KEY_CHARACTERS_MIN:
        raise Refusal(
            f"`{PREFIX}PSEUDONYM_KEY_FILE` names `{path}`, whose key has {len(key)} characters; at least "
            f"{KEY_CHARACTERS_MIN} are expected, such as those of `openssl rand -hex 32`"
        )
    return pseudonyms(key.encode())
