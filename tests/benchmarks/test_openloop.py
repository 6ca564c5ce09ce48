"""Calls go out when they are due, and none is forgotten."""

import itertools
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.openloop import NO_ANSWER, OpenLoop, arrivals, request_of
from benchmarks.process import HOST, free_port

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LAST = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"


class Server(socketserver.ThreadingTCPServer):
    """Gives each connection `answers` and closes it; a single OK is repeated."""

    daemon_threads = True
    answers: tuple[bytes, ...]
    requests = 0
    connections = 0


class Handler(socketserver.BaseRequestHandler):
    """One connection."""

    def handle(self) -> None:
        """Answer."""
        assert isinstance(self.server, Server)
        self.server.connections += 1
        answers = self.server.answers
        for answer in itertools.cycle(answers) if answers == (OK,) else answers:
            if not self.request.recv(4096):
                return
            self.server.requests += 1
            self.request.sendall(answer)


@contextmanager
def serving(*answers: bytes) -> Iterator[Server]:
    """Serve: one answer is repeated, several are given once per connection."""
    with Server((HOST, 0), Handler) as server:
        server.answers = answers
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def called(port: int, schedule: list[float]) -> OpenLoop:
    """Make the calls of a schedule."""
    loop = OpenLoop(port, request_of("/contacts", ["X-A: b"]))
    loop.run(schedule)
    return loop


def test_the_same_seed_gives_the_same_arrivals() -> None:
    """Each proxy gets the same load; another round another one."""
    one, again, other = (list(arrivals(100, 5, seed)) for seed in (1, 1, 2))

    assert one == again != other
    assert one == sorted(one)
    assert 0 < one[0] < one[-1] < 5
    assert 400 < len(one) < 600


def test_each_call_has_an_outcome_and_connections_are_kept() -> None:
    """One outcome per time that was given."""
    begin = time.monotonic()
    schedule = [begin + n / 1000 for n in range(50)]
    with serving(OK) as server:
        loop = called(server.server_address[1], schedule)

    assert sorted(outcome.due for outcome in loop.outcomes) == schedule
    assert {outcome.status for outcome in loop.outcomes} == {200}
    assert server.requests == 50
    assert server.connections <= 50


def test_latency_counts_from_when_a_call_was_due() -> None:
    """A call that is late to be sent is late: no coordinated omission."""
    due = time.monotonic() - 100
    with serving(OK) as server:
        (outcome,) = called(server.server_address[1], [due]).outcomes

    assert outcome.latency >= 100


def test_a_connection_that_the_peer_ends_costs_no_call() -> None:
    """With `Connection: close` each call takes a new one."""
    begin = time.monotonic()
    with serving(LAST) as server:
        loop = called(server.server_address[1], [begin] * 5)

    assert [outcome.status for outcome in loop.outcomes] == [200] * 5
    assert server.connections == 5


def test_a_call_on_a_connection_that_was_just_closed_is_sent_again() -> None:
    """As every client does; the proxy is not blamed for it."""
    begin = time.monotonic()
    schedule = [begin + n / 100 for n in range(10)]
    with serving(OK, OK) as server:
        loop = called(server.server_address[1], schedule)

    assert [outcome.status for outcome in loop.outcomes] == [200] * 10


@pytest.mark.parametrize(
    "answer",
    [pytest.param(b"HTTP/1.1 200 OK\r\n", id="cut"), pytest.param(b"?", id="garbage")],
)
def test_an_answer_that_is_cut_is_a_failure(answer: bytes) -> None:
    """A call that got a part of an answer is not sent again."""
    with serving(answer) as server:
        loop = called(server.server_address[1], [time.monotonic()])

    assert [outcome.status for outcome in loop.outcomes] == [NO_ANSWER]


def test_nobody_listens() -> None:
    """Calls fail one by one."""
    begin = time.monotonic()

    loop = called(free_port(), [begin, begin])

    assert [outcome.status for outcome in loop.outcomes] == [NO_ANSWER] * 2
