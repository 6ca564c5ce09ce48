"""
What the API, or the way to it, may get wrong: every fault is a 502 or 504 with a code.

Or the answer is cut, and seen to be cut. A 401 or 403 is never made of it, and no fault
of the API is ever a 500 of ours. Faults of TLS are in `test_tls.py`.
"""

import gzip
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from sidecar.errors import Code
from tests.support.attack_rig import limits
from tests.support.bad_input import GET, Becomes, Witness, ask, no_bug, serves
from tests.support.processes import UPSTREAM, Settings, SidecarProcess, merge
from tests.support.raw_http import (
    KEY,
    OK,
    Conversation,
    RawApi,
    RawClient,
    Script,
    always,
    file_settings,
    once,
)

START: Final = b"HTTP/1.1 200 OK\r\n"
RAW_KEY: Final = KEY.encode()
MEBI: Final = 1 << 20


@dataclass
class UpstreamRig:
    """One sidecar in front of a scripted API, a closed port and a name without address."""

    api: RawApi
    process: SidecarProcess

    def address(self, upstream: str = UPSTREAM) -> str:
        """Where a service calls one of the three."""
        return self.process.address(upstream)


def elsewhere(directory: Path, base_url: str) -> Settings:
    """Return an upstream like the usual one, that is somewhere else."""
    settings = file_settings(directory, base_url)
    upstream: Settings = settings["upstreams"][UPSTREAM]
    return upstream


@pytest.fixture(name="rig", scope="module")
def _rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpstreamRig]:
    """One process for all rows."""
    directory = tmp_path_factory.mktemp("upstream")
    with RawApi() as api, socket.socket() as closed:
        # Bound and not listening: no other process can take it, and it refuses.
        closed.bind(("127.0.0.1", 0))
        refusing = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
        others = {
            "refusing": elsewhere(directory, refusing),
            "nameless": elsewhere(directory, "https://api.nowhere.invalid/v1"),
        }
        settings = merge(
            merge(file_settings(directory, api.base_url), {"upstreams": others}),
            merge(limits(response_seconds=0.6, idle_seconds=0.6), {"log": {"access": "all"}}),
        )  # fmt: skip
        process = SidecarProcess(directory / "sidecar", settings)
        try:
            process.wait_ready()
            yield UpstreamRig(api, process)
            process.assert_never_shown(KEY)
            no_bug(process)
        finally:
            process.close()


def quiet(conversation: Conversation) -> None:
    """Read whatever comes, and answer nothing."""
    while conversation.more():
        pass


def stalled(data: bytes) -> Script:
    """Begin an answer, and never go on."""

    def script(conversation: Conversation) -> None:
        conversation.request()
        conversation.send(data)
        quiet(conversation)

    return script


def resetting(conversation: Conversation) -> None:
    """Take a call, and reset the connection."""
    conversation.request()
    conversation.reset()


def sized(body: bytes, fields: bytes = b"") -> bytes:
    """Return an answer with a length."""
    return b"%b%bContent-Length: %d\r\n\r\n%b" % (START, fields, len(body), body)


def fault(
    name: str, script: Script, words: str, code: Code = Code.UPSTREAM_PROTOCOL
) -> Any:
    """Make a row: what the API does, and the refusal that it becomes."""
    return pytest.param(script, Becomes(code, words), id=name)


