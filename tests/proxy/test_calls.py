"""Successful calls: what the API receives, and what the client gets."""

import asyncio

import pytest

from sidecar.settings.tables import LimitSettings
from tests.support.proxy_rig import GET, KEY, Peer, ok, post, running


async def test_the_key_is_injected_and_the_answer_relayed() -> None:
    """A request without a credential reaches the API with one; the response comes back."""
    async with running() as proxy:
        proxy.script = proxy.always(ok(b'{"data":[]}', b"X-Rate: 5\r\n"))
        answer = await proxy.call()

        request = proxy.requests[0]
        assert request.line == b"GET /v1/contacts HTTP/1.1"
        assert request.fields[b"authorization"] == [f"Bearer {KEY}".encode()]
        assert request.fields[b"accept"] == [b"application/json"]
        assert request.fields[b"host"][0].startswith(b"127.0.0.1:")
        assert answer.status == 200
        assert answer.body == b'{"data":[]}'
        assert answer.fields[b"x-rate"] == [b"5"]
        assert not answer.code


async def test_connections_are_kept_on_both_sides() -> None:
    """Ten calls on one client connection use one connection to the API."""
    async with running() as proxy:
        client = await proxy.client()
        for _ in range(10):
            await client.send(GET)
            assert (await client.answer()).status == 200

        assert len(proxy.connections) == 1
        assert len(proxy.requests) == 10
        assert proxy.stats.connections() == {"active": 0, "connecting": 0, "idle": 1}
        assert proxy.stats.inflight == 0


async def test_pipelined_calls_are_answered_in_order() -> None:
    """Three heads in one packet get three responses, in order."""
    async with running() as proxy:
        proxy.script = proxy.always(ok(b"1"), ok(b"2"), ok(b"3"))
        client = await proxy.client()
        await client.send(GET + post(b"hello") + GET)
        answers = [await client.answer() for _ in range(3)]

        assert [answer.body for answer in answers] == [b"1", b"2", b"3"]
        assert [request.body for request in proxy.requests] == [b"", b"hello", b""]


async def test_a_head_may_come_byte_by_byte() -> None:
    """A request may come in any pieces."""
    async with running() as proxy:
        client = await proxy.client()
        for byte in post(b"hello"):
            await client.send(bytes([byte]))
        answer = await client.answer()

        assert answer.status == 200
        assert proxy.requests[0].body == b"hello"


async def test_an_answer_may_come_byte_by_byte() -> None:
    """A response may come in any pieces."""
    async with running() as proxy:

        async def slowly(peer: Peer) -> None:
            await peer.request()
            for byte in ok(b"hello", b"A: b\r\n"):
                await peer.send(bytes([byte]))
                await asyncio.sleep(0)

        proxy.script = slowly
        answer = await proxy.call()

        assert answer.status == 200
        assert answer.body == b"hello"


async def test_an_empty_line_before_a_request_is_ignored() -> None:
    """RFC 9112, 2.2: some old clients send CRLF after a body."""
    async with running() as proxy:
        answer = await proxy.call(b"\r\n" + GET)

        assert answer.status == 200


