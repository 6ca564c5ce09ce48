"""Request heads, parsed by llhttp: what is forwarded, and what is refused."""

import itertools

import h11
import httptools
import pytest
from hypothesis import example, given, strategies as st

from sidecar.core.http.fields import CHUNKED, canonical
from sidecar.core.http.request_head import RequestHead, RequestRules
from sidecar.errors import Code, Refused
from tests.support.head_parsing import parse_request

RULES = RequestRules()
HOST = b"Host: 127.0.0.1:8700\r\n"


def raw(
    lines: bytes, line: bytes = b"POST /contacts HTTP/1.1", host: bytes = HOST
) -> bytes:
    """Make a head."""
    return line + b"\r\n" + host + lines + b"\r\n"


def read(head: bytes, rules: RequestRules = RULES) -> RequestHead:
    """Read a head as the proxy does."""
    parsed = parse_request(head)
    return rules.read(parsed.head, parsed.method, parsed.target, parsed.fields)


def refusal(head: bytes, rules: RequestRules = RULES) -> Code:
    """Return the code of the refusal."""
    with pytest.raises(Refused) as caught:
        read(head, rules)
    return caught.value.code


IDENTITY = b"Accept-Encoding: identity\r\n"


@pytest.mark.parametrize(
    ("lines", "forward"),
    [
        pytest.param(b"", IDENTITY, id="nothing"),
        pytest.param(
            b"User-Agent: python-httpx/0.27\r\nAccept: */*\r\n"
            b"Accept-Encoding: gzip, deflate, br\r\nConnection: keep-alive\r\n",
            b"User-Agent: python-httpx/0.27\r\nAccept: */*\r\n"
            b"Accept-Encoding: gzip, deflate\r\n",
            id="httpx",
        ),
        pytest.param(
            b"accept: */*\r\naccept-language: *\r\nsec-fetch-mode: cors\r\n"
            b"user-agent: node\r\naccept-encoding: gzip, deflate\r\n",
            b"accept: */*\r\naccept-language: *\r\nsec-fetch-mode: cors\r\n"
            b"user-agent: node\r\nAccept-Encoding: gzip, deflate\r\n",
            id="node-fetch",
        ),
        pytest.param(
            b"X-B: 1\r\nX-A: 2\r\nx-b: 3\r\nX-B: 1\r\n",
            b"X-B: 1\r\nX-A: 2\r\nx-b: 3\r\nX-B: 1\r\n" + IDENTITY,
            id="repeated-fields-in-order",
        ),
        pytest.param(
            b"Content-Type: application/json\r\nContent-Length: 007\r\n",
            b"Content-Type: application/json\r\nContent-Length: 7\r\n" + IDENTITY,
            id="our-content-length",
        ),
        pytest.param(
            b"Transfer-Encoding: Chunked\r\nTrailer: X-Sum\r\nTE: trailers\r\n",
            IDENTITY,
            id="chunks-are-ours-to-announce",
        ),
        pytest.param(
            b"Connection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n"
            b"Proxy-Connection: keep-alive\r\nX-End: 2\r\n",
            b"X-End: 2\r\n" + IDENTITY,
            id="hop-by-hop",
        ),
        pytest.param(
            b"Cookie: session=1\r\nCookie2: $Version=1\r\nX-End: 2\r\n",
            b"X-End: 2\r\n" + IDENTITY,
            id="cookies",
        ),
        pytest.param(b"Empty:\r\n", b"Empty: \r\n" + IDENTITY, id="empty-value"),
        pytest.param(b"A:  b c  \r\n", b"A: b c  \r\n" + IDENTITY, id="blanks"),
        pytest.param(
            b"Range: bytes=0-9\r\nAccept-Encoding: gzip\r\n",
            b"Range: bytes=0-9\r\n" + IDENTITY,
            id="a-part-is-not-compressed",
        ),
        pytest.param(
            b"Accept-Encoding: br\r\nAccept-Encoding: gzip\r\n",
            b"Accept-Encoding: gzip\r\n",
            id="codings-in-two-fields",
        ),
    ],
)
def test_end_to_end_fields_go_on_as_they_came(lines: bytes, forward: bytes) -> None:
    """The injected fields are not among them."""
    assert read(raw(lines)).forward == forward


