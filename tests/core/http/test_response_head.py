"""Response heads, parsed by llhttp: what the client gets, and what is an error."""

import h11
import httptools
import pytest
from hypothesis import given, strategies as st

from sidecar.core.http.fields import CHUNKED, MAX_FIELDS, UNTIL_CLOSE, canonical
from sidecar.core.http.response_head import ResponseHead, ResponseRules
from sidecar.errors import Code, Refused
from tests.support.head_parsing import parse_response

RULES = ResponseRules()


def raw(lines: bytes, line: bytes = b"HTTP/1.1 200 OK") -> bytes:
    """Make a head."""
    return line + b"\r\n" + lines + b"\r\n"


def read(
    head: bytes, method: bytes = b"GET", rules: ResponseRules = RULES
) -> ResponseHead:
    """Read a head as the proxy does."""
    parsed = parse_response(head)
    return rules.read(parsed.head, method, parsed.fields)


def test_a_usual_answer_goes_back() -> None:
    """The head is unchanged, without the hop-by-hop fields."""
    head = read(
        raw(
            b"Server: nginx\r\nDate: Tue, 24 Nov 2026 02:41:00 GMT\r\n"
            b"Content-Type: application/json\r\nContent-Length: 42\r\n"
            b"Connection: keep-alive\r\nKeep-Alive: timeout=60\r\nVary: a\r\nVary: b\r\n"
        )
    )

    assert head == ResponseHead(
        status=200,
        line=b"HTTP/1.1 200 OK\r\n",
        forward=(
            b"Server: nginx\r\nDate: Tue, 24 Nov 2026 02:41:00 GMT\r\n"
            b"Content-Type: application/json\r\nContent-Length: 42\r\n"
            b"Vary: a\r\nVary: b\r\n"
        ),
        framing=42,
        keep_alive=True,
        coding=b"",
        location=None,
    )


@pytest.mark.parametrize(
    ("lines", "forward"),
    [
        pytest.param(b"Set-Cookie: a=b\r\nSet-Cookie2: c\r\n", b"", id="cookies"),
        pytest.param(b"Set_Cookie: a=b\r\n", b"", id="cookie-alias"),
        pytest.param(
            b'WWW-Authenticate: Bearer realm="x"\r\n',
            b'WWW-Authenticate: Bearer realm="x"\r\n',
            id="the-challenge-stays",
        ),
        pytest.param(
            b"Authentication-Info: a\r\nProxy-Authenticate: b\r\nProxy-X: c\r\n",
            b"",
            id="proofs",
        ),
        pytest.param(b'Alt-Svc: h3=":443"\r\n', b"", id="a-way-past-us"),
        pytest.param(b"X-Sidecar-Error: tripwire\r\n", b"", id="only-ours"),
        pytest.param(b"Trailer: X\r\nUpgrade: h2\r\n", b"", id="hop-by-hop"),
        pytest.param(
            b"Connection: X-Hop\r\nX_Hop: 1\r\nX-End: 2\r\n",
            b"X-End: 2\r\n",
            id="nominated",
        ),
        pytest.param(b"Connection: Set-Cookie\r\nA: b\r\n", b"A: b\r\n", id="no-use"),
        pytest.param(b"Content_Length: 5\r\n", b"", id="an-alias-frames-nothing"),
        pytest.param(b"X: caf\xe9 \xff\r\n", b"X: caf\xe9 \xff\r\n", id="obs-text"),
        pytest.param(b"X: a\tb\r\n", b"X: a\tb\r\n", id="tab"),
        pytest.param(b"X:\r\n", b"X: \r\n", id="empty"),
        pytest.param(b"Content-Length: 007\r\n", b"Content-Length: 7\r\n", id="length"),
    ],
)
def test_fields_go_back_as_they_came_or_not_at_all(
    lines: bytes, forward: bytes
) -> None:
    """Values keep all of their bytes."""
    assert read(raw(lines)).forward == forward


