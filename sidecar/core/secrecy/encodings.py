"""
The encodings of a key: what encoders make of it on its way into an answer.

They are: plain; base64 at its three offsets, in both alphabets, whatever stands before
the key (`Bearer `, `user:`); percent-encoded; escaped as JSON; escaped as HTML.
"""

import base64
import html
import itertools
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

# Characters other than letters and digits that an encoder leaves as they are.
_SAFE: Final = (
    "-_.~",  # RFC 3986; PHP, Go, Python's quote_plus
    "-_.~/",  # Python's quote
    "-_.!~*'()",  # encodeURIComponent
    "-_.!~*'()/",  # the same, path by path
    "-_.*",  # HTML forms, Java: these encode ~, too
    ";,/?:@&=+$#-_.!~*'()",  # encodeURI
    "$&+=:@-_.~",  # Go's PathEscape
    "!$%&'()*+,-./:;=@[\\]^_|~",  # a path, WHATWG URL 1.3
)
# Characters that JSON encoders escape for HTML: none, Go, Gson, PHP, .NET, and all.
_HTML_IN_JSON: Final = ("", "<>&", "<>&'=", "<>&'\"", "<>&'\"+`", "<>&'\"=+")
_IN_JSON: Final = {'"': '\\"', "\\": "\\\\"}


def encodings(key: bytes) -> frozenset[bytes]:
    """Return a key of visible ASCII in every encoding that is guarded against."""
    text = key.decode("ascii")
    return frozenset(
        (
            key,
            *base64_cores(key),
            *(each.encode("ascii") for each in _percent_encoded(text)),
            *(each.encode("ascii") for each in _json_escaped(text)),
            *(each.encode("ascii") for each in _html_escaped(text)),
        )
    )


def base64_cores(raw: bytes) -> Iterator[bytes]:
    """
    Yield the part of base64 that depends on these bytes only (RFC 4648, 4 and 5).

    Their offset in the encoded value may be 0, 1 or 2. At each offset the first and last
    characters also depend on the neighbours and are left out: they hold at most 4 bits.
    """
    for offset, skip in ((0, 0), (1, 2), (2, 3)):
        whole = (offset + len(raw)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(bytes(offset) + raw)[skip:whole]


def _percent_encoded(text: str) -> Iterator[str]:
    """Yield the key as URLs hold it (RFC 3986, 2.1), with hex of either case."""
    encoded = {
        # Python's `quote` never encodes ~ (RFC 3986, 2.3).
        quoted if "~" in safe else quoted.replace("~", "%7E")
        for safe in _SAFE
        for quoted in (quote(text, safe=safe),)
    }
    encoded.add("".join(f"%{ord(character):02X}" for character in text))
    for each in encoded:
        yield each
        yield re.sub("%..", lambda match: match[0].lower(), each)


def _json_escaped(text: str) -> Iterator[str]:
    """Yield the key as JSON strings hold it (RFC 8259, 7)."""
    for special, slash, form in itertools.product(
        (*_HTML_IN_JSON, text), ("/", "\\/"), ("\\u{:04x}", "\\u{:04X}")
    ):
        short = _IN_JSON | {"/": slash}
        yield "".join(
            form.format(ord(character))
            if character in special
            else short.get(character, character)
            for character in text
        )


def _html_escaped(text: str) -> Iterator[str]:
    """Yield the key as HTML holds it."""
    escaped = html.escape(text)
    for apostrophe, quotes in itertools.product(
        ("&#x27;", "&#39;", "&apos;"), ("&quot;", "&#34;")
    ):
        each = escaped.replace("&#x27;", apostrophe).replace("&quot;", quotes)
        yield each
        yield each.replace("+", "&#43;")  # Go's html/template
