"""A call on its way to the API: key, connection, head, body; see `call.py`."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from sidecar.core.http.fields import CHUNKED
from sidecar.core.http.framing import LAST_CHUNK, encode_chunk
from sidecar.core.http.request_head import ACCEPT_JSON
from sidecar.core.secrecy.secret import Credential
from sidecar.errors import Code, Refused
from sidecar.proxy.call import FOREVER, CallState
from sidecar.proxy.error_responses import CONTINUE, body_too_large

if TYPE_CHECKING:
    from sidecar.proxy.upstream import UpstreamConnection

KEY_SECONDS: Final = 5.0
"""A call waits this long for the first key: a start takes about one second."""
CHUNKED_LINE: Final = b"Transfer-Encoding: chunked\r\n\r\n"


class Sending(CallState):
    """A `Waiter` of the pool, and what the service's body goes through."""

    def start(self) -> None:
        """Send the call as soon as there are a key and a connection."""
        context = self._context
        credential = context.keys.current
        if credential is None:
            context.spawn(self._await_key())
            return
        self._credential = credential
        if context.keys.wants_outcomes:
            self._wants_outcomes = True
        connection = context.pool.take()
        if connection is None:
            self._queue()
            return
        self.connection = connection
        self._send_on(connection)

    async def _await_key(self) -> None:
        self._service.deadline = FOREVER
        keys = self._context.keys
        # One that expired is not worth a wait: its source has been away for long.
        expired = keys.unavailable_code is Code.CREDENTIAL_EXPIRED
        try:
            credential = await keys.wait(0 if expired else KEY_SECONDS)
        except Exception as error:  # noqa: BLE001 - else nobody would answer the call
            self.answer_failed(error)
            return
        if self.dead:
            return
        if credential is None:
            self._refuse(
                Refused(keys.unavailable_code, "there is no usable API key; try again")
            )
        else:
            self._send(credential)

    def _send(self, credential: Credential) -> None:
        self._credential = credential
        self._wants_outcomes = self._context.keys.wants_outcomes
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
            self._service.deadline = context.answer_by
            connection.begin(self, b"".join(pieces))  # type: ignore[arg-type]  # an Exchange
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
        connection.begin(self, b"".join((*pieces, *held)))  # type: ignore[arg-type]  # an Exchange
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