FAULTS: Final = [
    fault("garbage", once(b"\0\1\2\3\r\n\r\n"), "malformed"),
    fault("another-protocol", once(b"SSH-2.0-OpenSSH_9.2\r\n"), "not HTTP/1.1"),
    fault("nothing", once(b""), "closed the connection"),
    fault("reset", resetting, "closed the connection"),
    fault("cut-head", once(START + b"Content-Le"), "closed the connection"),
    fault("malformed-head", once(START + b"A : b\r\n\r\n"), "malformed"),
    fault("framed-twice", once(START + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "malformed"),
    fault("malformed-chunk", once(START + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"), "chunks"),
    fault("oversized-head", once(START + b"A: " + b"b" * 70_000 + b"\r\n\r\n"), "too large"),
    fault("storm-of-100", once(b"HTTP/1.1 100 Continue\r\n\r\n" * 500), "too many interim"),
    fault("storm-of-103", once(b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" * 500), "too many interim"),
    fault("101", once(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: a\r\n\r\n"), "malformed"),
    fault("never", quiet, "did not answer", Code.UPSTREAM_TIMEOUT),
    fault("never-the-rest-of-a-head", stalled(START), "did not answer", Code.UPSTREAM_TIMEOUT),
    fault("key-in-gzip", once(sized(gzip.compress(RAW_KEY), b"Content-Encoding: gzip\r\n")), "compressed", Code.REFLECTION_BLOCKED),
    fault("unknown-coding", once(sized(b"ok", b"Content-Encoding: br\r\n")), "compressed", Code.REFLECTION_BLOCKED),
]  # fmt: skip


@pytest.mark.parametrize(("script", "want"), FAULTS)
def test_a_fault_of_the_api_is_told_counted_and_logged(
    rig: UpstreamRig, script: Script, want: Becomes
) -> None:
    """The service, the metrics and the log hear the same sentence."""
    rig.api.hang_up()
    rig.api.script = script
    before = Witness(rig.process)
    before.refused(ask(rig.address()), want)

    rig.api.script = always(OK)
    serves(rig.address())


@pytest.mark.parametrize(
    ("upstream", "words"),
    [("refusing", "does not accept"), ("nameless", "cannot be resolved")],
)
def test_an_api_that_cannot_be_reached_is_a_502(
    rig: UpstreamRig, upstream: str, words: str
) -> None:
    """And the other upstreams of the process go on."""
    before = Witness(rig.process)
    want = Becomes(Code.UPSTREAM_UNREACHABLE, words)
    before.refused(ask(rig.address(upstream)), want, upstream)

    rig.api.script = always(OK)
    serves(rig.address())


CUTS: Final = [
    pytest.param(once(START + b"Content-Length: 9\r\n\r\nhal."), Code.UPSTREAM_PROTOCOL, id="length"),
    pytest.param(once(START + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhal.\r\n"), Code.UPSTREAM_PROTOCOL, id="chunks"),
    pytest.param(stalled(START + b"Content-Length: 9\r\n\r\nhal."), Code.UPSTREAM_TIMEOUT, id="stalled"),
]  # fmt: skip


@pytest.mark.parametrize(("script", "code"), CUTS)
def test_a_cut_answer_stays_cut_and_is_logged(
    rig: UpstreamRig, script: Script, code: Code
) -> None:
    """The status has gone out: only the end of the connection can tell, and the log."""
    rig.api.hang_up()
    rig.api.script = script
    before = Witness(rig.process)
    seen = ask(rig.address())

    assert (seen.status, seen.body, seen.whole) == (200, b"hal.", False)
    line = before.wait_told("answer_cut")
    assert (line["code"], line["status"], line["level"]) == (code, 200, "warning")
    assert "incomplete" in line["explanation"]
    assert before.grew("sidecar_rejections_total", reason=code) == 1
    rig.api.script = always(OK)
    serves(rig.address())


def test_a_key_that_comes_back_is_overwritten_counted_and_logged(
    rig: UpstreamRig,
) -> None:
    """In the head and in the body; the service sees stars of the same length."""
    rig.api.hang_up()
    rig.api.script = once(sized(b"key=%b;" % RAW_KEY, b"X-Key: %b\r\n" % RAW_KEY))
    before = Witness(rig.process)
    seen = ask(rig.address())

    stars = b"*" * len(RAW_KEY)
    assert (seen.body, seen.field(b"x-key")) == (b"key=%b;" % stars, stars)
    assert before.grew("sidecar_redactions_total", sink="response") == 2
    before.wait_told("key_reflected")
    assert sum(line["hits"] for line in before.told("key_reflected")) == 2
    rig.api.script = always(OK)
    serves(rig.address())


def test_a_large_answer_to_a_slow_reader_costs_no_memory(rig: UpstreamRig) -> None:
    """100 MB wait at the API, not in the sidecar; a reader that left frees the rest."""
    size = 100 * MEBI
    block = b"x" * MEBI

    def pour(conversation: Conversation) -> None:
        conversation.request()
        conversation.send(b"%bContent-Length: %d\r\n\r\n" % (START, size))
        for _ in range(size // MEBI):
            conversation.send(block)

    rig.api.hang_up()
    rig.api.script = pour
    before = rig.process.anonymous_bytes()
    most = read = 0
    with RawClient(rig.address()) as client:
        client.send(GET)
        while read < size:
            data = client.sock.recv(65536)
            assert data, "the answer was cut"
            if read // (8 * MEBI) != (read + len(data)) // (8 * MEBI):
                most = max(most, rig.process.anonymous_bytes() - before)
            read += len(data)

    assert most < 16 * MEBI
    rig.api.script = always(OK)
    serves(rig.address())
