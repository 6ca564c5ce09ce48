"""Calls that come while there is no key: how long they wait, and their answer."""

import asyncio
from typing import cast

import pytest

from sidecar.core.secrecy.secret import Credential
from sidecar.credential.manager import CredentialManager
from sidecar.errors import Code
from sidecar.proxy.exchange import KEY_SECONDS
from tests.support.proxy_rig import GET, FakeKeys, Harness, credential, post, running


class LateKeys(FakeKeys):
    """A credential manager without a key; it records how long calls wait."""

    def __init__(self, unavailable_code: Code = Code.CREDENTIAL_UNAVAILABLE) -> None:
        super().__init__()
        self.current = None
        self.unavailable_code = unavailable_code
        self.asked = asyncio.Event()
        self.waits: list[float] = []
        self.found: asyncio.Future[Credential | None] = asyncio.Future()

    async def wait(self, seconds: float) -> Credential | None:
        """Wait until the test sets the result."""
        self.waits.append(seconds)
        self.asked.set()
        return await self.found


def use(proxy: Harness, keys: LateKeys) -> LateKeys:
    """Let the proxy take its key from here."""
    proxy.server.context.keys = cast("CredentialManager", keys)
    return keys


async def test_a_call_waits_for_the_first_key_with_its_body_held() -> None:
    """The request is sent with its body as soon as there is a key."""
    async with running() as proxy:
        keys = use(proxy, LateKeys())
        client = await proxy.client()
        await client.send(post(b"held"))
        await keys.asked.wait()
        assert proxy.connections == []
        keys.found.set_result(credential())
        answer = await client.answer()

        assert answer.status == 200
        assert proxy.requests[0].body == b"held"
        assert keys.waits == [KEY_SECONDS]


@pytest.mark.parametrize(
    ("unavailable_code", "seconds"),
    [(Code.CREDENTIAL_UNAVAILABLE, KEY_SECONDS), (Code.CREDENTIAL_EXPIRED, 0)],
)
async def test_an_expired_key_is_not_waited_for(
    unavailable_code: Code, seconds: float
) -> None:
    """A first key arrives within seconds; a key whose source has been away does not."""
    async with running() as proxy:
        keys = use(proxy, LateKeys(unavailable_code))
        keys.found.set_result(None)
        answer = await proxy.call()

        assert (answer.status, answer.code) == (503, unavailable_code)
        assert b"retry-after" in answer.fields
        assert keys.waits == [seconds]
        assert proxy.connections == []


async def test_a_service_that_leaves_does_not_wait() -> None:
    """A key that arrives after the client has disconnected causes no request."""
    async with running() as proxy:
        keys = use(proxy, LateKeys())
        client = await proxy.client()
        await client.send(GET)
        await keys.asked.wait()
        client.close()
        while proxy.server.clients:  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.005)
        keys.found.set_result(credential())

        assert (await proxy.call()).status == 200
        assert len(proxy.requests) == 1
