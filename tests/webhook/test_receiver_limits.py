"""Through a real port: what a sender can cost us in size, time and connections."""

import asyncio

import pytest

from tests.support.receiver_rig import ReceiverRig, read_answer, request
from tests.support.webhook_app import App, waiting
from tests.support.webhook_fakes import until


@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "counted"])
async def test_a_body_one_byte_too_large_is_refused(chunked: bool) -> None:
    """By its announced length, or as soon as too much has come."""
    body = b"x" * 1025
    async with ReceiverRig(endpoint={"max_body_bytes": 1024}) as rig:
        fields = rig.headers(body)
        if chunked:
            fields["Transfer-Encoding"] = "chunked"
            body = b"401\r\n" + body + b"\r\n"
        else:
            fields["Content-Length"] = "1025"
            body = b""  # refused before any of it comes

        answer = await rig.send(request(fields, body))

        assert (answer.status, answer.code) == (413, "too_large")
        assert answer.fields["connection"] == "close"
        assert rig.app.seen == []
        assert rig.results == ["too_large"]


async def test_a_body_as_large_as_allowed_is_taken() -> None:
    """The limit is inclusive."""
    async with ReceiverRig(endpoint={"max_body_bytes": 1024}) as rig:
        assert (await rig.post(b"x" * 1024)).status == 204


async def test_a_slow_body_is_given_up() -> None:
    """408, and the connection is closed."""
    async with ReceiverRig(body_seconds=0.1) as rig:
        fields = {**rig.headers(b"12345"), "Content-Length": "5"}

        answer = await rig.send(request(fields, b"123"))

        assert (answer.status, answer.code) == (408, "request_timeout")
        assert answer.fields["connection"] == "close"
        assert rig.app.seen == []


async def test_a_slow_head_is_given_up() -> None:
    """The connection is closed; there is no request to answer."""
    async with ReceiverRig(keepalive_seconds=0.1) as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        writer.write(b"POST /webhooks/inbox HTTP/1.1\r\nHost: ")

        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


async def test_a_second_slow_head_is_given_up_too() -> None:
    """After an answer the time for the next head begins."""
    async with ReceiverRig(keepalive_seconds=0.2) as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        fields = {**rig.headers(b""), "Content-Length": "0"}
        writer.write(request(fields, b""))
        assert (await read_answer(reader)).status == 204
        writer.write(b"POST /webhooks/inbox HTTP/1.1\r\nHost: ")

        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


async def test_a_body_cut_short_is_not_delivered() -> None:
    """The sender went away in the middle."""
    async with ReceiverRig() as rig:
        fields = {**rig.headers(b"12345"), "Content-Length": "5"}
        _, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        writer.write(request(fields, b"123"))
        await writer.drain()
        writer.close()

        await until(lambda: rig.results)
        assert rig.results == ["malformed"]
        assert rig.app.seen == []


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        pytest.param({"Content-Length": "10"}, b"12345", id="length"),
        pytest.param({"Content-Length": "10"}, b"", id="nothing"),
        pytest.param({"Transfer-Encoding": "chunked"}, b"5\r\n12345\r\n", id="chunked"),
    ],
)
@pytest.mark.parametrize("apart", [False, True], ids=["at-once", "later"])
async def test_a_sender_that_cuts_its_body_short_is_told(
    framing: dict[str, str], body: bytes, apart: bool
) -> None:
    """It has closed its own half only, and listens still."""
    async with ReceiverRig() as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        writer.write(request({**rig.headers(b"1234512345"), **framing}, body))
        if apart:
            await asyncio.sleep(0.05)  # the handler waits for the rest by now
        writer.write_eof()

        answer = await read_answer(reader)

        assert (answer.status, answer.code) == (400, "malformed")
        assert await asyncio.wait_for(reader.read(), 1) == b""
        assert rig.app.seen == []
        assert rig.results == ["malformed"]
        writer.close()


