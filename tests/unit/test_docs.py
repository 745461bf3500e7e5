"""Links of the documentation lead somewhere, and pages that code names exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_to_files(page: Path) -> None:
    """A page that moved is found here."""
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    inside = [link for link in links if not link.startswith(("http:", "https:"))]
    assert not [link for link in inside if not (page.parent / link).exists()]


def test_pages_that_code_refers_to_exist() -> None:
    """Docstrings name pages of docs/; each is there."""
    named: set[str] = set()
    for folder in ("stream", "models", "rules", "bench"):
        for path in (ROOT / folder).rglob("*.py"):
            named |= set(re.findall(r"docs/[\w/-]+\.md", path.read_text("utf-8")))
    assert named
    assert not [name for name in sorted(named) if not (ROOT / name).exists()]


def test_every_figure_of_the_readme_has_a_report() -> None:
    """The rows about measurements link a committed report or repeat the one above."""
    table = (ROOT / "README.md").read_text("utf-8").split("## Measured")[1].split("##")[0]
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    assert rows
    assert all("bench/reports/" in row or row.rstrip("| ").endswith("same") for row in rows)
