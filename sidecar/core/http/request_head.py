"""
Request heads: which fields are forwarded, and how long the body is.

Rule 1: strip first, then add ours (golang/go#50580). Exactly one credential is sent, and
no field of the client, in any spelling, can name, remove or repeat it.
Rule 2: framing is decided here, once, from fields that can be read in one way only. All
others are refused (RFC 9112, 6.3; request smuggling).
Rule 3: fields that are forwarded keep their bytes and their order, also repeated ones.

llhttp has parsed the head and enforces the line structure: strict CRLF, no folded lines,
tokens as names, no control bytes but HTAB in values. Tests check that llhttp does so;
everything that it permits beyond that is refused here.

The loop runs for every call that is not in the cache. It has one table lookup per field,
and the branches are inline in order of frequency, because a function call costs as much
as the rest of a field. `response_head.py` is the other direction.
"""

import re
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from sidecar.core.http import guards
from sidecar.core.http.fields import (
    CHUNKED,
    DROP,
    HOP_BY_HOP,
    KEEP,
    MAX_FIELDS,
    REMEMBERED,
    Field,
    FieldTable,
    canonical,
    inspectable,
    is_proxy,
    parse_connection,
    parse_length,
    without_nominated,
)
from sidecar.errors import Code, Refused

ACCEPT_JSON: Final = b"Accept: application/json\r\n"
"""Added to a request without Accept: the API expects it on every request."""

# Actions for a field of a request, besides KEEP and DROP.
_HOST: Final = 2
_ACCEPT: Final = 3
_ENCODING: Final = 4
_CONNECTION: Final = 5
_LENGTH: Final = 6
_CODING: Final = 7
_EXPECT: Final = 8
_RANGE: Final = 9
_FETCH_MODE: Final = 10
_UPGRADE: Final = 11
_BROWSER: Final = 12
_FORWARDED: Final = 13
_OVERRIDE: Final = 14
# Connection may nominate these fields; for others it changes nothing.
_END_TO_END: Final = frozenset({KEEP, _ACCEPT, _ENCODING, _RANGE, _FETCH_MODE})

_REFUSALS: Final = {
    _UPGRADE: (Code.UPGRADE_UNSUPPORTED, "Upgrade is not supported"),
    _BROWSER: (
        Code.BROWSER_REQUEST,
        "This request comes from a browser; only local services may call",
    ),
    _FORWARDED: (
        Code.FORWARDED_REQUEST,
        "This request came through another proxy; only local services may call",
    ),
    _OVERRIDE: (
        Code.OPERATION_DENIED,
        "Fields that override the method or the path are refused: they evade the rules",
    ),
}

_REFUSED_METHODS: Final = frozenset({b"CONNECT", b"TRACE", b"TRACK"})
"""TRACE would return the credential (RFC 9110, 9.3.8); TRACK is its alias."""

_HANDLED: Final = dict.fromkeys(
    HOP_BY_HOP | {b"authorization", b"cookie", b"cookie2"}, DROP
) | {
    b"host": _HOST,
    b"accept": _ACCEPT,
    b"accept-encoding": _ENCODING,
    b"connection": _CONNECTION,
    b"content-length": _LENGTH,
    b"transfer-encoding": _CODING,
    b"expect": _EXPECT,
    b"range": _RANGE,
    b"upgrade": _UPGRADE,
}

_HTAB: Final = 9
_PERSISTENCE: Final = {
    b"keep-alive": False,
    b"Keep-Alive": False,
    b"close": True,
    b"Close": True,
}
_IDENTITY: Final = b"Accept-Encoding: identity"
_line: Final = b": ".join
_tuple: Final = tuple.__new__  # half the price of RequestHead(...)
_VERSION: Final = re.compile(rb"(?: HTTP/[0-9]\.[0-9])?\r\n")


class RequestHead(NamedTuple):
    """What a request head says, and what is forwarded of it."""

    forward: bytes
    """
    Whole lines with CRLF: the end-to-end fields, and Content-Length if there is one;
    never Host, a credential or Transfer-Encoding.
    """
    framing: int | None
    """The length of the body in bytes, or `CHUNKED`; None: no body was announced."""
    close: bool
    """The client wants the connection closed after this call."""
    expect_continue: bool
    """The client waits for `100 Continue` before it sends the body."""
    has_accept: bool
    """If not, `ACCEPT_JSON` must be added."""
    http_1_0: bool
    """The client cannot read chunks."""


