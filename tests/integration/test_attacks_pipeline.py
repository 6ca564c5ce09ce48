"""
Attacks by calls that follow one another on a connection, and by who does not read.

What one service leaves unread must cost nobody else a call, and us no memory; what ends
one call must not stand in the answer of another.
"""

import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from tests.support.attack_rig import HOST, AttackRig, attacked, limits
from tests.support.processes import merge, wait_until
from tests.support.raw_http import (
    KEY,
    OK,
    SECONDS,
    Conversation,
    RawClient,
    Script,
    always,
)

GET: Final = b"GET /contacts HTTP/1.1\r\n%b\r\n" % HOST
LARGE: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + b"x" * 60_000
DENIED: Final = b"POST /service-accounts/a/api-keys HTTP/1.1\r\n%b\r\n" % HOST
CHUNKED: Final = (
    b"POST /contacts HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n" % HOST
)
MOST_BYTES: Final = 20 << 20


@pytest.fixture(name="rig", scope="module")
def _rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AttackRig]:
    """One sidecar whose clocks run fast."""
    fast = limits(
        header_seconds=2,
        idle_seconds=2,
        response_seconds=2,
        keepalive_seconds=2,
        max_body_bytes=100,
        max_upstream_connections=4,
    )
    with attacked(
        tmp_path_factory.mktemp("pipeline"), merge(fast, {"log": {"access": "off"}})
    ) as rig:
        yield rig


def answering(rig: AttackRig, script: Script) -> None:
    """Let the API do this from now on, on connections that are open too."""
    rig.api.hang_up()

    def none_idle() -> bool:
        metrics = rig.process.metrics()
        return metrics.value("sidecar_upstream_connections", state="idle") == 0

    wait_until(none_idle, "no old connection")
    rig.api.script = script


def slow_client(rig: AttackRig) -> RawClient:
    """Connect with a receive buffer that little fits into."""
    client = RawClient(rig.address)
    client.sock.close()
    host, _, port = rig.address.rpartition(":")
    client.sock = socket.socket()
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.sock.settimeout(SECONDS)
    client.sock.connect((host, int(port)))
    return client


def test_a_slow_download_leaves_no_paused_connection(rig: AttackRig) -> None:
    """The next call of anybody, on the same connection to the API, is answered."""
    for size in range(4_000_000, 4_700_000, 50_000):
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
        answering(rig, always(head + b"x" * size))
        with slow_client(rig) as client:
            client.send(GET)
            time.sleep(0.1)
            left = size
            while left > 0:
                data = client.sock.recv(65536)
                assert data
                left -= len(data)
        rig.healthy()


@pytest.mark.parametrize(
    "call", [pytest.param(GET, id="answers"), pytest.param(DENIED, id="refusals")]
)
def test_what_nobody_reads_is_not_piled_up(rig: AttackRig, call: bytes) -> None:
    """Of 200,000 pipelined calls a few are begun; a refused one costs an answer, too."""
    answering(rig, always(LARGE))
    before = rig.process.anonymous_bytes()
    with RawClient(rig.address) as client:
        client.sock.settimeout(1)
        with suppress(TimeoutError):
            client.send(call * 200_000)
        time.sleep(3)
        grown = rig.process.anonymous_bytes() - before
        rig.healthy()

    assert grown < MOST_BYTES


def test_who_never_reads_is_let_go(rig: AttackRig) -> None:
    """Also when nothing is under way any more but the answer."""
    answering(rig, always(LARGE))
    with slow_client(rig) as client:
        client.send(GET * 60)
        wait_until(lambda: open_from(client, rig) == 0, "the end", 20)
    rig.healthy()


def open_from(client: RawClient, rig: AttackRig) -> int:
    """Count the sidecar's descriptors that lead to this client."""
    ours = int(rig.address.rpartition(":")[2])
    theirs = client.sock.getsockname()[1]
    established = "01"
    return sum(
        line.split()[1].endswith(f":{ours:04X}")
        and line.split()[2].endswith(f":{theirs:04X}")
        and line.split()[3] == established
        for line in Path("/proc/net/tcp").read_text().splitlines()
    )


