"""
The webhook listener: aiohttp's server, configured for a public port.

By default aiohttp decompresses bodies (the signature covers the received bytes), waits
an hour for a head, accepts any number of connections, and logs a traceback for each
malformed request.
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
    """Runs the receiver's application with limits."""

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
            # aiohttp would log a traceback for each malformed request. The handler logs
            # its own failures.
            logger=silent,
        )


class _Connection(web.RequestHandler):
    """A connection that also answers malformed and truncated requests."""

    _newest: StreamReader | None = None
    """The body of the last request: the only one that can be incomplete."""

    def data_received(self, data: bytes) -> None:
        """Parse, and remember the last body: here a request is seen before its handler."""
        super().data_received(data)
        if self._messages:
            self._newest = self._messages[-1][1]

    def eof_received(self) -> bool:  # type: ignore[override]  # as asyncio declares it
        """
        Keep a connection that the sender has half closed until the answer is sent.

        aiohttp would close it at once, without an answer. A client may close its half
        after its last request (RFC 9112, section 9.6).
        """
        if self._newest is not None and not self._newest.is_eof():
            self._newest.set_exception(ConnectionResetError("closed by the sender"))
        idle = self._waiter is not None and not self._waiter.done()
        pending = self._newest is not None and not idle
        if pending:
            # No request can follow, so the connection ends with this answer.
            self.close()
        return pending

    def connection_lost(self, exc: BaseException | None) -> None:
        """Drop the body, which refers back to the connection."""
        super().connection_lost(exc)
        self._newest = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,  # noqa: ARG002  (aiohttp's; may hold the bytes)
        message: str | None = None,  # noqa: ARG002  (aiohttp's; quotes what came)
    ) -> web.StreamResponse:
        """Answer a request that aiohttp cannot parse, or whose handler failed."""
        result = (
            WebhookResult.INTERNAL
            if status >= SERVER_ERROR
            else WebhookResult.MALFORMED
        )
        _log.info(
            "webhook_malformed_request", result=result.value, remote=request.remote
        )
        response = answer(WebhookOutcome(result, "malformed HTTP request"))
        response.force_close()
        return response
