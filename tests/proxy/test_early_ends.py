"""Request heads that cannot be parsed, and the bytes that follow them."""

import asyncio
import time
from typing import Final

import pytest

from sidecar.errors import STATUS, Code
from sidecar.proxy.client import LINGER_BYTES, LINGER_SECONDS
from sidecar.settings.tables import LimitSettings
from tests.support.proxy_rig import GET, Harness, Peer, ok, parse, running, until

HOST: Final = b"Host: localhost\r\n"
SMALL: Final = LimitSettings(max_header_bytes=2048)


@pytest.mark.parametrize(
    ("head", "code"),
    [
        pytest.param(b"GET / HTTP/1.1\r\n%bA : b\r\n\r\n" % HOST, Code.BAD_HEADER, id="space"),
        pytest.param(b"GET / HTTP/1.1\r\n%bA\0: b\r\n\r\n" % HOST, Code.BAD_HEADER, id="nul"),
        pytest.param(b"GET / HTTP/3.0\r\n%b\r\n" % HOST, Code.VERSION_UNSUPPORTED, id="version"),
        pytest.param(b"GET / HTTP/1.1\r\n%bUpgrade: a\r\nConnection: upgrade\r\n\r\n" % HOST, Code.UPGRADE_UNSUPPORTED, id="upgrade"),
        pytest.param(b"CONNECT a:1 HTTP/1.1\r\n%b\r\n" % HOST, Code.METHOD_REFUSED, id="connect"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", Code.BAD_REQUEST, id="no-host"),
        pytest.param(b"\n" + GET, Code.BAD_REQUEST, id="bare-lf"),
        pytest.param(b"\r" + GET, Code.BAD_REQUEST, id="bare-cr"),
        pytest.param(b"\x16\x03\x01\0\xa5\x01\0", Code.BAD_REQUEST, id="tls"),
        pytest.param(b"(no http)", Code.BAD_REQUEST, id="text"),
        pytest.param(b"GET /%b HTTP/1.1\r\n%b\r\n" % (b"a" * 3000, HOST), Code.HEAD_TOO_LARGE, id="whole-and-large"),
        pytest.param(b"GET /" + b"a" * 3000, Code.HEAD_TOO_LARGE, id="endless"),
    ],
)  # fmt: skip
async def test_a_head_that_cannot_be_read_ends_the_connection(
    head: bytes, code: Code
) -> None:
    """The start of the next head is unknown, so what follows is no call."""
    async with running(limits=SMALL) as proxy:
        client = await proxy.client()
        await client.send(head + GET)
        answer = await client.answer()

        assert (answer.status, answer.code) == (STATUS[code], code)
        assert answer.fields[b"connection"] == [b"close"]
        assert await client.ended()
        assert proxy.connections == []
        assert proxy.stats.rejections[code] == 1
        assert proxy.stats.operations["*"].requests == {
            (next(iter(proxy.stats.operations["*"].requests))[0], STATUS[code], "sidecar"): 1
        }  # fmt: skip


async def test_a_line_break_may_come_in_two_pieces() -> None:
    """A lone CR may become the empty line that is ignored (RFC 9112, 2.2)."""
    async with running() as proxy:
        client = await proxy.client()
        await client.send(b"\r")
        await until(lambda: [one for one in proxy.server.clients if one._partial])
        await client.send(b"\n" + GET)

        assert (await client.answer()).status == 200


async def refused(proxy: Harness) -> Peer:
    """Send a request that is refused; return its connection."""
    client = await proxy.client()
    await client.send(b"GET / HTTP/1.1\r\n\r\n")
    assert (await client.answer()).code == "bad_request"
    return client


async def test_what_follows_a_refusal_is_dropped_for_a_while() -> None:
    """Dropping avoids a reset that would destroy the answer; later the connection is cut."""
    async with running() as proxy:
        client = await refused(proxy)
        await client.send(b"x" * 100_000)
        await until(lambda: [s for s in proxy.server.clients if s._dropped > 99_999])
        proxy.server._monotonic = lambda: time.monotonic() + LINGER_SECONDS + 1
        await until(lambda: not proxy.server.clients, "the end")


async def on_and_on(client: Peer) -> None:
    """Send much more than is dropped."""
    for _ in range(64):
        await client.send(b"x" * (LINGER_BYTES // 16))
        await asyncio.sleep(0)


async def test_no_more_is_dropped_than_is_meet() -> None:
    """A client that keeps sending is disconnected."""
    async with running() as proxy:
        client = await refused(proxy)
        with pytest.raises(ConnectionError):
            await on_and_on(client)
        await until(lambda: not proxy.server.clients, "the end")


async def test_pipelined_calls_beyond_the_limit_wait_unread() -> None:
    """The buffer is bounded, and each request is answered in order."""
    limits = LimitSettings(max_header_bytes=2048)
    total = 400
    async with running(limits=limits) as proxy:

        async def script(peer: Peer) -> None:
            while True:
                request = await peer.request()
                await peer.send(ok(request.line.split(b" ")[1]))

        proxy.script = script
        client = await proxy.client()
        calls = b"".join(
            b"GET /%d HTTP/1.1\r\n%b\r\n" % (n, HOST) for n in range(total)
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(client.send(calls))
            answers = [await client.answer() for _ in range(total)]

        assert [one.body for one in answers] == [b"/v1/%d" % n for n in range(total)]


async def test_signs_of_a_slow_service_between_calls_mean_nothing() -> None:
    """Without a call, `pause_writing` has no effect."""
    async with running() as proxy:
        client = await proxy.client()
        await until(lambda: proxy.server.clients)
        (connection,) = proxy.server.clients
        connection.pause_writing()
        connection.resume_writing()
        connection.pause()
        connection.pause()
        connection.resume()
        await client.send(GET)

        assert (await client.answer()).status == 200


async def test_interim_answers_may_come_apart() -> None:
    """Interim responses and the final one may each come in a piece of its own."""
    async with running() as proxy:

        async def script(peer: Peer) -> None:
            await peer.request()
            for _ in range(3):
                await peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n")
                await asyncio.sleep(0.01)  # apart, a piece each
            await peer.send(ok())

        proxy.script = script
        answer = await proxy.call()

        assert answer.status == 200
        assert b"link" not in answer.fields


NOT_REUSED: Final = [
    pytest.param(b"HTTP/1.1 204 No Content\r\n\r\nmore", id="no-body"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokmore", id="length"),
    pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nmore", id="chunks"),
]  # fmt: skip


@pytest.mark.parametrize("raw", NOT_REUSED)
@pytest.mark.parametrize("apart", [0, 1], ids=["at-once", "apart"])
async def test_more_than_an_answer_ends_a_connection(raw: bytes, apart: int) -> None:
    """Bytes after the end of a response close its connection, also with the last byte."""
    head, _, body = raw.partition(b"\r\n\r\n")
    async with running() as proxy:
        went_on = asyncio.Event()

        async def script(peer: Peer) -> None:
            await peer.request()
            if apart and len(body) > 4:
                await peer.send(head + b"\r\n\r\n" + body[:1])
                await went_on.wait()
                await peer.send(body[1:])
            else:
                await peer.send(raw)
            await peer.rest()

        proxy.script = script
        client = await proxy.client()
        await client.send(GET)
        answer_head = await client.head()
        went_on.set()
        if b"content-length" in parse(answer_head):
            assert await client.exactly(2) == b"ok"
        proxy.script = proxy.always(ok())
        assert (await proxy.call()).status == 200

        assert len(proxy.connections) == 2
        assert await proxy.connections[0].ended()
