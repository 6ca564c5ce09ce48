"""
Bytes of an answer and the reset of its connection come in the same wake-up.

The sidecar is stopped while both arrive, so that it finds them together every time. After
an error libuv stops to watch a socket, so what is not found then is not found at all.
"""

import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from sidecar.emulator.ca import Certificate
from tests.support.attack_rig import HOST, limits
from tests.support.processes import UPSTREAM, SidecarProcess, merge, wait_until
from tests.support.raw_http import KEY, Conversation, RawApi, RawClient, file_settings
from tests.support.tls_api import TlsApi

GET: Final = b"GET /contacts HTTP/1.1\r\n%b\r\n" % HOST
PATCH: Final = b"PATCH /contacts/1 HTTP/1.1\r\n%bContent-Length: 2\r\n\r\n" % HOST
LENGTH: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"
CHUNKED: Final = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
HOURS: Final = 36_000


@dataclass(frozen=True)
class ResetRig:
    """A sidecar that waits for hours, and the API behind it."""

    process: SidecarProcess
    api: RawApi


@pytest.fixture(name="rig", scope="module", params=["tls", "plain"])
def _rig(
    request: pytest.FixtureRequest,
    certificate: Certificate,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ResetRig]:
    """One for all rows."""
    directory = tmp_path_factory.mktemp("reset")
    tls = request.param == "tls"
    with TlsApi(certificate.server_context()) if tls else RawApi() as api:
        settings = merge(
            file_settings(directory, api.base_url),
            limits(idle_seconds=HOURS, response_seconds=HOURS),
        )
        if tls:
            trust = {"upstreams": {UPSTREAM: {"ca_file": str(certificate.ca_file)}}}
            settings = merge(settings, trust)
        process = SidecarProcess(directory / "sidecar", settings)
        try:
            process.wait_ready()
            yield ResetRig(process, api)
            assert process.logs("internal_error") == []
            process.assert_never_shown(KEY)
        finally:
            process.close()


@pytest.mark.parametrize("call", [(GET,), (PATCH, b"{}")], ids=["bare", "body"])
@pytest.mark.parametrize(
    ("before", "last", "status"),
    [
        pytest.param(b"", LENGTH[:9], 502, id="in-the-status-line"),
        pytest.param(LENGTH[:9], LENGTH[9:25], 502, id="in-the-head"),
        pytest.param(b"", LENGTH, 200, id="after-the-head"),
        pytest.param(b"", LENGTH + b"half", 200, id="in-the-body"),
        pytest.param(LENGTH + b"ha", b"lf", 200, id="later-in-the-body"),
        pytest.param(b"", CHUNKED + b"4\r\nha", 200, id="in-a-chunk"),
        pytest.param(CHUNKED + b"4\r\nhalf\r\n", b"4\r\n", 200, id="between-chunks"),
    ],
)
def test_a_reset_right_behind_bytes_is_seen(
    rig: ResetRig, call: tuple[bytes, ...], before: bytes, last: bytes, status: int
) -> None:
    """The call ends at once: 502, or an answer that is seen to be cut."""

    def script(conversation: Conversation) -> None:
        if conversation.request() is None:
            return
        # Else bytes that wait for an ACK are lost with the reset.
        conversation.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if before:
            conversation.send(before)
            time.sleep(0.05)  # a wake-up of its own
        rig.process.send(signal.SIGSTOP)
        try:
            wait_until(stopped, "the stop")
            conversation.send(last)
            conversation.reset()
        finally:
            rig.process.send(signal.SIGCONT)

    def stopped() -> bool:
        stat = Path(f"/proc/{rig.process.pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] == "T"

    rig.api.hang_up()
    rig.api.script = script
    with RawClient(rig.process.address()) as client:
        for piece in call:
            client.send(piece)
        seen = client.answer(call[0].split(b" ", 1)[0])

    assert seen.status == status
    assert (seen.code == "upstream_protocol") == (status == 502)
    assert seen.whole == (status == 502)
