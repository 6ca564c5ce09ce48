"""
Header fields: how names are classified, and the small grammars in their values.

Rule 1: a name is judged by its canonical form, in which `_` and all other punctuation
is `-`. Gateways that pass fields as CGI or WSGI variables cannot distinguish them, so
`X_Api_Key` must never pass where `X-Api-Key` would not.
Rule 2: a spelling is judged once and remembered in a bounded table. A call then costs
one dict lookup per field.
Rule 3: refuse, do not repair. A field that two parsers could read in two ways can be
used for request smuggling.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

from sidecar.errors import Code, Refused

Field = tuple[bytes, bytes]
"""A name and a value, as the parser returned them."""

TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""RFC 9110, 5.6.2: token = 1*tchar. Used with `fullmatch`: `$` also accepts `name\\n`."""

MAX_FIELDS: Final = 128
"""Fields in one head, as in aiohttp; Apache and Tomcat accept 100."""

MAX_LENGTH_DIGITS: Final = 18
"""Digits of a Content-Length: below 2**63, so it overflows in no peer."""

REMEMBERED: Final = 1024
"""Spellings of names that one table remembers."""

KEEP: Final = 0
"""End-to-end: forwarded as received. It must be 0: the hot loops test it first."""
DROP: Final = 1
"""Never forwarded: hop-by-hop, a credential or a cookie."""

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
"""RFC 9110, 7.6.1; `is_proxy` finds the `Proxy-*` fields."""

CHUNKED: Final = -1
"""Framing: the body is chunked."""
UNTIL_CLOSE: Final = -2
"""Framing: the body of a response ends with the connection."""

_PUNCTUATION: Final = re.compile(rb"[^0-9a-z]")
_QVALUE: Final = re.compile(rb"[ \t]*;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")

# Codings that the reflection guard can decode.
_INSPECTABLE: Final = frozenset({b"gzip", b"x-gzip", b"deflate", b"identity"})


def canonical(name: bytes) -> bytes:
    """Return a field name as a CGI gateway sees it: `X_Api_Key` is `x-api-key`."""
    return _PUNCTUATION.sub(b"-", name.lower()).strip(b"-")


def is_proxy(name: bytes) -> bool:
    """Return whether a canonical name is for proxies only, as `Proxy-Authorization`."""
    return name.startswith(b"proxy-")


class FieldTable:
    """
    What is done with a field, by its name.

    Args:
        action_of: Returns the action for a canonical name.
        any_spelling: Actions that hold for aliases too, such as `X_Api_Key`. An alias of
            any other field is dropped, so no parser can take it for that field.
        refusal: Raised for a name that is not a token.
    """

    __slots__ = ("_action_of", "_any_spelling", "_refusal", "actions")

    def __init__(
        self,
        action_of: Callable[[bytes], int],
        refusal: Refused,
        any_spelling: frozenset[int] = frozenset({KEEP}),
    ) -> None:
        self._action_of = action_of
        self._any_spelling = any_spelling
        self._refusal = refusal
        self.actions: dict[bytes, int] = {}
        """Spelling of a name -> action, for the names that were judged."""

    def learn(self, name: bytes) -> int:
        """
        Judge a spelling that is not in `actions`.

        Raises:
            Refused: The name is not a token.
        """
        if not TOKEN.fullmatch(name):
            raise Refused(self._refusal.code, self._refusal.detail)
        action = self.classify(name)
        if len(self.actions) < REMEMBERED:
            self.actions[name] = action
        return action

    def classify(self, name: bytes) -> int:
        """Return the action for a name in this spelling."""
        plain = canonical(name)
        action = self._action_of(plain)
        if plain != name.lower() and action not in self._any_spelling:
            return DROP
        return action


def parse_length(value: bytes, refusal: Code) -> int:
    """
    Return a Content-Length (RFC 9112, 6.2: 1*DIGIT, no sign, no list).

    Raises:
        Refused: With the code `refusal`, also for a list of equal values such as `5, 5`.
    """
    if not value.isdigit():
        value = value.strip(b" \t")
    if not value.isdigit() or len(value) > MAX_LENGTH_DIGITS:
        raise Refused(refusal, "Content-Length is not a plain number")
    return int(value)


def parse_connection(value: bytes, refusal: Code) -> frozenset[bytes]:
    """
    Return the options of a Connection field, in lower case (RFC 9110, 7.6.1).

    Raises:
        Refused: With the code `refusal`: an option is not a token.
    """
    options = {part.strip(b" \t").lower() for part in value.split(b",")} - {b""}
    for option in options:
        if not TOKEN.fullmatch(option):
            raise Refused(refusal, "An option in Connection is not a token")
    return frozenset(options)


def without_nominated(
    fields: Sequence[Field], options: frozenset[bytes], may_go: Callable[[bytes], bool]
) -> list[Field] | None:
    """
    Return the fields without Connection and the fields that it nominates.

    Args:
        fields: Names and values that were judged.
        options: The options of Connection, see `parse_connection`.
        may_go: Returns whether a field of this name is end-to-end and may be removed.
            Nominating another one (`Content-Length`, `Host`, the credential) changes
            nothing (CVE-2025-48865: a client could remove the proxy's own fields).

    Returns:
        None if Connection nominates no field that is there.
    """
    names = {canonical(option) for option in options if may_go(option)}
    if not any(canonical(name) in names for name, _ in fields):
        return None
    gone = names | {b"connection"}
    return [field for field in fields if canonical(field[0]) not in gone]


def inspectable(value: bytes) -> bytes:
    """
    Return an Accept-Encoding that offers only what the reflection guard can decode.

    Elements and q-values are kept as received. `*` becomes `gzip` with its q-value,
    because it would allow `br`; `*;q=0` only forbids, and is kept. If nothing is left,
    the result is `identity`: no field would mean "any coding" (RFC 9110, 12.5.3).
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
