"""Bodies both ways: framing, backpressure, 100-continue, early answers."""

import asyncio
import hashlib
from typing import Any

from sidecar.settings.tables import LimitSettings
from tests.support.proxy_rig import GET, Peer, ok, post, running, until

CHUNKED_POST = (
    b"POST /contacts HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
)


async def test_a_chunked_body_is_framed_anew() -> None:
    """A chunked request body arrives in chunks, without chunk extensions."""
    async with running() as proxy:
        answer = await proxy.call(
            CHUNKED_POST + b"5;x=1\r\nhello\r\n6\r\n world\r\n0\r\nT: x\r\n\r\n"
        )

        assert answer.status == 200
        assert proxy.requests[0].body == b"hello world"
        assert proxy.requests[0].fields[b"transfer-encoding"] == [b"chunked"]
        assert b"content-length" not in proxy.requests[0].fields


async def test_a_body_is_streamed_as_it_comes() -> None:
    """The API receives the first part before the client has sent the second."""
    async with running() as proxy:
        parts: list[bytes] = []

        async def script(peer: Peer) -> None:
            await peer.head()
            parts.append(await peer.exactly(3))
            await peer.exactly(3)
            await peer.send(ok())

        proxy.script = script
        client = await proxy.client()
        await client.send(post(b"abcdef")[:-3])
        await until(lambda: parts)
        await client.send(b"def")
        answer = await client.answer()

        assert parts == [b"abc"]
        assert answer.status == 200


async def test_a_large_upload_arrives_whole() -> None:
    """A body of four megabytes has the same digest on both sides."""
    body = bytes(range(256)) * 16384
    async with running() as proxy:
        await proxy.call(post(body))

        digest = hashlib.sha256(proxy.requests[0].body).digest()
        assert digest == hashlib.sha256(body).digest()


async def test_a_slow_api_slows_the_service() -> None:
    """The proxy does not buffer what the API does not read."""
    body = b"x" * (32 << 20)
    async with running() as proxy:
        go = asyncio.Event()

        async def script(peer: Peer) -> None:
            await peer.head()
            await go.wait()
            await peer.exactly(len(body))
            await peer.send(ok())

        proxy.script = script
        client = await proxy.client()
        client.writer.write(post(body))
        await proxy.connection(0)
        left = await settled(client)
        go.set()
        answer = await client.answer()

        assert left > 16 << 20
        assert answer.status == 200


async def test_a_slow_service_slows_the_api() -> None:
    """The proxy does not buffer what the client does not read, and loses nothing."""
    body = b"y" * (32 << 20)
    async with running() as proxy:
        written = asyncio.Event()
        api: list[Peer] = []

        async def script(peer: Peer) -> None:
            await peer.request()
            api.append(peer)
            peer.writer.write(ok(body))
            await peer.writer.drain()
            written.set()

        proxy.script = script
        client = await proxy.client()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a Transport
        await client.send(GET)
        await proxy.connection(0)
        await until(lambda: api)
        left = await settled(api[0])
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]  # a Transport
        answer = await client.answer()

        assert left > 16 << 20
        assert len(answer.body) == len(body)
        assert written.is_set()


async def settled(peer: Peer) -> int:
    """Wait until a peer's write buffer shrinks no more; return what is left in it."""
    transport: Any = peer.writer.transport
    last = -1
    same = 0
    while same < 20:
        size: int = transport.get_write_buffer_size()
        same = same + 1 if size == last else 0
        last = size
        await asyncio.sleep(0.01)
    return last


async def test_chunks_of_events_are_flushed_as_they_come() -> None:
    """Each server-sent event reaches the client before the next one is sent."""
    async with running() as proxy:
        turn = asyncio.Semaphore(0)

        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.send(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n"
            )
            for number in range(3):
                await peer.send(b"9\r\ndata: %d\n\n\r\n" % number)
                await turn.acquire()
            await peer.send(b"0\r\n\r\n")

        proxy.script = script
        client = await proxy.client()
        await client.send(GET)
        await client.head()
        for number in range(3):
            event = await client.exactly(14)
            assert event == b"9\r\ndata: %d\n\n\r\n" % number
            turn.release()
        assert await client.exactly(5) == b"0\r\n\r\n"


async def test_an_answer_until_close_becomes_chunks() -> None:
    """A body that ends with the API's connection does not end the client's."""
    async with running() as proxy:

        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.send(b"HTTP/1.1 200 OK\r\n\r\nabc")
            await peer.send(b"def")

        proxy.script = script
        client = await proxy.client()
        await client.send(GET)
        answer = await client.answer()
        proxy.script = proxy.always(ok(b"next"))
        await client.send(GET)

        assert answer.body == b"abcdef"
        assert (await client.answer()).body == b"next"


async def test_continue_is_said_when_the_api_is_there() -> None:
    """`Expect: 100-continue` is answered once a connection to the API is open."""
    async with running() as proxy:
        client = await proxy.client()
        head, _, body = post(b"hello").partition(b"\r\n\r\n")
        await client.send(head + b"\r\nExpect: 100-continue\r\n\r\n")
        interim = await client.head()
        connections = len(proxy.connections)
        await client.send(body)
        answer = await client.answer()

        assert interim == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert connections == 1
        assert answer.status == 200
        assert b"expect" not in proxy.requests[0].fields


async def test_an_early_answer_ends_the_connection() -> None:
    """The API answers before the body is complete: the client gets the answer, then the end."""
    refused = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig"
    async with running() as proxy:

        async def script(peer: Peer) -> None:
            await peer.head()
            await peer.send(refused)
            await peer.rest()

        proxy.script = script
        client = await proxy.client()
        await client.send(post(b"x" * 100_000)[:2000])
        answer = await client.answer()

        assert answer.status == 413
        assert answer.body == b"big"
        assert answer.fields[b"connection"] == [b"close"]
        assert await client.ended()
        assert proxy.stats.inflight == 0


async def test_a_body_over_the_limit_is_refused_by_its_length() -> None:
    """max_body_bytes: an announced length over it never reaches the API."""
    async with running(limits=LimitSettings(max_body_bytes=10)) as proxy:
        answer = await proxy.call(post(b"x" * 11))

        assert answer.status == 413
        assert answer.code == "body_too_large"
        assert proxy.connections == []


async def test_a_body_over_the_limit_is_refused_by_count() -> None:
    """max_body_bytes holds for chunks too, and the API never sees a whole request."""
    async with running(limits=LimitSettings(max_body_bytes=10)) as proxy:
        client = await proxy.client()
        await client.send(CHUNKED_POST + b"8\r\n12345678\r\n")
        peer = await proxy.connection(0)
        await client.send(b"8\r\n12345678\r\n0\r\n\r\n")
        answer = await client.answer()

        assert answer.code == "body_too_large"
        assert proxy.requests == []
        assert peer.reader.at_eof() or await peer.ended()


async def test_malformed_chunks_are_refused() -> None:
    """A body with malformed chunks ends the call and the connection."""
    async with running() as proxy:
        client = await proxy.client()
        await client.send(CHUNKED_POST + b"zz\r\n")
        answer = await client.answer()

        assert answer.code == "bad_request"
        assert await client.ended()
        assert proxy.requests == []
