"""
The admin listener: aiohttp's server with bounds.

In a pod it is open to the cluster. By default aiohttp takes any number of connections and
waits an hour for a head, so that whoever reaches the port could use up the descriptors
that calls need.
"""

import asyncio
import logging
from typing import Final, cast

from aiohttp import web

MAX_CONNECTIONS: Final = 256
"""Some people, kubelet and a few Prometheus servers."""
IDLE_SECONDS: Final = 10.0
"""For a head, and between two. A scrape that comes later connects again."""
SHUTDOWN_SECONDS: Final = 1.0

_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n"
    b"Content-Length: 0\r\nConnection: close\r\n\r\n"
)


_silent: Final = logging.getLogger("sidecar.admin.http")
_silent.setLevel(logging.CRITICAL)


class AdminRunner(web.AppRunner):
    """Serves the application of the admin port."""

    def __init__(self, app: web.Application) -> None:
        super().__init__(app, shutdown_timeout=SHUTDOWN_SECONDS)

    async def _make_server(self) -> web.Server:
        started = await super()._make_server()
        return _Server(started.request_handler, request_factory=started.request_factory)


class _Server(web.Server):
    """Makes a protocol for each connection, up to a number of them."""

    def __call__(self) -> web.RequestHandler:
        full = len(self.connections) >= MAX_CONNECTIONS
        return (_Full if full else web.RequestHandler)(
            self,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=IDLE_SECONDS,
            access_log=_silent,
        )


class _Full(web.RequestHandler):
    """A connection too many: it is told so and closed, whatever it wants."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Answer and close; nothing is read."""
        connection = cast("asyncio.Transport", transport)
        connection.write(_FULL)
        connection.close()
