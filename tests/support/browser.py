"""A real browser: headless Chromium, spoken to over its DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
from support.tools import tool

START_S = 30.0
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
    "--window-size=1100,1300",
)


class Page:
    """One tab; everything that the page complains about is kept."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.complaints: list[str] = []
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reading = asyncio.create_task(self._read())

    async def open(self, url: str) -> None:
        """Go to a page."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.send(f"{domain}.enable")
        await self.send("Page.navigate", url=url)
        await self.wait_for(f"location.href === '{url}' && document.readyState === 'complete'")

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        return await asyncio.wait_for(self._answers[number], 20)

    async def evaluate(self, expression: str) -> Any:
        """Return the value of an expression of JavaScript."""
        found = await self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def text(self, selector: str) -> str:
        """Return the text that a person sees in an element."""
        return str(await self.evaluate(f"document.querySelector({selector!r})?.innerText ?? ''"))

    async def wait_for(self, expression: str, deadline_s: float = 20.0) -> None:
        """Wait until an expression is true."""
        end_s = asyncio.get_running_loop().time() + deadline_s
        while not await self.evaluate(expression):
            if asyncio.get_running_loop().time() > end_s:
                body = await self.text("body")
                raise AssertionError(f"{expression}: not within {deadline_s:g} s; {self.complaints}\n{body}")
            await asyncio.sleep(0.1)

    async def screenshot(self, path: Path) -> None:
        """Write what it looks like as PNG."""
        found = await self.send("Page.captureScreenshot", format="png")
        await asyncio.to_thread(path.write_bytes, base64.b64decode(found["data"]))

    async def close(self) -> None:
        """Stop listening."""
        self._reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reading

    async def _read(self) -> None:
        async for message in self._socket:
            event = message.json()
            if "id" in event:
                answer = self._answers.pop(event["id"])
                if "error" in event:
                    answer.set_exception(AssertionError(event["error"]))
                else:
                    answer.set_result(event["result"])
            elif event["method"] == "Runtime.exceptionThrown":
                self.complaints.append(str(event["params"]["exceptionDetails"]))
            elif event["method"] == "Log.entryAdded" and event["params"]["entry"]["level"] == "error":
                self.complaints.append(event["params"]["entry"]["text"])


def _port(profile: Path) -> str | None:
    """Return the port that the browser wrote down, None before."""
    file = profile / "DevToolsActivePort"
    return file.read_text().split()[0] if file.exists() and file.read_text() else None


@contextlib.asynccontextmanager
async def chromium(home: Path) -> AsyncIterator[Page]:
    """Run a browser with an empty profile and give its only tab."""
    profile = home / "profile"
    process = await asyncio.create_subprocess_exec(
        tool("chromium"),
        *FLAGS,
        f"--user-data-dir={profile}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(START_S):
            while (port := _port(profile)) is None:  # noqa: ASYNC110 - there is no event for a file
                await asyncio.sleep(0.05)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                tabs = [tab for tab in await answer.json() if tab["type"] == "page"]
            async with session.ws_connect(tabs[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                page = Page(socket)
                yield page
                await page.close()
    finally:
        process.kill()
        await process.wait()
        shutil.rmtree(profile, ignore_errors=True)
