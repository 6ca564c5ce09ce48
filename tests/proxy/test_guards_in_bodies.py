"""The key in the wrong place: in a response, or in a request."""

import asyncio
import gzip
import zlib
from typing import Final

import pytest

from sidecar.core.keylife.messages import Replay
from sidecar.errors import Code
from sidecar.settings.tables import GuardSettings, LimitSettings
from tests.support.proxy_rig import (
    GET,
    KEY,
    OTHER_KEY,
    Answer,
    Peer,
    credential,
    ok,
    post,
    running,
    unauthorized,
    until,
)

RAW: Final = KEY.encode()
STARS: Final = b"*" * len(RAW)
HEAD: Final = b"HTTP/1.1 200 OK\r\n"
CHUNKED: Final = b"Transfer-Encoding: chunked\r\n\r\n"
LARGE: Final = 40_000


def coded(coding: bytes, body: bytes, *, chunked: bool = False) -> bytes:
    """Return an answer with a compressed body."""
    head = b"%bContent-Encoding: %b\r\n" % (HEAD, coding)
    if chunked:
        return b"%b%b%x\r\n%b\r\n0\r\n\r\n" % (head, CHUNKED, len(body), body)
    return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)


@pytest.mark.parametrize(
    ("raw", "hits"),
    [
        pytest.param(ok(b"a" + RAW + b"b"), 1, id="body"),
        pytest.param(ok(b"{}", b"X-Key: " + RAW + b"\r\n"), 1, id="head"),
        pytest.param(ok(RAW * 2, b"X-Key: " + RAW + b"\r\n"), 3, id="both"),
        pytest.param(HEAD + CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(RAW), RAW), 1, id="chunk"),
        pytest.param(HEAD + CHUNKED + b"5\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (RAW[:5], len(RAW) - 5, RAW[5:]), 1, id="two-chunks"),
        pytest.param(HEAD + b"\r\n" + RAW, 1, id="until-close"),
    ],
)  # fmt: skip
async def test_a_key_in_an_answer_is_overwritten(raw: bytes, hits: int) -> None:
    """Each key is masked in the same length and counted, whatever frames the response."""
    async with running() as proxy:

        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.send(raw)
            peer.close()

        proxy.script = script
        answer = await proxy.call()

        assert RAW not in answer.head + answer.body
        assert STARS in answer.head + answer.body
        assert proxy.stats.redactions == hits


async def test_a_key_across_two_pieces_is_overwritten() -> None:
    """The beginning of a key is held back until the rest shows what it is."""
    async with running() as proxy:
        went_on = asyncio.Event()

        async def script(peer: Peer) -> None:
            await peer.request()
            size = LARGE + len(RAW)
            await peer.send(b"%bContent-Length: %d\r\n\r\n" % (HEAD, size))
            await peer.send(b"x" * LARGE + RAW[:9])
            await went_on.wait()
            await peer.send(RAW[9:])

        proxy.script = script
        client = await proxy.client()
        await client.send(GET)
        head = await client.head()
        assert await client.exactly(LARGE) == b"x" * LARGE
        went_on.set()

        assert await client.exactly(len(RAW)) == STARS
        assert b"Content-Length: %d\r\n" % (LARGE + len(RAW)) in head
        assert proxy.stats.redactions == 1


