"""Request heads that attack: which refusal each one gets, and what llhttp refuses."""

import contextlib

import httptools
import pytest

from sidecar.core.http.fields import MAX_FIELDS
from sidecar.core.http.request_head import RequestRules
from sidecar.errors import Code, Refused
from tests.core.http.test_request_head import HOST, RULES, raw, read, refusal
from tests.support.head_parsing import parse_request


@pytest.mark.parametrize(
    ("lines", "code", "attack"),
    [
        pytest.param(
            b"Content-Length: 5\r\nContent-Length: 5\r\n",
            Code.BAD_REQUEST,
            "two parsers take two of them",
            id="cl.cl",
        ),
        pytest.param(
            b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            Code.BAD_REQUEST,
            "request smuggling",
            id="cl.te",
        ),
        pytest.param(
            b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            Code.BAD_REQUEST,
            "request smuggling",
            id="te.cl",
        ),
        pytest.param(
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            Code.BAD_REQUEST,
            "decoded twice by some",
            id="te.te",
        ),
        pytest.param(
            b"Transfer-Encoding: gzip, chunked\r\n",
            Code.CODING_UNSUPPORTED,
            "a coding we cannot read",
            id="te-list",
        ),
        pytest.param(
            b"Transfer-Encoding: identity\r\n",
            Code.CODING_UNSUPPORTED,
            "removed from HTTP; ignored by some",
            id="te-identity",
        ),
        pytest.param(
            b"Transfer-Encoding: chunked;x=1\r\n",
            Code.CODING_UNSUPPORTED,
            "read as chunked by some",
            id="te-parameter",
        ),
        pytest.param(
            b"Transfer-Encoding: \r\n",
            Code.CODING_UNSUPPORTED,
            "ignored by some",
            id="te-empty",
        ),
        pytest.param(
            b"Content-Length: +5\r\n", Code.BAD_REQUEST, "int() takes it", id="cl-sign"
        ),
        pytest.param(
            b"Content-Length: 5, 5\r\n", Code.BAD_REQUEST, "a list", id="cl-list"
        ),
        pytest.param(
            b"Content-Length: " + b"9" * 19 + b"\r\n",
            Code.BAD_REQUEST,
            "overflows",
            id="cl-large",
        ),
        pytest.param(
            b"Expect: 200-ok\r\n", Code.EXPECTATION_FAILED, "unknown", id="expect"
        ),
        pytest.param(
            b"Expect: 100-continue\r\nExpect: x\r\n",
            Code.EXPECTATION_FAILED,
            "hidden behind a known one",
            id="expect-twice",
        ),
        pytest.param(
            b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n",
            Code.UPGRADE_UNSUPPORTED,
            "another protocol on the same connection (CVE-2026-2833)",
            id="h2c",
        ),
        pytest.param(
            b"Upgrade: websocket\r\n",
            Code.UPGRADE_UNSUPPORTED,
            "without Connection",
            id="upgrade-alone",
        ),
        pytest.param(
            b"Host: localhost\r\n", Code.BAD_REQUEST, "two names", id="host-twice"
        ),
        pytest.param(
            b"Origin: https://evil.example\r\n",
            Code.BROWSER_REQUEST,
            "cross-site request",
            id="origin",
        ),
        pytest.param(
            b"Origin: null\r\n", Code.BROWSER_REQUEST, "sandboxed frame", id="null"
        ),
        pytest.param(
            b"Sec-Fetch-Mode: navigate\r\n",
            Code.BROWSER_REQUEST,
            "a link to us",
            id="navigate",
        ),
        pytest.param(
            b"Sec-Fetch-Mode: cors\r\nSec-Fetch-Site: cross-site\r\n",
            Code.BROWSER_REQUEST,
            "a script's request",
            id="sec-fetch-site",
        ),
        pytest.param(
            b"Connection: Origin\r\nOrigin: x\r\n",
            Code.BROWSER_REQUEST,
            "nominated away",
            id="nominated-origin",
        ),
        pytest.param(
            b"X-Forwarded-For: 1.2.3.4\r\n",
            Code.FORWARDED_REQUEST,
            "our port is exposed",
            id="x-forwarded-for",
        ),
        pytest.param(
            b"X_Forwarded_For: 1.2.3.4\r\n",
            Code.FORWARDED_REQUEST,
            "the same, spelled for CGI",
            id="x_forwarded_for",
        ),
        pytest.param(b"Via: 1.1 x\r\n", Code.FORWARDED_REQUEST, "exposed", id="via"),
        pytest.param(
            b"X-HTTP-Method-Override: DELETE\r\n",
            Code.OPERATION_DENIED,
            "evades allow and deny",
            id="override",
        ),
        pytest.param(
            b"Connection: a b\r\n", Code.BAD_HEADER, "is it `a`?", id="connection"
        ),
        pytest.param(
            b"X: \xc3\xa9\r\n", Code.BAD_HEADER, "decoded in different ways", id="utf-8"
        ),
        pytest.param(b"X: a\tb\r\n", Code.BAD_HEADER, "read as a blank", id="tab"),
        pytest.param(b"X:\ta\r\n", Code.BAD_HEADER, "read as a blank", id="tab-first"),
        pytest.param(
            b"X: y\r\n" * MAX_FIELDS, Code.HEAD_TOO_LARGE, "a flood", id="many"
        ),
    ],
)
def test_a_head_that_breaks_a_rule_is_refused(
    lines: bytes, code: Code, attack: str
) -> None:
    """If llhttp accepts the head, the refusal has a code of its own."""
    head = raw(lines)
    try:
        parsed = parse_request(head)
    except httptools.HttpParserError:
        # llhttp is as strict; our own rules must be so without it, too.
        fields = [tuple(line.split(b": ", 1)) for line in head[:-4].split(b"\r\n")[1:]]
        with pytest.raises(Refused) as caught:
            RULES.read(head, b"POST", b"/contacts", fields)  # type: ignore[arg-type]  # what no parser gives
    else:
        with pytest.raises(Refused) as caught:
            RULES.read(head, parsed.method, parsed.target, parsed.fields)

    assert caught.value.code is code, attack


