"""The status page in a real browser: live, readable everywhere, and hard to fool."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import ClientWebSocketResponse

from tests.support.browser import Tab, browser, new_tab
from tests.support.page_rig import Served, keep, serving
from tests.support.status_documents import healthy, refused, rotated

CONTRAST = (Path(__file__).parent / "contrast.js").read_text()


pytestmark = pytest.mark.asyncio(loop_scope="module")
"""One browser for all of them: to start it takes longer than most of the tests."""


@pytest_asyncio.fixture(name="served", loop_scope="module")
async def _served() -> AsyncIterator[Served]:
    """The page on a port of loopback."""
    async with serving() as served:
        yield served


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


async def test_a_refused_key_shows_at_a_glance(served: Served, tab: Tab) -> None:
    """The headline, the state in words, the remedy and the 401s of the last minutes."""
    await tab.look_like(scheme="dark")
    await tab.go(served.url)
    refused(served.document)

    await tab.see("h1", "Calls are failing")
    await tab.see(".state", "No key works")
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
    refused(served.document)
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
    refused(served.document)
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
