"""
Attacks by patience and by number: slow, cut, endless and very many (THREATS 2.1, 18-21).

Each phase of a call has its own clock, and every clock runs out. What is left behind is
nothing: no call, no connection, no memory.
"""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from sidecar.errors import STATUS, Code
from tests.support.attack_rig import HOST, AttackRig, attacked, limits
from tests.support.processes import merge, wait_until
from tests.support.raw_http import (
    OK,
    Conversation,
    RawClient,
    always,
    request_size,
)

GET: Final = b"GET /contacts HTTP/1.1\r\n%b\r\n" % HOST
POST: Final = b"POST /contacts HTTP/1.1\r\n%bContent-Length: 5\r\n\r\nhello" % HOST
CHUNKED: Final = (
    b"PUT /contacts HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n"
    b"5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n" % HOST
)
MEBI: Final = 1 << 20


@pytest.fixture(name="rig", scope="module")
def _rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AttackRig]:
    """One sidecar whose clocks run fast."""
    fast = limits(
        header_seconds=0.5,
        idle_seconds=0.6,
        response_seconds=0.7,
        keepalive_seconds=0.8,
        max_body_bytes=4 * MEBI,
    )
    with attacked(
        tmp_path_factory.mktemp("load"), merge(fast, {"log": {"access": "off"}})
    ) as rig:
        yield rig


def quiet(conversation: Conversation) -> None:
    """Read whatever comes and answer nothing."""
    while conversation.more():
        pass


def refused(rig: AttackRig, client: RawClient, code: Code) -> None:
    """Hold the answer on a connection to a refusal, and the connection to its end."""
    seen = client.answer()
    assert (seen.status, seen.code) == (STATUS[code], code)
    client.rest()
    rig.healthy()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(b"G", Code.REQUEST_TIMEOUT, id="first-byte"),
        pytest.param(GET[:30], Code.REQUEST_TIMEOUT, id="fields"),
        pytest.param(GET[:-2], Code.REQUEST_TIMEOUT, id="before-the-empty-line"),
        pytest.param(POST[:-5], Code.REQUEST_TIMEOUT, id="before-the-body"),
        pytest.param(POST[:-1], Code.REQUEST_TIMEOUT, id="in-the-body"),
        pytest.param(CHUNKED[:-20], Code.REQUEST_TIMEOUT, id="in-a-chunk"),
        pytest.param(CHUNKED[:-4], Code.REQUEST_TIMEOUT, id="in-the-trailers"),
        pytest.param(GET, Code.UPSTREAM_TIMEOUT, id="the-api"),
    ],
)
def test_who_stalls_is_told_and_let_go(rig: AttackRig, data: bytes, code: Code) -> None:
    """Slowloris: whatever phase a call stalls in, it ends with the right code."""
    rig.api.hang_up()
    rig.api.script = quiet
    with RawClient(rig.address) as client:
        client.send(data)
        refused(rig, client, code)


def test_dripping_bytes_buy_no_time_for_a_head(rig: AttackRig) -> None:
    """The clock of a head does not start again with each byte."""
    with RawClient(rig.address) as client:
        stop = threading.Event()

        def drip() -> None:
            for byte in GET[:-1] * 20:
                if stop.wait(0.05):
                    return
                client.send(bytes([byte]))

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            refused(rig, client, Code.REQUEST_TIMEOUT)
        finally:
            stop.set()
            thread.join()


def test_an_idle_connection_is_closed(rig: AttackRig) -> None:
    """Before a first call and between two."""
    with RawClient(rig.address) as fresh, RawClient(rig.address) as used:
        rig.api.script = always(OK)
        used.send(GET)
        assert used.answer().status == 200
        assert fresh.rest() == b""
        used.rest()
    rig.healthy()


