"""
Reads the bodies of deliveries: as they came, and never more than we can hold.

A body is read whole before anything is believed of it, because the signature is over
all of it. So the internet decides what we hold, within three bounds: the size of one,
the time for one, and the sum of all.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import HttpVersion11, web

from sidecar.errors import SidecarError
from sidecar.webhook.outcome import WebhookResult


class BodyRefused(SidecarError):
    """A body is not taken."""

    def __init__(self, result: WebhookResult, detail: str) -> None:
        super().__init__(result, detail)
        self.result = result
        self.detail = detail
        """The rule that it breaks."""


class Bodies:
    """All bodies that are held now."""

    def __init__(self, max_bytes: int, seconds: float) -> None:
        self._max_bytes = max_bytes
        self._seconds = seconds
        self.held = 0
        """Bytes."""

    @asynccontextmanager
    async def read(self, request: web.Request, limit: int) -> AsyncIterator[bytes]:
        """
        Read a body of at most `limit` bytes; it counts as held until the block ends.

        Raises:
            BodyRefused: it is too large, too slow, cut short or strangely coded.
        """
        _check_head(request, limit)
        # Not a list of parts: a sender may send single bytes, and each would be an object.
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
                # It came with its head, as most do: no need for a clock.
                self._take(content.read_nowait(), limit, buffer)
                return
            async with asyncio.timeout(self._seconds):
                _invite(request)
                while part := await content.readany():
                    self._take(part, limit, buffer)
        except TimeoutError:
            detail = f"the body did not come within {self._seconds:g} s"
            raise BodyRefused(WebhookResult.REQUEST_TIMEOUT, detail) from None
        except (web.RequestPayloadError, ConnectionError):
            raise BodyRefused(
                WebhookResult.MALFORMED, "the body was cut short"
            ) from None

    def _take(self, part: bytes, limit: int, buffer: bytearray) -> None:
        buffer += part
        self.held += len(part)
        if len(buffer) > limit:
            raise BodyRefused(WebhookResult.TOO_LARGE, f"more than {limit} bytes")
        if self.held > self._max_bytes:
            raise BodyRefused(WebhookResult.BUSY, "too many bodies held at once")


def _check_head(request: web.Request, limit: int) -> None:
    """Refuse what the head says already."""
    codings = [c.lower() for c in request.headers.getall("Transfer-Encoding", [])]
    # llhttp takes "gzip, chunked" for chunked: then the rest would be read as the body.
    if codings and (codings != ["chunked"] or request.version < HttpVersion11):
        raise BodyRefused(
            WebhookResult.MALFORMED, "a transfer coding other than chunked"
        )
    if (request.content_length or 0) > limit:
        raise BodyRefused(WebhookResult.TOO_LARGE, f"more than {limit} bytes announced")


def _invite(request: web.Request) -> None:
    """Tell a sender that waits for it to go on (RFC 9110, section 10.1.1)."""
    transport = request.transport
    if "Expect" in request.headers and transport:
        transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
