"""
One call of the service: from its head to the last byte of the answer.

Longer than other files because a call is one state machine: every path here is entered by
a callback of one of its two connections, of the pool, or of the keeper of the key.

Rule 1: until the first byte of an answer has gone to the service, a call can be sent
again, if its body is still held whole. After that byte it can only go on or be cut.
Rule 2: it is sent again at most once because of a 401 (`_judged`), and at most once because
an idle connection turned out to be dead (`_resent`).
Rule 3: a cut answer stays cut: the service's connection is never ended as if it were whole.
"""

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from sidecar.core.answers import ResponseHead
from sidecar.core.fields import CHUNKED
from sidecar.core.framing import LAST_CHUNK, encode_chunk
from sidecar.core.headers import ACCEPT_JSON, RequestHead
from sidecar.core.life_events import Replay, Verdict, proof_of
from sidecar.core.operations import Operation
from sidecar.core.secret import Credential
from sidecar.errors import STATUS, Code, Refused
from sidecar.metrics.hot import METHODS, OTHER_METHOD, SIDECAR, UPSTREAM
from sidecar.proxy.answers import CONTINUE, body_too_large
from sidecar.proxy.filter import AnswerFilter

if TYPE_CHECKING:
    from sidecar.proxy.listener import ServiceConnection
    from sidecar.proxy.upstream import UpstreamConnection

IDEMPOTENT: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})
"""RFC 9110, 9.2.2; TRACE is refused before."""
GONE: Final = 499
"""The service left before the answer was whole (as nginx counts it)."""
KEY_SECONDS: Final = 5.0
"""A call waits this long for the first key: a start takes about one second."""
FOREVER: Final = float("inf")
CHUNKED_LINE: Final = b"Transfer-Encoding: chunked\r\n\r\n"


