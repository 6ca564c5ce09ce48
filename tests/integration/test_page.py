"""The status page in a real browser: live, readable everywhere, and hard to fool."""

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientWebSocketResponse, web

from sidecar.admin.page import StatusPage
from tests.admin.documents import burned, healthy, rotated
from tests.integration.browser import Tab, browser, new_tab

EVIL = "</script><img src=x onerror=alert(1)>'\"`{{}} ${1}"


class Served:
    """The page with a document that a test can change."""

    def __init__(self) -> None:
        self.document = healthy()
        self.url = ""
        self.up = True

    async def status(self, _: web.Request) -> web.Response:
        """Answer as `/status` does, or not."""
        if not self.up:
            raise web.HTTPServiceUnavailable
        return web.json_response(self.document)


pytestmark = pytest.mark.asyncio(loop_scope="module")
"""One browser for all of them: to start it takes longer than most of the tests."""


@pytest_asyncio.fixture(name="served", loop_scope="module")
async def _served() -> AsyncIterator[Served]:
    """The page on a port of loopback."""
    served = Served()
    app = web.Application()
    app.router.add_get("/", StatusPage(lambda: served.document).handle)
    app.router.add_get("/status", served.status)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    served.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    yield served
    await runner.cleanup()


@pytest_asyncio.fixture(name="chromium", scope="module", loop_scope="module")
async def _chromium() -> AsyncIterator[ClientWebSocketResponse]:
    """A browser."""
    async with browser() as socket:
        yield socket


@pytest_asyncio.fixture(name="tab", loop_scope="module")
async def _tab(chromium: ClientWebSocketResponse) -> AsyncIterator[Tab]:
    """A page of this test alone."""
    async with new_tab(chromium) as tab:
        yield tab


async def keep(tab: Tab, name: str) -> None:
    """Save a picture where a developer asked for one."""
    folder = os.environ.get("SIDECAR_SCREENSHOTS")
    if folder:
        await tab.screenshot(Path(folder) / f"{name}.png")


async def test_a_rotation_shows_without_reload(served: Served, tab: Tab) -> None:
    """The key changes, the events come, the page stays the same page."""
    await tab.look_like()
    await tab.go(served.url)
    await keep(tab, "page-light")
    await tab.js("window.same = true")

    rotated(served.document)

    await tab.see("dl", "c0ffee42")
    await tab.see("ol", "Key c0ffee42 took over from 1f0c5a7e")
    await tab.see("ol", "17 x repeated with the current key")
    assert await tab.js("window.same") is True
    assert tab.complaints == []


async def test_a_burned_key_shows_at_a_glance(served: Served, tab: Tab) -> None:
    """The headline, the state in words, the remedy and the 401s of the last minutes."""
    await tab.look_like(scheme="dark")
    await tab.go(served.url)
    burned(served.document)

    await tab.see("h1", "Calls are failing")
    await tab.see(".state", "Key refused")
    await tab.see(".trouble", "create a key and store it in the secret")
    await tab.see(".c401 td:last-child", "400")
    await keep(tab, "page-dark")
    heights = await tab.js(
        "[...document.querySelectorAll('.c401 rect')].map(r => r.getAttribute('height'))"
    )
    assert heights == ["0"] * 50 + ["28"] * 10


async def test_it_is_whole_without_scripts(served: Served, tab: Tab) -> None:
    """Every value is in the page itself, and it renews itself the old way."""
    await tab.without_scripts()
    await tab.look_like(width=390, height=844)
    await tab.go(served.url)
    await keep(tab, "page-phone")
    text = await tab.text("body")

    for said in ("All keys work", "1f0c5a7e", "in 78 d", "12 d ago", "bad_target"):
        assert said in text, said
    assert "Pause" not in text
    page = await tab.js("document.head.innerHTML")
    assert '<meta http-equiv="refresh" content="15">' in page