def test_who_reads_on_gets_every_answer(rig: AttackRig) -> None:
    """Slowly, and in order: what waited is begun when there is room."""
    answering(rig, always(LARGE))
    with slow_client(rig) as client:
        client.send(GET * 40)
        time.sleep(0.3)
        statuses = [seen.status for seen in client.answers(*[b"GET"] * 40)]

    assert statuses == [200] * 40


@pytest.mark.parametrize(
    "body", [pytest.param(b"x" * 101, id="too-large"), pytest.param(KEY.encode(), id="key")]
)  # fmt: skip
def test_many_calls_in_a_row_are_refused_by_their_bodies(
    rig: AttackRig, body: bytes
) -> None:
    """Each has its answer, and the call behind them its own."""
    call = b"%b%x\r\n%b\r\n0\r\n\r\n" % (CHUNKED, len(body), body)
    answering(rig, always(OK))
    with RawClient(rig.address) as client:
        client.send(call * 300 + GET)
        seen = client.answers(*[b"POST"] * 300, b"GET")

    assert {one.status for one in seen[:-1]} in ({400}, {413})
    assert seen[-1].status == 200


def test_a_flood_of_empty_lines_is_no_request(rig: AttackRig) -> None:
    """A few are ignored (RFC 9112, 2.2); hundreds of thousands once held up everybody."""
    answering(rig, always(OK))
    with RawClient(rig.address) as client:
        client.send(b"\r\n" * 4 + GET)
        assert client.answer().status == 200
        client.send(b"\r\n" * 100_000)
        assert client.answer().code == "bad_request"
        client.rest()
    rig.healthy()


def test_a_refused_call_does_not_age_the_head_behind_it(rig: AttackRig) -> None:
    """Each head has its own time, from its own first byte."""
    other = b"GET /service-accounts/a HTTP/1.1\r\n%b\r\n" % HOST
    answering(rig, always(OK))
    with RawClient(rig.address) as client:
        client.send(other[:20])
        for _ in range(5):
            time.sleep(0.6)
            client.send(other[20:] + other[:20])
            assert client.answer().code == "operation_denied"


@pytest.mark.parametrize("status", [b"103 Early Hints", b"100 Continue"])
def test_interim_answers_are_counted_for_each_call(
    rig: AttackRig, status: bytes
) -> None:
    """One before each answer, all day long, is no storm."""
    answering(rig, always(b"HTTP/1.1 %b\r\n\r\n%b" % (status, OK)))
    with RawClient(rig.address) as client:
        for _ in range(80):
            client.send(GET)
            assert client.answer().status == 200


@pytest.mark.parametrize(
    "rest",
    [
        pytest.param(b"no chunk\r\n", id="malformed"),
        pytest.param(b"65\r\n%b\r\n0\r\n\r\n" % (b"x" * 101), id="too-large"),
        pytest.param(b"%x\r\n%b\r\n0\r\n\r\n" % (len(KEY), KEY.encode()), id="key"),
    ],
)
@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"Content-Length: 365\r\n\r\n" + b"x" * 100, id="length"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", id="chunks"),
    ],
)  # fmt: skip
def test_an_answer_that_has_begun_is_cut_not_refused(
    rig: AttackRig, head: bytes, rest: bytes
) -> None:
    """A refusal in the middle of it could make its length come out right."""

    def early(conversation: Conversation) -> None:
        while b"\r\n\r\n" not in conversation.received:
            assert conversation.more()
        conversation.send(b"HTTP/1.1 200 OK\r\n" + head)
        while conversation.more():
            pass

    answering(rig, early)
    with RawClient(rig.address) as client:
        client.send(CHUNKED)
        assert client.read().startswith(b"HTTP/1.1 200 ")
        client.send(rest)
        client.rest()

    assert client.raw.count(b"HTTP/1.1 ") == 1
    assert b"error" not in client.raw
    rig.healthy()
