"""The page as text: every state has its text, and no data becomes markup."""

import html
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, strategies as st

from sidecar.admin import texts
from sidecar.admin.page import POLICY, page
from sidecar.admin.render import bar, overall, used
from sidecar.core.keylife.messages import State
from sidecar.errors import Code
from tests.support.status_documents import DAY, NOW, healthy, refused, rotated

HOSTILE = st.text(
    alphabet=st.sampled_from("<>&'\"/\\`{}$ =\n\u2028ab\x00é"), max_size=30
)


class Tags(HTMLParser):
    """Collects the tags and attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]


def plain(document: dict[str, Any]) -> str:
    """Return the visible text of the page."""
    body = re.sub(r"<(style|script).*?</\1>", "", page(document), flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]+>", " ", body))


@pytest.mark.parametrize("state", list(State))
def test_every_state_is_explained(state: State) -> None:
    """The page shows its name, its explanation and its severity."""
    document = healthy()
    document["upstreams"]["flownally"]["state"] = str(state)

    level, word, sentence = texts.STATES[str(state)]
    assert word in plain(document)
    assert sentence in plain(document)
    assert overall(document) == (level, texts.OVERALL[level])


def test_the_states_are_those_of_the_key_life() -> None:
    """No state is added or renamed without its text."""
    assert set(texts.STATES) == {str(state) for state in State}


def test_refused_is_an_outage_and_rejected_is_not() -> None:
    """While `rejected`, an older key serves the calls."""
    document = refused(healthy())
    assert overall(document)[1] == "Calls are failing"
    assert "No key works: the service receives the API's own 401" in plain(document)

    document["upstreams"]["flownally"]["state"] = "rejected"

    assert overall(document)[1] == "Attention needed"
    assert "The newest key is not accepted" in plain(document)


def test_the_worst_upstream_makes_the_headline() -> None:
    """A working key does not hide one that fails."""
    document = healthy()
    document["upstreams"]["other"] = refused(healthy())["upstreams"]["flownally"]

    assert overall(document) == (texts.BAD, "Calls are failing")
    assert overall(document | {"draining": True})[1].startswith("Draining")


def test_a_rotation_is_a_list_of_sentences() -> None:
    """They name the new key, the old key and the 401s that were recovered."""
    text = plain(rotated(healthy()))

    assert "Key c0ffee42 replaced 1f0c5a7e" in text
    assert "401s recovered by a replay with the current key: 17" in text


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        (("state", "stale", "fresh", 1), "State changed from fresh to stale"),
        (("state", "fresh", "", 1), "State at the start: fresh"),
        (("key", "aaaa", "", 1), "Key aaaa came into use"),
        (("rejected", "bbbb", "", 1), "New key bbbb is not accepted"),
        (("recovered", "rollback", "", 2), "replay with the previous key: 2"),
        (("refused", "tripwire", "", 1), "tripwire: 1"),
        (("refused", "{count}", "", 7), "{count}: 7"),
        (("news", "to us", "", 1), "news to us"),
    ],
)
def test_events_are_sentences(event: tuple[str, str, str, int], sentence: str) -> None:
    """An unknown kind is shown as it is."""
    assert sentence in texts.event(*event)


@pytest.mark.parametrize("code", list(Code))
def test_a_refusal_names_its_reason(code: Code) -> None:
    """The code is that of the metric and of `X-Sidecar-Error`."""
    assert code.value in texts.event("refused", code.value, "", 3)


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (None, texts.NO_VALUE),
        (NOW, "now"),
        (NOW + 0.5, "now"),
        (NOW - 59, "59 s ago"),
        (NOW - 150, "2 min ago"),
        (NOW + 300, "in 5 min"),
        (NOW - 5 * 3600, "5 h ago"),
        (NOW + 78 * DAY, "in 78 d"),
    ],
)
def test_moments_are_relative_to_now(at: float | None, text: str) -> None:
    """The unit is the largest that fits."""
    assert texts.moment(at, NOW) == text


@pytest.mark.parametrize(
    ("created", "due", "share"),
    [
        (NOW - 45 * DAY, NOW + 45 * DAY, 0.5),
        (NOW - 100 * DAY, NOW - 10 * DAY, 1.0),
        (NOW + 1, NOW + 2, 0.0),
        (None, NOW + 1, 0.0),
        (None, NOW - 1, 1.0),
        (NOW, NOW, 1.0),
    ],
)
def test_the_age_is_a_share_of_the_schedule(
    created: float | None, due: float, share: float
) -> None:
    """It stays between 0 and 1."""
    assert used(created, due, NOW) == share


def test_the_bars_are_those_of_the_minutes() -> None:
    """Each minute with a response has one bar, scaled to the highest one."""
    document = healthy()
    status = document["upstreams"]["flownally"]
    status["minutes"]["401"] = [0] * 57 + [1, 0, 4]

    text = page(document)

    assert '<path d="M285 28v-7h4v7zM295 28v-28h4v28z"/>' in text


@pytest.mark.parametrize(
    ("count", "most", "height"), [(0, 0, 0), (0, 9, 0), (1, 10_000, 3), (9, 9, 28)]
)
def test_a_single_call_can_be_seen(count: int, most: int, height: int) -> None:
    """One 401 among thousands has a bar of its own."""
    assert bar(count, most) == height


def test_an_empty_document_is_a_page_too() -> None:
    """Missing parts are left out or shown as unknown."""
    assert "All keys work" in plain({})
    assert texts.NO_EVENTS in plain({"upstreams": {"x": {}}})


@given(HOSTILE, HOSTILE, HOSTILE)
def test_no_text_becomes_markup(name: str, error: str, detail: str) -> None:
    """The tags and attributes are those of the page with harmless text."""
    document = healthy()
    status = document["upstreams"].pop("flownally")
    harmless = Tags(page(document | {"upstreams": {"x": status | {"last_error": "x"}}}))
    document["upstreams"][name] = status | {
        "last_error": error or "x",
        "fingerprint": error,
        "candidate": error,
        "source": detail,
        "events": [status["events"][0] | {"detail": detail}],
    }
    document["job"]["name"] = name

    hostile = Tags(page(document))

    assert hostile.tags == harmless.tags
    assert hostile.attributes == harmless.attributes


def test_the_page_asks_for_nothing_from_outside() -> None:
    """It has no address, no import, no inline handler and no style attribute."""
    text = page(healthy())

    assert not re.search(r"https?://|@import|url\(|<link|<img", text)
    assert not {"style", "src", "href"} & set(Tags(text).attributes)
    assert not any(name.startswith("on") for name in Tags(text).attributes)


def test_the_policy_is_strict() -> None:
    """It allows the two inline blocks by hash, and requests to the own origin."""
    rules = dict(rule.split(" ", 1) for rule in POLICY.split("; "))

    assert rules["default-src"] == "'none'"
    assert rules["connect-src"] == "'self'"
    assert rules["frame-ancestors"] == "'none'"
    for kind in ("script-src", "style-src"):
        assert re.fullmatch(r"'sha256-[A-Za-z0-9+/]{43}='", rules[kind])
    assert "unsafe" not in POLICY