CREDENTIALS = [
    b"Authorization",
    b"authorization",
    b"AUTHORIZATION",
    b"Authorization_",
    b"_Authorization",
    b"Proxy-Authorization",
    b"Proxy_Authorization",
    b"X-Api-Key",
    b"X_Api_Key",
    b"x.api-key",
]


@pytest.mark.parametrize("name", CREDENTIALS)
@pytest.mark.parametrize("around", [b"", b"X: y\r\n"])
def test_no_credential_of_the_service_goes_on(name: bytes, around: bytes) -> None:
    """Credentials are dropped in any spelling, also the injected field's name."""
    rules = RequestRules(header="X-Api-Key")

    forward = read(raw(around + (name + b": Bearer x\r\n") * 2), rules).forward

    assert b"Bearer" not in forward


@pytest.mark.parametrize(
    ("lines", "framing"),
    [
        pytest.param(b"", None, id="none"),
        pytest.param(b"Content-Length: 0\r\n", 0, id="zero-is-preserved"),
        pytest.param(b"Content-Length: 5\r\n", 5, id="length"),
        pytest.param(b"Transfer-Encoding: chunked\r\n", CHUNKED, id="chunked"),
        pytest.param(b"Transfer-Encoding: CHUNKED\r\n", CHUNKED, id="case"),
        pytest.param(b"Content_Length: 5\r\n", None, id="an-alias-frames-nothing"),
        pytest.param(b"Transfer_Encoding: chunked\r\n", None, id="another-alias"),
    ],
)
def test_the_body_is_framed_once(lines: bytes, framing: int | None) -> None:
    """One field frames the body, in one reading; an alias is dropped."""
    head = read(raw(lines))

    assert head.framing == framing
    assert b"_" not in head.forward


def test_http_1_0_needs_no_host_and_takes_no_chunks() -> None:
    """RFC 9112, 3.2 and 6.1."""
    line = b"POST /contacts HTTP/1.0"
    head = read(raw(b"Expect: 100-continue\r\nContent-Length: 5\r\n", line, b""))

    assert head.http_1_0
    assert head.close
    assert not head.expect_continue
    assert refusal(raw(b"Transfer-Encoding: chunked\r\n", line)) is Code.BAD_REQUEST


@pytest.mark.parametrize(
    ("version", "lines", "close"),
    [
        pytest.param(b"1.1", b"", False, id="1.1"),
        pytest.param(b"1.1", b"Connection: close\r\n", True, id="1.1-close"),
        pytest.param(b"1.1", b"Connection: CLOSE\r\n", True, id="case"),
        pytest.param(b"1.1", b"Connection: x, close\r\n", True, id="list"),
        pytest.param(b"1.1", b"Connection: close\r\nX: y\r\n", True, id="before"),
        pytest.param(
            b"1.1", b"Connection: close\r\nConnection: keep-alive\r\n", True, id="both"
        ),
        pytest.param(
            b"1.1", b"Connection: keep-alive, Close\r\n", True, id="both-in-a-list"
        ),
        pytest.param(
            b"1.1", b"Connection: close, X-A\r\nX-A: 1\r\n", True, id="nominating"
        ),
        pytest.param(b"1.0", b"", True, id="1.0"),
        pytest.param(b"1.0", b"Connection: keep-alive\r\n", False, id="1.0-keep"),
        pytest.param(b"1.0", b"Connection: TE, Keep-Alive\r\n", False, id="1.0-list"),
        pytest.param(
            b"1.0",
            b"Connection: keep-alive, X-A\r\nX-A: 1\r\n",
            False,
            id="1.0-nominating",
        ),
    ],
)
def test_persistence_is_read(version: bytes, lines: bytes, close: bool) -> None:
    """RFC 9112, 9.3: close wins."""
    assert read(raw(lines, b"GET / HTTP/" + version)).close is close


