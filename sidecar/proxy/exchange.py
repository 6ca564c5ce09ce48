"""
One call of a client: its request goes to the API, and the response comes back.

Every method is entered by a callback: of the client's connection, of the connection to
the API, of the pool, of the sweep, or of the credential manager.

Rule 1: until the first byte of a response has gone to the client, the request can be sent
again, if its body is held whole. After that byte the call is completed or cut.
Rule 2: a request is sent again at most once because of a 401 (`_challenged`), not counting
trials of a new key (a recovery has few), and at most once because an idle connection
turned out to be dead (`_resent`).
Rule 3: a response that was cut never looks complete to the client.
"""

import asyncio
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol

from sidecar.core.access.operations import Operation
from sidecar.core.http.request_head import ACCEPT_JSON, RequestHead
from sidecar.core.http.response_head import ResponseHead
from sidecar.core.http.target import localise
from sidecar.core.keylife.messages import Replay, Verdict, proof_of
from sidecar.core.secrecy.secret import Credential
from sidecar.errors import STATUS, Code, Refused
from sidecar.metrics.hot import METHODS, OTHER_METHOD, SIDECAR, UPSTREAM
from sidecar.proxy.context import NEVER, UpstreamContext
from sidecar.proxy.error_responses import CONTINUE, body_too_large
from sidecar.proxy.replay_body import CHUNKED_FIELD, ReplayBody
from sidecar.proxy.response_relay import ResponseRelay
from sidecar.proxy.upstream import UpstreamConnection

CLIENT_CLOSED_REQUEST: Final = 499
"""The client disconnected before its response was complete (as nginx counts it)."""
KEY_SECONDS: Final = 5.0
"""A call waits this long for the first key; a start takes about one second."""
HELD_BYTES: Final = 65_536
"""Bytes of a held 401 after which its connection is no longer read."""
MAX_ENDPOINT_BYTES: Final = 256
"""How much of a path tells endpoints apart."""
IDEMPOTENT: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})
"""RFC 9110, 9.2.2; TRACE is refused."""
UNAUTHORIZED: Final = 401
"""RFC 9110, 15.5.2."""


class Phase(Enum):
    """Where a call is. A replay goes back from SENT or HELD to WAITING."""

    WAITING = "waiting"
    """For a key or for a connection to the API."""
    SENT = "sent"
    """The head of the request has gone to the API, and no response is relayed yet."""
    HELD = "held"
    """A 401 of the API is held back."""
    RELAYED = "relayed"
    """The head of the response has gone to the client."""
    ENDED = "ended"
    """Completed, refused or cut."""


# It costs 40 ns to read a member from the class.
_WAITING, _SENT, _HELD, _RELAYED, _ENDED = Phase


class Client(Protocol):
    """What an exchange needs of the client's connection."""

    close_after: bool
    deadline: float
    http_1_0: bool
    paused: bool

    def write(self, data: bytes, /) -> None:
        """Send to the client."""

    def unread(self) -> int:
        """Return the number of bytes that the client has not taken yet."""

    def pause(self) -> None:
        """Stop reading from the client."""

    def resume(self) -> None:
        """Read from the client again."""

    def finished(self) -> None:
        """The response is complete."""

    def refuse(self, refused: Refused, method: bytes, *, whole: bool) -> None:
        """Answer the call; `whole`: its body has been read."""

    def cut(self, *, until_close: bool) -> None:
        """End the connection so that the response is seen to be incomplete."""


@dataclass(slots=True)
class HeldResponse:
    """A 401 that waits for a verdict, or for the rest of the request body."""

    # Not masked yet: it may contain the key.
    head: ResponseHead = field(repr=False)
    body: bytes = field(repr=False)
    whole: bool
    awaits_body: bool = False
    """It came before the end of the request body: the call cannot be replayed yet."""


