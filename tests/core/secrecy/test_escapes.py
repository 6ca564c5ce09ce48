"""Escapes are decoded one layer at a time, and every character keeps its offset."""

import json
from collections.abc import Callable
from html import escape
from typing import Final
from urllib.parse import quote

import pytest
from hypothesis import given, strategies as st

from sidecar.core.secrecy.escapes import LAYERS, layers, unescaped


@pytest.mark.parametrize(
    ("worn", "bare"),
    [
        pytest.param("a%41b", "aAb", id="percent"),
        pytest.param(r"a\u0041b", "aAb", id="json"),
        pytest.param(r"a\x41b", "aAb", id="python"),
        pytest.param(r"\"\'\\\/", "\"'\\/", id="quotes"),
        pytest.param(r"\n\r\t", "\n\r\t", id="controls"),
        pytest.param("&#65;&#x41;&#0065;&#X0041;", "AAAA", id="html-numbers"),
        pytest.param("&amp;&lt;&gt;&quot;&apos;", "&<>\"'", id="html-names"),
        pytest.param("%4 &#; &no; \\q %zz", "%4 &#; &no; \\q %zz", id="no-escapes"),
    ],
)
def test_one_layer(worn: str, bare: str) -> None:
    """RFC 3986, 2.1; RFC 8259, 7; repr(); the entities that HTML always escapes."""
    assert unescaped(worn)[0] == bare


PUT_ON: Final[dict[str, Callable[[str], str]]] = {
    "p": quote,
    "j": lambda one: json.dumps(one)[1:-1],
    "h": escape,
}


@given(text=st.text(), wear=st.lists(st.sampled_from("pjh"), max_size=LAYERS))
def test_every_layer_is_decoded(text: str, wear: list[str]) -> None:
    """This holds for any order of escapes, up to `LAYERS`."""
    worn = ascii(text)[1:-1]  # ASCII, so that quoting is exact
    bare = worn
    for one in wear:
        worn = PUT_ON[one](worn)

    assert bare in [layer for layer, _ in layers(worn)]


@given(text=st.text("ab%41\\u0&#;x", max_size=30))
def test_every_character_keeps_its_offset(text: str) -> None:
    """Offsets rise to the end, and a character without an escape is itself."""
    for layer, origin in layers(text):
        if origin is None:
            assert layer == text
            continue
        assert len(origin) == len(layer) + 1
        assert origin == sorted(origin)
        assert origin[-1] == len(text)
        assert origin[0] == 0 or not layer