@pytest.mark.parametrize(
    ("method", "status", "lines", "framing", "forward"),
    [
        pytest.param(b"GET", 200, b"Content-Length: 5\r\n", 5, True, id="length"),
        pytest.param(b"GET", 200, b"Content-Length: 0\r\n", 0, True, id="zero"),
        pytest.param(
            b"GET", 200, b"Transfer-Encoding: chunked\r\n", CHUNKED, False, id="chunked"
        ),
        pytest.param(
            b"GET", 200, b"Transfer-Encoding: Chunked\r\n", CHUNKED, False, id="case"
        ),
        pytest.param(b"GET", 200, b"", UNTIL_CLOSE, False, id="until-close"),
        pytest.param(b"HEAD", 200, b"Content-Length: 5\r\n", None, True, id="head"),
        pytest.param(
            b"HEAD", 200, b"Transfer-Encoding: chunked\r\n", None, False, id="head-te"
        ),
        pytest.param(b"HEAD", 200, b"", None, False, id="head-nothing"),
        pytest.param(b"GET", 304, b"Content-Length: 5\r\n", None, True, id="304"),
        pytest.param(b"GET", 204, b"", None, False, id="204"),
        pytest.param(b"GET", 204, b"Content-Length: 5\r\n", None, False, id="204-cl"),
        pytest.param(
            b"GET", 204, b"Transfer-Encoding: chunked\r\n", None, False, id="204-te"
        ),
        pytest.param(b"GET", 100, b"", None, False, id="100"),
        pytest.param(b"GET", 103, b"Link: </a>\r\n", None, False, id="103"),
        pytest.param(b"GET", 199, b"Content-Length: 5\r\n", None, False, id="199"),
        pytest.param(b"GET", 205, b"Content-Length: 0\r\n", 0, True, id="205"),
    ],
)
def test_bodies_are_framed_by_the_book(
    method: bytes, status: int, lines: bytes, framing: int | None, forward: bool
) -> None:
    """RFC 9112, 6.3, and RFC 9110, 8.6 for Content-Length without a body."""
    head = read(raw(lines, b"HTTP/1.1 %d X" % status), method)

    assert head.framing == framing
    assert (b"Content-Length" in head.forward) is forward
    assert b"Transfer-Encoding" not in head.forward


@pytest.mark.parametrize(
    ("line", "lines", "keep"),
    [
        pytest.param(b"HTTP/1.1 204 X", b"", True, id="1.1"),
        pytest.param(b"HTTP/1.1 204 X", b"Connection: close\r\n", False, id="close"),
        pytest.param(b"HTTP/1.1 204 X", b"Connection: CLOSE\r\n", False, id="case"),
        pytest.param(
            b"HTTP/1.1 204 X",
            b"Connection: close\r\nConnection: keep-alive\r\n",
            False,
            id="close-wins",
        ),
        pytest.param(
            b"HTTP/1.1 204 X", b"Connection: close, X-A\r\nX-A: 1\r\n", False, id="list"
        ),
        pytest.param(b"HTTP/1.1 200 X", b"", False, id="until-close"),
        pytest.param(
            b"HTTP/1.1 200 X",
            b"Connection: X-A\r\nX-A: 1\r\n",
            False,
            id="and-nominated",
        ),
        pytest.param(b"HTTP/1.0 204 X", b"", False, id="1.0"),
        pytest.param(
            b"HTTP/1.0 204 X", b"Connection: keep-alive\r\n", True, id="1.0-keep"
        ),
        pytest.param(
            b"HTTP/1.0 204 X",
            b"Connection: keep-alive, X-A\r\nX-A: 1\r\n",
            True,
            id="1.0-list",
        ),
        pytest.param(
            b"HTTP/1.1 204 X",
            b"Connection: X-A\r\nX-A: 1\r\n",
            True,
            id="only-nominated",
        ),
        pytest.param(
            b"HTTP/1.1 204 X", b"Connection: x\r\n", True, id="unknown-option"
        ),
    ],
)
def test_a_connection_is_used_again_only_by_the_book(
    line: bytes, lines: bytes, keep: bool
) -> None:
    """RFC 9112, 9.3."""
    assert read(raw(lines, line)).keep_alive is keep