@pytest.mark.parametrize(
    ("lines", "waits"),
    [
        pytest.param(b"Content-Length: 5\r\n", True, id="length"),
        pytest.param(b"Transfer-Encoding: chunked\r\n", True, id="chunks"),
        pytest.param(b"Content-Length: 0\r\n", False, id="empty-body"),
        pytest.param(b"", False, id="no-body"),
    ],
)
def test_continue_is_awaited_only_before_a_body(lines: bytes, waits: bool) -> None:
    """RFC 9110, 10.1.1; the field itself is not forwarded."""
    head = read(raw(lines + b"Expect: 100-Continue\r\n"))

    assert head.expect_continue is waits
    assert b"Expect" not in head.forward


def test_accept_is_noticed() -> None:
    """Without Accept the proxy adds one; a nominated Accept does not count."""
    assert read(raw(b"Accept: text/csv\r\n")).has_accept
    assert not read(raw(b"")).has_accept
    assert not read(raw(b"Accept: a/b\r\nConnection: accept\r\n")).has_accept


@pytest.mark.parametrize(
    "nominated",
    [
        *(b"Content-Length", b"Host", b"Authorization", b"Transfer-Encoding"),
        *(b"Expect", b"X-Api-Key", b"Cookie", b"Connection", b"Content_Length"),
    ],
)
def test_nominating_what_is_ours_changes_nothing(nominated: bytes) -> None:
    """CVE-2025-48865, golang/go#50580: strip first, then add ours."""
    lines = b"Content-Length: 5\r\nX-Api-Key: x\r\nExpect: 100-continue\r\nA: b\r\n"

    plain = read(raw(lines), RequestRules(header="X-Api-Key"))
    with_it = raw(lines + b"Connection: " + nominated + b"\r\n")

    assert read(with_it, RequestRules(header="X-Api-Key")) == plain


def test_a_guard_that_is_off_lets_its_fields_pass() -> None:
    """`guard.browser`, `guard.forwarded` and `guard.reflection` in the settings."""
    lines = (
        b"Origin: http://a\r\nSec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\n"
        b"Via: 1.1 x\r\nX-Forwarded-For: 1\r\nAccept-Encoding: br\r\n"
    )
    rules = RequestRules(inspect=False, browser=False, forwarded="strip")

    assert read(raw(lines), rules).forward == (
        b"Origin: http://a\r\nSec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\n"
        b"Accept-Encoding: br\r\n"
    )


def test_where_answers_must_be_masked_no_coding_is_offered() -> None:
    """A compressed response with a key could only be cut."""
    rules = RequestRules(plain=True)

    assert read(raw(b"Accept-Encoding: gzip\r\n"), rules).forward == IDENTITY


