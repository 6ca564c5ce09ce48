"""
One connection to the API: sends requests and reads responses, for one call at a time.

It uses callbacks, not tasks: a task for each call costs more than the rest of the call.

Rule 1: bytes that come while no call is under way, or after the end of a response, close
the connection: they must not become the response to another call.
Rule 2: a response ends where its framing says (RFC 9112, 6.3). If the connection is lost
before that, the response is cut, whatever was received.
Rule 3: a head is put together from known lines (`core.http.line_cache`), or parsed by
llhttp and judged by `core.http.response_head`. The body passes through neither, so no
parser copies its bytes.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Final, Protocol

import httptools

from sidecar.core.http.fields import UNTIL_CLOSE, Field
from sidecar.core.http.framing import Chunked
from sidecar.core.http.line_cache import LineCache
from sidecar.core.http.response_head import ResponseHead, ResponseRules
from sidecar.errors import Code, Refused

MAX_HEAD: Final = 65536
"""Bytes of a response head; nginx allows 4-8 KiB, Envoy 60 KiB."""
IDLE_SECONDS: Final = 50.0
"""An idle connection is not reused after this: common servers and load balancers close
theirs after 60 s, and a POST that is sent at that moment fails."""
KEEP_ALIVE: Final = re.compile(
    rb"\r\nKeep-Alive:[^\r\n]{0,99}?\btimeout=([0-9]{1,6})", re.IGNORECASE
)
"""`Keep-Alive: timeout=5` of Node and Apache: the API closes then (RFC 2068, 19.7.1.1)."""
MAX_INTERIM: Final = 64
"""1xx responses to one call (RFC 9110, 15.2); more are taken for an attack."""


class Call(Protocol):
    """What a connection calls of the call that it works for."""

    method: bytes

    def answered(self, head: ResponseHead, body: bytes, *, whole: bool) -> None:
        """Take the head, and the body as far as it came with the head."""

    def answer_data(self, data: bytes) -> None:
        """Take more of the body."""

    def answer_ended(self) -> None:
        """The response is complete."""

    def answer_lost(self, refusal: Refused) -> None:
        """The connection or the response is broken: no more will come."""

    def answer_failed(self, error: Exception) -> None:
        """A bug in the sidecar broke the response."""

    def pause_sending(self) -> None:
        """The API reads slowly."""

    def resume_sending(self) -> None:
        """The API reads again."""


class Owner(Protocol):
    """What a connection calls of the pool that it belongs to."""

    def release(self, connection: "UpstreamConnection", /) -> None:
        """The connection is free for another call."""

    def forget(self, connection: "UpstreamConnection", /) -> None:
        """The connection is lost, or must not be used again."""


class UpstreamConnection(asyncio.Protocol):
    """
    The protocol on a connection to the API.

    Args:
        pool: Owns the connection.
        rules: How response heads are read.
        known: Response heads that were read before.
    """

    __slots__ = (
        *("_body", "_buffer", "_eof", "_fields", "_interim", "_known", "_pool"),
        *("_read_again", "_rules", "_written_before", "begun", "call", "calls"),
        *("idle_seconds", "idle_until", "on_first_answer", "paused", "reusable"),
        "transport",
    )

    def __init__(self, pool: Owner, rules: ResponseRules, known: LineCache) -> None:
        self._pool = pool
        self._rules = rules
        self._known = known
        self._fields: list[Field] = []
        self._buffer = b""
        self._body: int | Chunked | None = None
        """The rest of the body: bytes, a decoder, UNTIL_CLOSE; None: a head comes next."""
        self._interim = 0
        self._eof = False
        self.transport: asyncio.Transport
        self._read_again: Callable[[], None] | None = None
        """Reads once more: `TlsTransport` needs it after an error (rule 3 there)."""
        self._written_before = 0
        self.call: Call | None = None
        self.calls = 0
        self.begun = False
        """A byte of the response to the present call has come."""
        self.on_first_answer: Callable[[], None] | None = None
        self.reusable = True
        self.paused = False
        self.idle_until = 0.0
        self.idle_seconds = IDLE_SECONDS

    # For the call and the pool.

    def begin(self, call: Call, data: bytes) -> None:
        """Work for `call`; send the first bytes of its request."""
        self.call = call
        self.calls += 1
        self.begun = False
        transport = self.transport
        # The loop's own transport does not count.
        self._written_before = getattr(transport, "written", -1)
        transport.write(data)

    def nothing_written(self) -> bool:
        """Return whether the API cannot have seen a byte of the present call."""
        return getattr(self.transport, "written", None) == self._written_before

    def finish(self, now: float, *, request_sent: bool) -> None:
        """End the work for the call: become idle, or close if the call left a rest."""
        if self.reusable and request_sent and not self._eof:
            self.call = None
            if self.paused:
                # Paused for the client of this call, not for that of the next one.
                self.resume()
            self.idle_until = now + self.idle_seconds
            self._pool.release(self)
        else:
            self.abort()

    def pause(self) -> None:
        """Stop reading the response."""
        if not self.paused:
            self.paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read again after `pause`."""
        if self.paused:
            self.paused = False
            self.transport.resume_reading()

    def retire(self) -> None:
        """Take no further call; close when the present one ends."""
        self.reusable = False
        if self.call is None:
            self.close()

    def close(self) -> None:
        """Close an idle connection politely."""
        self._pool.forget(self)
        self.transport.close()

    def abort(self) -> None:
        """Cut the connection; the call is not informed."""
        self.call = None
        self.reusable = False
        self._pool.forget(self)
        self.transport.abort()

    # Callbacks of the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._read_again = getattr(transport, "read_again", None)
        self.transport = transport  # type: ignore[assignment]  # a Transport, as for any stream

    def connection_lost(self, _exc: Exception | None) -> None:
        """End the present call: its response is cut."""
        self.reusable = False
        self._pool.forget(self)
        if self.call is not None:
            call, self.call = self.call, None
            call.answer_lost(
                Refused(
                    Code.UPSTREAM_PROTOCOL,
                    "The API closed the connection before its answer was complete",
                )
            )

    def eof_received(self) -> bool:
        """End a response that ends with the connection; others are cut."""
        self._eof = True
        if self._body == UNTIL_CLOSE and self.call is not None:
            self.reusable = False
            self.call.answer_ended()
        return False

    def pause_writing(self) -> None:
        """Stop reading the request body: the API reads slowly."""
        if self.call is not None:
            self.call.pause_sending()

    def resume_writing(self) -> None:
        """Read the request body again."""
        if self.call is not None:
            self.call.resume_sending()

    def data_received(self, data: bytes) -> None:
        """Take the next bytes of the response."""
        call = self.call
        if call is None:
            # A late or smuggled response must not reach another call (rule 1).
            self.abort()
            return
        try:
            if self._body is None:
                self.begun = True
                if self._buffer:
                    data = self._buffer + data
                    self._buffer = b""
                self._head(call, data)
            else:
                self._more(call, data)
            if self.call is call and self._read_again is not None:
                self._read_again()
        except Exception as error:  # noqa: BLE001 - the outermost frame of a callback
            self.abort()
            call.answer_failed(error)

    def _head(self, call: Call, data: bytes) -> None:
        size = data.find(b"\r\n\r\n") + 4
        if not 4 <= size <= MAX_HEAD:  # noqa: PLR2004 - 3: not found
            self._no_head(call, data, size)
            return
        raw = data[:size]
        if self.calls == 1:
            self._settle(raw)
        head = self._known.read(raw, call.method)
        if head is not None and len(data) - size == head.framing:
            if self._interim:
                self._interim = 0
            call.answered(head, data[size:], whole=True)
            return
        try:
            head = head or self._read(raw, call.method)
        except Refused as refusal:
            self._broken(call, refusal.detail)
            return
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            # llhttp raises an upgrade for a 101, which no request asks for.
            self._broken(call, "The head of the API's answer is malformed")
            return
        if head.status < 200:  # noqa: PLR2004 - RFC 9110, 15.2: interim
            self._skip(call, data[size:])
            return
        self._interim = 0
        if not head.keep_alive:
            self.reusable = False
        self._deliver(call, head, data[size:])

    def _settle(self, raw: bytes) -> None:
        """Take what holds for the whole connection from the first response."""
        announced = KEEP_ALIVE.search(raw)
        if announced is not None:
            # A second less: a POST that is sent while the API closes fails.
            self.idle_seconds = min(self.idle_seconds, max(int(announced[1]) - 1, 0))
        if self.on_first_answer is not None:
            self.on_first_answer()

    def _no_head(self, call: Call, data: bytes, size: int) -> None:
        """Wait for the rest of a head, unless it cannot become valid."""
        if max(size, len(data)) > MAX_HEAD:
            self._broken(call, "The head of the API's answer is too large")
        elif not data.startswith(b"HTTP/1."[: len(data)]):
            self._broken(call, "The API's answer is not HTTP/1.1")
        else:
            self._buffer = data

    def _skip(self, call: Call, rest: bytes) -> None:
        """Go on after an interim response."""
        self._interim += 1
        if self._interim > MAX_INTERIM:
            self._broken(call, "The API sent too many interim answers")
        elif rest:
            self._head(call, rest)

    def _read(self, raw: bytes, method: bytes) -> ResponseHead:
        """Parse one head; the parser fills `_fields`."""
        fields: list[Field] = []
        self._fields = fields
        # Each head gets a new parser: after a head, a parser waits for a body.
        httptools.HttpResponseParser(self).feed_data(raw)
        return self._rules.read(raw, method, fields)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a field (called by llhttp)."""
        self._fields.append((name, value))

    def _deliver(self, call: Call, head: ResponseHead, body: bytes) -> None:
        framing = head.framing
        if framing is None:
            if body:
                self.reusable = False
            call.answered(head, b"", whole=True)
        elif framing >= 0:
            left = framing - len(body)
            if left <= 0:
                if left < 0:
                    # What follows the end belongs to no response (RFC 9112, 9.2).
                    self.reusable = False
                call.answered(head, body[:framing], whole=True)
            else:
                self._body = left
                call.answered(head, body, whole=False)
        elif framing == UNTIL_CLOSE:
            self.reusable = False
            self._body = UNTIL_CLOSE
            call.answered(head, body, whole=False)
        else:
            self._deliver_chunks(call, head, body)

    def _deliver_chunks(self, call: Call, head: ResponseHead, body: bytes) -> None:
        chunked = self._body = Chunked()
        try:
            pieces = chunked.feed(body)
        except Refused:
            self._broken(call, "The chunks of the API's answer are malformed")
            return
        if chunked.done:
            self._chunks_done(chunked)
        call.answered(head, b"".join(pieces), whole=chunked.done)

    def _chunks_done(self, chunked: Chunked) -> None:
        self._body = None
        if chunked.rest:
            self.reusable = False

    def _more(self, call: Call, data: bytes) -> None:
        body = self._body
        if isinstance(body, Chunked):
            self._more_chunks(call, body, data)
        elif body == UNTIL_CLOSE:
            call.answer_data(data)
        elif body is not None:
            left = body - len(data)
            if left > 0:
                self._body = left
                call.answer_data(data)
                return
            if left < 0:
                self.reusable = False
                data = data[:body]
            self._body = None
            call.answer_data(data)
            self._end(call)

    def _more_chunks(self, call: Call, chunked: Chunked, data: bytes) -> None:
        try:
            pieces = chunked.feed(data)
        except Refused:
            self._broken(call, "The chunks of the API's answer are malformed")
            return
        if chunked.done:
            self._chunks_done(chunked)
        if pieces:
            call.answer_data(b"".join(pieces) if len(pieces) > 1 else pieces[0])
        if chunked.done:
            self._end(call)

    def _end(self, call: Call) -> None:
        # The call may have ended while it took the last bytes.
        if self.call is call:
            call.answer_ended()

    def _broken(self, call: Call, detail: str) -> None:
        self.abort()
        call.answer_lost(Refused(Code.UPSTREAM_PROTOCOL, detail))
