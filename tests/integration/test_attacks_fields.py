"""
Attacks on the fields of a request: the credential, hop-by-hop, guards, the tripwire.

Exactly one credential leaves, and it is ours, whatever the caller sends, in whatever
spelling; and nobody but a local service may be the caller.
"""

import base64
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
from tests.support.raw_http import KEY

LINE: Final = b"GET /v1/contacts HTTP/1.1"
START: Final = b"GET /contacts HTTP/1.1\r\n"
RAW_KEY: Final = KEY.encode()
BROWSER: Final = Refused(Code.BROWSER_REQUEST)
FORWARDED: Final = Refused(Code.FORWARDED_REQUEST)
WRONG_HOST: Final = Refused(Code.WRONG_HOST)
TRIPWIRE: Final = Refused(Code.TRIPWIRE, close=False)
BAD: Final = Refused(Code.BAD_REQUEST)


def fields(name: str, why: str, lines: bytes, want: Refused) -> Any:
    """Make a row: fields that must be refused."""
    return pytest.param(Row(why, START + HOST + lines + b"\r\n\r\n", want), id=name)


def host(name: str, why: str, value: bytes, want: Refused = WRONG_HOST) -> Any:
    """Make a row: a Host that is not this machine."""
    data = START + b"Host: %b\r\n\r\n" % value
    return pytest.param(Row(why, data, want), id=f"host-{name}")


def kept(name: str, lines: bytes, *left: bytes, **options: Any) -> Any:
    """Make a row: fields of a call, and those of them that leave."""
    want = Forwarded(LINE, list(left), **options)
    return pytest.param(Row("", START + HOST + lines + b"\r\n\r\n", want), id=name)


@pytest.fixture(name="rig", scope="module")
def _rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AttackRig]:
    """One sidecar with every guard at its default."""
    with attacked(tmp_path_factory.mktemp("fields")) as rig:
        yield rig


HOSTS = [
    host("rebinding", "DNS rebinding: a name of the attacker's that is 127.0.0.1", b"evil.example"),
    host("rebinding-port", "the same with our port", b"evil.example:8700"),
    host("suffix", "found by endswith()", b"evil-localhost"),
    host("subdomain", "found by startswith()", b"localhost.evil.example"),
    host("userinfo", "what is before the @ is no host", b"localhost@evil.example"),
    host("userinfo-2", "what is behind it may be ignored", b"evil.example@localhost"),
    host("list", "the first or the last of them?", b"localhost, evil.example"),
    host("path", "a URL is no host", b"localhost/evil"),
    host("scheme", "a URL is no host", b"http://localhost"),
    host("decimal", "127.0.0.1 in decimal, to inet_aton()", b"2130706433"),
    host("octal", "127.0.0.1 in octal", b"0177.0.0.1"),
    host("hex", "127.0.0.1 in hex", b"0x7f.0.0.1"),
    host("short", "127.0.0.1 made short", b"127.1"),
    host("any", "0.0.0.0 reaches loopback on Linux", b"0.0.0.0"),
    host("mapped", "127.0.0.1 in IPv6", b"[::ffff:127.0.0.1]"),
    host("private", "another machine's", b"10.0.0.1"),
    host("metadata", "the cloud's metadata", b"169.254.169.254"),
    host("dot", "a fully qualified one is another site to a browser", b"localhost."),
    host("port-letters", "no port", b"localhost:http"),
    host("port-large", "no port", b"localhost:99999"),
    host("port-sign", "no port", b"localhost:+80"),
    host("quote", "unquoted by some", b'"localhost"'),
    host("space", "two names", b"localhost evil.example"),
    host("empty", "nobody's", b""),
    pytest.param(Row("whose is it?", START + b"Accept: */*\r\n\r\n", BAD), id="host-missing"),
    fields("host-twice", "the first or the last of them?", b"Host: localhost", BAD),
    fields("host-twice-other", "the same, with another", b"Host: evil.example", BAD),
]  # fmt: skip