class Exchange:
    """A call: the `Call` of a connection to the API, and a `Waiter` of the pool."""

    # Defaults are in the class: a call sets few of these, and each costs 30 ns to set.
    connection: UpstreamConnection | None = None
    phase: Phase = _WAITING
    deadline = NEVER
    """When the call leaves the pool's queue."""
    status = 0
    """Of the response, once its head has gone to the client."""
    _body: ReplayBody | None = None
    _held: HeldResponse | None = None
    _relay: ResponseRelay | None = None
    _credential: Credential | None = None
    _verdict: Replay | None = None
    """Why the request was sent again; None after its outcome was reported."""
    _wants_outcomes = False
    """The manager wants to know the outcome of this call."""
    _challenged = False
    _resent = False
    _sent_at = 0.0
    _overhead = 0.0

    def __init__(
        self,
        client: Client,
        context: UpstreamContext,
        head: RequestHead,
        method: bytes,
        target: bytes,
        operation: Operation,
        started: float,
    ) -> None:
        self._client = client
        self._context = context
        self._head = head
        self.method = method
        self._target = target
        self.operation = operation
        self._started = started
        if head.framing:
            self._body = ReplayBody(head.framing, context.limits.replay_body_bytes)

    def __repr__(self) -> str:
        method = METHODS.get(self.method, OTHER_METHOD)
        return f"<Exchange {self.phase.value} {method} {self.status or '-'}>"

    @property
    def waiting(self) -> bool:
        """Whether the call needs a connection (for the pool)."""
        return self.phase is _WAITING

    @property
    def _body_complete(self) -> bool:
        return self._body is None or self._body.complete

    # The request on its way to the API.

    def send(self, credential: Credential | None) -> None:
        """Send the request with this key, as soon as there is a connection."""
        context = self._context
        if credential is None:
            self._client.deadline = NEVER
            context.spawn(self._await_key())
            return
        self._credential = credential
        self._wants_outcomes = context.keys.wants_outcomes
        connection = context.pool.take()
        if connection is None:
            self._queue()
        else:
            self.connected(connection)

    async def _await_key(self) -> None:
        keys = self._context.keys
        # A key that expired is not worth a wait: its source has been away for long.
        expired = keys.unavailable_code is Code.CREDENTIAL_EXPIRED
        try:
            credential = await keys.wait(0 if expired else KEY_SECONDS)
        except Exception as error:  # noqa: BLE001 - the call must be answered
            self.answer_failed(error)
            return
        if self.phase is _ENDED:
            return
        if credential is None:
            self.failed(
                Refused(keys.unavailable_code, "There is no usable API key; try again")
            )
        else:
            self.send(credential)

    def _queue(self) -> None:
        """Wait for a connection; the pool bounds the wait, not the sweep."""
        self.phase = _WAITING
        self._client.deadline = NEVER
        self.deadline = self._context.deadlines.queue
        self._context.pool.wait(self)

    def connected(self, connection: UpstreamConnection) -> None:
        """Send the head, and the body as far as it has come."""
        self.connection = connection
        self.phase = _SENT
        context = self._context
        head = self._head
        body = self._body
        credential = self._credential
        assert credential is not None  # noqa: S101 - for the type checker
        try:
            pieces = (
                self.method,
                b" ",
                context.base.path,
                self._target,
                context.version_and_host,
                head.forward if head.has_accept else head.forward + ACCEPT_JSON,
                credential.header_line,
                CHUNKED_FIELD if body is not None and body.chunked else b"\r\n",
            )
            if body is None:
                self._client.deadline = context.deadlines.response
                connection.begin(self, b"".join(pieces))
                self._sent_at = context.clock()
                return
            deadlines = context.deadlines
            self._client.deadline = (
                deadlines.response if body.complete else deadlines.progress
            )
            connection.begin(self, b"".join((*pieces, *body.so_far())))
            self._sent_at = context.clock()
            if not body.complete:
                if head.expect_continue and not body.size:
                    self._client.write(CONTINUE)
                self._client.resume()
        except Exception as error:  # noqa: BLE001 - may be called for another call
            self.answer_failed(error)

    def _expect_progress(self) -> None:
        """Expect more of the request body, or the response."""
        deadlines = self._context.deadlines
        self._client.deadline = (
            deadlines.response if self._body_complete else deadlines.progress
        )

    def failed(self, refusal: Refused) -> None:
        """Answer the call: it cannot be sent."""
        if self.phase is _ENDED:
            return
        if self.phase is _RELAYED:
            # A second head would appear in the middle of the response.
            self._cut(refusal.code)
            return
        self._end(STATUS[refusal.code], SIDECAR)
        self._context.log.rejected(refusal, self.operation.label, self.method)
        self._client.refuse(refusal, self.method, whole=self._body_complete)

    def body(self, data: bytes, *, done: bool) -> None:
        """Send a piece of the request body, or hold it until the request is sent."""
        body = self._body
        assert body is not None  # noqa: S101 - for the type checker
        connection = self.connection
        body.add(data, complete=done, sent=connection is not None)
        limit = self._context.limits.max_body_bytes
        if limit and body.size > limit:
            self.failed(body_too_large(limit))
            return
        keys = self._context.guard.forbidden
        if keys is not None and data:
            searched = body.tail + data if body.tail else data
            if keys.knows(searched) and not self._may_contain_key():
                return
            if not done:
                body.tail = searched[-self._context.guard.overlap :]
        if connection is not None:
            self._expect_progress()
            connection.transport.write(body.encode(data))
        elif not done and not body.fits:
            self._client.pause()
        held = self._held
        if held is not None and held.awaits_body:
            self._expect_progress()
            if done or not body.fits:
                held.awaits_body = False
                if not self._challenge(held):
                    self._release(held)

    def _may_contain_key(self) -> bool:
        """Act on a body that contains a key; False: the call was refused."""
        try:
            self._context.contains_key(self.operation.label, self.method)
        except Refused as refused:
            self.failed(refused)
            return False
        return True

    def pause_sending(self) -> None:
        """Stop reading the request body: the API reads slowly."""
        if not self._body_complete:
            self._client.pause()

    def resume_sending(self) -> None:
        """Read the request body again: the API reads again."""
        self._client.resume()
        if self.phase is not _RELAYED:
            self._expect_progress()

    # The response on its way back.

    def answered(self, head: ResponseHead, body: bytes, *, whole: bool) -> None:
        """Take the head of the response: hold a 401 that may be cured, relay others."""
        context = self._context
        back = context.clock()
        client = self._client
        status = head.status
        if (
            whole
            and head.location is None
            and not head.coding
            and status != UNAUTHORIZED
            and (self._body is None or self._body.complete)
            and self._verdict is None
            and not client.close_after
            and not context.draining
            and (head.framing is None or head.framing >= 0)
        ):
            # The common response in one pass: one search, one write.
            out = b"%b%b\r\n%b" % (head.line, head.forward, body)
            keys = context.guard.hidden
            if keys is None or not keys.within(out):
                self.status = status
                client.write(out)
                now = context.clock()
                self._overhead = self._sent_at - self._started + now - back
                self._finish(now)
                return
        elif status == UNAUTHORIZED and self._is_news():
            held = HeldResponse(head, body, whole)
            if self._body is not None and self._body.may_become_replayable:
                self._hold_for_body(held)
                return
            if self._challenge(held):
                return
        self._start_relay(head, body, back, whole=whole)

    def _is_news(self) -> bool:
        """Return whether this 401 is reported to the credential manager."""
        first, self._challenged = not self._challenged, True
        if first or self._verdict is None or not self._verdict.trial:
            return first
        # The call carried a key on trial. Another key may follow, and this call is
        # entitled to it as well.
        self._report_replay(UNAUTHORIZED)
        return True

    def _hold_for_body(self, held: HeldResponse) -> None:
        """Wait for the rest of the request body: then the request can be sent again."""
        # Many clients send head and body apart, and an API may refuse by the head alone.
        held.awaits_body = True
        connection = self.connection
        if connection is not None and held.whole:
            self.connection = None
            connection.abort()  # it expects a body that it will not get
        self._hold(held)
        self._client.resume()

    def _hold(self, held: HeldResponse) -> None:
        """Hold a 401 back until it is known what becomes of the call."""
        self.phase = _HELD
        self._held = held
        # An API that closes after its response may send a reset, and what was not read
        # by then is lost. So the response is read, within bounds.
        if self.connection is not None and len(held.body) > HELD_BYTES:
            self.connection.pause()

    def _challenge(self, held: HeldResponse) -> bool:
        """Report a 401; False: it must be relayed now."""
        assert self._credential is not None  # noqa: S101 - for the type checker
        self._held = None
        body = self._body
        verdict = self._context.keys.challenge(
            self._credential,
            replayable=body is None or (body.complete and body.held),
            call=self._endpoint(),
        )
        if held.whole:
            self._release_connection()
        if not isinstance(verdict, asyncio.Future):
            return self._replay(verdict)
        self._hold(held)
        self._client.deadline = NEVER  # the credential manager bounds the wait
        verdict.add_done_callback(self._judged)
        return True

    def _release_connection(self) -> None:
        """Give the connection back: its response is complete."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.finish(
                self._context.deadlines.now, request_sent=self._body_complete
            )

    def _judged(self, verdict: "asyncio.Future[Verdict]") -> None:
        """Act on the verdict about a 401 that is held."""
        held, self._held = self._held, None
        if held is None:
            return
        if verdict.cancelled() or not self._replay(verdict.result()):
            self._release(held)

    def _replay(self, verdict: Verdict) -> bool:
        """Send the request again if the verdict says so."""
        if not isinstance(verdict, Replay):
            return False
        self._verdict = verdict
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.abort()
        self.send(verdict.credential)
        return True

    def _release(self, held: HeldResponse) -> None:
        """Relay a 401 that was held."""
        back = self._context.clock()
        if self.connection is not None:
            self.connection.resume()
        elif not held.whole:
            self.failed(Refused(Code.UPSTREAM_PROTOCOL, "The API cut its answer short"))
            return
        self._start_relay(held.head, held.body, back, whole=held.whole)

    def _start_relay(
        self, head: ResponseHead, body: bytes, back: float, *, whole: bool
    ) -> None:
        context = self._context
        client = self._client
        if self._verdict is not None:
            self._report_replay(head.status)
        fields = [head.line, head.forward]
        if head.location is not None:
            fields += (b"Location: ", localise(head.location, context.base), b"\r\n")
        try:
            relay = ResponseRelay(head, context.guard.hidden, http_1_0=client.http_1_0)
            self._relay = relay
            # After a response that comes before the end of the request body, the rest
            # of that body must not be read as the head of a request.
            if relay.until_close or context.draining or not self._body_complete:
                client.close_after = True
            if client.close_after:
                fields.append(b"Connection: close\r\n")
            out = relay.start(fields, body, whole=whole)
        except Refused as refused:
            self.failed(refused)
            return
        self._count_masked(relay)
        self.phase = _RELAYED
        self.status = head.status
        client.write(out)
        now = context.clock()
        self._overhead = self._sent_at - self._started + now - back
        if whole:
            self._finish(now)
        else:
            client.deadline = context.deadlines.progress

    def answer_data(self, data: bytes) -> None:
        """Relay a piece of the response body."""
        relay = self._relay
        if self._held is not None:
            self._held.body += data
            self._hold(self._held)
        elif relay is not None:
            try:
                data = relay.data(data)
            except Refused as refused:
                self._cut(refused.code)
                return
            self._client.deadline = self._context.deadlines.progress
            if data:
                self._client.write(data)

    def answer_ended(self) -> None:
        """Relay the end of the response."""
        relay = self._relay
        if self._held is not None:
            self._held.whole = True
            self._release_connection()
        elif relay is not None:
            tail = relay.end()
            self._count_masked(relay)
            if tail:
                self._client.write(tail)
            self._finish(self._context.clock())

    def answer_lost(self, refusal: Refused) -> None:
        """Send the request again if the rules allow it; else refuse or cut the call."""
        connection, self.connection = self.connection, None
        if self._held is not None:
            return  # the verdict decides
        if (
            self.phase is _SENT
            and connection is not None
            and connection.calls > 1
            and not connection.begun
            and not self._resent
            and (self._body is None or self._body.held)
            and (self.method in IDEMPOTENT or connection.nothing_written())
        ):
            self._resent = True
            self._queue()
        else:
            self.failed(refusal)

    def answer_failed(self, error: Exception) -> None:
        """End the call after a bug in the sidecar."""
        self.failed(self._context.log.internal_error(error))

    # The client's side.

    def client_full(self) -> None:
        """Stop reading the response: the client reads slowly."""
        if self.connection is not None and self._held is None:
            self.connection.pause()

    def client_ready(self) -> None:
        """Read the response again."""
        self._client.deadline = self._context.deadlines.progress
        if self.connection is not None and self._held is None:
            self.connection.resume()

    def expired(self) -> None:
        """End the call: a deadline has passed (called by the sweep)."""
        if self.phase is _RELAYED:
            # While bytes wait for the client, the client is the one that stopped.
            slow = self._client.unread() > 0
            self._cut(Code.REQUEST_TIMEOUT if slow else Code.UPSTREAM_TIMEOUT)
        elif not self._body_complete and not self._client.paused:
            self.failed(
                Refused(Code.REQUEST_TIMEOUT, "The rest of the body did not come")
            )
        else:
            self.failed(
                Refused(Code.UPSTREAM_TIMEOUT, "The API did not answer in time")
            )

    def abandoned(self) -> None:
        """Cancel the call: the client has disconnected."""
        if self.phase is not _ENDED:
            self._end(CLIENT_CLOSED_REQUEST, SIDECAR)
            seconds = self._context.clock() - self._started
            self._context.log.client_disconnected(self.operation, self.method, seconds)

    # Ends. `_finish` and `_end` are each called at most once.

    def _finish(self, now: float) -> None:
        """End a call whose response is complete; `now` is by the fine clock."""
        context = self._context
        self.phase = _ENDED
        connection = self.connection
        if connection is not None:
            self.connection = None
            connection.finish(
                context.deadlines.now,
                request_sent=self._body is None or self._body.complete,
            )
        status = self.status
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
            if self._wants_outcomes:
                context.keys.tried(credential, proof_of(status), self._endpoint())
        if status >= 400 or context.log.all:  # noqa: PLR2004 - RFC 9110, 15.5
            context.log.answered(self.operation, self.method, status, seconds)
        self._client.finished()

    def _cut(self, code: Code) -> None:
        """End a call whose response has begun and cannot be completed."""
        if self.phase is _ENDED:
            return
        self._end(self.status, UPSTREAM)
        self._context.log.cut(code, self.operation.label, self.method, self.status)
        relay = self._relay
        self._client.cut(until_close=relay is not None and relay.until_close)

    def _end(self, status: int, origin: str) -> None:
        """Leave the connection to the API, the pool's queue and the manager; count."""
        self.phase = _ENDED
        self._held = None
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.abort()
        self._report_replay(0)
        context = self._context
        method = METHODS.get(self.method, OTHER_METHOD)
        context.stats.operation(self.operation.label).answered(
            method, status, origin, context.clock() - self._started
        )
        context.stats.inflight -= 1
        if self._relay is not None:
            self._count_masked(self._relay)

    def _report_replay(self, status: int) -> None:
        """Report the outcome of a request that was sent again; 0: no response."""
        verdict, self._verdict = self._verdict, None
        if verdict is None:
            return
        if status not in {0, UNAUTHORIZED}:
            self._context.stats.recovered[verdict.how] += 1
        if verdict.trial:
            proved = proof_of(status) if status else None
            self._context.keys.tried(verdict.credential, proved, self._endpoint())

    def _endpoint(self) -> bytes:
        """Return what a 401 may be about: method and path."""
        path = self._target.partition(b"?")[0]
        return b"%b %b" % (self.method, path[:MAX_ENDPOINT_BYTES])

    def _count_masked(self, relay: ResponseRelay) -> None:
        hits = relay.take_hits()
        if hits:
            self._context.log.redacted(hits, self.operation.label)
