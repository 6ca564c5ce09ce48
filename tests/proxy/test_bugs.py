"""
A bug of ours, wherever it is, ends one call: with a 500 that says so, or visibly cut.

The log names its type and place; the process, its other calls and its connections go on.
"""

import asyncio
import logging
from typing import Any, Never

import pytest

from sidecar.core.secrecy.key_matcher import KeyMatcher
from sidecar.core.secrecy.masking import Masker
from sidecar.errors import Code
from sidecar.proxy.connect import Connector
from sidecar.proxy.replay_body import ReplayBody
from sidecar.proxy.upstream import UpstreamConnection
from tests.support.proxy_rig import GET, Harness, Peer, ok, post, running, until

SECRET_TEXT = "text of an exception, which may hold a key"


def boom(*_: Any, **__: Any) -> Never:
    """Raise, as a bug would."""
    raise ValueError(SECRET_TEXT)


def bugs(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the log lines about bugs; no line contains the exception's message."""
    assert SECRET_TEXT not in caplog.text
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]


async def check_500(proxy: Harness, request: bytes = GET) -> None:
    """Make a call that triggers the bug."""
    answer = await proxy.call(request)

    assert (answer.status, answer.code) == (500, "internal")
    assert SECRET_TEXT.encode() not in answer.body


async def check_well(proxy: Harness) -> None:
    """Make a call without the bug; the failed call left nothing behind."""
    assert (await proxy.call()).status == 200
    await until(lambda: not proxy.stats.inflight)
    await until(lambda: not proxy.server.pool.counts()["active"])


async def test_in_judging_a_call(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The bug occurs before an exchange exists."""
    async with running() as proxy:
        with monkeypatch.context() as patched:
            patched.setattr(proxy.server.context, "admit", boom)
            await check_500(proxy)
        await check_well(proxy)

        assert len(bugs(caplog)) == 1
        assert proxy.stats.rejections[Code.INTERNAL] == 1


async def test_in_what_follows_a_refusal(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The answer was sent: a bug while the rest is dropped changes nothing."""
    async with running() as proxy:
        client = await proxy.client()
        await client.send(b"GET /a/../b HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await client.answer()).code == "bad_target"
        (connection,) = proxy.server.clients
        with monkeypatch.context() as patched:
            patched.setattr(type(connection), "_drop", boom)
            await client.send(b"more")
            await until(lambda: bugs(caplog), "the bug")
        await check_well(proxy)


async def test_in_taking_a_body(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The call has begun and has no response yet: it gets a 500."""
    async with running() as proxy:
        with monkeypatch.context() as patched:
            patched.setattr(ReplayBody, "add", boom)
            await check_500(proxy, post(b"hello"))
        await check_well(proxy)

        assert len(bugs(caplog)) == 1


@pytest.mark.parametrize("kept", [False, True], ids=["new", "kept"])
async def test_in_sending_a_call(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kept: bool
) -> None:
    """It does not matter whether the connection is new or was idle."""
    async with running() as proxy:
        if kept:
            await check_well(proxy)
        with monkeypatch.context() as patched:
            patched.setattr(UpstreamConnection, "begin", boom)
            await check_500(proxy)
        await check_well(proxy)

        assert len(bugs(caplog)) == 1


async def test_in_reading_an_answer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No byte of the response has gone to the client: it gets a 500."""
    async with running() as proxy:
        with monkeypatch.context() as patched:
            patched.setattr(KeyMatcher, "within", boom)
            await check_500(proxy)
        await check_well(proxy)

        assert len(bugs(caplog)) == 1


async def test_in_relaying_the_rest_of_an_answer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The head has gone to the client: it sees that the response is cut."""
    async with running() as proxy:
        went_on = asyncio.Event()

        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
            await went_on.wait()
            await peer.send(b"something")

        proxy.script = script
        client = await proxy.client()
        await client.send(GET)
        await client.head()
        with monkeypatch.context() as patched:
            patched.setattr(Masker, "feed", boom)
            went_on.set()
            assert await client.rest() == b""
        proxy.script = proxy.always(ok())
        await check_well(proxy)

        assert len([line for line in bugs(caplog) if "internal_error" in line]) == 1


async def test_in_opening_a_connection(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The waiting call gets a 500, and the next call gets another connection."""

    async def broken(*_: Any) -> Never:
        boom()

    async with running() as proxy:
        with monkeypatch.context() as patched:
            patched.setattr(Connector, "open", broken)
            await check_500(proxy)
        await check_well(proxy)

        assert len(bugs(caplog)) == 1


async def test_in_waiting_for_a_key(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The call gets a 500 instead of waiting without end."""

    async def broken(*_: Any) -> Never:
        boom()

    async with running() as proxy:
        key = proxy.keys.current
        with monkeypatch.context() as patched:
            patched.setattr(proxy.keys, "wait", broken)
            proxy.keys.current = None
            await check_500(proxy)
        proxy.keys.current = key
        await check_well(proxy)

        assert len(bugs(caplog)) == 1