class RequestRules:
    """
    The rules for the request heads of one upstream.

    Args:
        header: The name of the field that carries the credential.
        inspect: Offer only content codings that the reflection guard can decode.
        plain: Offer no content coding: a compressed response can be inspected but not
            masked, so a service that may create keys would get its responses cut.
        browser: Refuse requests of a browser.
        forwarded: What to do with the fields of another proxy.
        socket: The listener is a Unix socket.
    """

    __slots__ = (
        *("_browser", "_encodings", "_forwarded", "_handled", "_hosts", "_inspect"),
        *("_is_local", "_table"),
    )

    def __init__(
        self,
        *,
        header: str = "Authorization",
        inspect: bool = True,
        plain: bool = False,
        browser: bool = True,
        forwarded: Literal["block", "strip"] = "block",
        socket: bool = False,
    ) -> None:
        self._handled = _HANDLED | {canonical(header.encode("ascii")): DROP}
        if not inspect:
            del self._handled[b"accept-encoding"]
        elif plain:
            self._handled[b"accept-encoding"] = DROP
        self._inspect = inspect
        self._browser = browser
        self._forwarded = _FORWARDED if forwarded == "block" else DROP
        self._is_local = guards.is_socket_host if socket else guards.is_loopback_host
        self._table = FieldTable(
            self._action_of,
            Refused(Code.BAD_HEADER, "A field name is not a token"),
            frozenset({KEEP, *_REFUSALS}),
        )
        self._encodings: dict[bytes, bytes] = {}
        self._hosts: set[bytes] = set()

    def read(  # noqa: C901, PLR0912, PLR0915 - the hot loop, see the module's head
        self, head: bytes, method: bytes, target: bytes, fields: Sequence[Field]
    ) -> RequestHead:
        """
        Read one request head.

        Args:
            head: The whole head as received, from the method to the empty line.
            method: As the parser found it in `head`, like the next two.
            target: The request target; `check_target` judges it.
            fields: Names and values in order.

        Raises:
            Refused: The head breaks a rule; nothing of it may be forwarded.
        """
        # llhttp permits these two; both checks run at memory speed.
        if not head.isascii() or _HTAB in head:
            raise _bad_bytes(target)
        if len(fields) > MAX_FIELDS:
            raise Refused(
                Code.HEAD_TOO_LARGE, f"There are more than {MAX_FIELDS} fields"
            )
        after_target = len(method) + len(target) + 1
        version = head[after_target : after_target + 11]
        http_1_0 = version != b" HTTP/1.1\r\n"
        if http_1_0 and version != b" HTTP/1.0\r\n":
            raise _bad_line(head, method, target)
        if method in _REFUSED_METHODS:
            raise Refused(Code.METHOD_REFUSED, "This method is not forwarded")

        lines: list[bytes] = []
        framing: int | None = None
        has_host = False
        offered: bytes | None = None
        persistence: bool | None = None
        options: frozenset[bytes] = frozenset()
        has_accept = expect = ranged = False
        actions = self._table.actions
        for field in fields:
            try:
                action = actions[field[0]]
            except KeyError:
                action = self._table.learn(field[0])
            if action == KEEP:
                lines.append(_line(field))
            elif action == _HOST:
                if has_host:
                    raise Refused(Code.BAD_REQUEST, "Host is repeated")
                has_host = True
                if field[1] not in self._hosts:
                    self._check_host(field[1])
            elif action == _ACCEPT:
                has_accept = True
                lines.append(_line(field))
            elif action == _ENCODING:
                offered = field[1] if offered is None else offered + b"," + field[1]
            elif action == _CONNECTION:
                plain = _PERSISTENCE.get(field[1])
                if plain is None:
                    options |= parse_connection(field[1], Code.BAD_HEADER)
                else:
                    persistence = persistence or plain
            elif action == _LENGTH:
                if framing is not None:
                    raise Refused(Code.BAD_REQUEST, "Two fields frame the body")
                framing = parse_length(field[1], Code.BAD_REQUEST)
                lines.append(b"Content-Length: %d" % framing)
            elif action == DROP:
                pass
            elif action == _CODING:
                if framing is not None:
                    raise Refused(Code.BAD_REQUEST, "Two fields frame the body")
                if field[1].rstrip(b" ").lower() != b"chunked":
                    raise Refused(
                        Code.CODING_UNSUPPORTED,
                        "The only supported transfer coding is chunked",
                    )
                framing = CHUNKED
            elif action == _EXPECT:
                if field[1].rstrip(b" ").lower() != b"100-continue":
                    raise Refused(
                        Code.EXPECTATION_FAILED,
                        "The only supported expectation is 100-continue",
                    )
                expect = True
            elif action == _RANGE:
                ranged = True
                lines.append(_line(field))
            elif action == _FETCH_MODE and field[1] in guards.NODE_FETCH_MODES:
                lines.append(_line(field))
            else:
                code, detail = _REFUSALS.get(action, _REFUSALS[_BROWSER])
                raise Refused(code, detail)

        if not has_host and not http_1_0:
            raise Refused(Code.BAD_REQUEST, "Host is missing")
        if http_1_0 and framing == CHUNKED:
            # RFC 9112, 6.1: "a faulty message"; some peers would ignore the field.
            raise Refused(Code.BAD_REQUEST, "HTTP/1.0 has no transfer codings")
        if options:
            if b"close" in options:
                persistence = True
            elif b"keep-alive" in options and persistence is None:
                persistence = False
            remaining = without_nominated(fields, options, self._may_go)
            if remaining is not None:
                again = self.read(head, method, target, remaining)
                return again._replace(
                    close=http_1_0 if persistence is None else persistence
                )
        if self._inspect:
            # A part of a compressed body cannot be decoded, so not inspected either.
            if offered is None or ranged:
                lines.append(_IDENTITY)
            else:
                lines.append(self._encodings.get(offered) or self._offer(offered))
        lines.append(b"")
        return _tuple(
            RequestHead,
            (
                b"\r\n".join(lines),
                framing,
                http_1_0 if persistence is None else persistence,
                # RFC 9110, 10.1.1: ignored in HTTP/1.0, and without a body.
                expect and framing != 0 and framing is not None and not http_1_0,
                has_accept,
                http_1_0,
            ),
        )

    def _action_of(self, name: bytes) -> int:
        """Return the action for a field of this canonical name."""
        if is_proxy(name):
            return DROP
        if guards.is_forwarded_field(name):
            return self._forwarded
        if guards.is_override_field(name):
            return _OVERRIDE
        if guards.is_browser_field(name):
            if not self._browser:
                return KEEP
            return _FETCH_MODE if name == b"sec-fetch-mode" else _BROWSER
        return self._handled.get(name, KEEP)

    def _may_go(self, name: bytes) -> bool:
        """Return whether Connection may nominate this field."""
        return self._table.classify(name) in _END_TO_END

    def _check_host(self, host: bytes) -> None:
        """Check a Host that is not remembered."""
        if not self._is_local(host.rstrip(b" ")):
            raise Refused(
                Code.WRONG_HOST, "Host must be localhost or a loopback address"
            )
        if len(self._hosts) < REMEMBERED:
            self._hosts.add(host)

    def _offer(self, value: bytes) -> bytes:
        """Rewrite an Accept-Encoding that is not remembered."""
        line = b"Accept-Encoding: " + inspectable(value)
        if len(self._encodings) < REMEMBERED:
            self._encodings[value] = line
        return line


def _bad_bytes(target: bytes) -> Refused:
    """Return the refusal of a head with a byte outside visible ASCII and space."""
    if not target.isascii() or _HTAB in target:
        return Refused(Code.BAD_TARGET, "The target has bytes outside visible ASCII")
    return Refused(Code.BAD_HEADER, "A field has bytes outside visible ASCII and space")


def _bad_line(head: bytes, method: bytes, target: bytes) -> Refused:
    """Return the refusal of a request line that is not of HTTP/1.1 or HTTP/1.0."""
    start = method + b" " + target
    if head.startswith(start) and _VERSION.match(head, len(start)):
        return Refused(
            Code.VERSION_UNSUPPORTED, "Only HTTP/1.1 and HTTP/1.0 are supported"
        )
    return Refused(Code.BAD_REQUEST, "The request line is malformed")
