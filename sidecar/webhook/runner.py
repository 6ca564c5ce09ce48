"""
The listener: aiohttp's server, set up for a public port.

aiohttp by default decompresses bodies (the signature is over the bytes as they came),
waits an hour for a head, takes any number of connections and prints a traceback for
each malformed request.
"""

import asyncio
import logging
from typing import Final, cast

from aiohttp import web

from sidecar.webhook.options import ReceiverOptions

LINGER_SECONDS: Final = 2
"""How long the rest of a refused body is read, so that the sender sees the answer."""

_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nServer: sidecar\r\nRetry-After: 1\r\n"
    b"X-Sidecar-Error: busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)

# aiohttp logs the exception, with its traceback, of every head that it cannot parse.
# Who sends them is not us; and a handler that fails is reported by the handler.
_silent: Final = logging.getLogger("sidecar.webhook.http")
_silent.setLevel(logging.CRITICAL)


class Runner(web.AppRunner):
    """Serves the application of a receiver; sites are added to it as to any runner."""

    def __init__(
        self, app: web.Application, options: ReceiverOptions, drain_seconds: float
    ) -> None:
        super().__init__(app, shutdown_timeout=drain_seconds)
        self._options = options

    async def _make_server(self) -> web.Server:
        started = await super()._make_server()
        return _Server(started, self._options)


class _Server(web.Server):
    """Makes a protocol for each connection, up to a number of them."""

    def __init__(self, started: web.Server, options: ReceiverOptions) -> None:
        super().__init__(
            started.request_handler,
            request_factory=started.request_factory,
            auto_decompress=False,
            keepalive_timeout=options.keepalive_seconds,
            lingering_time=LINGER_SECONDS,
            access_log=None,
            logger=_silent,
        )
        self._limit = options.max_connections

    def __call__(self) -> web.RequestHandler:
        if len(self.connections) >= self._limit:
            return _Full(self, loop=asyncio.get_running_loop())
        return super().__call__()


class _Full(web.RequestHandler):
    """A connection too many: it is told so and closed, whatever it wants."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Answer and close; nothing is read."""
        connection = cast("asyncio.Transport", transport)
        connection.write(_FULL)
        connection.close()
