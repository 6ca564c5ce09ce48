"""
One connection from the service: reads calls, one after the other, and writes answers.

Callbacks, not tasks: a task per call costs more than the rest of the call.

Rule 1: a head is taken whole, its end found first, and handed to llhttp alone. The body
is measured by `core.framing`, so the start of the next head is never a parser's guess.
Rule 2: one call at a time; what comes before its answer is whole waits in `_buffer`
(pipelining, RFC 9112, 9.3.2), which is bounded by not reading on.
Rule 3: while the service does not read its answers no further call is begun, so what it
can make us hold is bounded.

How it ends is below, in `connection_ends.py`.
"""

import asyncio
from typing import TYPE_CHECKING, Final

import httptools

from sidecar.core.http.framing import Chunked
from sidecar.core.http.parse_errors import explain
from sidecar.core.http.request_head import RequestHead
from sidecar.errors import Code, Refused
from sidecar.metrics.hot import METHODS
from sidecar.proxy.connection_ends import ConnectionEnds
from sidecar.proxy.exchange import Exchange

if TYPE_CHECKING:
    from sidecar.proxy.known_calls import KnownCall

LETTERS: Final = 65
"""Bytes below it begin no method."""
EMPTY_LINES: Final = 8
"""Ignored before a request line (RFC 9112, 2.2: at least one); more are no HTTP."""


