"""
Attacks on where a request ends: smuggling, chunks, lines (RFC 9112, 2.2, 5, 6, 7).

If we and the API disagree on where a request ends, the rest is a request that nobody
checked. So every message that two parsers could read in two ways is refused.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from sidecar.errors import Code
from tests.support.attack_rig import (
    END,
    HOST,
    SMUGGLED,
    AttackRig,
    Forwarded,
    Refused,
    Row,
    attacked,
)

BAD, HEADER = Refused(Code.BAD_REQUEST), Refused(Code.BAD_HEADER)
METHOD, TARGET = Refused(Code.METHOD_REFUSED), Refused(Code.BAD_TARGET)
CODING, VERSION = Refused(Code.CODING_UNSUPPORTED), Refused(Code.VERSION_UNSUPPORTED)
POST = b"POST /contacts HTTP/1.1\r\n" + HOST
TE = b"Transfer-Encoding: chunked\r\n"
LINE = b"POST /v1/contacts HTTP/1.1"


def refused(name: str, why: str, data: bytes, want: Refused = BAD) -> Any:
    """Make a row: bytes that must be refused."""
    return pytest.param(Row(why, data, want), id=name)


def chunks(name: str, why: str, body: bytes, want: Refused = BAD) -> Any:
    """Make a row: a chunked body that must be refused."""
    return refused(f"chunk-{name}", why, POST + TE + END + body, want)


def framed(name: str, why: str, fields: bytes, want: Refused = BAD) -> Any:
    """Make a row: fields that frame a body in two ways, and what would be smuggled."""
    return refused(name, why, POST + fields + END + b"0\r\n\r\n" + SMUGGLED, want)


@pytest.fixture(name="rig", scope="module")
def _rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AttackRig]:
    """One sidecar for all rows, so that none may leave it worse than it was."""
    with attacked(tmp_path_factory.mktemp("framing")) as rig:
        yield rig


LENGTHS = [
    framed("cl-te", "RFC 9112, 6.1: one of them wins, but which?", b"Content-Length: 5\r\n" + TE),
    framed("te-cl", "the same in the other order", TE + b"Content-Length: 5\r\n"),
    framed("te-te", "two codings fields are a list of two", TE + TE),
    framed("te-te-identity", "the second one may be ignored, or win", TE + b"Transfer-Encoding: identity\r\n"),
    framed("cl-cl-same", "a front that joins them sees `5, 5`", b"Content-Length: 5\r\n" * 2),
    framed("cl-cl-other", "the first or the last may win", b"Content-Length: 5\r\nContent-Length: 6\r\n"),
    framed("cl-list", "a joined pair", b"Content-Length: 5, 5\r\n"),
    framed("cl-plus", "strtol takes a sign", b"Content-Length: +5\r\n"),
    framed("cl-minus", "a length below zero wraps", b"Content-Length: -1\r\n"),
    framed("cl-hex", "strtol with base 0 takes hex", b"Content-Length: 0x5\r\n"),
    framed("cl-underscore", "Python's int() takes digits apart", b"Content-Length: 1_0\r\n"),
    framed("cl-space-inside", "some stop at the space", b"Content-Length: 5 0\r\n"),
    framed("cl-empty", "none, or 0?", b"Content-Length: \r\n"),
    framed("cl-letters", "no number at all", b"Content-Length: five\r\n"),
    framed("cl-semicolon", "some stop at the semicolon", b"Content-Length: 5;a\r\n"),
    framed("cl-float", "some stop at the point", b"Content-Length: 5.0\r\n"),
    framed("cl-2^64", "wraps to 0 in 64 bits", b"Content-Length: 18446744073709551616\r\n"),
    framed("cl-2^63", "negative in signed 64 bits", b"Content-Length: 9223372036854775808\r\n"),
    framed("cl-vt", "trimmed by isspace()", b"Content-Length: \x0b5\r\n", HEADER),
    framed("cl-fullwidth", "a digit to str.isdigit()", "Content-Length: \uff15\r\n".encode(), HEADER),
]  # fmt: skip

CODINGS = [
    framed("te-list", "the body is not chunked last", b"Transfer-Encoding: chunked, identity\r\n", CODING),
    framed("te-gzip", "a coding that we do not know", b"Transfer-Encoding: gzip, chunked\r\n", CODING),
    framed("te-twice", "chunked twice", b"Transfer-Encoding: chunked, chunked\r\n", CODING),
    framed("te-identity", "withdrawn in RFC 7230; some ignore it", b"Transfer-Encoding: identity\r\n", CODING),
    framed("te-prefix", "found by a substring search", b"Transfer-Encoding: xchunked\r\n", CODING),
    framed("te-suffix", "found by startswith()", b"Transfer-Encoding: chunkedx\r\n", CODING),
    framed("te-quoted", "unquoted by some", b'Transfer-Encoding: "chunked"\r\n', CODING),
    framed("te-parameter", "no parameters are defined", b"Transfer-Encoding: chunked;a=b\r\n", CODING),
    framed("te-comma", "an empty element of a list", b"Transfer-Encoding: ,chunked\r\n", CODING),
    framed("te-empty", "no coding: a body, or none?", b"Transfer-Encoding: \r\n", CODING),
    framed("te-kelvin", "K (U+212A).lower() is k", "Transfer-Encoding: chun\u212aed\r\n".encode(), HEADER),
    framed("te-vt", "trimmed by isspace()", b"Transfer-Encoding: \x0bchunked\r\n", HEADER),
    framed("te-nul", "the end of a C string", b"Transfer-Encoding: chunked\0\r\n", HEADER),
    framed("te-tab", "white space that some do not trim", b"Transfer-Encoding:\tchunked\r\n", HEADER),
    framed("te-space-colon", "RFC 9112, 5.1: no space before the colon", b"Transfer-Encoding : chunked\r\n", HEADER),
    framed("te-folded", "RFC 9112, 5.2: obs-fold", b"Transfer-Encoding:\r\n chunked\r\n", HEADER),
    framed("te-newline", "a bare LF ends a line for some", b"X: a\nTransfer-Encoding: chunked\r\n", HEADER),
    framed("te-cr", "a bare CR ends a line for some", b"X: a\rTransfer-Encoding: chunked\r\n", HEADER),
    refused("te-1.0", "RFC 9112, 6.1: faulty in HTTP/1.0", b"POST / HTTP/1.0\r\n" + TE + END + b"0\r\n\r\n" + SMUGGLED),
]  # fmt: skip

CHUNKS = [
    chunks("plus", "strtol takes a sign", b"+5\r\nhello\r\n0\r\n\r\n" + SMUGGLED),
    chunks("minus", "wraps below zero", b"-1\r\nhello\r\n0\r\n\r\n" + SMUGGLED),
    chunks("0x", "strtol with base 16 takes 0x", b"0x5\r\nhello\r\n0\r\n\r\n" + SMUGGLED),
    chunks("space", "white space before the size", b" 5\r\nhello\r\n0\r\n\r\n" + SMUGGLED),
    chunks("space-after", "white space behind the size", b"5 \r\nhello\r\n0\r\n\r\n" + SMUGGLED),
    chunks("underscore", "int('1_0', 16) is 16", b"1_0\r\nhello\r\n0\r\n\r\n" + SMUGGLED),
    chunks("empty", "no size: 0?", b"\r\nhello\r\n0\r\n\r\n" + SMUGGLED),
    chunks("letters", "no hex digit", b"zz\r\nhello\r\n0\r\n\r\n" + SMUGGLED),
    chunks("overflow", "wraps to 5 in 64 bits", b"10000000000000005\r\nhello\r\n0\r\n\r\n" + SMUGGLED),
    chunks("long", "more than its size", b"3\r\nhello\r\n0\r\n\r\n" + SMUGGLED),
    chunks("no-crlf", "no line end behind the data", b"5\r\nhello0\r\n\r\n" + SMUGGLED),
    chunks("lf", "a bare LF behind the size (CVE-2025-22871)", b"5\nhello\r\n0\r\n\r\n" + SMUGGLED),
    chunks("lf-data", "a bare LF behind the data", b"5\r\nhello\n0\r\n\r\n" + SMUGGLED),
    chunks("cr", "a bare CR behind the size", b"5\rhello\r\n0\r\n\r\n" + SMUGGLED),
    chunks("cr-cr", "a CR too many", b"5\r\r\nhello\r\n0\r\n\r\n" + SMUGGLED),
    chunks("ext-lf", "a bare LF hidden in an extension", b"5;a\nhello\r\n0\r\n\r\n" + SMUGGLED),
    chunks("ext-space", "RFC 9112, 7.1.1: bad white space", b"5 ; a=b\r\nhello\r\n0\r\n\r\n" + SMUGGLED),
    chunks("ext-open", "a quote that does not end", b'5;a="b\r\nhello\r\n0\r\n\r\n' + SMUGGLED),
    chunks("ext-empty", "an extension without a name", b"5;\r\nhello\r\n0\r\n\r\n" + SMUGGLED),
    chunks("ext-nul", "a control byte", b"5;a\0\r\nhello\r\n0\r\n\r\n" + SMUGGLED),
    chunks("ext-long", "an endless extension", b"5;a=" + b"b" * 300 + b"\r\nhello\r\n0\r\n\r\n" + SMUGGLED),
    chunks("trailer-lf", "a bare LF in a trailer", b"0\r\nA: b\n\r\n" + SMUGGLED),
    chunks("trailer-cr", "a bare CR in a trailer", b"0\r\nA: b\rC: d\r\n\r\n" + SMUGGLED),
    chunks("trailer-name", "no token", b"0\r\nA B: c\r\n\r\n" + SMUGGLED),
    chunks("trailer-fold", "obs-fold in a trailer", b"0\r\nA: b\r\n c\r\n\r\n" + SMUGGLED),
    chunks("trailer-long", "endless trailers", b"0\r\n" + b"A: b\r\n" * 2000 + b"\r\n" + SMUGGLED),
    chunks("last-lf", "a bare LF at the end", b"0\r\n\n" + SMUGGLED),
    chunks("last-cr", "a bare CR at the end", b"0\r\n\r" + SMUGGLED),
]  # fmt: skip

LINES = [
    refused("lf-line", "a bare LF ends the request line", b"GET / HTTP/1.1\nHost: localhost\r\n\r\n"),
    refused("lf-field", "a bare LF ends a field", b"GET / HTTP/1.1\r\nHost: localhost\nA: b\r\n\r\n", HEADER),
    refused("lf-all", "bare LFs everywhere", b"GET / HTTP/1.1\nHost: localhost\n\n\r\n\r\n"),
    refused("cr-field", "a bare CR in a value", b"GET / HTTP/1.1\r\n" + HOST + b"A: b\rC: d\r\n\r\n", HEADER),
    refused("cr-cr-lf", "a CR too many", b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\r\n\r\n", HEADER),
    refused("fold-space", "RFC 9112, 5.2: obs-fold", b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\n c\r\n\r\n", HEADER),
    refused("fold-tab", "the same with a tab", b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\n\tc\r\n\r\n", HEADER),
    refused("fold-first", "white space before the first field", b"GET / HTTP/1.1\r\n A: b\r\n" + HOST + END, HEADER),
    refused("space-colon", "RFC 9112, 5.1", b"GET / HTTP/1.1\r\n" + HOST + b"A : b\r\n\r\n", HEADER),
    refused("tab-colon", "the same with a tab", b"GET / HTTP/1.1\r\n" + HOST + b"A\t: b\r\n\r\n", HEADER),
    refused("no-colon", "a line that is no field", b"GET / HTTP/1.1\r\n" + HOST + b"A\r\n\r\n", HEADER),
    refused("no-name", "a field without a name", b"GET / HTTP/1.1\r\n" + HOST + b": b\r\n\r\n", HEADER),
    refused("nul-name", "the end of a C string", b"GET / HTTP/1.1\r\n" + HOST + b"A\0: b\r\n\r\n", HEADER),
    refused("nul-value", "the end of a C string", b"GET / HTTP/1.1\r\n" + HOST + b"A: b\0c\r\n\r\n", HEADER),
    refused("bell-value", "a control byte", b"GET / HTTP/1.1\r\n" + HOST + b"A: \x07\r\n\r\n", HEADER),
    refused("del-value", "a control byte", b"GET / HTTP/1.1\r\n" + HOST + b"A: \x7f\r\n\r\n", HEADER),
    refused("vt-value", "white space to isspace()", b"GET / HTTP/1.1\r\n" + HOST + b"A: \x0b\r\n\r\n", HEADER),
    refused("tab-value", "outside what we forward", b"GET / HTTP/1.1\r\n" + HOST + b"A: b\tc\r\n\r\n", HEADER),
    refused("latin1-value", "read in as many ways as there are charsets", b"GET / HTTP/1.1\r\n" + HOST + b"A: \xe9\r\n\r\n", HEADER),
    refused("utf8-value", "the same", "GET / HTTP/1.1\r\nHost: localhost\r\nA: é\r\n\r\n".encode(), HEADER),
    refused("utf8-name", "no token", "GET / HTTP/1.1\r\nHost: localhost\r\né: a\r\n\r\n".encode(), HEADER),
    refused("paren-name", "no token (RFC 9110, 5.6.2)", b"GET / HTTP/1.1\r\n" + HOST + b"A(b): c\r\n\r\n", HEADER),
    refused("slash-name", "no token", b"GET / HTTP/1.1\r\n" + HOST + b"A/b: c\r\n\r\n", HEADER),
    refused("space-name", "no token", b"GET / HTTP/1.1\r\n" + HOST + b"A b: c\r\n\r\n", HEADER),
    refused("quote-name", "no token", b"GET / HTTP/1.1\r\n" + HOST + b'"A": c\r\n\r\n', HEADER),
    refused("lf-before", "only CRLF may stand before a request line", b"\nGET / HTTP/1.1\r\n" + HOST + END),
    refused("lf-post", "`\\nPOST` is no POST to `deny`, but one to the API", b"\n" + POST + b"Content-Length: 0\r\n\r\n"),
    refused("cr-trace", "`\\rTRACE` is no TRACE to us, but one to the API", b"\rTRACE / HTTP/1.1\r\n" + HOST + END),
    refused("lf-after-empty", "the same behind an empty line", b"\r\n\nGET / HTTP/1.1\r\n" + HOST + END),
    refused("space-before", "nothing else may", b" GET / HTTP/1.1\r\n" + HOST + END),
    refused("nul-before", "nothing else may", b"\0GET / HTTP/1.1\r\n" + HOST + END),
    refused("tls", "a TLS handshake on a plain port", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
]  # fmt: skip

VERSIONS = [
    refused("0.9", "no fields, no framing", b"GET /\r\n\r\n", VERSION),
    refused("0.9-version", "named, all the same", b"GET / HTTP/0.9\r\n" + HOST + END, VERSION),
    refused("1.2", "may frame in another way", b"GET / HTTP/1.2\r\n" + HOST + END, VERSION),
    refused("1.10", "read as 1.1 by some", b"GET / HTTP/1.10\r\n" + HOST + END, BAD),
    refused("2.0", "is no text protocol", b"GET / HTTP/2.0\r\n" + HOST + END, VERSION),
    refused("9.9", "unknown", b"GET / HTTP/9.9\r\n" + HOST + END, VERSION),
    refused("h2-preface", "RFC 9113, 3.4: prior knowledge", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", VERSION),
    refused("lower", "the name is case-sensitive", b"GET / http/1.1\r\n" + HOST + END),
    refused("comma", "no version", b"GET / HTTP/1,1\r\n" + HOST + END),
    refused("other", "another protocol", b"GET / RTSP/1.0\r\n" + HOST + END),
    refused("space-double", "an empty part", b"GET  / HTTP/1.1\r\n" + HOST + END, TARGET),
    refused("space-late", "an empty part", b"GET /  HTTP/1.1\r\n" + HOST + END, TARGET),
    refused("space-end", "trimmed by some", b"GET / HTTP/1.1 \r\n" + HOST + END),
    refused("tab", "RFC 9112, 3: one SP", b"GET\t/\tHTTP/1.1\r\n" + HOST + END),
    refused("space-in-target", "where does the target end?", b"GET /a b HTTP/1.1\r\n" + HOST + END, TARGET),
    refused("version-twice", "where does the target end?", b"GET / HTTP/1.1 HTTP/1.1\r\n" + HOST + END, TARGET),
    refused("method-lower", "no method of ours", b"get / HTTP/1.1\r\n" + HOST + END),
    refused("method-unknown", "no method that is known", b"SMUGGLE / HTTP/1.1\r\n" + HOST + END, METHOD),
    refused("method-nul", "the end of a C string", b"GE\0T / HTTP/1.1\r\n" + HOST + END),
    refused("method-empty", "none", b" / HTTP/1.1\r\n" + HOST + END),
    refused("target-empty", "none", b"GET  HTTP/1.1\r\n" + HOST + END, TARGET),
]  # fmt: skip


@pytest.mark.parametrize("row", [*LENGTHS, *CODINGS, *CHUNKS, *LINES, *VERSIONS])
def test_a_message_that_can_be_read_in_two_ways_is_refused(
    rig: AttackRig, row: Row
) -> None:
    """Nothing of it leaves, the connection ends, and the next call is well."""
    rig.judge(row)


FORWARDED = [
    pytest.param(
        POST + b"Content-Length: 5\r\n\r\nhello",
        Forwarded(LINE, [b"Content-Length: 5"], b"hello"),
        id="length",
    ),
    pytest.param(
        POST + b"Content-Length:   005  \r\n\r\nhello",
        Forwarded(LINE, [b"Content-Length: 5"], b"hello"),
        id="length-is-ours",
    ),
    pytest.param(
        POST + TE + END + b"5\r\nhello\r\n0\r\n\r\n",
        Forwarded(LINE, [b"Transfer-Encoding: chunked"], b"5\r\nhello\r\n0\r\n\r\n"),
        id="chunks",
    ),
    pytest.param(
        POST + TE + END + b'005;a=b;c="d;\\" e"\r\nhello\r\n000\r\n\r\n',
        Forwarded(LINE, [b"Transfer-Encoding: chunked"], b"5\r\nhello\r\n0\r\n\r\n"),
        id="extensions-are-dropped",
    ),
    pytest.param(
        POST
        + TE
        + b"Trailer: Authorization\r\n\r\n"
        + b"5\r\nhello\r\n0\r\nAuthorization: Bearer x\r\nHost: evil\r\n"
        + b"Content-Length: 99\r\n\r\n",
        Forwarded(LINE, [b"Transfer-Encoding: chunked"], b"5\r\nhello\r\n0\r\n\r\n"),
        id="trailers-are-dropped",
    ),
    pytest.param(
        POST + b"TRANSFER-ENCODING: ChunKed\r\n\r\n" + b"A\r\n0123456789\r\n0\r\n\r\n",
        Forwarded(
            LINE, [b"Transfer-Encoding: chunked"], b"a\r\n0123456789\r\n0\r\n\r\n"
        ),
        id="case-does-not-matter",
    ),
    pytest.param(
        POST + b"Content_Length: 9\r\nTransfer_Encoding: chunked\r\n"
        b"Content-Length: 5\r\n\r\nhello",
        Forwarded(LINE, [b"Content-Length: 5"], b"hello"),
        id="aliases-are-dropped",
    ),
    pytest.param(
        b"\r\n\r\n" + POST + b"Content-Length: 0\r\n\r\n",
        Forwarded(LINE, [b"Content-Length: 0"]),
        id="empty-lines-before",
    ),
    pytest.param(
        b"GET /contacts HTTP/1.0\r\n\r\n",
        Forwarded(b"GET /v1/contacts HTTP/1.1"),
        id="1.0-without-host",
    ),
]


@pytest.mark.parametrize(("data", "want"), FORWARDED)
def test_a_body_leaves_in_our_own_framing(
    rig: AttackRig, data: bytes, want: Forwarded
) -> None:
    """What frames the body is made anew from what was read, never copied."""
    rig.judge(Row("", data, want))
