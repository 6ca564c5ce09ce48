"""
The listener: aiohttp's server, set up for a public port.

aiohttp by default decompresses bodies (the signature is over the bytes as they came),
waits an hour for a head, takes any number of connections and prints a traceback for
each malformed request.
"""

import asyncio
import logging
from typing import Final, cast

from aiohttp import StreamReader, web

from sidecar.log import get_logger
from sidecar.webhook.options import ReceiverOptions
from sidecar.webhook.outcome import Outcome, Result, answer

SERVER_ERROR: Final = 500

LINGER_SECONDS: Final = 2
"""How long the rest of a refused body is read, so that the sender sees the answer."""

_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nServer: sidecar\r\nRetry-After: 1\r\n"
    b"X-Sidecar-Error: busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)

_log = get_logger("sidecar.webhook")

# What aiohttp would log are exceptions of requests, with their tracebacks. Who sends
# them is not us; and a handler that fails is reported by the handler.
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
            started.request_handler, request_factory=started.request_factory
        )
        self._options = options

    def __call__(self) -> web.RequestHandler:
        full = len(self.connections) >= self._options.max_connections
        return (_Full if full else _Connection)(
            self,
            loop=asyncio.get_running_loop(),
            auto_decompress=False,
            keepalive_timeout=self._options.keepalive_seconds,
            lingering_time=LINGER_SECONDS,
            access_log=_silent,
            logger=_silent,
        )


class _Connection(web.RequestHandler):
    """A connection whose every request is answered: unreadable, or cut short."""

    _newest: StreamReader | None = None
    """The body that came last; only it can lack something."""

    def data_received(self, data: bytes) -> None:
        """Take what came. Only here is a request seen that no handler has begun yet."""
        super().data_received(data)
        if self._messages:
            self._newest = self._messages[-1][1]

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio's; theirs is None
        """
        Keep a connection that its sender has half closed until the answer is out.

        aiohttp closes it at once, and the sender learns nothing. A client may close its
        half when it has sent all (RFC 9112, section 9.6).
        """
        if self._newest is not None and not self._newest.is_eof():
            self._newest.set_exception(ConnectionResetError("closed by the sender"))
        idle = self._waiter is not None and not self._waiter.done()
        owed = self._newest is not None and not idle
        if owed:
            # There will be no next request: the connection ends with this answer.
            self.close()
        return owed

    def connection_lost(self, exc: BaseException | None) -> None:
        """Let go of the body, which has the connection in turn."""
        super().connection_lost(exc)
        self._newest = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,  # noqa: ARG002  (aiohttp's; may hold the bytes)
        message: str | None = None,  # noqa: ARG002  (aiohttp's; quotes what came)
    ) -> web.StreamResponse:
        """Answer what aiohttp could not parse, or the handler did not survive."""
        result = Result.INTERNAL if status >= SERVER_ERROR else Result.MALFORMED
        _log.info("webhook_unreadable", result=result.value, remote=request.remote)
        response = answer(Outcome(result, "this is not HTTP that we take"))
        response.force_close()
        return response


class _Full(web.RequestHandler):
    """A connection too many: it is told so and closed, whatever it wants."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Answer and close; nothing is read."""
        connection = cast("asyncio.Transport", transport)
        connection.write(_FULL)
        connection.close()
