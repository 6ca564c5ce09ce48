"""A call on its way back: 401s that can be mended, the answer, its end; see `call.py`."""

import asyncio
from typing import Final

from sidecar.core.http.framing import LAST_CHUNK, encode_chunk
from sidecar.core.http.response_head import ResponseHead
from sidecar.core.keylife.messages import Replay, Verdict
from sidecar.errors import Code, Refused
from sidecar.proxy.call import FOREVER
from sidecar.proxy.filter import AnswerFilter
from sidecar.proxy.sending import Sending

IDEMPOTENT: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})
"""RFC 9110, 9.2.2; TRACE is refused before."""
PARKED_BYTES: Final = 65_536
"""Of a 401 that waits for its verdict; more is left in the kernel."""


class Exchange(Sending):
    """A whole call: the `Call` of an upstream connection."""

    def answered(self, head: ResponseHead, body: bytes, *, whole: bool) -> None:
        """Take the answer's head: hide a 401 that can be mended, relay anything else."""
        context = self._context
        clock = context.clock
        back = clock()
        service = self._service
        status = head.status
        if (
            whole
            and head.location is None
            and not head.coding
            and status != 401  # noqa: PLR2004 - RFC 9110, 15.5.2
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
                self._status = status
                service.write(out)
                now = clock()
                self._overhead = self._sent - self._started + now - back
                self._finish(now)
                return
        elif status == 401 and self._is_news():  # noqa: PLR2004 - as above
            if self._overtaken():
                self._hold(head, body, whole=whole)
                return
            if self._challenge(head, body, whole=whole):
                return
        self._relay(head, body, back, whole=whole)

    def _is_news(self) -> bool:
        """Tell whether the keeper is to be asked about this 401."""
        first, self._judged = not self._judged, True
        if first or self._verdict is None or not self._verdict.trial:
            return first
        # It tried a key for all: another may still come, and is owed to it as well.
        self._report(401)
        return True

    def _overtaken(self) -> bool:
        """Tell whether a 401 came before the end of a body that can be held whole."""
        announced = self._head.framing or 0
        return (
            not self._body_done
            and self._held is not None
            and announced <= self._context.limits.replay_body_bytes
        )

    def _hold(self, head: ResponseHead, body: bytes, *, whole: bool) -> None:
        """Wait for the rest of the body: with it, the call can be sent again."""
        # Many clients write head and body apart, and an API refuses by the head alone.
        self._early = True
        connection = self.connection
        if connection is not None and whole:
            self.connection = None
            connection.abort()  # it is owed a body that it will not get
        self._park(head, body, whole=whole)
        self._service.resume()

    def _park(self, head: ResponseHead, body: bytes, *, whole: bool) -> None:
        """Keep a 401 until it is known what becomes of the call."""
        self._parked = (head, body, whole)
        # An API that closes behind its answer may send a reset, and what was not read
        # by then is lost: so it is read, within bounds.
        if self.connection is not None and len(body) > PARKED_BYTES:
            self.connection.pause()

    def body(self, data: bytes, *, done: bool) -> None:
        """Take a piece of the service's body; see `Sending.body`."""
        super().body(data, done=done)
        if not self._early or self.dead or self._parked is None:
            return
        fits = self._body_bytes <= self._context.limits.replay_body_bytes
        if done or not fits:
            self._early = False
            if not fits:
                self._held = None
            head, body, whole = self._parked
            self._parked = None
            if not self._challenge(head, body, whole=whole):
                self._pass_on(head, body, whole=whole)

    def _challenge(self, head: ResponseHead, body: bytes, *, whole: bool) -> bool:
        """Report the 401; True when the answer is not to be relayed, or not yet."""
        assert self._credential is not None  # noqa: S101 - for the type checker
        replayable = self._held is not None and self._body_done
        verdict = self._context.keys.challenge(
            self._credential, replayable=replayable, call=self._called()
        )
        connection = self.connection
        if whole and connection is not None:
            # It has done its work for this 401; the replay, or another call, may use it.
            self.connection = None
            connection.finish(self._context.now, request_sent=self._body_done)
        if not isinstance(verdict, asyncio.Future):
            return self._obey(verdict)
        self._park(head, body, whole=whole)
        self._service.deadline = FOREVER  # the keeper bounds the wait
        verdict.add_done_callback(self._ruled)
        return True

    def _ruled(self, future: "asyncio.Future[Verdict]") -> None:
        """Go on after the keeper's verdict."""
        if self.dead or self._parked is None:
            return
        head, body, whole = self._parked
        self._parked = None
        if future.cancelled() or not self._obey(future.result()):
            self._pass_on(head, body, whole=whole)

    def _pass_on(self, head: ResponseHead, body: bytes, *, whole: bool) -> None:
        """Relay a 401 that was held."""
        back = self._context.clock()
        if self.connection is not None:
            self.connection.resume()
        elif not whole:
            cut = Refused(Code.UPSTREAM_PROTOCOL, "The API cut its answer short.")
            self._refuse(cut)
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
        now = context.clock()
        self._overhead = self._sent - self._started + now - back
        if whole:
            self._finish(now)
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
        if self._parked is not None:
            head, body, whole = self._parked
            self._park(head, body + data, whole=whole)
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
                connection.finish(self._context.now, request_sent=self._body_done)
            return
        tail = b""
        if self._filter is not None:
            tail = self._filter.flush()
            self._redacted(self._filter.hits)
        if self._chunked_out:
            tail = b"".join((*encode_chunk(tail), LAST_CHUNK))
        if tail:
            self._service.write(tail)
        self._finish(self._context.clock())

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