def test_an_answer_that_stalls_is_cut(rig: AttackRig) -> None:
    """The service sees that it is not whole."""
    rig.api.hang_up()

    def stall(conversation: Conversation) -> None:
        conversation.request()
        conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal.")
        quiet(conversation)

    rig.api.script = stall
    with RawClient(rig.address) as client:
        client.send(GET)
        seen = client.answer()

    assert (seen.body, seen.whole) == (b"hal.", False)
    rig.healthy()


def test_a_service_that_does_not_read_is_let_go(rig: AttackRig) -> None:
    """Neither memory nor the API's connection is held for it."""
    rig.api.hang_up()
    before = rig.process.anonymous_bytes()
    sent = threading.Event()

    def pour(conversation: Conversation) -> None:
        conversation.request()
        conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n")
        try:
            while True:
                conversation.send(b"x" * 65536)
        except OSError:
            sent.set()

    rig.api.script = pour
    clients = [RawClient(rig.address) for _ in range(8)]
    try:
        for client in clients:
            client.send(GET)
        assert sent.wait(10)
        rig.at_rest()
        grown = rig.process.anonymous_bytes() - before
    finally:
        for client in clients:
            client.sock.close()

    assert grown < 16 * MEBI
    rig.healthy()


def test_a_flood_of_pipelined_calls_is_answered_in_order(rig: AttackRig) -> None:
    """The sidecar never holds more of them in memory than the size of a head."""

    def count(conversation: Conversation) -> None:
        while (request := conversation.request()) is not None:
            target = request.split(b" ", 2)[1]
            conversation.send(
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"
                % (len(target), target)
            )

    rig.api.hang_up()
    rig.api.script = count
    total = 500
    with RawClient(rig.address) as client:
        flood = b"".join(
            b"GET /%d HTTP/1.1\r\n%b\r\n" % (n, HOST) for n in range(total)
        )
        thread = threading.Thread(target=client.send, args=(flood,))
        thread.start()
        seen = client.answers(*[b"GET"] * total)
        thread.join()

    assert [one.body for one in seen] == [b"/v1/%d" % n for n in range(total)]
    rig.healthy()


def test_a_head_without_end_is_refused(rig: AttackRig) -> None:
    """At the limit, not at the end of memory."""
    with RawClient(rig.address) as client:
        client.send(b"GET / HTTP/1.1\r\n%bA: " % HOST + b"a" * 100_000)
        refused(rig, client, Code.HEAD_TOO_LARGE)


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_body_over_the_limit_is_refused(rig: AttackRig, framing: str) -> None:
    """By its length at once, by count as soon as it is over."""
    rig.api.hang_up()
    rig.api.script = quiet
    rig.api.forget()
    with RawClient(rig.address) as client:
        if framing == "length":
            client.send(b"POST / HTTP/1.1\r\n%bContent-Length: 9999999\r\n\r\n" % HOST)
        else:
            head = b"POST / HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n" % HOST
            piece = b"%x\r\n%b\r\n" % (MEBI, b"a" * MEBI)
            thread = threading.Thread(target=client.send, args=(head + piece * 6,))
            thread.start()
        refused(rig, client, Code.BODY_TOO_LARGE)

    assert not rig.api.received.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("data", [GET, POST, CHUNKED], ids=["get", "post", "chunked"])
def test_one_byte_at_a_time_is_the_same_call(rig: AttackRig, data: bytes) -> None:
    """What leaves does not depend on how it came."""
    rig.api.hang_up()  # an upload that was cut before may still be in its buffers
    rig.at_rest()
    rig.api.script = always(OK)
    rig.api.forget()
    with RawClient(rig.address) as client:
        client.send(data)
        assert client.answer().status == 200
    whole = rig.api.received
    rig.api.forget()
    with RawClient(rig.address) as client:
        for byte in data:
            client.send(bytes([byte]))
        assert client.answer().status == 200
    dripped = rig.api.received

    assert dripped.partition(b"\r\n\r\n")[0] == whole.partition(b"\r\n\r\n")[0]
    assert request_size(dripped) == len(dripped)
    assert dechunked(dripped) == dechunked(whole)