@pytest.mark.parametrize("coding", [b"gzip", b"deflate"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
@pytest.mark.parametrize("held", [False, True], ids=["clean", "with-key"])
async def test_a_compressed_answer_is_looked_into(
    coding: bytes, chunked: bool, held: bool
) -> None:
    """A compressed response passes byte for byte; with a key in it, no byte passes."""
    plain = b'{"a":"%b"}' % (RAW if held else b"b")
    body = gzip.compress(plain, mtime=0) if coding == b"gzip" else zlib.compress(plain)
    async with running() as proxy:
        proxy.script = proxy.always(coded(coding, body, chunked=chunked), ok())
        answer = await proxy.call()

        if held:
            assert (answer.status, answer.code) == (502, "reflection_blocked")
            assert proxy.stats.rejections[Code.REFLECTION_BLOCKED] == 1
        else:
            assert (answer.status, answer.body) == (200, body)
            assert answer.fields[b"content-encoding"] == [coding]
        assert (await proxy.call()).status == 200


async def test_a_key_late_in_a_compressed_answer_cuts_it() -> None:
    """The head and a clean part were sent, so the rest can only be cut."""
    plain = b"".join(b"%08x" % (n * 2654435761 % 2**32) for n in range(LARGE // 8))
    body = gzip.compress(plain + RAW)
    async with running() as proxy:
        went_on = asyncio.Event()

        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.send(coded(b"gzip", body)[: -len(body) // 2])
            await went_on.wait()
            await peer.send(body[-len(body) // 2 :])

        proxy.script = script
        client = await proxy.client()
        await client.send(GET)
        assert b"200 OK" in await client.head()
        went_on.set()
        rest = await client.rest()

        assert len(rest) < len(body)
        assert proxy.stats.rejections[Code.REFLECTION_BLOCKED] == 1


async def test_a_head_and_a_304_need_no_look() -> None:
    """A response to HEAD may have a coding, but has no body."""
    async with running() as proxy:
        proxy.script = proxy.always(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 9\r\n\r\n"
        )
        answer = await proxy.call(GET.replace(b"GET", b"HEAD"), "HEAD")

        assert answer.status == 200
        assert answer.fields[b"content-encoding"] == [b"br"]


async def test_without_the_guard_an_answer_leaves_as_it_came() -> None:
    """This holds for a whole, a chunked and an undecodable response."""
    async with running(guards=GuardSettings(reflection="off")) as proxy:
        chunks = HEAD + CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(RAW), RAW)
        proxy.script = proxy.always(ok(RAW), chunks, coded(b"br", b"\x0b\x02\x80ok"))
        whole, chunked, other = [await proxy.call() for _ in range(3)]

        assert whole.body == chunked.body == RAW
        assert other.body == b"\x0b\x02\x80ok"
        assert proxy.stats.redactions == 0


async def test_an_empty_chunked_answer_is_one() -> None:
    """An empty chunked body has only the last chunk."""
    async with running() as proxy:
        proxy.script = proxy.always(HEAD + CHUNKED + b"0\r\n\r\n")
        answer = await proxy.call()

        assert (answer.status, answer.body) == (200, b"")
        assert answer.fields[b"transfer-encoding"] == [b"chunked"]


async def test_a_replayed_answer_is_looked_into_too() -> None:
    """A response with Location takes the slow path, and its key is masked too."""
    async with running() as proxy:
        proxy.keys.verdict = Replay(credential(OTHER_KEY, 2), "replay")
        proxy.script = proxy.always(unauthorized(), ok(RAW))
        answer = await proxy.call()

        assert (answer.status, answer.body) == (200, STARS)
        assert proxy.stats.recovered["replay"] == 1


async def sent_in_pieces(body: bytes, guards: GuardSettings) -> tuple[Answer, int]:
    """Send a body in two pieces; return the answer and the tripwire's count."""
    async with running(guards=guards) as proxy:
        half = len(body) // 2
        client = await proxy.client()
        await client.send(post(body)[:-half])
        await until(lambda: proxy.stats.inflight)
        await client.send(body[-half:])
        answer = await client.answer()
        return answer, proxy.stats.rejections[Code.TRIPWIRE]


async def test_a_key_in_a_body_is_refused_or_told() -> None:
    """A key that is split over two pieces is found; with `warn` the call passes."""
    body = b"x" * 50 + RAW + b"x" * 50
    blocked, blocked_count = await sent_in_pieces(body, GuardSettings())
    warned, warned_count = await sent_in_pieces(body, GuardSettings(tripwire="warn"))
    off, off_count = await sent_in_pieces(body, GuardSettings(tripwire="off"))

    assert (blocked.status, blocked.code, blocked_count) == (400, "tripwire", 1)
    assert (warned.status, warned_count) == (200, 1)
    assert (off.status, off_count) == (200, 0)


async def test_a_body_without_a_key_is_looked_through_whole() -> None:
    """The whole body is searched: every piece, beyond the replay limit, and chunks."""
    async with running(limits=LimitSettings(replay_body_bytes=100)) as proxy:
        client = await proxy.client()
        await client.send(
            b"PUT /contacts HTTP/1.1\r\nHost: localhost\r\n"
            + CHUNKED
            + b"4\r\nabcd\r\n"
        )
        api = await proxy.connection(0)
        assert api is not None
        await client.send(b"c8\r\n%b\r\n" % (b"y" * 200))
        await client.send(b"0\r\n\r\n")

        assert (await client.answer()).status == 200
        assert proxy.requests[0].body == b"abcd" + b"y" * 200