class Exchange:
    """A call under way: the `Call` of an upstream connection, a `Waiter` of the pool."""

    # Defaults live in the class: a call sets few of these, and setting one costs 30 ns.
    # So no `__slots__`; a call lives for milliseconds, its memory does not count.
    connection: "UpstreamConnection | None" = None
    waiting = False
    dead = False
    deadline = FOREVER
    _sent = 0.0
    _overhead = 0.0
    _held: list[bytes] | tuple[()] | None = ()
    """The body so far, for the first sending and for a second one; None: too large."""
    _body_bytes = 0
    _seam = b""
    """The end of the last piece: a key may lie across two."""
    _judged = False
    _resent = False
    _verdict: Replay | None = None
    _parked: tuple[ResponseHead, bytes, bool] | None = None
    _credential: Credential | None = None
    _filter: AnswerFilter | None = None
    _chunked_out = False
    _until_close = False
    _status = 0
    """Of the answer, once its head has gone to the service."""

    def __init__(
        self,
        service: "ServiceConnection",
        head: RequestHead,
        method: bytes,
        target: bytes,
        operation: Operation,
        started: float,
    ) -> None:
        self._service = service
        self._context = service.context
        self._head = head
        self.method = method
        self._target = target
        self.operation = operation
        self._started = started
        self._body_done = not head.framing

    # Towards the API.

    def start(self) -> None:
        """Send the call as soon as there are a key and a connection."""
        credential = self._context.keys.current
        if credential is None:
            self._context.spawn(self._await_key())
        else:
            self._send(credential)

    async def _await_key(self) -> None:
        self._service.deadline = FOREVER
        credential = await self._context.keys.wait(KEY_SECONDS)
        if self.dead:
            return
        if credential is None:
            self._refuse(
                Refused(
                    self._context.keys.absence, "there is no usable API key; try again"
                )
            )
        else:
            self._send(credential)

    def _send(self, credential: Credential) -> None:
        self._credential = credential
        connection = self._context.pool.take()
        if connection is None:
            self._queue()
        else:
            self.connected(connection)

    def _queue(self) -> None:
        """Wait for a connection; the pool, not the sweep, bounds the wait."""
        self._service.deadline = FOREVER
        self.deadline = self._context.now + self._context.limits.queue_seconds
        self._context.pool.wait(self)

    def connected(self, connection: "UpstreamConnection") -> None:
        """Send the head and what there is of the body (called by the pool)."""
        self.connection = connection
        try:
            self._send_on(connection)
        except Exception as error:  # noqa: BLE001 - called by the pool, for another call
            connection.abort()
            self.answer_failed(error)

    def _send_on(self, connection: "UpstreamConnection") -> None:
        context = self._context
        credential = self._credential
        assert credential is not None  # noqa: S101 - for the type checker
        head = self._head
        pieces = (
            *(
                self.method,
                b" ",
                context.base_path,
                self._target,
                context.version_and_host,
            ),
            head.forward if head.has_accept else head.forward + ACCEPT_JSON,
            credential.header_line,
            CHUNKED_LINE if head.framing == CHUNKED else b"\r\n",
        )
        if not head.framing:
            self._service.deadline = context.now + context.limits.response_seconds
            connection.begin(self, b"".join(pieces))
            self._sent = context.clock()
            return
        held: Iterable[bytes] = self._held or ()
        done = self._body_done
        if head.framing == CHUNKED:
            held = (piece for data in held for piece in encode_chunk(data))
            if done:
                held = (*held, LAST_CHUNK)
        if self._body_bytes > context.limits.replay_body_bytes:
            self._held = None
        wait = context.limits.response_seconds if done else context.limits.idle_seconds
        self._service.deadline = context.now + wait
        connection.begin(self, b"".join((*pieces, *held)))
        self._sent = context.clock()
        if not done:
            self._want_body()

    def _want_body(self) -> None:
        """Let the service send its body, now that there is somebody to take it."""
        if self._head.expect_continue and not self._body_bytes:
            self._service.write(CONTINUE)
        self._service.resume()

    def body(self, data: bytes, *, done: bool) -> None:
        """Take a piece of the service's body, sending it on or holding it until sent."""
        context = self._context
        limits = context.limits
        self._body_bytes += len(data)
        self._body_done = done
        if limits.max_body_bytes and self._body_bytes > limits.max_body_bytes:
            self._refuse(body_too_large(limits.max_body_bytes))
            return
        if data and not self._tripped(data):
            return
        held = self._held
        fits = self._body_bytes <= limits.replay_body_bytes
        connection = self.connection
        if connection is None or (held is not None and fits):
            if data and held:
                held.append(data)
            elif data:
                self._held = [data]
        else:
            self._held = None
        if connection is None:
            if not fits and not done:
                self._service.pause()
            return
        if self._head.framing == CHUNKED:
            data = b"".join(encode_chunk(data))
            if done:
                data += LAST_CHUNK
        wait = limits.response_seconds if done else limits.idle_seconds
        self._service.deadline = context.now + wait
        connection.transport.write(data)

    def _tripped(self, data: bytes) -> bool:
        """Look for a key in the body; return whether the call may go on."""
        context = self._context
        if context.holds_key(self._seam + data):
            try:
                context.tripped(self.operation.label, self.method)
            except Refused as refused:
                self._refuse(refused)
                return False
        if not self._body_done:
            self._seam = (self._seam + data)[-context.seam_bytes :]
        return True

    def pause_sending(self) -> None:
        """Stop the service's body: the API reads slowly."""
        if not self._body_done:
            self._service.pause()

    def resume_sending(self) -> None:
        """Let the service's body come: the API reads again."""
        self._service.resume()
        if not self._status:
            limits = self._context.limits
            wait = limits.response_seconds if self._body_done else limits.idle_seconds
            self._service.deadline = self._context.now + wait

    def failed(self, refusal: Refused) -> None:
        """Answer that no connection is to be had (called by the pool)."""
        self._refuse(refusal)

    # Back from the API.

    def answered(self, head: ResponseHead, body: bytes, *, whole: bool) -> None:
        """Take the answer's head: hide a 401 that can be mended, relay anything else."""
        context = self._context
        back = context.clock()
        service = self._service
        if (
            whole
            and head.status != 401  # noqa: PLR2004 - RFC 9110, 15.5.2
            and head.location is None
            and not head.coding
            and self._body_done
            and self._verdict is None
            and not service.close_after
            and not context.draining
            and (head.framing is None or head.framing >= 0)
        ):
            # The common answer in one pass: one scan, one write.
            out = b"%b%b\r\n%b" % (head.line, head.forward, body)
            needles = context.needles
            if needles is None or not needles.within(out):
                self._status = head.status
                service.write(out)
                self._overhead = self._sent - self._started + context.clock() - back
                self._finish()
                return
        elif head.status == 401 and not self._judged:  # noqa: PLR2004
            self._judged = True
            if self._challenge(head, body, whole=whole):
                return
        self._relay(head, body, back, whole=whole)

    def _challenge(self, head: ResponseHead, body: bytes, *, whole: bool) -> bool:
        """Report the 401; True when the answer is not to be relayed, or not yet."""
        assert self._credential is not None  # noqa: S101 - for the type checker
        replayable = self._held is not None and self._body_done
        verdict = self._context.keys.challenge(self._credential, replayable=replayable)
        if not isinstance(verdict, asyncio.Future):
            return self._obey(verdict)
        connection = self.connection
        assert connection is not None  # noqa: S101 - for the type checker
        self._parked = (head, body, whole)
        self._service.deadline = FOREVER  # the keeper bounds the wait
        if whole:
            self.connection = None
            connection.finish(self._context.now, request_sent=True)
        else:
            connection.transport.pause_reading()
        verdict.add_done_callback(self._ruled)
        return True

    def _ruled(self, future: "asyncio.Future[Verdict]") -> None:
        """Go on after the keeper's verdict."""
        if self.dead or self._parked is None:
            return
        back = self._context.clock()
        head, body, whole = self._parked
        self._parked = None
        if future.cancelled() or not self._obey(future.result()):
            if self.connection is not None:
                self.connection.transport.resume_reading()
            elif not whole:
                self._refuse(
                    Refused(Code.UPSTREAM_PROTOCOL, "the API cut its answer short")
                )
                return
            self._relay(head, body, back, whole=whole)

    def _obey(self, verdict: Verdict) -> bool:
        if not isinstance(verdict, Replay):
            return False
        self._verdict = verdict
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.abort()
        self._send(verdict.credential)
        return True

    def _report(self, status: int) -> None:
        """Tell how the second sending ended; `status` 0: no answer."""
        verdict, self._verdict = self._verdict, None
        if verdict is None:
            return
        if status not in {0, 401}:
            self._context.stats.recovered[verdict.how] += 1
        if verdict.trial:
            proved = proof_of(status) if status else None
            self._context.keys.tried(verdict.credential, proved)

    def _relay(
        self, head: ResponseHead, body: bytes, back: float, *, whole: bool
    ) -> None:
        context = self._context
        service = self._service
        if self._verdict is not None:
            self._report(head.status)
        pieces = [head.line, head.forward]
        if head.location is not None:
            pieces += (b"Location: ", context.localise(head.location), b"\r\n")
        # An answer before the end of the body: what is left of it must not be read as
        # the next call's head, so the connection ends with this answer.
        close = service.close_after or context.draining or not self._body_done
        if head.framing is not None and head.framing < 0:
            if service.version_10:
                close = self._until_close = True
            else:
                self._chunked_out = True
                pieces.append(b"Transfer-Encoding: chunked\r\n")
        if close:
            service.close_after = True
            pieces.append(b"Connection: close\r\n")
        pieces.append(b"\r\n")
        try:
            out = self._first(pieces, head, body, whole=whole)
        except Refused as refused:
            self._refuse(refused)
            return
        self._status = head.status
        service.write(out)
        self._overhead = self._sent - self._started + context.clock() - back
        if whole:
            self._finish()
        else:
            service.deadline = context.now + context.limits.idle_seconds

    def _first(
        self, pieces: list[bytes], head: ResponseHead, body: bytes, *, whole: bool
    ) -> bytes:
        """Return the first bytes for the service: head, and body as far as it came."""
        needles = self._context.needles
        if needles is not None:
            if not whole or (head.coding and head.framing is not None):
                self._filter = AnswerFilter(needles, head.coding)
            elif not self._chunked_out:
                pieces.append(body)
                out = b"".join(pieces)
                if not needles.within(out):
                    return out
                pieces.pop()
                self._filter = AnswerFilter(needles, b"")
            else:
                self._filter = AnswerFilter(needles, b"")
            raw = b"".join(pieces)
            masked = needles.mask(raw)
            if masked != raw:
                self._redacted(1)
            pieces = [masked]
            body = self._filter.feed(body)
            if whole:
                body += self._filter.flush()
                self._redacted(self._filter.hits)
        if self._chunked_out:
            if body:
                pieces += encode_chunk(body)
            if whole:
                pieces.append(LAST_CHUNK)
        else:
            pieces.append(body)
        return b"".join(pieces)

    def answer_data(self, data: bytes) -> None:
        """Relay a piece of the answer's body."""
        if self._parked is not None:  # read before the pause took hold
            head, body, whole = self._parked
            self._parked = (head, body + data, whole)
            return
        if self._filter is not None:
            try:
                data = self._filter.feed(data)
            except Refused as refused:
                self._cut(refused.code)
                return
        service = self._service
        service.deadline = self._context.now + self._context.limits.idle_seconds
        if data:
            service.write(b"".join(encode_chunk(data)) if self._chunked_out else data)

    def answer_ended(self) -> None:
        """Relay the end of the answer."""
        if self._parked is not None:
            head, body, _ = self._parked
            self._parked = (head, body, True)
            connection, self.connection = self.connection, None
            if connection is not None:
                connection.finish(self._context.now, request_sent=True)
            return
        tail = b""
        if self._filter is not None:
            tail = self._filter.flush()
            self._redacted(self._filter.hits)
        if self._chunked_out:
            tail = b"".join((*encode_chunk(tail), LAST_CHUNK))
        if tail:
            self._service.write(tail)
        self._finish()

    def answer_lost(self, refusal: Refused) -> None:
        """Send the call again if the rules allow it, else say or show that it is cut."""
        connection, self.connection = self.connection, None
        if self._parked is not None:
            return  # `_ruled` goes on
        if self._status:
            self._cut(refusal.code)
        elif (
            connection is not None
            and connection.calls > 1
            and not connection.begun
            and not self._resent
            and self._held is not None
            and (self.method in IDEMPOTENT or connection.nothing_written())
        ):
            self._resent = True
            self._queue()
        else:
            self._refuse(refusal)

    def answer_failed(self, error: Exception) -> None:
        """End the call after a bug of ours."""
        self.connection = None
        refusal = self._context.bug(error)
        if self._status:
            self._cut(refusal.code)
        else:
            self._refuse(refusal)

    # The service's side.

    def service_full(self) -> None:
        """Stop reading the answer: the service reads slowly."""
        if self.connection is not None and self._parked is None:
            self.connection.transport.pause_reading()

    def service_ready(self) -> None:
        """Read the answer again."""
        self._service.deadline = self._context.now + self._context.limits.idle_seconds
        if self.connection is not None and self._parked is None:
            self.connection.transport.resume_reading()

    def expired(self) -> None:
        """Give up: nobody did anything for too long (called by the sweep)."""
        if self._status:
            self._cut(Code.UPSTREAM_TIMEOUT)
        elif not self._body_done and not self._service.paused:
            self._refuse(
                Refused(Code.REQUEST_TIMEOUT, "the rest of the body did not come")
            )
        else:
            self._refuse(
                Refused(Code.UPSTREAM_TIMEOUT, "the API did not answer in time")
            )

    def gone(self) -> None:
        """Cancel the call to the API: the service has left."""
        if not self.dead:
            self._end(GONE, SIDECAR)
            seconds = self._context.clock() - self._started
            self._context.log_gone(self.operation, self.method, seconds)

    # Ends. Each of the four leads through `_end`, once.

    def _finish(self) -> None:
        context = self._context
        self.dead = True
        connection = self.connection
        if connection is not None:
            self.connection = None
            connection.finish(context.now, request_sent=self._body_done)
        status = self._status
        seconds = context.clock() - self._started
        stats = context.stats
        stats.inflight -= 1
        stats.operation(self.operation.label).answered(
            METHODS.get(self.method, OTHER_METHOD),
            *(status, UPSTREAM, seconds, self._overhead),
        )
        if context.keys.doubted and self._credential is not None:
            context.keys.tried(self._credential, proof_of(status))
        if status >= 400 or context.log_all:  # noqa: PLR2004 - RFC 9110, 15.5
            context.log_answer(self.operation, self.method, status, seconds)
        self._service.finished()

    def _end(self, status: int, origin: str) -> None:
        """Leave both connections and the pool's queue; count the call."""
        self.dead = True
        self.waiting = False
        self._parked = None
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.abort()
        self._report(0)
        context = self._context
        method = METHODS.get(self.method, OTHER_METHOD)
        context.stats.operation(self.operation.label).answered(
            method, status, origin, context.clock() - self._started
        )
        context.stats.inflight -= 1
        if self._filter is not None:
            self._redacted(self._filter.hits)

    def _refuse(self, refusal: Refused) -> None:
        if self.dead:
            return
        self._end(STATUS[refusal.code], SIDECAR)
        self._context.rejected(refusal, self.operation.label, self.method)
        self._service.refuse(refusal, self.method, whole=self._body_done)

    def _cut(self, code: Code) -> None:
        if self.dead:
            return
        self._end(self._status, UPSTREAM)
        self._context.cut(code, self.operation.label, self.method, self._status)
        self._service.cut(until_close=self._until_close)

    def _redacted(self, hits: int) -> None:
        if hits:
            self._context.redacted(hits, self.operation.label)
