"""
One connection of a client: reads requests, one after the other, and writes responses.

It uses callbacks, not tasks: a task for each call costs more than the rest of the call.

Rule 1: the end of a head is found first, and only the head is given to llhttp. The body
is measured by `core.http.framing`, so no parser decides where the next head begins.
Rule 2: one call at a time. What comes before its response is complete waits in `_buffer`
(pipelining, RFC 9112, 9.3.2); the buffer is bounded because reading is paused.
Rule 3: while the client does not read its responses, no further call is begun. This
bounds what a client can make the sidecar hold.
Rule 4: after a head that cannot be parsed, the connection ends, because the start of the
next head is unknown. It ends gently: the answer is written, our side is closed, and for
a while what still comes is read and dropped, since a reset would destroy the answer.
Rule 5: a response that is not complete ends in a way that shows it.
Rule 6: a client that stops reading is disconnected after `idle_seconds`.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import httptools

from sidecar.core.access.operations import Operation
from sidecar.core.http.fields import Field
from sidecar.core.http.framing import Chunked
from sidecar.core.http.line_cache import KnownRequest
from sidecar.core.http.parse_errors import explain
from sidecar.core.http.request_head import RequestHead
from sidecar.errors import STATUS, Code, Refused
from sidecar.metrics.hot import ANY_OPERATION, METHODS, OTHER_METHOD, SIDECAR
from sidecar.proxy.context import NEVER, UpstreamContext
from sidecar.proxy.error_responses import refusal
from sidecar.proxy.exchange import Exchange, Phase

LETTERS: Final = 65
"""No method begins with a byte below this."""
EMPTY_LINES: Final = 8
"""Ignored before a request line (RFC 9112, 2.2 asks for at least one)."""
LINGER_SECONDS: Final = 2.0
LINGER_BYTES: Final = 1 << 20
RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER on, zero seconds: close() sends RST, so a cut is seen as one."""
_ENDED: Final = Phase.ENDED


