"""
What each header field is for us: names, lists of names, and the small grammars in them.

Rule 1: a name is judged by its canonical form, in which `_` (and any other
    punctuation) is `-`: gateways that hand fields on as CGI or WSGI variables cannot
    tell them apart, so `X_Api_Key` must never pass where `X-Api-Key` would not.
Rule 2: a spelling is judged once and remembered, in a bounded table; a call then
    costs one dict lookup per field.
Rule 3: refuse, do not repair. A field that two parsers could read in two ways is a
    way to smuggle.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

from sidecar.errors import Code, Refused

Field = tuple[bytes, bytes]
"""A name and a value, as the parser gave them."""

TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""RFC 9110, 5.6.2: token = 1*tchar. Used with `fullmatch`: `$` also accepts `name\\n`."""

MAX_FIELDS: Final = 128
"""Fields in one head, as in aiohttp; Apache and Tomcat take 100."""

MAX_LENGTH_DIGITS: Final = 18
"""Digits of a Content-Length: below 2**63, so that no peer can overflow on it."""

REMEMBERED: Final = 1024
"""Spellings of names that one table remembers: bounded, whatever a caller sends."""

KEEP: Final = 0
"""End-to-end: goes on as it came. Must be 0: the hot loops test it first."""
DROP: Final = 1
"""Never goes on: hop-by-hop, a credential or a cookie."""

HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",  # RFC 7540, 3.2.1: part of an h2c upgrade
    }
)
"""RFC 9110, 7.6.1; `Proxy-*` is a prefix and is told apart by `is_proxy`."""

CHUNKED: Final = -1
"""Framing: the body comes in chunks."""
UNTIL_CLOSE: Final = -2
"""Framing: the body of an answer ends with the connection."""

_PUNCTUATION: Final = re.compile(rb"[^0-9a-z]")
_QVALUE: Final = re.compile(rb"[ \t]*;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")

# What the reflection guard can look into.
_INSPECTABLE: Final = frozenset({b"gzip", b"x-gzip", b"deflate", b"identity"})


def canonical(name: bytes) -> bytes:
    """Return a field name as a gateway to CGI would see it: `X_Api_Key` = `x-api-key`."""
    return _PUNCTUATION.sub(b"-", name.lower()).strip(b"-")


def is_proxy(name: bytes) -> bool:
    """Say whether a canonical name is for proxies only, as `Proxy-Authorization`."""
    return name.startswith(b"proxy-")


def parse_length(value: bytes, refusal: Code) -> int:
    """
    Read a Content-Length (RFC 9112, 6.2: 1*DIGIT, no sign, no list).

    Raises:
        Refused: `refusal`; lists such as `5, 5` are refused even if they agree.
    """
    if not value.isdigit():
        value = value.strip(b" \t")
    if not value.isdigit() or len(value) > MAX_LENGTH_DIGITS:
        raise Refused(refusal, "Content-Length is not a plain, sane number.")
    return int(value)


def parse_connection(value: bytes, refusal: Code) -> frozenset[bytes]:
    """
    Read the options of a Connection field, in lower case (RFC 9110, 7.6.1).

    Raises:
        Refused: `refusal`, when an option is not a token.
    """
    options = {part.strip(b" \t").lower() for part in value.split(b",")} - {b""}
    for option in options:
        if not TOKEN.fullmatch(option):
            raise Refused(refusal, "Connection names something that is not a token.")
    return frozenset(options)


def without_nominated(
    fields: Sequence[Field], options: frozenset[bytes], may_go: Callable[[bytes], bool]
) -> list[Field] | None:
    """
    Return the fields without Connection and what it nominates; None if it is nothing.

    Args:
        fields: Names and values, all of them already judged.
        options: What Connection says, see `parse_connection`.
        may_go: Says of a name whether it is end-to-end and may be removed. For a name
            that is handled here (`Content-Length`, `Host`, the credential) nominating
            it changes nothing. (CVE-2025-48865: a client could have the proxy's own
            fields removed.)
    """
    names = {canonical(option) for option in options if may_go(option)}
    if not any(canonical(name) in names for name, _ in fields):
        return None
    gone = names | {b"connection"}
    return [field for field in fields if canonical(field[0]) not in gone]


def inspectable(value: bytes) -> bytes:
    """
    Return an Accept-Encoding that offers only what the reflection guard can read.

    Elements and q-values are kept as they came. `*` becomes `gzip` with its q-value,
    for it would invite `br`; `*;q=0` only forbids, and stays. When nothing is left it
    is `identity`, for no field at all would mean "any coding" (RFC 9110, 12.5.3).
    """
    kept = []
    for part in value.split(b","):
        element = part.strip(b" \t")
        coding = element.partition(b";")[0].rstrip(b" \t").lower()
        weight = element[len(coding) :]
        match = _QVALUE.fullmatch(weight)
        if weight and not match:
            continue
        if coding in _INSPECTABLE:
            kept.append(element)
        elif coding == b"*":
            forbids = match is not None and not match[1].strip(b"0.")
            kept.append(element if forbids else b"gzip" + weight)
    return b", ".join(kept) or b"identity"
