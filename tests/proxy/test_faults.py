"""Peers that die, stall or send garbage: what the client sees, and what is left over."""

import asyncio
import contextlib

import pytest

from sidecar.errors import Code
from sidecar.proxy.server import SWEEP_SECONDS
from sidecar.settings.tables import LimitSettings
from tests.support.proxy_rig import GET, Harness, Peer, ok, post, running, until

SHORT = LimitSettings(
    response_seconds=0.2, idle_seconds=0.2, header_seconds=0.2, keepalive_seconds=0.2
)


async def test_no_deadline_is_early() -> None:
    """A call that begins just before the next sweep has its full time."""
    async with running() as proxy:
        server, clock = proxy.server, 1000.0
        server._monotonic = lambda: clock
        server._sweep()
        clock += SWEEP_SECONDS

        deadlines, limits = server.context.deadlines, server.context.limits
        assert deadlines.now >= clock
        assert deadlines.response >= clock + limits.response_seconds
        assert deadlines.keepalive >= clock + limits.keepalive_seconds
        assert deadlines.progress >= clock + limits.idle_seconds
        assert deadlines.head >= clock + limits.header_seconds
        assert deadlines.queue >= clock + limits.queue_seconds


async def test_a_dead_api_is_unreachable() -> None:
    """The API does not listen: the client gets 502 and keeps its connection."""
    async with running(dead_api=True) as proxy:
        client = await proxy.client()
        await client.send(GET)
        await client.answer()
        await client.send(GET)
        answer = await client.answer()

        assert answer.status == 502
        assert answer.code == "upstream_unreachable"


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"garbage\r\n\r\n", id="garbage"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-", id="cut-head"),
        pytest.param(b"", id="no-answer"),
        pytest.param(b"HTTP/2 200\r\n\r\n", id="http-2"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="another-protocol"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
            id="two-lengths",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            id="length-and-chunks",
        ),
        pytest.param(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", id="switch"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            id="bad-chunk",
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: " + b"x" * 70_000, id="endless-head"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nA: " + b"x" * 70_000 + b"\r\n\r\n", id="large-head"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nA\x00: b\r\n\r\n", id="nul"),
        pytest.param(b"HTTP/1.1 999 Odd\r\n\r\n", id="status-999"),
    ],
)
async def test_a_broken_answer_is_a_502(raw: bytes) -> None:
    """A broken response gives 502 upstream_protocol, and the next call works."""
    async with running() as proxy:

        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.send(raw)

        proxy.script = script
        client = await proxy.client()
        await client.send(GET)
        answer = await client.answer()
        proxy.script = proxy.always(ok(b"well"))
        await client.send(GET)
        after = await client.answer()

        assert answer.status == 502
        assert answer.code == "upstream_protocol"
        assert after.body == b"well"
        assert proxy.stats.inflight == 0


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"Content-Length: 10\r\n\r\nhal.", id="length"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\n4\r\nhal.\r\n", id="chunks"),
    ],
)
@pytest.mark.parametrize("how", ["close", "reset", "garbage"])
async def test_a_cut_answer_stays_cut(raw: bytes, how: str) -> None:
    """The API dies in the middle of a body: the client's body is short or has no last chunk."""
    async with running() as proxy:

        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.send(b"HTTP/1.1 200 OK\r\n" + raw)
            await asyncio.sleep(0.05)
            if how == "reset":
                peer.reset()
            elif how == "garbage" and b"chunked" in raw:
                await peer.send(b"zz\r\n")
                await peer.rest()

        proxy.script = script
        client = await proxy.client()
        await client.send(GET)
        raw_answer = await client.rest()

        assert b"hal." in raw_answer
        assert not raw_answer.endswith(b"0\r\n\r\n")
        assert b"X-Sidecar-Error" not in raw_answer
        assert proxy.stats.inflight == 0


async def test_a_cut_answer_without_length_is_reset() -> None:
    """For HTTP/1.0 only a reset shows that the body is incomplete."""
    async with running() as proxy:

        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.send(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhal.\r\n"
            )
            await asyncio.sleep(0.05)

        proxy.script = script
        client = await proxy.client()
        await client.send(b"GET /contacts HTTP/1.0\r\nHost: localhost\r\n\r\n")
        with pytest.raises(ConnectionError):
            await client.reader.read(-1)