class ClientConnection(asyncio.Protocol):
    """
    The protocol on a connection of a client.

    Args:
        context: What the connections of the upstream share.
        on_open: Called with this connection when it is established.
        on_close: Called with this connection when it has ended.
    """

    __slots__ = (
        *("_body", "_buffer", "_context", "_dropped", "_exchange", "_fields", "_full"),
        *("_nested", "_on_close", "_on_open", "_partial", "_transport", "_unread"),
        *("close_after", "deadline", "http_1_0", "paused", "write"),
    )

    def __init__(
        self,
        context: UpstreamContext,
        on_open: "Callable[[ClientConnection], None]",
        on_close: "Callable[[ClientConnection], None]",
    ) -> None:
        self._context = context
        self._on_open = on_open
        self._on_close = on_close
        self._transport: asyncio.Transport
        self.write: Callable[[bytes], None]
        """Send to the client; `pause_writing` is called when too much waits."""
        self._fields: list[Field] = []
        self._buffer = b""
        self._exchange: Exchange | None = None
        self._body: int | Chunked | None = None
        """The rest of the present request body: bytes or a decoder; None: nothing."""
        self._dropped = -1
        """Bytes dropped since our side was closed; -1: our side is open."""
        self._partial = False
        """A head has begun and is not complete."""
        self._full = False
        """The client reads slowly, so no further call is begun."""
        self._nested = False
        """`_take_heads` is at work: it takes the next head itself."""
        self._unread = -1
        """Bytes that the client had not read when this was last checked."""
        self.close_after = False
        """The connection ends with the present response."""
        self.paused = False
        """The connection is not read."""
        self.http_1_0 = False
        """The present request is of HTTP/1.0."""
        self.deadline = NEVER
        """When the sweep calls `expired`."""

    # Callbacks of the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first request."""
        self._transport = transport  # type: ignore[assignment]  # a Transport, as for any stream
        self.write = self._transport.write
        self._on_open(self)
        self.deadline = self._context.deadlines.keepalive

    def connection_lost(self, _exc: Exception | None) -> None:
        """Cancel the present call."""
        self._on_close(self)
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.abandoned()

    def pause_writing(self) -> None:
        """Stop reading the response: the client reads slowly."""
        self._full = True
        if self._exchange is not None:
            self._exchange.client_full()

    def resume_writing(self) -> None:
        """Read the response again, or begin the next call."""
        self._full = False
        if self._exchange is not None:
            self._exchange.client_ready()
        elif self._dropped < 0 and not self._transport.is_closing():
            try:
                self._next()
            except Exception as error:  # noqa: BLE001 - the outermost frame of a callback
                self._failed(error)

    def data_received(self, data: bytes) -> None:
        """Take the next bytes: of a head, of a body, or of a later request."""
        try:
            if self._body is not None:
                self._take_body(data)
            elif self._dropped >= 0:
                self._drop(data)
            elif self._exchange is None and not self._full:
                if self._buffer:
                    data = self._buffer + data
                    self._buffer = b""
                self._take_heads(data)
            else:
                self._buffer += data
                if len(self._buffer) > self._context.limits.max_header_bytes:
                    self.pause()
        except Exception as error:  # noqa: BLE001 - the outermost frame of a callback
            self._failed(error)

    # Heads.

    def _take_heads(self, data: bytes) -> None:
        """Begin the next call; answer the requests before it that are refused."""
        context = self._context
        started = context.clock()
        while data:
            if data[0] < LETTERS:
                data = self._without_empty_lines(data)
                continue
            size = data.find(b"\r\n\r\n") + 4
            if not 4 <= size <= context.limits.max_header_bytes:  # noqa: PLR2004 - 3: not found
                self._no_head(data, size)
                return
            raw, data = (data, b"") if size == len(data) else (data[:size], data[size:])
            self._partial = False
            request = None if context.draining else context.known.find(raw)
            if request is None:
                request = self._judge(raw, started)
            if request is not None:
                self._begin(request, started, data)
                if self._exchange is not None:
                    return
                data, self._buffer = self._buffer, b""  # refused, with its body
            if not self._may_go_on(data):
                return
            started = context.clock()

    def _without_empty_lines(self, data: bytes) -> bytes:
        """Return what follows empty lines, if it begins a method; else nothing."""
        end = 0
        while data[end : end + 2] == b"\r\n" and end < 2 * EMPTY_LINES:
            end += 2
        data = data[end:]
        if not data:
            self._partial = False
        elif data == b"\r":
            self._no_head(data, 0)
        elif data[0] < LETTERS:
            # llhttp skips a bare CR or LF here. It would become part of the method, and
            # `\nPOST` is no POST to our rules, but is one to the API.
            self._no_head(b" ", 0)
        else:
            return data
        return b""

    def _may_go_on(self, data: bytes) -> bool:
        """Return whether a call may follow one that was refused; keep its bytes."""
        if self._dropped >= 0 or self._transport.is_closing():
            return False
        if self._full:
            self._buffer = data
            self._rest()
            return False
        self.deadline = self._context.deadlines.keepalive
        return True

    def _begin(
        self, request: KnownRequest[Operation], started: float, data: bytes
    ) -> None:
        """Begin a call; `data` is what came after its head."""
        context = self._context
        method, target, head, operation = request
        self.http_1_0 = head.http_1_0
        # Persistent HTTP/1.0 would need its own responses: the connection ends.
        self.close_after = head.close or head.http_1_0
        exchange = Exchange(self, context, head, method, target, operation, started)
        self._exchange = exchange
        context.stats.inflight += 1
        framing = head.framing
        if not framing:
            self._buffer = data
            exchange.send(context.keys.current)
            return
        self._body = framing if framing > 0 else Chunked()
        if data:
            # The body first, so that head and body leave in one write.
            self._nested = True
            self._take_body(data)
            self._nested = False
        if exchange.phase is not _ENDED:
            exchange.send(context.keys.current)

    def _judge(self, raw: bytes, started: float) -> KnownRequest[Operation] | None:
        """Read and admit a head; None: it was refused, and the answer is written."""
        context = self._context
        at = raw.find(b"\r\n")
        method, _, target = raw[: at - 9].partition(b" ")  # less " HTTP/1.1"
        # A client sends the same fields with most of its requests: they were parsed,
        # judged and searched for keys the first time.
        head = context.known.fields(raw[at - 9 :])
        known = head is not None and method in METHODS
        try:
            if head is None or not known:
                head = self._read(raw, method, target)
        except Refused as refused:
            self._refuse_early(refused, method, started)
            self._answer(refused, method, keep=False)
            return None
        self.close_after = head.close or head.http_1_0
        try:
            operation = context.admit(method, target, head, target if known else raw)
        except Refused as refused:
            self._refuse_early(refused, method, started)
            # No parser may have seen a bad target: where it ends is not certain.
            keep = not head.framing and refused.code is not Code.BAD_TARGET
            self._answer(refused, method, keep=keep)
            return None
        request = (method, target, head, operation)
        context.remember(raw, at - 9, request)
        return request

    def _read(self, raw: bytes, method: bytes, target: bytes) -> RequestHead:
        fields: list[Field] = []
        self._fields = fields
        rules = self._context.request_rules
        try:
            # Each head gets a new parser: after a head with a length, a parser waits
            # for a body that it will not see.
            httptools.HttpRequestParser(self).feed_data(raw)
        except httptools.HttpParserUpgrade:
            pass  # `rules.read` refuses it, by its fields or its method
        except httptools.HttpParserError:
            raise explain(raw, rules) from None
        return rules.read(raw, method, target, fields)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a field (called by llhttp)."""
        self._fields.append((name, value))

    def _no_head(self, data: bytes, size: int) -> None:
        """Wait for the rest of a head, unless it can no longer become valid."""
        context = self._context
        limit = context.limits.max_header_bytes
        if max(size, len(data)) > limit:
            refused = Refused(
                Code.HEAD_TOO_LARGE,
                f"The head is larger than limits.max_header_bytes ({limit})",
            )
        elif not data[:1].isalpha() and data != b"\r":
            refused = Refused(Code.BAD_REQUEST, "This is not HTTP/1.1")
        else:
            if not self._partial:
                self._partial = True
                self.deadline = context.deadlines.head
            self._buffer = data
            return
        self._refuse_early(refused, b"", context.clock())
        self._answer(refused, b"", keep=False)

    # Bodies.

    def _take_body(self, data: bytes) -> None:
        body = self._body
        if isinstance(body, int):
            left = body - len(data)
            self._body = left if left > 0 else None
            if left < 0:
                data, self._buffer = data[:body], data[body:]
        elif body is not None:
            try:
                pieces = body.feed(data)
            except Refused as refused:
                if self._exchange is not None:
                    self._exchange.failed(refused)
                return
            if body.done:
                self._body = None
                self._buffer = body.rest
            data = b"".join(pieces) if len(pieces) != 1 else pieces[0]
        if self._exchange is not None:
            self._exchange.body(data, done=self._body is None)

    # For the exchange.

    def unread(self) -> int:
        """Return the number of bytes that the client has not taken yet."""
        return self._transport.get_write_buffer_size()

    def pause(self) -> None:
        """Stop reading; the kernel's buffer then slows the client down."""
        if not self.paused:
            self.paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again after `pause`."""
        if self.paused:
            self.paused = False
            self._transport.resume_reading()

    def finished(self) -> None:
        """Begin the next call or end the connection: the response is complete."""
        self._exchange = None
        if self._body is not None:
            self._end_gently()
        elif self.close_after or self._context.draining:
            self.deadline = self._context.deadlines.keepalive
            self._transport.close()
        elif self._full:
            self._rest()
        elif not self._nested:
            self._next()

    def _next(self) -> None:
        """Take the next request, or wait for it."""
        if self.paused:
            self.resume()
        data, self._buffer = self._buffer, b""
        if data:
            self._take_heads(data)
        else:
            self.deadline = self._context.deadlines.keepalive

    def _rest(self) -> None:
        """Read nothing until the client has read its responses."""
        self.pause()
        self.deadline = self._context.deadlines.progress

    def refuse(self, refused: Refused, method: bytes, *, whole: bool) -> None:
        """Answer the present call; `whole`: its body has been read."""
        self._exchange = None
        if self._answer(refused, method, keep=whole):
            self.finished()

    def cut(self, *, until_close: bool) -> None:
        """End the connection so that the response is seen to be incomplete."""
        self._exchange = None
        self._body = None
        if until_close:
            # The end of the connection would look like the end of the body.
            self._reset_at_close()
            self._transport.abort()
        else:
            self._linger()
            self._transport.close()

    # Answers of the sidecar, and ends.

    def _refuse_early(self, refused: Refused, method: bytes, started: float) -> None:
        """Count and log a request that was refused before its operation was known."""
        context = self._context
        context.log.rejected(refused, ANY_OPERATION, method)
        context.stats.operation(ANY_OPERATION).answered(
            METHODS.get(method, OTHER_METHOD),
            STATUS[refused.code],
            SIDECAR,
            context.clock() - started,
        )

    def _answer(self, refused: Refused, method: bytes, *, keep: bool) -> bool:
        """Write an answer of the sidecar; return whether the connection goes on."""
        keep = keep and not self.close_after and not self._context.draining
        self._transport.write(
            refusal(refused, close=not keep, head_only=method == b"HEAD")
        )
        if not keep:
            self._end_gently()
        return keep

    def _end_gently(self) -> None:
        """Close our side; drop what still comes."""
        self._body = None
        self._buffer = b""
        self._linger()
        with suppress(OSError, RuntimeError):
            self._transport.write_eof()
        self.resume()

    def _linger(self) -> None:
        self._dropped = 0
        self.deadline = self._context.deadlines.now + LINGER_SECONDS

    def _drop(self, data: bytes) -> None:
        self._dropped += len(data)
        if self._dropped > LINGER_BYTES:
            self._transport.abort()

    def _reset_at_close(self) -> None:
        sock = self._transport.get_extra_info("socket")
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    def idle(self) -> bool:
        """Return whether no call is under way, and no answer is being sent."""
        return self._exchange is None and not self._partial and self._dropped < 0

    def close(self) -> None:
        """Close an idle connection."""
        self._transport.close()

    def abort(self) -> None:
        """Cut the connection; a response that is cut is seen to be incomplete."""
        if self._exchange is not None:
            self._reset_at_close()
        self._transport.abort()

    def expired(self) -> None:
        """Act on a deadline that has passed (called by the sweep)."""
        self.deadline = NEVER
        if self._dropped >= 0:
            self._transport.abort()
        elif self._exchange is not None:
            self._exchange.expired()
        elif self.unread():
            self._still_unread()
        elif self._partial:
            refused = Refused(Code.REQUEST_TIMEOUT, "The rest of the head did not come")
            self._refuse_early(refused, b"", self._context.clock())
            self._answer(refused, b"", keep=False)
        else:
            self._transport.close()

    def _still_unread(self) -> None:
        """Disconnect a client that has read nothing since the last check."""
        unread = self.unread()
        if unread == self._unread:
            self._transport.abort()
        self._unread = unread
        self.deadline = self._context.deadlines.progress

    def _failed(self, error: Exception) -> None:
        """Answer 500 after a bug in the sidecar."""
        refused = self._context.log.internal_error(error)
        self._nested = False
        if self._exchange is not None and self._exchange.phase is not _ENDED:
            self._exchange.failed(refused)
        elif self._dropped < 0:
            self._exchange = None
            self._refuse_early(refused, b"", self._context.clock())
            self._answer(refused, b"", keep=False)
