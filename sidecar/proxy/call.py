"""
One call of the service: what is known of it, and how it ends.

The whole of a call is three files, one class on top of the other: this one, `sending.py`
(towards the API) and `exchange.py` (back from it). Every method is entered by a callback
of one of its two connections, of the pool, of the sweep, or of the keeper of the key.

Rule 1: until the first byte of an answer has gone to the service, a call can be sent
again, if its body is still held whole. After that byte it can only go on or be cut.
Rule 2: it is sent again at most once because of a 401 (`_judged`), not counting trials of a
key (a round has few of them), and at most once because an idle connection turned out to be
dead (`_resent`).
Rule 3: a cut answer stays cut: the service's connection is never ended as if it were whole.
"""

from typing import TYPE_CHECKING, Final

from sidecar.core.access.operations import Operation
from sidecar.core.http.request_head import RequestHead
from sidecar.core.http.response_head import ResponseHead
from sidecar.core.keylife.messages import Replay, proof_of
from sidecar.core.secrecy.secret import Credential
from sidecar.errors import STATUS, Code, Refused
from sidecar.metrics.hot import METHODS, OTHER_METHOD, SIDECAR, UPSTREAM
from sidecar.proxy.filter import AnswerFilter

if TYPE_CHECKING:
    from sidecar.proxy.client import ClientConnection
    from sidecar.proxy.upstream import UpstreamConnection

GONE: Final = 499
"""The service left before the answer was whole (as nginx counts it)."""
FOREVER: Final = float("inf")
MAX_CALLED: Final = 256
"""Bytes of a path by which calls are told apart."""


class CallState:
    """What is known of a call, and the four ways in which it ends."""

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
    """A 401 that waits for the keeper's verdict, or for the rest of the body."""
    _early = False
    """The 401 came before the end of the body."""
    _credential: Credential | None = None
    _wants_outcomes = False
    """The key was in doubt when this call took it: how it ends is news."""
    _filter: AnswerFilter | None = None
    _chunked_out = False
    _until_close = False
    _status = 0
    """Of the answer, once its head has gone to the service."""

    def __init__(
        self,
        service: "ClientConnection",
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

    # The service's side.

    def service_full(self) -> None:
        """Stop reading the answer: the service reads slowly."""
        if self.connection is not None and self._parked is None:
            self.connection.pause()

    def service_ready(self) -> None:
        """Read the answer again."""
        self._service.deadline = self._context.now + self._context.limits.idle_seconds
        if self.connection is not None and self._parked is None:
            self.connection.resume()

    def expired(self) -> None:
        """Give up: nobody did anything for too long (called by the sweep)."""
        if self._status:
            # Who is it that stopped? What we still hold, the service does not take.
            slow = self._service.unread() > 0
            self._cut(Code.REQUEST_TIMEOUT if slow else Code.UPSTREAM_TIMEOUT)
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

    def answer_failed(self, error: Exception) -> None:
        """End the call after a bug of ours."""
        self.connection = None
        refusal = self._context.bug(error)
        if self._status:
            self._cut(refusal.code)
        else:
            self._refuse(refusal)

    def _called(self) -> bytes:
        """Return what was called, as far as a 401 may be about it: method and path."""
        return b"%b %b" % (self.method, self._target.partition(b"?")[0][:MAX_CALLED])

    # Ends. Each of the four leads through `_end`, once.

    def _finish(self, now: float) -> None:
        """End a call that was answered by the API, whole; `now`: by the fine clock."""
        context = self._context
        self.dead = True
        connection = self.connection
        if connection is not None:
            self.connection = None
            connection.finish(context.now, request_sent=self._body_done)
        status = self._status
        seconds = now - self._started
        stats = context.stats
        stats.inflight -= 1
        stats.operations[self.operation.label].answered(
            METHODS.get(self.method, OTHER_METHOD),
            *(status, UPSTREAM, seconds, self._overhead),
        )
        credential = self._credential
        if credential is not None:
            try:
                stats.by_key[credential.fingerprint] += 1
            except KeyError:
                stats.count_key(credential.fingerprint)
                stats.by_key[credential.fingerprint] += 1
        if self._wants_outcomes and self._credential is not None:
            context.keys.tried(self._credential, proof_of(status), self._called())
        if status >= 400 or context.log_all:  # noqa: PLR2004 - RFC 9110, 15.5
            context.log_answer(self.operation, self.method, status, seconds)
        self._service.finished()

    def _report(self, status: int) -> None:
        """Tell how the second sending ended; `status` 0: no answer."""
        verdict, self._verdict = self._verdict, None
        if verdict is None:
            return
        if status not in {0, 401}:
            self._context.stats.recovered[verdict.how] += 1
        if verdict.trial:
            proved = proof_of(status) if status else None
            self._context.keys.tried(verdict.credential, proved, self._called())

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
        if self._status:
            # A second head would stand in the middle of the answer that has begun.
            self._cut(refusal.code)
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
