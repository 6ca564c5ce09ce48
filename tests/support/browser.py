"""
A real headless Chromium, driven by its DevTools protocol over aiohttp's WebSocket.

It drives one page at a time: navigate, evaluate, emulate a screen, take a screenshot. No
driver package is needed.
"""

import asyncio
import base64
import itertools
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import aiohttp
import pytest

FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--no-first-run",
    "--no-proxy-server",
    "--remote-debugging-port=0",
)
PATIENCE_SECONDS: Final = 20.0
_NUMBERS: Final = itertools.count(1)


Seen = TypeVar("Seen")


async def eventually(check: Callable[[], Awaitable[Seen | None]]) -> Seen:
    """Wait until a check returns a true value, and return it; fail after a limit."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            seen = await check()
            if seen:
                return seen
            await asyncio.sleep(0.05)


class Tab:
    """One page of the browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        # Numbers are unique across pages: answers to an earlier page may still arrive.
        self._numbers = _NUMBERS
        self._session = ""
        self._target = ""
        self.complaints: list[str] = []
        """Everything the page wrote to the console, policy violations included."""
        self.requested: list[str] = []
        """Every URL that the page asked for."""

    async def open(self) -> None:
        """Open the page and subscribe to its events."""
        target = await self.send("Target.createTarget", url="about:blank")
        self._target = target["targetId"]
        attached = await self.send(
            "Target.attachToTarget", targetId=self._target, flatten=True
        )
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            await self.send(f"{domain}.enable")

    async def close(self) -> None:
        """Close the page."""
        self._session = ""
        await self.send("Target.closeTarget", targetId=self._target)

    async def send(self, method: str, **params: Any) -> Any:
        """Call a method of the protocol and return its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        await self._socket.send_json(message)
        while True:
            answer = json.loads(await self._socket.receive_str(timeout=20))
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]
            self._note(answer)

    def _note(self, event: dict[str, Any]) -> None:
        """Record an event that a test may check."""
        if event.get("sessionId", "") != self._session:
            return
        params = event.get("params", {})
        match event.get("method"):
            case "Log.entryAdded":
                self.complaints.append(params["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.complaints.append(str(params["exceptionDetails"]))
            case "Runtime.consoleAPICalled":
                self.complaints.append(str(params["args"]))
            case "Network.requestWillBeSent":
                self.requested.append(params["request"]["url"])
            case _:
                pass

    async def go(self, url: str) -> None:
        """Go to an address and wait until the page is loaded."""
        await self.send("Page.navigate", url=url)
        await eventually(
            lambda: self.js(
                "document.readyState === 'complete' && location.href !== 'about:blank'"
            )
        )

    async def js(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        result = await self.send(
            "Runtime.evaluate",
            expression=expression,
            returnByValue=True,
            awaitPromise=True,
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def text(self, selector: str) -> str:
        """Return the visible text of the first element that matches."""
        found = await self.js(
            f"document.querySelector({json.dumps(selector)}).innerText"
        )
        return str(found)

    async def see(self, selector: str, text: str) -> None:
        """Wait until the element shows the text."""
        wanted = json.dumps(text)
        where = json.dumps(selector)
        await eventually(
            lambda: self.js(
                f"document.querySelector({where})?.innerText.includes({wanted})"
            )
        )

    async def look_like(
        self, *, width: int = 1000, height: int = 900, scheme: str = "light"
    ) -> None:
        """Emulate a screen size and a colour scheme."""
        # A picture beyond the viewport has no scroll bar. If the page had one, it would be
        # laid out wider than the picture, which would cut off its right edge.
        await self.send("Emulation.setScrollbarsHidden", hidden=True)
        await self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        await self.send(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )

    async def without_scripts(self) -> None:
        """Turn JavaScript off."""
        await self.send("Emulation.setScriptExecutionDisabled", value=True)

    async def press(self, key: str) -> None:
        """Press a key."""
        for kind in ("keyDown", "keyUp"):
            await self.send(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode={"Tab": 9, "Enter": 13}[key],
                text="\r" if (key, kind) == ("Enter", "keyDown") else "",
            )

    async def screenshot(self, file: Path) -> None:
        """Save a picture of the whole page."""
        shot = await self.send("Page.captureScreenshot", captureBeyondViewport=True)
        data = base64.b64decode(shot["data"])
        await asyncio.to_thread(file.write_bytes, data)

    async def accessible(self) -> list[tuple[str, str]]:
        """Return the (role, name) of each element that a screen reader finds."""
        tree = await self.send("Accessibility.getFullAXTree")
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in tree["nodes"]
            if not node.get("ignored")
        ]


@asynccontextmanager
async def browser() -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """Start a browser; skip the test where Chromium is not installed."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    with tempfile.TemporaryDirectory(
        prefix="sidecar-browser-", ignore_cleanup_errors=True
    ) as profile:
        process = await asyncio.create_subprocess_exec(
            program,
            *FLAGS,
            f"--user-data-dir={profile}",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.ws_connect(await _address(Path(profile)), max_msg_size=0) as ws,
            ):
                yield ws
        finally:
            process.kill()
            await process.wait()


@asynccontextmanager
async def new_tab(socket: aiohttp.ClientWebSocketResponse) -> AsyncIterator[Tab]:
    """Open a new page of a browser."""
    tab = Tab(socket)
    await tab.open()
    try:
        yield tab
    finally:
        await tab.close()


async def _address(profile: Path) -> str:
    """Return where the browser listens; it writes that into its profile."""
    file = profile / "DevToolsActivePort"

    async def read() -> str | None:
        lines = file.read_text().splitlines() if file.exists() else []
        return f"ws://127.0.0.1:{lines[0]}{lines[1]}" if len(lines) > 1 else None

    return await eventually(read)