@pytest.mark.parametrize("request_", [GET, post(b"x")], ids=["get", "post"])
async def test_a_dead_idle_connection_is_replaced(request_: bytes) -> None:
    """A GET on a connection that died while idle is sent again; a POST is not."""
    async with running() as proxy:
        await warm(proxy)
        # Close under the proxy's next request, not before it.
        proxy.connections[0].writer.transport.pause_reading()  # type: ignore[attr-defined]  # a Transport
        proxy.script = proxy.always(ok(b"again"))
        client = await proxy.client()
        await client.send(request_)
        await asyncio.sleep(0.05)
        proxy.connections[0].reset()
        answer = await client.answer()

        if request_ == GET:
            assert answer.body == b"again"
            assert len(proxy.connections) == 2
        else:
            assert answer.code == "upstream_protocol"
            assert len(proxy.connections) == 1


async def test_a_first_connection_is_not_retried() -> None:
    """Only an idle connection can have died for a harmless reason."""
    async with running() as proxy:

        async def script(peer: Peer) -> None:
            await peer.request()
            peer.reset()

        proxy.script = script
        answer = await proxy.call()

        assert answer.code == "upstream_protocol"
        assert len(proxy.connections) == 1


async def warm(proxy: Harness) -> None:
    """Make one call, which leaves an idle connection to the API."""
    await proxy.call()
    assert proxy.stats.connections()["idle"] == 1


async def test_an_idle_connection_that_closes_is_dropped() -> None:
    """The API closes an idle connection: the next call uses another one."""
    async with running() as proxy:
        await warm(proxy)
        proxy.connections[0].close()
        await until(lambda: not proxy.stats.connections()["idle"])
        answer = await proxy.call()

        assert answer.status == 200


async def test_an_idle_connection_is_kept_no_longer_than_the_api_does() -> None:
    """With `Keep-Alive: timeout=N`, the connection is closed one second before."""
    async with running() as proxy:
        proxy.script = proxy.always(ok(b"{}", b"Keep-Alive: timeout=1, max=9\r\n"))
        await proxy.call()
        await until(lambda: not proxy.stats.connections()["idle"])
        answer = await proxy.call()

        assert answer.status == 200
        assert len(proxy.connections) == 2


async def test_bytes_without_a_request_reach_no_call() -> None:
    """A second response to one call does not become the response to the next call."""
    async with running() as proxy:

        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.send(ok(b"first") + ok(b"smuggled"))
            await peer.rest()

        proxy.script = script
        first = await proxy.call()
        proxy.script = proxy.always(ok(b"own"))
        second = await proxy.call()

        assert first.body == b"first"
        assert second.body == b"own"


async def test_a_late_response_reaches_no_call() -> None:
    """Bytes on an idle connection close it."""
    async with running() as proxy:
        await warm(proxy)
        await proxy.connections[0].send(ok(b"late"))
        await until(lambda: not proxy.stats.connections()["idle"])
        proxy.script = proxy.always(ok(b"own"))
        answer = await proxy.call()

        assert answer.body == b"own"


async def test_a_silent_api_times_out() -> None:
    """No answer within response_seconds: 504."""
    async with running(limits=SHORT) as proxy:

        async def script(peer: Peer) -> None:
            await peer.request()
            assert await peer.ended()

        proxy.script = script
        answer = await proxy.call()

        assert answer.status == 504
        assert answer.code == "upstream_timeout"


async def test_an_answer_that_stalls_is_cut() -> None:
    """After idle_seconds of silence within a body, the response is cut, not completed."""
    async with running(limits=SHORT) as proxy:

        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal.")
            assert await peer.ended()

        proxy.script = script
        client = await proxy.client()
        await client.send(GET)

        assert (await client.rest()).endswith(b"hal.")


async def test_a_service_that_stops_reading_is_cut() -> None:
    """A client that reads nothing for idle_seconds occupies no connection to the API."""
    async with running(limits=SHORT) as proxy:

        async def script(peer: Peer) -> None:
            await peer.request()
            peer.writer.write(ok(b"y" * (32 << 20)))
            assert await peer.ended()

        proxy.script = script
        client = await proxy.client()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a Transport
        await client.send(GET)
        await until(lambda: proxy.stats.rejections[Code.REQUEST_TIMEOUT])

        assert proxy.stats.connections() == {"active": 0, "connecting": 0, "idle": 0}


