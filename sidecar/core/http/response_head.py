"""
Response heads: which fields go to the client, and how long the body is.

Rule 1: a response that breaks the grammar or frames its body twice is an error of the
API, `upstream_protocol`, and nothing of it goes to the client (RFC 9112, 6.3).
Rule 2: fields that go to the client keep their bytes (obs-text too) and their order.
Rule 3: cookies and proofs of authentication belong to the sidecar and never go to the
client. `WWW-Authenticate` does: it explains a 401.

As in `request_head.py` the loop is inline, and llhttp enforces the line structure.
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
    UNTIL_CLOSE,
    Field,
    FieldTable,
    is_proxy,
    parse_connection,
    parse_length,
    without_nominated,
)
from sidecar.errors import Code, Refused

PERSISTENCE: Final = 2
"""Action for `Connection`."""
LENGTH: Final = 3
"""Action for `Content-Length`."""
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
        b"alt-svc",  # would lead the client past the sidecar, to a port without a key
        b"x-sidecar-error",  # only the sidecar's own answers have one
    },
    DROP,
) | {
    b"connection": PERSISTENCE,
    b"content-length": LENGTH,
    b"transfer-encoding": _CODING,
    b"content-encoding": _CONTENT,
    b"location": _LOCATION,
}

# RFC 9112, 4: status-line. Some servers omit the space before an absent reason, and
# that can be read in one way only. A status is at most 599 (RFC 9110, 15).
_STATUS_LINE: Final = re.compile(
    rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?"
)
_REMEMBERED_LINES: Final = 64
"""Status lines that are remembered: an API has few."""

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
    """What a response head says, and what of it goes to the client."""

    status: int
    line: bytes
    """The status line for the client, with CRLF and the reason phrase of the API."""
    forward: bytes
    """
    Whole lines with CRLF: the end-to-end fields, and Content-Length if there is one;
    never Location (see `location`) or Transfer-Encoding.
    """
    framing: int | None
    """The length of the body, `CHUNKED` or `UNTIL_CLOSE`; None: no body follows."""
    keep_alive: bool
    """The connection to the API may be used again after this response."""
    coding: bytes
    """Content codings: empty for none, `gzip`, `deflate`, or the text of others."""
    location: bytes | None
    """The value of Location; `target.localise` rewrites it."""


class ResponseRules:
    """The rules for the response heads of an API."""

    __slots__ = ("_lines", "_table")

    def __init__(self) -> None:
        self._table = FieldTable(_action_of, _refusal("a field name is not a token"))
        self._lines: dict[bytes, tuple[int, bytes, bool]] = {}

    def read(  # noqa: C901, PLR0912, PLR0915 - the hot loop, see the module's head
        self, head: bytes, method: bytes, fields: Sequence[Field]
    ) -> ResponseHead:
        """
        Read one response head; an interim one (1xx) has no body and `keep_alive`.

        Args:
            head: The whole head as received, from `HTTP/` to the empty line.
            method: Of the request: the response to HEAD has no body.
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
        actions = self._table.actions
        for field in fields:
            try:
                action = actions[field[0]]
            except KeyError:
                action = self._table.learn(field[0])
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
            remaining = without_nominated(fields, options, self._may_go)
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
        Return the status, the line for the client, and whether it is of HTTP/1.0.

        Raises:
            Refused: `upstream_protocol`.
        """
        return self._lines.get(line) or self._read_line(line)

    def action_of(self, name: bytes) -> int:
        """
        Return the action for a field of this name: KEEP, DROP, `LENGTH` and others.

        Raises:
            Refused: `upstream_protocol`: the name is not a token.
        """
        action = self._table.actions.get(name)
        return self._table.learn(name) if action is None else action

    def _may_go(self, name: bytes) -> bool:
        """Return whether Connection may nominate this field."""
        return self._table.classify(name) in _END_TO_END

    def _read_line(self, line: bytes) -> tuple[int, bytes, bool]:
        """Judge a status line that is not remembered; see `start_of`."""
        match = _STATUS_LINE.fullmatch(line)
        if not match:
            _broken("the status line is malformed")
        minor, digits, reason = match.groups(default=b"")
        status = int(digits)
        if status == _SWITCHING:
            # No request asks for it: the bytes after it would be of another protocol
            # (CVE-2026-2833, CVE-2026-73548).
            _broken("no request asks for a 101")
        read = (status, b"HTTP/1.1 %b %b\r\n" % (digits, reason), minor == b"0")
        if len(self._lines) < _REMEMBERED_LINES:
            self._lines[line] = read
        return read


def _action_of(name: bytes) -> int:
    """Return the action for a field of this canonical name."""
    return DROP if is_proxy(name) else _HANDLED.get(name, KEEP)


def _refusal(rule: str) -> Refused:
    """Return the refusal of a response; it names the broken rule, never the bytes."""
    return Refused(Code.UPSTREAM_PROTOCOL, f"The API's answer is malformed: {rule}")


def _broken(rule: str) -> Never:
    raise _refusal(rule)
