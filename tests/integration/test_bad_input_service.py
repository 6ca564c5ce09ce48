"""
What a service may get wrong: every refusal of DESIGN section 6, seen from outside.

One row per code, and more where a code has several reasons. Many more encodings of each
are in the `test_attacks_*` files; here each is followed into metrics and log as well.
"""

from collections.abc import Iterator
from typing import Any, Final

import pytest

from sidecar.errors import STATUS, Code
from tests.support.attack_rig import AttackRig, attacked, limits
from tests.support.bad_input import (
    GET,
    HOST,
    Becomes,
    Witness,
    ask,
    no_bug,
    post,
    serves,
)
from tests.support.processes import merge
from tests.support.raw_http import KEY, OK, Conversation, RawClient, always, settled

KIBI: Final = 1024
MAX_BODY: Final = 64 * KIBI
CONNECTIONS: Final = 2
RAW_KEY: Final = KEY.encode()
CHUNKED: Final = b"Transfer-Encoding: chunked\r\n"
MARK: Final = "M4rkOfTheService"
"""Stands in every bad input, and must stand in no log line and no metric."""


@pytest.fixture(name="rig", scope="module")
def _rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AttackRig]:
    """One sidecar for all rows: none may leave it worse than it was."""
    fast = limits(
        header_seconds=0.3,
        response_seconds=0.6,
        idle_seconds=0.6,
        queue_seconds=0.2,
        max_body_bytes=MAX_BODY,
        max_upstream_connections=CONNECTIONS,
    )
    loud = {"log": {"level": "debug", "access": "all"}}
    with attacked(tmp_path_factory.mktemp("service"), merge(fast, loud)) as rig:
        yield rig
        rig.process.assert_never_shown(KEY)
        assert MARK not in rig.process.output()
        assert MARK not in rig.process.admin("/metrics").body.decode()
        no_bug(rig.process)


def bad(name: str, data: bytes, code: Code, words: str) -> Any:
    """Make a row: bytes, the code that they get, a part of the sentence."""
    return pytest.param(data, Becomes(code, words), id=name)


def field(name: str, line: bytes, code: Code, words: str) -> Any:
    """Make a row: a GET with one more field."""
    return bad(name, b"GET /a HTTP/1.1\r\n%b%b\r\n\r\n" % (HOST, line), code, words)


def target(name: str, line: bytes, code: Code, words: str) -> Any:
    """Make a row: another request line."""
    return bad(name, b"%b HTTP/1.1\r\n%b\r\n" % (line, HOST), code, words)


MARKED: Final = MARK.encode()
REFUSALS: Final = [
    bad("no-http", b"\x16\x03\x01\x02\0\x01\0\r\n\r\n", Code.BAD_REQUEST, "not HTTP/1.1"),
    bad("no-host", b"GET /%b HTTP/1.1\r\n\r\n" % MARKED, Code.BAD_REQUEST, "Host is missing"),
    field("framed-twice", b"Content-Length: 1\r\nTransfer-Encoding: chunked", Code.BAD_REQUEST, "frame the body"),
    bad("chunk-size", b"PUT /a HTTP/1.1\r\n%b%b\r\nzz\r\n" % (HOST, CHUNKED), Code.BAD_REQUEST, "chunk"),
    target("dots", b"GET /a/../%b" % MARKED, Code.BAD_TARGET, "or .. segment"),
    target("absolute", b"GET http://%b/a" % MARKED, Code.BAD_TARGET, "must be a path"),
    target("escape", b"GET /%b%%zz" % MARKED, Code.BAD_TARGET, "malformed escape"),
    field("value", b"A: \xe9%b" % MARKED, Code.BAD_HEADER, "visible ASCII"),
    field("option", b"Connection: a b %b" % MARKED, Code.BAD_HEADER, "not a token"),
    field("page", b"Origin: http://%b.example" % MARKED, Code.BROWSER_REQUEST, "browser"),
    field("proxied", b"X-Forwarded-For: %b" % MARKED, Code.FORWARDED_REQUEST, "proxy"),
    target("denied", b"POST /service-accounts/%b/api-keys" % MARKED, Code.OPERATION_DENIED, "deny this operation"),
    field("key", b"X-Key: " + RAW_KEY, Code.TRIPWIRE, "must not have"),
    target("key-in-query", b"GET /a?k=" + RAW_KEY, Code.TRIPWIRE, "must not have"),
    bad("key-in-body", post(len(RAW_KEY)) + RAW_KEY, Code.TRIPWIRE, "must not have"),
    target("tunnel", b"CONNECT %b:443" % MARKED, Code.METHOD_REFUSED, "not forwarded"),
    target("trace", b"TRACE /%b" % MARKED, Code.METHOD_REFUSED, "not forwarded"),
    bad("half-head", b"GET /%b HTTP/1.1\r\n" % MARKED, Code.REQUEST_TIMEOUT, "rest of the head"),
    bad("half-body", post(9) + b"half", Code.REQUEST_TIMEOUT, "rest of the body"),
    bad("body-by-length", post(MAX_BODY + 1), Code.BODY_TOO_LARGE, "max_body_bytes"),
    bad("body-by-count", b"PUT /a HTTP/1.1\r\n%b%b\r\n%x\r\n%b\r\n" % (HOST, CHUNKED, MAX_BODY + 1, b"b" * (MAX_BODY + 1)), Code.BODY_TOO_LARGE, "max_body_bytes"),
    target("long", b"GET /" + MARKED * 600, Code.TARGET_TOO_LONG, "longer than 8192 bytes"),
    field("expectation", b"Expect: %b" % MARKED, Code.EXPECTATION_FAILED, "expectation"),
    bad("rebound", b"GET / HTTP/1.1\r\nHost: %b.example\r\n\r\n" % MARKED, Code.WRONG_HOST, "Host"),
    field("large", b"A: " + MARKED * 3000, Code.HEAD_TOO_LARGE, "max_header_bytes"),
    field("many", b"\r\n".join(b"A%d: b" % n for n in range(200)), Code.HEAD_TOO_LARGE, "fields"),
    field("upgrade", b"Connection: Upgrade\r\nUpgrade: %b" % MARKED, Code.UPGRADE_UNSUPPORTED, "Upgrade"),
    field("coding", b"Transfer-Encoding: %b, chunked" % MARKED, Code.CODING_UNSUPPORTED, "chunked"),
    bad("version", b"GET /%b HTTP/2.0\r\n%b\r\n" % (MARKED, HOST), Code.VERSION_UNSUPPORTED, "1.1"),
]  # fmt: skip

