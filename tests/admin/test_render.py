"""The page as text: words for every state, no markup out of data, no secret."""

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
    """What is read on the page."""
    body = re.sub(r"<(style|script).*?</\1>", "", page(document), flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]+>", " ", body))


@pytest.mark.parametrize("state", list(State))
def test_every_state_has_words(state: State) -> None:
    """Nobody has to know our names for states."""
    document = healthy()
    document["upstreams"]["flownally"]["state"] = str(state)

    level, word, sentence = texts.STATES[str(state)]
    assert word in plain(document)
    assert sentence in plain(document)
    assert overall(document) == (level, texts.OVERALL[level])


def test_the_words_are_those_of_the_lifecycle() -> None:
    """No state was added or renamed without its words."""
    assert set(texts.STATES) == {str(state) for state in State}


def test_a_refused_key_is_worse_when_calls_feel_it() -> None:
    """The newest key may be refused while an older one serves: that is no outage."""
    document = refused(healthy())
    assert overall(document)[1] == "Calls are failing"

    document["upstreams"]["flownally"]["state"] = "rejected"

    assert overall(document)[1] == "Something needs a look"
    assert "Newest key refused" in plain(document)


def test_the_worst_upstream_makes_the_headline() -> None:
    """One good key does not hide a bad one."""
    document = healthy()
    document["upstreams"]["other"] = refused(healthy())["upstreams"]["flownally"]

    assert overall(document) == (texts.BAD, "Calls are failing")
    assert overall(document | {"draining": True})[1].startswith("Stopping")


def test_a_rotation_is_told_in_sentences() -> None:
    """Which key came, which one went, and that nobody noticed."""
    text = plain(rotated(healthy()))

    assert "Key c0ffee42 took over from 1f0c5a7e" in text
    assert "401 recovered: 17 x repeated with the current key" in text


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        (("state", "stale", "fresh", 1), "Working, but blind (before: Working)"),
        (("state", "fresh", "", 1), "Started: Working"),
        (("key", "aaaa", "", 1), "Key aaaa came into use"),
        (("rejected", "bbbb", "", 1), "New key bbbb is refused"),
        (("recovered", "rollback", "", 2), "2 x repeated with the previous key"),
        (("refused", "tripwire", "", 1), "1 x tripwire"),
        (("refused", "{count}", "", 7), "7 x {count}"),
        (("news", "to us", "", 1), "news to us"),
    ],
)
def test_events_are_sentences(event: tuple[str, str, str, int], sentence: str) -> None:
    """Also those that this version does not know."""
    assert sentence in texts.event(*event)


@pytest.mark.parametrize("code", list(Code))
def test_a_refusal_names_its_reason(code: Code) -> None:
    """The code is the one of the metric and of the answer."""
    assert code.value in texts.event("refused", code.value, "", 3)


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (None, texts.NEVER),
        (NOW, "now"),
        (NOW + 0.5, "now"),
        (NOW - 59, "59 s ago"),
        (NOW - 150, "2 min ago"),
        (NOW + 300, "in 5 min"),
        (NOW - 5 * 3600, "5 h ago"),
        (NOW + 78 * DAY, "in 78 d"),
    ],
)
def test_moments_are_told_from_now(at: float | None, text: str) -> None:
    """In the largest unit that fits."""
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
    """Never below 0, never above 1."""
    assert used(created, due, NOW) == share


@pytest.mark.parametrize(
    ("count", "most", "height"), [(0, 0, 0), (0, 9, 0), (1, 10_000, 3), (9, 9, 28)]
)
def test_a_single_call_can_be_seen(count: int, most: int, height: int) -> None:
    """One 401 among thousands still has a bar."""
    assert bar(count, most) == height


def test_an_empty_document_is_a_page_too() -> None:
    """Before anything is known, and whatever a newer version leaves out."""
    assert "All keys work" in plain({})
    assert texts.NOTHING in plain({"upstreams": {"x": {}}})


@given(HOSTILE, HOSTILE, HOSTILE)
def test_no_text_becomes_markup(name: str, error: str, detail: str) -> None:
    """The tags and attributes are those of the page with harmless text."""
    document = healthy()
    status = document["upstreams"].pop("flownally")
    harmless = Tags(page(document | {"upstreams": {"x": status | {"last_error": "x"}}}))
    document["upstreams"][name] = status | {
        "last_error": error or "x",
        "fingerprint": error,
        "source": detail,
        "events": [status["events"][0] | {"detail": detail}],
    }
    document["job"]["name"] = name

    hostile = Tags(page(document))

    assert hostile.tags == harmless.tags
    assert hostile.attributes == harmless.attributes


def test_the_page_asks_for_nothing_from_outside() -> None:
    """No address, no import, no inline handler or style attribute."""
    text = page(healthy())

    assert not re.search(r"https?://|@import|url\(|<link|<img", text)
    assert not {"style", "src", "href"} & set(Tags(text).attributes)
    assert not any(name.startswith("on") for name in Tags(text).attributes)


def test_the_policy_is_strict() -> None:
    """Only the two inline blocks by their hash, and our own origin to ask."""
    rules = dict(rule.split(" ", 1) for rule in POLICY.split("; "))

    assert rules["default-src"] == "'none'"
    assert rules["connect-src"] == "'self'"
    assert rules["frame-ancestors"] == "'none'"
    for kind in ("script-src", "style-src"):
        assert re.fullmatch(r"'sha256-[A-Za-z0-9+/]{43}='", rules[kind])
    assert "unsafe" not in POLICY
