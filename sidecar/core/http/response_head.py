"""
The heads of answers: what goes back, what stays here, how long the body is.

Rule 1: an answer that breaks the grammar or frames its body twice is an error of the
    API's, `upstream_protocol`, and nothing of it goes back (RFC 9112, 6.3).
Rule 2: fields that go back keep their bytes (obs-text too) and their order.
Rule 3: cookies and proofs of authentication are the sidecar's business, not the
    service's: they never go back. `WWW-Authenticate` does: it explains a 401.

As in `headers.py` the loop is inline, and llhttp holds the line structure.
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple, Never

from sidecar.core.http.fields import (
    CHUNKED,
    DROP,
    HOP_BY_HOP,
    KEEP,
    MAX_FIELDS,
    REMEMBERED,
    TOKEN,
    UNTIL_CLOSE,
    Field,
    canonical,
    is_proxy,
    parse_connection,
    parse_length,
    without_nominated,
)
from sidecar.errors import Code, Refused

PERSISTENCE: Final = 2
"""What is done with a field, besides KEEP and DROP: `Connection`."""
LENGTH: Final = 3
"""`Content-Length`."""
_CODING: Final = 4
_CONTENT: Final = 5
_LOCATION: Final = 6

_END_TO_END: Final = frozenset({KEEP, _CONTENT, _LOCATION})

_HANDLED: Final = dict.fromkeys(
    HOP_BY_HOP
    | {
        b"set-cookie",
        b"set-cookie2",
        b"authentication-info",
        b"alt-svc",  # would send the service past us, to a port that has no key
        b"x-sidecar-error",  # only our own answers have one
    },
    DROP,
) | {
    b"connection": PERSISTENCE,
    b"content-length": LENGTH,
    b"transfer-encoding": _CODING,
    b"content-encoding": _CONTENT,
    b"location": _LOCATION,
}

# RFC 9112, 4: status-line. The space before an absent reason may be missing: some
# servers do so, and it can be read in one way only. Statuses end at 599: RFC 9110, 15.
_STATUS_LINE: Final = re.compile(
    rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?"
)
_REMEMBERED_LINES: Final = 64
"""Status lines that are judged once: an API has few."""

_SWITCHING: Final = 101
_OK: Final = 200
_BODILESS: Final = frozenset({204, 304})
_NO_CONTENT: Final = 204

_PERSISTENCES: Final = {
    b"keep-alive": True,
    b"Keep-Alive": True,
    b"close": False,
    b"Close": False,
}
_line: Final = b": ".join
_tuple: Final = tuple.__new__  # half the price of ResponseHead(...)
_CODINGS: Final = {b"x-gzip": b"gzip", b"identity": b""}


class ResponseHead(NamedTuple):
    """What an answer's head says, and what of it goes back."""

    status: int
    line: bytes
    """The status line as it goes back, with CRLF; the reason phrase is the API's."""
    forward: bytes
    """
    Whole lines with CRLF: the end-to-end fields, and Content-Length where there is one;
    never Location (see `location`) or Transfer-Encoding.
    """
    framing: int | None
    """None: no body follows, whatever the fields say; a length, `CHUNKED`, `UNTIL_CLOSE`."""
    keep_alive: bool
    """The upstream connection may be used again after this answer."""
    coding: bytes
    """Content codings: empty for none, `gzip`, `deflate`, or else their text."""
    location: bytes | None
    """The value of Location, to be localised and put back."""