async def test_a_sender_that_has_sent_all_may_close_its_half() -> None:
    """It is answered, and then the connection ends without waiting for another."""
    async with ReceiverRig(App(waiting)) as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        fields = {**rig.headers(b"{}"), "Content-Length": "2"}
        writer.write(request(fields, b"{}"))
        await until(lambda: rig.app.seen)
        writer.write_eof()
        await asyncio.sleep(0.05)
        rig.app.release.set()

        assert (await read_answer(reader)).status == 204
        assert await asyncio.wait_for(reader.read(), 1) == b""
        writer.close()


@pytest.mark.parametrize("data", [b"", b"POST /webhooks/inb"], ids=["none", "part"])
async def test_a_connection_without_a_request_ends_with_its_sender(data: bytes) -> None:
    """Nobody is owed an answer."""
    async with ReceiverRig() as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        writer.write(data)
        writer.write_eof()

        assert await asyncio.wait_for(reader.read(), 1) == b""
        writer.close()


async def test_a_broken_chunk_is_not_delivered() -> None:
    """Nor is the connection used again."""
    async with ReceiverRig() as rig:
        fields = {**rig.headers(b"12345"), "Transfer-Encoding": "chunked"}

        answer = await rig.send(request(fields, b"zz\r\n12345\r\n0\r\n\r\n"))

        assert answer.status == 400
        assert rig.app.seen == []


async def test_a_sender_that_asks_first_is_told_to_go_on() -> None:
    """Expect: 100-continue is answered when the size is known to be right."""
    async with ReceiverRig() as rig:
        fields = {**rig.headers(b"{}"), "Content-Length": "2", "Expect": "100-continue"}
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        writer.write(request(fields, b""))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        writer.write(b"{}")

        assert (await read_answer(reader)).status == 204
        writer.close()


async def test_a_sender_that_asks_first_is_told_that_it_is_too_much() -> None:
    """So it need not send it."""
    async with ReceiverRig(endpoint={"max_body_bytes": 10}) as rig:
        fields = {**rig.headers(b""), "Content-Length": "11", "Expect": "100-continue"}

        assert (await rig.send(request(fields, b""))).code == "too_large"


async def test_the_sum_of_all_bodies_is_bounded() -> None:
    """The sender that would go beyond it comes again; the others are delivered."""
    async with ReceiverRig(App(waiting), max_buffered_bytes=3000) as rig:
        first = asyncio.ensure_future(rig.post(b"x" * 2000))
        await until(lambda: rig.app.seen)

        answer = await rig.post(b"x" * 2000, id_="msg_2")

        assert (answer.status, answer.code) == (503, "busy")
        rig.app.release.set()
        assert (await first).status == 204
        assert (await rig.post(b"x" * 2000, id_="msg_2")).status == 204


async def test_connections_are_bounded() -> None:
    """One too many is told so and closed; when one goes, there is room."""
    async with ReceiverRig(max_connections=2) as rig:
        idle = [await asyncio.open_connection("127.0.0.1", rig.port) for _ in range(2)]
        await until(lambda: rig.connections == 2)

        answer = await rig.send(b"")
        idle[0][1].close()
        await until(lambda: rig.connections == 1)

        assert (answer.status, answer.fields["retry-after"]) == (503, "1")
        assert (await rig.post()).status == 204
        idle[1][1].close()


async def test_a_thousand_endpoints_share_a_secret() -> None:
    """One refresher, one source; each has its own ids and numbers."""
    names = ("inbox", *(f"inbox-{number}" for number in range(999)))
    async with ReceiverRig(names=names) as rig:
        for name in ("inbox", "inbox-0", "inbox-998"):
            assert (await rig.post(path=f"/webhooks/{name}")).status == 204

        assert rig.source.calls == ["describe", "AWSCURRENT"]
        assert rig.counts["inbox-998"].results == ["delivered"]
        assert rig.counts["inbox-5"].results == []


async def test_a_body_in_many_pieces_arrives_whole() -> None:
    """However the network cut it."""
    async with ReceiverRig() as rig:
        body = b"x" * 20_000
        fields = {**rig.headers(body), "Content-Length": str(len(body))}
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        writer.write(request(fields, b""))
        for offset in range(0, len(body), 10):
            writer.write(body[offset : offset + 10])
            await asyncio.sleep(0)

        assert (await read_answer(reader)).status == 204
        writer.close()
        assert rig.app.seen[0].body == body