ELSEWHERE: Final = {
    Code.UPSTREAM_BUSY: "here, below",
    Code.UPSTREAM_TIMEOUT: "test_bad_input_upstream, test_tls",
    Code.UPSTREAM_PROTOCOL: "test_bad_input_upstream",
    Code.UPSTREAM_UNREACHABLE: "test_bad_input_upstream",
    Code.UPSTREAM_TLS: "test_tls",
    Code.REFLECTION_BLOCKED: "test_bad_input_upstream",
    Code.CREDENTIAL_UNAVAILABLE: "test_bad_input_secret",
    Code.CREDENTIAL_EXPIRED: "test_bad_input_aws",
    Code.DRAINING: "test_lifecycle_process",
    Code.INTERNAL: "a bug of ours: nothing from outside can ask for it",
}
"""Codes that no service is to blame for, and where they are shown."""


def test_every_code_has_a_row() -> None:
    """A new code needs a row, here or in one of the other tables."""
    here = {row.values[1].code for row in REFUSALS}

    assert here | set(ELSEWHERE) == set(STATUS) == set(Code)
    assert not here & set(ELSEWHERE)
    assert not {401, 403} & set(STATUS.values())


@pytest.mark.parametrize(("data", "want"), REFUSALS)
def test_a_refusal_is_told_counted_and_logged(
    rig: AttackRig, data: bytes, want: Becomes
) -> None:
    """The service, the metrics and the log hear of it, and the API hears nothing."""
    rig.api.script = always(OK)
    rig.api.forget()
    before = Witness(rig.process)
    before.refused(ask(rig.address, data), want)

    # A body that is refused in its middle may have begun to leave; never to its end.
    assert all(one.request() is None for one in finished(rig)), "it was forwarded"
    serves(rig.address)


def finished(rig: AttackRig) -> list[Conversation]:
    """Hang up, and return the conversations with something in them."""
    rig.api.hang_up()
    return [one for one in rig.api.conversations if one.received]


def test_more_calls_than_connections_are_told_to_come_again(rig: AttackRig) -> None:
    """A pool that stays busy is 503 with Retry-After; those in it get their own end."""

    def mute(conversation: Conversation) -> None:
        conversation.request()
        while conversation.more():
            pass

    rig.api.hang_up()
    rig.api.forget()
    rig.api.script = mute
    holders = [RawClient(rig.address) for _ in range(CONNECTIONS)]
    for holder in holders:
        holder.send(GET)
    settled(rig.api, CONNECTIONS)
    before = Witness(rig.process)
    with RawClient(rig.address) as client:
        client.send(GET)
        seen = client.answer()
        before.refused(seen, Becomes(Code.UPSTREAM_BUSY, "try again"))
    for holder in holders:
        with holder:
            assert holder.answer().code == Code.UPSTREAM_TIMEOUT

    rig.api.script = always(OK)
    serves(rig.address)
