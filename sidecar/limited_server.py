"""
An aiohttp server that takes so many connections and no more.

aiohttp takes any number of them and waits an hour for a head, so that whoever reaches a
port could use up the descriptors that calls need.
"""

import asyncio
import logging
from typing import Any, Final, cast

from aiohttp import web

_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nServer: sidecar\r\nRetry-After: 1\r\n"
    b"X-Sidecar-Error: busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)

# What aiohttp would log of a request has its target, which is the sender's.
silent: Final = logging.getLogger("sidecar.http")
silent.setLevel(logging.CRITICAL)


class ConnectionLimitedServer(web.Server):
    """
    Makes a protocol for each connection, up to a number of them.

    Args:
        started: The server that aiohttp's runner made; its application is served.
        maximum: Connections at a time.
        kind: What a connection is.
        options: Of aiohttp's `RequestHandler`.
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
    """A connection too many: it is told so and closed, whatever it wants."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Answer and close; nothing is read."""
        connection = cast("asyncio.Transport", transport)
        connection.write(_FULL)
        connection.close()
