"""
The connections to one API: in use, idle or being opened, and the calls that wait.

Rule 1: a free connection goes to the call that has waited longest. It becomes idle only
if no call waits.
Rule 2: the youngest idle connection is used first, so the surplus ages and is closed.
Rule 3: the number of connections in use, idle and being opened never exceeds the maximum.
No more connections are opened than calls wait.
Rule 4: an old connection ends after its call, one at a time. So the proxy follows a host
name that was moved, under load too, and the handshakes are spread over time.
Nothing here awaits: the server opens connections in tasks, everything else is a callback.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from sidecar.errors import Code, Refused
from sidecar.proxy.upstream import UpstreamConnection

MAX_AGE_SECONDS: Final = 300.0
"""Without it, a busy connection would stay with the server that the host name had when
the connection was opened."""


class Waiter(Protocol):
    """A call that needs a connection."""

    deadline: float
    """When it gives up, in monotonic seconds."""

    @property
    def waiting(self) -> bool:
        """Whether it still needs a connection."""

    def connected(self, connection: UpstreamConnection) -> None:
        """Use this connection; `waiting` is False from now on."""

    def failed(self, refusal: Refused) -> None:
        """End the call: it gets no connection; `waiting` is False from now on."""


class Pool:
    """
    Hands connections to calls.

    Args:
        maximum: The most connections at a time.
        open_one: Starts a task that ends with `opened` or `not_opened`.
    """

    __slots__ = (
        *("_all", "_idle", "_maximum", "_open_one", "_opening", "_waiters", "closed"),
    )

    def __init__(self, maximum: int, open_one: Callable[[], None]) -> None:
        self._maximum = maximum
        self._open_one = open_one
        self._idle: list[UpstreamConnection] = []
        self._all: dict[UpstreamConnection, float] = {}
        """Connections idle or in use, the oldest first, and when each was opened."""
        self._waiters: deque[Waiter] = deque()
        self._opening = 0
        self.closed = False

    def take(self) -> UpstreamConnection | None:
        """Return an idle connection; None: the call must `wait`."""
        return self._idle.pop() if self._idle and not self._waiters else None

    def wait(self, waiter: Waiter) -> None:
        """Queue a call until it is `connected`, `failed` or no longer `waiting`."""
        self._waiters.append(waiter)
        self._open_for_waiters()

    def _open_for_waiters(self) -> None:
        total = len(self._all) + self._opening
        while self._opening < len(self._waiters):
            if total >= self._maximum:
                if not self._idle:
                    return
                # A call waits although connections are idle: an idle one has just
                # turned out to be dead, and the call needs a new one.
                total -= 1
                self._idle.pop(0).abort()
                continue
            self._opening += 1
            total += 1
            self._open_one()

    def _next_waiter(self) -> Waiter | None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if waiter.waiting:
                return waiter
        return None

    def opened(self, connection: UpstreamConnection, now: float) -> None:
        """Take a connection that was opened."""
        self._opening -= 1
        self._all[connection] = now
        self._give(connection)

    def not_opened(self, refusal: Refused) -> None:
        """Fail the call that has waited longest: no connection could be opened."""
        self._opening -= 1
        waiter = self._next_waiter()
        if waiter is not None:
            waiter.failed(refusal)

    def release(self, connection: UpstreamConnection) -> None:
        """Take back a connection whose call ended cleanly."""
        if self._waiters or self.closed:
            self._give(connection)
        else:
            self._idle.append(connection)

    def _give(self, connection: UpstreamConnection) -> None:
        waiter = self._next_waiter()
        if waiter is not None:
            waiter.connected(connection)
        elif self.closed:
            connection.close()
        else:
            self._idle.append(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        """Drop a connection that is lost, or must not be used again."""
        self._all.pop(connection, None)
        if connection in self._idle:
            self._idle.remove(connection)
        if self._waiters:
            self._open_for_waiters()

    def sweep(self, now: float) -> None:
        """Fail calls that waited too long; end connections too long idle or too old."""
        # For each connection that is being opened, one call waits for that connection,
        # not for a free one: opening has its own time limit and its own error.
        while len(self._waiters) > self._opening and (
            not self._waiters[0].waiting or self._waiters[0].deadline <= now
        ):
            waiter = self._waiters.popleft()
            if waiter.waiting:
                waiter.failed(
                    Refused(
                        Code.UPSTREAM_BUSY,
                        "Every connection to the API stayed in use; try again",
                    )
                )
        # The list is a stack: its first element has been idle longest.
        while self._idle and self._idle[0].idle_until <= now:
            self._idle.pop(0).close()
        self._retire_one(now - MAX_AGE_SECONDS)

    def _retire_one(self, opened_by: float) -> None:
        for connection, opened in self._all.items():
            if opened > opened_by:
                return
            if connection.reusable:
                connection.retire()
                return

    def close(self) -> None:
        """Close idle connections now, and each other one when its call ends."""
        self.closed = True
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def abort(self) -> None:
        """Cut every connection."""
        self.close()
        for connection in tuple(self._all):
            connection.abort()

    def counts(self) -> dict[str, int]:
        """Return the number of connections by state, for the metrics."""
        return {
            "active": len(self._all) - len(self._idle),
            "connecting": self._opening,
            "idle": len(self._idle),
        }
