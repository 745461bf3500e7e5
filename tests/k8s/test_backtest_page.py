"""The HTML report of a backtest in a real browser: nothing is fetched, charts are drawn, tables sort."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.browser import chromium

from fraudstream.bench.traffic.generate import generate
from fraudstream.stream.cli import main
from fraudstream.stream.shipped import shipped_rules

pytestmark = [pytest.mark.ops, pytest.mark.timeout(240)]

SHOTS = os.environ.get("FRAUDSTREAM_TEST_SHOTS")
"""Directory for screenshots, for a person to look at."""
COUNT = 20_000


async def test_the_report_is_one_page_that_needs_no_network(tmp_path: Path) -> None:
    """Summary, charts with tips, sorting, and a file name that would be markup if the page let it."""
    log, labels, page_file = (
        tmp_path / "log <img src=x>.jsonl",
        tmp_path / "labels.jsonl",
        tmp_path / "a.html",
    )
    with log.open("wb") as events, labels.open("wb") as known:
        for chunk in generate(COUNT, 7):
            events.writelines(value + b"\n" for value in chunk.values)
            known.writelines(label.encode() + b"\n" for label in chunk.labels)
    args = ["rules", "backtest", shipped_rules(), "--input", log, "--labels", labels, "--html", page_file]
    assert main(list(map(str, args))) == 0
    assert "http" not in page_file.read_text().replace("http-equiv", "")
    async with chromium(tmp_path) as page:
        await page.open(page_file.as_uri())
        assert (await page.text("h1")).startswith("Backtest of ")
        assert "<img src=x>" in await page.text("#about")
        assert await page.evaluate("document.querySelectorAll('img').length") == 0
        assert f"{COUNT:,}"[:2] in await page.text("#summary")
        assert "Wilson" in await page.text("#caveats")
        for name in ("days", "matches", "quality", "overlap"):
            box = f"document.querySelector('#chart-{name}').getBoundingClientRect()"
            assert await page.evaluate(f"{box}.width > 500 && {box}.height > 20"), name
        bars = "[...document.querySelectorAll('#chart-matches .matches')].map(b => +b.getAttribute('width'))"
        widths = await page.evaluate(bars)
        assert widths == sorted(widths, reverse=True)
        assert widths[0] > 100
        assert "matches" in await page.evaluate("document.querySelector('#chart-matches title').textContent")
        # A click on the heading sorts by number, the largest first.
        column = (
            "[...document.querySelectorAll('#rules tbody tr')].map(r => parseFloat(r.cells[4].textContent))"
        )
        await page.evaluate("document.querySelectorAll('#rules th')[4].click()")
        values = await page.evaluate(column)
        assert values == sorted(values, reverse=True)
        await page.evaluate("document.querySelectorAll('#rules th')[4].click()")
        assert await page.evaluate(column) == sorted(values)
        fetched = (
            "performance.getEntriesByType('resource').map(e => e.name).filter(n => !n.startsWith('data:'))"
        )
        assert await page.evaluate(fetched) == []
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        if SHOTS:
            await page.screenshot(Path(SHOTS) / "backtest.png")
        assert page.complaints == []
