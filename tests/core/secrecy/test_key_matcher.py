"""Which encodings of a key are found, and how they are masked."""

import base64
import json
import urllib.parse

import pytest

from sidecar.core.secrecy.key_matcher import MIN_NEEDLE, KeyMatcher
from sidecar.core.secrecy.secret import Secret

KEY = "fln_live_0123456789abcdefXYZ"
OLD = "fln_live_zyxwvutsrqponmlkjihg"
NEW = "fln_live_" + "N3wK3y" * 5
AWKWARD = "a/b+c&d<e>'f\"g\\h=i~j%k"


def needles(*keys: str, prefix: str = "") -> KeyMatcher:
    """Make the matcher of some keys."""
    return KeyMatcher([Secret(key) for key in keys], prefix)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(KEY, id="plain"),
        pytest.param(f'{{"Authorization": "Bearer {KEY}"}}', id="echoed-header"),
        pytest.param(f"x={KEY}{KEY}", id="twice"),
        pytest.param(OLD, id="the-previous-key"),
        pytest.param(base64.b64encode(f"Bearer {KEY}".encode()).decode(), id="base64"),
        pytest.param(base64.b64encode(f"ab{KEY}".encode()).decode(), id="base64-at-2"),
        pytest.param(urllib.parse.quote(AWKWARD, safe=""), id="percent"),
        pytest.param(json.dumps(AWKWARD), id="json"),
        pytest.param(
            "HTTP/1.1 302 Found\r\nLocation: /?key=" + KEY + "\r\nX: y\r\n\r\n",
            id="head",
        ),
    ],
)
def test_a_key_is_overwritten_with_its_own_length(text: str) -> None:
    """No part of it remains, and Content-Length stays right."""
    found = needles(KEY, OLD, AWKWARD)

    masked = found.mask(text.encode())

    assert len(masked) == len(text)
    assert b"*" * MIN_NEEDLE in masked
    assert not found.within(masked)


def test_a_key_with_the_mask_in_it_is_masked_with_another_byte() -> None:
    """Otherwise masked bytes could form a key."""
    found = needles("********a*******a")
    data = b"********a*******a*******a"

    assert found.mask_byte == ord("#")
    assert not found.within(found.mask(data))


@pytest.mark.parametrize("key", ["test", "1234567", ""])
def test_a_short_key_is_not_searched_for(key: str) -> None:
    """Masking `test` everywhere would spoil answers; such a key is no secret."""
    found = needles(key)

    assert found.all == ()
    assert found.mask(b"a test of 1234567") == b"a test of 1234567"


@pytest.mark.parametrize("size", [0, 100_000])
def test_keys_with_the_same_beginning_are_distinguished(size: int) -> None:
    """They are searched for together; their common beginning is no key."""
    found = needles(KEY, OLD, f"{KEY}-longer")
    rest = b"." * size

    assert not found.knows(b"fln_live_ is how keys begin" + rest)
    for key in (KEY, OLD):
        encoded = base64.b64encode(f"Bearer {key}".encode())
        assert found.knows(rest + key.encode())
        assert found.knows(rest + encoded)
        assert not found.knows(rest + key[:-1].encode() + b"." + encoded[:-5])


def test_no_keys_mask_nothing() -> None:
    """Before the first key there is nothing to search for."""
    assert needles().mask(b"anything") == b"anything"
    assert not needles().within(b"anything")


def test_a_matcher_does_not_show_its_keys() -> None:
    """Its `repr` shows no needle."""
    assert KEY not in repr(needles(KEY))
    assert repr(needles(KEY)) == "KeyMatcher(8 encodings)"


def test_the_tripwire_matches_known_keys_only() -> None:
    """A service may hold other keys, but not the injected one."""
    found = needles(KEY, prefix="fln_live_")

    assert found.within(NEW.encode())
    assert not found.knows(NEW.encode())
    assert found.knows(b"x" + KEY.encode())


def test_a_prefix_of_other_characters_is_found_again_after_a_token() -> None:
    """A token may end inside a prefix: the next prefix is found."""
    found = needles(prefix="key:")
    data = b"key:" + b"a" * 20 + b"key:" + b"b" * 20

    assert found.mask(data) == b"key:" + b"*" * 23 + b":" + b"*" * 20


def test_many_prefixes_take_linear_time() -> None:
    """A hostile answer cannot slow the guard: quadratic time would take minutes."""
    found = needles(prefix="fln_live_")

    assert found.mask(b"fln_live_" * 100_000) == b"fln_live_" + b"*" * 899_991


def test_more_needles_than_one_search_takes_are_all_found() -> None:
    """Keys of special characters have many encodings; each of them is found."""
    keys = [f"fl!n#{number}'()*+,-./:;<=>?@[]^_`{{|}}~$&ab" for number in range(3)]
    needles = KeyMatcher([Secret(key) for key in keys], "fln_")
    assert len(needles.all) > 2 * 64

    for needle in needles.all:
        assert needles.knows(b"a" + needle + b"b")
        assert needles.within(b"a" + needle + b"b")
        assert not needles.knows(needle[1:-1])
    assert needles.within(b"fln_" + b"x" * 16)
    assert not needles.within(b"fln_" + b"x" * 15)
