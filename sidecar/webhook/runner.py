"""
The listener: aiohttp's server, set up for a public port.

aiohttp by default decompresses bodies (the signature is over the bytes as they came),
waits an hour for a head, takes any number of connections and prints a traceback for
each malformed request.
"""

from dataclasses import dataclass
from typing import Final

from aiohttp import StreamReader, web

from sidecar.limited_server import ConnectionLimitedServer, silent
from sidecar.log import get_logger
from sidecar.webhook.outcome import WebhookOutcome, WebhookResult, answer

SERVER_ERROR: Final = 500

LINGER_SECONDS: Final = 2
"""How long the rest of a refused body is read, so that the sender sees the answer."""

_log = get_logger("sidecar.webhook")


@dataclass(frozen=True, slots=True, kw_only=True)
class PortLimits:
    """Bounds of the public port; they are not settings."""

    max_connections: int = 512
    """From senders; further ones are answered 503 and closed."""
    max_buffered_bytes: int = 67_108_864
    """All bodies held at once: connections times the largest body would be gigabytes."""
    max_ids: int = 250_000
    """Remembered in memory, of all endpoints together (45 MB)."""
    body_seconds: float = 10
    """For a sender to finish its body."""
    keepalive_seconds: float = 15
    """For a whole head to arrive: the first or the next."""


class Runner(web.AppRunner):
    """Serves the application of a receiver; sites are added to it as to any runner."""

    def __init__(
        self, app: web.Application, limits: PortLimits, drain_seconds: float
    ) -> None:
        super().__init__(app, shutdown_timeout=drain_seconds)
        self._limits = limits

    async def _make_server(self) -> web.Server:
        started = await super()._make_server()
        return ConnectionLimitedServer(
            started,
            self._limits.max_connections,
            _Connection,
            auto_decompress=False,
            keepalive_timeout=self._limits.keepalive_seconds,
            lingering_time=LINGER_SECONDS,
            # What aiohttp would log are exceptions of requests, with their tracebacks. Who
            # sends them is not us; a handler that fails is reported by the handler.
            logger=silent,
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
        result = (
            WebhookResult.INTERNAL
            if status >= SERVER_ERROR
            else WebhookResult.MALFORMED
        )
        _log.info("webhook_unreadable", result=result.value, remote=request.remote)
        response = answer(WebhookOutcome(result, "this is not HTTP that we take"))
        response.force_close()
        return response
