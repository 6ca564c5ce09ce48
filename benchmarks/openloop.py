"""
Open-loop load: calls go out when they are due, whether or not earlier ones came back.

    python -m benchmarks.openloop --port 8700 --rate 1000 --seconds 10 [--header "A: b"]

Each latency counts from when the call was due and not from when it could be sent, so a
stall shows in every call that it held up (no coordinated omission). Arrivals are
Poisson from a seed: each proxy gets the same ones. Prints one JSON list of
`[due, latency, status]` per line, times in seconds of the monotonic clock.

One `select` loop in one thread: an event loop's timers are as coarse as what is
measured here.
"""

import argparse
import ctypes
import json
import random
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from benchmarks.answers import Answers, Broken
from benchmarks.process import HOST

MOST_CONNECTIONS: Final = 500
"""`select` knows descriptors below 1024; calls beyond wait, and their time counts."""
PATIENCE_SECONDS: Final = 10.0
PR_SET_TIMERSLACK: Final = 29
NO_ANSWER: Final = 0


class Outcome(NamedTuple):
    """How a call ended; seconds."""

    due: float
    latency: float
    status: int
    """0: no answer."""


@dataclass
class Connection:
    """A connection, and the call that is on it."""

    socket: socket.socket
    due: float
    answers: Answers = field(default_factory=Answers)
    fresh: bool = True
    """It has answered nothing yet."""

    def fileno(self) -> int:
        """For `select`."""
        return self.socket.fileno()


def arrivals(rate: float, seconds: float, seed: int) -> Iterator[float]:
    """Give the seconds from the start at which calls are due."""
    chance = random.Random(seed)
    at = chance.expovariate(rate)
    while at < seconds:
        yield at
        at += chance.expovariate(rate)


class OpenLoop:
    """
    Makes one call for each time that is given.

    Args:
        port: On loopback.
        request: What is sent, whole.
        clock: Seconds that never step.
    """

    def __init__(
        self, port: int, request: bytes, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._port = port
        self._request = request
        self._clock = clock
        self._idle: list[Connection] = []
        self._busy: dict[int, Connection] = {}
        self._waiting: deque[float] = deque()
        self.outcomes: list[Outcome] = []

    def run(self, schedule: Sequence[float]) -> None:
        """Make the calls; `schedule` is in the clock's seconds, in order."""
        upcoming = deque(schedule)
        end = max(self._clock(), *schedule) + PATIENCE_SECONDS
        while (upcoming or self._busy) and self._clock() < end:
            while upcoming and upcoming[0] <= self._clock():
                self._waiting.append(upcoming.popleft())
            while self._waiting and len(self._busy) < MOST_CONNECTIONS:
                self._begin(self._waiting.popleft())
            if not upcoming and not self._busy:
                break
            pause = (upcoming[0] if upcoming else end) - self._clock()
            watched = [*self._busy.values(), *self._idle]
            ready, _, _ = select.select(watched, [], [], max(0.0, pause))
            for connection in ready:
                self._read(connection)
        unanswered = [connection.due for connection in self._busy.values()]
        for due in (*unanswered, *self._waiting, *upcoming):
            self._end(due, NO_ANSWER)
        for connection in [*self._busy.values(), *self._idle]:
            connection.socket.close()

    def _begin(self, due: float) -> None:
        """Send the call that is due, on a connection that is idle if there is one."""
        if self._idle:
            connection = self._idle.pop()
            connection.due = due
        else:
            try:
                made = socket.create_connection((HOST, self._port), PATIENCE_SECONDS)
            except OSError:
                self._end(due, NO_ANSWER)
                return
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(made, due)
        self._busy[connection.fileno()] = connection
        try:
            connection.socket.sendall(self._request)
        except OSError:
            self._lost(connection)

    def _read(self, connection: Connection) -> None:
        """Take in what came."""
        try:
            data = connection.socket.recv(65536)
            status = connection.answers.feed(data)
        except (OSError, Broken):
            self._lost(connection)
            return
        if status is None:
            return
        if connection.fileno() not in self._busy:
            self._lost(connection)  # an answer that nobody asked for
            return
        del self._busy[connection.fileno()]
        self._end(connection.due, status)
        connection.fresh = False
        if connection.answers.keep:
            self._idle.append(connection)
        else:
            connection.socket.close()

    def _lost(self, connection: Connection) -> None:
        """
        The connection ended.

        A GET on one that had been used before is sent again, as every client does:
        the proxy may have closed it at the same moment (RFC 9110, 9.2.2).
        """
        busy = self._busy.pop(connection.fileno(), None)
        if connection in self._idle:
            self._idle.remove(connection)
        begun = connection.answers.begun
        connection.socket.close()
        if busy is None:
            return
        if connection.fresh or begun:
            self._end(connection.due, NO_ANSWER)
        else:
            self._begin(connection.due)

    def _end(self, due: float, status: int) -> None:
        """Note how a call ended."""
        self.outcomes.append(Outcome(due, self._clock() - due, status))


def request_of(path: str, fields: Sequence[str]) -> bytes:
    """Write a GET."""
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", "Accept: */*", *fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="calls per second")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--path", default="/contacts")
    parser.add_argument("--header", action="append", default=[])
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    # Sleeps end on time: the kernel's default slack is 50 us.
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0)
    loop = OpenLoop(args.port, request_of(args.path, args.header))
    begin = time.monotonic() + 0.05
    loop.run([begin + at for at in arrivals(args.rate, args.seconds, args.seed)])
    for outcome in sorted(loop.outcomes):
        sys.stdout.write(json.dumps(outcome) + "\n")


if __name__ == "__main__":
    main()