class ClientConnection(ConnectionEnds):
    """The protocol on a connection from the service."""

    __slots__ = ()

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a first call."""
        self._transport = transport  # type: ignore[assignment]  # a Transport, as for any stream
        self.write = self._transport.write
        context = self.context
        context.services.add(self)
        self.deadline = context.now + context.limits.keepalive_seconds

    def connection_lost(self, _exc: Exception | None) -> None:
        """Cancel the call under way: nobody waits for its answer."""
        self.context.left(self)
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.gone()

    def pause_writing(self) -> None:
        """Stop reading the answer: the service reads slowly."""
        self._full = True
        if self._exchange is not None:
            self._exchange.service_full()

    def resume_writing(self) -> None:
        """Read the answer again, or begin the call that waited for that."""
        self._full = False
        if self._exchange is not None:
            self._exchange.service_ready()
        elif self._lingered < 0 and not self._transport.is_closing():
            try:
                self._next()
            except Exception as error:  # noqa: BLE001 - the outermost frame of a callback
                self._failed(error)

    def data_received(self, data: bytes) -> None:
        """Take the next bytes: of a head, of a body, or of a call to come."""
        try:
            if self._body is not None:
                self._take_body(data)
            elif self._lingered >= 0:
                self._drop(data)
            elif self._exchange is None and not self._full:
                if self._buffer:
                    data = self._buffer + data
                    self._buffer = b""
                self._take_heads(data)
            else:
                self._buffer += data
                if len(self._buffer) > self.context.limits.max_header_bytes:
                    self.pause()
        except Exception as error:  # noqa: BLE001 - the outermost frame of a callback
            self._failed(error)

    # Heads.

    def _take_heads(self, data: bytes) -> None:
        """Begin the next call; answer those that are refused on the way to it."""
        context = self.context
        started = context.clock()
        while data:
            if data[0] < LETTERS:
                data = self._without_empty_lines(data)
                continue
            size = data.find(b"\r\n\r\n") + 4
            if not 4 <= size <= context.max_header_bytes:  # noqa: PLR2004 - 3: not found
                self._no_head(data, size)
                return
            raw, data = (data, b"") if size == len(data) else (data[:size], data[size:])
            self._partial = False
            call = None if context.draining else context.known.find(raw)
            if call is None:
                call = self._judge(raw, started)
            if call is not None:
                self._begin(call, started, data)
                if self._exchange is not None:
                    return
                data, self._buffer = self._buffer, b""  # refused, its body and all
            if not self._may_go_on(data):
                return
            started = context.clock()

    def _without_empty_lines(self, data: bytes) -> bytes:
        """Return what comes behind empty lines, if it begins a method; else nothing."""
        end = 0
        while data[end : end + 2] == b"\r\n" and end < 2 * EMPTY_LINES:
            end += 2
        data = data[end:]
        if not data:
            self._partial = False
        elif data == b"\r":
            self._no_head(data, 0)
        elif data[0] < LETTERS:
            # llhttp skips a bare CR or LF here; it would be part of the method, and
            # `\nPOST` is no POST to our rules, but one to the API.
            self._no_head(b" ", 0)
        else:
            return data
        return b""

    def _may_go_on(self, data: bytes) -> bool:
        """Tell whether another call may follow one that was refused; keep its bytes."""
        if self._lingered >= 0 or self._transport.is_closing():
            return False
        if self._full:
            self._buffer = data
            self._rest()
            return False
        self.deadline = self.context.now + self.context.limits.keepalive_seconds
        return True

    def _begin(self, call: "KnownCall", started: float, data: bytes) -> None:
        """Begin a call; `data` is what came after its head."""
        context = self.context
        method, target, head, operation = call
        self.version_10 = head.http_1_0
        # Persistence of HTTP/1.0 would need its own answers: it ends with the first.
        self.close_after = head.close or head.http_1_0
        exchange = Exchange(self, head, method, target, operation, started)
        self._exchange = exchange
        context.stats.inflight += 1
        framing = head.framing
        if not framing:
            self._buffer = data
            exchange.start()
            return
        self._body = framing if framing > 0 else Chunked()
        if data:
            # First, so that head and body leave in one write.
            self._nested = True
            self._take_body(data)
            self._nested = False
        if not exchange.dead:
            exchange.start()

    def _judge(self, raw: bytes, started: float) -> "KnownCall | None":
        """Read and judge a head; None: it was refused, and the answer written."""
        context = self.context
        at = raw.find(b"\r\n")
        method, _, target = raw[: at - 9].partition(b" ")  # less " HTTP/1.1"
        # A client sends the same fields with most of its calls: they were parsed,
        # judged and searched for keys when they came first.
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
            # A bad target may be a line that no parser has seen: not to be trusted.
            keep = not head.framing and refused.code is not Code.BAD_TARGET
            self._answer(refused, method, keep=keep)
            return None
        call = (method, target, head, operation)
        context.remember(raw, at - 9, call)
        return call

    def _read(self, raw: bytes, method: bytes, target: bytes) -> RequestHead:
        fields: list[tuple[bytes, bytes]] = []
        self._fields = fields
        try:
            # A new parser for each: after a head with a length, an old one waits for a
            # body that it will not see.
            httptools.HttpRequestParser(self).feed_data(raw)
        except httptools.HttpParserUpgrade:
            pass  # `read` refuses it, by its fields or its method
        except httptools.HttpParserError:
            raise explain(raw, self.context.request_rules) from None
        return self.context.request_rules.read(raw, method, target, fields)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a field (called by llhttp)."""
        self._fields.append((name, value))

    def _no_head(self, data: bytes, size: int) -> None:
        """Wait for the rest of a head, unless it can no longer become a good one."""
        context = self.context
        limit = context.limits.max_header_bytes
        if max(size, len(data)) > limit:
            refused = Refused(
                Code.HEAD_TOO_LARGE,
                f"the head is larger than limits.max_header_bytes ({limit})",
            )
        elif not data[:1].isalpha() and data != b"\r":
            refused = Refused(Code.BAD_REQUEST, "this is not HTTP/1.1")
        else:
            if not self._partial:
                self._partial = True
                self.deadline = context.now + context.limits.header_seconds
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

    # The call's side.

    def finished(self) -> None:
        """Go on to the next call, or end the connection: the answer is whole."""
        self._exchange = None
        if self._body is not None:
            self._end_gently()
        elif self.close_after or self.context.draining:
            self.deadline = self.context.idle_by
            self._transport.close()
        elif self._full:
            self._rest()
        elif not self._nested:
            self._next()

    def _next(self) -> None:
        """Take the next call, or wait for it."""
        if self.paused:
            self.resume()
        data, self._buffer = self._buffer, b""
        if data:
            self._take_heads(data)
        else:
            self.deadline = self.context.idle_by

    def _rest(self) -> None:
        """Take nothing in until the service has read what it asked for."""
        self.pause()
        self.deadline = self.context.now + self.context.limits.idle_seconds

    def refuse(self, refused: Refused, method: bytes, *, whole: bool) -> None:
        """Answer the present call ourselves; `whole`: its body has been read."""
        self._exchange = None
        if self._answer(refused, method, keep=whole):
            self.finished()
