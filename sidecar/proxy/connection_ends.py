"""
How a connection from the service ends: gently, cut, or because its time is over.

`listener.py` is above: what is read from such a connection.

Rule 1: after a head that cannot be read the connection ends: where the next head would
begin is unknown. It ends gently: the answer is written, our side closed, and what still
comes is read and dropped for a while, since a reset would destroy the answer on its way.
Rule 2: an answer that is not whole ends in a way that shows it.
Rule 3: who never reads on is let go.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from sidecar.core.http.framing import Chunked
from sidecar.errors import Code, Refused
from sidecar.proxy.call import FOREVER
from sidecar.proxy.error_responses import refusal

if TYPE_CHECKING:
    from sidecar.proxy.exchange import Exchange
    from sidecar.proxy.server import ProxyServer

LINGER_SECONDS: Final = 2.0
LINGER_BYTES: Final = 1 << 20
RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER on, zero seconds: close() sends RST, so a cut looks like one."""


class ConnectionEnds(asyncio.Protocol):
    """What is known of a connection from the service, and its ends."""

    __slots__ = (
        *("_body", "_buffer", "_exchange", "_fields", "_full", "_lingered", "_nested"),
        *("_partial", "_transport", "_unread", "close_after", "context", "deadline"),
        *("paused", "version_10", "write"),
    )

    def __init__(self, context: "ProxyServer") -> None:
        self.context = context
        self._transport: asyncio.Transport
        self.write: Callable[[bytes], None]
        """Send to the service; `pause_writing` tells when it is too much."""
        self._fields: list[tuple[bytes, bytes]] = []
        self._buffer = b""
        self._exchange: Exchange | None = None
        self._body: int | Chunked | None = None
        """What is left of the present call's body: bytes or a decoder; None: nothing."""
        self._lingered = -1
        """Bytes dropped since our side was closed; -1: it is open."""
        self._partial = False
        """A head has begun and is not yet whole."""
        self._full = False
        """The service reads slowly: what it has asked for is enough."""
        self._nested = False
        """A call is being begun by `_take_heads`, which will go on itself."""
        self._unread = -1
        """Bytes that the service had not read when it was last looked at."""
        self.close_after = False
        self.paused = False
        self.version_10 = False
        self.deadline = FOREVER
        """When the sweep calls `expired`, in the context's time."""

    def unread(self) -> int:
        """Return the bytes that wait because the service reads slowly."""
        return self._transport.get_write_buffer_size()

    def pause(self) -> None:
        """Stop reading; the kernel's buffer then slows the service."""
        if not self.paused:
            self.paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again after `pause`."""
        if self.paused:
            self.paused = False
            self._transport.resume_reading()

    def cut(self, *, until_close: bool) -> None:
        """End the connection so that the answer is seen to be incomplete."""
        self._exchange = None
        self._body = None
        if until_close:
            # The end of the connection would look like the end of the body.
            self._reset_at_close()
            self._transport.abort()
        else:
            self._lingered = 0
            self.deadline = self.context.now + LINGER_SECONDS
            self._transport.close()

    def _reset_at_close(self) -> None:
        sock = self._transport.get_extra_info("socket")
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    def _refuse_early(self, refused: Refused, method: bytes, started: float) -> None:
        self.context.refused_early(refused, method, started)

    def _answer(self, refused: Refused, method: bytes, *, keep: bool) -> bool:
        """Write an answer of our own; return whether the connection goes on."""
        keep = keep and not self.close_after and not self.context.draining
        self._transport.write(
            refusal(refused, close=not keep, head_only=method == b"HEAD")
        )
        if not keep:
            self._end_gently()
        return keep

    def _end_gently(self) -> None:
        self._body = None
        self._buffer = b""
        self._lingered = 0
        self.deadline = self.context.now + LINGER_SECONDS
        with suppress(OSError, RuntimeError):
            self._transport.write_eof()
        self.resume()

    def _drop(self, data: bytes) -> None:
        self._lingered += len(data)
        if self._lingered > LINGER_BYTES:
            self._transport.abort()

    def idle(self) -> bool:
        """Tell whether no call is under way, and no answer on its way out."""
        return self._exchange is None and not self._partial and self._lingered < 0

    def close(self) -> None:
        """Close an idle connection."""
        self._transport.close()

    def abort(self) -> None:
        """Cut the connection, whatever is under way; an answer is seen to be cut."""
        if self._exchange is not None:
            self._reset_at_close()
        self._transport.abort()

    def expired(self) -> None:
        """Act on a deadline that has passed (called by the sweep)."""
        self.deadline = FOREVER
        if self._lingered >= 0:
            self._transport.abort()
        elif self._exchange is not None:
            self._exchange.expired()
        elif self.unread():
            self._unread_still()
        elif self._partial:
            refused = Refused(Code.REQUEST_TIMEOUT, "the rest of the head did not come")
            self._refuse_early(refused, b"", self.context.clock())
            self._answer(refused, b"", keep=False)
        else:
            self._transport.close()

    def _unread_still(self) -> None:
        """Let a service go that has read nothing of its answer since the last look."""
        unread = self.unread()
        if unread == self._unread:
            self._transport.abort()
        self._unread = unread
        self.deadline = self.context.now + self.context.limits.idle_seconds

    def _failed(self, error: Exception) -> None:
        """Answer 500 to a bug of ours; the log names the place, never a value."""
        refused = self.context.bug(error)
        self._nested = False
        if self._exchange is not None and not self._exchange.dead:
            self._exchange.failed(refused)
        elif self._lingered < 0:
            self._exchange = None
            self._refuse_early(refused, b"", self.context.clock())
            self._answer(refused, b"", keep=False)
