"""The status page in a real browser: it renews itself and fits every screen."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import ClientWebSocketResponse

from tests.support.browser import Tab, browser, eventually, new_tab
from tests.support.page_rig import Served, keep, serving
from tests.support.status_documents import five, healthy, in_state, refused, rotated

CONTRAST = (Path(__file__).parent / "contrast.js").read_text()


OUTSIDE = """
    [...document.querySelectorAll("section *")].filter(node => {
      const card = node.closest("section").getBoundingClientRect();
      const scrolled = node.parentElement.closest(".wide, .away");
      return !scrolled && node.getBoundingClientRect().right > card.right - 1;
    }).map(node => node.outerHTML.slice(0, 80))
"""
"""The elements that pass the inner right edge of their card."""

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


async def test_a_rotation_shows_without_reload(served: Served, tab: Tab) -> None:
    """The key and the events change within the same document."""
    await tab.look_like()
    await tab.go(served.url)
    await keep(tab, "page-light")
    await tab.js("window.same = true")

    rotated(served.document)

    await tab.see("dl", "c0ffee42")
    await tab.see("ol", "Key c0ffee42 replaced 1f0c5a7e")
    await tab.see("ol", "replay with the current key: 17")
    assert await tab.js("window.same") is True
    assert tab.complaints == []


async def test_a_refused_key_shows_at_a_glance(served: Served, tab: Tab) -> None:
    """The headline, the state, the remedy and the 401s of the last minutes show it."""
    await tab.look_like(scheme="dark")
    await tab.go(served.url)
    refused(served.document)

    await tab.see("h1", "Calls are failing")
    await tab.see(".state", "No key works: the service receives the API's own 401")
    await tab.see(".trouble", "create a key and store it in the secret")
    await tab.see(".c401 td:last-child", "400")
    await keep(tab, "page-dark")
    bars = await tab.js("document.querySelector('.c401 path').getAttribute('d')")
    assert bars == "".join(f"M{5 * n} 28v-28h4v28z" for n in range(50, 60))


async def test_it_is_complete_without_scripts(served: Served, tab: Tab) -> None:
    """Every value is in the HTML, and a meta element reloads the page."""
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


@pytest.mark.parametrize("width", [320, 360, 390, 800, 885, 1024, 1280, 1440])
async def test_nothing_leaves_its_card(served: Served, tab: Tab, width: int) -> None:
    """No page scrolls sideways, and no element passes the right edge of its card."""
    served.document = five()
    status = in_state("rejected") | {"last_error": "x" * 300}
    served.document["upstreams"]["n" * 63] = status
    await tab.look_like(width=width)
    await tab.go(served.url)

    assert await tab.js("document.documentElement.scrollWidth") <= width
    assert await tab.js(OUTSIDE) == []


async def test_a_picture_shows_the_page_up_to_its_right_edge(
    served: Served, tab: Tab, tmp_path: Path
) -> None:
    """A page that scrolls is pictured in the full width of the screen."""
    served.document = five()
    await tab.look_like(width=900, height=600)
    await tab.go(served.url)
    await tab.screenshot(tmp_path / "page.png")

    width = int.from_bytes((tmp_path / "page.png").read_bytes()[16:20])
    assert width == 900
    edge = "document.querySelector('main').getBoundingClientRect().right"
    assert await tab.js(edge) == 900 - 16


@pytest.mark.parametrize("width", [800, 885, 1440])
async def test_one_card_fills_the_page(served: Served, tab: Tab, width: int) -> None:
    """With one upstream, the header and the card end at the same edge."""
    del served.document["webhooks"]
    await tab.look_like(width=width)
    await tab.go(served.url)

    edges = await tab.js(
        "['header', 'section', 'footer'].map(name =>"
        " document.querySelector(name).getBoundingClientRect().right)"
    )
    assert len(set(edges)) == 1
    assert await tab.js(OUTSIDE) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_has_enough_contrast(served: Served, tab: Tab, scheme: str) -> None:
    """Every text has a contrast of 4.5 in both colour schemes (WCAG 2.2, 1.4.3)."""
    served.document = five()
    await tab.look_like(scheme=scheme)
    await tab.go(served.url)

    weak = await tab.js(CONTRAST)

    assert weak == []


async def test_a_keyboard_and_a_screen_reader_are_enough(
    served: Served, tab: Tab
) -> None:
    """Landmarks, headings and names exist, and Tab reaches every control."""
    await tab.look_like()
    await tab.go(served.url)
    found = await tab.accessible()

    for wanted in (
        ("heading", "All keys work"),
        ("heading", "flownally"),
        ("region", "flownally"),
        ("table", "Responses of the API in the last hour each row has its own scale"),
        ("rowheader", "401 not accepted"),
        ("list", "Events"),
        ("meter", "Used part of the scheduled life"),
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
    """A reader can stop the updates and continue them (WCAG 2.2, 2.2.2)."""
    await tab.look_like()
    await tab.go(served.url)
    await tab.js("document.getElementById('pause').focus()")
    await tab.press("Enter")
    await tab.see("#pause", "Continue")
    refused(served.document)
    asked = len(tab.requested)
    # Two polls pass without a request.
    await tab.js(
        "new Promise(done => { const real = setTimeout; let rounds = 0;"
        " window.setTimeout = (f, ms) => { if (++rounds > 2) done();"
        " return real(f, ms / 10); }; })"
    )

    assert len(tab.requested) == asked
    assert "All keys work" in await tab.text("h1")
    await tab.press("Enter")
    await tab.see("h1", "Calls are failing")


@pytest.mark.parametrize("fault", ["error", "reset"])
async def test_a_sidecar_that_does_not_answer_is_shown(
    served: Served, tab: Tab, fault: str
) -> None:
    """The page says since when, hides the old headline, and recovers by itself."""
    await tab.look_like()
    await tab.go(served.url)
    served.fault = fault
    await tab.see("#lost", "Not answering since 20")
    await keep(tab, "page-lost")

    assert "The values are as of 2027-01-15T08:00:00Z" in await tab.text("#lost")
    visible = "document.querySelector('h1').checkVisibility()"
    assert await tab.js(visible) is False
    assert await tab.js("document.title") == "Not answering - sidecar"

    served.fault = ""
    await eventually(lambda: tab.js(visible))
    assert await tab.js("document.getElementById('lost').hidden") is True
    assert await tab.js("document.title") == "All keys work - sidecar"


async def test_scroll_position_and_focus_stay(served: Served, tab: Tab) -> None:
    """An update changes the page in place, also inside the list of events."""
    served.document = five()
    event = served.document["upstreams"]["flownally"]["events"][0]
    served.document["upstreams"]["flownally"]["events"] = [
        event | {"detail": f"code_{number}"} for number in range(40)
    ]
    await tab.look_like(height=500)
    await tab.go(served.url)
    await tab.js(
        "window.scrollTo(0, 300); const list = document.querySelector('ol');"
        " list.scrollTop = 50; list.focus({ preventScroll: true })"
    )

    rotated(served.document)

    await tab.see("dl", "c0ffee42")
    assert await tab.js("[window.scrollY, document.querySelector('ol').scrollTop]") == [
        300,
        50,
    ]
    assert await tab.js("document.activeElement.tagName") == "OL"


async def test_other_upstreams_appear_and_disappear(served: Served, tab: Tab) -> None:
    """A process with other settings answers now."""
    await tab.look_like()
    await tab.go(served.url)
    served.document["upstreams"]["billing"] = healthy()["upstreams"]["flownally"]
    await tab.see("main", "billing")

    del served.document["upstreams"]["flownally"]
    del served.document["webhooks"]

    await tab.js(
        "new Promise(done => { const check = () => document.querySelectorAll('section')"
        ".length === 1 ? done() : setTimeout(check, 50); check(); })"
    )
    assert await tab.text("h2") == "billing"


async def test_another_version_is_loaded_whole(served: Served, tab: Tab) -> None:
    """Another style or script needs a reload, since the policy names their hashes."""
    await tab.look_like()
    await tab.go(served.url)
    served.script = "window.newer = true;"

    assert await eventually(lambda: tab.js("window.newer")) is True
