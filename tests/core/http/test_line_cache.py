"""The cache of response lines: the same result as the rules, or none."""

import httptools
import pytest
from hypothesis import given, strategies as st

from sidecar.core.http import line_cache
from sidecar.core.http.line_cache import LineCache
from sidecar.core.http.response_head import ResponseHead, ResponseRules
from sidecar.errors import Refused
from tests.support.head_parsing import parse_response


def long_way(head: bytes, method: bytes = b"GET") -> ResponseHead | None:
    """Read a head with llhttp and the rules; None: refused."""
    try:
        parsed = parse_response(head)
        return ResponseRules().read(head, method, parsed.fields)
    except (Refused, httptools.HttpParserError):
        return None


def head(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK") -> bytes:
    """Put a head together."""
    return b"\r\n".join((start, *lines)) + b"\r\n\r\n"


LENGTH = b"Content-Length: 5"


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(head(LENGTH), id="bare"),
        pytest.param(
            head(
                b"Server: nginx/1.22.1",
                b"Date: Tue, 24 Nov 2026 02:41:00 GMT",
                b"Content-Type: application/json",
                LENGTH,
                b"Connection: keep-alive",
                b'ETag: "6565-3c1"',
            ),
            id="nginx",
        ),
        pytest.param(head(b"Vary: A", b"Vary: B", LENGTH), id="repeated-in-order"),
        pytest.param(head(b"Set-Cookie: a=b", LENGTH), id="cookie-dropped"),
        pytest.param(head(b"Keep-Alive: timeout=5", LENGTH), id="hop-by-hop-dropped"),
        pytest.param(head(b"X-Name: M\xc3\xbcller", LENGTH), id="obs-text-kept"),
        pytest.param(
            head(LENGTH, start=b"HTTP/1.1 429 Too Many Requests"), id="status"
        ),
        pytest.param(head(b"Content-Length:5"), id="no-space"),
    ],
)
def test_a_plain_head_is_read_as_the_long_way_reads_it(raw: bytes) -> None:
    """The result is the same the first time and when the head is remembered."""
    known = LineCache(ResponseRules())
    first, second, third = (known.read(raw, b"GET") for _ in range(3))
    expected = long_way(raw)

    assert first == second == third
    assert known.read(raw, b"HEAD") is None
    assert first is not None
    assert expected is not None
    assert first._replace(forward=b"") == expected._replace(forward=b"")
    assert first.forward.replace(b":5", b": 5") == expected.forward


