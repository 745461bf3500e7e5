"""The worker's status page in a real browser, while a real worker decides."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from support.browser import chromium
from support.kafka import Topics
from support.worker import Feed, Site, traffic
from support.worker_rules import write_rules

from fraudstream.bench.observe import free_port

pytestmark = [pytest.mark.ops, pytest.mark.kafka, pytest.mark.timeout(240)]

SHOTS = os.environ.get("FRAUDSTREAM_TEST_SHOTS")
"""Directory for screenshots, for a person to look at."""

TOTAL = (
    "[...document.querySelectorAll('#kinds tr')]"
    ".reduce((sum, row) => sum + +row.cells[2].innerText.replaceAll(',', ''), 0)"
)


async def test_the_page_shows_what_the_worker_does(topics: Topics, tmp_path: Path) -> None:
    """Rates, decisions, latency, rules, bundle, a refused change that is corrected, and the worker's end."""
    port = free_port()
    site = Site(topics, tmp_path, write_rules(tmp_path / "first"), metrics_port=str(port))
    worker = await asyncio.to_thread(site.start)
    feed, records = Feed(site), traffic(1_500, 61)
    try:
        await asyncio.to_thread(feed.send, records[:1_000])
        await asyncio.to_thread(worker.wait_decided, 1_000)
        async with chromium(tmp_path) as page:
            await page.open(f"http://127.0.0.1:{port}/")
            await page.wait_for("document.querySelector('#ready').textContent === 'deciding'")
            assert await page.text("#mode") == "live"
            assert await page.text("#reasons") == ""
            assert site.environment["FRAUDSTREAM_APP_ID"] in await page.text("#about")
            before = await counted(page.text)
            assert sum(before.values()) == 1_000
            assert before["block"] > 0
            # Live: what is sent now is seen without a reload.
            await asyncio.to_thread(feed.send, records[1_000:])
            await page.wait_for(f"{TOTAL} === {len(records)}")
            await page.wait_for("+document.querySelector('#rate').innerText > 0")
            assert " ms" in await page.text("#p99")
            assert "account.many \N{EN DASH} many events in an hour" in await page.text("#rules")
            assert (await page.text("#bundles")).startswith("sha256:")
            assert "2 rules" in await page.text("#bundles")
            assert await page.text("#refused") == "none since the start"
            assert int(await page.text("#dead")) > 0
            assert "not_object" in await page.text("#counts")
            assert await page.evaluate("document.querySelector('#line').getAttribute('d').length") > 0
            # A broken rule whose text would be markup if the page let it.
            rules = site.rules / "rulesets" / "account.yaml"
            whole = rules.read_text()
            rules.write_text(
                whole.replace("account.count_1h >= 4", "account.cuont >= '<img src=x onerror=alert(1)>'")
            )
            await page.wait_for("document.querySelector('#refused').innerText.startsWith('invalid')")
            assert "account.cuont" in await page.text("#problem")
            assert "<img src=x" in await page.text("#problem")
            assert await page.evaluate("document.querySelectorAll('img').length") == 0
            if SHOTS:
                await page.screenshot(Path(SHOTS) / "status.png")
            rules.write_text(whole)
            await page.wait_for("document.querySelector('#refused').innerText.endsWith('corrected since')")
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert page.complaints == []
            # The end of the worker is told, not hidden behind old figures.
            assert await asyncio.to_thread(worker.stop) == 0
            await page.wait_for("document.querySelector('#ready').innerText === 'no answer'")
            assert "since" in await page.text("#fresh")
    finally:
        worker.kill()


async def counted(text: object) -> dict[str, int]:
    """Return decisions by kind as the page shows them."""
    rows = (await text("#kinds")).split("\n")  # type: ignore[operator]
    return {kind: int(total.replace(",", "")) for kind, _, total in (row.split("\t") for row in rows if row)}
