"""The status page on a port of loopback, with a document that a test can change."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from sidecar.admin.page import StatusPage
from tests.support.browser import Tab
from tests.support.status_documents import healthy


class Served:
    """The page with a document that a test can change."""

    def __init__(self) -> None:
        self.document = healthy()
        self.url = ""
        self.up = True

    async def status(self, _: web.Request) -> web.Response:
        """Answer as `/status` does, or not."""
        if not self.up:
            raise web.HTTPServiceUnavailable
        return web.json_response(self.document)


@asynccontextmanager
async def serving() -> AsyncIterator[Served]:
    """The page, and `/status` beside it."""
    served = Served()
    app = web.Application()
    app.router.add_get("/", StatusPage(lambda: served.document).handle)
    app.router.add_get("/status", served.status)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    served.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    try:
        yield served
    finally:
        await runner.cleanup()


async def keep(tab: Tab, name: str) -> None:
    """Save a picture where a developer asked for one."""
    folder = os.environ.get("SIDECAR_SCREENSHOTS")
    if folder:
        await tab.screenshot(Path(folder) / f"{name}.png")