async def test_head_has_the_length_but_no_body() -> None:
    """The client gets the API's Content-Length without a body, and the next call works."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"
    async with running() as proxy:
        proxy.script = proxy.always(head, ok(b"next"))
        client = await proxy.client()
        await client.send(b"HEAD /contacts HTTP/1.1\r\nHost: localhost\r\n\r\n" + GET)
        first = await client.answer("HEAD")
        second = await client.answer()

        assert first.fields[b"content-length"] == [b"1234"]
        assert second.body == b"next"
        assert len(proxy.connections) == 1


@pytest.mark.parametrize("status", [204, 304])
async def test_answers_without_a_body_end_with_their_head(status: int) -> None:
    """204 and 304 have no body, whatever the fields say."""
    raw = b"HTTP/1.1 %d X\r\nETag: a\r\n\r\n" % status
    async with running() as proxy:
        proxy.script = proxy.always(raw, ok(b"next"))
        client = await proxy.client()
        await client.send(GET + GET)
        first = await client.answer()
        second = await client.answer()

        assert first.status == status
        assert first.fields[b"etag"] == [b"a"]
        assert second.body == b"next"


async def test_interim_answers_are_absorbed() -> None:
    """The client sees the final response only, no 1xx."""
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    async with running() as proxy:
        proxy.script = proxy.always(early * 3 + ok(b"final"))
        answer = await proxy.call()

        assert answer.status == 200
        assert answer.body == b"final"


async def test_a_storm_of_interim_answers_is_cut() -> None:
    """Too many 1xx responses are an error of the API, not a wait without end."""
    early = b"HTTP/1.1 100 Continue\r\n\r\n"
    async with running() as proxy:
        proxy.script = proxy.always(early * 100 + ok())
        answer = await proxy.call()

        assert answer.code == "upstream_protocol"


async def test_http_1_0_gets_an_unchunked_answer_and_a_close() -> None:
    """A client of HTTP/1.0 cannot read chunks: the body ends with the connection."""
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )
    async with running() as proxy:
        proxy.script = proxy.always(chunked)
        client = await proxy.client()
        await client.send(b"GET /contacts HTTP/1.0\r\nHost: localhost\r\n\r\n")
        raw = await client.rest()

        assert raw.endswith(b"\r\n\r\nabcde")
        assert b"transfer-encoding" not in raw.lower()
        assert proxy.requests[0].line.endswith(b"HTTP/1.1")


async def test_the_service_may_ask_for_a_close() -> None:
    """`Connection: close` is honoured after the answer."""
    async with running() as proxy:
        client = await proxy.client()
        await client.send(
            b"GET /contacts HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        answer = await client.answer()

        assert answer.fields[b"connection"] == [b"close"]
        assert await client.ended()
        assert b"connection" not in proxy.requests[0].fields


async def test_an_api_that_closes_gets_a_new_connection() -> None:
    """After a `Connection: close` of the API, its connection is not used again."""
    async with running() as proxy:
        proxy.script = proxy.always(ok(b"{}", b"Connection: close\r\n"))
        client = await proxy.client()
        await client.send(GET)
        await client.answer()
        await client.send(GET)
        answer = await client.answer()

        assert b"connection" not in answer.fields
        assert len(proxy.connections) == 2


async def test_a_location_of_the_api_stays_on_this_listener() -> None:
    """A redirect under base_url must not lead the client past the sidecar."""
    async with running() as proxy:
        base = proxy.server.context.base
        moved = b"HTTP/1.1 302 Found\r\nLocation: http://%b/v1/new?x=1\r\n" % (
            base.host_header
        )
        proxy.script = proxy.always(moved + b"Content-Length: 0\r\n\r\n")
        answer = await proxy.call()

        assert answer.status == 302
        assert answer.fields[b"location"] == [b"/new?x=1"]
        assert len(proxy.requests) == 1


async def test_calls_are_counted() -> None:
    """Each call is counted once, with its operation, method and code."""
    async with running(allow=["GET /contacts"]) as proxy:
        proxy.stats.operations["/contacts"] = type(proxy.stats.operation("*"))(
            proxy.stats.overhead
        )
        await proxy.call()

        counts = proxy.stats.operation("/contacts")
        assert counts.requests == {("GET", 200, "upstream"): 1}
        assert sum(counts.seconds.counts) == 1
        assert sum(proxy.stats.overhead.counts) == 1


async def test_the_first_call_waits_for_the_key() -> None:
    """A call that comes before the first key is held until the key arrives."""
    async with running() as proxy:
        key, proxy.keys.current = proxy.keys.current, None
        client = await proxy.client()
        await client.send(post(b"held"))
        proxy.keys.current = key
        proxy.keys.arrived.set()
        answer = await client.answer()

        assert answer.status == 200
        assert proxy.requests[0].body == b"held"


async def test_without_a_key_nothing_is_forwarded() -> None:
    """Without a key in time, the call gets 503, and the API gets no request."""
    async with running() as proxy:
        proxy.keys.current = None
        answer = await proxy.call()

        assert answer.status == 503
        assert answer.code == "credential_unavailable"
        assert b"retry-after" in answer.fields
        assert proxy.connections == []


async def test_calls_wait_for_a_free_connection() -> None:
    """With one connection to the API, calls are served one after the other."""
    limits = LimitSettings(max_upstream_connections=1)
    async with running(limits=limits) as proxy:
        answers = await asyncio.gather(*(proxy.call() for _ in range(8)))

        assert {answer.status for answer in answers} == {200}
        assert len(proxy.connections) == 1


async def test_a_call_that_waits_too_long_is_told() -> None:
    """When the only connection stays busy: 503 upstream_busy."""
    limits = LimitSettings(max_upstream_connections=1, queue_seconds=0.1)
    async with running(limits=limits) as proxy:
        done = asyncio.Event()

        async def hold(peer: Peer) -> None:
            await peer.request()
            await done.wait()
            await peer.send(ok())

        proxy.script = hold
        client = await proxy.client()
        await client.send(GET)
        await proxy.connection(0)
        busy = await proxy.call()
        done.set()
        first = await client.answer()

        assert busy.code == "upstream_busy"
        assert busy.fields[b"retry-after"] == [b"1"]
        assert first.status == 200


async def test_more_connections_than_allowed_wait_in_the_backlog() -> None:
    """Beyond max_connections, connections are not refused but wait."""
    async with running(limits=LimitSettings(max_connections=2)) as proxy:
        first, second = await proxy.client(), await proxy.client()
        for client in (first, second):
            await client.send(GET)
            await client.answer()
        third = await proxy.client()
        await third.send(GET)
        served = len(proxy.server.clients)
        first.close()
        answer = await third.answer()

        assert served == 2
        assert answer.status == 200
