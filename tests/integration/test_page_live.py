"""The page of a real sidecar process during an emergency rotation."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.support.browser import browser, new_tab
from tests.support.processes import SECRET_ID, UPSTREAM, Settings, merge

if TYPE_CHECKING:
    from sidecar.emulator.api import EmulatedApi
    from sidecar.emulator.aws import AwsClient
    from sidecar.emulator.key_ring import Issued
    from tests.support.processes import SidecarProcess


@pytest.mark.timeout(90)
async def test_an_emergency_shows_without_reload(
    api: "EmulatedApi",
    moto: "AwsClient",
    issued: "Issued",
    settings: Settings,
    sidecar_process: "Callable[..., SidecarProcess]",
) -> None:
    """Key, state, counts and events follow a rotation, a revocation and a new key."""
    quick = {"upstreams": {UPSTREAM: {"credential": {"refresh_seconds": 1}}}}

    def start() -> "SidecarProcess":
        process = sidecar_process(merge(settings, quick))
        process.wait_ready()
        return process

    running = await asyncio.to_thread(start)
    address = await asyncio.to_thread(running.address, "admin")

    async def statuses(*targets: str) -> list[int]:
        answers = [await asyncio.to_thread(running.call, one) for one in targets]
        return [answer.status for answer in answers]

    async with browser() as socket, new_tab(socket) as tab:
        await tab.look_like()
        await tab.go(f"http://{address}/")
        await tab.js("window.same = true")
        assert "All keys work" in await tab.text("h1")
        first = moto.version(SECRET_ID, "AWSCURRENT")[:8]

        second = api.issue()
        version = await asyncio.to_thread(moto.rotate, SECRET_ID, second.key)
        api.revoke(issued.id)
        assert await statuses("/contacts", "/status/403", "/a/../b") == [200, 403, 400]

        await tab.see("dl", version[:8])
        await tab.see("ol", f"Key {version[:8]} replaced {first}")
        await tab.see("ol", "Calls refused with bad_target: 1")
        await tab.see(".c403 td:last-child", "1")

        api.revoke(second.id)
        assert await statuses("/contacts", "/contacts") == [401, 401]
        await tab.see("h1", "Calls are failing")
        await tab.see(".c401 td:last-child", "2")

        await asyncio.to_thread(moto.rotate, SECRET_ID, api.issue().key)
        await tab.see("h1", "All keys work")
        assert await tab.js("window.same") is True
        assert tab.complaints == []
        assert all(url.startswith(f"http://{address}/") for url in tab.requested)
        shown = str(await tab.js("document.documentElement.outerHTML"))
        for key in (issued.key, second.key):
            assert key not in shown
