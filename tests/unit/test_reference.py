"""The committed reference pages are those that the declarations make."""

from __future__ import annotations

from pathlib import Path

import pytest

from fraudstream.stream.reference import PAGES

DOCS = Path(__file__).resolve().parents[2] / "docs" / "reference"


@pytest.mark.parametrize("name", list(PAGES))
def test_the_committed_page_is_current(name: str) -> None:
    """A setting or metric that was changed without its page is found here."""
    assert (DOCS / name).read_text("utf-8") == PAGES[name](), "run `python -m fraudstream.stream.reference`"


@pytest.mark.parametrize("name", list(PAGES))
def test_pages_are_well_formed_tables(name: str) -> None:
    """Rows of a table have as many cells as its head."""
    cells = 0
    for line in PAGES[name]().splitlines():
        count = line.replace("\\|", "").count("|")
        assert count == cells or not (count and cells), line
        cells = count
