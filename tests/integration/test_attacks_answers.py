"""
Attacks from the other side: an API, or somebody in its place, that breaks HTTP.

What the service sees is a whole answer, a `502` of ours, or an answer that is visibly
cut; never bytes that no call asked for, never an answer to another call, never the key.
"""

import base64
import gzip
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pytest

from tests.support.attack_rig import HOST, AttackRig, attacked
from tests.support.processes import wait_until
from tests.support.raw_http import KEY, RawClient, Seen, always, once, settled

GET: Final = b"GET /contacts HTTP/1.1\r\n%b\r\n" % HOST
RAW_KEY: Final = KEY.encode()
START: Final = b"HTTP/1.1 200 OK\r\n"
POISON: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
MASKED: Final = b"*" * len(RAW_KEY)


@dataclass(frozen=True)
class Becomes:
    """What the service must see of an answer."""

    status: int = 200
    body: bytes = b""
    code: str = ""
    fields: Sequence[tuple[bytes, bytes]] | None = None
    """All end-to-end fields in order, without framing; None: not looked at."""
    whole: bool = True
    method: bytes = b"GET"


BROKEN: Final = Becomes(502, code="upstream_protocol")
BLOCKED: Final = Becomes(502, code="reflection_blocked")
OURS: Final = frozenset({b"content-length", b"transfer-encoding", b"connection"})


def broken(name: str, why: str, raw: bytes, want: Becomes = BROKEN) -> Any:
    """Make a row: an answer that cannot be trusted, and why."""
    return pytest.param(raw, want, why, id=name)


def becomes(name: str, raw: bytes, want: Becomes) -> Any:
    """Make a row: an answer that can, and what becomes of it."""
    return pytest.param(raw, want, "", id=name)


def coded(coding: bytes, body: bytes) -> bytes:
    """Return an answer with a compressed body."""
    return b"%bContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n%b" % (
        START,
        coding,
        len(body),
        body,
    )


def sized(fields: bytes, body: bytes = b"ok") -> bytes:
    """Return an answer with these fields and a length."""
    return b"%b%bContent-Length: %d\r\n\r\n%b" % (START, fields, len(body), body)


@pytest.fixture(name="rig", scope="module")
def _rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AttackRig]:
    """One sidecar for all rows."""
    with attacked(tmp_path_factory.mktemp("answers")) as rig:
        yield rig