@pytest.mark.parametrize(
    ("raw", "method"),
    [
        pytest.param(head(LENGTH), b"HEAD", id="head-has-no-body"),
        pytest.param(head(LENGTH, start=b"HTTP/1.0 200 OK"), b"GET", id="http-1.0"),
        pytest.param(
            head(LENGTH, start=b"HTTP/1.1 100 Continue"), b"GET", id="interim"
        ),
        pytest.param(head(start=b"HTTP/1.1 204 No Content"), b"GET", id="no-body"),
        pytest.param(head(LENGTH, start=b"HTTP/1.1 304 X"), b"GET", id="not-modified"),
        pytest.param(head(LENGTH, start=b"HTTP/2 200"), b"GET", id="http-2"),
        pytest.param(head(LENGTH, start=b"HTTP/1.1 999 X"), b"GET", id="status-999"),
        pytest.param(head(b"A: b"), b"GET", id="no-length"),
        pytest.param(head(LENGTH, LENGTH), b"GET", id="two-lengths"),
        pytest.param(head(b"Content-Length: +5"), b"GET", id="signed-length"),
        pytest.param(head(b"Content-Length: 5, 5"), b"GET", id="list-of-lengths"),
        pytest.param(head(b"Content-Length: " + b"9" * 19), b"GET", id="huge-length"),
        pytest.param(head(b"Content_Length: 5"), b"GET", id="alias-of-length"),
        pytest.param(
            head(b"Transfer-Encoding: chunked", LENGTH), b"GET", id="length-and-chunks"
        ),
        pytest.param(head(b"Connection: close", LENGTH), b"GET", id="close"),
        pytest.param(head(b"Connection: X-Drop", LENGTH), b"GET", id="nominates"),
        pytest.param(head(b"Location: /a", LENGTH), b"GET", id="location"),
        pytest.param(head(b"Content-Encoding: gzip", LENGTH), b"GET", id="coding"),
        pytest.param(head(b"A\x00: b", LENGTH), b"GET", id="nul-in-name"),
        pytest.param(head(b"A: b\x00", LENGTH), b"GET", id="nul-in-value"),
        pytest.param(head(b"A: b\nC: d", LENGTH), b"GET", id="bare-lf"),
        pytest.param(head(b"A: b\rC: d", LENGTH), b"GET", id="bare-cr"),
        pytest.param(head(b"A : b", LENGTH), b"GET", id="space-before-colon"),
        pytest.param(head(b"A: b", b" c", LENGTH), b"GET", id="folded"),
        pytest.param(head(b"no colon", LENGTH), b"GET", id="no-colon"),
        pytest.param(head(*[b"A: b"] * 200, LENGTH), b"GET", id="too-many"),
    ],
)
def test_anything_else_goes_the_long_way(raw: bytes, method: bytes) -> None:
    """A head that is not plain is left to the rules, also the second time."""
    known = LineCache(ResponseRules())

    assert known.read(raw, method) is None
    assert known.read(raw, method) is None


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number and the length of remembered lines are bounded."""
    monkeypatch.setattr(line_cache, "MAX_LINES", 8)
    known = LineCache(ResponseRules())
    for number in range(100):
        known.read(head(b"X-Request-Id: %d" % number, LENGTH), b"GET")
    known.read(head(b"X-Long: " + b"x" * 300, LENGTH), b"GET")

    assert len(known._lines) <= 8
    assert all(len(line) <= line_cache.LONGEST_LINE for line in known._lines)


def test_a_long_status_line_is_not_remembered() -> None:
    """A long line is read, but not remembered."""
    known = LineCache(ResponseRules())
    raw = head(LENGTH, start=b"HTTP/1.1 200 " + b"x" * 300)

    assert known.read(raw, b"GET") is not None
    assert known._statuses == {}


def test_a_cookie_is_not_remembered() -> None:
    """A line that is dropped because it is secret is not remembered."""
    known = LineCache(ResponseRules())
    for _ in range(3):
        known.read(head(b"Set-Cookie: session=secret", LENGTH), b"GET")

    assert not any(b"session" in line for line in known._lines)
    assert known._heads == {}


LINES = st.sampled_from(
    [
        *(LENGTH, b"Content-Length: 0", b"content-length:  7", b"Content-Length: 5 "),
        *(b"Connection: keep-alive", b"Connection: Keep-Alive", b"Connection: close"),
        *(b"Connection: x-a", b"X-A: 1", b"x-a:\t1", b"X-A:", b"X-A: ", b"X_A: 2"),
        *(b"Transfer-Encoding: chunked", b"Content-Encoding: gzip", b"Location: /a"),
        *(b"Set-Cookie: a=b", b"Alt-Svc: h3", b"X-Sidecar-Error: x", b"Server: n"),
        *(b" folded", b"bad line", b"A\x00: b", b"A: \x7f", b"A: \xff", b"Proxy-X: 1"),
    ]
) | st.binary(max_size=12)
STARTS = st.sampled_from(
    [
        *(b"HTTP/1.1 200 OK", b"HTTP/1.1 200", b"HTTP/1.1 200 ", b"HTTP/1.0 200 OK"),
        *(b"HTTP/1.1 404 Not Found", b"HTTP/1.1 204 X", b"HTTP/1.1 103 X"),
        *(b"HTTP/1.1 099 X", b"HTTP/1.1  200 OK", b"http/1.1 200 OK", b"HTTP/1.1 20"),
    ]
)


@given(
    heads=st.lists(
        st.tuples(STARTS, st.lists(LINES, max_size=6)), min_size=1, max_size=4
    ),
    method=st.sampled_from([b"GET", b"HEAD", b"POST"]),
)
def test_both_ways_agree(heads: list[tuple[bytes, list[bytes]]], method: bytes) -> None:
    """For any lines seen before, the cache gives what parsing gives."""
    known = LineCache(ResponseRules())
    for start, lines in heads:
        raw = head(*lines, start=start)
        if raw.find(b"\r\n\r\n") + 4 != len(raw):
            continue  # the proxy takes a head to its first empty line
        found = known.read(raw, method)
        if found is None:
            continue
        expected = long_way(raw, method)

        assert expected is not None
        assert found._replace(forward=b"") == expected._replace(forward=b"")
        plain = [
            line.replace(b": ", b":").strip() for line in (found.forward.split(b"\r\n"))
        ]
        other = [
            line.replace(b": ", b":").strip()
            for line in (expected.forward.split(b"\r\n"))
        ]
        assert plain == other


def test_a_whole_head_is_remembered_once_every_line_of_it_is_known() -> None:
    """A head with a unique line, such as a request id, is not remembered."""
    known = LineCache(ResponseRules())
    raw = head(b"Server: a", LENGTH)
    known.read(raw, b"GET")
    known.read(head(b"Server: a", b"X-Request-Id: 1", LENGTH), b"GET")
    assert known._heads == {}

    assert known.read(raw, b"GET") is known.read(raw, b"GET")
    assert list(known._heads) == [raw]


def test_whole_heads_are_few_and_not_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bounds hold for any heads."""
    monkeypatch.setattr(line_cache, "MAX_RESPONSES", 4)
    known = LineCache(ResponseRules())
    lines = [b"X-%d: %b" % (number, b"x" * 200) for number in range(12)]
    for _ in range(2):
        for count in range(len(lines)):
            known.read(head(*lines[:count], LENGTH), b"GET")

    assert 0 < len(known._heads) <= 4
    assert all(len(raw) <= line_cache.LONGEST_RESPONSE for raw in known._heads)
