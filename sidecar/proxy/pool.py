"""
The upstream connections of one API: idle ones, ones being opened, and calls that wait.

Rule 1: a free connection goes to the call that has waited longest; only without a waiting
call does it become idle.
Rule 2: the youngest idle connection is used first, so that the surplus ages and is closed.
Rule 3: connections in use, idle and being opened together never pass the maximum, and
never more are opened than calls wait.
Rule 4: a connection that has grown old ends after its call, one at a time: a name that
was moved is followed under load too, and the handshakes do not come all at once.
Nothing here awaits: opening is a task of the owner's group, everything else a callback.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from sidecar.errors import Code, Refused
from sidecar.proxy.upstream import UpstreamConnection

MAX_AGE_SECONDS: Final = 300.0
"""A busy connection is never idle, and an API that keeps it would keep us for ever at the
server that the name led to when it was opened."""


class Waiter(Protocol):
    """A call that needs a connection."""

    waiting: bool
    deadline: float

    def connected(self, connection: UpstreamConnection) -> None:
        """Take this connection."""

    def failed(self, refusal: Refused) -> None:
        """Give up: no connection is to be had."""


class Pool:
    """Hands connections to calls; `open_one` starts a task that ends in `opened` or `not_opened`."""

    __slots__ = (
        *("_all", "_idle", "_maximum", "_open_one", "_opening", "_waiters", "closed"),
    )

    def __init__(self, maximum: int, open_one: Callable[[], None]) -> None:
        self._maximum = maximum
        self._open_one = open_one
        self._idle: list[UpstreamConnection] = []
        self._all: dict[UpstreamConnection, float] = {}
        """Idle or in use, the oldest first -> when it was opened."""
        self._waiters: deque[Waiter] = deque()
        self._opening = 0
        self.closed = False

    def take(self) -> UpstreamConnection | None:
        """Return an idle connection now, or None: then `wait`."""
        return self._idle.pop() if self._idle and not self._waiters else None

    def wait(self, waiter: Waiter) -> None:
        """Queue a call; it is told `connected` or `failed`, or stops `waiting` itself."""
        waiter.waiting = True
        self._waiters.append(waiter)
        self._open_for_waiters()

    def _open_for_waiters(self) -> None:
        total = len(self._all) + self._opening
        while self._opening < len(self._waiters):
            if total >= self._maximum:
                if not self._idle:
                    return
                # A call waits although connections are idle: it wants a new one,
                # because an idle one has just turned out to be dead.
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
                waiter.waiting = False
                return waiter
        return None

    def opened(self, connection: UpstreamConnection, now: float) -> None:
        """Take a connection that `open_one` has made."""
        self._opening -= 1
        self._all[connection] = now
        self._give(connection)

    def not_opened(self, refusal: Refused) -> None:
        """Let the call that has waited longest fail: no connection could be opened."""
        self._opening -= 1
        waiter = self._next_waiter()
        if waiter is not None:
            waiter.failed(refusal)

    def release(self, connection: UpstreamConnection) -> None:
        """Take back a connection whose exchange ended cleanly."""
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
        """Drop a connection that is lost or not fit for reuse."""
        self._all.pop(connection, None)
        if connection in self._idle:
            self._idle.remove(connection)
        if self._waiters:
            self._open_for_waiters()

    def sweep(self, now: float) -> None:
        """Fail calls that waited too long; end connections too long idle or too old."""
        # As many calls as connections are being opened wait for those, not for a free
        # one: the opening has its own limit and its own error.
        while len(self._waiters) > self._opening and (
            not self._waiters[0].waiting or self._waiters[0].deadline <= now
        ):
            waiter = self._waiters.popleft()
            if waiter.waiting:
                waiter.waiting = False
                waiter.failed(
                    Refused(
                        Code.UPSTREAM_BUSY,
                        "every connection to the API stayed in use; try again",
                    )
                )
        # Oldest first: the list is a stack, so its bottom has been idle longest.
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
        """Close idle connections now and each other one when its exchange ends."""
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