FRAMING = [
    broken("cl-te", "framed twice", START + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + POISON),
    broken("cl-cl", "two lengths", START + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok" + POISON),
    broken("cl-cl-same", "joined by some", START + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok"),
    broken("cl-list", "the same, joined", START + b"Content-Length: 2, 2\r\n\r\nok"),
    broken("cl-plus", "signed", START + b"Content-Length: +2\r\n\r\nok"),
    broken("cl-minus", "negative", START + b"Content-Length: -2\r\n\r\nok"),
    broken("cl-hex", "in hex", START + b"Content-Length: 0x2\r\n\r\nok"),
    broken("cl-empty", "none", START + b"Content-Length:\r\n\r\nok"),
    broken("cl-huge", "wraps", START + b"Content-Length: 18446744073709551618\r\n\r\nok"),
    broken("te-gzip", "a coding that we did not offer", START + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    broken("te-te", "twice", START + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    broken("te-identity", "withdrawn", START + b"Transfer-Encoding: identity\r\n\r\nok"),
    broken("te-1.0", "faulty in 1.0", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    broken("te-space", "space before the colon", START + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    broken("chunk-sign", "a signed size", START + b"Transfer-Encoding: chunked\r\n\r\n+2\r\nok\r\n0\r\n\r\n"),
    broken("chunk-lf", "a bare LF", START + b"Transfer-Encoding: chunked\r\n\r\n2\nok\r\n0\r\n\r\n"),
    broken("chunk-huge", "wraps", START + b"Transfer-Encoding: chunked\r\n\r\n10000000000000002\r\nok\r\n0\r\n\r\n"),
]  # fmt: skip

HEADS = [
    broken("empty", "nothing at all", b""),
    broken("garbage", "no HTTP", b"\x00\x01\x02\x03\r\n\r\n"),
    broken("ssh", "another protocol", b"SSH-2.0-OpenSSH_9.2p1\r\n"),
    broken("http2", "a frame of SETTINGS", b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + b"\0" * 18),
    broken("0.9", "no head", b"hello world, this is a body\r\n\r\n"),
    broken("version-2", "another framing", b"HTTP/2.0 200 OK\r\n\r\n"),
    broken("version-1.2", "another framing", b"HTTP/1.2 200 OK\r\n\r\n"),
    broken("lower", "the name is case-sensitive", b"http/1.1 200 OK\r\n\r\n"),
    broken("status-99", "no status", b"HTTP/1.1 99 Odd\r\n\r\n"),
    broken("status-0", "no status", b"HTTP/1.1 000 Odd\r\n\r\n"),
    broken("status-600", "no class of its own", b"HTTP/1.1 600 Odd\r\n\r\n"),
    broken("status-1000", "no status", b"HTTP/1.1 1000 Odd\r\n\r\n"),
    broken("status-letters", "no status", b"HTTP/1.1 OK OK\r\n\r\n"),
    broken("status-sign", "signed", b"HTTP/1.1 +20 OK\r\n\r\n"),
    broken("status-none", "none", b"HTTP/1.1\r\n\r\n"),
    broken("101", "we never asked for another protocol", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n" + POISON),
    broken("lf", "bare LFs", b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
    broken("lf-field", "a bare LF ends a field", START + b"A: b\nSet-Cookie: c\r\nContent-Length: 0\r\n\r\n"),
    broken("cr-field", "a bare CR ends a field for some", START + b"A: b\rC: d\r\nContent-Length: 0\r\n\r\n"),
    broken("fold", "obs-fold", START + b"A: b\r\n c\r\nContent-Length: 0\r\n\r\n"),
    broken("space-colon", "space before the colon", START + b"A : b\r\nContent-Length: 0\r\n\r\n"),
    broken("no-colon", "no field", START + b"A\r\nContent-Length: 0\r\n\r\n"),
    broken("nul-name", "the end of a C string", START + b"A\0: b\r\nContent-Length: 0\r\n\r\n"),
    broken("nul-value", "the end of a C string", START + b"A: b\0c\r\nContent-Length: 0\r\n\r\n"),
    broken("nul-reason", "the end of a C string", b"HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n"),
    broken("many-fields", "more than anybody sends", START + b"".join(b"A%d: b\r\n" % n for n in range(300)) + b"\r\n"),
    broken("large", "an endless head", START + b"A: " + b"b" * 70_000 + b"\r\n\r\n"),
    broken("interim-flood", "progress without end", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000),
    broken("interim-only", "interim, then nothing", b"HTTP/1.1 100 Continue\r\n\r\n"),
]  # fmt: skip

CUT = [
    broken("cut-length", "shorter than its length", START + b"Content-Length: 10\r\n\r\nhal.", Becomes(200, b"hal.", whole=False)),
    broken("cut-chunk", "in a chunk", START + b"Transfer-Encoding: chunked\r\n\r\n8\r\nhal.", Becomes(200, b"hal.", whole=False)),
    broken("cut-last", "before the last chunk", START + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhal.\r\n", Becomes(200, b"hal.", whole=False)),
    broken("cut-zero", "in the last chunk", START + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhal.\r\n0\r\n", Becomes(200, b"hal.", whole=False)),
    broken("cut-head", "in the head", START + b"Content-Le"),
]  # fmt: skip

REFRAMED = [
    becomes("until-close", START + b"\r\nok", Becomes(body=b"ok", fields=[])),
    becomes("1.0", b"HTTP/1.0 200 OK\r\n\r\nok", Becomes(body=b"ok")),
    becomes("chunks", START + b"Transfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\nX-Trailer: 1\r\n\r\n", Becomes(body=b"ok", fields=[])),
    becomes("extra", sized(b"") + POISON, Becomes(body=b"ok")),
    becomes("extra-chunks", START + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + POISON, Becomes()),
    becomes("204-body", b"HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n" + POISON, Becomes(204)),
    becomes("304-body", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n" + POISON, Becomes(304)),
    becomes("head-body", sized(b"") + POISON, Becomes(200, method=b"HEAD")),
    becomes("interim", b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + sized(b""), Becomes(body=b"ok", fields=[])),
    becomes("no-reason", b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", Becomes(body=b"ok")),
    becomes("repeated", sized(b"A: 1\r\nB: 2\r\nA: 3\r\n"), Becomes(body=b"ok", fields=[(b"a", b"1"), (b"b", b"2"), (b"a", b"3")])),
    becomes("cookie", sized(b"Set-Cookie: a=b\r\nSet-Cookie2: c\r\nA: 1\r\n"), Becomes(body=b"ok", fields=[(b"a", b"1")])),
    becomes("alt-svc", sized(b'Alt-Svc: h3=":443"\r\nAuthentication-Info: a\r\nProxy-Authenticate: b\r\n'), Becomes(body=b"ok", fields=[])),
    becomes("hop-by-hop", sized(b"Keep-Alive: a\r\nConnection: X-A, keep-alive\r\nX-A: 1\r\nUpgrade: h2\r\nTrailer: b\r\n"), Becomes(body=b"ok", fields=[])),
    becomes("forged-error", sized(b"X-Sidecar-Error: draining\r\n"), Becomes(body=b"ok", fields=[])),
    becomes("challenge", b"HTTP/1.1 403 Forbidden\r\nWWW-Authenticate: Bearer\r\nContent-Length: 0\r\n\r\n", Becomes(403, fields=[(b"www-authenticate", b"Bearer")])),
    becomes("redirect", b"HTTP/1.1 302 Found\r\nLocation: https://evil.example/\r\nContent-Length: 0\r\n\r\n", Becomes(302, fields=[(b"location", b"https://evil.example/")])),
    becomes("latin1", sized(b"A: \xe9\r\n"), Becomes(body=b"ok", fields=[(b"a", b"\xe9")])),
]  # fmt: skip

REFLECTED = [
    becomes("body", sized(b"", b"a" + RAW_KEY + b"b"), Becomes(body=b"a" + MASKED + b"b")),
    becomes("header", sized(b"X-Key: " + RAW_KEY + b"\r\n"), Becomes(body=b"ok", fields=[(b"x-key", MASKED)])),
    becomes("reason", b"HTTP/1.1 200 " + RAW_KEY + b"\r\nContent-Length: 0\r\n\r\n", Becomes()),
    becomes("location", b"HTTP/1.1 302 A\r\nLocation: /v1/a?" + RAW_KEY + b"\r\nContent-Length: 0\r\n\r\n", Becomes(302, fields=[(b"location", b"/a?" + MASKED)])),
    becomes("reflected-chunks", START + b"Transfer-Encoding: chunked\r\n\r\n9\r\n" + RAW_KEY[:9] + b"\r\n%x\r\n" % (len(RAW_KEY) - 9) + RAW_KEY[9:] + b"\r\n0\r\n\r\n", Becomes(body=MASKED)),
    becomes("percent", sized(b"", b"".join(b"%%%02X" % one for one in RAW_KEY)), Becomes(body=b"*" * 3 * len(RAW_KEY))),
    becomes("404", b"HTTP/1.1 404 A\r\nContent-Length: %d\r\n\r\n%b" % (len(RAW_KEY), RAW_KEY), Becomes(404, MASKED)),
    becomes("range", b"HTTP/1.1 206 A\r\nContent-Range: bytes 0-9/99\r\nContent-Length: %d\r\n\r\n%b" % (len(RAW_KEY), RAW_KEY), Becomes(206, MASKED)),
    broken("gzip", "compressed", coded(b"gzip", gzip.compress(RAW_KEY)), BLOCKED),
    broken("x-gzip", "the same by its old name", coded(b"x-gzip", gzip.compress(RAW_KEY)), BLOCKED),
    broken("deflate", "compressed", coded(b"deflate", zlib.compress(RAW_KEY)), BLOCKED),
    broken("deflate-raw", "without zlib's header", coded(b"deflate", zlib.compress(RAW_KEY, wbits=-15)), BLOCKED),
    broken("gzip-members", "in the second member", coded(b"gzip", gzip.compress(b"a") + gzip.compress(RAW_KEY)), BLOCKED),
    broken("br", "nobody can look into it", coded(b"br", b"\x0b\x02\x80ok\x03"), BLOCKED),
    broken("gzip-gzip", "twice", coded(b"gzip, gzip", gzip.compress(gzip.compress(RAW_KEY))), BLOCKED),
    broken("gzip-broken", "no gzip", coded(b"gzip", b"not compressed at all"), BLOCKED),
    becomes("br-head", START + b"Content-Encoding: br\r\nContent-Length: 9\r\n\r\n", Becomes(200, method=b"HEAD")),
    becomes("br-304", b"HTTP/1.1 304 A\r\nContent-Encoding: br\r\n\r\n", Becomes(304)),
    becomes("gzip-clean", coded(b"gzip", gzip.compress(b"ok", mtime=0)), Becomes(body=gzip.compress(b"ok", mtime=0))),
]  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "want", "why"), [*FRAMING, *HEADS, *CUT, *REFRAMED, *REFLECTED]
)
def test_an_answer_is_whole_or_refused_or_visibly_cut(
    rig: AttackRig, raw: bytes, want: Becomes, why: str
) -> None:
    """Whatever the API sends, no byte of it is taken for something else."""
    rig.api.hang_up()
    rig.api.script = once(raw)
    with RawClient(rig.address) as client:
        client.send(GET.replace(b"GET", want.method, 1))
        seen = client.answer(want.method)
        shown = client.raw

    assert (seen.status, seen.code, seen.whole) == (
        want.status,
        want.code,
        want.whole,
    ), why
    if not want.code:
        assert seen.body == want.body, why
        if want.fields is not None:
            kept = [one for one in seen.fields if one[0] not in OURS]
            assert kept == list(want.fields), why
    assert b"poison" not in shown
    for form in (RAW_KEY, base64.b64encode(RAW_KEY)):
        assert form not in shown
    rig.healthy()


def test_bytes_behind_an_answer_reach_no_call(rig: AttackRig) -> None:
    """A connection that brings more than it was asked for is never used again."""
    rig.api.hang_up()
    rig.api.forget()
    rig.api.script = always(sized(b"") + POISON)
    for _ in range(5):
        with RawClient(rig.address) as client:
            client.send(GET)
            assert client.answer().body == b"ok"
            assert b"poison" not in client.raw

    assert len(rig.api.conversations) >= 5
    rig.healthy()


def test_bytes_that_come_between_calls_reach_no_call(rig: AttackRig) -> None:
    """An answer that was sent before its call is dropped with its connection."""
    rig.api.hang_up()
    rig.api.script = always(sized(b""))
    rig.api.forget()
    with RawClient(rig.address) as client:
        client.send(GET)
        assert client.answer().body == b"ok"
        settled(rig.api, 1)
        rig.api.conversations[-1].send(POISON)
        wait_until(lambda: not rig.api.conversations[-1].more(), "the connection's end")
        client.send(GET)
        seen = client.answer()

    assert seen.body == b"ok"


def test_answers_of_two_calls_are_never_exchanged(rig: AttackRig) -> None:
    """Each of many calls at once gets what was answered to it."""
    rig.api.hang_up()

    def echo(conversation: Any) -> None:
        while (request := conversation.request()) is not None:
            target = request.split(b" ", 2)[1]
            conversation.send(sized(b"X-Target: %b\r\n" % target, target))

    rig.api.script = echo
    with_targets = [(b"/call/%d" % n, RawClient(rig.address)) for n in range(50)]
    for target, client in with_targets:
        client.send(b"GET %b HTTP/1.1\r\n%b\r\n" % (target, HOST))
    seen: list[tuple[bytes, Seen]] = []
    for target, client in with_targets:
        with client:
            seen.append((target, client.answer()))

    assert all(one.body == b"/v1" + target for target, one in seen)