class ResponseRules:
    """How answers are read; one for all upstreams, for it only remembers encodings."""

    __slots__ = ("_actions", "_lines")

    def __init__(self) -> None:
        self._actions: dict[bytes, int] = {}
        self._lines: dict[bytes, tuple[int, bytes, bool]] = {}

    def read(  # noqa: C901, PLR0912, PLR0915 - the hot loop, see the module's head
        self, head: bytes, method: bytes, fields: Sequence[Field]
    ) -> ResponseHead:
        """
        Read one answer's head; interim ones (1xx) have no body and `keep_alive`.

        Args:
            head: The whole head as it came, from `HTTP/` to the empty line.
            method: Of the request: an answer to HEAD has no body.
            fields: Names and values in order, as the parser found them in `head`.

        Raises:
            Refused: `upstream_protocol`.
        """
        line = head.partition(b"\r\n")[0]
        status, line, http_1_0 = self.start_of(line)
        if len(fields) > MAX_FIELDS:
            _broken("it has too many fields")

        lines: list[bytes] = []
        framing: int | None = None
        persistence: bool | None = None
        options: frozenset[bytes] = frozenset()
        coding = b""
        location: bytes | None = None
        actions = self._actions
        for field in fields:
            try:
                action = actions[field[0]]
            except KeyError:
                action = self._learn(field[0])
            if action == KEEP:
                lines.append(_line(field))
            elif action == LENGTH:
                if framing is not None:
                    _broken("its body is framed twice")
                framing = parse_length(field[1], Code.UPSTREAM_PROTOCOL)
                if status >= _OK and status != _NO_CONTENT:
                    lines.append(b"Content-Length: %d" % framing)
            elif action == PERSISTENCE:
                plain = _PERSISTENCES.get(field[1])
                if plain is None:
                    options |= parse_connection(field[1], Code.UPSTREAM_PROTOCOL)
                elif persistence is not False:
                    persistence = plain
            elif action == _CODING:
                if framing is not None or http_1_0:
                    _broken("its body is framed twice")
                if field[1].strip(b" \t").lower() != b"chunked":
                    _broken("an unknown transfer coding")
                framing = CHUNKED
            elif action == _CONTENT:
                text = field[1].strip(b" \t").lower()
                text = _CODINGS.get(text, text)
                coding = (
                    b"%b, %b" % (coding, text) if coding and text else coding or text
                )
                lines.append(_line(field))
            elif action == _LOCATION:
                if location is not None:
                    _broken("Location is repeated")
                location = field[1]

        if options:
            if b"close" in options:
                persistence = False
            elif b"keep-alive" in options and persistence is None:
                persistence = True
            remaining = without_nominated(fields, options, _may_go)
            if remaining is not None:
                again = self.read(head, method, remaining)
                if again.framing == UNTIL_CLOSE:
                    return again
                return again._replace(
                    keep_alive=not http_1_0 if persistence is None else persistence
                )
        if method == b"HEAD" or status < _OK or status in _BODILESS:
            framing = None
        elif framing is None:
            framing = UNTIL_CLOSE
            persistence = False
        lines.append(b"")
        return _tuple(
            ResponseHead,
            (
                status,
                line,
                b"\r\n".join(lines),
                framing,
                not http_1_0 if persistence is None else persistence,
                coding,
                location,
            ),
        )

    def start_of(self, line: bytes) -> tuple[int, bytes, bool]:
        """
        Judge a status line: the status, the line to send, whether it is HTTP/1.0.

        Raises:
            Refused: `upstream_protocol`.
        """
        return self._lines.get(line) or self._read_line(line)

    def action_of(self, name: bytes) -> int:
        """
        Say what is done with a field of this name: KEEP, DROP, `LENGTH` and the like.

        Raises:
            Refused: `upstream_protocol`, when it is not a token.
        """
        action = self._actions.get(name)
        return self._learn(name) if action is None else action

    def _learn(self, name: bytes) -> int:
        """Judge a spelling of a name that was not seen yet."""
        if not TOKEN.fullmatch(name):
            _broken("a field name is not a token")
        action = _classify(name)
        if len(self._actions) < REMEMBERED:
            self._actions[name] = action
        return action

    def _read_line(self, line: bytes) -> tuple[int, bytes, bool]:
        """Judge a status line that was not seen yet: status, line to send, HTTP/1.0."""
        match = _STATUS_LINE.fullmatch(line)
        if not match:
            _broken("the status line is malformed")
        minor, digits, reason = match.groups(default=b"")
        status = int(digits)
        if status == _SWITCHING:
            # We never ask for it: bytes after it would be another protocol's
            # (CVE-2026-2833, CVE-2026-73548).
            _broken("101 was not asked for")
        read = (status, b"HTTP/1.1 %b %b\r\n" % (digits, reason), minor == b"0")
        if len(self._lines) < _REMEMBERED_LINES:
            self._lines[line] = read
        return read


def _classify(name: bytes) -> int:
    """Say what is done with a field of this name, spelled so."""
    plain = canonical(name)
    if is_proxy(plain):
        return DROP
    action = _HANDLED.get(plain, KEEP)
    # An alias such as Content_Length is never taken for the real one.
    return action if action == KEEP or plain == name.lower() else DROP


def _may_go(name: bytes) -> bool:
    """Say whether Connection may nominate this field."""
    return _classify(name) in _END_TO_END


def _broken(what: str) -> Never:
    """Refuse an answer and name the rule that it breaks; never its bytes."""
    raise Refused(Code.UPSTREAM_PROTOCOL, f"The API's answer is malformed: {what}.")
