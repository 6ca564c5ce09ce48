"""The status page on a loopback port, with a document that a test can change."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from sidecar.admin.page import PAGE_HEADERS, page
from tests.support.browser import Tab
from tests.support.status_documents import healthy


class Served:
    """The page, its document and its faults."""

    def __init__(self) -> None:
        self.document = healthy()
        self.url = ""
        self.fault = ""
        """`error` answers 503, `reset` closes the connection without a response."""
        self.script = ""
        """Another version of the sidecar has this at the end of its script."""

    async def answer(self, request: web.Request) -> web.Response:
        """Answer with the page, or fail."""
        if self.fault == "error":
            raise web.HTTPServiceUnavailable
        if self.fault == "reset":
            assert request.transport is not None
            request.transport.abort()
        text = page(self.document).replace("</script>", f"{self.script}</script>")
        return web.Response(
            text=text,
            content_type="text/html",
            headers={} if self.script else PAGE_HEADERS,
        )


@asynccontextmanager
async def serving() -> AsyncIterator[Served]:
    """Serve the page on a free port."""
    served = Served()
    app = web.Application()
    app.router.add_get("/", served.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    served.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    try:
        yield served
    finally:
        await runner.cleanup()


async def keep(tab: Tab, name: str) -> None:
    """Save a screenshot if `SIDECAR_SCREENSHOTS` names a folder."""
    folder = os.environ.get("SIDECAR_SCREENSHOTS")
    if folder:
        await tab.screenshot(Path(folder) / f"{name}.png")
