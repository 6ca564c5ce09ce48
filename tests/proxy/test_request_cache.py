"""The cache of requests: the same result as without it, and bounded."""

import pytest

from sidecar.core.http import line_cache
from sidecar.core.secrecy.key_matcher import KeyMatcher
from sidecar.core.secrecy.secret import Secret
from sidecar.errors import Code
from sidecar.settings.tables import GuardSettings
from tests.support.proxy_rig import GET, KEY, OTHER_KEY, ok, running

WITH_OTHER_KEY = (
    b"GET /contacts HTTP/1.1\r\nHost: localhost\r\nX-A: %b\r\n\r\n" % OTHER_KEY.encode()
)


async def test_the_same_call_is_the_same_again() -> None:
    """The tenth request reaches the API with the same head as the first."""
    async with running() as proxy:
        client = await proxy.client()
        for _ in range(10):
            await client.send(GET)
            await client.answer()

        assert len({request.head for request in proxy.requests}) == 1
        assert len(proxy.server.context.known) == 1


async def test_a_known_head_is_searched_again_for_a_new_key() -> None:
    """When a new key is known, remembered heads are searched for it."""
    async with running() as proxy:
        first = await proxy.call(WITH_OTHER_KEY)
        again = await proxy.call(WITH_OTHER_KEY)
        proxy.server.learn(KeyMatcher([Secret(KEY), Secret(OTHER_KEY)]))
        tripped = await proxy.call(WITH_OTHER_KEY)

        assert (first.status, again.status) == (200, 200)
        assert tripped.code == "tripwire"


async def test_a_head_with_a_key_is_never_known() -> None:
    """With `warn` the call passes, is counted each time, and is not remembered."""
    async with running(
        guards=GuardSettings(tripwire="warn"), known=(OTHER_KEY,)
    ) as proxy:
        await proxy.call(WITH_OTHER_KEY)
        await proxy.call(WITH_OTHER_KEY)

        assert proxy.stats.rejections[Code.TRIPWIRE] == 2
        assert len(proxy.server.context.known) == 0


async def test_a_refused_head_is_refused_again() -> None:
    """Only admitted requests are remembered."""
    raw = b"GET /service-accounts/a HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with running() as proxy:
        client = await proxy.client()
        codes = []
        for _ in range(2):
            await client.send(raw)
            codes.append((await client.answer()).code)

        assert codes == ["operation_denied", "operation_denied"]
        assert len(proxy.server.context.known) == 0


async def test_the_closing_of_a_known_call_is_known() -> None:
    """`Connection: close` also holds for a remembered request."""
    raw = b"GET /contacts HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    async with running() as proxy:
        for _ in range(2):
            client = await proxy.client()
            await client.send(raw)
            answer = await client.answer()

            assert answer.fields[b"connection"] == [b"close"]
            assert await client.ended()


async def test_a_known_call_is_refused_while_draining() -> None:
    """While draining, remembered requests are refused too."""
    async with running() as proxy:
        client = await proxy.client()
        await client.send(GET)
        await client.answer()
        proxy.server.context.draining = True
        await client.send(GET)
        answer = await client.answer()

        assert answer.code == "draining"


async def test_what_is_known_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache stays bounded for any number of targets and fields."""
    monkeypatch.setattr(line_cache, "MAX_REQUESTS", 8)
    async with running() as proxy:
        proxy.script = proxy.always(ok())
        client = await proxy.client()
        for number in range(30):
            await client.send(
                b"GET /contacts/%d HTTP/1.1\r\nHost: localhost\r\nX-Id: %d\r\n\r\n"
                % (number, number)
            )
            await client.answer()
            assert 0 < len(proxy.server.context.known) <= 8
        long = b"GET /a HTTP/1.1\r\nHost: localhost\r\nX: %b\r\n\r\n" % (b"x" * 2000)
        await client.send(long)
        await client.answer()
        known = proxy.server.context.known

        assert 0 < len(known._fields) <= 8
        assert known.find(long) is None
