"""Pseudonyms are a published function of value and key; a key comes from a file and is long enough."""

from __future__ import annotations

from pathlib import Path

import pytest

from fraudstream.stream.errors import Refusal
from fraudstream.stream.evidence import mask
from fraudstream.stream.pseudonyms import hide_by, pseudonyms
from fraudstream.stream.settings import load_settings


def test_a_pseudonym_is_that_of_rfc_4231() -> None:
    """Its second test case, cut to 80 bits."""
    assert pseudonyms(b"Jefe")("what do ya want for nothing?") == "~5bdcc146bf60754e6a04"


def test_the_same_value_has_one_pseudonym_however_it_is_written_and_another_with_another_key() -> None:
    """A number and its digits are the same; keys differ."""
    hide = pseudonyms(b"a key of sixteen")
    assert hide("6222020200112233") == hide(6222020200112233)
    assert hide("6222020200112233") != hide("6222020200112234")
    assert hide("1") != pseudonyms(b"another key of 16")("1")


@pytest.mark.parametrize(
    ("value", "shown"), [(None, None), (30.57, "****"), ([1, 2], "****"), (True, "****")]
)
def test_what_is_no_text_or_integer_has_none(value: object, shown: object) -> None:
    """Null stays null: that something is missing is no secret."""
    assert pseudonyms(b"a key of sixteen")(value) == shown


def test_a_key_comes_from_a_file(tmp_path: Path) -> None:
    """One line; without the setting values are masked."""
    path = tmp_path / "key"
    path.write_text("a key of sixteen\n")
    hide = hide_by(load_settings({"FRAUDSTREAM_PSEUDONYM_KEY_FILE": str(path)}))
    assert hide("x") == pseudonyms(b"a key of sixteen")("x")
    assert hide_by(load_settings({})) is mask


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file or directory"),
        ("", "which holds no key: one line of UTF-8"),
        ("short\n", "whose key has 5 characters; at least 16 are expected"),
    ],
)
def test_an_unusable_key_is_refused(tmp_path: Path, content: str | None, said: str) -> None:
    """The message names the variable and what was expected, never the key."""
    path = tmp_path / "key"
    if content is not None:
        path.write_text(content)
    with pytest.raises(Refusal, match="FRAUDSTREAM_PSEUDONYM_KEY_FILE") as caught:
        hide_by(load_settings({"FRAUDSTREAM_PSEUDONYM_KEY_FILE": str(path)}))
    assert said in str(caught.value)
    assert "short" not in str(caught.value)
