"""The encodings of a key are those that real encoders make."""

import base64
import html
import json
import urllib.parse

import pytest
from hypothesis import given, strategies as st

from sidecar.core.secrecy.encodings import encodings

KEY = "fln_live_a/b+c&d<e>'f\"g\\h=i~j%k"
visible = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
keys = st.text(visible, min_size=8, max_size=40)


@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param(KEY, id="plain"),
        pytest.param(urllib.parse.quote(KEY, safe=""), id="percent-all-reserved"),
        pytest.param(urllib.parse.quote(KEY), id="percent-path"),
        pytest.param(urllib.parse.quote_plus(KEY), id="percent-form"),
        pytest.param(
            "fln_live_a%2fb%2bc%26d%3ce%3e%27f%22g%5ch%3di~j%25k",
            id="percent-lower-hex",
        ),
        pytest.param(
            "fln_live_a%2Fb%2Bc%26d%3Ce%3E'f%22g%5Ch%3Di~j%25k", id="encodeURIComponent"
        ),
        pytest.param(
            "fln_live_a%2Fb%2Bc%26d%3Ce%3E%27f%22g%5Ch%3Di%7Ej%25k", id="percent-java"
        ),
        pytest.param("".join(f"%{ord(c):02x}" for c in KEY), id="percent-everything"),
        pytest.param(json.dumps(KEY)[1:-1], id="json-python"),
        pytest.param(json.dumps(KEY)[1:-1].replace("/", "\\/"), id="json-php"),
        pytest.param(
            "fln_live_a/b+c\\u0026d\\u003ce\\u003e'f\\\"g\\\\h=i~j%k", id="json-go"
        ),
        pytest.param(
            'fln_live_a/b+c\\u0026d\\u003ce\\u003e\\u0027f\\"g\\\\h\\u003di~j%k',
            id="json-gson",
        ),
        pytest.param(
            "fln_live_a\\/b+c\\u0026d\\u003Ce\\u003E\\u0027f\\u0022g\\\\h=i~j%k",
            id="json-php-hex",
        ),
        pytest.param(
            "fln_live_a/b\\u002Bc\\u0026d\\u003Ce\\u003E\\u0027f\\u0022g\\\\h=i~j%k",
            id="json-dotnet",
        ),
        pytest.param("".join(f"\\u{ord(c):04x}" for c in KEY), id="json-everything"),
        pytest.param(html.escape(KEY), id="html"),
        pytest.param(
            "fln_live_a/b&#43;c&amp;d&lt;e&gt;&#39;f&#34;g\\h=i~j%k",
            id="html-go-template",
        ),
    ],
)
def test_what_encoders_make_of_a_key_is_known(encoded: str) -> None:
    """The output of each encoder is one of the encodings."""
    assert encoded.encode() in encodings(KEY.encode())


@given(keys, st.binary(max_size=9), st.binary(max_size=9))
def test_base64_of_anything_around_a_key_holds_a_encoding(
    key: str, before: bytes, after: bytes
) -> None:
    """The key may stand anywhere in the encoded bytes, in both alphabets."""
    known = encodings(key.encode())
    raw = before + key.encode() + after

    assert any(one in base64.b64encode(raw) for one in known)
    assert any(one in base64.urlsafe_b64encode(raw) for one in known)


@given(keys)
def test_base64_of_a_header_value_holds_a_encoding(key: str) -> None:
    """`Bearer <key>` and Basic credentials, as an API may echo them."""
    known = encodings(key.encode())

    for text in (f"Bearer {key}", f"user:{key}", f"{key}:"):
        assert any(one in base64.b64encode(text.encode()) for one in known)


@given(keys)
def test_a_base64_encoding_misses_no_whole_byte_but_the_ends(key: str) -> None:
    """The characters beside a masked encoding reveal at most a part of two bytes."""
    raw = key.encode()
    for offset in range(3):
        encoded = base64.b64encode(b"?" * offset + raw)
        longest = max(
            (one for one in encodings(raw) if one in encoded), key=len, default=b""
        )

        assert len(longest) * 6 >= len(raw) * 8 - 2 * 8


@given(keys)
def test_every_key_has_encodings_in_visible_ascii(key: str) -> None:
    """Every key has encodings, and the key itself is one of them."""
    known = encodings(key.encode())

    assert key.encode() in known
    assert all(one.isascii() and one.decode().isprintable() for one in known)


def test_a_usual_key_has_few_encodings() -> None:
    """Most encoders do not change such a key. The search costs more with every encoding."""
    assert len(encodings(b"fln_live_0123456789abcdefABCDEF")) == 8
