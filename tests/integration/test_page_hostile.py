"""Hostile text in the status page, and what its policy stops."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientWebSocketResponse

from tests.support.browser import Tab, browser, new_tab
from tests.support.page_rig import Served, keep, serving
from tests.support.status_documents import healthy

EVIL = "</script><img src=x onerror=alert(1)>'\"`{{}} ${1}"

pytestmark = pytest.mark.asyncio(loop_scope="module")
"""One browser serves all tests: its start takes longer than most of them."""


@pytest_asyncio.fixture(name="served", loop_scope="module")
async def _served() -> AsyncIterator[Served]:
    """The page on a loopback port."""
    async with serving() as served:
        yield served


@pytest_asyncio.fixture(name="chromium", scope="module", loop_scope="module")
async def _chromium() -> AsyncIterator[ClientWebSocketResponse]:
    """A browser."""
    async with browser() as socket:
        yield socket


@pytest_asyncio.fixture(name="tab", loop_scope="module")
async def _tab(chromium: ClientWebSocketResponse) -> AsyncIterator[Tab]:
    """A tab for one test."""
    async with new_tab(chromium) as tab:
        yield tab


@pytest.mark.parametrize("live", [False, True], ids=["static", "renewed"])
async def test_hostile_text_stays_text(served: Served, tab: Tab, live: bool) -> None:
    """Markup in names, errors and events is shown as text."""
    await tab.look_like()
    evil = hostile()
    if live:
        await tab.go(served.url)
    served.document = evil
    if not live:
        await tab.go(served.url)

    await tab.see("h2", EVIL)
    await tab.see(".trouble", EVIL)
    await tab.see("ol", EVIL)
    await keep(tab, "page-hostile")
    assert await tab.js("document.images.length + document.links.length") == 0
    assert await tab.js("document.scripts.length") == 1
    assert tab.complaints == []
    assert all(url.startswith(served.url) for url in tab.requested)


async def test_the_policy_stops_injected_markup(served: Served, tab: Tab) -> None:
    """Injected markup cannot run, load or send anything."""
    await tab.look_like()
    await tab.go(served.url)

    for attack in (
        "s = document.createElement('script'); s.append('window.owned = 1'); document.body.append(s)",
        "i = document.createElement('img'); i.src = 'http://127.0.0.1:9/x'; document.body.append(i)",
        "document.body.setAttribute('onclick', 'window.owned = 1'); document.body.click()",
        "document.body.setAttribute('style', 'display: none')",
    ):
        await tab.js(f"(() => {{ try {{ {attack} }} catch (e) {{}} }})()")

    assert await tab.js("window.owned") is None
    assert await tab.js("getComputedStyle(document.body).display") == "block"
    assert await tab.js("fetch('http://127.0.0.1:9/').catch(() => 'no')") == "no"
    assert len([c for c in tab.complaints if "Content Security Policy" in c]) >= 4


def hostile() -> dict[str, Any]:
    """Return a document in which every text is markup."""
    document = healthy()
    status = document["upstreams"].pop("flownally")
    status |= {
        "source": EVIL,
        "fingerprint": EVIL,
        "last_error": EVIL,
        "remedy": EVIL,
        "state": EVIL,
        "candidate": EVIL,
    }
    status["events"][0]["detail"] = EVIL
    document["upstreams"][EVIL] = status
    document["webhooks"] = {EVIL: {"delivered": 1}}
    document["job"] = {"name": EVIL, "environment": EVIL, "owner": EVIL}
    document["sidecar"] = {"version": EVIL, "python": EVIL}
    return json.loads(json.dumps(document))  # type: ignore[no-any-return]  # our own