@pytest.mark.parametrize(
    ("lines", "coding"),
    [
        pytest.param(b"", b"", id="none"),
        pytest.param(b"Content-Encoding: identity\r\n", b"", id="identity"),
        pytest.param(b"Content-Encoding: GZIP\r\n", b"gzip", id="gzip"),
        pytest.param(b"Content-Encoding: x-gzip \r\n", b"gzip", id="x-gzip"),
        pytest.param(b"Content-Encoding: deflate\r\n", b"deflate", id="deflate"),
        pytest.param(b"Content-Encoding: br\r\n", b"br", id="br"),
        pytest.param(b"Content-Encoding: gzip, gzip\r\n", b"gzip, gzip", id="list"),
        pytest.param(
            b"Content-Encoding: gzip\r\nContent-Encoding: br\r\n", b"gzip, br", id="two"
        ),
        pytest.param(
            b"Content-Encoding: identity\r\nContent-Encoding: gzip\r\n",
            b"gzip",
            id="one",
        ),
    ],
)
def test_the_content_coding_is_read(lines: bytes, coding: bytes) -> None:
    """The guard must know the coding; the field goes to the client unchanged."""
    head = read(raw(lines))

    assert head.coding == coding
    assert head.forward == lines


def test_location_is_handed_over_apart() -> None:
    """Location is returned apart, because it may be localised."""
    head = read(raw(b"Location: https://api.example/v1/a\r\nA: b\r\n"))

    assert head.location == b"https://api.example/v1/a"
    assert head.forward == b"A: b\r\n"