async def test_a_head_that_stalls_is_refused() -> None:
    """A head that is incomplete after header_seconds gets 408 and a close."""
    async with running(limits=SHORT) as proxy:
        client = await proxy.client()
        await client.send(GET[:-2])
        answer = await client.answer()

        assert answer.status == 408
        assert answer.code == "request_timeout"
        assert await client.ended()


async def test_a_slow_head_does_not_buy_time_with_each_byte() -> None:
    """The limit is for the head as a whole (slowloris)."""
    async with running(limits=SHORT) as proxy:
        client = await proxy.client()
        await client.send(b"GET / HTTP/1.1\r\nA: ")

        async def trickle() -> None:
            with contextlib.suppress(ConnectionError):
                while True:
                    await client.send(b"x")
                    await asyncio.sleep(0.02)

        async with asyncio.TaskGroup() as group:
            task = group.create_task(trickle())
            answer = await client.answer()
            task.cancel()

        assert answer.code == "request_timeout"


async def test_a_body_that_stalls_is_refused() -> None:
    """A body that stops within idle_seconds: 408, and the API's call is cancelled."""
    async with running(limits=SHORT) as proxy:
        ended = asyncio.Event()

        async def script(peer: Peer) -> None:
            await peer.head()
            await peer.rest()
            ended.set()

        proxy.script = script
        client = await proxy.client()
        await client.send(post(b"hello")[:-2])
        answer = await client.answer()
        await asyncio.wait_for(ended.wait(), 5)

        assert answer.code == "request_timeout"


async def test_an_idle_connection_of_the_service_is_closed() -> None:
    """After keepalive_seconds without a call the connection ends."""
    async with running(limits=SHORT) as proxy:
        client = await proxy.client()
        await client.send(GET)
        await client.answer()

        assert await client.ended()


async def test_a_service_that_leaves_cancels_its_call() -> None:
    """The API sees its connection close at once."""
    async with running() as proxy:
        left = asyncio.Event()

        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.rest()
            left.set()

        proxy.script = script
        client = await proxy.client()
        await client.send(GET)
        await proxy.connection(0)
        client.close()
        await asyncio.wait_for(left.wait(), 5)

        await until(lambda: not proxy.stats.inflight)
        assert proxy.stats.operation("*").requests[("GET", 499, "sidecar")] == 1


async def test_a_service_that_leaves_the_queue_takes_no_connection() -> None:
    """A cancelled call gets no connection when one becomes free."""
    async with running(limits=LimitSettings(max_upstream_connections=1)) as proxy:
        go = asyncio.Event()

        async def script(peer: Peer) -> None:
            while True:
                proxy.requests.append(await peer.request())
                await go.wait()
                await peer.send(ok())

        proxy.script = script
        first, second = await proxy.client(), await proxy.client()
        await first.send(GET)
        await proxy.connection(0)
        await second.send(GET)
        await asyncio.sleep(0.05)
        second.close()
        await asyncio.sleep(0.05)
        go.set()
        await first.answer()
        third = await proxy.call()

        assert third.status == 200
        assert len(proxy.requests) == 2


async def test_draining_finishes_calls_and_takes_no_new_ones() -> None:
    """SIGTERM: idle connections close, calls in flight finish, then the end."""
    async with running() as proxy:
        go = asyncio.Event()

        async def script(peer: Peer) -> None:
            proxy.requests.append(await peer.request())
            await go.wait()
            await peer.send(ok(b"done"))

        idle = await proxy.client()
        proxy.script = script
        busy = await proxy.client()
        await busy.send(GET)
        await until(lambda: proxy.stats.inflight > 0)
        proxy.server.pre_shutdown()
        assert await idle.ended()
        await busy.send(GET)
        go.set()
        answer = await busy.answer()

        assert answer.body == b"done"
        assert answer.fields[b"connection"] == [b"close"]
        assert await busy.ended()


async def test_a_drain_that_takes_too_long_is_cut() -> None:
    """After the timeout, calls in flight are cut."""
    async with running() as proxy:

        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.rest()

        proxy.script = script
        client = await proxy.client()
        await client.send(GET)
        await proxy.connection(0)
        proxy.server.pre_shutdown()
        await proxy.server.shutdown(0.1)

        assert await client.ended()
