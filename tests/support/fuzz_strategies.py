"""Streams of bytes that are nearly HTTP: well-formed messages, and one thing wrong."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final

from hypothesis import strategies as st

from tests.support.fuzz_rig import KEY

# What parsers trip over, put anywhere.
SPICES: Final = [
    *(b"\r", b"\n", b"\r\n", b"\n\n", b"\r\n\r\n", b"\0", b" ", b"\t", b"\x0b", b"\x7f"),
    *(b"\xff", b"\xc0\xae", b":", b";", b",", b"%", b"..", b"%2e", b"/", b"\\", b"#"),
    *(b"0", b"1", b"-", b"+", b"0x", b"_", b'"', b"chunked", b"identity", b"close"),
    *(b"Host: localhost\r\n", b"Content-Length: 3\r\n", b"0\r\n\r\n", b"HTTP/1.1"),
    *(b"Transfer-Encoding: chunked\r\n", b"Authorization: Bearer a\r\n", b"GET / "),
]  # fmt: skip

METHODS: Final = [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE"]
TARGETS: Final = [b"/", b"/contacts", b"/contacts?a=b", b"/a%2Fb", b"//a", b"/denied"]
REQUEST_FIELDS: Final = [
    b"Accept: */*",
    b"X-A: 1",
    b"X-A: 2",
    b"X_B: 3",
    b"Accept-Encoding: gzip, br",
    b"Authorization: Bearer mine",
    b"authorization: Basic bWluZQ==",
    b"Authorization_: mine",
    b"Proxy-Authorization: mine",
    b"Cookie: a=b",
    b"Connection: keep-alive",
    b"Connection: close",
    b"Connection: X-A, Authorization, Host",
    b"Keep-Alive: 5",
    b"TE: trailers",
    b"Expect: 100-continue",
    b"Range: bytes=0-1",
    b"Content-Type: application/json",
    b"Origin: null",
    b"Via: 1.1 a",
    b"Upgrade: h2c",
]
ANSWER_FIELDS: Final = [
    b"Content-Type: application/json",
    b"X-A: 1",
    b"X-A: 2",
    b"Set-Cookie: a=b",
    b"Connection: close",
    b"Connection: keep-alive",
    b"Connection: X-A",
    b"Keep-Alive: 5",
    b"Alt-Svc: a",
    b"X-Sidecar-Error: draining",
    b"X-Key: " + KEY.encode(),
    b"Location: https://api.flownally.com/v1/a",
    b"Content-Encoding: gzip",
    b"Content-Encoding: br",
    b"WWW-Authenticate: Bearer",
    b"Date: Thu, 01 Jan 1970 00:00:00 GMT",
]
BODIES: Final = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [b"", b"{}", KEY.encode(), b"a" * 70_000, KEY.encode()[:-1] + b"x"]
    ),
)


def chunked(body: bytes, sizes: Sequence[int]) -> bytes:
    """Return a body in chunks of these sizes, the rest in one."""
    pieces = []
    for size in sizes:
        if body[:size]:
            pieces.append(b"%x\r\n%b\r\n" % (len(body[:size]), body[:size]))
        body = body[size:]
    if body:
        pieces.append(b"%x\r\n%b\r\n" % (len(body), body))
    return b"".join((*pieces, b"0\r\n\r\n"))


Draw = Callable[[st.SearchStrategy[bytes]], bytes]


@st.composite
def _framed(draw: st.DrawFn, fields: list[bytes], *, may_lack: bool) -> bytes:
    """Fields and a body that they frame, or frame wrongly."""
    lines = draw(st.lists(st.sampled_from(fields), max_size=5))
    body = draw(BODIES)
    how = draw(st.sampled_from(["length", "chunks", "none", "wrong"]))
    if how == "length":
        lines.append(b"Content-Length: %d" % len(body))
    elif how == "chunks":
        lines.append(b"Transfer-Encoding: chunked")
        body = chunked(body, draw(st.lists(st.integers(1, 9), max_size=3)))
    elif how == "wrong":
        lines.append(b"Content-Length: %d" % draw(st.integers(0, 100)))
    elif not may_lack:
        body = b""
    return b"\r\n".join((*lines, b"", body))


@st.composite
def request(draw: st.DrawFn) -> bytes:
    """Make a request that is well-formed, or nearly."""
    line = b" ".join(
        (
            draw(st.sampled_from(METHODS)),
            draw(st.sampled_from(TARGETS)),
            draw(st.sampled_from([b"HTTP/1.1"] * 8 + [b"HTTP/1.0", b"HTTP/2.0"])),
        )
    )
    host = draw(st.sampled_from([b"Host: localhost"] * 8 + [b"", b"Host: evil"]))
    head = b"\r\n".join((line, host, b"")) if host else line + b"\r\n"
    return head + draw(_framed(REQUEST_FIELDS, may_lack=False))


STATUSES: Final = [b"200 OK"] * 6 + [
    *(b"204 No Content", b"304 Not Modified", b"401 Unauthorized", b"403 Forbidden"),
    *(b"302 Found", b"404", b"500 Oops", b"100 Continue", b"101 Switching", b"999 A"),
]


@st.composite
def answer(draw: st.DrawFn) -> bytes:
    """Make an answer that is well-formed, or nearly."""
    version = draw(st.sampled_from([b"HTTP/1.1"] * 8 + [b"HTTP/1.0", b"HTTP/2.0"]))
    line = version + b" " + draw(st.sampled_from(STATUSES)) + b"\r\n"
    return line + draw(_framed(ANSWER_FIELDS, may_lack=True))


@st.composite
def spiced(draw: st.DrawFn, base: st.SearchStrategy[bytes]) -> bytes:
    """Put something into bytes that does not belong there, or take something out."""
    data = bytearray(draw(base))
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2, 3]))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 3))] = draw(
            st.one_of(st.sampled_from([*SPICES, b""]), st.binary(max_size=3))
        )
    return bytes(data)


def split(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """Cut bytes at these places (each taken modulo the length)."""
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(places)]


CUTS: Final = st.lists(st.integers(0, 100_000), max_size=8)
STREAM: Final = st.lists(spiced(request()), min_size=1, max_size=3).map(b"".join)