@pytest.mark.parametrize("width", [320, 390, 1280])
async def test_it_fits_any_screen(served: Served, tab: Tab, width: int) -> None:
    """Nothing is wider than the screen, however long a name is."""
    status = served.document["upstreams"].pop("flownally")
    served.document["upstreams"]["n" * 63] = status
    status["last_error"] = "x" * 300
    await tab.look_like(width=width)
    await tab.go(served.url)

    assert await tab.js("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_stands_out_from_its_ground(
    served: Served, tab: Tab, scheme: str
) -> None:
    """WCAG 2.2, 1.4.3: a contrast of 4.5 for every text, in both colour schemes."""
    burned(served.document)
    await tab.look_like(scheme=scheme)
    await tab.go(served.url)

    weak = await tab.js(CONTRAST)

    assert weak == []


async def test_a_keyboard_and_a_screen_reader_are_enough(
    served: Served, tab: Tab
) -> None:
    """Landmarks, headings and names are there; Tab reaches what can be used."""
    await tab.look_like()
    await tab.go(served.url)
    found = await tab.accessible()

    for wanted in (
        ("heading", "All keys work"),
        ("heading", "flownally"),
        ("region", "flownally"),
        ("table", "Answers of the API, last hour, each on its own scale"),
        ("rowheader", "401 not proven"),
        ("list", "What happened"),
        ("meter", "Age against the schedule"),
        ("button", "Pause"),
    ):
        assert wanted in found, wanted
    assert "main" in {role for role, _ in found}
    reached = set()
    for _ in range(6):
        await tab.press("Tab")
        reached.add(await tab.js("document.activeElement.id"))
    assert "pause" in reached


async def test_it_can_be_paused(served: Served, tab: Tab) -> None:
    """WCAG 2.2, 2.2.2: what moves by itself can be stopped, and goes on when asked."""
    await tab.look_like()
    await tab.go(served.url)
    await tab.js("document.getElementById('pause').focus()")
    await tab.press("Enter")
    await tab.see("#pause", "Go on")
    burned(served.document)
    asked = len(tab.requested)
    # Two of its rounds pass: it looks at nothing in them.
    await tab.js(
        "new Promise(done => { const real = setTimeout; let rounds = 0;"
        " window.setTimeout = (f, ms) => { if (++rounds > 2) done();"
        " return real(f, ms / 10); }; })"
    )

    assert len(tab.requested) == asked
    assert "All keys work" in await tab.text("h1")
    await tab.press("Enter")
    await tab.see("h1", "Calls are failing")


async def test_a_sidecar_that_is_gone_is_said_to_be_gone(
    served: Served, tab: Tab
) -> None:
    """Old values are never passed off as new ones."""
    await tab.look_like()
    await tab.go(served.url)
    served.up = False
    await tab.see("#lost", "has not answered this page")
    served.up = True

    await tab.js(
        "new Promise(done => { const look = () => document.getElementById('lost').hidden"
        " ? done() : setTimeout(look, 50); look(); })"
    )


async def test_other_upstreams_make_it_load_anew(served: Served, tab: Tab) -> None:
    """A process with other settings answers now: the page is drawn for it."""
    await tab.look_like()
    await tab.go(served.url)
    served.document["upstreams"]["billing"] = healthy()["upstreams"]["flownally"]

    await tab.see("main", "billing")


@pytest.mark.parametrize("live", [False, True], ids=["static", "renewed"])
async def test_hostile_text_stays_text(served: Served, tab: Tab, live: bool) -> None:
    """Names, errors and events may hold markup: it is shown, never obeyed."""
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
    assert await tab.js("document.scripts.length") == 2
    assert tab.complaints == []
    assert all(url.startswith(served.url) for url in tab.requested)


async def test_the_policy_stops_what_might_slip_through(
    served: Served, tab: Tab
) -> None:
    """Even markup that got in could not run, load or send anything."""
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
    """A document in which every text tries to be markup."""
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


CONTRAST = r"""
(() => {
  const parse = (c) => c.match(/[\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const colour = parse(getComputedStyle(node).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const weak = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !node.checkVisibility() || node.tagName === "SCRIPT") continue;
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(ground(node))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) weak.push(`${node.tagName} ${node.className} ${ratio.toFixed(2)}`);
  }
  return weak;
})()
"""
