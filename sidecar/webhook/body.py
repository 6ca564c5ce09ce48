"""
Reads the raw bodies of deliveries within three limits.

The signature covers the whole body, so the body is read before the sender is verified.
The limits are the size of one body, the time for one body, and the sum of all bodies.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import HttpVersion11, web

from sidecar.errors import SidecarError
from sidecar.webhook.outcome import WebhookResult


class BodyRefused(SidecarError):
    """A body is refused."""

    def __init__(self, result: WebhookResult, detail: str) -> None:
        super().__init__(result, detail)
        self.result = result
        self.detail = detail
        """The rule that the body breaks."""


class Bodies:
    """Reads bodies and counts the bytes that are in memory."""

    def __init__(self, max_bytes: int, seconds: float) -> None:
        self._max_bytes = max_bytes
        self._seconds = seconds
        self.held = 0
        """Bytes in memory."""

    @asynccontextmanager
    async def read(self, request: web.Request, limit: int) -> AsyncIterator[bytes]:
        """
        Read a body of at most `limit` bytes; it counts as held until the context ends.

        Raises:
            BodyRefused: it is too large, too slow, truncated, or has another coding than chunked.
        """
        _check_head(request, limit)
        # One buffer, not a list of parts: a sender may send single bytes.
        buffer = bytearray()
        try:
            await self._collect(request, limit, buffer)
            body = bytes(buffer)
        finally:
            self.held -= len(buffer)
            buffer.clear()
        self.held += len(body)
        try:
            yield body
        finally:
            self.held -= len(body)

    async def _collect(
        self, request: web.Request, limit: int, buffer: bytearray
    ) -> None:
        content = request.content
        try:
            if content.is_eof():
                # Most bodies arrive with their head and need no timeout.
                self._take(content.read_nowait(), limit, buffer)
                return
            async with asyncio.timeout(self._seconds):
                _send_continue(request)
                while part := await content.readany():
                    self._take(part, limit, buffer)
        except TimeoutError:
            detail = f"the body did not arrive within {self._seconds:g} s"
            raise BodyRefused(WebhookResult.REQUEST_TIMEOUT, detail) from None
        except (web.RequestPayloadError, ConnectionError):
            raise BodyRefused(
                WebhookResult.MALFORMED, "the body was truncated"
            ) from None

    def _take(self, part: bytes, limit: int, buffer: bytearray) -> None:
        buffer += part
        self.held += len(part)
        if len(buffer) > limit:
            raise BodyRefused(WebhookResult.TOO_LARGE, f"more than {limit} bytes")
        if self.held > self._max_bytes:
            raise BodyRefused(WebhookResult.BUSY, "too many bodies held at once")


def _check_head(request: web.Request, limit: int) -> None:
    """Refuse a body that its head shows to be invalid or too large."""
    codings = [c.lower() for c in request.headers.getall("Transfer-Encoding", [])]
    # llhttp reads "gzip, chunked" as chunked, and would leave the body compressed.
    if codings and (codings != ["chunked"] or request.version < HttpVersion11):
        raise BodyRefused(
            WebhookResult.MALFORMED, "a transfer coding other than chunked"
        )
    if (request.content_length or 0) > limit:
        raise BodyRefused(WebhookResult.TOO_LARGE, f"more than {limit} bytes announced")


def _send_continue(request: web.Request) -> None:
    """Answer 100 Continue if the sender expects it (RFC 9110, section 10.1.1)."""
    transport = request.transport
    if "Expect" in request.headers and transport:
        transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
