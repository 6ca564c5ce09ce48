"""The code of the answer to a head that llhttp refused."""

import httptools
import pytest
from hypothesis import given, strategies as st

from sidecar.core.http.parse_errors import explain
from sidecar.core.http.request_head import RequestRules
from sidecar.errors import Code, Refused
from tests.support.head_parsing import parse_request

RULES = RequestRules()
HOST = b"Host: localhost\r\n"


@pytest.mark.parametrize(
    ("head", "code"),
    [
        pytest.param(b"GET / HTTP/1.2\r\n", Code.VERSION_UNSUPPORTED, id="1.2"),
        pytest.param(b"GET / HTTP/9.9\r\n", Code.VERSION_UNSUPPORTED, id="9.9"),
        pytest.param(b"PRI * HTTP/2.0\r\n", Code.VERSION_UNSUPPORTED, id="h2-preface"),
        pytest.param(b"FOO / HTTP/1.1\r\n", Code.METHOD_REFUSED, id="unknown-method"),
        pytest.param(b"TRACK / HTTP/1.1\r\n", Code.METHOD_REFUSED, id="track"),
        pytest.param(b"get / HTTP/1.1\r\n", Code.BAD_REQUEST, id="lower-case"),
        pytest.param(b"GET / http/1.1\r\n", Code.BAD_REQUEST, id="lower-case-version"),
        pytest.param(b"GET / HTTP/1.1 \r\n", Code.BAD_REQUEST, id="space-after"),
        pytest.param(b" GET / HTTP/1.1\r\n", Code.BAD_REQUEST, id="space-first"),
        pytest.param(b"GET\t/ HTTP/1.1\r\n", Code.BAD_REQUEST, id="tab"),
        pytest.param(b"GET / HTTP/1.1\nA: b\r\n", Code.BAD_REQUEST, id="bare-lf"),
        pytest.param(b"GET /a b HTTP/1.1\r\n", Code.BAD_REQUEST, id="two-targets"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01", Code.BAD_REQUEST, id="tls"),
        pytest.param(b"GET a/b HTTP/1.1\r\n", Code.BAD_TARGET, id="relative"),
        pytest.param(b"GET /\x01 HTTP/1.1\r\n", Code.BAD_TARGET, id="control"),
        pytest.param(b"GET /\x80 HTTP/1.1\r\n", Code.BAD_TARGET, id="high-byte"),
        pytest.param(
            b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n",
            Code.CODING_UNSUPPORTED,
            id="coding",
        ),
        pytest.param(
            b"GET / HTTP/1.1\r\nTransfer-Encoding:\r\n",
            Code.CODING_UNSUPPORTED,
            id="no-coding",
        ),
        pytest.param(
            b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            Code.BAD_REQUEST,
            id="cl.te",
        ),
        pytest.param(
            b"GET / HTTP/1.1\r\nContent-Length: +1\r\n", Code.BAD_REQUEST, id="length"
        ),
        pytest.param(b"GET / HTTP/1.1\r\nA : b\r\n", Code.BAD_HEADER, id="space-colon"),
        pytest.param(b"GET / HTTP/1.1\r\nA: b\r\n c\r\n", Code.BAD_HEADER, id="fold"),
        pytest.param(b"GET / HTTP/1.1\r\nA: \x00\r\n", Code.BAD_HEADER, id="nul"),
        pytest.param(b"GET / HTTP/1.1\r\nA: b\nC: d\r\n", Code.BAD_HEADER, id="lf"),
        pytest.param(b"GET / HTTP/1.1\r\nA: b\x80\x01\r\n", Code.BAD_HEADER, id="high"),
        pytest.param(
            b"GET / HTTP/1.1\r\nA: b\x01\r\n", Code.BAD_HEADER, id="control-2"
        ),
    ],
)
def test_a_refused_head_gets_the_code_that_says_why(head: bytes, code: Code) -> None:
    """The code is more precise than 400, and llhttp did refuse the head."""
    whole = head + (HOST if head.endswith(b"\r\n") else b"") + b"\r\n"

    assert explain(whole, RULES).code is code
    with pytest.raises(httptools.HttpParserError):
        parse_request(whole)


def test_a_head_without_a_fault_that_we_know_is_malformed() -> None:
    """The answer is a refusal even if the rules would accept the head."""
    assert explain(b"FOO / HTTP/1.1\r\n\r\n", RULES).code is Code.BAD_REQUEST
    assert (
        explain(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n", RULES).code is Code.BAD_REQUEST
    )


@given(
    st.lists(
        st.sampled_from(
            [
                *(
                    b"GET",
                    b" ",
                    b"/",
                    b"HTTP/1.1",
                    b"\r\n",
                    b"\r",
                    b"\n",
                    b"A",
                    b":",
                    b"b",
                ),
                *(
                    b"\x00",
                    b"\xff",
                    b"Host: localhost\r\n",
                    b"GET / HTTP/1.1\r\n",
                    b"*",
                ),
                *(b"Content-Length: 5\r\n", b"Transfer-Encoding: x\r\n", b"\r\n\r\n"),
            ]
        ),
        max_size=10,
    ).map(b"".join)
)
def test_it_always_finds_a_refusal_of_the_service_kind(head: bytes) -> None:
    """For any bytes the result is a refusal, and its message has no value."""
    refused = explain(head, RULES)

    assert isinstance(refused, Refused)
    assert refused.code not in {Code.INTERNAL, Code.UPSTREAM_PROTOCOL}
    assert refused.detail.isascii()