def dechunked(request: bytes) -> bytes:
    """Return the bytes of a body without the borders of its chunks."""
    head, _, body = request.partition(b"\r\n\r\n")
    if b"chunked" not in head:
        return body
    joined = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        joined += body[: int(size, 16)]
        body = body[int(size, 16) + 2 :]
    return joined


@pytest.mark.parametrize("data", [POST, CHUNKED], ids=["post", "chunked"])
@pytest.mark.parametrize("how", ["close", "reset", "half"])
def test_leaving_at_any_byte_leaves_nothing_behind(
    rig: AttackRig, data: bytes, how: str
) -> None:
    """An early end is never taken for the end of the request."""
    rig.api.hang_up()
    rig.api.script = always(OK)
    rig.api.forget()
    for cut in range(len(data)):
        with RawClient(rig.address) as client:
            client.send(data[:cut])
            if how == "reset":
                client.reset()
            elif how == "half":
                client.sock.shutdown(socket.SHUT_WR)
    rig.at_rest()

    for one in rig.api.conversations:
        assert request_size(one.received) in {None, len(one.received)}
        assert one._answered == 0, "a request that was cut was taken for whole"
    rig.healthy()


def test_ten_thousand_connections_opened_and_left(rig: AttackRig) -> None:
    """Some say nothing, some half a head, some a whole call: all are forgotten."""
    rig.api.script = always(OK)
    before = rig.process.anonymous_bytes()
    said = (b"", GET[:20], GET, POST[:-2])
    clients: list[RawClient] = []
    for number in range(10_000):
        client = RawClient(rig.address)
        client.send(said[number % 4])
        clients.append(client)
        if len(clients) == 500:
            for one in clients:
                one.reset()
            clients.clear()
    rig.at_rest()
    rig.healthy()
    rig.api.hang_up()  # idle connections to the API are kept, and are not meant here

    wait_until(lambda: open_files(rig) < 60, "descriptors given back")
    assert rig.process.anonymous_bytes() - before < 16 * MEBI


def test_connections_over_the_limit_wait_and_are_served(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """They wait in the kernel, where they cost nothing, and none is lost."""
    few = limits(max_connections=8)
    with attacked(tmp_path_factory.mktemp("few"), few) as rig:
        clients = [RawClient(rig.address) for _ in range(40)]
        for client in clients:
            client.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        for client in clients:
            with client:
                assert client.answer().status == 200


def test_a_call_to_ourselves_ends(tmp_path_factory: pytest.TempPathFactory) -> None:
    """An API that is our own listener is a loop, and no storm."""
    directory = tmp_path_factory.mktemp("loop")
    few = limits(response_seconds=2, queue_seconds=0.2, max_upstream_connections=8)
    with attacked(directory, few) as rig:

        def relay(conversation: Conversation) -> None:
            while (request := conversation.request()) is not None:
                kept = [
                    line
                    for line in request.split(b"\r\n")
                    if not line.lower().startswith((b"host:", b"authorization:"))
                ]
                kept.insert(1, HOST.strip())
                with RawClient(rig.address) as client:
                    client.send(b"\r\n".join(kept))
                    seen = client.answer()
                conversation.send(
                    b"HTTP/1.1 %d A\r\nContent-Length: 0\r\n\r\n" % seen.status
                )

        rig.api.script = relay
        with RawClient(rig.address) as client:
            client.send(GET)
            assert client.answer().status in {502, 503, 504, 414}
        rig.api.script = always(OK)
        rig.api.hang_up()
        wait_until(lambda: not open_calls(rig), "the loop's end", 20)


def open_calls(rig: AttackRig) -> float:
    """Return the calls under way."""
    return rig.process.metrics().value("sidecar_inflight_requests")


def open_files(rig: AttackRig) -> int:
    """Return how many descriptors the process has open."""
    return len(list(Path(f"/proc/{rig.process.pid}/fd").iterdir()))