@pytest.mark.parametrize(
    ("line", "code"),
    [
        pytest.param(b"GET / HTTP/2.0", Code.VERSION_UNSUPPORTED, id="2.0"),
        pytest.param(b"GET / HTTP/0.9", Code.VERSION_UNSUPPORTED, id="0.9"),
        pytest.param(b"GET /", Code.VERSION_UNSUPPORTED, id="no-version"),
        pytest.param(b"SOURCE / ICE/1.0", Code.BAD_REQUEST, id="another-protocol"),
        pytest.param(b"OPTIONS / RTSP/1.0", Code.BAD_REQUEST, id="rtsp"),
        pytest.param(b"GET  / HTTP/1.1", Code.BAD_REQUEST, id="two-spaces"),
        pytest.param(b"\r\nGET / HTTP/1.1", Code.BAD_REQUEST, id="empty-line-first"),
        pytest.param(b"TRACE / HTTP/1.1", Code.METHOD_REFUSED, id="trace"),
        pytest.param(b"CONNECT a:1 HTTP/1.1", Code.METHOD_REFUSED, id="connect"),
        pytest.param(b"CONNECT /a HTTP/1.1", Code.METHOD_REFUSED, id="connect-path"),
    ],
)
def test_request_lines_that_llhttp_accepts_and_we_do_not(
    line: bytes, code: Code
) -> None:
    """The parser permits these bytes, so the rules must refuse them."""
    lines = b"" if line == b"GET /" else HOST
    with contextlib.suppress(httptools.HttpParserError):
        assert refusal(raw(b"", line, lines)) is code


@pytest.mark.parametrize(
    ("host", "code"),
    [
        pytest.param(b"", Code.BAD_REQUEST, id="missing"),
        pytest.param(b"Host:\r\n", Code.WRONG_HOST, id="empty"),
        pytest.param(b"Host: evil.example\r\n", Code.WRONG_HOST, id="rebinding"),
        pytest.param(b"Host: 2130706433\r\n", Code.WRONG_HOST, id="decimal"),
        pytest.param(b"Host_: localhost\r\n", Code.BAD_REQUEST, id="alias"),
    ],
)
def test_a_host_that_is_not_ours_is_refused(host: bytes, code: Code) -> None:
    """The second attempt is refused too: only valid values are remembered."""
    rules = RequestRules()

    assert refusal(raw(b"", host=host), rules) is code
    assert refusal(raw(b"", host=host), rules) is code


def test_a_name_that_is_no_token_is_refused_without_llhttp() -> None:
    """The parser refuses it, and the rules too, because parsers become tolerant."""
    head = raw(b"X Y: z\r\n")

    with pytest.raises(Refused) as caught:
        RULES.read(head, b"POST", b"/contacts", [(b"X Y", b"z")])
    assert caught.value.code is Code.BAD_HEADER


# llhttp and we together: the bytes of RFC 9110 and not one more.

TOKENS = set(
    b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)


def accepted(head: bytes) -> bool:
    """Return whether a head passes llhttp and the rules."""
    try:
        read(head)
    except (httptools.HttpParserError, Refused):
        return False
    return True


@pytest.mark.parametrize("byte", range(256))
def test_only_visible_ascii_passes(byte: int) -> None:
    """This holds for all 256 bytes, in a name, in a value, and at the end of each."""
    one = bytes([byte])
    visible = 0x20 <= byte <= 0x7E

    assert accepted(raw(b"X-a" + one + b"b: y\r\n")) == (byte in TOKENS or one == b":")
    assert accepted(raw(b"X-a: b" + one + b"c\r\n")) == visible
    assert accepted(raw(b"X-a: b" + one + b"\r\n")) == visible
    assert accepted(raw(b"X-a: " + one + b"\r\n")) == visible
    assert accepted(raw(b"X-a: b\r\n" + one + b": c\r\n")) == (byte in TOKENS)


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(b"X: a\nY: b\r\n", id="bare-lf"),
        pytest.param(b"X: a\rY: b\r\n", id="bare-cr"),
        pytest.param(b"X: a\r\n b\r\n", id="obs-fold"),
        pytest.param(b"X: a\r\n\tb\r\n", id="obs-fold-tab"),
        pytest.param(b" X: a\r\n", id="space-first"),
        pytest.param(b"X : a\r\n", id="space-before-colon"),
        pytest.param(b"X\t: a\r\n", id="tab-before-colon"),
        pytest.param(b"X\r\n", id="no-colon"),
        pytest.param(b": a\r\n", id="no-name"),
        pytest.param(b"X: a\x00b\r\n", id="nul"),
        pytest.param(b"X: a\r\n\n", id="lf-as-the-end"),
    ],
)
def test_llhttp_holds_the_line_structure(lines: bytes) -> None:
    """The test fails if a version of llhttp becomes tolerant."""
    assert not accepted(raw(lines))
