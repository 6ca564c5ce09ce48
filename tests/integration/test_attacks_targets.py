"""
Attacks on where a call goes: targets, methods, operations (DESIGN section 6, "Target").

A target leaves byte for byte under the base path, or it is refused: there is no third
outcome, because every normalisation is one more reading for an attacker to choose from.
"""

from collections.abc import Iterator
from typing import Any, Final

import pytest

from sidecar.errors import Code
from tests.support.attack_rig import (
    HOST,
    AttackRig,
    Forwarded,
    Refused,
    Row,
    attacked,
)
from tests.support.processes import UPSTREAM

TARGET: Final = Refused(Code.BAD_TARGET)
DENIED: Final = Refused(Code.OPERATION_DENIED, close=False)
METHOD: Final = Refused(Code.METHOD_REFUSED)
BAD: Final = Refused(Code.BAD_REQUEST)


def bad(name: str, why: str, target: bytes, want: Refused = TARGET) -> Any:
    """Make a row: a target that must be refused."""
    data = b"GET %b HTTP/1.1\r\n%b\r\n" % (target, HOST)
    return pytest.param(Row(why, data, want), id=name)


def call(name: str, why: str, line: bytes, want: Refused) -> Any:
    """Make a row: a request line that must be refused."""
    data = b"%b HTTP/1.1\r\n%b\r\n" % (line, HOST)
    return pytest.param(Row(why, data, want), id=name)


@pytest.fixture(name="rig", scope="module")
def _rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AttackRig]:
    """One sidecar for all rows; one operation is denied for one method only."""
    deny = ["* /service-accounts/**", "POST /admin"]
    changes = {"upstreams": {UPSTREAM: {"deny": deny}}}
    with attacked(tmp_path_factory.mktemp("targets"), changes) as rig:
        yield rig


ESCAPES = [
    bad("dots", "leaves the base path", b"/../admin"),
    bad("dots-deep", "leaves the base path from below", b"/a/b/../../../admin"),
    bad("dots-inside", "stays under it, but is another resource", b"/a/../b"),
    bad("dots-end", "leaves it at the end", b"/.."),
    bad("dot", "is dropped by some", b"/./a"),
    bad("dot-end", "is dropped by some", b"/a/."),
    bad("dots-2e", "%2e is a dot", b"/%2e%2e/admin"),
    bad("dots-2E", "so is %2E", b"/%2E%2E/admin"),
    bad("dots-mixed", "half of it encoded", b"/.%2e/admin"),
    bad("slash-2f", "%2f is a slash to some", b"/a%2f..%2fadmin"),
    bad("slash-2f-dots", "everything encoded", b"/%2e%2e%2fadmin"),
    bad("backslash", "is a slash to some", b"/a\\..\\admin"),
    bad("backslash-5c", "the same encoded", b"/a%5c..%5cadmin"),
    bad("double", "decoded twice by two servers in a row", b"/%252e%252e/admin"),
    bad("triple", "decoded three times", b"/%25252e%25252e/admin"),
    bad("six-times", "deeper than we look", b"/%252525252525252e/a"),
    bad("overlong", "overlong UTF-8 of a dot (IIS, 2001)", b"/%c0%ae%c0%ae/admin"),
    bad("overlong-3", "the same in three bytes", b"/%e0%80%ae%e0%80%ae/admin"),
    bad("overlong-slash", "overlong UTF-8 of a slash", b"/a%c0%af..%c0%afadmin"),
    bad("u-escape", "IIS decodes %uXXXX", b"/%u002e%u002e/admin"),
    bad("parameters", "CVE-2026-73551: `..;x=` is `..` to Java", b"/..;x=/admin"),
    bad("parameters-empty", "the same without a name", b"/..;/admin"),
    bad("parameters-3b", "the same with the semicolon encoded", b"/..%3b/admin"),
    bad("space-dots", "blanks are trimmed by some", b"/%20../admin"),
    bad("dots-space", "trailing blanks, too", b"/..%20/admin"),
    bad("tab-dots", "WHATWG URL drops tabs", b"/.%09./admin"),
    bad("newline-dots", "and line breaks", b"/.%0a./admin"),
    bad("nul", "the end of a C string", b"/a%00b"),
    bad("nul-dots", "the same before a suffix", b"/..%00/admin"),
    bad("nul-query", "in the query, too", b"/a?b=%00"),
    bad("nul-double", "encoded twice", b"/a%2500b"),
    bad("bad-escape", "read as text or as an error", b"/a%zz"),
    bad("cut-escape", "read as text or as an error", b"/a%2"),
    bad("percent-end", "read as text or as an error", b"/a%"),
    bad("dots-question", "%3f begins the query for some", b"/a/..%3fb"),
    bad("dots-hash", "%23 begins the fragment for some", b"/a/..%23b"),
]  # fmt: skip