@pytest.mark.parametrize(
    ("line", "sent", "status"),
    [
        pytest.param(b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK\r\n", 200, id="usual"),
        pytest.param(b"HTTP/1.0 404 No", b"HTTP/1.1 404 No\r\n", 404, id="ours-is-1.1"),
        pytest.param(b"HTTP/1.1 200 ", b"HTTP/1.1 200 \r\n", 200, id="no-reason"),
        pytest.param(b"HTTP/1.1 200", b"HTTP/1.1 200 \r\n", 200, id="no-space"),
        pytest.param(
            b"HTTP/1.1 599 \xe9t\xe9", b"HTTP/1.1 599 \xe9t\xe9\r\n", 599, id="obs-text"
        ),
    ],
)
def test_the_status_line_goes_back(line: bytes, sent: bytes, status: int) -> None:
    """The reason phrase is the API's, also when the line is remembered."""
    rules = ResponseRules()
    for _ in range(2):
        head = read(raw(b"", line), b"GET", rules)

        assert (head.line, head.status) == (sent, status)


@pytest.mark.parametrize(
    ("head", "fault"),
    [
        pytest.param(
            raw(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
            "response smuggling",
            id="cl.te",
        ),
        pytest.param(
            raw(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
            "response smuggling",
            id="te.cl",
        ),
        pytest.param(
            raw(b"Content-Length: 5\r\nContent-Length: 5\r\n"), "twice", id="cl.cl"
        ),
        pytest.param(
            raw(b"Content-Length: 5\r\nContent-Length: 6\r\n"),
            "two lengths",
            id="cl-cl",
        ),
        pytest.param(raw(b"Content-Length: 5, 5\r\n"), "a list", id="cl-list"),
        pytest.param(raw(b"Content-Length: -1\r\n"), "a sign", id="cl-sign"),
        pytest.param(raw(b"Content-Length: x\r\n"), "no number", id="cl-text"),
        pytest.param(raw(b"Transfer-Encoding: gzip\r\n"), "unknown", id="te-gzip"),
        pytest.param(
            raw(b"Transfer-Encoding: gzip, chunked\r\n"), "unknown", id="te-list"
        ),
        pytest.param(
            raw(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
            "twice",
            id="te.te",
        ),
        pytest.param(
            raw(b"Transfer-Encoding: chunked\r\n", b"HTTP/1.0 200 OK"),
            "no such thing in 1.0",
            id="te-1.0",
        ),
        pytest.param(raw(b"Connection: a b\r\n"), "no token", id="connection"),
        pytest.param(raw(b"Location: /a\r\nLocation: /b\r\n"), "two", id="locations"),
        pytest.param(raw(b"A: b\r\n" * (MAX_FIELDS + 1)), "a flood", id="many"),
        pytest.param(raw(b"", b"HTTP/1.1 099 X"), "no status", id="099"),
        pytest.param(raw(b"", b"HTTP/1.1 600 X"), "no status", id="600"),
        pytest.param(raw(b"", b"HTTP/1.1 999 X"), "no status", id="999"),
        pytest.param(raw(b"", b"HTTP/2.0 200 X"), "no such version", id="2.0"),
        pytest.param(raw(b"", b"HTTP/0.9 200 X"), "no such version", id="0.9"),
        pytest.param(raw(b"", b"HTTP/1.1 200 a\x01b"), "control byte", id="control"),
        pytest.param(
            raw(b"Upgrade: x\r\nConnection: upgrade\r\n", b"HTTP/1.1 101 X"),
            "another protocol, not asked for",
            id="101",
        ),
    ],
)
def test_a_malformed_answer_is_the_apis_error(head: bytes, fault: str) -> None:
    """The refusal is `upstream_protocol`, also for what llhttp accepts."""
    fields = [tuple(line.split(b": ", 1)) for line in head[:-4].split(b"\r\n")[1:]]
    with pytest.raises(Refused) as caught:
        RULES.read(head, b"GET", fields)  # type: ignore[arg-type]  # what no parser gives

    assert caught.value.code is Code.UPSTREAM_PROTOCOL, fault
    assert b"\x01" not in caught.value.detail.encode()


def test_a_name_that_is_no_token_is_an_error_without_llhttp() -> None:
    """The parser refuses it, and the rules too."""
    with pytest.raises(Refused):
        RULES.read(raw(b"X Y: z\r\n"), b"GET", [(b"X Y", b"z")])


@pytest.mark.parametrize("byte", [*range(0x20), 0x7F])
def test_no_control_byte_comes_back(byte: int) -> None:
    """The parser checks fields, the rules the reason; HTAB is allowed (RFC 9110, 5.5)."""
    one = bytes([byte])
    for head in (
        raw(b"X: a" + one + b"b\r\n"),
        raw(b"X" + one + b": a\r\n"),
        raw(b"", b"HTTP/1.1 200 a" + one + b"b"),
    ):
        try:
            result = read(head)
        except (httptools.HttpParserError, Refused):
            continue

        assert one == b"\t"
        assert b"\t" in result.forward + result.line


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """An API cannot fill the memory with new values."""
    monkeypatch.setattr("sidecar.core.http.fields.REMEMBERED", 20)
    monkeypatch.setattr("sidecar.core.http.response_head._REMEMBERED_LINES", 5)
    rules = ResponseRules()
    for at in range(50):
        head = raw(b"X-%d: y\r\n" % at, b"HTTP/1.1 200 reason %d" % at)

        assert read(head, b"GET", rules).forward == b"X-%d: y\r\n" % at
    assert len(rules._table.actions) == 20
    assert len(rules._lines) == 5


names = st.sampled_from(
    [
        *(
            b"Content-Length",
            b"Transfer-Encoding",
            b"Connection",
            b"Set-Cookie",
            b"X-A",
        ),
        *(b"Content-Encoding", b"Location", b"WWW-Authenticate", b"x_a", b"Upgrade"),
        *(b"Proxy-Authenticate", b"set_cookie", b"Alt-Svc", b"Authentication-Info"),
    ]
)
values = st.sampled_from(
    [*(b"5", b"0", b"chunked", b"gzip", b"close", b"X-A", b"keep-alive", b"", b"\xe9")]
)
heads = st.builds(
    lambda line, lines: raw(b"".join(b"%b: %b\r\n" % field for field in lines), line),
    st.sampled_from(
        [
            *(
                b"HTTP/1.1 200 OK",
                b"HTTP/1.0 200 OK",
                b"HTTP/1.1 204 X",
                b"HTTP/1.1 304",
            ),
            *(b"HTTP/1.1 100 X", b"HTTP/1.1 500 X"),
        ]
    ),
    st.lists(st.tuples(names, values), max_size=6),
)
NEVER = {
    *(b"transfer-encoding", b"connection", b"set-cookie", b"location", b"upgrade"),
    *(b"proxy-authenticate", b"alt-svc", b"authentication-info"),
}


@given(heads, st.sampled_from([b"GET", b"HEAD"]))
def test_whatever_the_api_sends_its_framing_is_not_guessed(
    head: bytes, method: bytes
) -> None:
    """h11 frames every accepted head in the same way; no private field passes."""
    try:
        result = read(head, method)
    except (httptools.HttpParserError, Refused):
        return

    sent = [line.partition(b": ")[0] for line in result.forward.split(b"\r\n")]
    assert not {canonical(name) for name in sent} & NEVER
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(head)
    assert isinstance(
        connection.next_event(), (h11.Response, h11.InformationalResponse)
    )
    event = connection.next_event()
    if result.status >= 200:
        ended = isinstance(event, h11.EndOfMessage)
        assert ended == (result.framing in (None, 0))
    if result.framing == UNTIL_CLOSE:
        assert not result.keep_alive