GUARDS = [
    fields("origin", "only a page sends it", b"Origin: http://evil.example", BROWSER),
    fields("origin-null", "a sandboxed page", b"Origin: null", BROWSER),
    fields("origin-local", "a page of this machine is a page", b"Origin: http://localhost", BROWSER),
    fields("origin-case", "names have no case", b"oRiGiN: a", BROWSER),
    fields("fetch-site", "only a page sends it", b"Sec-Fetch-Site: cross-site", BROWSER),
    fields("fetch-none", "typed into the address bar", b"Sec-Fetch-Site: none", BROWSER),
    fields("fetch-navigate", "a link", b"Sec-Fetch-Mode: navigate", BROWSER),
    fields("fetch-dest", "an image", b"Sec-Fetch-Dest: image", BROWSER),
    fields("preflight", "CORS", b"Access-Control-Request-Method: POST", BROWSER),
    fields("private-network", "its preflight", b"Access-Control-Request-Private-Network: true", BROWSER),
    fields("forwarded", "somebody exposed the port", b"Forwarded: for=1.2.3.4", FORWARDED),
    fields("xff", "the same", b"X-Forwarded-For: 1.2.3.4", FORWARDED),
    fields("xfh", "the same", b"X-Forwarded-Host: api", FORWARDED),
    fields("xf-other", "the same", b"X-Forwarded-Anything: a", FORWARDED),
    fields("xff-underscore", "the same to CGI", b"X_Forwarded_For: 1.2.3.4", FORWARDED),
    fields("via", "the same", b"Via: 1.1 nginx", FORWARDED),
    fields("real-ip", "the same", b"X-Real-IP: 1.2.3.4", FORWARDED),
    fields("cloudflare", "a tunnel to localhost", b"CF-Connecting-IP: 1.2.3.4", FORWARDED),
    fields("nominated-guard", "a guard cannot be nominated away", b"Connection: Origin\r\nOrigin: a", BROWSER),
    fields("nominated-xff", "nor this one", b"Connection: X-Forwarded-For\r\nX-Forwarded-For: a", FORWARDED),
    fields("override", "another method behind the back of `deny`", b"X-HTTP-Method-Override: DELETE", Refused(Code.OPERATION_DENIED)),
    fields("override-url", "another path behind the back of `deny`", b"X-Original-URL: /admin", Refused(Code.OPERATION_DENIED)),
    fields("upgrade", "bytes behind it are another protocol's (CVE-2026-2833)", b"Connection: Upgrade\r\nUpgrade: websocket", Refused(Code.UPGRADE_UNSUPPORTED)),
    fields("h2c", "HTTP/2 in a tunnel that nobody checks", b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__", Refused(Code.UPGRADE_UNSUPPORTED)),
    fields("upgrade-alone", "even without Connection", b"Upgrade: h2c", Refused(Code.UPGRADE_UNSUPPORTED)),
    fields("expect", "an expectation that we do not know", b"Expect: 200-ok", Refused(Code.EXPECTATION_FAILED)),
    fields("expect-list", "the same", b"Expect: 100-continue, a", Refused(Code.EXPECTATION_FAILED)),
    fields("connection-bad", "no token: what would be dropped?", b"Connection: a b", Refused(Code.BAD_HEADER)),
    fields("many", "more fields than anybody sends", b"\r\n".join(b"A%d: b" % n for n in range(130)), Refused(Code.HEAD_TOO_LARGE)),
    fields("large", "a field larger than a head may be", b"A: " + b"b" * 40_000, Refused(Code.HEAD_TOO_LARGE)),
]  # fmt: skip

HELD = [
    fields("key", "the service has the key", b"X-Key: " + RAW_KEY, TRIPWIRE),
    fields("authorization", "the service sends what we would", b"Authorization: Bearer " + RAW_KEY, TRIPWIRE),
    fields("cookie", "in a cookie", b"Cookie: a=" + RAW_KEY, TRIPWIRE),
    fields("base64", "encoded", b"X-Key: " + base64.b64encode(RAW_KEY), TRIPWIRE),
    fields("basic", "as a password", b"Authorization: Basic " + base64.b64encode(b"u:" + RAW_KEY), TRIPWIRE),
    pytest.param(
        Row("in the query", b"GET /a?key=%b HTTP/1.1\r\n%b\r\n" % (RAW_KEY, HOST), TRIPWIRE),
        id="query",
    ),
    pytest.param(
        Row(
            "in a body",
            b"POST /a HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (HOST, len(RAW_KEY), RAW_KEY),
            TRIPWIRE,
        ),
        id="body",
    ),
]  # fmt: skip


@pytest.mark.parametrize("row", [*HOSTS, *GUARDS, *HELD])
def test_a_caller_that_is_no_local_service_is_refused(rig: AttackRig, row: Row) -> None:
    """What betrays a page, a proxy or a leak is refused before anything leaves."""
    rig.judge(row)


KEPT = [
    kept("authorization", b"Authorization: Bearer mine"),
    kept("authorization-case", b"aUTHORIZATION: Bearer mine"),
    kept("authorization-twice", b"Authorization: a\r\nAuthorization: b"),
    kept("authorization-underscore", b"Authorization_: a\r\n_Authorization: b"),
    kept("authorization-punctuation", b"Authorization.: a\r\n-Authorization: b"),
    kept("proxy", b"Proxy-Authorization: a\r\nProxy-Connection: b\r\nProxy_Authorization: c"),
    kept("cookie", b"Cookie: session=1\r\nCookie2: a\r\ncookie: b"),
    kept("te", b"TE: trailers"),
    kept("keep-alive", b"Keep-Alive: timeout=5\r\nConnection: keep-alive"),
    kept("nominated", b"Connection: X-A, x_b\r\nX-A: 1\r\nX-B: 2\r\nX-C: 3", b"X-C: 3"),
    kept("nominated-authorization", b"Connection: Authorization\r\nAuthorization: a"),
    kept("nominated-host", b"Connection: Host"),
    kept("nominated-length", b"Connection: Content-Length\r\nContent-Length: 0", b"Content-Length: 0"),
    kept("nominated-close", b"Connection: close, Authorization, Host"),
    kept("nominated-accept", b"Connection: Accept\r\nAccept: a/b"),
    kept("accept", b"Accept: text/html", b"Accept: text/html", accept=False),
    kept("accept-twice", b"Accept: a/b\r\nAccept: c/d", b"Accept: a/b", b"Accept: c/d", accept=False),
    kept("encoding-br", b"Accept-Encoding: br, zstd"),
    kept("encoding-star", b"Accept-Encoding: *", encoding=b"gzip"),
    kept("encoding-gzip", b"Accept-Encoding: gzip, br;q=0.9", encoding=b"gzip"),
    kept("encoding-range", b"Range: bytes=0-1\r\nAccept-Encoding: gzip", b"Range: bytes=0-1"),
    kept("repeated", b"X-A: 1\r\nX-B: 2\r\nx-a: 3", b"X-A: 1", b"X-B: 2", b"x-a: 3"),
    kept("empty", b"X-A:", b"X-A: "),
    kept("long", b"X-A: " + b"a" * 20_000, b"X-A: " + b"a" * 20_000),
    kept("fetch-of-node", b"Sec-Fetch-Mode: cors", b"Sec-Fetch-Mode: cors"),
    kept("percent", b"X-A: %0d%0aX-Evil: 1", b"X-A: %0d%0aX-Evil: 1"),
    kept("request-id", b"X-Request-Id: 1", b"X-Request-Id: 1"),
    kept("content-encoding", b"Content-Encoding: gzip\r\nContent-Length: 0", b"Content-Encoding: gzip", b"Content-Length: 0"),
]  # fmt: skip


@pytest.mark.parametrize("row", KEPT)
def test_one_credential_leaves_and_it_is_ours(rig: AttackRig, row: Row) -> None:
    """End-to-end fields go on in order; hop-by-hop, credentials and cookies do not."""
    rig.judge(row)


@pytest.mark.parametrize(
    "value",
    [b"localhost", b"LOCALHOST:8700", b"127.0.0.1", b"127.9.9.9:1", b"[::1]", b"[::1]:8700"],
)  # fmt: skip
def test_this_machine_is_welcome_by_every_name(rig: AttackRig, value: bytes) -> None:
    """The names of loopback are accepted, and the API never hears of them."""
    data = START + b"Host: %b\r\n\r\n" % value
    rig.judge(Row("", data, Forwarded(LINE)))


def test_a_key_across_two_pieces_of_a_body_is_found(rig: AttackRig) -> None:
    """The tripwire looks across the borders of what is read."""
    head = b"POST /a HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n" % HOST
    half = len(RAW_KEY) // 2
    data = b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (
        half,
        RAW_KEY[:half],
        len(RAW_KEY) - half,
        RAW_KEY[half:],
    )
    rig.judge(Row("cut in two", head + data, TRIPWIRE))


def test_an_escaped_key_is_found(rig: AttackRig) -> None:
    """Percent escapes do not hide it."""
    escaped = "".join(f"%{byte:02x}" for byte in RAW_KEY).encode()
    data = b"GET /a?k=%b HTTP/1.1\r\n%b\r\n" % (escaped, HOST)
    rig.judge(Row("percent-encoded", data, TRIPWIRE))