FORMS = [
    bad("absolute", "the host would be the caller's to choose", b"http://api.flownally.com/v1/contacts"),
    bad("absolute-evil", "the same, of another host", b"http://evil.example/"),
    bad("absolute-https", "the same", b"https://127.0.0.1/contacts"),
    bad("absolute-userinfo", "a host that looks like ours", b"http://localhost@evil.example/"),
    bad("scheme-relative", "`//` as data is kept, not read as a host: see below", b"//evil.example/.."),
    bad("authority", "for CONNECT only", b"evil.example:443", TARGET),
    bad("asterisk", "RFC 9112, 3.2.4: for OPTIONS only", b"*"),
    bad("relative", "origin-form begins with a slash", b"contacts", TARGET),
    bad("query-only", "origin-form begins with a slash", b"?a=b", TARGET),
    bad("fragment", "RFC 9112, 3.2: never sent", b"/a#b", TARGET),
    bad("high", "bytes outside ASCII", b"/\xff", TARGET),
    bad("utf8", "bytes outside ASCII", "/é".encode(), TARGET),
    bad("control", "a control byte", b"/a\x01b", TARGET),
    bad("del", "a control byte", b"/a\x7fb", TARGET),
    bad("cr", "a bare CR", b"/a\rb", TARGET),
    bad("lf", "a bare LF", b"/a\nb", TARGET),
    bad("long", "longer than any server takes", b"/" + b"a" * 8192, Refused(Code.TARGET_TOO_LONG, close=False)),
]  # fmt: skip

OPERATIONS = [
    call("trace", "RFC 9110, 9.3.8: echoes the credential", b"TRACE /contacts", METHOD),
    call("track", "its other name", b"TRACK /contacts", METHOD),
    call("connect", "a tunnel with our key", b"CONNECT evil.example:443", METHOD),
    call("connect-path", "the same in a form that it has not", b"CONNECT /contacts", METHOD),
    call("options-all", "asks about the server, not a resource", b"OPTIONS *", TARGET),
    call("keys", "hands out a key", b"POST /service-accounts/sa_1/api-keys", DENIED),
    call("keys-case", "one of the readings is denied", b"POST /SERVICE-ACCOUNTS/sa_1/api-keys", DENIED),
    call("keys-2f", "the same path to a server that decodes", b"POST /service-accounts%2fsa_1%2fapi-keys", DENIED),
    call("keys-encoded", "the same with a letter encoded", b"POST /%73ervice-accounts/sa_1/api-keys", DENIED),
    call("keys-double", "the same encoded twice", b"POST /%2573ervice-accounts/sa_1/api-keys", DENIED),
    call("keys-slashes", "merged by nginx", b"POST //service-accounts//sa_1/api-keys", DENIED),
    call("keys-parameter", "dropped by Java", b"POST /service-accounts;a=b/sa_1/api-keys", DENIED),
    call("keys-backslash", "a slash to some", b"POST /service-accounts\\sa_1\\api-keys", DENIED),
    call("keys-slash-end", "the same resource", b"POST /service-accounts/", DENIED),
    call("keys-query", "the query does not matter", b"GET /service-accounts/x?a=/b", DENIED),
    call("one-method", "this method is denied", b"POST /admin", DENIED),
]  # fmt: skip


@pytest.mark.parametrize("row", [*ESCAPES, *FORMS, *OPERATIONS])
def test_a_call_goes_nowhere_but_where_it_says(rig: AttackRig, row: Row) -> None:
    """A target that any server could read as another one is refused."""
    rig.judge(row)


@pytest.mark.parametrize(
    "target",
    [
        pytest.param(b"/", id="root"),
        pytest.param(b"/contacts?limit=1&after=a/../b", id="dots-in-query"),
        pytest.param(b"/files/a%2Fb", id="slash-as-data"),
        pytest.param(b"/files/a%2fb", id="in-small-letters"),
        pytest.param(b"/files/a%252Fb", id="twice-encoded"),
        pytest.param(b"//evil.example/a", id="two-slashes"),
        pytest.param(b"/a//b", id="empty-segment"),
        pytest.param(b"/a;b=c/d", id="parameters"),
        pytest.param(b"/...", id="three-dots"),
        pytest.param(b"/.well-known/a", id="a-leading-dot"),
        pytest.param(b"/a..b/..c/d..", id="dots-with-letters"),
        pytest.param(b"/a_b%5Fc", id="an-escape-without-need"),
        pytest.param(b"/%E2%82%AC", id="utf-8"),
        pytest.param(b"/a?b=%0d%0aX-Evil:%20c", id="an-encoded-line-break"),
        pytest.param(b"/a:b@c!$&'()*+,=~", id="punctuation"),
        pytest.param(b"/a?b=" + b"c" * 8000, id="long-query"),
        pytest.param(b"/a?url=http://127.0.0.1/", id="a-url-as-data"),
    ],
)
def test_a_target_leaves_byte_for_byte(rig: AttackRig, target: bytes) -> None:
    """Nothing is decoded, joined or normalised on the way."""
    data = b"GET %b HTTP/1.1\r\n%b\r\n" % (target, HOST)
    rig.judge(Row("", data, Forwarded(b"GET /v1%b HTTP/1.1" % target)))


@pytest.mark.parametrize(
    "method",
    [b"DELETE", b"GET", b"HEAD", b"OPTIONS", b"PATCH", b"POST", b"PROPFIND", b"PUT"],
)
def test_a_method_that_is_allowed_leaves(rig: AttackRig, method: bytes) -> None:
    """Methods of HTTP and its extensions are the API's business."""
    data = b"%b /contacts HTTP/1.1\r\n%b\r\n" % (method, HOST)
    rig.judge(Row("", data, Forwarded(b"%b /v1/contacts HTTP/1.1" % method)))
