"""
An aiohttp server with a limit on connections.

aiohttp accepts any number of connections and waits an hour for a request head. Without a
limit, any client of a port could use up the file descriptors that calls need.
"""

import asyncio
import logging
from typing import Any, Final, cast

from aiohttp import web

_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nServer: sidecar\r\nRetry-After: 1\r\n"
    b"X-Sidecar-Error: busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)

# The log lines of aiohttp hold the request target, which may hold a secret.
silent: Final = logging.getLogger("sidecar.http")
silent.setLevel(logging.CRITICAL)


class ConnectionLimitedServer(web.Server):
    """
    Serves connections up to a maximum; answers 503 beyond it.

    Args:
        started: The server of an aiohttp runner; its application is served.
        maximum: Open connections.
        kind: The class of a connection.
        options: Keyword arguments of aiohttp's `RequestHandler`.
    """

    def __init__(
        self,
        started: web.Server,
        maximum: int,
        kind: type[web.RequestHandler] = web.RequestHandler,
        **options: Any,
    ) -> None:
        super().__init__(
            started.request_handler, request_factory=started.request_factory
        )
        self._maximum = maximum
        self._kind = kind
        self._options = options

    def __call__(self) -> web.RequestHandler:
        """Return the protocol of a new connection."""
        full = len(self.connections) >= self._maximum
        return (_Full if full else self._kind)(
            self,
            loop=asyncio.get_running_loop(),
            access_log=silent,
            **self._options,
        )


class _Full(web.RequestHandler):
    """Answer 503 and close: the connection limit is reached."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Answer and close without reading."""
        connection = cast("asyncio.Transport", transport)
        connection.write(_FULL)
        connection.close()