def test_a_socket_has_its_own_hosts() -> None:
    """A client of a Unix socket may send an empty Host."""
    rules = RequestRules(socket=True)

    assert read(raw(b"", host=b"Host:\r\n"), rules)
    assert refusal(raw(b"", host=b"Host: api.example\r\n"), rules) is Code.WRONG_HOST


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client cannot fill the memory with new values."""
    for module in ("fields", "request_head"):
        monkeypatch.setattr(f"sidecar.core.http.{module}.REMEMBERED", 20)
    rules = RequestRules()
    for at in range(100):
        head = raw(
            b"X-%d: y\r\nAccept-Encoding: gzip;q=0.%d\r\n" % (at, at),
            host=b"Host: 127.0.0.%d\r\n" % at,
        )

        assert b"X-%d: y" % at in read(head, rules).forward
    assert len(rules._table.actions) == 20
    assert len(rules._encodings) == 20
    assert len(rules._hosts) == 20


# Properties: hostile heads near the grammar.

names = st.sampled_from(
    [
        *(b"Host", b"host", b"Accept", b"Accept-Encoding", b"Range", b"Via", b"Origin"),
        *(b"Connection", b"Content-Length", b"Transfer-Encoding", b"Expect", b"TE"),
        *(b"Cookie", b"Content_Length", b"X-A", b"x_a", b"X-B", b"Sec-Fetch-Mode"),
        *(b"Upgrade", b"Trailer", b"Keep-Alive", b"Transfer_Encoding", *CREDENTIALS),
    ]
)
values = st.sampled_from(
    [
        *(b"", b"a", b"gzip", b"br", b"chunked", b"5", b"0", b"05", b"close", b"cors"),
        *(b"keep-alive", b"X-A", b"x-b, close", b"Authorization, X-Api-Key", b"Host"),
        *(
            b"localhost",
            b"127.0.0.1:1",
            b"100-continue",
            b"5, 5",
            b"+5",
            b"x y",
            b"\xff",
        ),
    ]
)
heads = st.builds(
    lambda line, lines: raw(
        b"".join(b"%b: %b\r\n" % field for field in lines), line, host=b""
    ),
    st.sampled_from([b"GET / HTTP/1.1", b"POST /a?b HTTP/1.1", b"PUT / HTTP/1.0"]),
    st.lists(st.tuples(names, values), max_size=6).map(
        lambda lines: [(b"Host", b"localhost"), *lines]
    ),
)
NEVER = {
    *(b"authorization", b"x-api-key", b"cookie", b"host", b"connection", b"te"),
    *(b"transfer-encoding", b"upgrade", b"trailer", b"keep-alive", b"expect", b"via"),
    *(b"proxy-authorization", b"origin"),
}


def lines_of(forward: bytes) -> list[tuple[bytes, bytes]]:
    """Split lines into names and values."""
    assert not forward or forward.endswith(b"\r\n")
    pairs = [line.partition(b": ") for line in forward.split(b"\r\n")[:-1]]
    return [(name, value) for name, _, value in pairs]


@given(heads)
@example(raw(b"Connection: X-A\r\nX-A: 1\r\nAuthorization: x\r\n"))
def test_whatever_the_service_sends_no_field_of_ours_is_among_it(head: bytes) -> None:
    """Exactly one credential reaches the API: the injected one."""
    rules = RequestRules(header="X-Api-Key")
    try:
        parsed = parse_request(head)
        result = rules.read(head, parsed.method, parsed.target, parsed.fields)
    except (httptools.HttpParserError, Refused):
        return

    sent = lines_of(result.forward)
    assert not {canonical(name) for name, _ in sent} & NEVER
    nominated = {
        canonical(option.strip())
        for name, value in parsed.fields
        if name == b"Connection"
        for option in value.split(b",")
    }
    removable = nominated - {b"content-length", b"accept-encoding"}
    assert not {canonical(name) for name, _ in sent} & removable
    # What goes on is a part of what came, in order; Accept-Encoding is rewritten.
    mine = {b"accept-encoding", b"content-length"}
    kept = [field for field in sent if canonical(field[0]) not in mine]
    came = iter(parsed.fields)
    assert all(field in came for field in kept)
    assert sum(name == b"Accept-Encoding" for name, _ in sent) == 1


@given(heads)
def test_framing_agrees_with_an_independent_parser(head: bytes) -> None:
    """h11 frames every accepted head in the same way."""
    try:
        result = read(head)
    except (httptools.HttpParserError, Refused):
        return
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(head)
    request = connection.next_event()

    assert isinstance(request, h11.Request)
    framed = {
        name: value
        for name, value in request.headers
        if name in (b"content-length", b"transfer-encoding")
    }
    expected: dict[bytes, bytes] = {}
    if result.framing == CHUNKED:
        expected = {b"transfer-encoding": b"chunked"}
    elif result.framing is not None:
        assert framed == {b"content-length": framed[b"content-length"]}
        expected = {b"content-length": framed[b"content-length"]}
        assert int(framed[b"content-length"]) == result.framing
    assert framed == expected


@given(heads, heads)
def test_what_came_before_does_not_matter(first: bytes, second: bytes) -> None:
    """What the rules remember changes no result."""
    rules = RequestRules()

    def outcome(head: bytes, by: RequestRules) -> RequestHead | Code | None:
        try:
            return read(head, by)
        except Refused as refused:
            return refused.code
        except httptools.HttpParserError:
            return None

    for head in itertools.chain([first, second], [first]):
        assert outcome(head, rules) == outcome(head, RequestRules())
