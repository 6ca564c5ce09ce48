"""
The body of one request: what is held of it, and whether it can be sent again.

Rule 1: until the request is sent, every byte is held; the client is paused at the limit.
Rule 2: after that, a body is held only while it fits `limits.replay_body_bytes`. A body
that grew larger can never be sent a second time.
"""

from typing import Final

from sidecar.core.http.fields import CHUNKED
from sidecar.core.http.framing import LAST_CHUNK, encode_chunk

CHUNKED_FIELD: Final = b"Transfer-Encoding: chunked\r\n\r\n"


class ReplayBody:
    """
    The request body as far as the client has sent it.

    Args:
        framing: Its Content-Length in bytes, or `CHUNKED`.
        limit: Bytes that may be held after the request was sent.
    """

    __slots__ = (
        *("_limit", "_pieces", "chunked", "complete", "framing", "size", "tail"),
    )

    def __init__(self, framing: int, limit: int) -> None:
        self._limit = limit
        self._pieces: list[bytes] | None = []
        """None: too large to be held."""
        self.framing = framing
        self.chunked = framing == CHUNKED
        self.complete = False
        """The client has sent the last byte."""
        self.size = 0
        self.tail = b""
        """The end of the last piece: a key may be split between two pieces."""

    @property
    def held(self) -> bool:
        """Whether everything that has come so far can be sent again."""
        return self._pieces is not None

    @property
    def fits(self) -> bool:
        """Whether what has come so far is within the limit."""
        return self.size <= self._limit

    @property
    def may_become_replayable(self) -> bool:
        """Whether the rest is still to come, and all of it can be held."""
        return not self.complete and self.held and self.framing <= self._limit

    def add(self, data: bytes, *, complete: bool, sent: bool) -> None:
        """
        Add the next piece.

        Args:
            data: The piece; empty when only the end was due.
            complete: It is the last one.
            sent: The request has been sent, so the piece is sent as it comes.
        """
        self.size += len(data)
        self.complete = complete
        if sent and self.size > self._limit:
            self._pieces = None
        elif data and self._pieces is not None:
            self._pieces.append(data)

    def encode(self, data: bytes) -> bytes:
        """Return the last piece that was added, framed for the API."""
        if not self.chunked:
            return data
        last = LAST_CHUNK if self.complete else b""
        return b"".join((*encode_chunk(data), last))

    def so_far(self) -> list[bytes] | tuple[()]:
        """Return everything that has come, framed for the API, to send it now."""
        pieces = self._pieces or ()
        if self.size > self._limit:
            self._pieces = None
        if self.chunked:
            pieces = [part for piece in pieces for part in encode_chunk(piece)]
            if self.complete:
                pieces.append(LAST_CHUNK)
        return pieces
